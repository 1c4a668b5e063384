r"""What a reward is: is the answer in this completion correct, does its program pass the tests?

    python -m demos.verdicts                   # answers and programs with their verdicts, 1 second
    python -m demos.verdicts "\frac12" "0.5"   # are these two answers equal?

    r = 1 if math_equal(extract_answer(completion), gold), else 0
    r = 1 if run_tests(extract_program(completion), tests, seconds, megabytes).passed, else 0

`extract_answer` (grading/extraction.py) looks where a human reader looks: the last \boxed{}, else
<answer> tags, else the number behind the "####" of GSM8K, else "the answer is ...", else the last
number, unless the completion ran out of tokens. `math_equal` (grading/answers.py)
brings both answers to one notation and compares them by the first kind that fits: choice, word,
union, list, equation, matrix, set or tuple; and the parts of these, or else the whole answers, by
their values: exactly if they are rational, else at three random points to 300 digits. In doubt they
differ, as 0.333 and 1/3 do, since a wrong "equal" rewards a wrong answer. `run_tests`
(grading/sandbox.py) runs programs within limits.

Deviations from the paper: (1) it does not say when two answers are equal; grading/ decides it.
"""
import re
import secrets

from grading.answers import math_equal
from grading.extraction import extract_answer
from grading.sandbox import Verdict, run_tests
from utils.errors import UserError
from utils.problem_files import Problem
from utils.reasoning import after_reasoning


# ---- the program in a completion ----------------------------------------------------------------
FENCE = re.compile(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n?", re.MULTILINE)       # ```python; its language


def extract_program(text: str) -> str:
    """The last ```python block of a completion, cut off or not, else the last block of no language.

    Else the whole text, or, if the prompt has opened the block, the text before the fence that
    closes it. A thinking model's thoughts do not count.
    """
    # "Try:\n```python\nprint(1)\n```\nDone." is split into what is before, "Try:\n", and for each
    # fence its language and the text behind it: ("python", "print(1)\n"), ("", "Done.")
    before, *parts = FENCE.split(after_reasoning(text))
    fences = list(zip(parts[0::2], parts[1::2]))

    # Every second fence opens a block; the other ones close it
    blocks = fences[0::2]
    python = [code for language, code in blocks if language.lower() in ("python", "python3", "py")]
    plain = [code for language, code in blocks if not language]
    if python:
        return python[-1]

    # Code, then an odd number of fences: the first one closes the block that the prompt has opened
    odd = len(fences) % 2 == 1
    if odd and before.strip() and not fences[0][0]:
        return before
    return plain[-1] if plain else before


def complete_function(header: str, name: str, code: str) -> str:
    """A program with HumanEval's function. code: the whole function, or what follows the header."""
    definition = re.compile(rf"^def {name}\b", re.MULTILINE)
    in_header = definition.search(header)
    if in_header and definition.search(code):
        return header[:in_header.start()] + code             # with the header's imports, helpers
    # The body ends before the first line that is not indented
    end_of_body = re.search(r"^[^\s#)\]}]", code, re.MULTILINE)
    return header + (code[:end_of_body.start()] if end_of_body else code)


# ---- rewards ------------------------------------------------------------------------------------
MEGABYTES = 1024       # memory of a model's program (ours: CodeContests says 256, for C++)


def grade_answer(text: str, problem: Problem, truncated: bool = False) -> float:
    answer = extract_answer(text, truncated)
    return float(answer is not None and math_equal(answer, problem.answer))


def grade_program(text: str, problem: Problem, truncated: bool = False) -> float:
    return reward_of(run_tests(extract_program(text), problem.tests, problem.seconds, MEGABYTES))


def grade_function(text: str, problem: Problem, truncated: bool = False) -> float:
    """Runs HumanEval's check behind the function: only if the check ends, the secret is printed."""
    # Function and check share a process: this does not stop a function that cheats on purpose
    name = re.findall(r"check\((\w+)\)", problem.check)[-1]
    function = complete_function(problem.question, name, extract_program(text))
    secret = secrets.token_hex(8)
    program = ("import sys\nsys.stdout = sys.stderr\n"
               f"{function}\n{problem.check}\n"
               f"print({secret!r}, file=sys.__stdout__)\n")
    return reward_of(run_tests(program, [("", secret)], problem.seconds, MEGABYTES))


def reward_of(verdict: Verdict) -> float:
    """0 or 1. Raises UserError if the program could not be run: it is neither right nor wrong."""
    if verdict.status == "unsupported":
        raise UserError(f"programs cannot be run here: {verdict.reason}")
    return float(verdict.passed)
