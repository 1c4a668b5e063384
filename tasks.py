"""Problems and prompts: what is asked, how, and which answers are right.

    python train.py                                                        # sums, the embedded task
    python train.py --task gsm8k --data gsm8k_train.jsonl --model FOLDER   # a real LLM

A task is a list of problems for training, one for testing that shares no text with it, the styles
in which a problem can be asked, and a verifier. To add one: write its loader, name it in TASKS.
"""
import itertools
import json
import random
from dataclasses import dataclass
from typing import Callable

import tiny
from cli import UserError
from decode import Policy
from verify import extract_answer, math_equal


@dataclass
class Problem:
    question: str
    answer: str


@dataclass
class Task:
    """styles: name -> prompt template with one {}. chat: through the tokenizer's chat template.

    extract: text -> answer or None. yardstick: a policy that sees the problem, no competitor.
    """
    name: str
    train: list[Problem]
    test: list[Problem]
    styles: dict[str, str]
    budgets: tuple[int, ...]
    chat: bool = True
    extract: Callable[[str], str | None] = extract_answer
    yardstick: Callable[..., Policy] | None = None

    def prompt(self, problem: Problem, style: str) -> str:
        return self.styles[style].format(problem.question)

    def verify(self, text: str, problem: Problem) -> float:
        """Reward r in {0, 1} of a completion, whole or cut off."""
        answer = self.extract(text)
        return float(answer is not None and math_equal(answer, problem.answer))


def sums(data: str | None, train: int, test: int) -> Task:
    """Worked sums, made on the spot; `tiny.split_of` keeps the splits apart. Needs no file."""
    if data:
        raise UserError("the task sums makes its problems and takes no --data")

    def some(split: str, count: int) -> list[Problem]:
        distinct = dict.fromkeys(text for _, text in itertools.islice(
            tiny.problems(split, seed=0), count * 2))
        return [Problem(text, str(sum(map(int, text.split("+")))))
                for text in itertools.islice(distinct, count)]

    return Task("sums", some("train", train), some("test", test),
                {"work": "{}:", "once": "{}?"}, (18, 24, 30, 37, 44), chat=False,
                extract=tiny.answer, yardstick=tiny.yardstick)


def gsm8k(data: str | None, train: int, test: int) -> Task:
    """GSM8K's JSON Lines (Cobbe et al. 2021): question, answer that ends in "#### n"."""
    def problem(row: dict) -> Problem:
        return Problem(row["question"].strip(), row["answer"].rsplit("####", 1)[1].strip())

    train_set, test_set = split(read_jsonl(data, problem), train, test)
    return Task("gsm8k", train_set, test_set,
                {"work": "{}\nThink step by step and end with: The answer is <number>.",
                 "once": "{}\nAnswer with the number alone."}, (64, 128, 256))


TASKS = {"sums": sums, "gsm8k": gsm8k}


def read_jsonl(path: str | None, problem: Callable[[dict], Problem]) -> list[Problem]:
    """One problem a line; a bad line is named by file and number."""
    if not path:
        raise UserError("this task needs --data, a JSON Lines file")
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.readlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', 'it is no UTF-8')}")
    problems = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                problems.append(problem(json.loads(line)))
            except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
                raise UserError(f"{path}, line {number}: no problem of this task "
                                f"({type(error).__name__}: {error})")
    if not problems:
        raise UserError(f"{path} holds no problem")
    return problems


def split(problems: list[Problem], train: int, test: int) -> tuple[list[Problem], list[Problem]]:
    """Shuffled once, distinct by text; the test part first, so that more training never eats it."""
    problems = list({p.question: p for p in problems}.values())
    random.Random(0).shuffle(problems)
    test = min(test, len(problems) // 2)
    if test < 1:
        raise UserError("at least two different problems are needed, one to train and one to test")
    return problems[test:test + train], problems[:test]
