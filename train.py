"""The main job: sample rewards, select the action set, train both adapters, evaluate.

    python train.py                       # embedded LM, some minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --profile             # where the time goes, and the memory
    python train.py --full                # all 180 strategies, 3 seeds, ablations: about an hour
    python train.py --model FOLDER --task gsm8k --data gsm8k_train.jsonl --budgets 64,128 --rows 64
    torchrun --nproc-per-node 8 train.py --model FOLDER ..      # a GPU each, the same results

    1. reward table  R(prompt, arm, sample, token budget)                 rewards.py
    2. action set    greedy coverage of it                                bandit.py
    3. sequence      softmax bandit and LinUCB replay it                  bandit.py
    4. token         PPO on fresh rollouts                                pomdp.py
    5. both levels   a softmax bandit over S and the token policy         bandit.py
    6. evaluation    held-out problems, one table                         eval.py

Everything lands in runs/NAME; while it is unfinished, in runs/NAME.part, from which --resume goes
on. Every draw is keyed by (seed, stage, step), so a resumed run ends with the same files.
"""
from cli import UserError, run                 # first: Ctrl-C while torch loads gets one line

import io
import json
import os
import shlex
import sys
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

import ranks
from bandit import (Arm, contexts, coverage, informative, pool, top_average, train_linucb,
                    train_softmax)
from clock import clock
from config import Config, close_folder, load, open_folder, parse
from decode import GREEDY, Strategy, static
from eval import evaluate
from features import CONTEXT, PARALLEL, context
from lm import LM
from pomdp import TokenPolicy, ppo_update
from rewards import Rewards, embed, play, sample_policy, sample_static
from sandbox import isolation
from store import append_csv, arms_to_json, damaged, load_adapter, save_adapter, write
from tasks import Problem, Task


GO_ON = "the same command with --resume goes on"


@dataclass
class Job:
    """What every stage needs."""
    lm: LM
    task: Task
    config: Config
    part: str                              # the unfinished run's folder
    rewards: Rewards

    def file(self, name: str) -> str:
        return os.path.join(self.part, name)

    def done(self, kind: str, seed: int) -> bool:
        return os.path.exists(self.file(f"{kind}-{seed}.safetensors"))

    def save(self, kind: str, seed: int, adapter: str, tensors: dict, **about):
        save_adapter(self.file(f"{kind}-{seed}.safetensors"), tensors, adapter, self.lm,
                     budgets=list(self.task.budgets), **about)


def need(lm: LM, task: Task, config: Config) -> str:
    """What memory --rows takes. Raises UserError where it cannot fit."""
    longest = sorted((task.prompt(p, style) for p in task.train + task.test
                      for style in config.all_styles()), key=len)[-64:]    # ours: in characters
    tokens = max(len(lm.encode(x, task.chat, task.thinking)) for x in longest) + max(task.budgets)
    return lm.require(config.rows, tokens)


def first_look(job: Job):
    """The first prompt, its answer and verdict: where a reward of 0 comes from is seen here."""
    task, problem, style = job.task, job.task.train[0], job.config.all_styles()[0]
    if task.programs:
        print("programs run with: " + isolation())
    prompt = task.prompt(problem, style)
    episode, = play(job.lm, task, [prompt], static(torch.tensor([GREEDY])),
                    torch.tensor([max(task.budgets)]), 1, 0, 1)
    text = job.lm.text(episode.tokens)
    print(f"prompt: {prompt!r}\ngreedy: {text!r}{'' if episode.ended else ' (ran out of tokens)'}\n"
          f"answer: {problem.answer!r}, reward {task.grade(text, problem):g}")


# ---- 1 and 2: the reward table and the action set -----------------------------------------------
def sample_arms(job: Job, arms: list[Arm], start: int, stop: int, label: str) -> np.ndarray:
    """Table (P, S, n, T) of the training problems start .. stop, from disk where it is there."""
    config, tables = job.config, []
    for i, arm in enumerate(bar := tqdm(arms, desc=label, mininterval=1)):
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


def select(job: Job) -> tuple[list[Arm], np.ndarray, dict]:
    """The action set S, its table over all training problems, and what selection.json tells."""
    config, arms = job.config, candidates(job.config)
    first, last = config.pool_problems, max(config.problems, config.pool_problems)
    table = sample_arms(job, arms, 0, first, "1 reward table")
    values = contexts(table)
    picked, curve = coverage(values, config.arms)
    average = top_average(values, config.arms)[1]
    best = [[arms[contexts(table[..., t:t + 1], (B,)).mean(0).argmax()]
             for t in range(len(job.task.budgets))] for B in PARALLEL if B <= config.samples]
    chosen, whole = [arms[i] for i in picked], table[:, picked]
    if last > first:
        more = sample_arms(job, chosen, first, last, "2 action set")
        whole = np.concatenate([whole, more])
    _, constant, noise = informative(whole.mean(-1))
    seen = {"candidates": len(arms), "arms": arms_to_json(chosen), "coverage": curve,
            "top_average": average,
            "best_static": [arms_to_json(line) for line in best],
            "constant": constant, "noise": noise}
    print(f"action set, out of {len(arms)}: {', '.join(map(str, chosen))}")
    for name, F in (("greedy coverage", curve), ("the top |S| by average", average)):
        print(f"F(S) for |S| = 1 .. {len(chosen)}, {name:22}", *(f"{v:.3f}" for v in F))
    print(f"problems with constant reward {constant:.0%}, noisy {noise:.0%}: "
          f"{'left out' if config.filter else 'kept'}")
    return chosen, whole, seen


def filtered(job: Job, table: np.ndarray) -> tuple[list[Problem], np.ndarray]:
    """The table's problems and the table; with --filter, of the informative ones alone (paper)."""
    problems = job.task.train[:len(table)]
    if not job.config.filter:
        return problems, table
    kept = informative(table.mean(-1))[0]
    if not kept.any():
        raise UserError("no problem tells the arms apart: --filter would leave none")
    return [p for p, k in zip(problems, kept) if k], table[kept]


# ---- 3 and 5: the bandits -----------------------------------------------------------------------
def bandit_data(job: Job, table: np.ndarray, problems: list[Problem]):
    """Contexts x (X, D) = (problem, B, T) of a table (P, S, n, T), and `pull`."""
    Bs = [B for B in PARALLEL if B <= table.shape[2]]
    e = embed(job.lm, job.task, problems, job.config.rows)
    grid = torch.cartesian_prod(torch.arange(len(problems)), torch.tensor(Bs),
                                torch.tensor(job.task.budgets))                         # (X, 3)
    values = torch.from_numpy(contexts(table)).float()                                  # (X, S)

    def pull(rows, actions, generator):
        """Did any of B samples, drawn from the n without repeats, pass? A coin of Pass@B."""
        return (torch.rand(len(rows), generator=generator) < values[rows, actions]).float()

    return context(e[grid[:, 0]], grid[:, 1], grid[:, 2], max(job.task.budgets)), pull


def train_bandit(job: Job, kind: str, data, arms: list[Arm], seed: int):
    """kind: "softmax", "both" (the same, over both levels) or "linucb". One process is enough."""
    if job.done(kind, seed):
        return
    log, label = [], f"{'5' if kind == 'both' else '3'} {kind} {seed}"
    train, steps = ((train_linucb, job.config.linucb_steps) if kind == "linucb" else
                    (train_softmax, job.config.bandit_steps))
    with tqdm(total=steps, desc=label, mininterval=1) as bar:
        def progress(**line):
            log.append(line)
            bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-100:]]):.3f}",
                            refresh=False)
            bar.update()

        with clock("bandits"):
            bandit = train(*data, len(arms), steps, seed=seed, progress=progress)
    append_csv(job.file("metrics.csv"), {"adapter": kind, "seed": seed}, log)
    job.save(kind, seed, kind.replace("both", "softmax"), bandit.state_dict(),
             arms=arms_to_json(arms), parts=CONTEXT)


def both_arms(arms: list[Arm], style: str) -> list[Arm]:
    """S, and the token policy: as it was trained, and over the style and filters of S's first."""
    over = [Arm(style, Strategy(), True),
            Arm(arms[0].style, arms[0].strategy._replace(temperature=1.0), True)]
    return arms + list(dict.fromkeys(over))


def train_both(job: Job, arms: list[Arm], table: np.ndarray, problems: list[Problem], seed: int):
    if ranks.first(lambda: job.done("both", seed)):
        return
    config, tables = job.config, []
    policy = load_adapter(job.file(f"token-{seed}.safetensors"), job.lm)[0]
    for arm in tqdm(arms[table.shape[1]:], desc=f"5 both levels {seed}", mininterval=1):
        prompts = [job.task.prompt(p, arm.style) for p in problems]
        acting = policy.acting(torch.tensor(arm.strategy).repeat(len(prompts) * config.samples, 1))
        tables.append(job.rewards.get(f"train {arm} {seed}", lambda: sample_policy(
            job.lm, job.task, problems, lambda t, _: (prompts, acting), config.samples,
            config.seed, config.rows)))
        job.rewards.flush()
    whole = np.concatenate([table, np.stack(tables, 1)], 1)
    data = bandit_data(job, whole, problems)
    ranks.first(lambda: train_bandit(job, "both", data, arms, seed))


# ---- 4: the token level -------------------------------------------------------------------------
def load_checkpoint(path: str) -> dict | None:
    """On the CPU, where every process can read it; None where there is none."""
    try:
        return torch.load(path, map_location="cpu") if os.path.exists(path) else None
    except Exception as error:                   # a damaged file raises kinds of torch's own
        raise damaged(path, error)


def restore(path: str, policy: TokenPolicy, optimizer) -> tuple[int, list]:
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


def save_checkpoint(path: str, **what):
    data = io.BytesIO()
    torch.save(what, data)
    write(path, data.getvalue())


def sample_batch(job: Job, problems: list[Problem], policy: TokenPolicy, seed: int):
    """Episodes with rewards: this process's share of an iteration's rollouts."""
    config, generator = job.config, torch.Generator().manual_seed(seed)
    n = min(config.token_samples, config.batch)               # a prefill serves n rollouts
    which = torch.randint(len(problems), (config.batch // n,), generator=generator)
    budgets = torch.tensor(job.task.budgets)[
        torch.randint(len(job.task.budgets), (len(which) * n,), generator=generator)]
    part = ranks.share(len(which))
    mine = [problems[i] for i in which[part]]
    return play(job.lm, job.task, [job.task.prompt(p, config.all_styles()[0]) for p in mine],
                policy.acting(explore=True), budgets[part.start * n:part.stop * n], n, seed,
                config.rows, lambda i, y: job.task.grade(job.lm.text(y), mine[i]))


def outcome(episodes: list) -> dict:
    """What an iteration's episodes, those of all processes, came to."""
    seen = ranks.gather(np.array([(x.reward, not x.ended, len(x.tokens)) for x in episodes],
                                 dtype=float).reshape(-1, 3))                            # (E, 3)
    return dict(zip(("reward", "truncated", "length"), seen.mean(0).tolist()))


def train_token(job: Job, problems: list[Problem], kind: str, parts: list[str], seed: int):
    """PPO; a checkpoint every 10 iterations (ours: some seconds), the adapter at the end."""
    if ranks.first(lambda: job.done(kind, seed)):
        return
    config, checkpoint = job.config, job.file(f"{kind}-{seed}.checkpoint")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = TokenPolicy(job.lm.d, max(job.task.budgets), parts).to(job.lm.device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5, fused=True)
    start, log = restore(checkpoint, policy, optimizer)
    for i in (bar := tqdm(range(start, config.iterations), initial=start, total=config.iterations,
                          desc=f"4 {kind} {seed}", mininterval=1)):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - 0.9 * i / config.iterations)
        step_seed = seed * 1_000_003 + i + 1        # of this iteration; generators keep 32 bits
        episodes = sample_batch(job, problems, policy, step_seed)
        with clock("PPO update"):
            log.append({"step": i, **outcome(episodes),
                        **ppo_update(policy, optimizer, episodes, step_seed, config.entropy)})
        if i in (10, config.iterations - 1):                     # does the memory grow?
            clock.note_memory(f"iteration {i} of {kind} {seed}")
        bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-20:]]):.3f}",
                        **{k: f"{log[-1].get(k, 0):.2f}" for k in ("entropy", "kl", "clipped")})
        if i % 10 == 9:
            ranks.first(lambda: save_checkpoint(
                checkpoint, policy=policy.state_dict(), optimizer=optimizer.state_dict(),
                iteration=i + 1, log=log))
    ranks.first(lambda: save_token(job, kind, seed, policy, log))


def save_token(job: Job, kind: str, seed: int, policy: TokenPolicy, log: list[dict]):
    append_csv(job.file("metrics.csv"), {"adapter": kind, "seed": seed}, log)
    job.save(kind, seed, "token", policy.state_dict(), horizon=policy.horizon, parts=policy.parts,
             chat=job.task.chat, thinking=job.task.thinking, stop=job.task.stop)


# ---- the job ------------------------------------------------------------------------------------
def train(config: Config, resume: bool, profile: bool):
    if profile:
        clock.start()
    lm, task = load(config)
    print(f"memory: {need(lm, task, config)}")
    part, final = ranks.first(lambda: open_folder(config, resume))
    job = Job(lm, task, config, part, Rewards(os.path.join(part, "rewards.npz")))
    ranks.first(lambda: first_look(job))
    arms, table, seen = select(job)
    whole = both_arms(arms, config.all_styles()[0])
    seen["both_arms"] = arms_to_json(whole)
    ranks.first(lambda: write(job.file("selection.json"), json.dumps(seen)))
    fresh = task.train[len(table):] or task.train
    problems, table = filtered(job, table)
    if config.filter:
        fresh = problems
    data = bandit_data(job, table, problems)
    for seed in config.all_seeds():
        for kind in ("softmax", "linucb"):
            ranks.first(lambda: train_bandit(job, kind, data, arms, seed))
    for seed in config.all_seeds():
        for kind, parts in config.token_variants().items():
            train_token(job, fresh, kind, parts, seed)
        train_both(job, whole, table, problems, seed)
    print(evaluate(lm, task, config, part))
    ranks.first(lambda: finish(part, final))
    if profile:
        print(f"\n{clock.report()}")
    prompt = task.prompt(task.test[0], config.all_styles()[0])
    print(f"\nwrote {final}/: {', '.join(sorted(os.listdir(final)))}\n"
          f"next: ./run decode.py {shlex.quote(prompt)} --run {final}")


def finish(part: str, final: str):
    for name in os.listdir(part):
        if name.endswith((".checkpoint", ".tmp")):
            os.remove(os.path.join(part, name))
    close_folder(part, final)


def main():
    with ranks.job(GO_ON):
        train(*ranks.first(lambda: parse(sys.argv[1:])))


if __name__ == "__main__":
    run("train.py", main, f"stopped; {GO_ON}")
