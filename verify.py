r"""The reward: is the answer in this text correct, does the program in it pass its tests?

    python verify.py                          # answers and programs with their verdicts, 1 second
    python verify.py "\frac12" "0.5"          # does the answer say what the gold answer says?

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
import functools
import itertools
import re

from cli import Parser, run
from notation import (NAME, RELATION, inside, interval, is_name, items, normal, sides, signs, split,
                      union)
from sandbox import run_tests
from symbols import WORDS, constant, equal_values, proportional

LONGEST = 1000      # ours: characters, of MATH's at most 159; longer texts are equal or differ
MOST_ITEMS = 64     # ours: of a list, whose items meet in pairs

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


# ---- equality -----------------------------------------------------------------------------------
CHOICE = re.compile(r"\(([A-Za-z])\)|([A-Z])[.):]?")
CHOICE_AND_MORE = re.compile(r"(?:\(([A-Z])\)|([A-Z])[).:])[^-+*/^=(,]")
WORD = re.compile(r"-?(?=.*[A-Za-z]{3}|[A-Z]{2})[A-Za-z][A-Za-z\d.'-]*")
MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}")


@functools.lru_cache(2 ** 16)        # of a problem's samples many end in the same answer
def math_equal(answer: str, gold: str) -> bool:
    """Whether the answer says what the gold answer says; never raises.

    Symmetric, but for what a question says and an answer may leave out: the gold x = 5 takes 5, and
    2516_8 takes 2516; a bare gold 5 takes the right side of any equation but f = 0.
    """
    answer, gold = answer.strip(), gold.strip()
    if max(len(answer), len(gold)) > LONGEST:
        return answer == gold
    answer, gold = normal(answer), normal(gold)
    if not answer or not gold:
        return False
    for one, other in ((answer, gold), (gold, answer)):
        if choice := CHOICE.fullmatch(one):
            if named := CHOICE.fullmatch(other) or CHOICE_AND_MORE.match(other):
                return (choice[1] or choice[2]).upper() == (named[1] or named[2]).upper()
    try:
        return _equal(answer, gold)
    except RecursionError:                                                # nested without end
        return False


def _equal(a: str, b: str) -> bool:
    """Equality of normal forms; b is the gold answer."""
    if a == b:
        return True
    a, b = _unwrapped(a), _unwrapped(b)
    if (_is_word(a) or _is_word(b)) and "=" not in a + b:
        return re.sub(r"[^\w-]", "", a).casefold() == re.sub(r"[^\w-]", "", b).casefold()
    for parts in (union, items):
        xs, ys = parts(a), parts(b)
        if max(len(xs), len(ys)) > 1:
            return _same_items(xs, ys) if parts is union else _equal_lists(a, b, xs, ys)
    if RELATION.search(a + b):
        return _equal_relations(a, b)
    if MATRIX.fullmatch(a) or MATRIX.fullmatch(b):
        return _equal_matrices(MATRIX.fullmatch(a), MATRIX.fullmatch(b))
    if (one := inside(a)) and (two := inside(b)) and max(len(one), len(two)) > 1:
        compare = _same_items if a[0] == "⦃" else _in_order
        return a[0] + a[-1] == b[0] + b[-1] and compare(one, two)
    return equal_values(a, b)


def _unwrapped(text: str) -> str:
    r"""Without x \in, and without the braces of a set of one."""
    text = re.sub(rf"^{NAME.pattern}\\in\b\s?", "", text)
    return text[1:-1] if text[:1] == "⦃" and len(signs(inside(text) or [])) == 1 else text


def _is_word(text: str) -> bool:
    return bool(WORD.fullmatch(text)) and not re.search("|".join(WORDS), text)


# ---- equality, kind by kind ---------------------------------------------------------------------
def _in_order(xs: list[str], ys: list[str]) -> bool:
    return len(xs) == len(ys) <= MOST_ITEMS and all(map(_equal, xs, ys))


def _same_items(xs: list[str], ys: list[str]) -> bool:
    """Whether the items match one to one in some order."""
    xs, ys = signs(xs), signs(ys)
    if len(xs) != len(ys) or len(xs) > MOST_ITEMS:
        return False
    for x in xs:
        partner = next((y for y in ys if _equal(x, y)), None)
        if partner is None:
            return False
        ys.remove(partner)
    return True


def _equal_lists(a: str, b: str, xs: list[str], ys: list[str]) -> bool:
    """Lists without brackets: solutions in any order, which a set may hold too. The order counts
    among words, against a tuple, and where names say it: AB = 9, CD = 4 against 9, 4."""
    names = [{x.split("=")[0] for x in zs if "=" in x} for zs in (xs, ys)]
    ordered = any(map(_is_word, xs)) or min(map(len, names)) == 0 and max(map(len, names)) > 1
    brackets = [text[0] + text[-1] for text, zs in ((a, xs), (b, ys))
                if len(zs) == 1 and inside(text)]
    if brackets:
        xs, ys = inside(a) or xs, inside(b) or ys
        if brackets[0] not in ("()", "⦃⦄"):
            return False
    return (_in_order if ordered or brackets == ["()"] else _same_items)(xs, ys)


def _equal_relations(a: str, b: str) -> bool:
    """Equations and inequalities, or one beside a value."""
    (name_a, set_a), (name_b, set_b) = interval(a), interval(b)
    if name_a or name_b:
        return (name_a == name_b or not name_a or not name_b) and _equal(set_a, set_b)
    xs, ys = sides(a), sides(b)
    if not set(xs[1::2] + ys[1::2]) <= {"="}:
        return xs[1::2] == ys[1::2] and _in_order(xs[::2], ys[::2])
    (x, value_x), (y, value_y) = _assignment(xs), _assignment(ys)
    if len(ys) == 1:                                         # a curve f = 0 does not answer 0
        return (bool(value_x) or xs[-1] != "0") and _equal(value_x or xs[-1], b)
    if len(xs) == 1:
        return (_equal(a, value_y) if value_y else
                all(map(constant, ys[::2])) and any(_equal(a, side) for side in ys[::2]))
    if x and x == y and _equal(value_x, value_y):
        return True
    if bool(x and constant(value_x)) != bool(y and constant(value_y)):    # 2x = 10 isn't solved
        return False
    return len(xs) == len(ys) == 3 and proportional(f"{xs[0]}-({xs[2]})", f"{ys[0]}-({ys[2]})")


def _assignment(xs: list[str]) -> tuple[str, str]:
    """(name, value) of x = 5, 5 = x or x = 2 + 3 = 5; ("", "") of another equation or a value."""
    if len(xs) > 1 and (is_name(xs[0]) or not xs[0]):
        return xs[0], xs[-1]
    return (xs[2], xs[0]) if len(xs) == 3 and is_name(xs[2]) else ("", "")


def _equal_matrices(a: re.Match | None, b: re.Match | None) -> bool:
    if not a or not b:
        return False
    one, two = ([split(row, "&") for row in x[2].strip("¶").split("¶")] for x in (a, b))
    return len(one) == len(two) and all(map(_in_order, one, two))


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


# ---- as a program: texts with their verdicts ----------------------------------------------------
CASES = [(r"so it is \boxed{\frac12}.", "0.5"), (r"The answer is $x = \pm 2$.", "-2, 2"),
         ("so each has #### 1,234", "1234"), ("The answer is 0.333.", "1/3"),
         (r"\boxed{x > 5}", r"(5,\infty)"), (r"\boxed{(1,2]}", "[1,2]"),
         (r"\boxed{\{3, 1\}}", r"\{1, 3\}"), (r"\boxed{2\sqrt{2}}", r"\sqrt{8}"),
         ("<think>The answer is 3.</think> It is 2.", "2"), (r"cut off: \boxed{12", "12")]
PROGRAMS = ["print(sum(map(int, input().split())))", "print(input())", "while True: pass"]


def main() -> None:
    parser = Parser(prog="verify.py", description="Grades answers; without any, shows how.")
    parser.add_argument("pair", nargs="*", help=r'an answer and the gold one, "\frac12" "0.5"; '
                        'behind "--" where one begins with "-"')
    pair = parser.parse_args().pair
    if len(pair) not in (0, 2):
        parser.error("an answer and the gold answer, or nothing")
    if pair:
        return print("equal" if math_equal(*pair) else "different")
    print(f"{'text':42}{'its answer':20}{'gold answer':14}verdict")
    for text, gold in CASES:
        answer = extract_answer(text)
        right = answer is not None and math_equal(answer, gold)
        print(f"{text:42}{str(answer):20}{gold:14}{'right' if right else 'wrong'}")
    print(f"\n{'program, given 1 2, to print 3':42}verdict")
    for code in PROGRAMS:
        program = extract_program(f"```python\n{code}\n```")
        print(f"{code:42}{run_tests(program, [('1 2', '3')], seconds=1, megabytes=256).status}")


if __name__ == "__main__":
    run("verify.py", main)
