r"""The reward: is the answer in this text correct, does the program in it pass its tests?

    python -m demos.verdicts                          # answers and programs with their verdicts, 1 second
    python -m demos.verdicts "\frac12" "0.5"          # does the answer say what the gold answer says?

    answer = extract_answer(text);  r = answer is not None and math_equal(answer, gold)
    r = sandbox.run_tests(extract_program(text), [("1 2\n", "3\n")], seconds=10, ..).passed

Answers are looked for as a reader would: the last \boxed{}, else what follows the last "####" of
GSM8K, else "the answer is ...", else the last number. Both answers are brought to one notation
(notation.py), then compared by their structure: choices, words, lists, tuples, intervals, matrices
and relations; and at the leaves by value (symbols.py). What is wrongly called equal rewards a wrong
answer, so where the texts leave a doubt the answers differ: 0.333 is not 1/3.

Programs run in sandbox.py, within limits.

Deviations from the paper: (1) which answers are equal is ours to say, in the files named above.
"""
import itertools
import re
import secrets
from typing import Callable

from grading.answers import LONGEST, math_equal
from grading.sandbox import Verdict, run_tests
from utils.errors import UserError
from utils.problem_files import Problem


# ---- the answer in a text -----------------------------------------------------------------------
NUMBER = (r"(?:(?<![\w)}])-)?(?:\\[dt]?frac\{\d+\}\{\d+\}|"
          r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:/\d+)?)")
BRACE = re.compile(r"\\(?:boxed|fbox)(?:\s*(?P<open>\{)|\s*(?P<bare>[\w./-]+))|\\.|[{}]", re.DOTALL)
GSM8K = re.compile(rf"####[ \t]*\$?({NUMBER})(?=[ \t]*(?:%|[a-z]+)?\.?[ \t]*$)", re.MULTILINE)
SAID = re.compile(r"\banswers?\b(?: (?:to|for|of) [^.\n]{1,100}?)?[\s*]*"
                  r"(?:(?:is|are|was|(?:should|must|will|would) be)\b|[:=\n])[\s:*]*"
                  r"(?:(?:therefore|thus|indeed|simply|just|then|hence)\b,?\s*)?", re.IGNORECASE)
MATHS = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


def extract_answer(text: str) -> str | None:
    """The final answer of a text, or None where there is none.

    Of a thinking model's text what `_spoken` says. A text whose only box never closes has none.
    """
    # assignment 11
    text = _spoken(text)
    boxes, cut_off = _boxes(text)
    if boxes or cut_off:
        return boxes[-1] if boxes else None
    if marked := GSM8K.findall(text):
        return marked[-1]
    for said in reversed(list(SAID.finditer(text))):
        if answer := _said(text[said.end():said.end() + LONGEST]):
            return answer
    numbers = re.findall(NUMBER, text)
    return numbers[-1] if numbers else None


def _spoken(text: str) -> str:
    """What follows a thinking model's last </think>; "" where <think> never closes: cut off."""
    if "<think>" in text and "</think>" not in text:
        return ""
    return text.rsplit("</think>", 1)[-1]


def _boxes(text: str) -> tuple[list[str], bool]:
    """What complete boxes enclose, in the order they open, without empty ones; is one cut off?"""
    opened, boxes = [], {}
    first = re.search(r"\\boxed|\\fbox", text)
    for found in BRACE.finditer(text, first.start()) if first else ():
        if found["open"] or found[0] == "{":
            opened.append(found)
        elif found["bare"]:
            boxes[found.start()] = found["bare"].rstrip(".")
        elif found[0] == "}" and opened:
            start = opened.pop()
            if start["open"]:
                boxes[start.start()] = text[start.end():found.start()].strip()
    return [boxes[i] for i in sorted(boxes) if boxes[i]], any(brace["open"] for brace in opened)


def _said(tail: str) -> str:
    """The answer at the beginning of what follows "the answer is"."""
    if re.match(r"\$[\d,.]+(?:\s|$)", tail):                     # money, unlike $x$
        tail = tail[1:]
    maths = MATHS.match(tail)
    if maths and not re.match(r",? *(?:and|or)? *[$\\]", tail[maths.end():]):          # $1$ and $2$
        return next(filter(None, maths.groups())).strip()
    line = tail.split("\n")[0]
    more = r"[.,;]?\s+(?!(?:and|or) [-$\\\d])[a-z(]"               # a sentence goes on, not a list
    if number := re.match(rf"({NUMBER})(?=[.,;!*\s]*$|{more})", line):
        return number[1]
    return re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0].strip(" $*")


# ---- programs -----------------------------------------------------------------------------------
def extract_program(text: str) -> str:
    """The last ```python block of a text, cut off or not, else the last block of no language.

    Without a block the text itself; where its prompt opened the block, the text before the fence
    that closes it. Of a thinking model's text what `_spoken` says.
    """
    before, *fenced = re.split(r"^[ \t]*```[ \t]*(\w*)[^\n]*\n?", _spoken(text),
                               flags=re.MULTILINE)
    blocks = list(zip(fenced[::4], fenced[1::4]))               # a fence opens, the next one closes
    python = [code for language, code in blocks if language.lower() in ("python", "python3", "py")]
    if python:
        return python[-1]
    closing = len(fenced) % 4 == 2 and before.strip() and not fenced[0]
    plain = [code for language, code in blocks if not language]
    return before if closing or not plain else plain[-1]


def complete(header: str, name: str, code: str) -> str:
    """A whole program of the function `name`, whose prompt was `header` (HumanEval).

    code: the whole function, or what goes on from the header; that ends at the first line that is
    indented no more.
    """
    own = re.compile(rf"^def {name}\b", re.MULTILINE)
    if (known := own.search(header)) and own.search(code):
        return header[:known.start()] + code                # imports and helpers
    body = itertools.takewhile(lambda line: not line.strip() or line[0] in " \t#)]}",
                               code.split("\n"))
    return header + "\n".join(body)


# ---- rewards ------------------------------------------------------------------------------------
MEGABYTES = 1024       # of a model's program (ours: CodeContests says 256, for C++)


def grade_answer(text: str, problem: Problem,
                 extract: Callable[[str], str | None] = extract_answer) -> float:
    answer = extract(text)
    return float(answer is not None and math_equal(answer, problem.answer))


def grade_program(text: str, problem: Problem) -> float:
    return reward_of(run_tests(extract_program(text), problem.tests, problem.seconds, MEGABYTES))


def grade_function(text: str, problem: Problem) -> float:
    """The check must come to its end: only there is the secret printed. What else it prints goes
    to stderr. (Function and check share a process: no test against an answer that cheats.)"""
    name = re.findall(r"check\((\w+)\)", problem.check)[-1]
    secret = secrets.token_hex(8)
    program = ("import sys\nsys.stdout = sys.stderr\n"
               f"{complete(problem.question, name, extract_program(text))}\n{problem.check}\n"
               f"print({secret!r}, file=sys.__stdout__)\n")
    return reward_of(run_tests(program, [("", secret)], problem.seconds, MEGABYTES))


def reward_of(verdict: Verdict) -> float:
    """r; a program that could not be run is neither right nor wrong: UserError."""
    if verdict.status == "unsupported":
        raise UserError(f"programs cannot be run here: {verdict.reason}")
    return float(verdict.passed)
