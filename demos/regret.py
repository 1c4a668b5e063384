"""The regret of both bandits on a problem whose best arms are known.

    python -m demos.regret                                   # 4 seconds

    regret after k pulls = sum_{i <= k} max_s E[r|x_i, s] - E[r|x_i, s_i]
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import itertools

import numpy as np
import torch
from torch import Tensor

from bandit import Pull, coin_tosses, coverage, top_by_average, train_linucb, train_softmax
from demos.text_plots import curves
from features import context
from utils.options import Parser

KINDS = ("short", "medium", "long")                                            # of prompts
BUDGETS = (12, 24, 36)                                                         # T
ARMS = ("cot greedy", "cot tau=1", "cot tau=1.25", "direct greedy")
# E[r|x, s] (9, 4): the contexts are every kind at every T, in this order
MEANS = torch.tensor([[.4, .5, .6, .8], [.9, .8, .7, .8], [.9, .8, .7, .8],    # short
                      [.0, .1, .3, .4], [.3, .5, .6, .4], [.9, .7, .6, .4],    # medium
                      [.0, .0, .1, .2], [.0, .1, .3, .2], [.3, .6, .5, .2]])   # long


def recorded(lost: list[float]) -> Pull:
    """A pull that also appends to `lost` what each action loses against the best one."""
    toss = coin_tosses(MEANS)

    def pull(rows: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        lost.extend((MEANS[rows].amax(1) - MEANS[rows, actions]).tolist())
        return toss(rows, actions, generator)

    return pull


def regrets(steps: int = 400, batch: int = 16) -> dict[str, list[float]]:
    """The regret after each of steps x batch pulls, of two fixed choices and of both bandits."""
    kind, T = torch.cartesian_prod(torch.arange(3), torch.tensor(BUDGETS)).unbind(1)
    x = context(torch.eye(3)[kind], torch.ones(9), T, horizon=BUDGETS[-1])     # (9, D)

    # What the fixed choices lose is known without a pull
    pulls = steps * batch
    best = MEANS.amax(1)
    uniform = (best - MEANS.mean(1)).mean()
    one_arm = (best - MEANS[:, MEANS.mean(0).argmax()]).mean()

    # Few pulls, and all of them count: a higher rate and less entropy than on a reward table
    softmax, linucb = [], []
    train_softmax(x, recorded(softmax), len(ARMS), steps, batch, lr=3e-3, entropy_bonus=0.02)
    train_linucb(x, recorded(linucb), len(ARMS), steps, batch)
    lost = {"uniform": uniform.repeat(pulls), "one arm": one_arm.repeat(pulls),
            "softmax": softmax, "LinUCB": linucb}
    return {name: np.cumsum(torch.as_tensor(line).tolist()).tolist() for name, line in lost.items()}


def main() -> None:
    Parser(prog="demos.regret",
           description="Both bandits where the best arms are known.").parse_args()
    print("Expected reward of each arm; * is the best")
    print(" " * 15 + "".join(f"{arm:>14}" for arm in ARMS))
    for (kind, T), means in zip(itertools.product(KINDS, BUDGETS), MEANS):
        cells = [f"{mean:13.1f}" + ("*" if mean == means.max() else " ") for mean in means]
        print(f"{kind:7} T = {T}" + "".join(cells))

    print("\nAction sets of 3 arms, and coverage after each arm")
    for name, select in (("greedy coverage", coverage), ("top by average", top_by_average)):
        chosen, curve = select(MEANS.numpy(), 3)
        print(f"{name:17}" + ", ".join(f"{ARMS[s]} {c:.3f}" for s, c in zip(chosen, curve)))

    lines = regrets()
    print(f"\nRegret after {len(lines['uniform'])} pulls; \"one arm\" is the best single arm\n"
          + ", ".join(f"{name} {line[-1]:.0f}" for name, line in lines.items()) + "\n"
          + curves(lines))


if __name__ == "__main__":
    run_program("demos.regret", main)
