"""The main job: sample rewards, select the action set, train both adapters, evaluate.

    python train.py                       # embedded LM, some minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --profile             # where the time goes, and the memory
    python train.py --full                # 3 seeds, two styles, every rival of the paper
    python train.py --model FOLDER --task gsm8k --data gsm8k_train.jsonl --budgets 64,128 --rows 64
    torchrun --nproc-per-node 8 train.py --model FOLDER ..      # a GPU each, the same results

    1. reward table  R(prompt, arm, sample, token budget)                 rewards.py
    2. action sets   greedy coverage of it                                sequence.py, bandit.py
    3. sequence      bandits replay it                                    sequence.py, bandit.py
    4. token         PPO on fresh rollouts, and with --rivals its rivals  pomdp.py, rivals.py
    5. both levels   a softmax bandit over S and the token policy         sequence.py
    6. evaluation    held-out problems, the tables                        eval.py

Everything lands in runs/NAME; while it is unfinished, in runs/NAME.part, from which --resume goes
on. Every draw is keyed by (seed, stage, step), so a resumed run ends with the same files.
"""
from cli import run                 # first: Ctrl-C while torch loads gets one line

import io
import json
import os
import shlex
import sys

import numpy as np
import torch
from torch.optim import Optimizer
from tqdm import tqdm

import ranks
from clock import clock
from config import Config, Variant, load, parse
from decode import Strategy, static
from eval import evaluate
from job import Job, close_folder, first_look, need, open_folder
from pomdp import TokenPolicy, ppo_update, reinforce_update
from rewards import Rewards, play, sample_blind
from rivals import EDT_GRID, edt, lpo_update, train_autodeco
from sequence import both_arms, select, train_bandits, train_both
from store import append_csv, arms_to_json, damaged, write
from tasks import Problem

GO_ON = "the same command with --resume goes on"
VALIDATION = 64      # problems (ours: 64 x 5 budgets every 10th iteration cost 6 % of a training)


# ---- checkpoints --------------------------------------------------------------------------------
def load_checkpoint(path: str) -> dict | None:
    """On the CPU, where every process can read it; None where there is none."""
    try:
        return torch.load(path, map_location="cpu") if os.path.exists(path) else None
    except Exception as error:                   # a damaged file raises kinds of torch's own
        raise damaged(path, error)


def restore(path: str, policy: TokenPolicy, optimizer: Optimizer) -> tuple[int, list]:
    """Brings both to where the checkpoint, if there is one, was written; (iterations done, log)."""
    saved = ranks.first(lambda: load_checkpoint(path))
    if saved is None:
        return 0, []
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
        return saved["iteration"], saved["log"]
    except Exception as error:                                      # a file of another kind
        raise damaged(path, error)


def save_checkpoint(path: str, **what: object) -> None:
    data = io.BytesIO()
    torch.save(what, data)
    write(path, data.getvalue())


# ---- the token level ----------------------------------------------------------------------------
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
                lambda i, y: job.task.grade(job.lm.text(y), mine[i]))


def budgets_of(job: Job, variant: Variant) -> list[int]:
    return list(job.task.budgets[1::2] if variant.inner else job.task.budgets)


def validate(job: Job, problems: list[Problem], policy: TokenPolicy, variant: Variant) -> float:
    """Mean reward of the arg-max policy on problems that it is not trained on, at its budgets."""
    budgets = torch.tensor(budgets_of(job, variant))
    mine = problems[ranks.share(len(problems))]
    prompts = [job.task.prompt(p, job.config.all_styles()[0]) for p in mine]
    episodes = play(job.lm, job.task, prompts, policy.acting(), budgets.repeat(len(mine)),
                    len(budgets), 0, job.config.rows,
                    lambda i, y: job.task.grade(job.lm.text(y), mine[i]))
    return outcome(episodes)["reward"]


def outcome(episodes: list) -> dict:
    """What an iteration's episodes, those of all processes, came to."""
    seen = ranks.gather(np.array([(x.reward, not x.ended, len(x.tokens)) for x in episodes],
                                 dtype=float).reshape(-1, 3))                            # (E, 3)
    return dict(zip(("reward", "truncated", "length"), seen.mean(0).tolist()))


def update(policy: TokenPolicy, optimizer: Optimizer, episodes: list, learner: str, seed: int,
           entropy: float) -> dict:
    if learner == "lpo":
        return lpo_update(policy, optimizer, episodes, seed)
    learn = ppo_update if learner == "ppo" else reinforce_update
    return learn(policy, optimizer, episodes, seed, entropy)


def train_token(job: Job, problems: list[Problem], kind: str, variant: Variant, seed: int) -> None:
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
        bar.set_postfix(refresh=False, reward=f"{np.mean([x['reward'] for x in log[-20:]]):.3f}",
                        **{k: f"{log[-1].get(k, 0):.2f}" for k in ("entropy", "kl", "clipped")})
        if i % 10 == 9:
            log[-1]["validation"] = validate(job, held, policy, variant)
            ranks.first(lambda: save_checkpoint(
                checkpoint, policy=policy.state_dict(), optimizer=optimizer.state_dict(),
                iteration=i + 1, log=log))
    ranks.first(lambda: save_token(job, kind, seed, policy, log))


def save_token(job: Job, kind: str, seed: int, policy: TokenPolicy, log: list[dict]) -> None:
    append_csv(job.folder + "/metrics.csv", {"adapter": kind, "seed": seed}, log)
    job.save(kind, seed, "token", policy.state_dict(), horizon=policy.horizon, parts=policy.parts,
             chat=job.task.chat, thinking=job.task.thinking, stop=job.task.stop)


def easy(problems: list[Problem]) -> list[Problem]:
    """Those of the lower half of the levels that there are; none where there are no two."""
    levels = sorted({p.level for p in problems if p.level is not None})
    return [p for p in problems if p.level in levels[:len(levels) // 2]]


def train_tokens(job: Job, problems: list[Problem], seed: int) -> None:
    for kind, variant in job.config.token_variants().items():
        there = easy(problems) if variant.easy else problems
        if there and budgets_of(job, variant):
            train_token(job, there, kind, variant, seed)


# ---- rivals that are tuned or fitted on the training problems -----------------------------------
def tune_edt(job: Job, problems: list[Problem]) -> list[tuple[float, float]]:
    """(T0, theta) of EDT for each token budget, the best on the training problems."""
    config, values = job.config, []
    for T0, theta in tqdm(EDT_GRID, desc="4 EDT"):
        table = job.rewards.get(f"train edt {T0:g} {theta:g}", lambda: sample_blind(
            job.lm, job.task, problems, config.all_styles()[0], lambda rows: edt(T0, theta),
            config.samples, config.seed, config.rows))                                  # (P, n, T)
        values.append(table.mean((0, 1)))
        job.rewards.flush()
    return [EDT_GRID[i] for i in np.argmax(values, 0)]


def right_texts(job: Job, problems: list[Problem], seed: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, completion) ids of the right ones of 8 texts a problem, sampled at T = 1."""
    config, n = job.config, job.config.samples
    prompts = [job.task.prompt(p, config.all_styles()[0]) for p in problems]
    rows = len(prompts) * n
    episodes = play(job.lm, job.task, prompts, static(torch.tensor(Strategy()).repeat(rows, 1)),
                    torch.full((rows,), max(job.task.budgets)), n, seed, config.rows,
                    lambda i, y: job.task.grade(job.lm.text(y), problems[i]))
    ids = [job.lm.encode(p, job.task.chat, job.task.thinking) for p in prompts]
    return [(ids[x.prompt], x.tokens.tolist()) for x in episodes if x.reward]


def train_heads(job: Job, problems: list[Problem], seed: int) -> None:
    """AutoDeco's, on the right ones of texts sampled at T = 1."""
    if job.done("autodeco", seed):
        return
    heads = train_autodeco(job.lm, right_texts(job, problems, seed), job.config.bandit_steps,
                           seed=seed)
    job.save("autodeco", seed, "autodeco", heads.state_dict())


# ---- the job ------------------------------------------------------------------------------------
def train(config: Config, resume: bool, profile: bool) -> None:
    if profile:
        clock.start()
    lm, task = load(config)
    print(f"memory: {need(lm, task, config)}")
    part, final = ranks.first(lambda: open_folder(config, resume))
    job = Job(lm, task, config, part, Rewards(os.path.join(part, "rewards.npz")))
    ranks.first(lambda: first_look(job))
    sets = select(job)
    whole = sets[-1]
    arms = both_arms(whole, config.all_styles()[0])
    seen = {"sets": {s.styles: s.told for s in sets}, "both_arms": arms_to_json(arms)}
    table = task.train[:max(config.problems, config.pool_problems)]
    if config.rivals:
        seen["edt"] = tune_edt(job, table[:config.pool_problems])
    ranks.first(lambda: write(os.path.join(part, "selection.json"), json.dumps(seen)))
    for s in sets:
        train_bandits(job, s)
    fresh = whole.problems if config.filter else task.train[len(table):] or table
    for seed in config.all_seeds():
        train_tokens(job, fresh, seed)
        if config.rivals:
            ranks.first(lambda: train_heads(job, table, seed))
        train_both(job, whole, arms, seed)
    print(evaluate(job))
    ranks.first(lambda: finish(part, final))
    if profile:
        print(f"\n{clock.report()}")
    prompt = task.prompt(task.test[0], config.all_styles()[0])
    print(f"\nwrote {final}/, {len(os.listdir(final))} files, results.json with all that is above\n"
          f"next: ./run decode.py {shlex.quote(prompt)} --run {shlex.quote(final)}")


def finish(part: str, final: str) -> None:
    for name in os.listdir(part):
        if name.endswith((".checkpoint", ".tmp")):
            os.remove(os.path.join(part, name))
    close_folder(part, final)


def main() -> None:
    with ranks.job(GO_ON):
        train(*ranks.first(lambda: parse(sys.argv[1:])))


if __name__ == "__main__":
    run("train.py", main, f"stopped; {GO_ON}")
