"""The main job: sample rewards, select the action set, train both adapters, evaluate.

    python train.py                       # embedded LM, about 5 minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --full                # all 180 strategies, 3 seeds, ablations: hours
    python train.py --model FOLDER --task gsm8k --data gsm8k_train.jsonl --budgets 64 128

    1. reward table  R(prompt, arm, sample, token budget)                 eval.py: sample_static
    2. action set    greedy coverage of it                                bandit.py
    3. sequence      softmax bandit and LinUCB replay it                  bandit.py
    4. token         PPO on fresh rollouts                                pomdp.py
    5. evaluation    held-out problems, one table                         eval.py

Everything lands in runs/NAME; while it is unfinished, in runs/NAME.part, from which --resume goes
on. Every draw is keyed by (seed, stage, step), so a resumed run ends with the same files.
"""
import argparse
import csv
import dataclasses
import io
import json
import os
import sys
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from tqdm import tqdm

import tiny
from bandit import (PARALLEL, Arm, contexts, coverage, informative, pool, top_average, train_linucb,
                    train_softmax)
from decode import LM, UserError, prompt_key, rollout
from eval import embed, evaluate, sample_static
from features import PARTS, context
from pomdp import TEMPERATURES, TokenPolicy, ppo_update
from store import Rewards, arms_to_json, replace_folder, save_adapter, write
from tasks import TASKS, Task


def option(default, text):
    return dataclasses.field(default=default, metadata={"help": text})


@dataclass
class Config:
    model: str = option(tiny.FOLDER, "hub id or local folder of the LM")
    task: str = option("sums", "one of " + ", ".join(TASKS))
    data: str = option("", "the task's JSON Lines file; sums needs none")
    name: str = option("", "run folder under runs/ (the task's name when empty)")
    device: str = option("auto", "cpu, cuda or mps; auto takes what is there")
    dtype: str = option("auto", "float32, bfloat16 ..; auto: fp32 on a CPU, bf16 on a GPU")
    styles: str = option("work", "prompt styles of the arms, by commas: work, once")
    budgets: str = option("", "token budgets by commas, rising (the task's own when empty)")
    seed: int = option(0, "of everything that is drawn")
    seeds: int = option(1, "trainings of every adapter, seeds 0 .. on one reward table")
    rows: int = option(1024, "texts that decode at once; results do not depend on it")
    pool: int = option(24, "strategies of the 180 that are sampled, greedy always")
    pool_problems: int = option(120, "training problems for the selection of the action set")
    problems: int = option(400, "training problems of the reward table")
    samples: int = option(8, "samples a problem and arm in the table")
    arms: int = option(6, "size of the action set (paper's curve)")
    filter: int = option(0, "1 leaves constant and noisy problems out of training (paper)")
    bandit_steps: int = option(1500, "softmax bandit: steps of 256 replayed draws")
    linucb_rounds: int = option(8000, "LinUCB: replayed draws")
    token_problems: int = option(6000, "training problems of the token policy")
    iterations: int = option(250, "PPO: iterations")
    batch: int = option(512, "PPO: rollouts an iteration")
    lr: float = option(5e-4, "PPO: learning rate, falling to a tenth")
    entropy: float = option(0.02, "PPO: entropy bonus")
    parts: str = option(",".join(PARTS), "PPO: parts of the observation, by commas")
    ablations: int = option(0, "1 trains the token policy without budget and without hidden state too")
    test_problems: int = option(250, "held-out problems")
    test_samples: int = option(8, "samples a held-out problem")


QUICK = dict(pool=4, pool_problems=16, problems=24, bandit_steps=60, linucb_rounds=320, iterations=4,
             batch=64, token_problems=200, test_problems=16)
FULL = dict(pool=180, pool_problems=400, problems=1500, seeds=3, linucb_rounds=40000, ablations=1,
            test_problems=1000, token_problems=20000, iterations=400)


def parse(argv) -> tuple[Config, bool]:
    """One line an option; the presets first, single options over them."""
    parser = argparse.ArgumentParser(
        description="Learn to decode.", formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        argument_default=argparse.SUPPRESS, allow_abbrev=False)
    parser.error = lambda message: sys.exit(f"train.py: {message} (see --help)")
    parser.add_argument("--quick", action="store_true", help="a look at the whole path, under 60 s")
    parser.add_argument("--full", action="store_true", help="the table of the README, hours")
    parser.add_argument("--resume", action="store_true", help="go on with an unfinished run")
    for f in dataclasses.fields(Config):
        parser.add_argument(f"--{f.name.replace('_', '-')}", type=type(f.default), metavar="X",
                            help=f"{f.metadata['help']} (default: {f.default!r})")
    given = vars(parser.parse_args(argv))
    resume, quick, full = (given.pop(k, False) for k in ("resume", "quick", "full"))
    if quick and full:
        raise UserError("--quick and --full exclude each other")
    config = Config(**{**(QUICK if quick else FULL if full else {}), **given})
    for f in dataclasses.fields(Config):
        value = getattr(config, f.name)
        if type(value) is int and f.name not in ("seed", "filter", "ablations") and value < 1:
            raise UserError(f"--{f.name.replace('_', '-')} must be at least 1, not {value}")
    if config.task not in TASKS:
        raise UserError(f"unknown task {config.task!r}; there are {', '.join(TASKS)}")
    if not set(config.parts.split(",")) <= set(PARTS):
        raise UserError(f"--parts takes {', '.join(PARTS)}")
    return config, resume


def make_task(config: Config) -> Task:
    """The task with the budgets that were asked for."""
    train = max(config.problems, config.pool_problems, config.token_problems)
    task = TASKS[config.task](config.data or None, train, config.test_problems)
    if config.budgets:
        try:
            task.budgets = tuple(int(b) for b in config.budgets.split(","))
        except ValueError:
            raise UserError(f"--budgets takes whole numbers by commas, not {config.budgets!r}")
    if list(task.budgets) != sorted(set(task.budgets)) or min(task.budgets) < 1:
        raise UserError(f"--budgets must be at least 1 and rise, not {config.budgets}")
    if not set(config.styles.split(",")) <= set(task.styles):
        raise UserError(f"--styles of {task.name}: {', '.join(task.styles)}")
    return task


def open_folder(config: Config, resume: bool) -> tuple[str, str]:
    """(unfinished, finished) folder; refuses what would lose work or mix two runs."""
    final = os.path.join("runs", config.name or config.task)
    part, text = final + ".part", json.dumps(dataclasses.asdict(config), indent=1)
    if resume and not os.path.exists(part):
        raise UserError(f"nothing to resume: there is no {part}")
    if resume:
        with open(os.path.join(part, "config.json")) as file:
            old = json.load(file)
        changed = [k for k, v in dataclasses.asdict(config).items() if old.get(k) != v]
        if changed:
            raise UserError(f"{part} was started with another {', '.join(changed)}")
    elif os.path.exists(part):
        raise UserError(f"{part} holds an unfinished run: add --resume to go on, or delete it")
    os.makedirs(part, exist_ok=True)
    write(os.path.join(part, "config.json"), text)
    return part, final


# ---- 1 and 2: the reward table and the action set -----------------------------------------------
def sample_arms(lm, task, config, rewards: Rewards, arms, start: int, stop: int, label: str):
    """Table (P, S, n, T) of training problems start .. stop, from disk where it is there."""
    problems, tables = task.train[start:stop], []
    for i, arm in enumerate(bar := tqdm(arms, desc=label, mininterval=1)):
        name = f"train {start}-{stop} {arm}"
        fresh = name not in rewards.arrays
        tables.append(rewards.get(name, lambda: sample_static(
            lm, task, problems, arm, config.samples, config.seed, config.rows)))
        bar.set_postfix(reward=f"{tables[-1].mean():.3f}")
        if fresh and (i % 8 == 7 or i == len(arms) - 1):
            rewards.flush()
    return np.stack(tables, 1)


def select(lm, task, config, rewards: Rewards):
    """The action set, the table over all training problems, and what was seen on the way."""
    chosen = pool()
    if config.pool < len(chosen):                              # greedy, and a thin draw of the rest
        rest = 1 + np.random.default_rng(0).permutation(len(chosen) - 1)[:config.pool - 1]
        chosen = [chosen[0]] + [chosen[i] for i in sorted(rest)]
    candidates = [Arm(style, s) for style in config.styles.split(",") for s in chosen]
    first = min(config.pool_problems, len(task.train))
    table = sample_arms(lm, task, config, rewards, candidates, 0, first, "1 reward table")
    values = contexts(table)                                                        # (X, S)
    picked, curve = coverage(values, config.arms)
    _, rival = top_average(values, config.arms)
    arms = [candidates[i] for i in picked]
    per_budget = [[int(contexts(table[..., t:t + 1], (B,)).mean(0).argmax())
                   for t in range(len(task.budgets))] for B in PARALLEL if B <= config.samples]
    last = min(config.problems, len(task.train))
    whole = table[:, picked]
    if last > first:
        more = sample_arms(lm, task, config, rewards, arms, first, last, "  action set")
        whole = np.concatenate([whole, more])
    seen = {"coverage": curve, "top_average": rival, "candidates": len(candidates),
            "best_static": [[arms_to_json([candidates[i]])[0] for i in line] for line in per_budget]}
    return arms, whole, seen


# ---- 3: the sequence level ----------------------------------------------------------------------
def bandit_data(lm, task, table, problems, rows):
    """Contexts (X, D) and R(x, s) (X, S) of a table (P, S, n, T): x = (problem, B, T)."""
    Bs = [B for B in PARALLEL if B <= table.shape[2]]
    e = embed(lm, task, problems, rows)
    grid = torch.cartesian_prod(torch.arange(len(problems)), torch.tensor(Bs),
                                torch.tensor(task.budgets))                         # (X, 3)
    x = context(e[grid[:, 0]], grid[:, 1], grid[:, 2], max(task.budgets))
    return x, torch.from_numpy(contexts(table)).float()


def train_bandits(lm, task, config, arms, table, problems, part, seed):
    x, values = bandit_data(lm, task, table, problems, config.rows)

    def pull(rows, actions, generator):
        """Any of B distinct samples of the n: exactly a coin of Pass@B."""
        return (torch.rand(len(rows), generator=generator) < values[rows, actions]).float()

    log = []
    softmax = train_softmax(x, pull, len(arms), config.bandit_steps, seed=seed,
                            progress=lambda **line: log.append(line))
    linucb = train_linucb(x, pull, len(arms), config.linucb_rounds, seed=seed)
    about = dict(arms=arms_to_json(arms), budgets=list(task.budgets), parallel=PARALLEL)
    save_adapter(f"{part}/softmax-{seed}.safetensors", softmax.state_dict(), "softmax", lm, **about)
    save_adapter(f"{part}/linucb-{seed}.safetensors", {"inverse": linucb.inverse, "b": linucb.b},
                 "linucb", lm, **about)
    write_csv(f"{part}/bandit-{seed}.csv", log[::10])


def write_csv(path: str, lines: list[dict]):
    text = io.StringIO()
    fields = list(dict.fromkeys(k for line in lines for k in line))
    writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.6g}" for k, v in line.items()} for line in lines)
    write(path, text.getvalue())


# ---- 4: the token level -------------------------------------------------------------------------
def train_token(lm, task, config, problems, parts, name, part, seed):
    """PPO; a checkpoint every 10 iterations (ours: some seconds), the adapter at the end."""
    final, checkpoint = f"{part}/{name}-{seed}.safetensors", f"{part}/{name}-{seed}.checkpoint"
    if os.path.exists(final):
        return
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        policy = TokenPolicy(lm.d, max(task.budgets), parts)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.lr, eps=1e-5)
    start, log = 0, []
    if os.path.exists(checkpoint):
        saved = torch.load(checkpoint)
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
        start, log = saved["iteration"], saved["log"]
    style = config.styles.split(",")[0]
    prompts = [task.prompt(p, style) for p in problems]
    ids = [lm.encode(p, task.chat) for p in prompts]
    keys = torch.tensor([prompt_key(p) for p in prompts])
    bar = tqdm(range(start, config.iterations), initial=start, total=config.iterations,
               desc=f"4 {name} {seed}", mininterval=1)
    for i in bar:
        for group in optimizer.param_groups:
            group["lr"] = config.lr * (1 - 0.9 * i / config.iterations)
        step_seed = (seed << 32) + i + 1                      # draws of this iteration alone
        generator = torch.Generator().manual_seed(step_seed)
        which = torch.randint(len(problems), (config.batch,), generator=generator)
        budgets = torch.tensor(task.budgets)[
            torch.randint(len(task.budgets), (config.batch,), generator=generator)]
        episodes = rollout(lm, [ids[j] for j in which], policy.acting(explore=True), budgets,
                           keys[which], seed=step_seed, rows=config.rows)
        for x in episodes:
            x.reward = task.verify(lm.text(x.tokens), problems[which[x.prompt]])
        diagnostics = ppo_update(policy, optimizer, episodes, step_seed, config.entropy)
        line = {"iteration": i, "reward": float(np.mean([x.reward for x in episodes])),
                "truncated": float(np.mean([not x.ended for x in episodes])),
                "length": float(np.mean([len(x.tokens) for x in episodes])), **diagnostics}
        log.append(line)
        bar.set_postfix(reward=f"{np.mean([x['reward'] for x in log[-20:]]):.3f}",
                        entropy=f"{line.get('entropy', 0):.2f}")
        if i % 10 == 9:
            data = io.BytesIO()
            torch.save({"policy": policy.state_dict(), "optimizer": optimizer.state_dict(),
                        "iteration": i + 1, "log": log}, data)
            write(checkpoint, data.getvalue())
    save_adapter(final, policy.state_dict(), "token", lm, horizon=max(task.budgets),
                 parts=list(parts), budgets=list(task.budgets), style=style)
    write_csv(f"{part}/{'metrics' if name == 'token' else name}-{seed}.csv", log)
    if os.path.exists(checkpoint):
        os.remove(checkpoint)


def train(config: Config, resume: bool):
    part, final = open_folder(config, resume)
    lm = LM.load(config.model, config.device, config.dtype)
    task = make_task(config)
    rewards = Rewards(os.path.join(part, "rewards.npz"))
    arms, table, seen = select(lm, task, config, rewards)
    kept, constant, noise = informative(table.mean(-1))
    print(f"action set: {', '.join(map(str, arms))}\ncoverage {seen['coverage'][-1]:.3f}, of the top "
          f"{len(arms)} by average {seen['top_average'][-1]:.3f}\nproblems with constant reward "
          f"{constant:.0%}, noisy {noise:.0%}: {'left out' if config.filter else 'kept'}")
    write(os.path.join(part, "selection.json"),
          json.dumps({"arms": arms_to_json(arms), **seen, "constant": constant, "noise": noise}))
    problems = task.train[:len(table)]
    if config.filter:
        problems, table = [p for p, k in zip(problems, kept) if k], table[kept]
    variants = {"token": config.parts.split(",")}
    if config.ablations:
        for off in ("budget", "hidden"):
            variants[f"token-no-{off}"] = [p for p in config.parts.split(",") if p != off]
    for seed in tqdm(range(config.seeds), desc="3 bandits"):
        train_bandits(lm, task, config, arms, table, problems, part, config.seed + seed)
    fresh = problems if config.filter else task.train[:config.token_problems]
    for seed in range(config.seeds):
        for name, parts in variants.items():
            train_token(lm, task, config, fresh, parts, name, part, config.seed + seed)
    print(evaluate(lm, task, config, part))
    replace_folder(part, final)
    print(f"\nwrote {final}/: {', '.join(sorted(os.listdir(final)))}\n"
          f'next: python decode.py "{task.prompt(task.test[0], config.styles.split(",")[0])}" '
          f"--run {final}")


def main():
    transformers.utils.logging.disable_progress_bar()
    try:
        config, resume = parse(sys.argv[1:])
        train(config, resume)
    except UserError as error:
        sys.exit(f"train.py: {error}")
    except KeyboardInterrupt:
        sys.exit("train.py: stopped; the same command with --resume goes on")


if __name__ == "__main__":
    main()
