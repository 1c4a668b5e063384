"""Trains bandits again on rewards that were sampled once: seconds, and no language model.

    python -m demos.replay runs/sums --lr 3e-3 --entropy 0.02 --seeds 3
    python -m demos.replay runs/chains.part/sequence.npz --seeds 3 --problems 400

Softmax bandit and LinUCB learn from a table of training rewards, and are scored on one of held-out
rewards: those of a finished run, or those that `demos.one_level sequence` has put into a file
(experiment/bandit_tables.py). Nothing is saved: good settings go into LR, ENTROPY and ALPHA of
bandit.py.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

import os
from argparse import Namespace
from dataclasses import replace
from functools import partial
from typing import Callable

import numpy as np
from torch import nn
from tqdm import tqdm

import baselines                     # noqa: F401  (enters the paper's baselines in the registry)
from bandit import ALPHA, ENTROPY, LR, coin_tosses, train_linucb, train_softmax
from experiment.bandit_tables import BanditTables
from experiment.config import Config
from experiment.held_out import Cells, held_out
from experiment.load import load
from experiment.reward_table import RewardStore
from experiment.run import Run, read_config
from experiment.tables import LEGEND, make_table, show
from train import sample_table, select_action_sets
from utils.errors import OptionError
from utils.options import Parser


def run_tables(folder: str, config: Config) -> BanditTables:
    """Those of a run's last action set: that of all prompt styles."""
    lm, task = load(config)
    run = Run(lm, task, config, folder, RewardStore(os.path.join(folder, "rewards.npz")))
    actions = select_action_sets(run, *sample_table(run))[-1]
    with tqdm(desc="held-out", unit=" tables") as bar:
        return BanditTables.of_run(actions, held_out(run, bar))


def open_tables(path: str) -> tuple[Config, BanditTables]:
    """Of a finished run, or of a file that `demos.one_level sequence` has left."""
    if path.endswith(".npz"):
        return Config(), BanditTables.load(path)
    config = read_config(path)
    return config, run_tables(path, config)


def parse() -> Namespace:
    parser = Parser(prog="demos.replay", description="Train bandits again, in seconds.")
    parser.add_argument("tables", help="a finished run, such as runs/sums, or a file sequence.npz")
    parser.add_argument("--lr", type=float, default=LR,
                        help=f"softmax: learning rate (default {LR:g})")
    parser.add_argument("--entropy", type=float, default=ENTROPY,
                        help=f"softmax: weight of the entropy bonus (default {ENTROPY:g})")
    parser.add_argument("--alpha", type=float, default=ALPHA,
                        help=f"LinUCB: weight of the confidence bound (default {ALPHA:g})")
    parser.add_argument("--steps", type=int, help="softmax: training steps (default: the run's; of "
                        f"a file {Config.bandit_steps})")
    parser.add_argument("--problems", type=int, help="train on so many of the problems, the first "
                        "ones (default: all)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each (default 1)")
    args = parser.parse_args()
    counts = [count for count in (args.seeds, args.steps, args.problems) if count is not None]
    if min(counts) < 1 or args.lr <= 0 or min(args.entropy, args.alpha) < 0:
        raise OptionError("--seeds, --steps, --problems and --lr must be above 0, --entropy and "
                          "--alpha not below it")
    return args


def main() -> None:
    args = parse()
    config, tables = open_tables(args.tables)

    # How each bandit is trained, but for its seed
    tables = replace(tables, e=tables.e[:args.problems], table=tables.table[:args.problems])
    x, reward = tables.problem()                                                # (X, D), (X, S)
    pull, arms = coin_tosses(reward), len(tables.arms)
    learners: dict[str, Callable[..., nn.Module]] = {
        "softmax bandit": partial(train_softmax, x, pull, arms, args.steps or config.bandit_steps,
                                  lr=args.lr, entropy_bonus=args.entropy),
        "LinUCB": partial(train_linucb, x, pull, arms, config.linucb_steps, alpha=args.alpha)}

    baseline = tables.best_static_cells()
    policies: dict[str, Cells] = {"best static": baseline}
    with tqdm(total=2 * args.seeds, desc="replay", unit=" bandits") as bar:
        for name, train in learners.items():
            of_seeds = []
            for seed in range(args.seeds):
                of_seeds.append(tables.score(train(seed=seed)))
                bar.update()
            policies[name] = {at: np.concatenate([c[at] for c in of_seeds]) for at in baseline}

    Bs = [int(tables.parallel[0]), int(tables.parallel[-1])]
    table = make_table("Sequence level", "", Bs, policies, baseline)
    print(show(table, tables.budgets.tolist()), LEGEND, sep="\n\n")


if __name__ == "__main__":
    run_program("demos.replay", main)
