"""What a completion says after its reasoning: what stands inside is no answer yet."""

# What opens a reasoning, and what closes it: DeepSeek-R1, QwQ, Qwen3 and most others; Magistral;
# EXAONE Deep; models without a tag of their own, as they were told; OpenThinker
REASONING_TAGS = {
    "<think>": "</think>", "[THINK]": "[/THINK]", "<thought>": "</thought>",
    "<thinking>": "</thinking>", "<reasoning>": "</reasoning>",
    "<|begin_of_thought|>": "<|end_of_thought|>"}


def opens_reasoning(prompt: str) -> bool:
    """Does a chat template's prompt end with the tag that opens the reasoning, as R1's does?"""
    return prompt.rstrip().endswith(tuple(REASONING_TAGS))


def after_reasoning(text: str, is_open: bool = False,
                    tags: dict[str, str] = REASONING_TAGS) -> str:
    """What follows the last closing tag; "" if the reasoning does not end in this text.

    is_open: the reasoning has begun before the text, in the prompt.
    """
    for opening, closing in tags.items():
        if closing in text:
            text = text.rsplit(closing, 1)[1]
            is_open = False
        is_open = is_open or opening in text
    return "" if is_open else text
