"""What was gained: held-out rewards of every policy, Pass@B, paired intervals, one table.

    python eval.py runs/sums                # remakes the table from the run's adapters and rewards
    python eval.py runs/sums --parallel 1,2,4,8                   # Pass@B for other B than 1 and 8

    Pass@B       1 - C(n - c, B) / C(n, B), c right among n samples               bandit.pass_at
    interval     bootstrap over problems and training seeds, 2,000 draws, 2.5 % to 97.5 %
    difference   the same bootstrap of (policy - best static), paired by problem

The baseline, "best static", is for each (B, token budget) the best on training problems of all
strategies that were sampled there.

Deviations from the paper: (1) its intervals fit a binomial; ours pair.
"""
from cli import Parser, UserError, run, whole_numbers       # first: see train.py

import functools
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import ranks
from bandit import Arm, pass_at
from config import Config, load, read_config
from decode import GREEDY
from features import PARALLEL, context
from lm import LM
from rewards import Rewards, embed, sample_policy, sample_static
from store import arms_from_json, damaged, load_adapter, read_json, write
from tasks import Task

# ---- statistics ---------------------------------------------------------------------------------
@functools.lru_cache
def _resamplings(seeds: int, P: int, draws: int):
    """How often each seed (draws, seeds) and each problem (draws, P) is drawn, as shares."""
    rng = np.random.default_rng(0)
    return (rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds,
            rng.multinomial(P, np.full(P, 1 / P), draws) / P)


def interval(values: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean of values (seeds, P): bootstrap over both seeds and problems."""
    by_seed, by_problem = _resamplings(*values.shape, draws)
    means = (by_seed * (by_problem @ values.T)).sum(1)                                  # (draws,)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def better(a: dict, b: dict) -> dict:
    """Of two policies' cells, in each column those of the higher mean.

    Chosen on the held-out problems themselves: a rival that is a little too good.
    """
    return {at: max(a[at], b[at], key=np.mean) for at in a}


def make_row(name: str, values: dict, baseline: dict, rival: bool = True) -> dict:
    """One table row; values and baseline: (B, T index) -> per-problem Pass@B (seeds, P)."""
    cells = {}
    for (B, t), v in values.items():
        difference = v - baseline[B, t]
        cells[f"pass@{B}[{t}]"] = {
            "mean": float(v.mean()), "interval": interval(v),
            "difference": float(difference.mean()), "difference_interval": interval(difference)}
    return {"name": name, "rival": rival, "cells": cells}


def show(rows: list[dict], budgets, Bs) -> str:
    """The table as text: percent, +- half the 95 % interval; below it the difference."""
    lines = []
    for B in Bs:
        lines.append(f"\nPass@{B} in %, 95 % interval; below it the paired difference to best "
                     "static, in brackets where its interval holds 0")
        lines.append(f"{'':32}" + "".join(f"{f'T = {T}':>14}" for T in budgets))
        for r in rows:
            cells = [r["cells"][f"pass@{B}[{i}]"] for i in range(len(budgets))]
            lines.append(f"{r['name'] + ('' if r['rival'] else ' *'):32}" + "".join(
                f"{f'''{100 * c['mean']:.1f} ±{half(c['interval']):.1f}''':>14}" for c in cells))
            if any(c["difference_interval"] != (0, 0) for c in cells):
                lines.append(" " * 32 + "".join(f"{difference(c):>14}" for c in cells))
    if not all(r["rival"] for r in rows):
        lines.append("* sees the problem: a yardstick, no competitor")
    return "\n".join(lines)


def half(interval) -> float:
    return 50 * (interval[1] - interval[0])


def difference(cell: dict) -> str:
    low, high = cell["difference_interval"]
    text = f"{round(100 * cell['difference'], 1) + 0.0:+.1f} ±{half((low, high)):.1f}"    # no -0.0
    return f"({text})" if low <= 0 <= high else text


# ---- held-out rewards ---------------------------------------------------------------------------
@dataclass
class HeldOut:
    """The held-out problems of a run, and what every policy earns on them."""
    lm: LM
    task: Task
    config: Config
    rewards: Rewards
    e: Tensor                                                        # (P, d)
    Bs: list[int]
    bar: tqdm

    def static(self, arm: Arm) -> np.ndarray:
        """Table (P, n, T) of one strategy for all prompts."""
        return self._table(str(arm), sample_static, arm)

    def policy(self, name: str, play_at) -> np.ndarray:
        """Table (P, n, T) of a policy that sees the budget; `play_at` as in `sample_policy`."""
        return self._table(name, sample_policy, play_at)

    def _table(self, name: str, sample, what) -> np.ndarray:
        table = self.rewards.get(f"test {name}", lambda: sample(
            self.lm, self.task, self.task.test, what, self.config.test_samples,
            self.config.seed, self.config.rows))
        if self.rewards.fresh:
            self.rewards.flush()
            self.bar.update()
        return table

    def prompts(self, style: str) -> list[str]:
        return [self.task.prompt(p, style) for p in self.task.test]

    def cells(self, table: np.ndarray, Bs=None) -> dict:
        """(B, T index) -> per-problem Pass@B (1, P) of a table (P, n, T)."""
        return {(B, t): pass_at(table[..., t], B)[None]
                for B in Bs or self.Bs for t in range(len(self.task.budgets))}

    def choice(self, adapter, B: int, t: int) -> Tensor:
        """The arm (P,) a bandit names for every problem: its most likely, or best estimated."""
        ones = torch.ones(len(self.e))
        x = context(self.e, B * ones, self.task.budgets[t] * ones, max(self.task.budgets))
        with torch.no_grad():
            return adapter(x).argmax(1)


def stacked(parts: list[dict]) -> dict:
    """Joins the same cells of several seeds to (seeds, P)."""
    return {at: np.concatenate([p[at] for p in parts]) for at in parts[0]}


def sequence_cells(held: HeldOut, adapter, arms: list[Arm]) -> dict:
    """A bandit's choices, read from the arms' own tables."""
    cells = {}
    for B in held.Bs:
        for t in range(len(held.task.budgets)):
            values = np.stack([pass_at(held.static(arm)[..., t], B) for arm in arms], 1)    # (P, S)
            choice = held.choice(adapter, B, t).numpy()
            cells[B, t] = values[np.arange(len(values)), choice][None]
    return cells


def both_cells(held: HeldOut, bandit, arms: list[Arm], token, seed: int) -> dict:
    """Both levels: the bandit names each prompt's arm, static or under the token level."""
    cells, n = {}, held.config.test_samples
    strategies = torch.tensor([arm.strategy for arm in arms])
    on = torch.tensor([arm.token for arm in arms])
    for B in held.Bs:
        def play_at(t, budgets):
            choice = held.choice(bandit, B, t)
            prompts = [held.task.prompt(p, arms[i].style) for p, i in zip(held.task.test, choice)]
            each = choice.repeat_interleave(n)
            return prompts, token.acting(strategies[each], on[each])

        cells |= held.cells(held.policy(f"both {seed} B={B}", play_at), [B])
    return cells


# ---- the table ----------------------------------------------------------------------------------
def read_selection(folder: str) -> tuple[dict, list[list[Arm]], list[Arm], list[Arm]]:
    """selection.json, and its arms: best static of each B and T, S, those of both levels."""
    path = f"{folder}/selection.json"
    told = read_json(path)
    try:
        return (told, [arms_from_json(line) for line in told["best_static"]],
                arms_from_json(told["arms"]), arms_from_json(told["both_arms"]))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, error)


def held_out(lm: LM, task: Task, config: Config, folder: str, bar: tqdm) -> tuple[HeldOut, dict]:
    """A run's held-out problems, and the cells of its best static strategy for each column."""
    best = read_selection(folder)[1]
    Bs = [B for B in PARALLEL if B <= min(config.samples, config.test_samples)]
    held = HeldOut(lm, task, config, Rewards(f"{folder}/rewards.npz"),
                   embed(lm, task, task.test, config.rows), Bs, bar)
    return held, {(B, t): pass_at(held.static(best[i][t])[..., t], B)[None]
                  for i, B in enumerate(Bs) for t in range(len(task.budgets))}


def evaluate(lm: LM, task: Task, config: Config, folder: str, shown: list[int] = ()) -> str:
    """Samples what is missing, writes results.json, returns the table as text.

    folder: holds selection.json, the adapters and rewards.npz of the run. shown: parallel budgets
    B of the text, the smallest and the largest where empty. Raises UserError for one not sampled.
    """
    selection, _, arms, both_arms = read_selection(folder)
    with tqdm(desc="6 held-out", unit=" tables", mininterval=1) as bar:
        held, baseline = held_out(lm, task, config, folder, bar)
        if not set(shown) <= set(held.Bs):
            raise UserError(f"--parallel of this run: {', '.join(map(str, held.Bs))}")
        every = {str(arm): held.cells(held.static(arm))
                 for arm in dict.fromkeys([Arm(config.all_styles()[0], GREEDY), *arms])}
        every["best static, per column"] = baseline
        every |= learned(held, folder, arms, both_arms)
        rows = [make_row(name, cells, baseline) for name, cells in every.items()]
        for name, cells in every.items():
            if name.startswith("token level, "):                                 # an ablation
                name = name.removeprefix("token level, ") + ", to the token level"
                rows.append(make_row(name, cells, every["token level"]))
        levels = better(every["sequence level, softmax"], every["token level"])
        rows.append(make_row("both levels, to the better level", every["both levels"], levels))
        if task.yardstick:
            rows.append(make_row("rule that sees the problem", rule_cells(held), baseline, False))
    ranks.first(lambda: write(f"{folder}/results.json", json.dumps(
        {"budgets": task.budgets, "problems": len(task.test), "samples": config.test_samples,
         "seeds": config.seeds, "selection": selection, "rows": rows}, indent=1)))
    text = show(rows, task.budgets, shown or (held.Bs[0], held.Bs[-1]))
    alone = "\none training seed: the intervals hold the spread over problems alone"
    return text + alone * (config.seeds == 1)


def learned(held: HeldOut, folder: str, arms: list[Arm], both_arms: list[Arm]) -> dict:
    """Name -> cells of every adapter of the run, its seeds stacked."""
    config, style = held.config, held.config.all_styles()[0]

    def load(kind, seed):
        return load_adapter(f"{folder}/{kind}-{seed}.safetensors", held.lm)[0]

    def token_cells(kind, seed):
        policy = load(kind, seed).acting()
        return held.cells(held.policy(f"{kind} {seed}", lambda t, _: (held.prompts(style), policy)))

    cells = {}
    for kind in ("softmax", "linucb"):
        cells[f"sequence level, {kind}"] = [sequence_cells(held, load(kind, s), arms)
                                            for s in config.all_seeds()]
    for kind in config.token_variants():
        name = kind.replace("token", "token level").replace("-no-", ", no ")
        cells[name] = [token_cells(kind, s) for s in config.all_seeds()]
    cells["both levels"] = [both_cells(held, load("both", s), both_arms, load("token", s), s)
                            for s in config.all_seeds()]
    return {name: stacked(by_seed) for name, by_seed in cells.items()}


def rule_cells(held: HeldOut) -> dict:
    """The task's yardstick, which sees the problem."""
    prompts = held.prompts(held.config.all_styles()[0])
    each = [p for p in prompts for _ in range(held.config.test_samples)]
    return held.cells(held.policy("rule", lambda t, budgets: (
        prompts, held.task.yardstick(held.lm, each, budgets))))


def main():
    parser = Parser(description="Remake the table of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--parallel", default="", help="B of the Pass@B to print, by commas "
                        "(default: the smallest and the largest sampled)")
    args = parser.parse_args()
    shown = whole_numbers(args.parallel, "--parallel")
    config = read_config(args.folder)
    print(evaluate(*load(config), config, args.folder, shown))


if __name__ == "__main__":
    run("eval.py", main)
