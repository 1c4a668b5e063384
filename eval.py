"""What was gained: held-out rewards of every policy, Pass@B, paired intervals, one table.

    python eval.py runs/sums                # remakes the table from the run's adapters and rewards

    Pass@B       1 - C(n - c, B) / C(n, B), c right among n samples               bandit.pass_at
    interval     bootstrap over problems and training seeds, 2,000 draws, 2.5 % to 97.5 %
    difference   the same bootstrap of (policy - best static), paired by problem

Baselines are chosen on training problems: "best static" is, for each (B, token budget), the best of
all strategies that were sampled. Deviations from the paper: its intervals are binomial; ours pair.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch
from tqdm import tqdm

from bandit import PARALLEL, Arm, LinUCB, SoftmaxBandit, pass_at
from decode import LM, Strategy, UserError, prompt_key, rollout, static
from features import context
from pomdp import TokenPolicy
from tasks import Problem, Task


# ---- sampling rewards ---------------------------------------------------------------------------
def sample_static(lm: LM, task: Task, problems: list[Problem], arm: Arm, n: int, seed: int,
                  rows: int) -> np.ndarray:
    """Rewards (P, n, T) of one arm at every token budget, from one sampling at the largest.

    A static strategy does not see the budget: its text under a smaller one is a prefix.
    """
    budget = torch.full((len(problems) * n,), max(task.budgets))
    policy = static(torch.tensor(arm.strategy).repeat(len(budget), 1))
    episodes = run(lm, task, problems, arm.style, policy, budget, n, seed, rows)
    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for x in episodes:
        for i, T in enumerate(task.budgets):
            same = i and len(x.tokens) <= task.budgets[i - 1]      # ended before: nothing new
            rewards[x.prompt, x.sample, i] = rewards[x.prompt, x.sample, i - 1] if same else \
                task.verify(lm.text(x.tokens[:T]), problems[x.prompt])
    return rewards


def sample_policy(lm: LM, task: Task, problems: list[Problem], style: str, policy_at, n: int,
                  seed: int, rows: int) -> np.ndarray:
    """Rewards (P, n, T) of a policy that sees the budget: one sampling a budget.

    policy_at(budget index, budgets (P * n,)) makes the policy.
    """
    rewards = np.zeros((len(problems), n, len(task.budgets)), dtype=np.uint8)
    for i, T in enumerate(task.budgets):
        budgets = torch.full((len(problems) * n,), T)
        for x in run(lm, task, problems, style, policy_at(i, budgets), budgets, n, seed, rows):
            rewards[x.prompt, x.sample, i] = task.verify(lm.text(x.tokens), problems[x.prompt])
    return rewards


def run(lm, task, problems, style, policy, budgets, n, seed, rows):
    """`rollout` over problems asked in one style."""
    prompts = [task.prompt(p, style) for p in problems]
    keys = torch.tensor([prompt_key(p) for p in prompts])
    return rollout(lm, [lm.encode(p, task.chat) for p in prompts], policy, budgets, keys, n, seed, rows)


def embed(lm: LM, task: Task, problems: list[Problem], rows: int) -> torch.Tensor:
    """Prompt embeddings e (P, d), of the first style."""
    style = next(iter(task.styles))
    greedy = static(torch.tensor([[0.0, 0, 1, 0]] * len(problems)))
    episodes = run(lm, task, problems, style, greedy, torch.ones(len(problems)).long(), 1, 0, rows)
    return torch.stack([x.e for x in episodes])


# ---- statistics ---------------------------------------------------------------------------------
def interval(values: np.ndarray, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % of the mean of values (seeds, P), resampling both seeds and problems."""
    rng = np.random.default_rng(seed)
    seeds, P = values.shape
    means = [values[rng.integers(seeds, size=seeds)].mean(0)[rng.integers(P, size=P)].mean()
             for _ in range(draws)]
    return tuple(float(x) for x in np.quantile(means, (0.025, 0.975)))


def row(name: str, values: dict, baseline: dict, rival: bool = True) -> dict:
    """One table row; values and baseline: (B, T index) -> (seeds, P) of per-problem Pass@B."""
    cells = {}
    for at, v in values.items():
        difference = v - baseline[at]
        cells[f"pass@{at[0]}[{at[1]}]"] = {
            "mean": float(v.mean()), "interval": interval(v), "difference": float(difference.mean()),
            "difference_interval": interval(difference)}
    return {"name": name, "rival": rival, "cells": cells}


def show(rows: list[dict], budgets, Bs) -> str:
    """The table as text: percent, +- half the interval, and the paired difference to best static."""
    lines = []
    for B in Bs:
        lines.append(f"\nPass@{B} in %, by token budget; below it the difference to best static")
        lines.append(f"{'':34}" + "".join(f"{f'T = {T}':>16}" for T in budgets))
        for r in rows:
            cells = [r["cells"].get(f"pass@{B}[{i}]") for i in range(len(budgets))]
            if not all(cells):
                continue
            star = "" if r["rival"] else " *"
            lines.append(f"{r['name'] + star:34}" + "".join(
                f"{100 * c['mean']:9.1f} +-{50 * (c['interval'][1] - c['interval'][0]):4.1f}"
                for c in cells))
            if any(c["difference"] for c in cells):
                lines.append(" " * 34 + "".join(
                    "{:+6.1f}[{:+5.1f},{:+5.1f}]".format(
                        100 * c["difference"], *(100 * x for x in c["difference_interval"]))
                    .rjust(21)[-20:].rjust(16) for c in cells))
    if not all(r["rival"] for r in rows):
        lines.append("* sees the problem: a yardstick, no competitor")
    return "\n".join(lines)
