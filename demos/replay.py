"""Other settings of the bandits on a run's reward table: seconds, since nothing is sampled again.

    python -m demos.replay runs/sums --lr 3e-3 --entropy 0.02 --seeds 3

Trains softmax bandit and LinUCB on the finished run's table of training rewards, and scores them on
its table of held-out rewards. Nothing is saved: settings that please go into LR, ENTROPY and ALPHA
of bandit.py.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import os

import numpy as np
from tqdm import tqdm

import baselines                       # noqa: F401  (enters the paper's rivals in the registry)
from bandit import ALPHA, ENTROPY, LR, bandit_problem, replay, train_linucb, train_softmax
from experiment.config import load
from experiment.held_out import held_out
from experiment.reward_table import RewardStore
from experiment.run import Run, read_config
from experiment.tables import LEGEND, make_table, show
from features import CONTEXT_PARTS
from train import select_action_sets
from utils.errors import UserError
from utils.options import Parser


def main() -> None:
    parser = Parser(prog="demos.replay", description="Train a run's bandits again, in seconds.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--lr", type=float, default=LR, help=f"softmax: Adam's (default {LR:g})")
    parser.add_argument("--entropy", type=float, default=ENTROPY,
                        help=f"softmax: bonus (default {ENTROPY:g})")
    parser.add_argument("--alpha", type=float, default=ALPHA,
                        help=f"LinUCB: optimism (default {ALPHA:g})")
    parser.add_argument("--steps", type=int, help="softmax: steps (default: the run's)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each (default 1)")
    args = parser.parse_args()
    config = read_config(args.folder)
    steps = config.bandit_steps if args.steps is None else args.steps
    if min(args.seeds, steps) < 1 or args.lr <= 0 or min(args.entropy, args.alpha) < 0:
        raise UserError("--seeds, --steps, --lr must be above 0, --entropy, --alpha not below it")
    lm, task = load(config)
    run = Run(lm, task, config, args.folder, RewardStore(os.path.join(args.folder, "rewards.npz")))
    whole = select_action_sets(run)[-1]
    arms = whole.selection.arms
    x, reward = bandit_problem(whole.e, whole.table, task.budgets)
    pull = replay(reward)
    trainings = {
        "softmax bandit": lambda seed: train_softmax(
            x, pull, len(arms), steps, lr=args.lr, entropy_bonus=args.entropy, seed=seed),
        "LinUCB": lambda seed: train_linucb(
            x, pull, len(arms), config.linucb_steps, alpha=args.alpha, seed=seed)}
    with tqdm(total=2 * args.seeds, desc="replay", unit=" bandits") as bar:
        held = held_out(run, bar)
        baseline = held.best_static(held.sets[whole.styles])
        policies = {"best static": baseline}
        for name, training in trainings.items():
            cells = []
            for seed in range(args.seeds):
                cells.append(held.chosen(training(seed), {"parts": CONTEXT_PARTS}, arms))
                bar.update()
            policies[name] = {at: np.concatenate([c[at] for c in cells]) for at in baseline}
    print(show(make_table("Sequence level", "", [held.Bs[0], held.Bs[-1]], policies, baseline),
               task.budgets), LEGEND, sep="\n\n")


if __name__ == "__main__":
    run_program("demos.replay", main)
