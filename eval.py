"""What was gained: held-out rewards of every policy, Pass@B, paired intervals, the paper's tables.

    python eval.py runs/sums                # remakes all tables from the run's adapters and rewards
    python eval.py runs/sums --parallel 1,2,4,8                   # Pass@B for other B than 1 and 8
    python eval.py runs/full --against reference/results.json     # fails where a row is elsewhere

    Pass@B       1 - C(n - c, B) / C(n, B), c right among n samples               bandit.pass_at
    interval     bootstrap over problems and training seeds                             stats.py
    difference   the same bootstrap of (policy - baseline), paired by problem and by random numbers
    *            p < .05 after Holm's correction for all differences of the same table

The baseline, "best static", is for each (B, token budget) the best on training problems of all
strategies that were sampled there. What is missing on disk is sampled.

Deviations from the paper: (1) its intervals fit a binomial over all problems; ours are paired, and
hold the spread of trainings. (2) Holm's correction.
"""
from cli import Parser, UserError, run, whole_numbers       # first: see train.py

import json
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any, Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import ranks
from bandit import Arm, pass_at
from config import load
from decode import Policy
from features import PARALLEL, context
from job import Job, read_config
from rewards import PlayAt, Rewards, embed, sample_blind, sample_policy, sample_static
from rivals import edt
from stats import oracle
from store import arms_from_json, damaged, load_adapter, read_json, shorter, write
from tables import LEGEND, Cells, all_tables, compare, show
from traces import write_traces

PAPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reference", "paper.json")


# ---- held-out rewards ---------------------------------------------------------------------------
@dataclass
class HeldOut:
    """The held-out problems of a run, and what every policy earns on them.

    Cells: see tables.py; K training seeds.
    """
    job: Job
    told: dict                                                       # selection.json
    e: Tensor                                                        # (P, d)
    Bs: list[int]
    bar: tqdm

    @property
    def budgets(self) -> range:
        return range(len(self.job.task.budgets))

    def static(self, arm: Arm) -> np.ndarray:
        """Table (P, n, T) of one strategy for all prompts."""
        return self._table(str(arm), sample_static, arm)

    def blind(self, name: str, policy: Policy) -> np.ndarray:
        """Table (P, n, T) of a policy that does not see the budget, as in `sample_blind`."""
        return self._table(name, sample_blind, self.style, policy)

    def policy(self, name: str, play_at: PlayAt, n: int | None = None) -> np.ndarray:
        """Table (P, n, T) of a policy that sees the budget; `play_at` as in `sample_policy`."""
        return self._table(name, sample_policy, play_at, n=n)

    def _table(self, name: str, sample: Callable[..., np.ndarray], *what: Any,
               n: int | None = None) -> np.ndarray:
        job = self.job
        table = job.rewards.get(f"test {name}", lambda: sample(
            job.lm, job.task, job.task.test, *what, n or job.config.test_samples,
            job.config.seed, job.config.rows))
        if job.rewards.fresh:
            job.rewards.flush()
            self.bar.update()
        return table

    @property
    def style(self) -> str:
        return self.job.config.all_styles()[0]

    def prompts(self, style: str) -> list[str]:
        return [self.job.task.prompt(p, style) for p in self.job.task.test]

    def cells(self, table: np.ndarray, Bs: list[int] | None = None) -> Cells:
        """Of a table (P, n, T)."""
        return {(B, t): pass_at(table[..., t], B)[None]
                for B in Bs or self.Bs if B <= table.shape[1] for t in self.budgets}

    def load(self, kind: str, seed: int) -> tuple[Any, dict]:
        return load_adapter(self.job.file(kind, seed), self.job.lm)

    def seeds(self, cells_of: Callable[[int], Cells]) -> Cells:
        """The cells of all training seeds as one: cells_of(seed) gives one seed's."""
        parts = [cells_of(seed) for seed in self.job.config.all_seeds()]
        return {at: np.concatenate([p[at] for p in parts]) for at in parts[0]}

    def choice(self, bandit: nn.Module, parts: Sequence[str], B: int, t: int) -> Tensor:
        """The arm (P,) a bandit names for every problem: its most likely, or best estimated."""
        ones, budgets = torch.ones(len(self.e)), self.job.task.budgets
        x = context(self.e, B * ones, budgets[t] * ones, max(budgets), parts)
        with torch.no_grad():
            return bandit(x).argmax(1)

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
        policy, n = self.load(kind, seed)[0].acting(), self.job.config.test_samples
        return self.cells(self.policy(f"{kind} {seed}",
                                      lambda t, _: (self.prompts(self.style), policy),
                                      n if kind == "token" else max(1, n // 2)))

    def edt(self) -> Cells:
        """EDT as it was tuned on the training problems for each token budget."""
        tables = [self.blind(f"edt {a:g} {b:g}", edt(a, b))
                  for a, b in self.told["edt"]]
        return {(B, t): pass_at(tables[t][..., t], B)[None] for B in self.Bs for t in self.budgets}

    def autodeco(self, seed: int) -> Cells:
        heads = self.load("autodeco", seed)[0]
        return self.cells(self.blind(f"autodeco {seed}", heads.acting()))

    def both(self, styles: str, seed: int) -> Cells:
        """Both levels: the bandit names each prompt's arm, static or under the token level."""
        arms, cells, n = arms_from_json(self.told["both_arms"]), {}, self.job.config.test_samples
        (bandit, about), (token, _) = self.load(f"both {styles}", seed), self.load("token", seed)
        strategies = torch.tensor([arm.strategy for arm in arms])
        on = torch.tensor([arm.token for arm in arms])
        for B in self.Bs:
            def play_at(t: int, budgets: Tensor) -> tuple[list[str], Policy]:
                choice = self.choice(bandit, about["parts"], B, t)
                prompts = [self.job.task.prompt(p, arms[i].style)
                           for p, i in zip(self.job.task.test, choice)]
                each = choice.repeat_interleave(n)
                return prompts, token.acting(strategies[each], on[each])

            cells |= self.cells(self.policy(f"both {styles} {seed} B={B}", play_at), [B])
        return cells

    def rule(self) -> Cells:
        """The task's yardstick, which sees the problem."""
        prompts = self.prompts(self.style)
        each = [p for p in prompts for _ in range(self.job.config.test_samples)]
        yardstick = self.job.task.yardstick
        assert yardstick                                    # tables.py asks where there is one
        return self.cells(self.policy("rule", lambda t, budgets: (
            prompts, yardstick(self.job.lm, each, budgets))))


# ---- the tables ---------------------------------------------------------------------------------
def held_out(job: Job, bar: tqdm) -> HeldOut:
    """A run's held-out problems. Raises UserError where selection.json is missing or damaged."""
    path, config = f"{job.folder}/selection.json", job.config
    told = read_json(path)
    try:
        for arms in (told["both_arms"], *(x["arms"] for x in told["sets"].values())):
            arms_from_json(arms)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(path, error)
    Bs = [B for B in PARALLEL if B <= min(config.samples, config.test_samples)]
    return HeldOut(job, told, embed(job.lm, job.task, job.task.test, config.rows), Bs, bar)


def evaluate(job: Job, shown: Sequence[int] = ()) -> str:
    """Samples what is missing, writes results.json, returns the tables as text.

    shown: parallel budgets B of the text. Raises UserError for one that was not sampled.
    """
    config, task = job.config, job.task
    with tqdm(desc="6 held-out", unit=" tables") as bar:
        held = held_out(job, bar)
        if not set(shown) <= set(held.Bs):
            raise UserError(f"--parallel of this run: {', '.join(map(str, held.Bs))}")
        tables = all_tables(held)
        if not ranks.first(lambda: os.path.exists(f"{job.folder}/choices.csv")):     # the last one
            ranks.first(lambda: write_traces(held))
    levels = Counter(str(p.level) for p in task.test if p.level is not None)
    results = {"about": {"lm": job.lm.name, "task": task.name, "styles": config.all_styles(),
                         "budgets": task.budgets, "problems": len(task.test),
                         "samples": config.test_samples, "seeds": config.seeds, "levels": levels},
               "selection": held.told["sets"], "tables": tables, "paper": read_json(PAPER)}
    ranks.first(lambda: write(f"{job.folder}/results.json", json.dumps(shorter(results), indent=1)))
    text = "\n".join(show(table, task.budgets, shown) for table in tables) + f"\n\n{LEGEND}"
    alone = "\none training seed: the intervals hold the spread over problems alone"
    return text + alone * (config.seeds == 1)


def main() -> None:
    parser = Parser(description="Remake the tables of a run.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--parallel", default="", help="B of the Pass@B to print, by commas "
                        "(default: the smallest and the largest sampled)")
    parser.add_argument("--against", help="another run's results.json: fails where a mean is "
                        "outside of its interval")
    args = parser.parse_args()
    shown = whole_numbers(args.parallel, "--parallel")
    config = read_config(args.folder)
    lm, task = load(config)
    rewards = Rewards(os.path.join(args.folder, "rewards.npz"))
    print(evaluate(Job(lm, task, config, args.folder, rewards), shown))
    if args.against:
        print(compare(args.folder, args.against))


if __name__ == "__main__":
    run("eval.py", main)
