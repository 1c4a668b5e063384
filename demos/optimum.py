"""The exact Pass@1 of a run's policies, and of the best policy for a player who knows the answer.

    python -m demos.optimum runs/sums            # half a minute; the run's held-out problems

No row is sampled: each is computed on trees of completions (experiment/optimum.py). A row counts
what the trees leave out as wrong; the column "left out" has the most that it could be higher.
"""
from utils.cli import run_program              # first: Ctrl-C while torch loads gets one line

import time
from functools import partial
from typing import Callable

import torch
from torch import Tensor

import baselines                               # noqa: F401  (enters itself in the registry)
from decode import static
from experiment.adapters import load_adapter
from experiment.load import load
from experiment.optimum import (ACTIONS, Tree, action_probabilities, grow, policy_probabilities,
                                value)
from experiment.registry import TOKEN_ROWS
from experiment.reward_table import grade_fn
from experiment.run import Run, read_config
from pomdp import TEMPERATURES
from utils.options import Parser

Values = tuple[Tensor, Tensor]                 # of each problem: Pass@1 (P,), what is left out (P,)


def line(name: str, budgets: tuple[int, ...], at_budget: Callable[[int], Values]) -> str:
    """A row: Pass@1 in % at every token budget, and the largest share that was left out."""
    values, left_out = zip(*(at_budget(T) for T in budgets))
    cells = "".join(f"{100 * v.mean():8.1f}" for v in values)
    return f"{name:36}{cells}{100 * max(x.mean() for x in left_out):12.1f}"


def rows(run: Run, tree: Tree, prompts: list[str]) -> list[str]:
    """Static strategies, the scripted oracle, the run's token policies, and the optimum."""
    budgets = run.task.budgets

    def of_policy(policy: Callable, T: int) -> Values:
        return value(tree, T, policy_probabilities(tree, T, policy))

    def of_oracle(T: int) -> Values:
        assert run.task.scripted_oracle
        every_prompt = torch.full((len(prompts),), T)
        oracle = run.task.scripted_oracle(run.lm, prompts, every_prompt, max(TEMPERATURES))
        return of_policy(oracle, T)

    lines = []
    for action in ACTIONS:
        policy = static(torch.tensor([action]))
        lines.append(line(f"{action} everywhere", budgets, partial(of_policy, policy)))
    for kind, name in TOKEN_ROWS.items():
        for seed in run.config.all_seeds():
            if run.done(kind, seed):
                adapter, _ = load_adapter(run.file(kind, seed), run.lm)
                lines.append(line(f"{name}, seed {seed}", budgets, partial(of_policy, adapter)))
    if run.task.scripted_oracle:
        lines.append(line("scripted oracle", budgets, of_oracle))
    p = action_probabilities(tree)
    lines.append(line("optimum, knows the answer", budgets, lambda T: value(tree, T, p)))
    return lines


def main() -> None:
    parser = Parser(prog="demos.optimum", description="Exact Pass@1 of a run's token policies.")
    parser.add_argument("folder", help="a finished run, such as runs/sums")
    parser.add_argument("--problems", type=int, help="the first held-out problems (default: all)")
    args = parser.parse_args()
    config = read_config(args.folder)
    lm, task = load(config)
    problems = task.test[:args.problems]
    prompts = [task.prompt(p, config.all_styles()[0]) for p in problems]
    start = time.perf_counter()
    tree = grow(lm, prompts, grade_fn(lm, task, problems, prompts), task.budgets)
    print(f"{len(problems)} problems, {len(tree.depth) / len(problems):.0f} nodes each, "
          f"{time.perf_counter() - start:.0f} s")
    print(f"{'Pass@1 in %':36}" + "".join(f"{f'T = {T}':>8}" for T in task.budgets)
          + f"{'left out':>12}")
    print("\n".join(rows(Run(lm, task, config, args.folder, None), tree, prompts)))   # type: ignore


if __name__ == "__main__":
    run_program("demos.optimum", main)
