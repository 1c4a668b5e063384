"""Regret of both bandits where the best arms are known.

    python -m demos.regret                                   # 4 seconds
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import itertools

import numpy as np
import torch
from torch import Tensor

from bandit import Pull, coverage, top_by_average, train_linucb, train_softmax
from demos.text_plots import curves
from features import context
from utils.options import Parser

KINDS, BUDGETS = ("short", "medium", "long"), (12, 24, 36)                     # of prompts; T
ARMS = ("cot greedy", "cot T=1", "cot T=1.25", "direct greedy")
MEANS = torch.tensor([[.4, .5, .6, .8], [.9, .8, .7, .8], [.9, .8, .7, .8],    # E[r|x, s] (9, 4)
                      [.0, .1, .3, .4], [.3, .5, .6, .4], [.9, .7, .6, .4],    # of each kind
                      [.0, .0, .1, .2], [.0, .1, .3, .2], [.3, .6, .5, .2]])   # at each T


def regrets(steps: int = 400, batch: int = 16) -> dict[str, list[float]]:
    """Sum of max_s E[r|x, s] - E[r|x, a] after each of steps x batch pulls, by who chose a."""
    kind, T = torch.cartesian_prod(torch.arange(3), torch.tensor(BUDGETS)).unbind(1)
    x = context(torch.eye(3)[kind], torch.ones(9), T, BUDGETS[-1])                      # (9, D)
    best, lost = MEANS.amax(1), {"uniform": [], "one arm": [], "softmax": [], "LinUCB": []}

    def pull_for(name: str) -> Pull:
        def pull(rows: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
            lost[name] += (best[rows] - MEANS[rows, actions]).tolist()
            return (torch.rand(len(rows), generator=generator) < MEANS[rows, actions]).float()
        return pull

    for name, mean in (("uniform", MEANS.mean(1)), ("one arm", MEANS[:, MEANS.mean(0).argmax()])):
        lost[name] = (best - mean).mean().repeat(steps * batch).tolist()            # expected
    # Few pulls, and all of them count: a higher rate and less entropy than on a reward table.
    train_softmax(x, pull_for("softmax"), len(ARMS), steps, batch, lr=3e-3, entropy_bonus=0.02)
    train_linucb(x, pull_for("LinUCB"), len(ARMS), steps, batch)
    return {name: np.cumsum(line).tolist() for name, line in lost.items()}


def main() -> None:
    Parser(prog="demos.regret", description="Both bandits where the best arms are known.").parse_args()
    print("E[r|x, s]".ljust(15) + "".join(f"{arm:>13}" for arm in ARMS))
    for (kind, T), means in zip(itertools.product(KINDS, BUDGETS), MEANS):
        print(f"{kind:7} T = {T}" + "".join(f"{m:12.1f}" + " *"[m == means.max()] for m in means))
    for name, select in (("greedy coverage", coverage), ("the top by average", top_by_average)):
        print(f"S by {name:19}" + ", ".join(
            f"{ARMS[s]} ({F:.3f})" for s, F in zip(*select(MEANS.numpy(), 3))) + "  (F)")
    lines = regrets()
    print(f"\nregret after 0 .. {len(lines['uniform'])} pulls: "
          + ", ".join(f"{name} {line[-1]:.0f}" for name, line in lines.items()) + " (one arm: the "
          f"best for all)\n{curves(lines)}")


if __name__ == "__main__":
    run_program("demos.regret", main)
