"""The held-out problems of a run, and what every policy earns on them: what the tables are made of.

A *table* (P, n, T) has the rewards of one policy. rewards.npz keeps it under the policy's name;
what is missing there is sampled. *Cells* have the Pass@B of each problem and training seed, for
every B and token budget. eval.py says which policies stand in which of the paper's tables.

Shapes: P held-out problems, n samples, T token budgets, S arms, K training seeds.
"""
import functools
import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bandit import best_arm, pass_at
from decode import Policy
from experiment.adapters import arms_from_json, load_adapter
from experiment.optimum import TooLarge, action_probabilities, grow, value
from experiment.progress import progress
from experiment.reward_table import (Arm, PolicyAt, at_every_budget, grade_fn,
                                     sample_budget_blind, sample_policy, sample_static)
from experiment.run import Run
from experiment.selection import Selection
from experiment.stats import oracle
from features import PARALLEL_BUDGETS
from pomdp import TEMPERATURES
from utils.files import damaged, read_json

Cells = dict[tuple[int, int], np.ndarray]    # (B, T index) -> per-problem Pass@B (K, P)


@dataclass
class HeldOut:
    """Problems, and for each policy its rewards (a table) or its Pass@B (cells)."""
    run: Run
    selection: dict                                                  # selection.json
    e: Tensor                                                        # (P, d)
    Bs: list[int]
    bar: tqdm                                                        # says what is sampled

    @functools.cached_property
    def sets(self) -> dict[str, Selection]:
        """The action sets by their styles, such as "cot,direct"; the first style's comes first."""
        return {styles: Selection.from_json(x) for styles, x in self.selection["sets"].items()}

    @property
    def style(self) -> str:
        return self.run.config.all_styles()[0]

    def prompts(self, style: str) -> list[str]:
        return [self.run.task.prompt(p, style) for p in self.run.task.test]

    @property
    def columns(self) -> list[tuple[int, int]]:
        """Every (B, T index) of a table."""
        return list(itertools.product(self.Bs, range(len(self.run.task.budgets))))

    # ---- tables: rewards (P, n, T), sampled if they are not on disk ----
    def arm_table(self, arm: Arm) -> np.ndarray:
        """Of one static arm for all prompts."""
        return self.table(str(arm), partial(self.sampled_by(sample_static), arm=arm))

    def budget_blind_table(self, name: str, policy: Policy) -> np.ndarray:
        """Of a policy that does not see the budget, as in `sample_budget_blind`."""
        sample = self.sampled_by(sample_budget_blind)
        return self.table(name, partial(sample, style=self.style, policy=policy))

    def policy_table(self, name: str, policy_at: PolicyAt, n: int | None = None) -> np.ndarray:
        """Of a policy that sees the budget; policy_at as in `sample_policy`."""
        sample = self.sampled_by(sample_policy, n)
        return self.table(name, partial(sample, policy_at=policy_at))

    def sampled_by(self, sampler: Callable[..., np.ndarray], n: int | None = None
                   ) -> Callable[..., np.ndarray]:
        """A function of reward_table.py on the held-out problems, as this run samples them.

        So `arm_table(arm)` is sample_static(lm, task, problems, arm, n, seed, rows).
        """
        config = self.run.config
        return partial(sampler, self.run.lm, self.run.task, self.run.task.test, seed=config.seed,
                       rows=config.rows, n=n or config.test_samples)

    def table(self, name: str, sample: Callable[[], np.ndarray]) -> np.ndarray:
        """The table that rewards.npz has under this name, or sample()."""
        if f"test {name}" not in self.run.rewards.arrays:
            self.bar.set_postfix(sampling=name, **progress.left())
        table = self.run.rewards.get(f"test {name}", sample)
        self.run.rewards.flush()
        return table

    # ---- static policies: cells ----
    def cells(self, table: np.ndarray, Bs: Sequence[int] | None = None) -> Cells:
        """Pass@B of a table (P, n, T), as of one seed; a B above n has no cell."""
        cells = {}
        for B, t in self.columns:
            if B <= table.shape[1] and B in (Bs or self.Bs):
                cells[B, t] = pass_at(table[..., t], B)[None]                           # (1, P)
        return cells

    def arm(self, arm: Arm) -> Cells:
        return self.cells(self.arm_table(arm))

    def arm_values(self, arms: Sequence[Arm], B: int, t: int) -> np.ndarray:
        """Pass@B (P, S) of every arm at one token budget."""
        return np.stack([pass_at(self.arm_table(arm)[..., t], B) for arm in arms], 1)

    def best_static(self, selection: Selection) -> Cells:
        """In each column the arm that was the best there on the training problems."""
        cells = {}
        for B, t in self.columns:
            arm = selection.best_static[self.Bs.index(B)][t]
            cells[B, t] = pass_at(self.arm_table(arm)[..., t], B)[None]
        return cells

    def best_static_in_hindsight(self, selection: Selection) -> Cells:
        """In each column the best arm on these very problems, which nobody can know before.

        Out of S and of the arms that were best in training: no other arm was sampled here.
        """
        arms = {*selection.arms, *selection.best_of_all}
        for line in selection.best_static:
            arms.update(line)
        cells = {}
        for B, t in self.columns:
            values = self.arm_values(sorted(arms), B, t)                                # (P, S)
            cells[B, t] = values[:, values.mean(0).argmax()][None]
        return cells

    def mixed_static(self, arms: list[Arm]) -> Cells:
        """An arm of S at random for each prompt."""
        return {(B, t): self.arm_values(arms, B, t).mean(1)[None] for B, t in self.columns}

    def oracle_per_prompt(self, arms: list[Arm]) -> Cells:
        """The best arm of S for each prompt, as stats.oracle estimates it."""
        table = np.stack([self.arm_table(arm) for arm in arms], 1)                 # (P, S, n, T)
        n = table.shape[2]
        return {(B, t): oracle(table[..., t], B)[None] for B, t in self.columns if 2 * B <= n}

    def scripted_oracle(self) -> Cells:
        """The task's scripted oracle, which sees the problem. Not every task has one."""
        task = self.run.task
        prompts = self.prompts(self.style)
        scripted_oracle = task.scripted_oracle
        assert scripted_oracle

        def policy_at(t: int, part: slice) -> tuple[list[str], Policy]:
            one_a_row = [p for p in prompts[part] for _ in range(self.run.config.test_samples)]
            budgets = torch.full((len(one_a_row),), task.budgets[t])
            return prompts[part], scripted_oracle(self.run.lm, one_a_row, budgets,
                                                  max(TEMPERATURES))

        return self.cells(self.policy_table("scripted oracle", policy_at))

    def optimum(self) -> Cells:
        """The best that the token level's actions can do for a player who knows the answer.

        Exact, not sampled: Pass@B = 1 - (1 - V)^B, since the B samples are independent.
        """
        task = self.run.task
        prompts = self.prompts(self.style)
        grade = grade_fn(self.run.lm, task, task.test, prompts)

        def values() -> np.ndarray:
            try:
                tree = grow(self.run.lm, prompts, grade, task.budgets, everywhere=False)
            except TooLarge:
                return np.full((len(prompts), len(task.budgets)), np.nan)
            p = action_probabilities(tree)
            return np.stack([value(tree, T, p)[0].cpu().numpy() for T in task.budgets], 1)

        V = self.run.rewards.get("test optimum", values)                                # (P, T)
        self.run.rewards.flush()
        if np.isnan(V).any():
            return {}                            # no row: another LM's trees are too large
        return {(B, t): 1 - (1 - V[None, :, t]) ** B for B, t in self.columns}

    # ---- trained policies: cells ----
    def load(self, kind: str, seed: int) -> tuple[Any, dict]:
        return load_adapter(self.run.file(kind, seed), self.run.lm)

    def over_seeds(self, cells_of: Callable[[int], Cells]) -> Cells:
        """The cells of all training seeds together: cells_of(seed) gives those of one seed."""
        parts = [cells_of(seed) for seed in self.run.config.all_seeds()]
        return {at: np.concatenate([cells[at] for cells in parts]) for at in parts[0]}

    def choice(self, bandit: nn.Module, parts: Sequence[str], B: int, t: int) -> Tensor:
        """The arm (P,) that a bandit chooses for each problem."""
        budgets = self.run.task.budgets
        return best_arm(bandit, self.e, B, budgets[t], max(budgets), parts)

    def bandit(self, kind: str, arms: list[Arm]) -> Cells:
        """A bandit on static arms, all seeds."""
        table = np.stack([self.arm_table(arm) for arm in arms], 1)              # (P, S, n, T)

        def of_seed(seed: int) -> Cells:
            bandit, about = self.load(kind, seed)
            return chosen_cells(bandit, about["parts"], self.e, table, self.run.task.budgets,
                                self.Bs)

        return self.over_seeds(of_seed)

    def token(self, kind: str) -> Cells:
        """A token policy, all seeds. Baselines and ablations are scored on half of the samples."""
        n = self.run.config.test_samples
        if kind != "token":
            n = max(1, n // 2)

        def of_seed(seed: int) -> Cells:
            policy, _ = self.load(kind, seed)
            policy_at = at_every_budget(self.prompts(self.style), policy)
            return self.cells(self.policy_table(f"{kind} {seed}", policy_at, n))

        return self.over_seeds(of_seed)

    def both(self, styles: str) -> Cells:
        """Both levels, all seeds: for each prompt the bandit chooses static or the token level."""
        return self.over_seeds(lambda seed: self._both_of_seed(styles, seed))

    def _both_of_seed(self, styles: str, seed: int) -> Cells:
        bandit, about = self.load(f"both {styles}", seed)
        token, _ = self.load("token", seed)
        arms = arms_from_json(about["arms"])
        strategies = torch.tensor([arm.strategy for arm in arms])                       # (S, 4)
        active = torch.tensor([arm.token for arm in arms])                              # (S,)

        def policy_at(B: int, t: int, part: slice) -> tuple[list[str], Policy]:
            choice = self.choice(bandit, about["parts"], B, t)[part]         # of these problems
            prompts = [self.run.task.prompt(p, arms[i].style)
                       for p, i in zip(self.run.task.test[part], choice)]
            each = choice.repeat_interleave(self.run.config.test_samples)    # one a row
            return prompts, token.over(strategies[each], active[each])

        cells: Cells = {}
        for B in self.Bs:
            name = f"both {styles} {seed} B={B}"
            cells |= self.cells(self.policy_table(name, partial(policy_at, B)), [B])
        return cells


def chosen_cells(bandit: nn.Module, parts: Sequence[str], e: Tensor, table: np.ndarray,
                 budgets: Sequence[int], Bs: Sequence[int]) -> Cells:
    """What a bandit's choices earn at prompts e (P, d), read from the arms' table (P, S, n, T)."""
    cells = {}
    for B, (t, T) in itertools.product(Bs, enumerate(budgets)):
        choice = best_arm(bandit, e, B, T, max(budgets), parts)                         # (P,)
        rewards = table[np.arange(len(e)), choice, :, t]                                # (P, n)
        cells[B, t] = pass_at(rewards, B)[None]                                         # (1, P)
    return cells


def held_out(run: Run, bar: tqdm) -> HeldOut:
    """A run's held-out problems. Raises UserError if selection.json is missing or damaged."""
    path = f"{run.folder}/selection.json"
    selection = read_json(path)
    try:
        for action_set in selection["sets"].values():
            Selection.from_json(action_set)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error)
    config = run.config
    Bs = [B for B in PARALLEL_BUDGETS if B <= min(config.samples, config.test_samples)]
    return HeldOut(run, selection, run.embeddings("test", run.task.test), Bs, bar)
