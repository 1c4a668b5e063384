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

from bandit import PARALLEL, Arm, LinUCB, pass_at
from decode import GREEDY, LM, UserError, prompt_key, rollout, static
from features import context
from store import Rewards, arms_from_json, load_adapter, read_config, write
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


# ---- the rows of the table ----------------------------------------------------------------------
def measured(task, table: np.ndarray, Bs) -> dict:
    """(B, T index) -> per-problem Pass@B (1, P) of rewards (P, n, T)."""
    return {(B, t): pass_at(table[..., t], B)[None] for B in Bs for t in range(len(task.budgets))}


def stacked(parts: list[dict]) -> dict:
    """Joins the same cells of several seeds to (seeds, P)."""
    return {at: np.concatenate([p[at] for p in parts]) for at in parts[0]}


def chosen_arms(adapter, e: torch.Tensor, B: int, T: int, horizon: int) -> torch.Tensor:
    """The sequence-level choice (P,) at prompt embeddings e (P, d): the arg-max of either bandit."""
    ones = torch.ones(len(e))
    x = context(e, B * ones, T * ones, horizon)
    with torch.no_grad():
        score = adapter.bounds(x)[0] if isinstance(adapter, LinUCB) else adapter(x)
    return score.argmax(1)


def sequence_cells(adapter, e, task, arms, tables: dict, Bs) -> dict:
    """Per-problem Pass@B of a bandit's choices, read from the arms' own tables."""
    cells = {}
    for B in Bs:
        for t, T in enumerate(task.budgets):
            values = np.stack([pass_at(tables[arm][..., t], B) for arm in arms], 1)     # (P, S)
            choice = chosen_arms(adapter, e, B, T, max(task.budgets)).numpy()
            cells[B, t] = values[np.arange(len(values)), choice][None]
    return cells


def evaluate(lm: LM, task: Task, config, folder: str) -> str:
    """Samples what is missing, writes results.json, returns the table as text.

    config: `train.Config` of the run. folder: holds selection.json, adapters and rewards.npz.
    """
    with open(os.path.join(folder, "selection.json")) as file:
        selection = json.load(file)
    rewards, problems = Rewards(os.path.join(folder, "rewards.npz")), task.test
    n, rows, seed = config.test_samples, config.rows, config.seed + 1_000_003   # ours: not train's
    Bs = [B for B in PARALLEL if B <= n]
    arms = arms_from_json(selection["arms"])
    best = [arms_from_json(line) for line in selection["best_static"]]           # by B, by T
    e = embed(lm, task, problems, rows)

    def static_table(arm):
        return rewards.get(f"test {arm}", lambda: sample_static(lm, task, problems, arm, n, seed,
                                                                rows))

    statics = list(dict.fromkeys([Arm(arms[0].style, GREEDY), *arms, *sum(best, [])]))
    tables = {}
    for arm in tqdm(statics, desc="5 held-out, static", mininterval=1):
        tables[arm] = static_table(arm)
        rewards.flush()
    baseline = {(B, t): pass_at(tables[best[i][t]][..., t], B)[None]
                for i, B in enumerate(Bs) for t in range(len(task.budgets))}
    table = [row(str(arm), measured(task, tables[arm], Bs), baseline)
             for arm in dict.fromkeys([statics[0], *arms])]
    table.append(row("best static (each column's)", baseline, baseline))
    seeds = range(config.seeds)
    load = {}
    for kind in ("softmax", "linucb", "token"):
        load[kind] = [load_adapter(f"{folder}/{kind}-{s}.safetensors", lm)[0] for s in seeds]
    for kind in ("softmax", "linucb"):
        table.append(row(f"sequence level, {kind}", stacked(
            [sequence_cells(a, e, task, arms, tables, Bs) for a in load[kind]]), baseline))

    def token_table(name, policy, style, bases_at=None):
        return rewards.get(f"test {name}", lambda: sample_policy(
            lm, task, problems, style,
            lambda t, _: policy.acting(bases_at(t) if bases_at else None), n, seed, rows))

    style = config.styles.split(",")[0]
    levels = ["token"] + ([f"token-no-{x}" for x in ("budget", "hidden")] if config.ablations else [])
    for name in levels:
        cells = []
        for s in tqdm(seeds, desc=f"5 held-out, {name}", mininterval=1):
            policy = load_adapter(f"{folder}/{name}-{s}.safetensors", lm)[0]
            cells.append(measured(task, token_table(f"{name} {s}", policy, style), Bs))
            rewards.flush()
        table.append(row(name.replace("token", "token level").replace("-no-", ", no "),
                         stacked(cells), baseline))
    cells = []
    for s in tqdm(seeds, desc="5 held-out, both", mininterval=1):
        one = {}
        for B in (Bs[0], Bs[-1]):
            def bases_at(t):
                choice = chosen_arms(load["softmax"][s], e, B, task.budgets[t], max(task.budgets))
                strategies = torch.tensor([arm.strategy for arm in arms])
                return strategies[choice].repeat_interleave(n, 0)
            both = token_table(f"both {s} B={B}", load["token"][s], style, bases_at)
            one |= {at: v for at, v in measured(task, both, Bs).items() if at[0] == B}
        cells.append(one)
        rewards.flush()
    table.append(row("both levels", stacked(cells), baseline))
    if task.yardstick:
        prompts = [task.prompt(p, style) for p in problems for _ in range(n)]
        rule = rewards.get("test rule", lambda: sample_policy(
            lm, task, problems, style,
            lambda t, budgets: task.yardstick(lm, prompts, budgets), n, seed, rows))
        table.append(row("rule that sees the problem", measured(task, rule, Bs), baseline, False))
        rewards.flush()
    write(os.path.join(folder, "results.json"), json.dumps(
        {"budgets": task.budgets, "problems": len(problems), "samples": n, "seeds": config.seeds,
         "selection": selection, "rows": table}, indent=1))
    return show(table, task.budgets, (Bs[0], Bs[-1]))


def main():
    parser = argparse.ArgumentParser(description="Remake the table of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    folder = parser.parse_args().folder
    from train import Config, make_task                   # here: train.py imports this file
    config = Config(**read_config(folder))
    lm = LM.load(config.model, config.device, config.dtype)
    print(evaluate(lm, make_task(config), config, folder))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"eval.py: {error}")
