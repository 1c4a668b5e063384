"""Trains a run's bandits again with other settings: seconds, since nothing is sampled again.

    python -m demos.replay runs/sums --lr 3e-3 --entropy 0.02 --seeds 3

Softmax bandit and LinUCB learn from the finished run's table of training rewards, and are scored on
its table of held-out rewards. Nothing is saved: good settings go into LR, ENTROPY and ALPHA of
bandit.py.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os
from functools import partial
from typing import Callable

import numpy as np
from torch import nn
from tqdm import tqdm

import baselines                     # noqa: F401  (enters the paper's baselines in the registry)
from bandit import ALPHA, ENTROPY, LR, bandit_problem, coin_tosses, train_linucb, train_softmax
from experiment.load import load
from experiment.held_out import Cells, held_out
from experiment.reward_table import RewardStore
from experiment.run import Run, read_config
from experiment.tables import LEGEND, make_table, show
from features import CONTEXT_PARTS
from train import sample_table, select_action_sets
from utils.errors import UserError
from utils.options import Parser


def main() -> None:
    parser = Parser(prog="demos.replay", description="Train a run's bandits again, in seconds.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--lr", type=float, default=LR,
                        help=f"softmax: learning rate (default {LR:g})")
    parser.add_argument("--entropy", type=float, default=ENTROPY,
                        help=f"softmax: weight of the entropy bonus (default {ENTROPY:g})")
    parser.add_argument("--alpha", type=float, default=ALPHA,
                        help=f"LinUCB: weight of the confidence bound (default {ALPHA:g})")
    parser.add_argument("--steps", type=int, help="softmax: training steps (default: the run's)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each (default 1)")
    args = parser.parse_args()
    config = read_config(args.folder)
    steps = config.bandit_steps if args.steps is None else args.steps
    if min(args.seeds, steps) < 1 or args.lr <= 0 or min(args.entropy, args.alpha) < 0:
        raise UserError("--seeds, --steps, --lr must be above 0, --entropy, --alpha not below it")
    lm, task = load(config)
    run = Run(lm, task, config, args.folder, RewardStore(os.path.join(args.folder, "rewards.npz")))
    actions = select_action_sets(run, *sample_table(run))[-1]      # that of all prompt styles
    arms = actions.selection.arms
    x, reward = bandit_problem(actions.e, actions.table, task.budgets)
    pull = coin_tosses(reward)
    size = len(arms)
    learners: dict[str, Callable[..., nn.Module]] = {
        "softmax bandit": partial(train_softmax, x, pull, size, steps, lr=args.lr,
                                  entropy_bonus=args.entropy),
        "LinUCB": partial(train_linucb, x, pull, size, config.linucb_steps, alpha=args.alpha)}
    with tqdm(total=2 * args.seeds, desc="replay", unit=" bandits") as bar:
        held = held_out(run, bar)
        baseline = held.best_static(held.sets[actions.styles])
        policies: dict[str, Cells] = {"best static": baseline}
        for name, train in learners.items():
            of_seeds = []
            for seed in range(args.seeds):
                bandit = train(seed=seed)
                of_seeds.append(held.chosen(bandit, {"parts": CONTEXT_PARTS}, arms))
                bar.update()
            policies[name] = {at: np.concatenate([c[at] for c in of_seeds]) for at in baseline}
    table = make_table("Sequence level", "", [held.Bs[0], held.Bs[-1]], policies, baseline)
    print(show(table, task.budgets), LEGEND, sep="\n\n")


if __name__ == "__main__":
    run_program("demos.replay", main)
