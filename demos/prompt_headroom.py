"""Could the sequence level gain anything? A look at its training rewards, before any training.

    python -m demos.prompt_headroom reference/real/chains1600-qwen2.5-coder-0.5b.npz    # 20 seconds
    python -m demos.prompt_headroom runs/sums                                           # a run

Arms that solve different problems leave headroom, but a bandit can have of it only what the prompt
tells. Ten-fold cross-validation says how much a linear predictor finds, for each token budget:

| row | the arm of a problem that was left out |
|---|---|
| best static | the best one on the other nine tenths |
| ridge, strength | the highest predicted reward, E w_s + mean r_s: ridge regression on embeddings |
| oracle | its own best one: what is there at most, and partly luck, if it has one sample an arm |

    w_s = (E^T E + strength I)^-1 E^T (r_s - mean r_s),    E = LN(e) - mean LN(e)

Where no strength of the ridge is above best static, more problems or another context are needed,
not another bandit. Shapes: P problems, S arms, d hidden size.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import numpy as np
import torch

from demos.replay import open_tables
from experiment.held_out import Cells
from experiment.tables import LEGEND, make_table, show
from features import normalise
from utils.options import Parser

FOLDS = 10
STRENGTHS = (100, 1000, 10000)    # ours: |LN(e)|^2 = d is about 1,000, a problem's own weight


def predict(E: np.ndarray, r: np.ndarray, new: np.ndarray, strength: float) -> np.ndarray:
    """Rewards (Q, S) at new embeddings (Q, d), from E (P, d) and r (P, S) by ridge regression."""
    center, mean = E.mean(0), r.mean(0)
    E, new = E - center, new - center
    gram = E.T @ E + strength * np.eye(E.shape[1])                              # (d, d)
    w = np.linalg.solve(gram, E.T @ (r - mean))                                 # (d, S)
    return new @ w + mean


def left_out(E: np.ndarray, r: np.ndarray, strength: float = np.inf) -> np.ndarray:
    """Reward (P,) of the arm chosen for each problem by the other folds; inf: best static."""
    fold = np.random.default_rng(0).permutation(len(E)) % FOLDS                 # (P,)
    reward = np.empty(len(E))
    for k in range(FOLDS):
        here = fold == k
        if strength == np.inf:
            arm = np.full(here.sum(), r[~here].mean(0).argmax())
        else:
            arm = predict(E[~here], r[~here], E[here], strength).argmax(1)
        reward[here] = r[here, arm]
    return reward


def main() -> None:
    parser = Parser(prog="demos.prompt_headroom", description="What could a bandit learn?")
    parser.add_argument("tables", help="a finished run, such as runs/sums, or a file sequence.npz")
    _, tables = open_tables(parser.parse_args().tables)

    E = normalise(torch.from_numpy(tables.e)).double().numpy()                  # (P, d)
    rewards = tables.table.mean(2)                                              # (P, S, T)

    # Each row's cells (B, t) -> Pass@1 of each problem (1, P)
    rows = {"best static": np.inf, **{f"ridge, {strength}": strength for strength in STRENGTHS}}
    cells: dict[str, Cells] = {
        name: {(1, t): left_out(E, rewards[..., t], strength)[None]
               for t in range(len(tables.budgets))}
        for name, strength in rows.items()}
    cells["oracle"] = {(1, t): rewards[..., t].max(1)[None] for t in range(len(tables.budgets))}

    title = f"What the prompt tells, {len(E)} training problems, {FOLDS} folds"
    table = make_table(title, "Difference to best static.", [1], cells, cells["best static"],
                       no_competitors=("oracle",))
    print(show(table, tables.budgets.tolist()), LEGEND, sep="\n\n")


if __name__ == "__main__":
    run_program("demos.prompt_headroom", main)
