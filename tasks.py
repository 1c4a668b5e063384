"""Problems and prompts: what is asked, how, and which answers are right.

    python -m demos.prompts       # prompts, budgets and grades of the tasks that need no file, 4 seconds
    python train.py                                                        # sums, the embedded task
    python train.py --task gsm8k --data gsm8k_train.jsonl --model FOLDER   # a real LLM
    python train.py --task math500 --data FOLDER --model Qwen/Qwen3-4B     # FOLDER has both splits

A task is a list of problems for training, one for testing that shares no text with it (data.py),
the styles in which a problem can be asked, and a grader. To add one that reads files: a function
from a row to a Problem (data.py), and a line in KINDS.

    r = grade(text, problem),  text ~ LM(prompt(problem, style)),  0 or 1, at the end only

Deviations from the paper: (1) its prompt templates are not published; ours are below. (2) Its
tasks are MATH, AIME and CodeContests; sums and addition are for LMs that two cores can run.
"""
import functools
import itertools
import re
from dataclasses import dataclass, field
from typing import Callable, NamedTuple

import tiny
from decode import Policy
from utils.errors import UserError
from utils.problem_files import Problem, Source, one_line, train_test_split
from verify import extract_answer, grade_answer, grade_function, grade_program


class Style(NamedTuple):
    """A way to ask. alone: a prompt without examples; ask, replies: how examples ask and answer.

    Of several replies, each example shows the next one.
    """
    alone: str
    replies: tuple[str, ...] = (" {answer}\n\n",)
    ask: str = "Question: {question}\nAnswer:"
    stop: str = "\n"                   # in a plain prompt with examples, what ends an answer


@dataclass
class Task:
    """chat: through the tokenizer's chat template, where it has one. examples: before a question.

    grade: (text, problem) -> r. scripted_oracle: a policy that sees the problem, no competitor.
    """
    name: str
    train: list[Problem]
    test: list[Problem]
    styles: dict[str, Style]
    budgets: tuple[int, ...]
    grade: Callable[[str, Problem], float]
    chat: bool = True
    scripted_oracle: Callable[..., Policy] | None = None
    examples: list[Problem] = field(default_factory=list)
    thinking: bool = False

    @property
    def programs(self) -> bool:
        """Are answers programs, which are run?"""
        return bool(self.train[0].tests or self.train[0].check)

    def prompt(self, problem: Problem, style: str) -> str:
        """Examples first; a plain prompt with examples needs no instruction beside them."""
        s = self.styles[style]
        shown = "".join((s.ask + reply).format(**vars(x))
                        for x, reply in zip(self.examples, itertools.cycle(s.replies)))
        last = s.ask if self.examples and not self.chat else s.alone
        return shown + last.format(question=problem.question)

    @property
    def stop(self) -> str | None:
        """What ends an answer in a plain prompt with examples: the model would ask on."""
        style = next(iter(self.styles.values()))
        return style.stop if self.examples and not self.chat else None

    def show(self, count: int, styles: list[str]) -> None:
        """Moves `count` training problems to the examples: the first of the shorter half, if that
        has as many (ours: prefill costs)."""
        needed = any("{solution}" in reply for style in styles for reply in self.styles[style].replies)
        worked = [x for x in self.train if x.answer and (x.solution or not needed)]
        if len(worked) < count or len(self.train) == count:
            raise UserError(f"--shots {count} needs as many training problems with a solution to "
                            f"show, and one more; there are {len(worked)} of {len(self.train)}"
                            + "; --styles once shows no work" * (needed and not worked))
        lengths = [len(x.question + x.solution + x.answer) for x in worked]
        most = sorted(lengths)[max(count, len(lengths) // 2 + 1) - 1] if count else 0
        self.examples = [x for x, length in zip(worked, lengths) if length <= most][:count]
        shown = set(map(id, self.examples))
        self.train = [x for x in self.train if id(x) not in shown]


# ---- made on the spot ---------------------------------------------------------------------------
def sums(source: Source) -> Task:
    """Worked sums of the embedded LM; `tiny.split_of` keeps the splits apart. Needs no file."""
    def some(split: str, count: int) -> list[Problem]:
        distinct = dict.fromkeys(text for _, text in itertools.islice(
            tiny.problems(split, seed=0), count * 2))
        return [Problem(text, str(sum(map(int, text.split("+")))), difficulty=text.count("+") + 1)
                for text in itertools.islice(distinct, count)]

    source.refuse_files("sums")
    return Task("sums", some("train", source.train), some("test", source.test),
                {"cot": Style("{question}:"), "direct": Style("{question}?")},
                (18, 24, 30, 37, 44), chat=False, scripted_oracle=tiny.scripted_oracle,
                grade=functools.partial(grade_answer, extract=tiny.answer))


def addition(source: Source) -> Task:
    """Two numbers from 2 to 30, added: with --shots, a task for a small real LLM. Needs no file.

    Ours: at 135 M parameters the problems below are solved too rarely to learn from (RESULTS.md).
    Budgets: with a digit a token, 6 hold an answer at once, 8 the work of half of the problems, 16
    everything.
    """
    source.refuse_files("addition")
    problems = [Problem(f"{a}+{b}", str(a + b), f"{a}+{b}={a + b}.")
                for a, b in itertools.product(range(2, 31), repeat=2)]
    return Task("addition", *train_test_split(problems, None, source.train, source.test),
                ANSWERS, (6, 8, 16), grade=grade_answer)


# ---- answers ------------------------------------------------------------------------------------


WORK, SAID = " {solution} The answer is {answer}.\n\n", " The answer is {answer}.\n\n"
ANSWERS = {                                # with chain of thought, without, as the model decides
    "cot": Style("{question}\nThink step by step and end with: The answer is <answer>.", (WORK,)),
    "direct": Style("{question}\nGive the answer alone, without any explanation."),
    "either": Style("{question}\nEnd with: The answer is <answer>.", (WORK, SAID))}


# ---- programs -----------------------------------------------------------------------------------


# How examples show code in a plain prompt: a prompt then ends where the code begins.
CODE = (("{answer}\n```\n\n",), "{question}\n```python\n", "```")
PROGRAMS = {
    "cot": Style("{question}\n\nExplain your idea in a few sentences, then write a Python 3 "
                  "program that reads stdin and writes stdout, in one ```python block.", *CODE),
    "direct": Style("{question}\n\nWrite a Python 3 program that reads stdin and writes stdout, in "
                  "one ```python block and nothing else.", *CODE)}
FUNCTIONS = {
    "cot": Style("Explain your idea in a few sentences, then write this whole Python function in "
                  "one ```python block.\n\n{question}", *CODE),
    "direct": Style("Write this whole Python function in one ```python block and nothing else.\n\n"
                  "{question}", *CODE),
    "bare": Style("{question}", *CODE)}                   # the header goes on: for base models


# ---- from a row to a problem --------------------------------------------------------------------
def math_problem(row: dict) -> Problem | None:
    """MATH and its kin. Some copies have no answer, only the last box of the solution.

    Two of MATH's training problems have an empty one, and are left out.
    """
    solution = row.get("solution") or ""
    answer = row.get("answer")
    if answer in (None, "") and "\\boxed" in solution:
        answer = extract_answer(solution[solution.rfind("\\boxed"):])
    if answer == "":
        return None
    if not isinstance(answer, (str, int, float)):
        raise ValueError("neither an answer nor a boxed one in its solution")
    digits = re.findall(r"\d+", str(row.get("level")))              # 5, "Level 5", "Level ?", None
    return Problem(row["problem"].strip(), str(answer), one_line(solution),
                   int(digits[0]) if digits else None)


def gsm8k_problem(row: dict) -> Problem:
    """The answer ends in "#### n"; its level is the number of steps, <<3+4=7>> in the text."""
    work, mark, answer = row["answer"].rpartition("####")
    if not (mark and answer.strip()):
        raise ValueError("no #### and number end its answer")
    return Problem(row["question"].strip(), answer.strip(),
                   one_line(re.sub(r"<<.*?>>", "", work)), work.count("<<"))


def code_contests_problem(row: dict) -> Problem | None:
    """All of its tests; None for a problem that reads or writes named files."""
    if row.get("input_file") or row.get("output_file"):
        return None
    tests = [pair for kind in ("public_tests", "private_tests", "generated_tests")
             for pair in zip(*((row.get(kind) or {}).get(x, ()) for x in ("input", "output")))]
    limit = row.get("time_limit") or {}
    seconds = (limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9
    solutions = row.get("solutions") or {"language": [], "solution": []}
    shown = [text for language, text in zip(solutions["language"], solutions["solution"])
             if language == 3]                                                         # Python 3
    if not tests:
        raise ValueError("no tests")
    return Problem(row["description"].strip(), (shown or [""])[0], tests=tests,
                   seconds=max(Problem.seconds, 3 * seconds))


def humaneval_problem(row: dict) -> Problem:
    if not re.search(rf"^def {row['entry_point']}\b", row["prompt"], re.MULTILINE):
        raise ValueError("its prompt does not define its entry point")
    return Problem(row["prompt"], row["canonical_solution"],
                   check=f"{row['test']}\ncheck({row['entry_point']})\n")


# ---- the list -----------------------------------------------------------------------------------
class Kind(NamedTuple):
    """A task from files: names of its two splits in a folder, how a row is read, asked, graded."""
    train: str
    test: str
    problem: Callable[[dict], Problem | None]
    budgets: tuple[int, ...]
    styles: dict[str, Style] = ANSWERS
    grade: Callable[[str, Problem], float] = grade_answer


def from_files(name: str, kind: Kind, source: Source) -> Task:
    return Task(name, *source.problems(kind.train, kind.test, kind.problem), kind.styles,
                kind.budgets, grade=kind.grade)


KINDS = {
    "gsm8k": Kind("gsm8k*train*", "gsm8k*test*", gsm8k_problem, (64, 128, 256)),
    "math": Kind("math_train*", "math_test*", math_problem, (128, 256, 512)),
    "math500": Kind("math_train*", "math500*", math_problem, (128, 256, 512)),
    "aime2024": Kind("math_train*", "aime2024*", math_problem, (512, 1024, 2048)),     # paper: MATH
    "aime2025": Kind("math_train*", "aime2025*", math_problem, (512, 1024, 2048)),     # to AIME
    "code_contests": Kind("code_contests*", "", code_contests_problem, (256, 512, 1024), PROGRAMS,
                          grade_program),
    "humaneval": Kind("humaneval*", "", humaneval_problem, (128, 256), FUNCTIONS, grade_function),
}
TASKS: dict[str, Callable[[Source], Task]] = {
    "sums": sums, "addition": addition,
    **{name: functools.partial(from_files, name, kind) for name, kind in KINDS.items()}}
