"""One pull of the softmax bandit: context, probabilities, reward, gradient; and LinUCB's bounds.

    python -m demos.pull runs/sums --problem 3 --budget 44       # 10 seconds
    python -m demos.pull runs/sums --problem 3 --budget 18
    python -m demos.pull runs/chains.part/sequence.npz           # a file as demos.replay takes it

Both bandits are trained here, on the reward table of a run. No language model is asked. The
gradient is that on the logits of the softmax bandit: a step along it raises or lowers each of them.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

from argparse import Namespace

import torch
from torch import Tensor

from bandit import coin_tosses, pass_at, train_linucb, train_softmax
from demos.replay import open_tables
from experiment.load import make_task
from features import PARALLEL_BUDGETS, context
from utils.errors import UserError
from utils.options import Parser


def logit_gradient(pi: Tensor, drawn: int, advantage: float) -> Tensor:
    """(r - baseline) d log pi(drawn) / d logits = (r - baseline) (one_hot(drawn) - pi), (S,)."""
    one_hot = torch.zeros_like(pi)
    one_hot[drawn] = 1
    return advantage * (one_hot - pi)


def parse() -> Namespace:
    parser = Parser(prog="demos.pull", description="One pull of the softmax bandit, step by step.")
    parser.add_argument("tables", help="a finished run, such as runs/sums, or a file sequence.npz")
    parser.add_argument("--problem", type=int, default=0, help="a row of the table (default 0)")
    parser.add_argument("--budget", type=int, help="T (default: the smallest)")
    parser.add_argument("--parallel", type=int, default=1, help="B (default 1)")
    return parser.parse_args()


def main() -> None:
    args = parse()
    config, tables = open_tables(args.tables)
    budgets = tables.budgets.tolist()
    P, S, n, _ = tables.table.shape
    parallel = [B for B in PARALLEL_BUDGETS if B <= n]
    T = budgets[0] if args.budget is None else args.budget
    B = args.parallel
    if not 0 <= args.problem < P or T not in budgets or B not in parallel:
        raise UserError(f"--problem is 0 to {P - 1}, --budget one of {budgets}, --parallel one of "
                        f"{parallel}")

    # The context: this problem at this B and T, and at the smallest T to compare with
    e = torch.from_numpy(tables.e[[args.problem] * 2])                          # (2, d)
    x = context(e, torch.tensor([B, B]), torch.tensor([T, budgets[0]]), max(budgets))   # (2, D)

    # What the table says of each arm at the former
    samples = tables.table[args.problem, :, :, budgets.index(T)]                # (S, n)
    solved = torch.from_numpy(pass_at(samples, B)).float()                      # (S,)
    question = f"training problem {args.problem}"
    if not args.tables.endswith(".npz"):
        question = make_task(config).train[args.problem].question
    print(f"context: {question}, B = {B}, T = {T}; x has {x.shape[1]} numbers")

    # A bandit that was trained on all contexts draws an arm, and a coin says whether it was right
    every_x, reward = tables.problem()                                          # (X, D), (X, S)
    pull = coin_tosses(reward)
    bandit = train_softmax(every_x, pull, S, config.bandit_steps)
    with torch.no_grad():
        pi, pi_shortest = bandit(x).exp()                                       # (S,) each
        baseline = float(bandit.critic(x)[0])
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(pi, 1, generator=generator)                       # (1,)
    r = float(torch.rand(1, generator=generator) < solved[drawn])
    print(f"draws {tables.arms[drawn]}; reward r = {r:.0f}; baseline(x) = {baseline:.2f}; "
          f"advantage r - baseline(x) = {r - baseline:+.2f}\n")

    # LinUCB's bound after as many pulls as it has in a run
    linucb = train_linucb(every_x, pull, S, config.linucb_steps)
    estimate, bound = linucb(x)[0], linucb.width(x)[0]                          # (S,), (S,)

    gradient = logit_gradient(pi, int(drawn), r - baseline)                     # (S,)
    width = max(map(len, tables.arms))
    print(f"{'arm s':{width}}  in the table  Pass@{B}  pi(s given x)  pi at T={budgets[0]:<3}"
          "  gradient   LinUCB's bound")
    for s, arm in enumerate(tables.arms):
        print(f"{arm:{width}}  {samples[s].sum():2} of {n} right  {solved[s]:6.2f}  {pi[s]:13.2f}  "
              f"{pi_shortest[s]:10.2f}  {gradient[s]:+9.2f}   {estimate[s]:5.2f} + {bound[s]:.2f}")


if __name__ == "__main__":
    run_program("demos.pull", main)
