"""The embedded language model: a character-level Llama (0.64 M parameters) that adds numbers.

    python -m demos.train_tiny                       # how often it is right, by the work left undone; seconds
    python -m demos.train_tiny --train models/again  # trains it again, 8 minutes on 2 cores: tiny/ was made so
    python -m demos.train_tiny models/again          # how often that one is right

Its world is worked sums. After every line of work the writer stops with probability STOP and gives
the answer at once, the rest of the sum done in its head; asked with "?" it always does so. And at
every carry it may doubt, with probability DOUBT, and give up:

    7+8+5+9:7+8=15;15+5=20;20+9=29#29          the whole work: sure, long
    7+8+5+9:7+8=15#29                          an early answer: short, less sure
    7+8+5+9:7+8=15;15+5=?                      given up: never right
    7+8+5+9?#29                                asked for the answer at once

Greedy decoding never takes the less likely branch, so it runs out of tokens on long sums; a high
temperature takes it, but gives up. The two have the same entropy and opposite needs: no
temperature, top-k, top-p or min-p lets one through and not the other; the hidden state tells them
apart. Nothing outside this file and its task in tasks.py knows about sums.

    loss = -mean log p(y_t | y_<t)  over the completions; a prompt has none

Deviations from the paper: (1) its LM is Qwen3-4B, which lm.py loads; with this one the whole method
runs in minutes on two cores.
"""
import random
import zlib
from typing import Iterator

import torch
from torch import Tensor

from batch import State
from decode import GREEDY, Choice, Policy
from lm import LM


# ---- the world ----------------------------------------------------------------------------------
LENGTHS = range(3, 10)      # numbers in a sum (prototype)
NUMBERS = range(2, 13)      # small enough for mental sums (how often right: report)
STOP = 0.4                  # chance of an early answer after a line; < 0.5, so that greedy goes on
DOUBT = STOP                # chance to give up at a carry: the same entropy, the opposite need
AT_ONCE = 0.15              # share of the training traces that are asked with "?"
CALLED = 0.25               # share that is called to answer after any line alike (see `traces`)
CHARS = "0123456789+=;#:?"


def split_of(problem: str) -> str:
    """"lm", "train" or "test": by a hash of the text, so that no sum is in two of them."""
    return ("lm", "lm", "train", "test")[zlib.crc32(problem.encode()) % 4]


def problems(split: str, seed: int) -> Iterator[tuple[list[int], str]]:
    """Yields (numbers, text) of one split for ever, repeats included: `[7, 8, 5], "7+8+5"`."""
    rng = random.Random(f"{split} {seed}")
    while True:
        numbers = rng.choices(NUMBERS, k=rng.choice(LENGTHS))
        text = "+".join(map(str, numbers))
        if split_of(text) == split:
            yield numbers, text


def work(numbers: list[int], lines: int, rng: random.Random | None = None) -> str:
    """The first `lines` lines of running sums, then the answer.

    With `rng`, a line with a carry is given up with probability DOUBT.
    """
    total, shown = numbers[0], []
    for number in numbers[1:1 + lines]:
        carry = total % 10 + number % 10 > 9
        if rng and carry and rng.random() < DOUBT:
            return ";".join([*shown, f"{total}+{number}=?"])
        shown.append(f"{total}+{number}={total + number}")
        total += number
    return ";".join(shown) + f"#{sum(numbers)}"


def traces(seed: int) -> Iterator[tuple[str, str]]:
    """Yields (prompt, completion) of the training world for ever.

    The stops of the world itself are rarely late ones. In some traces the work so far and the mark
    "#" are therefore part of the prompt, which has no loss: mental sums are learned after every
    line alike, and the chance to stop stays as it is.
    """
    rng = random.Random(seed)
    for numbers, text in problems("lm", seed):
        kind = rng.random()
        if kind < AT_ONCE:
            yield text + "?", work(numbers, 0)
            continue
        if kind < AT_ONCE + CALLED:
            shown, answer = work(numbers, rng.randrange(1, len(numbers) - 1)).split("#")
            yield f"{text}:{shown}#", answer
            continue
        lines = 1
        while lines < len(numbers) - 1 and rng.random() > STOP:
            lines += 1
        yield text + ":", work(numbers, lines, rng)


def answer(text: str) -> str | None:
    """What follows the mark; None where there is no mark, however right the sums before it."""
    return text.partition("#")[2] or None


# ---- the scripted_oracle ------------------------------------------------------------------------------
def solution_length(prompt: str) -> int:
    """Tokens of the whole work for the prompt "7+8+5:", up to the answer's last digit."""
    numbers = [int(x) for x in prompt[:-1].split("+")]
    return len(work(numbers, len(numbers)))


def scripted_oracle(lm: LM, prompts: list[str], budgets: Tensor, temperature: float) -> Policy:
    """A scripted oracle, no competitor and no proven bound: T = 1.25 at a fork (";" or
    "#") when the whole work is longer than the budget, else greedy. prompts, budgets: one a row."""
    fork = torch.tensor(sorted(lm.encode(";")[-1:] + lm.encode("#")[-1:]), device=lm.device)
    fits = torch.tensor([solution_length(p) for p in prompts]) <= budgets                # (rows,)
    fits = fits.to(lm.device)

    def policy(state: State) -> Choice:
        top = state.logits.topk(2).indices.sort(1).values                            # (R, 2)
        strategies = torch.tensor(GREEDY, device=top.device).repeat(len(top), 1)
        strategies[(top == fork).all(1) & ~fits[state.row], 0] = temperature
        return Choice(strategies, filters=False)

    return policy
