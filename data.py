"""Reading problems: JSON Lines, parquet, folders, hub ids; two splits that share no text.

    Source("FOLDER", "", train=500, test=100).problems("math_train*", "math500*", row_to_problem)

A file is one pool, from which the held-out part is cut; a folder has its files by name, a hub id
its splits "train" and "test". Parquet and hub ids need the optional package `datasets`.
"""
import fnmatch
import json
import os
import random
import re
from dataclasses import dataclass, field
from typing import Callable

from cli import UserError


@dataclass
class Problem:
    """work: a solution in words, for examples. level: how hard.

    Programs have tests, (stdin, stdout) pairs, or a check to run behind them; seconds for each.
    """
    question: str
    answer: str
    work: str = ""
    level: int | None = None
    tests: list = field(default_factory=list)
    check: str = ""
    seconds: float = 10.0              # ours: Python is slower than the limits made for C++


@dataclass
class Source:
    """Where a task's problems come from, and how many of which level."""
    data: str
    test_data: str
    train: int
    test: int
    levels: list[int] = field(default_factory=list)

    def refuse_files(self, task: str):
        if self.data or self.test_data:
            raise UserError(f"the task {task} makes its problems and takes no --data")

    def problems(self, train: str, test: str,
                 problem: Callable[[dict], Problem | None]) -> tuple[list[Problem], list[Problem]]:
        """Training and held-out problems. train, test: names in a folder, such as "math_train*".

        problem: of a row; None leaves it out, an exception makes it a bad one.
        """
        parts = [[p for where, row in part for p in [read_row(where, row, problem)]
                  if p and (not self.levels or p.level in self.levels)]
                 for part in self._rows((train, test))]
        if not any(parts):
            raise UserError(f"{self.data} holds no problem{' of these --levels' if self.levels else ''}")
        return split(parts[0] or parts[1], parts[1] if parts[0] else [], self.train, self.test)

    def _rows(self, names: tuple[str, str]) -> list[list]:
        """(where, row) of both parts; the second empty where the files have no such part."""
        if not self.data:
            raise UserError("this task needs --data: a file, a folder or a hub id")
        train, test = self._parts(self.data, names)
        if self.test_data:
            one, two = self._parts(self.test_data, names)
            test = two or one
        return [train, test]

    def _parts(self, data: str, names: tuple[str, str]) -> tuple[list, list]:
        if os.path.isdir(data):
            there = sorted(os.listdir(data))
            found = [[row for name in fnmatch.filter(there, pattern)
                      for row in read_file(os.path.join(data, name))] for pattern in names]
            if not any(found):
                raise UserError(f"{data} has no file named {' or '.join(filter(None, names))}")
            return tuple(found)
        if os.path.exists(data) or not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data):
            return read_file(data), []
        return read_hub(data)


def read_file(path: str) -> list[tuple[str, dict]]:
    """(where, row) of a JSON Lines or parquet file."""
    if path.endswith(".parquet"):
        rows = optional_datasets(path).load_dataset("parquet", data_files=path, split="train")
        return [(f"{path}, row {i}", row) for i, row in enumerate(rows)]
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no UTF-8')}")
    return [(f"{path}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]


def read_hub(data: str) -> tuple[list, list]:
    """Splits "train" and "test" of a hub id, such as openai/gsm8k:main (a colon, its config)."""
    name, _, config = data.partition(":")
    try:
        splits = optional_datasets(data).load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {data} from the hub, and there is no such file: {error}")
    return tuple([(f"{data}, {part}, row {i}", row) for i, row in enumerate(splits.get(part, ()))]
                 for part in ("train", "test"))


def optional_datasets(data: str):
    try:
        import datasets
    except ImportError:
        raise UserError(f"{data} is no JSON Lines file that is here; for hub ids and parquet files "
                        "install one package more: pip install datasets")
    return datasets


def read_row(where: str, row: str | dict, problem) -> Problem | None:
    """A problem, None for one that cannot be used; a bad row is named by file and number."""
    try:
        return problem(json.loads(row) if isinstance(row, str) else row)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: no problem of this task ({type(error).__name__}: {error})")


def flat(text: str) -> str:
    """One line: in a plain prompt a line's end is the end of an answer."""
    return " ".join(text.split())


def split(problems: list[Problem], held_out: list[Problem], train: int,
          test: int) -> tuple[list[Problem], list[Problem]]:
    """At most `train` and `test` of them, shuffled once, that share no text.

    Without `held_out` problems the test part is cut off first, so that more training never eats it.
    """
    def distinct(problems):
        found = list({flat(p.question).lower(): p for p in problems}.items())
        random.Random(0).shuffle(found)
        return dict(found)

    pool, held = distinct(problems), distinct(held_out or [])
    if not held:
        names = list(pool)[:min(test, len(pool) // 2)]
        held = {name: pool[name] for name in names}
    rest = [p for name, p in pool.items() if name not in held]
    if not rest or not held:
        raise UserError("at least two different problems are needed, one to train and one to test")
    return rest[:train], list(held.values())[:test]
