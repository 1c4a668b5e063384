"""Other settings of the bandits on a run's reward table: seconds, since nothing is sampled again.

    python replay.py runs/sums --lr 3e-3 --entropy 0.02 --seeds 3

Trains both bandits on the finished run's table of training rewards and scores them on its table of
held-out rewards. Nothing is saved: the settings that please go into train.py.
"""
from cli import Parser, UserError, run                      # first: see train.py

import os

from tqdm import tqdm

from bandit import ALPHA, ENTROPY, LR, train_linucb, train_softmax
from config import load, read_config
from eval import held_out, make_row, sequence_cells, show, stacked
from rewards import Rewards
from train import Job, bandit_data, filtered, select


def main():
    parser = Parser(prog="replay.py", description="Train a run's bandits again, in seconds.")
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
    rewards = Rewards(os.path.join(args.folder, "rewards.npz"))
    job = Job(lm, task, config, args.folder, rewards)
    arms, table, _ = select(job)
    problems, table = filtered(job, table)
    x, pull = bandit_data(job, table, problems)
    softmax, linucb = [], []
    with tqdm(total=2 * args.seeds, desc="replay", unit=" bandits") as bar:
        held, baseline = held_out(lm, task, config, args.folder, bar)
        for seed in range(args.seeds):
            softmax.append(sequence_cells(held, train_softmax(
                x, pull, len(arms), steps, lr=args.lr,
                entropy_bonus=args.entropy, seed=seed), arms))
            bar.update()
            linucb.append(sequence_cells(held, train_linucb(
                x, pull, len(arms), config.linucb_steps, alpha=args.alpha, seed=seed), arms))
            bar.update()
    rows = [make_row("best static, per column", baseline, baseline),
            make_row("sequence level, softmax", stacked(softmax), baseline),
            make_row("sequence level, linucb", stacked(linucb), baseline)]
    print(show(rows, task.budgets, held.Bs))


if __name__ == "__main__":
    run("replay.py", main)
