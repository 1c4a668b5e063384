"""The reward table: which samples of which policy on which problem were right, kept on disk.

    table[prompt, arm, sample, token budget] in {0, 1}                                  (P, S, n, T)

Sampling is what costs; everything that learns from a table replays it, so that another learning
rate costs seconds. Pass@B for every B comes from the n samples, without bias (`bandit.pass_at`).
"""
import io
import os

import numpy as np
import torch
from torch import Tensor

from bandit import Arm
from decode import GREEDY, Episode, Policy, prompt_key, rollout, static
from lm import LM
from store import damaged, write
from tasks import Problem, Task


class Rewards:
    """name -> array, in one npz file; `get` samples what is not there yet, `flush` writes it."""

    def __init__(self, path: str):
        self.path, self.arrays, self.fresh = path, {}, False
        if os.path.exists(path):
            try:
                with np.load(path) as file:
                    self.arrays = {k: file[k] for k in file.files}
            except Exception as error:               # a damaged file raises kinds of zipfile's own
                raise damaged(path, error)

    def get(self, name: str, sample) -> np.ndarray:
        if name not in self.arrays:
            self.arrays[name], self.fresh = sample(), True
        return self.arrays[name]

    def flush(self):
        if self.fresh:
            data = io.BytesIO()                      # zipfile on a full disk raises more than once
            np.savez_compressed(data, **self.arrays)
            write(self.path, data.getvalue())
            self.fresh = False


def play(lm: LM, task: Task, prompts: list[str], policy: Policy, budgets: Tensor, n: int, seed: int,
         rows: int) -> list[Episode]:
    """`rollout` of n samples a prompt; budgets (N * n,)."""
    keys = torch.tensor([prompt_key(p) for p in prompts])
    ids = [lm.encode(p, task.chat, task.thinking) for p in prompts]
    return rollout(lm, ids, policy, budgets, keys, n, seed, rows)


def sample_static(lm: LM, task: Task, problems: list[Problem], arm: Arm, n: int, seed: int,
                  rows: int) -> np.ndarray:
    """Rewards (P, n, T) of one arm at every token budget, from one sampling at the largest.

    A static strategy does not see the budget: its text under a smaller one is a prefix.
    """
    budget = torch.full((len(problems) * n,), max(task.budgets))
    policy = static(torch.tensor(arm.strategy).repeat(len(budget), 1))
    prompts = [task.prompt(p, arm.style) for p in problems]
    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for x in play(lm, task, prompts, policy, budget, n, seed, rows):
        for i, T in enumerate(task.budgets):
            same = i and len(x.tokens) <= task.budgets[i - 1]      # ended before: nothing new
            rewards[x.prompt, x.sample, i] = rewards[x.prompt, x.sample, i - 1] if same else \
                task.grade(lm.text(x.tokens[:T]), problems[x.prompt])
    return rewards


def sample_policy(lm: LM, task: Task, problems: list[Problem], play_at, n: int, seed: int,
                  rows: int) -> np.ndarray:
    """Rewards (P, n, T) of a policy that sees the budget: one sampling a budget.

    play_at(budget index, budgets (P * n,)) gives the prompts (P of them) and the policy.
    """
    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for i, T in enumerate(task.budgets):
        budgets = torch.full((len(problems) * n,), T)
        prompts, policy = play_at(i, budgets)
        for x in play(lm, task, prompts, policy, budgets, n, seed, rows):
            rewards[x.prompt, x.sample, i] = task.grade(lm.text(x.tokens), problems[x.prompt])
    return rewards


def embed(lm: LM, task: Task, problems: list[Problem], rows: int) -> Tensor:
    """Prompt embeddings e (P, d), of the task's first style."""
    prompts = [task.prompt(p, next(iter(task.styles))) for p in problems]
    greedy = static(torch.tensor(GREEDY).repeat(len(problems), 1))
    return torch.stack([x.e for x in play(lm, task, prompts, greedy,
                                          torch.ones(len(problems)).long(), 1, 0, rows)])
