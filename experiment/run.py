"""A run: its folder, its files, and what every stage of the run needs.

A run lives in runs/NAME.part until its last file is written, then it is renamed to runs/NAME; an
older run of that name is whole until then. --resume goes on with what lies in the .part folder.
"""
import dataclasses
import json
import os
import shutil
import sys
from dataclasses import dataclass

import torch

from decode import GREEDY, static
from experiment.adapters import save_adapter
from experiment.config import Config, check
from experiment.reward_table import RewardStore, collect
from grading.sandbox import isolation
from lm import LM
from tasks import Task
from utils.errors import UserError
from utils.files import read_json, write


@dataclass
class Run:
    """What every stage needs."""
    lm: LM
    task: Task
    config: Config
    folder: str                            # the run's: unfinished while it trains
    rewards: RewardStore

    def file(self, kind: str, seed: int, end: str = "safetensors") -> str:
        """Of an adapter: its kind, such as "softmax cot,direct", with signs that suit a name."""
        return os.path.join(self.folder, f"{kind.replace(' ', '-').replace(',', '+')}-{seed}.{end}")

    def done(self, kind: str, seed: int) -> bool:
        return os.path.exists(self.file(kind, seed))

    def save(self, kind: str, seed: int, adapter: str, tensors: dict, **about: object) -> None:
        save_adapter(self.file(kind, seed), tensors, adapter, self.lm,
                     budgets=list(self.task.budgets), **about)


def need(lm: LM, task: Task, config: Config) -> str:
    """What memory --rows takes. Raises UserError where it cannot fit."""
    longest = sorted((task.prompt(p, style) for p in task.train + task.test
                      for style in config.all_styles()), key=len)[-64:]    # ours: in characters
    tokens = max(len(lm.encode(x)) for x in longest) + max(task.budgets)
    return lm.require(config.rows, tokens)


def print_first_example(run: Run) -> None:
    """The first prompt, its answer and verdict: where a reward of 0 comes from is seen here."""
    task, problem, style = run.task, run.task.train[0], run.config.all_styles()[0]
    if task.runs_programs:
        print("programs run with: " + isolation())
    prompt = task.prompt(problem, style)
    episode, = collect(run.lm, task, [prompt], static(torch.tensor([GREEDY])),
                    torch.tensor([max(task.budgets)]), 1, 0, 1)
    text = run.lm.text(episode.tokens)
    print(f"prompt: {prompt!r}\ngreedy: {text!r}{' (ran out of tokens)' if episode.truncated else ''}\n"
          f"answer: {problem.answer!r}, reward {task.grade(text, problem):g}")


# ---- the run folder -----------------------------------------------------------------------------
def read_config(folder: str) -> Config:
    """A finished run's options. Raises UserError where there are none, or another version's."""
    folder = os.path.normpath(folder)
    part = folder.removesuffix(".part") + ".part"
    if folder == part or os.path.exists(part) and not os.path.exists(folder):
        raise UserError(f"{part} is unfinished: train.py --resume finishes it")
    try:
        config = Config(**read_json(f"{folder}/config.json"))
    except TypeError as error:
        raise UserError(f"{folder}/config.json is of another version: {error}")
    check(config)
    return config


def open_folder(config: Config, resume: bool) -> tuple[str, str]:
    """(unfinished, finished) folder; refuses what would lose work or mix two runs."""
    final = os.path.join("runs", config.name or config.task)
    part, now = final + ".part", dataclasses.asdict(config)
    settings, there = os.path.join(part, "config.json"), os.path.exists(part)
    if resume and not there:
        if os.path.exists(final) and not others(vars(read_config(final)), now):
            sys.exit(print(f"{final} is finished"))                          # status 0
        raise UserError(f"nothing to resume: there is no {part}")
    try:
        os.makedirs(part, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {part}: {error.strerror}")
    hold(part)               # before any advice to go on or delete: another process may be at work
    if there and not resume:
        raise UserError(f"{part} holds an unfinished run: add --resume to go on, or delete it")
    if os.path.exists(settings):                 # not where the kill came before it was written
        old = read_json(settings)
        if changed := others(old, now):
            raise UserError(f"{part} was started with {', '.join(changed)}")
    if os.path.exists(final + ".old") and not os.path.exists(final):
        os.replace(final + ".old", final)        # a kill came between close_folder's two renames
    if os.path.exists(final):
        print(f"{final} exists; this run takes its place when it is finished")
    write(settings, json.dumps(now, indent=1))
    return part, final


def others(old: dict, now: dict) -> list[str]:
    """Options that were not as they are now. Another --rows is none: it changes no result."""
    return [f"--{k.replace('_', '-')} {old.get(k)}" for k in now
            if old.get(k) != now[k] and k != "rows"]


def hold(part: str) -> None:
    """Locks the folder until this process ends. Raises UserError where another one writes it."""
    try:                                             # left open: the lock goes with the process
        if sys.platform == "win32":                  # which opens no folder, and renames none
            os.open(part + ".lock", os.O_CREAT | os.O_EXCL | os.O_TEMPORARY)     # with open files
        else:
            import fcntl                             # here alone: Windows has none
            fcntl.flock(os.open(part, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileExistsError):
        raise UserError(f"another process is writing {part}")
    except OSError as error:
        raise UserError(f"cannot lock {part}: {error.strerror}")


def close_folder(part: str, final: str) -> None:
    """Puts the finished run in the place of an older one of its name."""
    shutil.rmtree(final + ".old", ignore_errors=True)
    if os.path.exists(final):
        os.replace(final, final + ".old")
    os.replace(part, final)
    shutil.rmtree(final + ".old", ignore_errors=True)
