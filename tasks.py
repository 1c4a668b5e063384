"""Problems and prompts: what is asked, how, and which answers are right.

    python train.py                                                        # sums, the embedded task
    python train.py --task gsm8k --data gsm8k_train.jsonl --model FOLDER   # a real LLM
    python train.py --task math500 --data FOLDER --model Qwen/Qwen3-4B     # FOLDER holds both splits

A task is a list of problems for training, one for testing that shares no text with it, the styles
in which a problem can be asked, and a grader. To add one that reads files: a function from a row to
a Problem, and a line in TASKS.

`--data` is a JSON Lines or parquet file, a folder of them, or a hub id (the last two of these need
the optional package `datasets`). Where it holds no held-out part, one is cut off.

Deviations from the paper: its prompt templates are not published; ours are below.
"""
import fnmatch
import functools
import itertools
import json
import os
import random
import re
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

import tiny
from cli import UserError
from decode import Policy
from verify import extract_answer, math_equal


@dataclass
class Problem:
    """work: a solution in words, for examples. level: how hard. tests: (stdin, stdout) pairs."""
    question: str
    answer: str
    work: str = ""
    level: int | None = None
    tests: list = field(default_factory=list)
    seconds: float = 0.0


class Style(NamedTuple):
    """A way to ask. alone: a prompt without examples; ask, replies: how examples ask and answer.

    Of several replies, each example shows the next one.
    """
    alone: str
    replies: tuple[str, ...] = (" {answer}\n\n",)
    ask: str = "Question: {question}\nAnswer:"


@dataclass
class Task:
    """chat: through the tokenizer's chat template, where it has one. examples: before a question.

    grade: (text, problem) -> r. yardstick: a policy that sees the problem, no competitor.
    """
    name: str
    train: list[Problem]
    test: list[Problem]
    styles: dict[str, Style]
    budgets: tuple[int, ...]
    chat: bool = True
    grade: Callable[[str, Problem], float] = None
    yardstick: Callable[..., Policy] | None = None
    examples: list[Problem] = field(default_factory=list)
    thinking: bool = False

    def prompt(self, problem: Problem, style: str) -> str:
        """Examples first; a plain prompt with examples needs no instruction beside them."""
        s = self.styles[style]
        shown = "".join((s.ask + reply).format(**vars(x))
                        for x, reply in zip(self.examples, itertools.cycle(s.replies)))
        last = s.ask if self.examples and not self.chat else s.alone
        return shown + last.format(question=problem.question)

    @property
    def stop(self) -> str | None:
        """In a plain prompt with examples, what ends an answer: the model would ask on."""
        return "\n" if self.examples and not self.chat else None

    def show(self, count: int, styles: list[str]):
        """Moves the first `count` of the shorter half (ours: prefill costs) to the examples."""
        needed = any("{work}" in reply for style in styles for reply in self.styles[style].replies)
        worked = [x for x in self.train if x.work or not needed]
        if len(worked) < count:
            raise UserError(f"{len(worked)} training problems have a worked solution to show, "
                            f"--shots asks for {count}: --styles once needs none")
        lengths = [len(x.question + x.work + x.answer) for x in worked]
        middle = sorted(lengths)[len(lengths) // 2] if worked else 0
        self.examples = [x for x, length in zip(worked, lengths) if length <= middle][:count]
        self.train = [x for x in self.train if x not in self.examples]


# ---- made on the spot ---------------------------------------------------------------------------
def sums(source: "Source") -> Task:
    """Worked sums of the embedded LM; `tiny.split_of` keeps the splits apart. Needs no file."""
    def grade(text: str, problem: Problem) -> float:
        answer = tiny.answer(text)
        return float(answer is not None and math_equal(answer, problem.answer))

    def some(split: str, count: int) -> list[Problem]:
        distinct = dict.fromkeys(text for _, text in itertools.islice(
            tiny.problems(split, seed=0), count * 2))
        return [Problem(text, str(sum(map(int, text.split("+")))))
                for text in itertools.islice(distinct, count)]

    source.refuse_files("sums")
    return Task("sums", some("train", source.train), some("test", source.test),
                {"work": Style("{question}:"), "once": Style("{question}?")},
                (18, 24, 30, 37, 44), chat=False, grade=grade, yardstick=tiny.yardstick)


def addition(source: "Source") -> Task:
    """Two numbers from 2 to 30, added: with --shots, a task for a small real LLM. Needs no file.

    Ours: at 135 M parameters the problems below are solved too rarely to learn from (README).
    """
    source.refuse_files("addition")
    problems = [Problem(f"{a}+{b}", str(a + b), f"{a}+{b}={a + b}.")
                for a, b in itertools.product(range(2, 31), repeat=2)]
    return Task("addition", *split(problems, None, source.train, source.test), ANSWERS, (20,),
                grade=grade_answer)


# ---- from files ---------------------------------------------------------------------------------
def math_problem(row: dict) -> Problem:
    """MATH and its kin. Some copies have no answer, only the last box of the solution."""
    solution = row.get("solution") or ""
    answer = row.get("answer") or extract_answer(solution[solution.rfind("\\boxed"):])
    if not answer:
        raise ValueError("neither an answer nor a boxed one in its solution")
    digits = re.findall(r"\d+", str(row.get("level")))              # 5, "Level 5", "Level ?", None
    return Problem(row["problem"].strip(), str(answer), flat(solution),
                   int(digits[0]) if digits else None)


def gsm8k_problem(row: dict) -> Problem:
    """The answer ends in "#### n"; its level is the number of steps, <<3+4=7>> in the text."""
    work, answer = row["answer"].rsplit("####", 1)
    return Problem(row["question"].strip(), answer.strip(),
                   flat(re.sub(r"<<.*?>>", "", work)), work.count("<<"))


def flat(text: str) -> str:
    """One line: in a plain prompt a line's end is the end of an answer."""
    return " ".join(text.split())


def grade_answer(text: str, problem: Problem) -> float:
    answer = extract_answer(text)
    return float(answer is not None and math_equal(answer, problem.answer))


WORK, SAID = " {work} The answer is {answer}.\n\n", " The answer is {answer}.\n\n"
ANSWERS = {                         # with chain of thought, without, and as the model itself decides
    "work": Style("{question}\nThink step by step and end with: The answer is <answer>.", (WORK,)),
    "once": Style("{question}\nGive the answer alone, without any explanation."),
    "either": Style("{question}\nEnd with: The answer is <answer>.", (WORK, SAID))}


class Kind(NamedTuple):
    """A task from files: names of its two splits in a folder, how a row is read, asked, graded."""
    train: str
    test: str
    problem: Callable[[dict], Problem | None]
    budgets: tuple[int, ...]
    styles: dict[str, Style] = ANSWERS
    grade: Callable[[str, Problem], float] = grade_answer


def from_files(name: str, kind: Kind, source: "Source") -> Task:
    train, test = source.read(kind)
    if source.levels:
        train, test = ([p for p in part if p.level in source.levels] for part in (train, test))
    return Task(name, *split(train, test, source.train, source.test), kind.styles, kind.budgets,
                grade=kind.grade)


KINDS = {
    "gsm8k": Kind("gsm8k*train*", "gsm8k*test*", gsm8k_problem, (64, 128, 256)),
    "math": Kind("math_train*", "math_test*", math_problem, (128, 256, 512)),
    "math500": Kind("math_train*", "math500*", math_problem, (128, 256, 512)),
    "aime2024": Kind("math_train*", "aime2024*", math_problem, (512, 1024, 2048)),     # paper: MATH
    "aime2025": Kind("math_train*", "aime2025*", math_problem, (512, 1024, 2048)),     # to AIME
}
TASKS = {"sums": sums, "addition": addition,
         **{name: functools.partial(from_files, name, kind) for name, kind in KINDS.items()}}


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

    def read(self, kind: Kind) -> tuple[list[Problem], list[Problem]]:
        """Training and held-out problems; the latter empty where the files have no such part."""
        if not self.data:
            raise UserError("this task needs --data: a file, a folder or a hub id")
        train, test = self._parts(self.data, kind)
        if self.test_data:
            _, test = self._parts(self.test_data, kind, only="test")
        problems = [[p for where, row in part for p in [read_row(where, row, kind)] if p]
                    for part in (train, test)]
        if not any(problems):
            raise UserError(f"{self.data} holds no problem")
        return problems if problems[0] else (problems[1], [])

    def _parts(self, data: str, kind: Kind, only: str = "") -> tuple[list, list]:
        if os.path.isdir(data):
            names = sorted(os.listdir(data))
            found = [[row for name in fnmatch.filter(names, pattern)
                      for row in read_file(os.path.join(data, name))]
                     for pattern in (kind.train, kind.test)]
            if not any(found):
                raise UserError(f"{data} has no file named {kind.train} or {kind.test}")
            return found
        if os.path.exists(data) or not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w.-]+)?", data):
            rows = read_file(data)
            return ([], rows) if only else (rows, [])
        return read_hub(data)


def read_file(path: str) -> list[tuple[str, dict]]:
    """(where, row) of a JSON Lines or parquet file."""
    if path.endswith(".parquet"):
        rows = optional_datasets().load_dataset("parquet", data_files=path, split="train")
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
        splits = optional_datasets().load_dataset(name, config or None)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(f"cannot load {data} from the hub, and there is no such file: {error}")
    return tuple([(f"{data}, {part}, row {i}", row) for i, row in enumerate(splits.get(part, ()))]
                 for part in ("train", "test"))


def optional_datasets():
    try:
        import datasets
    except ImportError:
        raise UserError("hub ids and parquet files need a package more: pip install datasets")
    return datasets


def read_row(where: str, row: str | dict, kind: Kind) -> Problem | None:
    """A problem, None for one that cannot be used; a bad row is named by file and number."""
    try:
        return kind.problem(json.loads(row) if isinstance(row, str) else row)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{where}: no problem of this task ({type(error).__name__}: {error})")


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
