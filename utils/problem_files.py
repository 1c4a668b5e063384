"""Reading problems: JSON Lines, parquet, folders, hub ids; two splits that share no text.

    Source("FOLDER", "", train=500, test=100).problems("math_train*", "math500*", row_to_problem)

A file is one pool, from which the held-out part is cut; a folder has its files by name, both of
them; a hub id its splits "train" and "test", or one, which is cut. Parquet and hub ids need the
optional package `datasets`.
"""
import fnmatch
import json
import os
import random
import re
from dataclasses import dataclass, field
from types import ModuleType
from typing import Callable

from utils.errors import UserError

Rows = list[tuple[str, str | dict]]        # (where, row): of JSON Lines the row is still text


@dataclass
class Problem:
    """work: a solution in words, for examples. level: how hard (of a sum: its numbers).

    Programs have tests, (stdin, stdout) pairs, or a check to run behind them; seconds for each.
    """
    question: str
    answer: str
    solution: str = ""
    difficulty: int | None = None
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

    def refuse_files(self, task: str) -> None:
        if self.data or self.test_data or self.levels:
            raise UserError(f"the task {task} makes its problems: it takes no --data and no "
                            "--difficulties")

    def problems(self, train: str, test: str,
                 problem: Callable[[dict], Problem | None]) -> tuple[list[Problem], list[Problem]]:
        """Training and held-out problems. train, test: names in a folder, such as "math_train*".

        problem: of a row; None leaves it out, an exception makes it a bad one. Without a held-out
        part of its own (a single file, test = "") one is cut off.
        """
        if not self.data:
            raise UserError("this task needs --data: a file, a folder or a hub id")
        test = test or train * bool(self.test_data)
        rows = self._rows(self.data, train, "train")
        if rows is None:
            raise UserError(f"{self.data} has no training part")
        pool, held_out = self._read(rows, problem, self.data, "training"), None
        data = self.test_data or self.data
        if (rows := self._rows(data, test, "test")) is not None:
            held_out = self._read(rows, problem, data, "held-out")
        return split(pool, held_out, self.train, self.test)

    def _read(self, rows: Rows, problem: Callable[[dict], Problem | None], data: str,
              part: str) -> list[Problem]:
        """Those of the levels; held-out problems that have none at all, such as AIME's, stay."""
        found = [p for row in rows if (p := read_row(*row, problem))]
        if self.levels and (part == "training" or any(p.difficulty is not None for p in found)):
            found = [p for p in found if p.difficulty in self.levels]
        if not found:
            asked = " of --difficulties" if self.levels else ""
            raise UserError(f"{data} holds no {part} problem{asked}")
        return found

    def _rows(self, data: str, name: str, part: str) -> Rows | None:
        """(where, row) of the "train" or "test" part; None where there is no such part."""
        if os.path.isdir(data):
            files = fnmatch.filter(sorted(os.listdir(data)), name)
            if name and not files:
                raise UserError(f"{data} has no file named {name}")
            found = [row for file in files for row in read_file(os.path.join(data, file))]
            return found if name else None
        near = os.path.isdir(os.path.dirname(data)) or data.endswith((".jsonl", ".parquet"))
        if os.path.exists(data) or near or not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data):
            return None if part == "test" and not self.test_data else read_file(data)
        return read_hub(data, part, whole=part == "train" or bool(self.test_data))


def read_file(path: str) -> Rows:
    """(where, row) of a JSON Lines file, its rows still text, or of a parquet file."""
    if path.endswith(".parquet"):
        try:
            rows = optional_datasets(path).load_dataset("parquet", data_files=path, split="train")
        except (OSError, ValueError, RuntimeError) as error:
            raise UserError(f"cannot read {path}: {error}")
        return [(f"{path}, row {i}", row) for i, row in enumerate(rows)]
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no UTF-8')}")
    return [(f"{path}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]


def read_hub(data: str, part: str, whole: bool) -> Rows | None:
    """The part of a hub id, such as openai/gsm8k:main (a colon, its configuration).

    whole: where it has a single part, that is the one.
    """
    name, _, config = data.partition(":")
    try:
        splits = optional_datasets(data).load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {data} from the hub, and there is no such file: {error}")
    if len(splits) == 1:
        part = next(iter(splits)) if whole else ""
    rows = splits.get(part)
    return rows and [(f"{data}, {part}, row {i}", row) for i, row in enumerate(rows)]


def optional_datasets(data: str) -> ModuleType:
    try:
        import datasets
    except ImportError:
        raise UserError(f"{data} is no JSON Lines file that is here; for hub ids and parquet files "
                        "install one package more: ./run -m pip install datasets")
    return datasets


def read_row(where: str, row: str | dict,
             problem: Callable[[dict], Problem | None]) -> Problem | None:
    """A problem, None for one that cannot be used; a bad row is named by file and number."""
    try:
        found = problem(json.loads(row) if isinstance(row, str) else row)
        if found and not found.question:
            raise ValueError("an empty question")
        return found
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: no problem of this task ({type(error).__name__}: {error})")


def flat(text: str) -> str:
    """One line: in a plain prompt a line's end is the end of an answer."""
    return " ".join(text.split())


def split(problems: list[Problem], held_out: list[Problem] | None, train: int,
          test: int) -> tuple[list[Problem], list[Problem]]:
    """At most `train` and `test` of them, shuffled once, that share no text.

    Without `held_out` problems (None) the test part is cut off first, so that more training never
    eats it.
    """
    def distinct(problems: list[Problem]) -> dict[str, Problem]:
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
