"""Reads problems from JSON Lines, parquet, folders and hub ids into two splits without overlap.

    source = Source("FOLDER", "", train=500, test=100)
    train, test = source.problems("math_train*", "math500*", row_to_problem)

A folder has a training and a held-out file, found by their names, and a hub id the splits "train"
and "test". A single file or split is divided. Parquet and hub ids need the package `datasets`.
"""
import fnmatch
import json
import os
import random
import re
from dataclasses import dataclass, field
from typing import Any, Callable

from utils.errors import UserError

Rows = list[tuple[str, str | dict]]        # (where, row); a row of JSON Lines is not parsed yet
RowToProblem = Callable[[dict], "Problem | None"]        # None leaves the row out


@dataclass
class Problem:
    """solution: in words, for examples. difficulty: of MATH its level, of a sum its numbers.

    Programs have tests, (stdin, stdout) pairs, or a check to run after them; seconds for each.
    entry_point: the name of the function that is checked. part: "train", "test" or another one,
    where the problems' publication says it.
    """
    question: str
    answer: str
    solution: str = ""
    difficulty: int | None = None
    tests: list = field(default_factory=list)
    check: str = ""
    entry_point: str = ""
    part: str = ""
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
            raise UserError(f"the task {task} makes its own problems: no --data, no --difficulties")

    def problems(self, train: str, test: str,
                 row_to_problem: RowToProblem) -> tuple[list[Problem], list[Problem]]:
        """Training and held-out problems. train, test: file names in a folder, "math_train*".

        If there are none to hold out (a single file, or test = ""), some of the others are: those
        of the part "test", if the publication says it.
        """
        if not self.data:
            raise UserError("this task needs --data: a file, a folder or a hub id")
        rows = self._rows(self.data, train, "train")
        if rows is None:
            raise UserError(f"{self.data} has no training part")
        pool = self._parse(rows, row_to_problem, self.data, "training")
        data = self.test_data or self.data
        if self.test_data:
            test = test or train
        rows = self._rows(data, test, "test")
        held_out = None if rows is None else self._parse(rows, row_to_problem, data, "held-out")
        if held_out is None:
            held_out = [problem for problem in pool if problem.part == "test"]
        pool = [problem for problem in pool if problem.part in ("", "train")]
        return train_test_split(pool, held_out, self.train, self.test)

    def _parse(self, rows: Rows, row_to_problem: RowToProblem, data: str,
               part: str) -> list[Problem]:
        """The problems of the difficulties; all held-out problems if none has one, as in AIME."""
        problems = [p for row in rows if (p := parse_row(*row, row_to_problem))]
        known = part == "training" or any(p.difficulty is not None for p in problems)
        if self.difficulties and known:
            problems = [p for p in problems if p.difficulty in self.difficulties]
        if not problems:
            chosen = " of --difficulties" if self.difficulties else ""
            raise UserError(f"{data} contains no {part} problem{chosen}")
        return problems

    def _rows(self, data: str, name: str, part: str) -> Rows | None:
        """The rows of the "train" or "test" part; None if there is no such part.

        | data | train | test |
        |---|---|---|
        | a folder | the files of this name | likewise; None if name is "" |
        | a file | its rows | None; its rows if it is --test-data |
        | a hub id with several splits | the split of this name | likewise, or None |
        | a hub id with one split | its rows | None; its rows if it is --test-data |

        None for the training part is a mistake of the user; for the test part, some training
        problems are held out.
        """
        if os.path.isdir(data):
            files = fnmatch.filter(sorted(os.listdir(data)), name)
            if name and not files:
                raise UserError(f"{data} has no file named {name}")
            rows = [row for file in files for row in read_file(os.path.join(data, file))]
            return rows if name else None
        near = os.path.isdir(os.path.dirname(data)) or data.endswith((".jsonl", ".parquet"))
        if os.path.exists(data) or near or not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data):
            return None if part == "test" and not self.test_data else read_file(data)
        is_whole = part == "train" or bool(self.test_data)
        return read_hub(data, part, is_whole)


def read_file(path: str) -> Rows:
    """The rows of a JSON Lines file, which are still text, or of a parquet file."""
    if path.endswith(".parquet"):
        rows = load_dataset(path, f"cannot read {path}", "parquet", data_files=path, split="train")
        return [(f"{path}, row {i}", row) for i, row in enumerate(rows)]
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = file.readlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", "it is not UTF-8")
        raise UserError(f"cannot read {path}: {reason}")
    return [(f"{path}, line {i}", line) for i, line in enumerate(lines, 1) if line.strip()]


def read_hub(data: str, part: str, is_whole: bool) -> Rows | None:
    """A split of a hub id, such as openai/gsm8k:main. is_whole: a single split is that part."""
    name, _, config = data.partition(":")
    failure = f"cannot load {data} from the hub, and there is no such file"
    splits = load_dataset(data, failure, name, config or None)
    if len(splits) == 1:
        part = next(iter(splits)) if is_whole else ""
    rows = splits.get(part)
    return rows and [(f"{data}, {part}, row {i}", row) for i, row in enumerate(rows)]


def load_dataset(data: str, failure: str, *args: str | None, **options: str) -> Any:
    """datasets.load_dataset. Raises UserError without the package, or if it fails."""
    try:
        import datasets
    except ImportError:
        raise UserError(f"{data} is not a JSON Lines file on this machine; for hub ids and parquet "
                        "files install one more package: ./run -m pip install datasets")
    try:
        return datasets.load_dataset(*args, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{failure}: {error}")


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

    Without `held_out` problems, the first of the others are: a larger `train` leaves them the same.
    """
    pool, tests = _shuffled(problems), _shuffled(held_out or [])
    if not tests:
        tests = dict(list(pool.items())[:min(test, len(pool) // 2)])
    rest = [problem for question, problem in pool.items() if question not in tests]
    if not rest or not tests:
        raise UserError("at least two different problems are needed, one to train and one to test")
    return rest[:train], list(tests.values())[:test]


def _shuffled(problems: list[Problem]) -> dict[str, Problem]:
    """The problems by their questions, without duplicates, in one random order."""
    pairs = list({one_line(p.question).lower(): p for p in problems}.items())
    random.Random(0).shuffle(pairs)
    return dict(pairs)
