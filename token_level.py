"""The token level's part of the main job: rollouts, an update on them, and the next ones.

    python train.py                     # calls this stage after the bandits, once for each variant

    for each iteration:
        episodes  config.batch texts, each at a token budget of its own, graded       rewards.play
        update    PPO; with --rivals also REINFORCE and LPO               pomdp.py, rivals.py
        at times  a checkpoint, from which --resume goes on, and the reward of validation problems

Shapes: E episodes of an iteration, those of all processes.
"""
import numpy as np
import torch
from torch.optim import Optimizer
from tqdm import tqdm

import ranks
from clock import clock
from config import Variant, inner_budgets, lower_levels
from decode import Episode
from job import Job
from pomdp import TokenPolicy, ppo_update, reinforce_update
from rewards import grader, play
from rivals import lpo_update
from store import append_csv, restore, save_checkpoint
from tasks import Problem

VALIDATION = 64      # problems (ours: 64 x 5 budgets every 10th iteration cost 6 % of a training)


# ---- an iteration's rollouts --------------------------------------------------------------------
def sample_batch(job: Job, problems: list[Problem], policy: TokenPolicy, variant: Variant,
                 seed: int) -> list:
    """Episodes with rewards: this process's share of an iteration's rollouts.

    Every rollout has a budget of its own; for LPO, which compares them, those of a prompt share it.
    """
    config, generator = job.config, torch.Generator().manual_seed(seed)
    n = min(config.token_samples, config.batch)               # a prefill serves n rollouts
    which = torch.randint(len(problems), (config.batch // n,), generator=generator)
    budgets = torch.tensor(budgets_of(job, variant))[
        torch.randint(len(budgets_of(job, variant)), (len(which), n), generator=generator)]
    if variant.learner == "lpo":
        budgets = budgets[:, :1].expand(-1, n)
    part = ranks.share(len(which))
    mine = [problems[i] for i in which[part]]
    return play(job.lm, job.task, [job.task.prompt(p, config.all_styles()[0]) for p in mine],
                policy.acting(explore=True), budgets[part].flatten(), n, seed, config.rows,
                grader(job.lm, job.task, mine))


def budgets_of(job: Job, variant: Variant) -> list[int]:
    return (inner_budgets if variant.inner else list)(job.task.budgets)


def validate(job: Job, problems: list[Problem], policy: TokenPolicy, variant: Variant) -> float:
    """Mean reward of the arg-max policy on problems that it is not trained on, at its budgets."""
    budgets = torch.tensor(budgets_of(job, variant))
    mine = problems[ranks.share(len(problems))]
    prompts = [job.task.prompt(p, job.config.all_styles()[0]) for p in mine]
    episodes = play(job.lm, job.task, prompts, policy.acting(), budgets.repeat(len(mine)),
                    len(budgets), 0, job.config.rows,
                    grader(job.lm, job.task, mine))
    return outcome(episodes)["reward"]


def outcome(episodes: list) -> dict:
    """What an iteration's episodes, those of all processes, came to."""
    seen = ranks.gather(np.array([(x.reward, not x.ended, len(x.tokens)) for x in episodes],
                                 dtype=float).reshape(-1, 3))                            # (E, 3)
    return dict(zip(("reward", "truncated", "length"), seen.mean(0).tolist()))


# ---- training -----------------------------------------------------------------------------------
def update(policy: TokenPolicy, optimizer: Optimizer, episodes: list[Episode], learner: str,
           seed: int, entropy: float) -> dict:
    if learner == "lpo":
        return lpo_update(policy, optimizer, episodes, seed)
    learn = ppo_update if learner == "ppo" else reinforce_update
    return learn(policy, optimizer, episodes, seed, entropy)


def train_token(job: Job, problems: list[Problem], kind: str, variant: Variant,
                seed: int) -> None:
    """A token policy; a checkpoint every 10 iterations (ours: some seconds).

    The last problems are left out of training, for validation.
    """
    if ranks.first(lambda: job.done(kind, seed)):
        return
    config, checkpoint = job.config, job.file(kind, seed, "checkpoint")
    problems, held = problems[:-VALIDATION] or problems, problems[-VALIDATION:]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = TokenPolicy(job.lm.d, max(job.task.budgets), variant.parts).to(job.lm.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5, fused=True)
    start, log = restore(checkpoint, policy, optimizer)
    for i in (bar := tqdm(range(start, config.iterations), initial=start, total=config.iterations,
                          desc=f"4 {kind} {seed}")):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - 0.9 * i / config.iterations)
        step_seed = seed * 1_000_003 + i + 1        # of this iteration; generators keep 32 bits
        episodes = sample_batch(job, problems, policy, variant, step_seed)
        with clock("policy updates"):
            log.append({"step": i, **outcome(episodes), **update(
                policy, optimizer, episodes, variant.learner, step_seed, config.entropy)})
        if i in (10, config.iterations - 1):                     # does the memory grow?
            clock.note_memory(f"iteration {i} of {kind} {seed}")
        bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-20:]]):.3f}",
                        **{k: f"{log[-1][k]:.2f}" for k in ("entropy", "kl", "clipped")
                           if k in log[-1]},
                        refresh=False)
        if i % 10 == 9:
            log[-1]["validation"] = validate(job, held, policy, variant)
            ranks.first(lambda: save_checkpoint(
                checkpoint, policy=policy.state_dict(), optimizer=optimizer.state_dict(),
                iteration=i + 1, log=log))
    ranks.first(lambda: save_token(job, kind, seed, policy, log))


def save_token(job: Job, kind: str, seed: int, policy: TokenPolicy,
               log: list[dict]) -> None:
    append_csv(job.folder + "/metrics.csv", {"adapter": kind, "seed": seed}, log)
    job.save(kind, seed, "token", policy.state_dict(), horizon=policy.horizon, parts=policy.parts)


def easy(job: Job, problems: list[Problem]) -> list[Problem]:
    return [p for p in problems if p.level in lower_levels(job.task.train)]


def train_tokens(job: Job, problems: list[Problem], seed: int) -> None:
    for kind, variant in job.config.token_variants().items():
        there = easy(job, problems) if variant.easy else problems
        if there and budgets_of(job, variant):
            train_token(job, there, kind, variant, seed)
