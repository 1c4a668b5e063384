"""The small language model: a character-level Llama (0.64 M parameters) that adds numbers.

    python -m demos.train_tiny                       # how often it is right, in seconds
    python -m demos.train_tiny --train models/again  # trains it again, 8 minutes on 2 cores
    python -m demos.train_tiny models/again          # how often that one is right

This file is the world of that model: worked sums. After every running sum the writer stops with
probability STOP and gives the answer at once, having added the other numbers in its head. If the
prompt ends in "?" instead of ":", it does so from the start. At every carry the writer may also
give up, with probability GIVE_UP:

    7+8+5+9:7+8=15;15+5=20;20+9=29#29          the whole solution: long, and surely right
    7+8+5+9:7+8=15#29                          an early answer: short, less surely right
    7+8+5+9:7+8=15;15+5=?                      given up: never right
    7+8+5+9?#29                                asked for the answer at once

Greedy decoding never takes the less likely branch, so it runs out of tokens on long sums. A high
temperature takes it, but also gives up. The two branches have the same entropy and opposite needs:
no temperature, top-k, top-p or min-p lets one through and not the other, but the hidden state tells
them apart. Only this file, its task in tasks.py and demos/train_tiny.py know about sums.

Deviations from the paper: (1) its LM is Qwen3-4B, which lm.py can load; with this LM the whole
method runs in minutes on two cores.
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
CHARACTERS = "0123456789+=;#:?"        # a token each
LENGTHS = range(3, 10)      # numbers in a sum (prototype)
NUMBERS = range(2, 13)      # (ours: small enough to be added in the head)
STOP = 0.4                  # chance of an early answer (prototype); below .5, so greedy goes on
GIVE_UP = STOP              # chance to give up at a carry (ours: the same entropy as STOP)
AT_ONCE = 0.15              # share of the training examples that are asked with "?" (ours)
CUT_SHORT = 0.25            # share whose prompt already contains some running sums and "#" (ours)


def split_of(problem: str) -> str:
    """"lm", "train" or "test": by a hash of the text, so that no sum is in two of them."""
    return ("lm", "lm", "train", "test")[zlib.crc32(problem.encode()) % 4]


def problems(split: str, seed: int) -> Iterator[tuple[list[int], str]]:
    """Yields ([7, 8, 5], "7+8+5") of one split without end, with repeats."""
    rng = random.Random(f"{split} {seed}")
    while True:
        length = rng.choice(LENGTHS)
        numbers = rng.choices(NUMBERS, k=length)
        text = "+".join(str(number) for number in numbers)
        if split_of(text) == split:
            yield numbers, text


def worked_solution(numbers: list[int], lines: int, rng: random.Random | None = None) -> str:
    """The first `lines` running sums, then the answer: "7+8=15;15+5=20#29" for 7+8+5+9 and 2.

    If there is a random generator, the writer gives up at a carry with probability GIVE_UP.
    """
    total = numbers[0]
    shown = []
    for number in numbers[1:1 + lines]:
        carry = total % 10 + number % 10 > 9
        if rng and carry and rng.random() < GIVE_UP:
            shown.append(f"{total}+{number}=?")
            return ";".join(shown)
        shown.append(f"{total}+{number}={total + number}")
        total += number
    return ";".join(shown) + f"#{sum(numbers)}"


def training_examples(seed: int) -> Iterator[tuple[str, str]]:
    """Yields (prompt, completion) for the LM's training, without end. Prompts have no loss."""
    rng = random.Random(seed)
    for numbers, text in problems("lm", seed):
        kind = rng.random()

        # 1. Asked for the answer at once: "7+8+5?" -> "#20"
        if kind < AT_ONCE:
            yield text + "?", worked_solution(numbers, lines=0)
            continue

        # 2. Made to answer after any line alike: "7+8+5+9:7+8=15#" -> "29". In the third kind, late
        #    answers are rare. "#" is in the prompt, so the chance to stop is not learned from here
        if kind < AT_ONCE + CUT_SHORT:
            lines = rng.randrange(1, len(numbers) - 1)
            shown, answer = worked_solution(numbers, lines).split("#")
            yield f"{text}:{shown}#", answer
            continue

        # 3. The writer decides: it stops after each line with probability STOP
        lines = 1
        while lines < len(numbers) - 1 and rng.random() > STOP:
            lines += 1
        yield text + ":", worked_solution(numbers, lines, rng)


def extract_sum(completion: str) -> str | None:
    """What follows "#"; None without a "#", even if the running sums end in the right number."""
    return completion.partition("#")[2] or None


# ---- the scripted oracle ------------------------------------------------------------------------
def solution_length(prompt: str) -> int:
    """Tokens of the whole solution for the prompt "7+8+5:", up to the answer's last digit."""
    numbers = [int(x) for x in prompt[:-1].split("+")]
    return len(worked_solution(numbers, lines=len(numbers)))


def scripted_oracle(lm: LM, prompts: list[str], budgets: Tensor, temperature: float) -> Policy:
    """A policy written by hand, which knows the sum: what could be gained, but not a proven bound.

    At a fork ("go on" or "answer now") it samples at the given temperature if the whole solution is
    longer than the token budget; everywhere else it is greedy. prompts, budgets: one for each row.
    """
    fits = torch.tensor([solution_length(prompt) for prompt in prompts]) <= budgets      # (rows,)
    fits = fits.to(lm.device)
    # The last token of the encoding, since some tokenizers put a token before each text
    go_on = lm.encode(";")[-1]
    answer_now = lm.encode("#")[-1]
    fork = torch.tensor(sorted([go_on, answer_now]), device=lm.device)                   # (2,)

    def policy(state: State) -> Choice:
        R = len(state.row)
        strategies = torch.tensor(GREEDY, device=lm.device).repeat(R, 1)                 # (R, 4)
        # At a fork, the two most likely tokens are ";" and "#", in either order
        best_two = state.logits.topk(2).indices.sort(1).values                           # (R, 2)
        at_fork = (best_two == fork).all(1)                                              # (R,)
        strategies[at_fork & ~fits[state.row], 0] = temperature
        return Choice(strategies, filters=False)

    return policy
