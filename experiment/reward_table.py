"""The reward table: which samples of which policy on which problem were right, kept on disk.

    table[prompt, arm, sample, token budget] in {0, 1}                                  (P, S, n, T)

Sampling is what costs; everything that learns from a table replays it, so that another learning
rate costs seconds. Pass@B for every B comes from the n samples, without bias (`bandit.pass_at`).
"""
import dataclasses
import io
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, NamedTuple

import numpy as np
import torch
from torch import Tensor

from decode import OnStep, GREEDY, Episode, Policy, Strategy, generate, static
from grading import sandbox
from lm import LM
from tasks import Task
from utils import distributed
from utils.files import damaged, write
from utils.problem_files import Problem
from utils.profiling import clock

GradeFn = Callable[[int, Tensor], float | list[float]]         # of a prompt's index and tokens
PolicyAt = Callable[[int, Tensor], tuple[list[str], Policy]]   # see `sample_policy`


class Arm(NamedTuple):
    """What the sequence level chooses: how to ask, how to sample, who sets the temperature."""
    style: str
    strategy: Strategy
    token: bool = False                  # True: the token level does, over the strategy's filters

    def __str__(self) -> str:
        strategy = str(self.strategy).replace("T=1", "token level") if self.token else self.strategy
        return f"{self.style} {strategy}"


def grade_fn(lm: LM, task: Task, problems: list[Problem]) -> GradeFn:
    """By prompt index, of a call's own problems."""
    return lambda prompt, tokens: task.grade(lm.text(tokens), problems[prompt])


class RewardStore:
    """name -> array, in one npz file; `get` samples what is not there yet, `flush` writes it."""

    def __init__(self, path: str):
        self.path, self.arrays, self.fresh = path, distributed.main_process_first(lambda: read_arrays(path)), False

    def get(self, name: str, sample: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.arrays:
            self.arrays[name], self.fresh = sample(), True
        return self.arrays[name]

    def flush(self) -> None:
        if self.fresh:
            distributed.main_process_first(lambda: write(self.path, packed(self.arrays)))
            self.fresh = False


def packed(arrays: dict) -> bytes:
    """An npz file, made in memory: zipfile on a full disk raises more than once."""
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    return data.getvalue()


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Nothing where there is no file. Raises UserError for a damaged one."""
    if not os.path.exists(path):
        return {}
    try:
        with np.load(path) as file:
            return {k: file[k] for k in file.files}
    except Exception as error:                       # a damaged file raises kinds of zipfile's own
        raise damaged(path, error)


# ---- sampling: each process plays its share of the problems; what all get is gathered -----------
def collect(lm: LM, task: Task, prompts: list[str], policy: Policy, budgets: Tensor, n: int, seed: int,
         rows: int, judge: GradeFn | None = None,
         on_step: OnStep | None = None) -> list[Episode]:
    """`generate`, with rewards; budgets (N * n,). N may be 0: an empty share.

    judge(prompt index, tokens) gives an episode's reward. Where it runs programs, which take their
    seconds in processes of their own, it does so in threads, as soon as the text has ended and
    while the LM decodes others. Answers take microseconds, and threads would only get in the way.
    """
    if not prompts:
        return []
    if judge is None:
        return generate(lm, prompts, policy, budgets, n, seed, rows, on_step=on_step)
    judges, verdicts = ThreadPoolExecutor(sandbox.CORES), {}

    def on_end(row: int, tokens: Tensor) -> None:
        verdicts[row] = judges.submit(judge, row // n, tokens)

    try:
        episodes = generate(lm, prompts, policy, budgets, n, seed, rows,
                            on_end if task.runs_programs else None, on_step)
        with clock("grading, or waiting for it"):
            for row, x in enumerate(episodes):
                x.reward = verdicts[row].result() if verdicts else judge(row // n, x.tokens)
    finally:
        judges.shutdown(wait=False, cancel_futures=True)    # Ctrl-C waits for what runs, no queue
    return episodes


def sample_static(lm: LM, task: Task, problems: list[Problem], arm: Arm, n: int, seed: int,
                  rows: int) -> np.ndarray:
    """RewardStore (P, n, T) of one arm."""
    return sample_budget_blind(lm, task, problems, arm.style, static(torch.tensor([arm.strategy])), n,
                        seed, rows)


def sample_budget_blind(lm: LM, task: Task, problems: list[Problem], style: str, policy: Policy, n: int,
                 seed: int, rows: int) -> np.ndarray:
    """RewardStore (P, n, T) at every token budget, from one sampling at the largest.

    Of a policy that does not see the budget: its text under a smaller one is a prefix.
    """
    problems = problems[distributed.share(len(problems))]
    budget = torch.full((len(problems) * n,), max(task.budgets))
    prompts = [task.prompt(p, style) for p in problems]

    def judge(prompt: int, tokens: Tensor) -> list[float]:
        verdicts = []                                                                   # (T,)
        for i, T in enumerate(task.budgets):
            same = i and len(tokens) <= task.budgets[i - 1]        # ended before: nothing new
            verdicts.append(verdicts[-1] if same else
                            task.grade(lm.text(tokens[:T]), problems[prompt]))
        return verdicts

    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for x in collect(lm, task, prompts, policy, budget, n, seed, rows, judge):
        rewards[x.prompt, x.sample] = x.reward
    return distributed.gather(rewards)


def sample_policy(lm: LM, task: Task, problems: list[Problem], policy_at: PolicyAt, n: int,
                  seed: int, rows: int) -> np.ndarray:
    """RewardStore (P, n, T) of a policy that sees the budget: one sampling a budget.

    policy_at(budget index, budgets (P * n,)) gives the prompts (P of them) and the policy.
    """
    part = distributed.share(len(problems))
    mine, start = problems[part], part.start * n                     # the share, and its first row
    rewards = np.zeros((len(mine), n, len(task.budgets)), dtype=np.uint8)
    for t, T in enumerate(task.budgets):
        budgets = torch.full((len(problems) * n,), T)
        prompts, policy = policy_at(t, budgets)
        for x in collect(lm, task, prompts[part], from_row(start, policy), budgets[:len(mine) * n], n,
                      seed, rows, grade_fn(lm, task, mine)):
            rewards[x.prompt, x.sample, t] = x.reward
    return distributed.gather(rewards)


def from_row(start: int, policy: Policy) -> Policy:
    """The policy of a call's rows start, start + 1 .., for a call with these rows alone."""
    return lambda state: policy(dataclasses.replace(state, row=state.row + start))


def embed_prompts(lm: LM, task: Task, problems: list[Problem], rows: int) -> Tensor:
    """Prompt embeddings e (P, d), of the task's first style."""
    prompts = [task.prompt(p, next(iter(task.styles)))
               for p in problems[distributed.share(len(problems))]]
    greedy = static(torch.tensor([GREEDY]))
    e = torch.zeros(len(prompts), lm.d)
    for x in collect(lm, task, prompts, greedy, torch.ones(len(prompts)).long(), 1, 0, rows):
        e[x.prompt] = x.e
    return distributed.gather(e)
