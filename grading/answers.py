r"""Are two answers equal? Their structure is compared here, their values in expressions.py."""
import functools
import re

from grading.expressions import WORDS, constant, equal_values, proportional
from grading.notation import (NAME, RELATION, inside, interval, is_name, items, normal, sides, signs,
                              split, union)

LONGEST = 1000      # ours: characters, of MATH's at most 159; longer texts are equal or differ
MOST_ITEMS = 64     # ours: of a list, whose items meet in pairs
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


