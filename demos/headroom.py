"""Could the token level gain anything? Rules by hand on training problems, before any training.

    python -m demos.headroom --model models/qwen --task chains --styles either --shots 4 --plain \\
        --problems 200 --pool 3 --rows 64
    python -m demos.headroom                          # the small LM: half a minute

The options of train.py. A rule is greedy but at one kind of token, where it takes the highest
temperature of the token level:

| rule | there |
|---|---|
| first token | which way a completion begins: with work, or with the answer at once |
| first 5 tokens | the same, later (Wang and Zhou 2024) |
| unsure | the entropy of the next token is above .5 nats |
| a line's end | the LM's likeliest token holds a line break |
| a comment | the LM's likeliest token opens a comment or a docstring |

Each row has Pass@1 at every token budget, below it the paired difference to best static: of --pool
strategies the best for each budget, on these very problems, so a little too good. Where no rule
gains there may be nothing to learn.
"""
from utils.cli import run_program                    # first: Ctrl-C while torch loads gets one line

from functools import partial
from typing import Callable

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from batch import State
from decode import GREEDY, Choice, Policy, Strategy, has_filters
from experiment.config import Config, parse
from experiment.load import load
from experiment.reward_table import sample_budget_blind, sample_static
from experiment.selection import candidate_arms
from experiment.tables import LEGEND, make_table, show
from features import distribution_features
from lm import LM
from pomdp import TEMPERATURES

UNSURE = 0.5               # nats (ours: a fork of two with .8 and .2)
COMMENTS = ("#", "//", '"""', "'''")
Where = Callable[[State], Tensor]                    # (R,) bool: the rows in which the rule acts


def rules(lm: LM) -> dict[str, Where]:
    """Name -> where the rule is at a high temperature."""
    pieces = [lm.decode([token]) for token in range(lm.vocabulary)]
    line_end = torch.tensor(["\n" in piece for piece in pieces], device=lm.device)      # (V,)
    comment = torch.tensor([piece.strip().startswith(COMMENTS) for piece in pieces],
                           device=lm.device)
    return {
        "first token": lambda state: state.step < 1,
        "first 5 tokens": lambda state: state.step < 5,
        "unsure": lambda state: distribution_features(state.logits)[:, 0] > UNSURE,
        "a line's end": lambda state: line_end[state.logits.argmax(1)],
        "a comment": lambda state: comment[state.logits.argmax(1)]}


def rule(where: Where, hot: Strategy) -> Policy:
    """Greedy, but `hot` in the rows that `where` names."""
    both = torch.tensor([GREEDY, hot])                                                  # (2, 4)
    filters = has_filters(both)

    def policy(state: State) -> Choice:
        return Choice(both.to(state.row.device)[where(state).long()], filters)

    return policy


def sample_all(config: Config) -> tuple[dict[str, np.ndarray], list[str], tuple[int, ...]]:
    """Rewards (P, n, T) of static strategies and rules; the names of the former; token budgets."""
    lm, task = load(config)
    problems = task.train[:config.problems]

    # A sampler for each static arm, one for each rule
    samplers = {}
    arms = [arm for arm in candidate_arms(config) if arm.style == config.all_styles()[0]]
    for arm in arms:
        samplers[str(arm)] = partial(sample_static, arm=arm)
    hot = Strategy(max(TEMPERATURES), config.top_k)
    for name, where in rules(lm).items():
        samplers[name] = partial(sample_budget_blind, style=config.all_styles()[0],
                                 policy=rule(where, hot))

    rewards = {}
    for name, sample in tqdm(samplers.items(), desc="rules and strategies"):
        rewards[name] = sample(lm, task, problems, n=config.samples, seed=config.seed,
                               rows=config.rows)
    return rewards, [str(arm) for arm in arms], task.budgets


def main() -> None:
    config, _ = parse()
    rewards, static, budgets = sample_all(config)

    # Each row's cells (B, t) -> Pass@1 of each problem; best static is chosen in each column
    cells = {name: {(1, t): table[..., t].mean(1)[None] for t in range(len(budgets))}
             for name, table in rewards.items()}                                        # (1, P)
    best = {at: max((cells[name][at] for name in static), key=np.mean)
            for at in next(iter(cells.values()))}
    rows = {"best static": best, **cells}
    tau = f"tau = {max(TEMPERATURES):g}" + (f", k = {config.top_k}" if config.top_k else "")
    title = f"Greedy, but {tau} at one kind of token"
    table = make_table(title, "Difference to best static, which was chosen on these problems.",
                       [1], rows, best, no_competitors=("best static",))
    print(show(table, budgets), LEGEND, sep="\n\n")


if __name__ == "__main__":
    run_program("demos.headroom", main)
