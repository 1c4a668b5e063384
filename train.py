"""The whole method, top to bottom: sample rewards, choose arms, train both levels, evaluate.

    python train.py                       # small LM, 4 minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --full --profile      # 3 seeds, two styles, every baseline; where time goes
    torchrun --nproc-per-node 8 train.py --model FOLDER --task gsm8k --data FILE    # a GPU each

    1. reward table   reward[problem, arm, sample, token budget], sampled once: 24 arms a style, 120
                      problems, 8 samples (the default options; --help lists all of them)
    2. action sets    |S| = 6 by greedy coverage of the table; S is sampled on 280 more problems
    3. bandits        replay the table of S                                         bandit.py
    4. token level    150 iterations of PPO, each on 512 fresh rollouts: 128 problems (others than
                      the table's if there are more, and not --filter), 4 rollouts of each under
                      budgets of their own; lr 5e-4, falling to a tenth             pomdp.py
    5. both levels    a softmax bandit over S and the token policy
    6. evaluation     held-out problems, the tables                                 eval.py

Everything is written to runs/NAME.part, which becomes runs/NAME at the end; --resume goes on there.
Random numbers depend on the seed and on what they are for, not on what was drawn before, so a
resumed run ends with the same files.

Shapes: N prompts, P problems, S arms, n samples, T token budgets, X contexts, D inputs of a bandit.

Deviations from the paper: (1) both levels at once (5). Those of the parts stand in their files.
"""
from utils.cli import check_options, run_program  # first: Ctrl-C is caught from here on
from experiment.config import VALIDATION, Variant, inner_budgets, lower_difficulties, parse

if __name__ == "__main__":                       # before torch loads: a mistake is told at once
    check_options("train.py", parse)

import json
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import baselines                                 # noqa: F401  (enters itself in the registry)
from bandit import (bandit_problem, coin_tosses, coverage, expected_rewards, informative, pass_at,
                    top_by_average)
from decode import Episode, Strategy
from eval import evaluate
from experiment.adapters import arms_to_json, load_adapter, restore
from experiment.model_card import card
from experiment.progress import progress
from experiment.registry import (BOTH, TOKEN_LEARNERS, BanditLearner, bandit_learners,
                                 train_baselines, tune_baselines)
from experiment.reward_table import (Arm, at_every_budget, collect, grade_fn, sample_policy,
                                     sample_static)
from experiment.run import Run, TrainingLog, close_run, mean_outcome, open_run
from experiment.selection import (ActionSet, Selection, candidate_arms, describe,
                                  drop_uninformative)
from experiment.summary import last_words
from features import PARALLEL_BUDGETS
from pomdp import TokenPolicy
from utils.distributed import gather_list, main_process_first, process_group, share
from utils.files import append_csv, save_checkpoint, write
from utils.problem_files import Problem
from utils.profiling import clock

RESUME = "the same command with --resume goes on"


# ---- 1. the reward table ------------------------------------------------------------------------
def sample_arms(run: Run, arms: list[Arm], start: int, stop: int, label: str
                ) -> dict[Arm, np.ndarray]:
    """Rewards (P, n, T) of each arm on the training problems start .. stop: on disk, or sampled."""
    problems = run.task.train[start:stop]
    rewards = {}
    bar = tqdm(arms, desc=label)
    for arm in bar:
        sample = partial(sample_static, run.lm, run.task, problems, arm, run.config.samples,
                         run.config.seed, run.config.rows)
        rewards[arm] = run.rewards.get(f"train {start}-{stop} {arm}", sample)           # (P, n, T)
        bar.set_postfix(reward=f"{rewards[arm].mean():.3f}", **progress.left(), refresh=False)
        run.rewards.flush(seconds=10)            # ours: a stop costs ten seconds and one arm
    run.rewards.flush()
    return rewards


def sample_table(run: Run) -> tuple[dict[Arm, np.ndarray], list[Problem], Tensor]:
    """The rewards of all candidates on the first --pool-problems problems; all problems that the
    bandits will be trained on, and the prompt embeddings e (P, d) of these."""
    few = run.config.pool_problems
    problems = run.task.train[:max(run.config.problems, few)]
    e = run.embeddings("train", problems)
    return sample_arms(run, candidate_arms(run.config), 0, few, "1/6 reward table"), problems, e


# ---- 2. the action sets -------------------------------------------------------------------------
def best_static(arms: list[Arm], table: np.ndarray) -> list[list[Arm]]:
    """The baseline "best static", [B][T]: for each (B, T) the arm with the highest Pass@B there.

    Out of all candidates, on training problems, table (P, S, n, T): what a user gets who tunes one
    strategy for each pair of budgets and then uses it for every prompt.
    """
    best = []
    for B in PARALLEL_BUDGETS:
        if B <= table.shape[2]:
            line = []
            for t in range(table.shape[3]):
                pass_at_B = pass_at(table[..., t], B).mean(0)                           # (S,)
                line.append(arms[int(pass_at_B.argmax())])
            best.append(line)
    return best


def select_arms(arms: list[Arm], table: np.ndarray, size: int) -> Selection:
    """S by greedy coverage of a table (P, S, n, T) of all arms, and what else could be chosen."""
    reward, _ = expected_rewards(table, PARALLEL_BUDGETS)                               # (X, S)
    chosen, curve = coverage(reward, size)
    _, top_average = top_by_average(reward, size)
    pass_at_1 = table.mean((0, 2, 3))                                                   # (S,)
    best_of_all = arms[int(pass_at_1.argmax())]
    return Selection(
        candidates=len(arms), coverage=curve, top_average=top_average,
        arms=[arms[i] for i in chosen], best_static=best_static(arms, table),
        best_of_all=[best_of_all])


def select_action_sets(run: Run, rewards: dict[Arm, np.ndarray], problems: list[Problem],
                       e: Tensor) -> list[ActionSet]:
    """The action set of the first style and, if there are more, of all; from `sample_table`."""
    config = run.config
    few, many = config.pool_problems, len(problems)
    # Choose S of each set of styles, on the few problems of all candidates
    selections = {}
    for style_set in config.style_sets():
        own = [arm for arm in rewards if arm.style in style_set]
        candidates = np.stack([rewards[arm] for arm in own], 1)                 # (few, .., n, T)
        selections[",".join(style_set)] = select_arms(own, candidates, config.arms)

    # Sample the chosen arms alone on the rest of the problems
    chosen = sorted({arm for selection in selections.values() for arm in selection.arms})
    of_chosen = {arm: rewards[arm] for arm in chosen}
    if many > few:
        more = sample_arms(run, chosen, few, many, "2/6 action sets")
        of_chosen = {arm: np.concatenate([rewards[arm], more[arm]]) for arm in chosen}

    # The table of each S; with --filter without the problems that say nothing about its arms
    sets = []
    for styles, selection in selections.items():
        table = np.stack([of_chosen[arm] for arm in selection.arms], 1)         # (P, S, n, T)
        kept, selection.constant, selection.noise = informative(table.mean(-1))
        reward, _ = expected_rewards(table, PARALLEL_BUDGETS)
        selection.bound = float(reward.max(1).mean())
        describe(selection, styles, config.filter)
        s = ActionSet(styles, selection, table, problems, e)
        if config.filter:
            drop_uninformative(s, kept)
        sets.append(s)
    return sets


# ---- 3. the bandits -----------------------------------------------------------------------------
def train_bandit(run: Run, kind: str, learner: BanditLearner, arms: list[Arm], e: Tensor,
                 table: np.ndarray, seed: int, stage: int = 3) -> None:
    """Trains a bandit over `arms` on their table (P, S, n, T) and prompt embeddings e (P, d)."""
    if run.done(kind, seed):
        return
    x, reward = bandit_problem(e, table, run.task.budgets, learner.parts)       # (X, D), (X, S)
    steps = getattr(run.config, learner.steps)
    with clock("bandits"), TrainingLog(f"{stage}/6 {kind}, seed {seed}", steps) as log:
        bandit = learner.train(x, coin_tosses(reward), len(arms), steps, seed=seed,
                               progress=log.add)
    append_csv(f"{run.folder}/metrics.csv", {"adapter": kind, "seed": seed}, log.lines)
    about: dict[str, object] = {"arms": arms_to_json(arms), "parts": learner.parts}
    if learner.adapter == "softmax":             # LinUCB has no hidden layer
        about["width"] = bandit.width
    run.save(kind, seed, learner.adapter, bandit.state_dict(), **about)


def train_bandits(run: Run, s: ActionSet) -> None:
    """Every bandit on one action set, every seed. One process trains them: it takes seconds."""
    for name, learner in bandit_learners(run.config.baselines).items():
        for seed in run.config.all_seeds():
            main_process_first(partial(train_bandit, run, f"{name} {s.styles}", learner,
                                       s.selection.arms, s.e, s.table, seed))


# ---- 4. the token level -------------------------------------------------------------------------
def sample_episodes(run: Run, problems: list[Problem], budgets: Tensor, policy: TokenPolicy,
                    seed: int, explore: bool) -> list[Episode]:
    """Episodes of N problems under budgets (N, n): a process samples its share, all get all."""
    N, n = budgets.shape
    part = share(N)
    mine = problems[part]
    prompts = [run.task.prompt(p, run.config.all_styles()[0]) for p in mine]
    episodes = collect(run.lm, run.task, prompts, partial(policy, explore=explore),
                       budgets[part].flatten(), n, seed, run.config.rows,
                       grade_fn(run.lm, run.task, mine, prompts))
    for episode in episodes:
        episode.prompt += part.start             # its number among the prompts of all processes
    return gather_list(episodes)


def training_episodes(run: Run, problems: list[Problem], budgets: list[int], policy: TokenPolicy,
                      variant: Variant, seed: int) -> list[Episode]:
    """The rollouts of one iteration: random problems, n rollouts each, actions drawn from pi."""
    n = min(run.config.token_samples, run.config.batch)          # one prefill serves n rollouts
    N = run.config.batch // n
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(problems), (N,), generator=generator)
    # Each rollout has a token budget of its own; LPO compares those of a prompt, so they share one
    drawn = torch.randint(len(budgets), (N, n), generator=generator)
    if variant.learner == "lpo":
        drawn = drawn[:, :1].expand(-1, n)
    return sample_episodes(run, [problems[i] for i in chosen], torch.tensor(budgets)[drawn], policy,
                           seed, explore=True)


def train_token(run: Run, problems: list[Problem], budgets: list[int], kind: str,
                variant: Variant, seed: int) -> None:
    """Trains a token policy, by PPO as a rule. The last of the problems are for validation."""
    if run.done(kind, seed):
        return
    config = run.config
    training = problems[:-VALIDATION] or problems
    validation = problems[-VALIDATION:]
    # Validation: one sample of each problem at each token budget
    every_budget = torch.tensor(budgets).repeat(len(validation), 1)                     # (N, T)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = TokenPolicy(run.lm.d, max(run.task.budgets), variant.parts, top_k=config.top_k)
    policy = policy.to(run.lm.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5, fused=True)
    update = TOKEN_LEARNERS[variant.learner]
    checkpoint = run.file(kind, seed, "checkpoint")
    start, lines = restore(checkpoint, policy, optimizer)
    with TrainingLog(f"4/6 {kind}, seed {seed}", config.iterations, lines) as log:
        for i in range(start, config.iterations):
            # The learning rate falls linearly to a tenth
            optimizer.param_groups[0]["lr"] = config.lr * (1 - 0.9 * i / config.iterations)

            # Sample rollouts with the policy as it is, and learn from them
            step_seed = seed * 1_000_003 + i + 1                 # another one for every iteration
            episodes = training_episodes(run, training, budgets, policy, variant, step_seed)
            with clock("policy updates"):
                diagnostics = update(policy, optimizer, episodes, step_seed, config.entropy)
            log.add(step=i, **mean_outcome(episodes), **diagnostics)

            # Every 10 iterations (ours: some seconds) score the arg-max actions, and save
            if i % 10 == 9:
                best = sample_episodes(run, validation, every_budget, policy, 0, explore=False)
                log.lines[-1]["validation"] = mean_outcome(best)["reward"]
                save_checkpoint(checkpoint, policy=policy.state_dict(),
                                optimizer=optimizer.state_dict(), iteration=i + 1, log=log.lines)
            if i in (10, config.iterations - 1):                 # does the memory grow?
                clock.note_memory(f"iteration {i} of {kind} {seed}")
    append_csv(f"{run.folder}/metrics.csv", {"adapter": kind, "seed": seed}, log.lines)
    run.save(kind, seed, "token", policy.state_dict(), horizon=policy.horizon, parts=policy.parts,
             width=policy.width, top_k=policy.top_k)


def train_token_level(run: Run, s: ActionSet, in_table: int) -> None:
    """The token policy and, with --baselines, its variants, every seed.

    On other problems than the table's first ones, `in_table`, if there are more and not --filter.
    """
    problems = run.task.train[in_table:] or run.task.train
    if run.config.filter:
        problems = s.problems
    easy = lower_difficulties(run.task.train)
    for seed in run.config.all_seeds():
        for kind, variant in run.config.token_variants().items():
            own = [p for p in problems if p.difficulty in easy] if variant.easy else problems
            budgets = inner_budgets(run.task.budgets) if variant.inner else list(run.task.budgets)
            if own and budgets:
                train_token(run, own, budgets, kind, variant, seed)


# ---- 5. both levels -----------------------------------------------------------------------------
def token_arms(s: ActionSet, style: str) -> list[Arm]:
    """The token policy as arms: as it was trained, and over the style and filters of S's first.

    (S's first is the best arm on average over all B and T: greedy coverage begins with it.)
    """
    first = s.selection.arms[0]
    trained = Arm(style, Strategy(), token=True)
    # 1.0 is a placeholder: the token policy replaces the temperature
    filtered = Arm(first.style, first.strategy._replace(temperature=1.0), token=True)
    return list(dict.fromkeys([trained, filtered]))              # once if they are the same


def train_both(run: Run, s: ActionSet, seed: int) -> None:
    """A softmax bandit over S and, behind it, arms with the token policy of that seed."""
    kind = f"both {s.styles}"
    if run.done(kind, seed):
        return
    more = token_arms(s, run.config.all_styles()[0])
    token_policy, _ = load_adapter(run.file("token", seed), run.lm)
    tables = []
    for arm in tqdm(more, desc=f"5/6 both levels, seed {seed}"):
        # At every token budget: the arm's prompts, and the token policy over the arm's filters
        prompts = [run.task.prompt(p, arm.style) for p in s.problems]
        policy = token_policy.over(torch.tensor([arm.strategy]))
        sample = partial(sample_policy, run.lm, run.task, s.problems,
                         at_every_budget(prompts, policy), run.config.samples, run.config.seed,
                         run.config.rows)
        tables.append(run.rewards.get(f"train {arm} {seed}", sample))                   # (P, n, T)
        run.rewards.flush()
    table = np.concatenate([s.table, np.stack(tables, 1)], 1)    # (P, S + more, n, T)
    main_process_first(partial(train_bandit, run, kind, BOTH, s.selection.arms + more, s.e, table,
                               seed, stage=5))


# ---- all stages, one after the other ------------------------------------------------------------
def train(run: Run) -> dict:
    """Trains and evaluates everything; returns the content of results.json."""
    config = run.config

    # 1 and 2: the reward table, the action sets
    rewards, table_problems, e = sample_table(run)
    sets = select_action_sets(run, rewards, table_problems, e)
    largest = sets[-1]                                           # that of all styles
    summary: dict[str, object] = {"sets": {s.styles: s.selection.to_json() for s in sets}}
    summary |= tune_baselines(run, largest.problems[:config.pool_problems])
    write(f"{run.folder}/selection.json", json.dumps(summary))

    # 3: the bandits
    for s in sets:
        train_bandits(run, s)

    # 4: the token level
    train_token_level(run, largest, len(table_problems))
    train_baselines(run, largest.problems)

    # 5 and 6: both levels, the evaluation
    for seed in config.all_seeds():
        train_both(run, largest, seed)
    return evaluate(run)


def main() -> None:
    with process_group(RESUME):
        config, asked = main_process_first(parse)
        if asked.profile:
            clock.start()
        run, final = open_run(config, asked.resume)
        print(last_words(train(run), asked.tables))
        if asked.profile:
            print(f"\n{clock.report()}")
        close_run(run, final, card(config, run.folder))


if __name__ == "__main__":
    run_program("train.py", main, f"stopped; {RESUME}")
