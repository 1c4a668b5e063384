"""EDT, a baseline without training (Zhang et al. 2024): each token's temperature is a function of
the entropy H of the LM's next-token distribution,

    temperature = T0 0.8^(theta / H)

T0 and theta are tuned on the training problems, for each token budget.

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
from features import distribution_features
from utils.problem_files import Problem

BASE = 0.8              # (its paper)
COLDEST = 1e-3          # below it greedy (ours: logits / temperature stays finite)
EDT_GRID = tuple((T0, theta) for T0 in (0.7, 1.0, 1.4, 2.0) for theta in (0.1, 0.5, 2.0))  # ours


def edt_temperature(entropy: Tensor, T0: float, theta: float) -> Tensor:
    """(R,) of entropies in nats (R,); 0, which is greedy, where it would be below COLDEST."""
    H = entropy.clamp(min=1e-6)                       # so that theta = 0 gives T0 at H = 0 too
    temperature = T0 * BASE ** (theta / H)
    return temperature.masked_fill(temperature < COLDEST, 0.0)


def edt(T0: float, theta: float) -> Policy:
    def policy(state: State) -> Choice:
        entropy = distribution_features(state.logits)[:, 0]
        temperature = edt_temperature(entropy, T0, theta)                               # (R,)
        strategies = pad(temperature[:, None], (0, 3))                                  # (R, 4)
        strategies[:, 2] = 1.0                                                          # top-p
        return Choice(strategies, filters=False)

    return policy


def tune_edt(run: Run, problems: list[Problem]) -> list[tuple[float, float]]:
    """(T0, theta) of EDT for each token budget, the best on the training problems."""
    config = run.config
    means = []
    for T0, theta in tqdm(EDT_GRID, desc="2/6 EDT"):
        table = run.rewards.get(f"train edt {T0:g} {theta:g}", lambda: sample_budget_blind(
            run.lm, run.task, problems, config.all_styles()[0], edt(T0, theta), config.samples,
            config.seed, config.rows))                                                  # (P, n, T)
        means.append(table.mean((0, 1)))
        run.rewards.flush()
    return [EDT_GRID[i] for i in np.argmax(means, 0)]


def cells(held: HeldOut) -> Cells:
    """EDT with the setting that was tuned for each token budget."""
    tables = [held.budget_blind_table(f"edt {T0:g} {theta:g}", edt(T0, theta))
              for T0, theta in held.selection["edt"]]
    return {(B, t): pass_at(tables[t][..., t], B)[None] for B, t in held.columns}


BASELINES["edt"] = Baseline("EDT", cells, tune=tune_edt)
