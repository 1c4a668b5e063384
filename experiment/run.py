"""A run: its folder, its files, its log, and what every stage of it needs.

A run lives in runs/NAME.part until its last file is written; then the folder becomes runs/NAME.
Until then an older run of that name stays whole. --resume goes on with what lies in the .part
folder.
"""
import dataclasses
import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from decode import GREEDY, Episode, static
from experiment.adapters import save_adapter
from experiment.config import Config, check, flag
from experiment.load import load
from experiment.progress import planned_tokens, progress
from experiment.reward_table import RewardStore, collect, embed_prompts, grade_fn
from grading.sandbox import isolation
from lm import LM
from tasks import Task
from utils.distributed import main_process_first
from utils.errors import UserError
from utils.files import exists, read_json, refuse_unfinished, write
from utils.problem_files import Problem

SMOOTHING = 50            # steps whose mean reward a progress bar shows (ours)


@dataclass
class Run:
    """What every stage needs."""
    lm: LM
    task: Task
    config: Config
    folder: str                            # the unfinished one while the run trains
    rewards: RewardStore

    def file(self, kind: str, seed: int, end: str = "safetensors") -> str:
        """The path of an adapter; its kind, such as "softmax cot,direct", becomes a file name."""
        name = kind.replace(" ", "-").replace(",", "+")
        return os.path.join(self.folder, f"{name}-{seed}.{end}")

    def embeddings(self, split: str, problems: list[Problem]) -> Tensor:
        """Prompt embeddings e (P, d) of the "train" or "test" problems: on disk, or computed."""
        style, rows = self.config.all_styles()[0], self.config.rows

        def embed() -> np.ndarray:
            return embed_prompts(self.lm, self.task, problems, style, rows).numpy()

        return torch.from_numpy(self.rewards.get(f"{split} embeddings", embed))             # (P, d)

    def done(self, kind: str, seed: int) -> bool:
        return exists(self.file(kind, seed))

    def save(self, kind: str, seed: int, adapter: str, tensors: dict, **about: object) -> None:
        """adapter: its kind in registry.ADAPTERS. about: what builds it again."""
        save_adapter(self.file(kind, seed), tensors, adapter, self.lm,
                     budgets=list(self.task.budgets), **about)


class TrainingLog:
    """The lines of one training in metrics.csv, and its progress bar; used in a `with` block."""

    def __init__(self, label: str, steps: int, lines: Sequence[dict] = ()):
        """lines: those of the steps that were done before the training was interrupted."""
        self.lines = list(lines)
        self.bar = tqdm(total=steps, initial=len(self.lines), desc=label)

    def add(self, **line: float) -> None:
        self.lines.append(line)
        shown = {k: f"{line[k]:.2f}" for k in ("entropy", "kl", "clipped") if k in line}
        reward = np.mean([x["reward"] for x in self.lines[-SMOOTHING:]])
        self.bar.set_postfix(reward=f"{reward:.3f}", **shown, **progress.left(), refresh=False)
        self.bar.update()

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.bar.close()


def mean_outcome(episodes: list[Episode]) -> dict[str, float]:
    """What the episodes of an iteration came to, on average; truncated is a share."""
    outcomes = [(x.reward, x.truncated, len(x.tokens)) for x in episodes]
    reward, truncated, length = np.array(outcomes, dtype=float).mean(0).tolist()
    return {"reward": reward, "truncated": truncated, "length": length}


# ---- its beginning and its end ------------------------------------------------------------------
def open_run(config: Config, resume: bool) -> tuple[Run, str]:
    """(the run in its unfinished folder, the finished folder); prints its memory and an example."""
    lm, task = load(config)
    print(f"memory: {check_memory(lm, task, config)}")
    part, final = main_process_first(partial(open_folder, config, resume))
    run = Run(lm, task, config, part, RewardStore(os.path.join(part, "rewards.npz")))
    main_process_first(partial(print_first_example, run))
    if not resume:
        progress.begin(planned_tokens(config, task.budgets))
    return run, final


def close_run(run: Run, final: str, card: str) -> None:
    """Moves the run to its finished folder, prints what may come next; card: its README.md."""
    write(os.path.join(run.folder, "README.md"), card)
    main_process_first(partial(close_folder, run.folder, final))
    print(f"\nwrote {final}/: report.html, a page about this run; results.txt, all tables; "
          "README.md, what the other files are")
    # A program of one's own may have added a task or an action, which sample.py does not know
    if os.path.basename(sys.argv[0]) == "train.py":
        shown = read_json(os.path.join(final, "comparison.json"))[0]
        print(f"next: ./run sample.py --problem {shown['problem']} --budget {shown['budget']} "
              f"--compare --run {shlex.quote(final)}")


def check_memory(lm: LM, task: Task, config: Config) -> str:
    """Says how much memory --rows takes. Raises UserError if that much is not free."""
    prompts = []
    for style in config.all_styles():
        prompts += [task.prompt(p, style) for p in task.train + task.test]
    # Only the longest prompts are counted in tokens (ours: 64, the longest in characters)
    longest = sorted(prompts, key=len)[-64:]
    tokens = max(len(lm.encode(prompt)) for prompt in longest)
    return lm.require(config.rows, tokens + max(task.budgets))


def print_first_example(run: Run) -> None:
    """Prints a prompt, a completion and its reward: here the user sees why a reward is 0."""
    task = run.task
    problem = task.train[0]
    if task.runs_programs:
        print("programs run with: " + isolation())
    prompt = task.prompt(problem, run.config.all_styles()[0])
    greedy = static(torch.tensor([GREEDY]))
    budget = torch.tensor([max(task.budgets)])
    episode, = collect(run.lm, task, [prompt], greedy, budget, n=1, seed=0, rows=1)
    completion = run.lm.text(episode.tokens, run.lm.encode(prompt))
    reward = grade_fn(run.lm, task, [problem], [prompt])(0, episode.tokens)
    ending = " (ran out of tokens)" if episode.truncated else ""
    print(f"prompt: {prompt!r}\ngreedy: {completion!r}{ending}\n"
          f"right answer: {problem.answer!r}, reward {reward:g}")


# ---- the run folder -----------------------------------------------------------------------------
def read_options(path: str) -> dict[str, Any]:
    """Options of a run from its config.json. Raises UserError if they are another version's."""
    options = read_json(path)
    names = {field.name for field in dataclasses.fields(Config)}
    if not isinstance(options, dict):
        raise UserError(f"{path} is no config.json of a run")
    other = sorted(options.keys() ^ names)
    if other:
        raise UserError(f"{path} is of another version of this code: it differs in the options "
                        f"{', '.join(other)} (CHANGELOG.md lists old and new names)")
    return options


def read_config(folder: str) -> Config:
    """A finished run's options. Raises UserError if there are none, or another version's."""
    folder = os.path.normpath(folder)
    refuse_unfinished(folder)
    config = Config(**read_options(f"{folder}/config.json"))
    check(config)
    return config


def open_folder(config: Config, resume: bool) -> tuple[str, str]:
    """(unfinished, finished) folder; refuses what would lose work or mix two runs."""
    final = os.path.join("runs", config.name or config.task)
    part = final + ".part"
    settings = os.path.join(part, "config.json")
    now = dataclasses.asdict(config)
    unfinished = os.path.exists(part)
    if resume and not unfinished:
        if os.path.exists(final) and not changed_options(vars(read_config(final)), now):
            print(f"{final} is finished")
            sys.exit()                                                       # status 0
        raise UserError(f"nothing to resume: there is no {part}")
    try:
        os.makedirs(part, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make {part}: {error.strerror}")
    # Locked before any advice to resume or delete it: another process may be writing it
    lock_folder(part)
    if unfinished and not resume:
        raise UserError(f"{part} holds an unfinished run: add --resume to go on, or delete it")
    if os.path.exists(settings):                 # a kill may have come before it was written
        changed = changed_options(read_options(settings), now)
        if changed:
            raise UserError(f"{part} was started with {', '.join(changed)}")
    if os.path.exists(final + ".old") and not os.path.exists(final):
        os.replace(final + ".old", final)        # a kill came between close_folder's two renames
    if os.path.exists(final):
        print(f"{final} exists; this run takes its place when it is finished")
    write(settings, json.dumps(now, indent=1))
    return part, final


def changed_options(old: dict, now: dict) -> list[str]:
    """The old options that differ now. --rows may differ: it changes no result."""
    changed = [k for k in now if old[k] != now[k] and k != "rows"]
    return [f"{flag(k)} {old[k]}" if old[k] != "" else f"no {flag(k)}" for k in changed]


def lock_folder(part: str) -> None:
    """Locks the folder until this process ends. Raises UserError if another process did."""
    try:                                         # the file stays open: the lock ends with it
        if sys.platform == "win32":              # a folder with an open file cannot be renamed
            os.open(part + ".lock", os.O_CREAT | os.O_EXCL | os.O_TEMPORARY)
        else:
            import fcntl                         # imported here because Windows has none
            fcntl.flock(os.open(part, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, FileExistsError):
        raise UserError(f"another process is writing {part}")
    except OSError as error:
        raise UserError(f"cannot lock {part}: {error.strerror}")


def close_folder(part: str, final: str) -> None:
    """Puts the finished run, without its checkpoints, in the place of an older one of its name."""
    for name in os.listdir(part):
        if name.endswith((".checkpoint", ".tmp")):
            os.remove(os.path.join(part, name))
    shutil.rmtree(final + ".old", ignore_errors=True)
    if os.path.exists(final):
        os.replace(final, final + ".old")
    os.replace(part, final)
    shutil.rmtree(final + ".old", ignore_errors=True)
