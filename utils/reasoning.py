"""What a completion says after its reasoning: what stands inside is no answer yet."""
import re
from typing import Iterable

# What opens a reasoning, in small letters, and what closes it. DeepSeek-R1, QwQ, Qwen3 and most
# others have <think>; the next lines are what models are told to write, and other families' tags:
# Magistral, OpenThinker, Command A, Kimi, Seed-OSS, LongCat, MedGemma
NAMES = ("think", "thinking", "thought", "thoughts", "reasoning", "reason", "analysis", "cot",
         "scratchpad", "reflection", "seed:think", "longcat_think")
REASONING_TAGS = {f"<{name}>": f"</{name}>" for name in NAMES} | {
    "[think]": "[/think]", "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|begin_of_thinking|>": "<|end_of_thinking|>", "<|start_thinking|>": "<|end_thinking|>",
    "<|thinking|>": "<|/thinking|>", "<|inner_prefix|>": "<|inner_suffix|>",
    "◁think▷": "◁/think▷", "<unused94>": "<unused95>"}
EVERY_TAG = {*REASONING_TAGS, *REASONING_TAGS.values()}


def opens_reasoning(prompt: str) -> str | None:
    """The tag with which a chat template's prompt opens the reasoning, as R1's does; or None.

    It ends the prompt or its line: after "<think>", a template may write "Okay," in a new line.
    """
    for opening, closing in REASONING_TAGS.items():
        before, tag, behind = prompt.lower().rpartition(opening)
        ends_line = behind.lstrip(" ")[:1] in ("", "\n")
        if tag and ends_line and closing not in behind:
            return opening
    return None


def last_end(found: Iterable[tuple[str, int]], opened: str | None) -> tuple[str | None, int]:
    """(the tag that is still open, where the last reasoning ends).

    found: tags in order and where each ends. opened: a tag that is open before them. A reasoning
    ends at its own closing tag; a closing tag without an opening one ends what the prompt opened.
    """
    end = 0
    for tag, position in found:
        if tag in REASONING_TAGS:
            opened = opened or tag
        elif opened is None or REASONING_TAGS[opened] == tag:
            opened = None
            end = position
    return opened, end


def after_reasoning(text: str, opened: str | None = None,
                    tags: Iterable[str] = tuple(EVERY_TAG)) -> str:
    """What follows the last reasoning; "" if it does not end in this text."""
    either = "|".join(map(re.escape, tags)) or r"(?!)"                        # or nothing
    found = [(tag[0].lower(), tag.end()) for tag in re.finditer(either, text, re.IGNORECASE)]
    opened, end = last_end(found, opened)
    return "" if opened else text[end:]
