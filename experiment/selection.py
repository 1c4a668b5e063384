"""Action sets S, what selection.json tells of them, and how they are printed."""
import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from decode import strategy_pool
from experiment.adapters import arms_from_json, arms_to_json
from experiment.config import Config
from experiment.reward_table import Arm
from utils.errors import UserError
from utils.problem_files import Problem

ARMS = ("arms", "best_of_all")                   # fields that are lists of arms


def candidate_arms(config: Config) -> list[Arm]:
    """Greedy and --pool - 1 other strategies of the 180, in every prompt style."""
    pool = strategy_pool()
    others = 1 + np.random.default_rng(0).permutation(len(pool) - 1)
    chosen = [0, *sorted(others[:config.pool - 1])]
    arms = []
    for style in config.all_styles():
        arms += [Arm(style, pool[i]) for i in chosen]
    return arms


@dataclass
class Selection:
    """An action set S and what its selection found; an entry of "sets" in selection.json."""
    candidates: int                              # arms from which S was chosen
    coverage: list[float]                        # coverage of the first 1, 2 .. |S| arms of S
    top_average: list[float]                     # the same of the top |S| arms by average
    arms: list[Arm]                              # S
    best_static: list[list[Arm]]                 # [B][T]: see train.best_static
    best_of_all: list[Arm]                       # one arm: the best on average over T at B = 1
    constant: float = 0.0                        # share of problems with the same reward for all S
    noise: float = 0.0                           # share whose arms differ by chance alone
    bound: float = 0.0                           # coverage of S on all problems of the table

    @property
    def names(self) -> list[str]:
        return [str(arm) for arm in self.arms]

    def to_json(self) -> dict[str, Any]:
        fields = dict(vars(self))
        for name in ARMS:
            fields[name] = arms_to_json(getattr(self, name))
        fields["best_static"] = [arms_to_json(line) for line in self.best_static]
        fields["names"] = self.names
        return fields

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Selection":
        """Raises KeyError, TypeError, ValueError or AttributeError where it is damaged."""
        values = {field.name: fields[field.name] for field in dataclasses.fields(cls)}
        for field in ARMS:
            values[field] = arms_from_json(fields[field])
        values["best_static"] = [arms_from_json(line) for line in fields["best_static"]]
        return cls(**values)


@dataclass
class ActionSet:
    """S of some prompt styles, and its rewards on training problems."""
    styles: str                                  # "cot", or "cot,direct"
    selection: Selection                         # its arms S
    table: np.ndarray                            # (P, S, n, T)
    problems: list[Problem]                      # P of them
    e: Tensor                                    # (P, d)


def drop_uninformative(s: ActionSet, kept: np.ndarray) -> None:
    """Leaves out problems where kept (P,) is False: their rewards do not tell the arms apart."""
    if not kept.any():
        raise UserError("no problem tells the arms apart: --filter would leave none")
    s.table = s.table[kept]
    s.e = s.e[kept]
    s.problems = [problem for problem, keep in zip(s.problems, kept) if keep]


def describe(selection: Selection, styles: str, filtered: bool) -> None:
    """Prints an action set. filtered: are its uninformative problems left out?"""
    print(f"action set of {styles}, out of {selection.candidates}: {', '.join(selection.names)}")
    for name, coverage in (("greedy coverage", selection.coverage),
                           ("the top |S| by average", selection.top_average)):
        values = " ".join(f"{value:.3f}" for value in coverage)
        print(f"coverage(S) for |S| = 1 .. {len(selection.arms)}, {name:22} {values}")
    print(f"problems with constant reward {selection.constant:.0%}, noisy {selection.noise:.0%}: "
          f"{'left out' if filtered else 'kept'}")
