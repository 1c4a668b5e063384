"""The held-out problems of a run, and what every policy earns on them: what tables are made of.

    python eval.py runs/sums                # samples what is missing, and makes the tables

The baseline, "best static", is for each (B, token budget) the best on training problems of all
strategies that were sampled there. A policy's rewards are kept by its name in rewards.npz.

Shapes: P held-out problems, n samples, T token budgets, S arms, K training seeds.
"""
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from bandit import best_arm, pass_at
from decode import Policy
from experiment.adapters import arms_from_json, load_adapter
from experiment.reward_table import Arm, PolicyAt, embed_prompts, sample_budget_blind, sample_policy, sample_static
from experiment.run import Run
from experiment.stats import oracle
from features import PARALLEL_BUDGETS
from pomdp import TEMPERATURES
from utils.files import damaged, read_json

Cells = dict[tuple[int, int], np.ndarray]    # (B, T index) -> per-problem Pass@B (K, P)


@dataclass
class HeldOut:
    """Problems, and for each policy its rewards (a table) or its Pass@B (cells)."""
    run: Run
    told: dict                                                       # selection.json
    e: Tensor                                                        # (P, d)
    Bs: list[int]
    bar: tqdm

    @property
    def budgets(self) -> range:
        return range(len(self.run.task.budgets))

    def static(self, arm: Arm) -> np.ndarray:
        """Table (P, n, T) of one strategy for all prompts."""
        return self._table(str(arm), sample_static, arm)

    def blind(self, name: str, policy: Policy) -> np.ndarray:
        """Table (P, n, T) of a policy that does not see the budget, as in `sample_budget_blind`."""
        return self._table(name, sample_budget_blind, self.style, policy)

    def policy(self, name: str, policy_at: PolicyAt, n: int | None = None) -> np.ndarray:
        """Table (P, n, T) of a policy that sees the budget; `policy_at` as in `sample_policy`."""
        return self._table(name, sample_policy, policy_at, n=n)

    def _table(self, name: str, sample: Callable[..., np.ndarray], *what: Any,
               n: int | None = None) -> np.ndarray:
        run = self.run
        table = run.rewards.get(f"test {name}", lambda: sample(
            run.lm, run.task, run.task.test, *what, n or run.config.test_samples,
            run.config.seed, run.config.rows))
        if run.rewards.fresh:
            run.rewards.flush()
            self.bar.update()
        return table

    @property
    def style(self) -> str:
        return self.run.config.all_styles()[0]

    def prompts(self, style: str) -> list[str]:
        return [self.run.task.prompt(p, style) for p in self.run.task.test]

    def cells(self, table: np.ndarray, Bs: list[int] | None = None) -> Cells:
        """Of a table (P, n, T)."""
        return {(B, t): pass_at(table[..., t], B)[None]
                for B in Bs or self.Bs if B <= table.shape[1] for t in self.budgets}

    def load(self, kind: str, seed: int) -> tuple[Any, dict]:
        return load_adapter(self.run.file(kind, seed), self.run.lm)

    def seeds(self, cells_of: Callable[[int], Cells]) -> Cells:
        """The cells of all training seeds as one: cells_of(seed) gives one seed's."""
        parts = [cells_of(seed) for seed in self.run.config.all_seeds()]
        return {at: np.concatenate([p[at] for p in parts]) for at in parts[0]}

    def choice(self, bandit: nn.Module, parts: Sequence[str], B: int, t: int) -> Tensor:
        """The arm (P,) a bandit names for every problem."""
        budgets = self.run.task.budgets
        return best_arm(bandit, self.e, B, budgets[t], max(budgets), parts)

    def arms(self, arms: list[Arm], B: int, t: int) -> np.ndarray:
        """Pass@B (P, S) of every arm at one token budget."""
        return np.stack([pass_at(self.static(arm)[..., t], B) for arm in arms], 1)

    # ---- policies: their cells ----
    def best_static(self, told: dict) -> Cells:
        """The best on training problems, for each column."""
        best = [arms_from_json(line) for line in told["best_static"]]
        return {(B, t): pass_at(self.static(best[i][t])[..., t], B)[None]
                for i, B in enumerate(self.Bs) for t in self.budgets}

    def optimist(self, told: dict) -> Cells:
        """For each column the best on these very problems, of S and of what was best in training;
        the others of the pool were not sampled here."""
        arms = {*arms_from_json(told["arms"]), *arms_from_json(told["best_of_all"]),
                *(arm for line in told["best_static"] for arm in arms_from_json(line))}
        values = {(B, t): self.arms(sorted(arms), B, t) for B in self.Bs for t in self.budgets}
        return {at: v[:, v.mean(0).argmax()][None] for at, v in values.items()}

    def mixed(self, arms: list[Arm]) -> Cells:
        """An arm of S at random for each prompt."""
        return {(B, t): self.arms(arms, B, t).mean(1)[None] for B in self.Bs for t in self.budgets}

    def bound(self, arms: list[Arm]) -> Cells:
        """The best arm of S for each prompt, as stats.oracle estimates it."""
        table = np.stack([self.static(arm) for arm in arms], 1)                    # (P, S, n, T)
        return {(B, t): oracle(table[..., t], B)[None] for B in self.Bs
                if 2 * B <= table.shape[2] for t in self.budgets}

    def bandit(self, kind: str, seed: int, arms: list[Arm]) -> Cells:
        return self.chosen(*self.load(kind, seed), arms)

    def chosen(self, bandit: nn.Module, about: dict, arms: list[Arm]) -> Cells:
        """A bandit's choices, read from the arms' own tables."""
        rows = np.arange(len(self.e))
        return {(B, t): self.arms(arms, B, t)[rows, self.choice(bandit, about["parts"], B, t)][None]
                for B in self.Bs for t in self.budgets}

    def token(self, kind: str, seed: int) -> Cells:
        """A token policy; of all but the main one half of the samples, for Pass@1 alone."""
        policy, n = self.load(kind, seed)[0], self.run.config.test_samples
        return self.cells(self.policy(f"{kind} {seed}",
                                      lambda t, _: (self.prompts(self.style), policy),
                                      n if kind == "token" else max(1, n // 2)))

    def both(self, styles: str, seed: int) -> Cells:
        """Both levels: the bandit names each prompt's arm, static or under the token level."""
        arms, cells, n = arms_from_json(self.told["both_arms"]), {}, self.run.config.test_samples
        (bandit, about), (token, _) = self.load(f"both {styles}", seed), self.load("token", seed)
        strategies = torch.tensor([arm.strategy for arm in arms])
        on = torch.tensor([arm.token for arm in arms])
        for B in self.Bs:
            def policy_at(t: int, budgets: Tensor) -> tuple[list[str], Policy]:
                choice = self.choice(bandit, about["parts"], B, t)
                prompts = [self.run.task.prompt(p, arms[i].style)
                           for p, i in zip(self.run.task.test, choice)]
                each = choice.repeat_interleave(n)
                return prompts, token.over(strategies[each], on[each])

            cells |= self.cells(self.policy(f"both {styles} {seed} B={B}", policy_at), [B])
        return cells

    def rule(self) -> Cells:
        """The task's scripted_oracle, which sees the problem."""
        prompts = self.prompts(self.style)
        each = [p for p in prompts for _ in range(self.run.config.test_samples)]
        scripted_oracle = self.run.task.scripted_oracle
        assert scripted_oracle                                    # tables.py asks where there is one
        return self.cells(self.policy("rule", lambda t, budgets: (
            prompts, scripted_oracle(self.run.lm, each, budgets, max(TEMPERATURES)))))


def held_out(run: Run, bar: tqdm) -> HeldOut:
    """A run's held-out problems. Raises UserError where selection.json is missing or damaged."""
    path, config = f"{run.folder}/selection.json", run.config
    told = read_json(path)
    try:
        for arms in (told["both_arms"], *(x["arms"] for x in told["sets"].values())):
            arms_from_json(arms)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error)
    Bs = [B for B in PARALLEL_BUDGETS if B <= min(config.samples, config.test_samples)]
    return HeldOut(run, told, embed_prompts(run.lm, run.task, run.task.test, config.rows), Bs, bar)
