"""EDT (Zhang et al. 2024): a temperature from the entropy H of the next-token distribution.

    T = T0 0.8^(theta / H)

No training: T0 and theta are tuned on training problems, for each token budget.

    python -m demos.edt_temperatures                   # its temperatures; 4 seconds
"""
import numpy as np
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from bandit import pass_at
from batch import State
from decode import Choice, Policy
from experiment.held_out import Cells, HeldOut
from experiment.registry import BASELINES, Baseline
from experiment.reward_table import sample_budget_blind
from experiment.run import Run
from features import distribution
from utils.problem_files import Problem

N = 0.8                 # EDT's base (its paper)
COLD = 1e-3             # EDT: below it greedy (ours: logits / T stays finite)
EDT_GRID = tuple((T0, theta) for T0 in (0.7, 1.0, 1.4, 2.0) for theta in (0.1, 0.5, 2.0))  # ours


def edt_temperature(entropy: Tensor, T0: float, theta: float) -> Tensor:
    """(R,) of entropies in nats (R,); 0, which is greedy, where it would be below COLD."""
    T = T0 * N ** (theta / entropy.clamp(min=1e-6))          # so that theta 0 is T0 at H = 0 too
    return T.masked_fill(T < COLD, 0.0)


def edt(T0: float, theta: float) -> Policy:
    def policy(state: State) -> Choice:
        T = edt_temperature(distribution(state.logits)[:, 0], T0, theta)
        return Choice(pad(T[:, None], (0, 3)) + T.new_tensor([0.0, 0.0, 1.0, 0.0]), False)

    return policy


def tune_edt(run: Run, problems: list[Problem]) -> list[tuple[float, float]]:
    """(T0, theta) of EDT for each token budget, the best on the training problems."""
    config, values = run.config, []
    for T0, theta in tqdm(EDT_GRID, desc="4 EDT"):
        table = run.rewards.get(f"train edt {T0:g} {theta:g}", lambda: sample_budget_blind(
            run.lm, run.task, problems, config.all_styles()[0], edt(T0, theta),
            config.samples, config.seed, config.rows))                                  # (P, n, T)
        values.append(table.mean((0, 1)))
        run.rewards.flush()
    return [EDT_GRID[i] for i in np.argmax(values, 0)]


def cells(held: HeldOut) -> Cells:
    """EDT as it was tuned on the training problems for each token budget."""
    tables = [held.budget_blind_table(f"edt {a:g} {b:g}", edt(a, b))
              for a, b in held.selection["edt"]]
    return {(B, t): pass_at(tables[t][..., t], B)[None] for B, t in held.columns}


BASELINES["edt"] = Baseline("EDT", cells, tune=tune_edt)
