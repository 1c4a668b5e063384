"""The sequence level's part of the main job: reward table, action sets, bandits, both levels.

    python train.py                     # calls these stages, the token level's between them
    python replay.py runs/sums          # the bandits again, on the table of a run that is there

    reward table  R(prompt, arm, sample, token budget), of every candidate              rewards.py
    action set    greedy coverage of it: of the first style's arms, and of all styles'    bandit.py
    bandits       softmax, LinUCB; with --rivals LPO and a softmax bandit without budgets
    both levels   a softmax bandit over S and the token policy

Prompts in the first style alone are the paper's "w/o CoT" rows, arms of all styles its "mixed CoT".

Shapes as in bandit.py: P problems, S arms, n samples, T token budgets, X contexts, D inputs.
"""
from dataclasses import dataclass
from typing import Callable, NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

import ranks
from bandit import (Arm, Pull, contexts, coverage, informative, pool, top_average, train_linucb,
                    train_softmax)
from cli import UserError
from clock import clock
from config import Config
from decode import Strategy
from features import CONTEXT, PARALLEL, context
from job import Job
from rewards import embed, sample_policy, sample_static
from rivals import train_lpo
from store import append_csv, arms_to_json, load_adapter
from tasks import Problem


# ---- the reward table and the action sets -------------------------------------------------------
@dataclass
class ActionSet:
    """S of some prompt styles, and its rewards on the training problems."""
    styles: str                            # "work", or "work,once"
    arms: list[Arm]                        # S
    table: np.ndarray                      # (P, S, n, T)
    problems: list[Problem]                # P of them
    e: Tensor                              # (P, d)
    told: dict                             # what selection.json keeps


def sample_arms(job: Job, arms: list[Arm], start: int, stop: int, label: str) -> np.ndarray:
    """Table (P, S, n, T) of the training problems start .. stop, from disk where it is there."""
    config, tables = job.config, []
    for i, arm in enumerate(bar := tqdm(arms, desc=label)):
        tables.append(job.rewards.get(f"train {start}-{stop} {arm}", lambda: sample_static(
            job.lm, job.task, job.task.train[start:stop], arm, config.samples, config.seed,
            config.rows)))
        bar.set_postfix(reward=f"{tables[-1].mean():.3f}", refresh=False)
        if i % 8 == 7 or i == len(arms) - 1:               # ours: a write costs what an arm costs
            job.rewards.flush()
    return np.stack(tables, 1)


def candidates(config: Config) -> list[Arm]:
    """The pool in every style, thinned to config.pool strategies; greedy stays."""
    rest = 1 + np.random.default_rng(0).permutation(len(pool()) - 1)[:config.pool - 1]
    return [Arm(style, pool()[i]) for style in config.all_styles() for i in [0, *sorted(rest)]]


def pick(arms: list[Arm], table: np.ndarray, size: int) -> tuple[list[int], dict]:
    """S by coverage (indices), and what selection.json tells: rivals of it, best static arms."""
    values = contexts(table)                                                            # (X, S)
    picked, curve = coverage(values, size)
    best = [[arms[contexts(table[..., t:t + 1], (B,)).mean(0).argmax()]
             for t in range(table.shape[3])] for B in PARALLEL if B <= table.shape[2]]
    return picked, {"candidates": len(arms), "coverage": curve,
                    "top_average": top_average(values, size)[1],
                    "arms": arms_to_json([arms[i] for i in picked]),
                    "names": [str(arms[i]) for i in picked],
                    "best_static": [arms_to_json(line) for line in best],
                    "best_of_all": arms_to_json([arms[contexts(table, (1,)).mean(0).argmax()]])}


def select(job: Job) -> list[ActionSet]:
    """The action set of the first style and, where there are more, that of all."""
    config, arms = job.config, candidates(job.config)
    first, last = config.pool_problems, max(config.problems, config.pool_problems)
    table = sample_arms(job, arms, 0, first, "1 reward table")
    e, sets = embed(job.lm, job.task, job.task.train[:last], config.rows), []
    for styles in config.style_sets():
        there = [i for i, arm in enumerate(arms) if arm.style in styles]
        picked, told = pick([arms[i] for i in there], table[:, there], config.arms)
        picked = [there[i] for i in picked]
        sets.append(ActionSet(",".join(styles), [arms[i] for i in picked], table[:, picked],
                              job.task.train[:first], e[:first], told))
    if last > first:
        union = list(dict.fromkeys(arm for s in sets for arm in s.arms))
        more = sample_arms(job, union, first, last, "2 action sets")
        for s in sets:
            s.table = np.concatenate([s.table, more[:, [union.index(arm) for arm in s.arms]]])
            s.problems, s.e = job.task.train[:last], e
    for s in sets:
        describe(s, config)
    return sets


def describe(s: ActionSet, config: Config) -> None:
    """Prints a set, adds to `told` what its whole table says, and filters with --filter (paper)."""
    kept, constant, noise = informative(s.table.mean(-1))
    s.told |= {"constant": constant, "noise": noise,
               "bound": float(contexts(s.table).max(1).mean())}
    print(f"action set of {s.styles}, out of {s.told['candidates']}: {', '.join(map(str, s.arms))}")
    for name, F in (("greedy coverage", s.told["coverage"]),
                    ("the top |S| by average", s.told["top_average"])):
        print(f"F(S) for |S| = 1 .. {len(s.arms)}, {name:22}", *(f"{v:.3f}" for v in F))
    print(f"problems with constant reward {constant:.0%}, noisy {noise:.0%}: "
          f"{'left out' if config.filter else 'kept'}")
    if config.filter:
        if not kept.any():
            raise UserError("no problem tells the arms apart: --filter would leave none")
        s.table, s.e = s.table[kept], s.e[kept]
        s.problems = [p for p, k in zip(s.problems, kept) if k]


# ---- the bandits --------------------------------------------------------------------------------
class Learner(NamedTuple):
    """A way to train a bandit, and its row in the tables."""
    row: str
    training: Callable[..., nn.Module]     # as bandit.train_softmax
    steps: str                             # the option that says how many
    adapter: str = "softmax"               # class of what it trains, in store.KINDS
    parts: tuple[str, ...] = CONTEXT       # of the context that it sees
    rival: bool = False                    # trained with --rivals alone


BANDITS = {"lpo": Learner("LPO", train_lpo, "bandit_steps", rival=True),
           "softmax-no-budget": Learner("softmax bandit, no budget", train_softmax, "bandit_steps",
                                        parts=("prompt",), rival=True),
           "softmax": Learner("softmax bandit", train_softmax, "bandit_steps"),
           "linucb": Learner("LinUCB", train_linucb, "linucb_steps", "linucb")}
BOTH = {"both": Learner("both levels", train_softmax, "bandit_steps")}


def learners(config: Config) -> dict[str, Learner]:
    """The bandits of a run, by the names of their files."""
    return {name: x for name, x in BANDITS.items() if config.rivals or not x.rival}


def bandit_data(job: Job, e: Tensor, table: np.ndarray,
                parts: Sequence[str] = CONTEXT) -> tuple[Tensor, Pull]:
    """Contexts x (X, D) = (problem, B, T) of a table (P, S, n, T), and `pull`; e (P, d)."""
    Bs = [B for B in PARALLEL if B <= table.shape[2]]
    grid = torch.cartesian_prod(torch.arange(len(e)), torch.tensor(Bs),
                                torch.tensor(job.task.budgets))                         # (X, 3)
    values = torch.from_numpy(contexts(table)).float()                                  # (X, S)

    def pull(rows: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Did any of B samples, drawn from the n without repeats, pass? A coin of Pass@B."""
        return (torch.rand(len(rows), generator=generator) < values[rows, actions]).float()

    return context(e[grid[:, 0]], grid[:, 1], grid[:, 2], max(job.task.budgets), parts), pull


def train_bandit(job: Job, name: str, styles: str, arms: list[Arm],
                 data: tuple[Tensor, Pull], seed: int) -> None:
    """One of the learners above; data as `bandit_data` gives it. One process is enough."""
    kind = f"{name} {styles}"
    if job.done(kind, seed):
        return
    learner = (BANDITS | BOTH)[name]
    log, steps = [], getattr(job.config, learner.steps)
    with tqdm(total=steps, desc=f"{'5' if name == 'both' else '3'} {kind} {seed}") as bar:
        def progress(**line: float) -> None:
            log.append(line)
            bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-100:]]):.3f}",
                            refresh=False)
            bar.update()

        with clock("bandits"):
            bandit = learner.training(*data, len(arms), steps, seed=seed, progress=progress)
    append_csv(job.folder + "/metrics.csv", {"adapter": kind, "seed": seed}, log)
    job.save(kind, seed, learner.adapter, bandit.state_dict(), arms=arms_to_json(arms),
             parts=learner.parts)


def train_bandits(job: Job, s: ActionSet) -> None:
    """Every bandit on one action set, every seed."""
    for name, learner in learners(job.config).items():
        data = bandit_data(job, s.e, s.table, learner.parts)
        for seed in job.config.all_seeds():
            ranks.first(lambda: train_bandit(job, name, s.styles, s.arms, data, seed))


def both_arms(s: ActionSet, style: str) -> list[Arm]:
    """S, and the token policy: as it was trained, and over the style and filters of S's first."""
    over = [Arm(style, Strategy(), True),
            Arm(s.arms[0].style, s.arms[0].strategy._replace(temperature=1.0), True)]
    return s.arms + list(dict.fromkeys(over))


def train_both(job: Job, s: ActionSet, arms: list[Arm], seed: int) -> None:
    """A softmax bandit over S and, behind it in `arms`, the token policy."""
    if ranks.first(lambda: job.done(f"both {s.styles}", seed)):
        return
    config, tables = job.config, []
    policy = load_adapter(job.file("token", seed), job.lm)[0]
    for arm in tqdm(arms[len(s.arms):], desc=f"5 both levels {seed}"):
        prompts = [job.task.prompt(p, arm.style) for p in s.problems]
        acting = policy.acting(torch.tensor([arm.strategy]))
        tables.append(job.rewards.get(f"train {arm} {seed}", lambda: sample_policy(
            job.lm, job.task, s.problems, lambda t, _: (prompts, acting), config.samples,
            config.seed, config.rows)))
        job.rewards.flush()
    whole = np.concatenate([s.table, np.stack(tables, 1)], 1)
    data = bandit_data(job, s.e, whole)
    ranks.first(lambda: train_bandit(job, "both", s.styles, arms, data, seed))
