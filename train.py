"""The main run: sample rewards, select the action set, train both adapters, evaluate.

    python train.py                       # embedded LM, 4 minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --profile             # where the time goes, and the memory
    python train.py --full                # 3 seeds, two styles, every rival of the paper
    python train.py --model FOLDER --task gsm8k --data gsm8k_train.jsonl --budgets 64,128 --rows 64
    torchrun --nproc-per-node 8 train.py --model FOLDER ..      # a GPU each, the same results

    1. reward table  R(prompt, arm, sample, token budget)                 rewards.py
    2. action sets   greedy coverage of it                                sequence.py, bandit.py
    3. sequence      bandits replay it                                    sequence.py, bandit.py
    4. token         PPO on fresh rollouts, with --baselines others beside   token_level.py, pomdp.py
    5. both levels   a softmax bandit over S and the token policy         sequence.py
    6. evaluation    held-out problems, the tables                        eval.py

Everything lands in runs/NAME; while it is unfinished, in runs/NAME.part, from which --resume goes
on. Every draw is keyed by (seed, stage, step), so a resumed run ends with the same files.

Deviations from the paper: (1) both levels at once (5). Those of the parts stand in their files.
"""
from utils.cli import run_program                      # first: Ctrl-C while torch loads gets one line

import json
import os
import shlex
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import baselines                       # noqa: F401  (enters the paper's rivals in the registry)
from bandit import (bandit_problem, coverage, expected_rewards, informative, replay,
                    top_by_average)
from decode import Strategy, strategy_pool
from eval import evaluate
from experiment.adapters import arms_to_json, load_adapter, restore
from experiment.config import Config, Variant, inner_budgets, load, lower_difficulties, parse
from experiment.model_card import card
from experiment.registry import BANDITS, BASELINES, BOTH, TOKEN_LEARNERS, learners
from experiment.reward_table import Arm, RewardStore, embed_prompts, grade_fn, collect, sample_policy, sample_static
from experiment.run import Run, close_folder, print_first_example, need, open_folder
from features import PARALLEL_BUDGETS
from pomdp import TokenPolicy
from utils import distributed
from utils.errors import UserError
from utils.files import append_csv, save_checkpoint, write
from utils.problem_files import Problem
from utils.profiling import clock

GO_ON = "the same command with --resume goes on"
VALIDATION = 64      # problems (ours: 64 x 5 budgets every 10th iteration cost 6 % of a training)


# ---- the reward table and the action sets -------------------------------------------------------
@dataclass
class ActionSet:
    """S of some prompt styles, and its rewards on the training problems."""
    styles: str                            # "cot", or "cot,direct"
    arms: list[Arm]                        # S
    table: np.ndarray                      # (P, S, n, T)
    problems: list[Problem]                # P of them
    e: Tensor                              # (P, d)
    told: dict                             # what selection.json keeps


def sample_arms(run: Run, arms: list[Arm], start: int, stop: int, label: str) -> np.ndarray:
    """Table (P, S, n, T) of the training problems start .. stop, from disk where it is there."""
    config, tables = run.config, []
    for i, arm in enumerate(bar := tqdm(arms, desc=label)):
        tables.append(run.rewards.get(f"train {start}-{stop} {arm}", lambda: sample_static(
            run.lm, run.task, run.task.train[start:stop], arm, config.samples, config.seed,
            config.rows)))
        bar.set_postfix(reward=f"{tables[-1].mean():.3f}", refresh=False)
        if i % 8 == 7 or i == len(arms) - 1:               # ours: a write costs what an arm costs
            run.rewards.flush()
    return np.stack(tables, 1)


def candidates(config: Config) -> list[Arm]:
    """The pool in every style, thinned to config.pool strategies; greedy stays."""
    rest = 1 + np.random.default_rng(0).permutation(len(strategy_pool()) - 1)[:config.pool - 1]
    return [Arm(style, strategy_pool()[i]) for style in config.all_styles() for i in [0, *sorted(rest)]]


def pick(arms: list[Arm], table: np.ndarray, size: int) -> tuple[list[int], dict]:
    """S by coverage (indices), and what selection.json tells: rivals of it, best static arms."""
    values = expected_rewards(table)[0]                                                 # (X, S)
    picked, curve = coverage(values, size)
    best = [[arms[expected_rewards(table[..., t:t + 1], (B,))[0].mean(0).argmax()]
             for t in range(table.shape[3])] for B in PARALLEL_BUDGETS if B <= table.shape[2]]
    return picked, {"candidates": len(arms), "coverage": curve,
                    "top_average": top_by_average(values, size)[1],
                    "arms": arms_to_json([arms[i] for i in picked]),
                    "names": [str(arms[i]) for i in picked],
                    "best_static": [arms_to_json(line) for line in best],
                    "best_of_all": arms_to_json(
                        [arms[expected_rewards(table, (1,))[0].mean(0).argmax()]])}


def select(run: Run) -> list[ActionSet]:
    """The action set of the first style and, where there are more, that of all."""
    config, arms = run.config, candidates(run.config)
    first, last = config.pool_problems, max(config.problems, config.pool_problems)
    table = sample_arms(run, arms, 0, first, "1 reward table")
    e, sets = embed_prompts(run.lm, run.task, run.task.train[:last], config.rows), []
    for styles in config.style_sets():
        there = [i for i, arm in enumerate(arms) if arm.style in styles]
        picked, told = pick([arms[i] for i in there], table[:, there], config.arms)
        picked = [there[i] for i in picked]
        sets.append(ActionSet(",".join(styles), [arms[i] for i in picked], table[:, picked],
                              run.task.train[:first], e[:first], told))
    if last > first:
        union = list(dict.fromkeys(arm for s in sets for arm in s.arms))
        more = sample_arms(run, union, first, last, "2 action sets")
        for s in sets:
            s.table = np.concatenate([s.table, more[:, [union.index(arm) for arm in s.arms]]])
            s.problems, s.e = run.task.train[:last], e
    for s in sets:
        describe(s, config)
    return sets


def describe(s: ActionSet, config: Config) -> None:
    """Prints a set, adds to `told` what its whole table says, and filters with --filter (paper)."""
    kept, constant, noise = informative(s.table.mean(-1))
    s.told |= {"constant": constant, "noise": noise,
               "bound": float(expected_rewards(s.table)[0].max(1).mean())}
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
def train_bandit(run: Run, name: str, styles: str, arms: list[Arm],
                 x: Tensor, reward: Tensor, seed: int) -> None:
    """One of the bandits, on x and reward of `bandit_problem`. One process is enough."""
    kind = f"{name} {styles}"
    if run.done(kind, seed):
        return
    learner = (BANDITS | BOTH)[name]
    log, steps = [], getattr(run.config, learner.steps)
    with tqdm(total=steps, desc=f"{'5' if name == 'both' else '3'} {kind} {seed}") as bar:
        def progress(**line: float) -> None:
            log.append(line)
            bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-100:]]):.3f}",
                            refresh=False)
            bar.update()

        with clock("bandits"):
            bandit = learner.training(x, replay(reward), len(arms), steps, seed=seed,
                                      progress=progress)
    append_csv(run.folder + "/metrics.csv", {"adapter": kind, "seed": seed}, log)
    run.save(kind, seed, learner.adapter, bandit.state_dict(), arms=arms_to_json(arms),
             parts=learner.parts)


def train_bandits(run: Run, s: ActionSet) -> None:
    """Every bandit on one action set, every seed."""
    for name, learner in learners(run.config.baselines).items():
        x, reward = bandit_problem(s.e, s.table, run.task.budgets, learner.parts)
        for seed in run.config.all_seeds():
            distributed.main_process_first(lambda: train_bandit(
                run, name, s.styles, s.arms, x, reward, seed))


def both_arms(s: ActionSet, style: str) -> list[Arm]:
    """S, and the token policy: as it was trained, and over the style and filters of S's first."""
    over = [Arm(style, Strategy(), True),
            Arm(s.arms[0].style, s.arms[0].strategy._replace(temperature=1.0), True)]
    return s.arms + list(dict.fromkeys(over))


def train_both(run: Run, s: ActionSet, arms: list[Arm], seed: int) -> None:
    """A softmax bandit over S and, behind it in `arms`, the token policy."""
    if distributed.main_process_first(lambda: run.done(f"both {s.styles}", seed)):
        return
    config, tables = run.config, []
    policy = load_adapter(run.file("token", seed), run.lm)[0]
    for arm in tqdm(arms[len(s.arms):], desc=f"5 both levels {seed}"):
        prompts = [run.task.prompt(p, arm.style) for p in s.problems]
        acting = policy.over(torch.tensor([arm.strategy]))
        tables.append(run.rewards.get(f"train {arm} {seed}", lambda: sample_policy(
            run.lm, run.task, s.problems, lambda t, _: (prompts, acting), config.samples,
            config.seed, config.rows)))
        run.rewards.flush()
    whole = np.concatenate([s.table, np.stack(tables, 1)], 1)
    x, reward = bandit_problem(s.e, whole, run.task.budgets)
    distributed.main_process_first(lambda: train_bandit(
        run, "both", s.styles, arms, x, reward, seed))


# ---- the token level ----------------------------------------------------------------------------
def sample_batch(run: Run, problems: list[Problem], policy: TokenPolicy, variant: Variant,
                 seed: int) -> list:
    """Episodes with rewards: those of all processes, each of which samples its share.

    Every rollout has a budget of its own; for LPO, which compares them, those of a prompt share it.
    """
    config, generator = run.config, torch.Generator().manual_seed(seed)
    n = min(config.token_samples, config.batch)               # a prefill serves n rollouts
    which = torch.randint(len(problems), (config.batch // n,), generator=generator)
    budgets = torch.tensor(budgets_of(run, variant))[
        torch.randint(len(budgets_of(run, variant)), (len(which), n), generator=generator)]
    if variant.learner == "lpo":
        budgets = budgets[:, :1].expand(-1, n)
    part = distributed.share(len(which))
    mine = [problems[i] for i in which[part]]
    episodes = collect(run.lm, run.task, [run.task.prompt(p, config.all_styles()[0]) for p in mine],
                partial(policy, explore=True), budgets[part].flatten(), n, seed, config.rows,
                grade_fn(run.lm, run.task, mine))
    for x in episodes:
        x.prompt += part.start                        # its number among those of all processes
    return distributed.gather_list(episodes)


def budgets_of(run: Run, variant: Variant) -> list[int]:
    return (inner_budgets if variant.inner else list)(run.task.budgets)


def validate(run: Run, problems: list[Problem], policy: TokenPolicy, variant: Variant) -> float:
    """Mean reward of the arg-max policy on problems that it is not trained on, at its budgets."""
    budgets = torch.tensor(budgets_of(run, variant))
    mine = problems[distributed.share(len(problems))]
    prompts = [run.task.prompt(p, run.config.all_styles()[0]) for p in mine]
    episodes = collect(run.lm, run.task, prompts, policy, budgets.repeat(len(mine)),
                    len(budgets), 0, run.config.rows,
                    grade_fn(run.lm, run.task, mine))
    return outcome(distributed.gather_list(episodes))["reward"]


def outcome(episodes: list) -> dict:
    """What an iteration's episodes came to."""
    seen = np.array([(x.reward, x.truncated, len(x.tokens)) for x in episodes], dtype=float)  # (E, 3)
    return dict(zip(("reward", "truncated", "length"), seen.mean(0).tolist()))


def train_token(run: Run, problems: list[Problem], kind: str, variant: Variant,
                seed: int) -> None:
    """A token policy; a checkpoint every 10 iterations (ours: some seconds).

    The last problems are left out of training, for validation.
    """
    if distributed.main_process_first(lambda: run.done(kind, seed)):
        return
    config, checkpoint = run.config, run.file(kind, seed, "checkpoint")
    problems, held = problems[:-VALIDATION] or problems, problems[-VALIDATION:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = TokenPolicy(run.lm.d, max(run.task.budgets), variant.parts).to(run.lm.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5, fused=True)
    start, log = restore(checkpoint, policy, optimizer)
    for i in (bar := tqdm(range(start, config.iterations), initial=start, total=config.iterations,
                          desc=f"4 {kind} {seed}")):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - 0.9 * i / config.iterations)
        step_seed = seed * 1_000_003 + i + 1        # of this iteration; generators keep 32 bits
        episodes = sample_batch(run, problems, policy, variant, step_seed)
        with clock("policy updates"):
            log.append({"step": i, **outcome(episodes), **TOKEN_LEARNERS[variant.learner](
                policy, optimizer, episodes, step_seed, config.entropy)})
        if i in (10, config.iterations - 1):                     # does the memory grow?
            clock.note_memory(f"iteration {i} of {kind} {seed}")
        bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-20:]]):.3f}",
                        **{k: f"{log[-1][k]:.2f}" for k in ("entropy", "kl", "clipped")
                           if k in log[-1]},
                        refresh=False)
        if i % 10 == 9:
            log[-1]["validation"] = validate(run, held, policy, variant)
            distributed.main_process_first(lambda: save_checkpoint(
                checkpoint, policy=policy.state_dict(), optimizer=optimizer.state_dict(),
                iteration=i + 1, log=log))
    distributed.main_process_first(lambda: save_token(run, kind, seed, policy, log))


def save_token(run: Run, kind: str, seed: int, policy: TokenPolicy,
               log: list[dict]) -> None:
    append_csv(run.folder + "/metrics.csv", {"adapter": kind, "seed": seed}, log)
    run.save(kind, seed, "token", policy.state_dict(), horizon=policy.horizon, parts=policy.parts)


def easy(run: Run, problems: list[Problem]) -> list[Problem]:
    return [p for p in problems if p.difficulty in lower_difficulties(run.task.train)]


def train_tokens(run: Run, problems: list[Problem], seed: int) -> None:
    for kind, variant in run.config.token_variants().items():
        there = easy(run, problems) if variant.easy else problems
        if there and budgets_of(run, variant):
            train_token(run, there, kind, variant, seed)


# ---- the stages, one after the other ------------------------------------------------------------
def train(config: Config, resume: bool, profile: bool) -> None:
    if profile:
        clock.start()
    lm, task = load(config)
    print(f"memory: {need(lm, task, config)}")
    part, final = distributed.main_process_first(lambda: open_folder(config, resume))
    run = Run(lm, task, config, part, RewardStore(os.path.join(part, "rewards.npz")))
    distributed.main_process_first(lambda: print_first_example(run))
    sets = select(run)
    whole = sets[-1]
    arms = both_arms(whole, config.all_styles()[0])
    seen = {"sets": {s.styles: s.told for s in sets}, "both_arms": arms_to_json(arms)}
    table = task.train[:max(config.problems, config.pool_problems)]
    rivals = BASELINES if config.baselines else {}
    for name, baseline in rivals.items():
        if baseline.tune:
            seen[name] = baseline.tune(run, whole.problems[:config.pool_problems])
    distributed.main_process_first(lambda: write(os.path.join(part, "selection.json"), json.dumps(seen)))
    for s in sets:
        train_bandits(run, s)
    fresh = whole.problems if config.filter else task.train[len(table):] or table
    for seed in config.all_seeds():
        train_tokens(run, fresh, seed)
        for baseline in rivals.values():
            if baseline.train:
                baseline.train(run, whole.problems, seed)
        train_both(run, whole, arms, seed)
    print(evaluate(run))
    distributed.main_process_first(lambda: finish(config, part, final))
    if profile:
        print(f"\n{clock.report()}")
    print(f"\nwrote {final}/, {len(os.listdir(final))} files, results.json with all that is above\n"
          f"next: ./run sample.py --problem 0 --budget {task.budgets[len(task.budgets) // 2]} "
          f"--compare --run {shlex.quote(final)}")


def finish(config: Config, part: str, final: str) -> None:
    write(os.path.join(part, "README.md"), card(config, part))
    for name in os.listdir(part):
        if name.endswith((".checkpoint", ".tmp")):
            os.remove(os.path.join(part, name))
    close_folder(part, final)


def main() -> None:
    with distributed.job(GO_ON):
        train(*distributed.main_process_first(lambda: parse(sys.argv[1:])))


if __name__ == "__main__":
    run_program("train.py", main, f"stopped; {GO_ON}")
