"""The tables of one action set in one file: what bandits learn from and are scored on, in seconds.

    ./run -m demos.one_level sequence --quick --name few      # leaves runs/few.part/sequence.npz
    ./run -m demos.replay runs/few.part/sequence.npz

Sampling these rewards took hours of a language model; with the prompts' embeddings beside them
nobody needs it again. The arrays of the npz file (P training and Q held-out problems, S arms, n
samples each, T token budgets):

    budgets (T,)                            token budgets
    arms (S,)                               text, such as "cot tau=0.5 p=0.9"
    e (P, d), test_e (Q, d)                 prompt embeddings
    table (P, S, n, T), test_table (Q, ..)  was the sample right? 0 or 1
    parallel (K,)                           parallel budgets B
    best_static (K, T, Q)                   held-out Pass@B of best static, for each (B, T)
"""
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor, nn

from bandit import bandit_problem
from experiment.held_out import Cells, HeldOut, chosen_cells
from experiment.selection import ActionSet
from features import CONTEXT_PARTS
from utils.errors import UserError
from utils.files import write_arrays


@dataclass
class BanditTables:
    """One action set; arrays as above."""
    budgets: np.ndarray
    arms: np.ndarray
    e: np.ndarray
    table: np.ndarray
    test_e: np.ndarray
    test_table: np.ndarray
    parallel: np.ndarray
    best_static: np.ndarray

    @classmethod
    def of_run(cls, actions: ActionSet, held: HeldOut) -> "BanditTables":
        """Of a run's action set and its held-out problems."""
        arms, budgets = actions.selection.arms, held.run.task.budgets
        best_static = held.best_static(actions.selection)
        return cls(
            budgets=np.array(budgets), arms=np.array([str(arm) for arm in arms]),
            e=actions.e.numpy(), table=actions.table, test_e=held.e.numpy(),
            test_table=np.stack([held.arm_table(arm) for arm in arms], 1),
            parallel=np.array(held.Bs),
            best_static=np.array([[best_static[B, t][0] for t in range(len(budgets))]
                                  for B in held.Bs]))

    def save(self, path: str) -> None:
        write_arrays(path, {field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: str) -> "BanditTables":
        """Raises UserError if there is no such file, or it holds something else."""
        try:
            with np.load(path) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        except FileNotFoundError:
            raise UserError(f"there is no file {path}")
        except Exception:                                # zipfile raises errors of many kinds
            raise UserError(f"{path} holds no tables of bandits: demos.one_level sequence writes "
                            "such a file, sequence.npz")

    # ---- what a replay asks for ----
    def problem(self) -> tuple[Tensor, Tensor]:
        """Contexts x (X, D) and expected rewards (X, S), to learn from."""
        return bandit_problem(torch.from_numpy(self.e), self.table, self.budgets.tolist())

    def best_static_cells(self) -> Cells:
        """Held-out Pass@B of best static, (1, Q) each."""
        return {(B, t): self.best_static[k, t][None]
                for k, B in enumerate(self.parallel.tolist()) for t in range(len(self.budgets))}

    def score(self, bandit: nn.Module) -> Cells:
        """Held-out Pass@B of a bandit's choices."""
        return chosen_cells(bandit, CONTEXT_PARTS, torch.from_numpy(self.test_e), self.test_table,
                            self.budgets.tolist(), self.parallel.tolist())
