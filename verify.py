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
import textwrap

from grading.answers import math_equal
from grading.extraction import extract_answer
from grading.sandbox import Verdict, run_tests
from utils.errors import UserError
from utils.problem_files import Problem
from utils.reasoning import after_reasoning


# ---- the program in a completion ----------------------------------------------------------------
# A block ends at its closing fence, before a fence that opens another one, or where the text is cut
# off. A list's number may stand before its fence, and a fence deeper in it is one of a docstring.
BLOCK = re.compile(r"""
    ^ (?P<indent> (?: [^`~\n]* [ \t] )? )                    # "   ```python", "1. ```python"
    (?P<marks> `{3,} | ~{3,} ) [ \t]*                        # three marks or more
    (?P<language> [\w.+-]* ) [^`\n]* (?: \n | \Z )          # python; python:main.py
    (?: [ \t\r]* \n )*
    (?P<code> (?P<margin> (?P=indent) )? .*? )
    (?: (?: ^ (?P=indent)? [ ]{0,3} | (?<= [^\s`~] ) )       # a line of its own, or print(3)```
        (?P<closing> (?P=marks) ) [`~]* [ \t\r]* $
      | (?= ^ (?P=indent)? [ ]{0,3} (?P=marks) [ \t]* \w )
      | \Z )
    """, re.VERBOSE | re.MULTILINE | re.DOTALL)
PYTHON = re.compile("(i?py(thon)?(3([.][0-9]+)?)?)?")      # the languages that count; or none
READS_INPUT = re.compile(r"""
    ^ [^#\n]*?                                             # not in a comment
    \b (?: input \s* \( | stdin \b (?! \s* = [^=] )        # not sys.stdin = StringIO("1 2")
         | fileinput \b | (?: open | read | mmap ) \( \s* 0 )
    """, re.VERBOSE | re.MULTILINE)
# A function's body: comments, then an indented line; to the first line that is not indented
BODY = re.compile(r"(?: [ \t]* (?: [#].* )? \n )* [ \t]+ [^\s#]", re.VERBOSE)
END_OF_BODY = re.compile(r"^[^\s#)\]}]", re.MULTILINE)


def extract_program(text: str, wanted: re.Pattern = re.compile("")) -> str:
    """The last ```python block with `wanted` in it, cut off or not, else one of no language.

    If none has it, likewise without `wanted`; without any such block, the text before the first
    block. A thinking model's thoughts do not count.
    """
    def rank(block: tuple[str, str]) -> tuple[bool, ...]:
        language, code = block
        return bool(wanted.search(code)), bool(language)

    return sorted(_code_blocks(text), key=rank)[-1][1]


def _code_blocks(text: str) -> list[tuple[str, str]]:
    """(language, code) of the blocks of Python and of no language, else of the text before any."""
    text = after_reasoning(text)
    found = list(BLOCK.finditer(text))
    before = text[:found[0].start()] if found else text

    # print(3)\n```: the prompt opened the block. The fence that closes it was taken for one that
    # opens another, so later ones pair wrongly and one stays unclosed. Not so behind "Here it is:"
    unpaired = any(not x["language"] and x["closing"] is None for x in found)
    if unpaired and not found[0]["language"] and re.search(r"[^:\s]\s*\Z", before):
        found = list(BLOCK.finditer("```python\n" + text))

    blocks = []
    for block in found:
        language = block["language"].lower()
        if PYTHON.fullmatch(language):
            margin = re.escape(block["margin"] or "")
            blocks.append((language, re.sub(f"(?m)^{margin}", "", block["code"])))
    return blocks or [("", before)]


def extract_function(text: str, header: str, name: str) -> list[str]:
    """Programs to run one after the other; the last is the answer, those before may fail.

    The answer is the last block that defines the function, else the header with the block as the
    function's body. Before it come the header's imports and helpers, and the earlier blocks.
    """
    definition = re.compile(rf"""
        ^ (?: (?: async [ \t]+ )? (?: def | class ) [ \t]+ {name} \b      # def name(
          | {name} [ \t]* (?: : [^=\n]* )? = (?! = ) )                    # name = lambda x:
        """, re.VERBOSE | re.MULTILINE)

    def rank(i: int) -> tuple[bool, ...]:
        language, code = blocks[i]
        return bool(definition.search(code)), bool(BODY.match(code)), bool(language)

    blocks = _code_blocks(text)
    last = sorted(range(len(blocks)), key=rank)[-1]
    *helpers, code = [code for _, code in blocks[:last + 1]]
    in_header = definition.search(header)
    if definition.search(textwrap.dedent(code)):
        code = textwrap.dedent(code)                       # all of it is indented, as in a list
    elif in_header and BODY.match(code):
        code = header + END_OF_BODY.split(code, 1)[0]
    return [header[:in_header.start()] if in_header else "", *helpers, code]


# ---- rewards ------------------------------------------------------------------------------------
MEGABYTES = 1024       # memory of a model's program (ours: CodeContests says 256, for C++)


def grade_answer(text: str, problem: Problem, truncated: bool = False) -> float:
    answer = extract_answer(text, truncated)
    return float(answer is not None and math_equal(answer, problem.answer))


def grade_program(text: str, problem: Problem, truncated: bool = False) -> float:
    # A block that shows how to use the program does not read the input
    has_input = any(stdin.strip() for stdin, _ in problem.tests)
    program = extract_program(text, READS_INPUT) if has_input else extract_program(text)
    program = textwrap.dedent(program)
    return reward_of(run_tests(program, problem.tests, problem.seconds, MEGABYTES))


def grade_function(text: str, problem: Problem, truncated: bool = False) -> float:
    """Runs the problem's check behind the function: only if it ends, the secret is printed.

    The parts run as HumanEval's own harness does it (openai/human-eval, execution.py): by exec in
    one namespace, empty at first; __name__ is not "__main__", and what is printed is not looked at.
    """
    # Function and check share a process: this does not stop a function that cheats on purpose
    name = problem.entry_point or re.findall(r"check\((\w+)\)", problem.check)[-1]
    *helpers, answer = extract_function(text, problem.question, name)
    secret = f"secret-{secrets.token_hex(8)}"
    program = f"""
import contextlib, os
end, stdout = os._exit, os.dup(1)
os.dup2(2, 1)
names = {{}}
for helper in {helpers!r}:
    with contextlib.suppress(BaseException):
        exec(helper, names)
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
