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
import textwrap
from typing import Callable

from grading.answers import LONGEST, math_equal
from grading.sandbox import Verdict, run_tests
from utils.errors import UserError
from utils.problem_files import Problem


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


def extract_answer(text: str) -> str | None:
    """The final answer of a completion, or None. A thinking model's thoughts do not count."""
    # assignment 11
    text = _without_thinking(text)

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

    # The last number
    numbers = re.findall(NUMBER, text, re.VERBOSE)
    return numbers[-1] if numbers else None


def _without_thinking(text: str) -> str:
    """What follows a thinking model's last </think>; "" if it was cut off while it was thinking."""
    if "<think>" in text and "</think>" not in text:
        return ""
    return text.rsplit("</think>", 1)[-1]


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
FENCE = re.compile(r"""
    ^ (?P<indent> [ \t]* (?: (?:[-*+]|\d+[.)]) [ \t]+ )? )    # perhaps in a list: "1. ```python"
    (?P<marks> `{3,} | ~{3,} ) [ \t]*                         # three marks or more
    [{.]* (?P<language> [\w.+-]* ) [^`\n]* (?: \n | \Z )      # python; {.python}; python:main.py
    """, re.VERBOSE | re.MULTILINE)
LATE_FENCE = re.compile(r"""
    ^ ( [^`\n]* [^`\s] [ \t]* )                               # what should be a line of its own
    ( ``` (?: py\w* )? [ \t\r]* ) $                           # Answer: ```python; print(3)```
    """, re.VERBOSE | re.MULTILINE | re.IGNORECASE)
PYTHON = re.compile("(i?py(thon)?(3([.][0-9]+)?)?)?")          # the languages that count; or none
READS_INPUT = re.compile(r"""
    ^ [^#\n]*?                                  # not in a comment
    (?: \b input \s* \(                         # input()
      | \b stdin \b (?! \s* = [^=] )            # sys.stdin, but not sys.stdin = StringIO("1 2")
      | \b (?: open | read | mmap ) \( \s* 0     # open(0), os.read(0, n), mmap.mmap(0, 0)
      | \b fileinput \b )
    """, re.VERBOSE | re.MULTILINE)
BODY = re.compile(r"""
    (?: [ \t]* (?: [#] .* )? \n )*              # empty lines and comments, then an indented line
    [ \t]+ [^\s#]
    """, re.VERBOSE)
END_OF_BODY = re.compile(r"^[^\s#)\]}]", re.MULTILINE)         # the first line that is not indented


def extract_program(text: str, wanted: re.Pattern = re.compile("")) -> str:
    """The last ```python block with `wanted` in it, cut off or not, else one of no language.

    Else the last block, else the whole text. A thinking model's thoughts do not count.
    """
    blocks = _code_blocks(text)
    python = [code for language, code in blocks if language]
    plain = [code for language, code in blocks if not language]
    for codes in python, plain:
        found = [code for code in codes if wanted.search(code)]
        if found:
            return found[-1]
    return (python or plain)[-1]


def _code_blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of the blocks of Python or of no language, as Markdown fences them.

    Without any block, the text before the first fence is one.
    """
    text = LATE_FENCE.sub(r"\1\n\2", _without_thinking(text))
    before = FENCE.split(text, 1)[0]
    # Code, then one fence too many, unless the last block is cut off: the prompt has opened a block
    languages = [fence["language"] for fence in FENCE.finditer(text)]
    odd = languages and (len(languages) + bool(languages[-1])) % 2 == 1
    if odd and not languages[0] and before.strip() and not before.rstrip().endswith(":"):
        text = "```python\n" + text

    # A fence of the same marks, or more, closes a block; if it has a language, it opens the next
    blocks, opening = [], None
    for fence in FENCE.finditer(text):
        if opening:
            deeper = len(fence["indent"]) > len(opening["indent"]) + 3       # in a docstring
            if deeper or opening["marks"] not in fence["marks"]:
                continue
            blocks.append(_block(opening, text[opening.end():fence.start()]))
        opening = fence if fence["language"] or not opening else None
    if opening:
        blocks.append(_block(opening, text[opening.end():]))
    ours = [(language, code) for language, code in blocks if PYTHON.fullmatch(language)]
    return ours or [("", before)]


def _block(opening: re.Match, code: str) -> tuple[str, str]:
    """(language, code without the indent of its fence)"""
    indent = re.match(r"(?:[ \t\r]*\n)*([ \t]*)", code)
    most = min(len(opening["indent"]), len(indent[1]) if indent else 0)
    return opening["language"].lower(), re.sub(rf"^[ \t]{{,{most}}}", "", code, flags=re.MULTILINE)


def extract_function(text: str, header: str, name: str) -> list[str]:
    """Programs to run one after the other; the last is the answer, those before may fail.

    The answer is the last block that defines the function, after the imports and helpers of the
    header and of the blocks before it. Else it is the header with the block as the function's body.
    """
    definition = re.compile(rf"""
        ^ (?: (?: async [ \t]+ )? (?: def | class ) [ \t]+ {name} \b      # def name(
          | {name} [ \t]* (?: : [^=\n]* )? = (?! = ) )                    # name = lambda x:
        """, re.VERBOSE | re.MULTILINE)
    in_header = definition.search(header)
    imports = header[:in_header.start()] if in_header else ""
    blocks = _code_blocks(text)
    codes = [code for _, code in blocks]

    # The whole function; perhaps all of its lines are indented, as in a list
    for indented in codes, [textwrap.dedent(code) for code in codes]:
        defining = [i for i, code in enumerate(indented) if definition.search(code)]
        if defining:
            helpers = [code for code in indented[:defining[-1]] if not definition.search(code)]
            return [imports, *helpers, indented[defining[-1]]]

    # What follows the header, up to the first line that is not indented
    codes = [code for language, code in blocks if language] or codes
    code = ([code for code in codes if BODY.match(code)] or codes)[-1]
    if in_header and BODY.match(code):
        return [header + END_OF_BODY.split(code, 1)[0]]
    return [imports, code]


# ---- rewards ------------------------------------------------------------------------------------
MEGABYTES = 1024       # memory of a model's program (ours: CodeContests says 256, for C++)


def grade_answer(text: str, problem: Problem,
                 extract: Callable[[str], str | None] = extract_answer) -> float:
    answer = extract(text)
    return float(answer is not None and math_equal(answer, problem.answer))


def grade_program(text: str, problem: Problem) -> float:
    # A block that shows how to use the program does not read the input
    has_input = any(stdin.strip() for stdin, _ in problem.tests)
    program = extract_program(text, READS_INPUT) if has_input else extract_program(text)
    program = textwrap.dedent(program)
    return reward_of(run_tests(program, problem.tests, problem.seconds, MEGABYTES))


def grade_function(text: str, problem: Problem) -> float:
    """Runs the problem's check behind the function: only if it ends, the secret is printed.

    Each part runs as HumanEval's own harness does it (openai/human-eval, execution.py): by exec in
    an empty namespace, where __name__ is not "__main__"; what it prints is not looked at.
    """
    # Function and check share a process: this does not stop a function that cheats on purpose
    name = problem.entry_point or re.findall(r"check\((\w+)\)", problem.check)[-1]
    *helpers, answer = extract_function(text, problem.question, name)
    secret = f"secret-{secrets.token_hex(8)}"
    program = f"""
import os
end, stdout = os._exit, os.dup(1)
os.dup2(2, 1)
names = {{}}
for helper in {helpers!r}:
    try:
        exec(helper, names)
    except BaseException:
        pass
exec({answer!r}, names)
exec({problem.check!r}, names)
os.write(stdout, {secret.encode()!r})
end(0)
"""
    return reward_of(run_tests(program, [("", secret)], problem.seconds, MEGABYTES))


def reward_of(verdict: Verdict) -> float:
    """0 or 1. Raises UserError if the program could not be run: it is neither right nor wrong."""
    if verdict.status == "unsupported":
        raise UserError(f"programs cannot be run here: {verdict.reason}")
    return float(verdict.passed)
