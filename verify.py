r"""What a reward is: is the answer in this completion correct, does its program pass the tests?

    python -m demos.verdicts                   # answers and programs with their verdicts, 1 second
    python -m demos.verdicts "\frac12" "0.5"   # are these two answers equal?

    r = 1 if math_equal(extract_answer(completion), gold), else 0
    r = 1 if run_tests(extract_program(completion), tests, seconds, megabytes).passed, else 0

`extract_answer` looks where a human reader looks: the last \boxed{}, else the number behind the
"####" of GSM8K, else "the answer is ...", else the last number. `math_equal` (grading/answers.py)
brings both answers to one notation and compares them by the first kind that fits: choice, word,
union, list, equation, matrix, set or tuple; and the parts of these, or else the whole answers, by
their values: exactly if they are rational, else at three random points to 200 digits. In doubt they
differ, as 0.333 and 1/3 do, since a wrong "equal" rewards a wrong answer. `run_tests`
(grading/sandbox.py) runs programs within limits.

Deviations from the paper: (1) it does not say when two answers are equal; grading/ decides it.
"""
import re
import secrets

from grading.answers import LONGEST, math_equal
from grading.sandbox import Verdict, run_tests
from utils.errors import UserError
from utils.problem_files import Problem
from utils.reasoning import after_reasoning


# ---- the answer in a completion -----------------------------------------------------------------
# re.VERBOSE skips spaces and comments in a pattern; there [ ] is a space and [#] is a "#".
NUMBER = r"""
    (?: (?<![\w)}]) - )?             # a minus sign, but not the one of 7-5
    (?: \\[dt]?frac\{\d+\}\{\d+\}    # \frac{1}{2}, or digits: 12  1,234.50  .5  1/2
      | (?: \d+ (?:,\d{3})* (?:\.\d+)? | \.\d+ ) (?:/\d+)? )"""
BOX_OR_BRACE = re.compile(r"""
    \\ (?:boxed|fbox)                # a box ..
    (?: \s* (?P<open>\{)             #     .. that opens with a brace: \boxed{x+1}
      | \s* (?P<bare>[\w./-]+) )     #     .. or has no braces: \boxed 7
    | \\ .                           # an escaped character: \{ is not a brace
    | [{}]                           # a brace
    """, re.VERBOSE | re.DOTALL)
GSM8K = re.compile(rf"""
    [#]{{4}} [ \t]* \$? ({NUMBER})   # the mark "####", perhaps a dollar sign, the answer,
    (?= [ \t]* (?:%|[a-z]+)? \.? [ \t]* $ )    # and to the line's end a unit, a full stop
    """, re.VERBOSE | re.MULTILINE)
ANSWER_IS = re.compile(r"""
    \b answers? \b                               # "answer" or "answers"
    (?: [ ] (?:to|for|of) [ ] [^.\n]{1,100}? )?  # perhaps "to the question"
    [\s*]*                                       # spaces, and the stars of **bold** text
    (?: (?: is | are | was | (?:should|must|will|would) [ ] be ) \b    # a verb
      | [:=\n] )                                 # or a sign in its place
    [\s:*]*
    (?: (?:therefore|thus|indeed|simply|just|then|hence) \b ,? \s* )?  # "is therefore 5"
    """, re.VERBOSE | re.IGNORECASE)
FORMULA = re.compile(r"""
    \$\$? ([^$]+) \$\$? | \\\( (.+?) \\\) | \\\[ (.+?) \\\]     # $x$ or $$x$$, \(x\), \[x\]
    """, re.VERBOSE | re.DOTALL)
NUMBER_ENDS = re.compile(rf"""
    ({NUMBER}) (?= [.,;!*\s]* $                      # after the number the line ends,
      | [.,;]? \s+ (?! (?:and|or) [ ] [-$\\\d] ) [a-z(] )    # or goes on in words, not "and 2"
    """, re.VERBOSE)


def extract_answer(text: str, truncated: bool = False) -> str | None:
    """The final answer of a completion, or None. A thinking model's thoughts do not count.

    truncated: it ran out of tokens. Then its last number belongs to a solution that goes on, and is
    no answer: only one in the form that the prompt asked for counts.
    """
    # assignment 11
    text = after_reasoning(text)

    # The last box; there is no answer if the only box was cut off
    boxes, cut_off = _boxes(text)
    if boxes or cut_off:
        return boxes[-1] if boxes else None

    # The last number behind "####", as in GSM8K
    marked = GSM8K.findall(text)
    if marked:
        return marked[-1]

    # The last "the answer is" that an answer follows
    for said in reversed(list(ANSWER_IS.finditer(text))):
        answer = _answer_at_start(text[said.end():said.end() + LONGEST])
        if answer:
            return answer

    # The last number, if the completion ended by itself
    if truncated:
        return None
    numbers = re.findall(NUMBER, text, re.VERBOSE)
    return numbers[-1] if numbers else None


def _boxes(text: str) -> tuple[list[str], bool]:
    """(contents of the complete boxes that are not empty, as they open; is one cut off?)"""
    first = re.search(r"\\boxed|\\fbox", text)
    if not first:
        return [], False
    opened = []                        # the boxes and braces that are open at this point
    content = {}                       # where a box begins -> what it contains
    for found in BOX_OR_BRACE.finditer(text, first.start()):
        if found["open"] or found[0] == "{":
            opened.append(found)
        elif found["bare"]:
            content[found.start()] = found["bare"].rstrip(".")
        elif found[0] == "}" and opened:
            start = opened.pop()
            if start["open"]:
                content[start.start()] = text[start.end():found.start()].strip()

    # A box inside another one closes first, so put them in the order in which they open
    boxes = [content[start] for start in sorted(content) if content[start]]
    return boxes, any(brace["open"] for brace in opened)


def _answer_at_start(text: str) -> str:
    """The answer at the start of what follows "the answer is"."""
    # A dollar sign before an amount of money, $5, opens no formula, $x$
    if re.match(r"\$[\d,.]+(?:\s|$)", text):
        text = text[1:]

    # A formula, unless it is the first of several: $1$ and $2$
    formula = FORMULA.match(text)
    if formula and not re.match(r",? *(?:and|or)? *[$\\]", text[formula.end():]):
        return next(filter(None, formula.groups())).strip()

    # A number, or else everything up to the end of the sentence, or up to "because" and the like
    line = text.split("\n")[0]
    number = NUMBER_ENDS.match(line)
    if number:
        return number[1]
    return re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0].strip(" $*")


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
