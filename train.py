"""The main job: sample rewards, select the action set, train both adapters, evaluate.

    python train.py                       # embedded LM, 4 minutes on 2 cores
    python train.py --quick               # the same path in under a minute
    python train.py --profile             # where the time goes, and the memory
    python train.py --full                # 3 seeds, two styles, every rival of the paper
    python train.py --model FOLDER --task gsm8k --data gsm8k_train.jsonl --budgets 64,128 --rows 64
    torchrun --nproc-per-node 8 train.py --model FOLDER ..      # a GPU each, the same results

    1. reward table  R(prompt, arm, sample, token budget)                 rewards.py
    2. action sets   greedy coverage of it                                sequence.py, bandit.py
    3. sequence      bandits replay it                                    sequence.py, bandit.py
    4. token         PPO on fresh rollouts, with --rivals others beside   token_level.py, pomdp.py
    5. both levels   a softmax bandit over S and the token policy         sequence.py
    6. evaluation    held-out problems, the tables                        eval.py

Everything lands in runs/NAME; while it is unfinished, in runs/NAME.part, from which --resume goes
on. Every draw is keyed by (seed, stage, step), so a resumed run ends with the same files.

Deviations from the paper: (1) both levels at once (5). Those of the parts stand in their files.
"""
from cli import run                 # first: Ctrl-C while torch loads gets one line

import json
import os
import shlex
import sys

import ranks
from card import card
from clock import clock
from config import Config, load, parse
from eval import evaluate
from job import Job, close_folder, first_look, need, open_folder
from rewards import Rewards
from rivals import train_heads, tune_edt
from sequence import both_arms, select, train_bandits, train_both
from store import arms_to_json, write
from token_level import train_tokens

GO_ON = "the same command with --resume goes on"


# ---- the stages, one after the other ------------------------------------------------------------
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
        seen["edt"] = tune_edt(job, whole.problems[:config.pool_problems])
    ranks.first(lambda: write(os.path.join(part, "selection.json"), json.dumps(seen)))
    for s in sets:
        train_bandits(job, s)
    fresh = whole.problems if config.filter else task.train[len(table):] or table
    for seed in config.all_seeds():
        train_tokens(job, fresh, seed)
        if config.rivals:
            ranks.first(lambda: train_heads(job, whole.problems, seed))
        train_both(job, whole, arms, seed)
    print(evaluate(job))
    ranks.first(lambda: finish(config, part, final))
    if profile:
        print(f"\n{clock.report()}")
    print(f"\nwrote {final}/, {len(os.listdir(final))} files, results.json with all that is above\n"
          f"next: ./run decode.py --problem 0 --budget {task.budgets[len(task.budgets) // 2]} "
          f"--compare --run {shlex.quote(final)}")


def finish(config: Config, part: str, final: str) -> None:
    write(os.path.join(part, "README.md"), card(config, part))
    for name in os.listdir(part):
        if name.endswith((".checkpoint", ".tmp")):
            os.remove(os.path.join(part, name))
    close_folder(part, final)


def main() -> None:
    with ranks.job(GO_ON):
        train(*ranks.first(lambda: parse(sys.argv[1:])))


if __name__ == "__main__":
    run("train.py", main, f"stopped; {GO_ON}")
