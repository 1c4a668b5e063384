"""The reward table: which samples of which policy on which problem were right, kept on disk.

    table[problem, arm, sample, token budget] in {0, 1}                                 (P, S, n, T)

Sampling is what costs. Everything that learns from a table replays it, so that another learning
rate costs seconds. Pass@B for every B comes from the n samples, without bias (`bandit.pass_at`).

Each process samples its share of the problems, and all get the whole table.
"""
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Callable, NamedTuple

import numpy as np
import torch
from torch import Tensor

from decode import GREEDY, Episode, OnStep, Policy, Strategy, generate, static
from experiment.progress import progress
from grading import sandbox
from lm import LM
from tasks import Task
from utils import distributed
from utils.files import damaged, write_arrays
from utils.problem_files import Problem
from utils.profiling import clock

GradeFn = Callable[[int, Tensor], Any]         # (a prompt's index, tokens): a reward, or some
# (token budget index, which problems) -> their prompts, and the policy, whose row 0 is the first's
PolicyAt = Callable[[int, slice], tuple[list[str], Policy]]


class Arm(NamedTuple):
    """What the sequence level chooses: how to ask, how to sample, who sets the temperature."""
    style: str
    strategy: Strategy
    token: bool = False                  # True: the token level does, over the strategy's filters

    def __str__(self) -> str:
        strategy = str(self.strategy)
        if self.token:
            strategy = strategy.replace("tau=1", "token level")
        return f"{self.style} {strategy}"


# ---- on disk ------------------------------------------------------------------------------------
class RewardStore:
    """name -> array, in one npz file; `get` samples what is missing, `flush` writes the file."""

    def __init__(self, path: str):
        self.path = path
        self.arrays: dict[str, Any] = distributed.main_process_first(partial(read_arrays, path))
        self.changed = False             # is there something that the file lacks?
        self.written = time.monotonic()

    def get(self, name: str, sample: Callable[[], np.ndarray]) -> np.ndarray:
        if name not in self.arrays:
            self.arrays[name] = sample()
            self.changed = True
        return self.arrays[name]

    def flush(self, seconds: float = 0) -> None:
        """Writes what is new; with seconds, only if the last time is so long ago."""
        # Processes have clocks of their own, and all of them write or none
        if self.changed and distributed.main_process_first(
                lambda: time.monotonic() - self.written >= seconds):
            write_arrays(self.path, self.arrays)
            self.changed = False
            self.written = time.monotonic()


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Nothing if there is no file. Raises UserError for a damaged one."""
    if not os.path.exists(path):
        return {}
    try:
        with np.load(path) as file:
            return {k: file[k] for k in file.files}
    except Exception as error:                       # zipfile raises errors of many kinds
        raise damaged(path, error)


# ---- sampling -----------------------------------------------------------------------------------
def grade_fn(lm: LM, task: Task, problems: list[Problem], prompts: list[str]) -> GradeFn:
    """Grades the completions of these problems, whose prompts are given in the same order.

    A completion that no end token ends is truncated: it ran out of tokens, or is a prefix.
    """
    ids = [lm.encode(prompt) for prompt in prompts]
    ends = set(lm.ends.tolist())

    def grade(prompt: int, tokens: Tensor) -> float:
        completion = tokens.tolist()
        text = lm.answer_text(completion, ids[prompt])
        return task.grade(text, problems[prompt], completion[-1] not in ends)

    return grade


def collect(lm: LM, task: Task, prompts: list[str], policy: Policy, budgets: Tensor, n: int,
            seed: int, rows: int, grade: GradeFn | None = None,
            on_step: OnStep | None = None) -> list[Episode]:
    """`generate`, with rewards; budgets (N * n,). N may be 0, for an empty share.

    grade(prompt index, tokens) gives an episode's reward. A task that runs programs is graded in
    threads, as soon as a completion has ended and while the LM decodes others: the programs take
    seconds, in processes of their own. Other answers take microseconds, and are graded at the end.
    """
    if not prompts:
        return []
    progress.sampled += int(budgets.sum())
    if grade is None:
        return generate(lm, prompts, policy, budgets, n, seed, rows, on_step=on_step)
    threads = ThreadPoolExecutor(sandbox.CORES)
    verdicts = {}                                                    # row -> its coming reward

    def on_end(row: int, tokens: Tensor) -> None:
        verdicts[row] = threads.submit(grade, row // n, tokens)

    try:
        episodes = generate(lm, prompts, policy, budgets, n, seed, rows,
                            on_end if task.runs_programs else None, on_step)
        with clock("grading, or waiting for it"):
            for row, episode in enumerate(episodes):
                if task.runs_programs:
                    episode.reward = verdicts[row].result()
                else:
                    episode.reward = grade(row // n, episode.tokens)
    finally:
        # Ctrl-C waits for the programs that run now, not for those in the queue
        threads.shutdown(wait=False, cancel_futures=True)
    return episodes


def sample_static(lm: LM, task: Task, problems: list[Problem], arm: Arm, n: int, seed: int,
                  rows: int) -> np.ndarray:
    """Rewards (P, n, T) of one static arm."""
    policy = static(torch.tensor([arm.strategy]))
    # Greedy gives the same completion every time: one sample stands for all
    once = 1 if arm.strategy == GREEDY else n
    table = sample_budget_blind(lm, task, problems, arm.style, policy, once, seed, rows)
    return table.repeat(n // once, axis=1)


def sample_budget_blind(lm: LM, task: Task, problems: list[Problem], style: str, policy: Policy,
                        n: int, seed: int, rows: int) -> np.ndarray:
    """Rewards (P, n, T) of a policy that does not see the token budget, from one sampling.

    It is sampled at the largest budget: its completion under a smaller one is a prefix.
    """
    problems = problems[distributed.share(len(problems))]
    prompts = [task.prompt(p, style) for p in problems]
    largest = torch.full((len(problems) * n,), max(task.budgets))
    grade = grade_fn(lm, task, problems, prompts)

    def grade_prefixes(prompt: int, tokens: Tensor) -> list[float]:
        rewards: list[float] = []                                                       # (T,)
        for i, T in enumerate(task.budgets):
            if i > 0 and len(tokens) <= task.budgets[i - 1]:
                rewards.append(rewards[-1])          # it ended before: this budget adds nothing
            else:
                rewards.append(grade(prompt, tokens[:T]))
        return rewards

    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for x in collect(lm, task, prompts, policy, largest, n, seed, rows, grade_prefixes):
        rewards[x.prompt, x.sample] = x.reward
    return distributed.gather(rewards)


def at_every_budget(prompts: list[str], policy: Policy) -> PolicyAt:
    """For `sample_policy`: the same prompts and the same policy at each token budget."""
    def policy_at(t: int, part: slice) -> tuple[list[str], Policy]:
        return prompts[part], policy

    return policy_at


def sample_policy(lm: LM, task: Task, problems: list[Problem], policy_at: PolicyAt, n: int,
                  seed: int, rows: int) -> np.ndarray:
    """Rewards (P, n, T) of a policy that sees the token budget: one sampling for each budget."""
    part = distributed.share(len(problems))              # of this process
    problems = problems[part]
    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for t, T in enumerate(task.budgets):
        prompts, policy = policy_at(t, part)
        budgets = torch.full((len(problems) * n,), T)
        grade = grade_fn(lm, task, problems, prompts)
        for x in collect(lm, task, prompts, policy, budgets, n, seed, rows, grade):
            rewards[x.prompt, x.sample, t] = x.reward
    return distributed.gather(rewards)


def embed_prompts(lm: LM, task: Task, problems: list[Problem], style: str, rows: int) -> Tensor:
    """Prompt embeddings e (P, d): the last hidden state of each prompt in one style.

    Every context of a run uses the run's first style, whichever style an arm then asks in: the
    bandit chooses the style, so x must not depend on that choice.
    """
    prompts = [task.prompt(p, style) for p in problems[distributed.share(len(problems))]]
    one_token = torch.ones(len(prompts)).long()
    greedy = static(torch.tensor([GREEDY]))
    e = torch.zeros(len(prompts), lm.d)
    for x in collect(lm, task, prompts, greedy, one_token, n=1, seed=0, rows=rows):
        e[x.prompt] = x.e
    return distributed.gather(e)
