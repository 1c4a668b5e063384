"""Problems of a task: read from JSON Lines, parquet, a folder or the hub; two splits without overlap.

    source = Source("FOLDER", "", train=500, test=100)
    train, test = source.problems("math_train*", "math500*", row_to_problem)

A folder has a training and a held-out file, found by their names. A hub id has the splits "train"
and "test". From a single file or split, the held-out problems are cut off. Parquet files and hub
ids need the optional package `datasets`.
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

Rows = list[tuple[str, str | dict]]        # (where, row); a row of JSON Lines is not parsed yet
RowToProblem = Callable[[dict], "Problem | None"]        # None leaves the row out


@dataclass
class Problem:
    """solution: in words, for examples. difficulty: of MATH its level, of a sum its numbers.

    Programs have tests, (stdin, stdout) pairs, or a check to run after them; seconds for each.
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
    """Where a task's problems come from, how many are used, and of which difficulties (all: [])."""
    data: str
    test_data: str
    train: int
    test: int
    difficulties: list[int] = field(default_factory=list)

    def refuse_files(self, task: str) -> None:
        """Raises UserError if options of files are given to a task that makes its own problems."""
        if self.data or self.test_data or self.difficulties:
            raise UserError(f"the task {task} makes its own problems: it takes neither --data "
                            "nor --difficulties")

    def problems(self, train: str, test: str,
                 row_to_problem: RowToProblem) -> tuple[list[Problem], list[Problem]]:
        """Training and held-out problems. train, test: file names in a folder, such as "math_train*".

        An exception of `row_to_problem` marks a bad row. If there are no held-out problems (a single
        file, or test = ""), some of the training problems are held out.
        """
        if not self.data:
            raise UserError("this task needs --data: a file, a folder or a hub id")
        rows = self._rows(self.data, train, "train")
        if rows is None:
            raise UserError(f"{self.data} has no training part")
        pool = self._parse(rows, row_to_problem, self.data, "training")

        if self.test_data and not test:
            test = train
        data = self.test_data or self.data
        rows = self._rows(data, test, "test")
        held_out = None if rows is None else self._parse(rows, row_to_problem, data, "held-out")
        return train_test_split(pool, held_out, self.train, self.test)

    def _parse(self, rows: Rows, row_to_problem: RowToProblem, data: str,
               part: str) -> list[Problem]:
        """The problems of the difficulties; all held-out problems if none has one, as in AIME."""
        found = [parse_row(where, row, row_to_problem) for where, row in rows]
        problems = [problem for problem in found if problem]
        known = part == "training" or any(p.difficulty is not None for p in problems)
        if self.difficulties and known:
            problems = [p for p in problems if p.difficulty in self.difficulties]
        if not problems:
            chosen = " of --difficulties" if self.difficulties else ""
            raise UserError(f"{data} contains no {part} problem{chosen}")
        return problems

    def _rows(self, data: str, name: str, part: str) -> Rows | None:
        """The rows of the "train" or "test" part; None if there is no such part."""
        if os.path.isdir(data):
            files = fnmatch.filter(sorted(os.listdir(data)), name)
            if name and not files:
                raise UserError(f"{data} has no file named {name}")
            rows = [row for file in files for row in read_file(os.path.join(data, file))]
            return rows if name else None
        near = os.path.isdir(os.path.dirname(data)) or data.endswith((".jsonl", ".parquet"))
        if os.path.exists(data) or near or not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data):
            return None if part == "test" and not self.test_data else read_file(data)
        return read_hub(data, part, only=part == "train" or bool(self.test_data))


def read_file(path: str) -> Rows:
    """The rows of a JSON Lines file, which are still text, or of a parquet file."""
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
        reason = getattr(error, "strerror", "it is not UTF-8")
        raise UserError(f"cannot read {path}: {reason}")
    return [(f"{path}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]


def read_hub(data: str, part: str, only: bool) -> Rows | None:
    """A split of a hub id, such as openai/gsm8k:main (its configuration follows the colon).

    only: if the hub id has a single split, of whatever name, take that one.
    """
    name, _, config = data.partition(":")
    try:
        splits = optional_datasets(data).load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {data} from the hub, and there is no such file: {error}")
    if len(splits) == 1:
        part = next(iter(splits)) if only else ""
    rows = splits.get(part)
    return rows and [(f"{data}, {part}, row {i}", row) for i, row in enumerate(rows)]


def optional_datasets(data: str) -> ModuleType:
    try:
        import datasets
    except ImportError:
        raise UserError(f"{data} is not a JSON Lines file on this machine; for hub ids and parquet "
                        "files install one more package: ./run -m pip install datasets")
    return datasets


def parse_row(where: str, row: str | dict, row_to_problem: RowToProblem) -> Problem | None:
    """A row's problem; None if it cannot be used. An error names the file and the row's number."""
    try:
        problem = row_to_problem(json.loads(row) if isinstance(row, str) else row)
        if problem and not problem.question:
            raise ValueError("an empty question")
        return problem
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{where}: no problem of this task ({type(error).__name__}: {error})")


def one_line(text: str) -> str:
    """The text in one line, because the end of a line ends an answer in a plain prompt."""
    return " ".join(text.split())


def train_test_split(problems: list[Problem], held_out: list[Problem] | None, train: int,
                     test: int) -> tuple[list[Problem], list[Problem]]:
    """At most `train` and `test` problems, shuffled, without a question that is in both.

    Without `held_out` problems the test problems are cut off first, so that they stay the same when
    `train` grows.
    """
    pool = _shuffled(problems)
    tests = _shuffled(held_out or [])
    if not tests:
        count = min(test, len(pool) // 2)
        tests = dict(list(pool.items())[:count])
    rest = [problem for question, problem in pool.items() if question not in tests]
    if not rest or not tests:
        raise UserError("at least two different problems are needed, one to train and one to test")
    return rest[:train], list(tests.values())[:test]


def _shuffled(problems: list[Problem]) -> dict[str, Problem]:
    """The problems by their questions, without duplicates, in one random order."""
    distinct = {one_line(problem.question).lower(): problem for problem in problems}
    pairs = list(distinct.items())
    random.Random(0).shuffle(pairs)
    return dict(pairs)
