r"""Are two answers equal? Their structure is compared here, their values in expressions.py.

    answer           gold answer    equal?
    \dfrac12         0.5            yes: one value
    5                x = 5          yes: the question names x
    (c)              (C) 12         yes: one choice
    2, 1             1, 2           yes: solutions come in any order
    (2, 1)           (1, 2)         no: the order of a tuple counts
    x > 5            (5, \infty)    yes: one interval
    (1, 2]           [1, 2]         no
    0.333            1/3            no: a rounded value is another value

`math_equal` brings both answers to one notation (notation.py). The first of these kinds that one of
them belongs to says how they are compared: choices, words, unions of intervals, lists, equations
and inequalities, matrices, then sets, tuples and intervals. Everything else is compared by value.
"""
import functools
import re

from grading.expressions import WORDS, constant, equal_values, proportional
from grading.notation import (NAME, RELATION, inside, interval, is_name, items, matrix, normal,
                              sides, signs, union)

LONGEST = 1000      # ours: characters; MATH has at most 159. Longer answers must be the same text
MOST_ITEMS = 64     # ours: of a list or a set, because each item may be compared with each
CHOICE = re.compile(r"\(([A-Za-z])\)|([A-Z])[.):]?")                        # (C), (c), C, C. or C)
CHOICE_AND_MORE = re.compile(r"(?:\(([A-Z])\)|([A-Z])[).:])[^-+*/^=(,]")    # (C) 12, not (C)+1
# One word, with three letters or two capitals in a row
WORD = re.compile(r"-?(?=.*[A-Za-z]{3}|[A-Z]{2})[A-Za-z][A-Za-z\d.'-]*")


@functools.lru_cache(2 ** 16)        # many samples of one problem end in the same answer
def math_equal(answer: str, gold: str) -> bool:
    """Whether the answer says what the gold answer says; never raises.

    It is symmetric, but an answer may leave out what the question says: 5 answers x = 5, and 2516
    answers 2516_8. The gold answer 5 accepts the right side of any equation except f = 0.
    """
    answer, gold = answer.strip(), gold.strip()
    if max(len(answer), len(gold)) > LONGEST:
        return answer == gold
    answer, gold = normal(answer), normal(gold)
    if not answer or not gold:
        return False
    # Choices: one stands alone, the other may stand before its text
    alone = [CHOICE.fullmatch(text) for text in (answer, gold)]
    named = [CHOICE.fullmatch(text) or CHOICE_AND_MORE.match(text) for text in (answer, gold)]
    if any(alone) and all(named):
        return len({(choice[1] or choice[2]).upper() for choice in named if choice}) == 1
    try:
        return _equal(answer, gold)
    except RecursionError:           # brackets are nested too deeply
        return False


def _equal(a: str, b: str) -> bool:
    """Equality of normal forms; b is the gold answer."""
    if a == b:
        return True
    a, b = _unwrapped(a), _unwrapped(b)
    if (_is_word(a) or _is_word(b)) and "=" not in a + b:
        return _letters(a) == _letters(b)
    # Unions of intervals, then lists without brackets. `union` gives [text] back if nothing can be
    # taken apart; [0,5) without 0 is one part, (0,5)
    xs, ys = union(a), union(b)
    if xs != [a] or ys != [b]:
        return _same_items(xs, ys)
    if len(items(a)) > 1 or len(items(b)) > 1:
        return _equal_lists(a, b)
    if RELATION.search(a + b):
        return _equal_relations(a, b)
    if matrix(a) or matrix(b):
        return len(matrix(a)) == len(matrix(b)) and all(map(_in_order, matrix(a), matrix(b)))
    # Sets, tuples and intervals: the brackets must be the same
    xs, ys = inside(a) or [], inside(b) or []
    if xs and ys and max(len(xs), len(ys)) > 1:
        same = _same_items if a[0] == "⦃" else _in_order
        return a[0] + a[-1] == b[0] + b[-1] and same(xs, ys)
    return equal_values(a, b)


def _unwrapped(text: str) -> str:
    r"""The text without "x \in" before it, and without the braces of a set of one item."""
    text = re.sub(rf"^{NAME.pattern}\\in\b\s?", "", text)
    if text[:1] == "⦃" and len(signs(inside(text) or [])) == 1:
        return text[1:-1]
    return text


def _is_word(text: str) -> bool:
    """Whether the text is a word, but not a function such as sin."""
    return bool(WORD.fullmatch(text)) and not re.search("|".join(WORDS), text)


def _letters(text: str) -> str:
    return re.sub(r"[^\w-]", "", text).casefold()


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


def _equal_lists(a: str, b: str) -> bool:
    """A list without brackets against another, a set or a tuple.

    | a | b | order of the items |
    |---|---|---|
    | 3, 4 | 4, 3 | any: they are solutions |
    | x = 3, x = 4 | 4, 3 | any: one name has two values |
    | AB = 9, CD = 4 | 9, 4 | the same: b leaves the names out |
    | A, C | C, A | any: single letters are no words |
    | red, blue | red, blue | the same: they are words (a is asked: a word equals no number) |
    | 1, 2 | (1, 2) | the same: b is a tuple |
    | red, blue | {blue, red} | any: b is a set |
    """
    xs, ys = items(a), items(b)
    names_a = {x.split("=")[0] for x in xs if "=" in x}
    names_b = {y.split("=")[0] for y in ys if "=" in y}
    several_names_are_left_out = not (names_a and names_b) and len(names_a | names_b) > 1
    # At most one of the two is a set or a tuple: take its items
    brackets = ""
    for text, parts in ((a, xs), (b, ys)):
        if len(parts) == 1 and inside(text):
            brackets = text[0] + text[-1]
    if brackets:
        xs, ys = inside(a) or xs, inside(b) or ys
    if brackets not in ("", "()", "⦃⦄"):
        return False
    of_words = not brackets and any(map(_is_word, xs))
    if several_names_are_left_out or of_words or brackets == "()":
        return _in_order(xs, ys)
    return _same_items(xs, ys)


def _equal_relations(a: str, b: str) -> bool:
    """Equations and inequalities, or one of them against a value."""
    # Inequalities of one name are intervals; the name may be missing
    (name_a, interval_a), (name_b, interval_b) = interval(a), interval(b)
    if name_a and name_b and name_a != name_b:
        return False
    if name_a or name_b:
        return _equal(interval_a, interval_b)
    # Other inequalities: the same signs between equal sides
    xs, ys = sides(a), sides(b)
    if set(xs[1::2] + ys[1::2]) - {"="}:
        return xs[1::2] == ys[1::2] and _in_order(xs[::2], ys[::2])
    # An equation against a value; a curve f = 0 does not answer 0
    (name_a, value_a), (name_b, value_b) = _assignment(xs), _assignment(ys)
    if len(ys) == 1 and value_a:
        return _equal(value_a, b)
    if len(ys) == 1:
        return xs[-1] != "0" and _equal(xs[-1], b)
    if len(xs) == 1 and value_b:
        return _equal(a, value_b)
    if len(xs) == 1:
        return all(map(constant, ys[::2])) and any(_equal(a, side) for side in ys[::2])
    # Two equations: one name with one value, or one curve; 2x = 10 is not solved, x = 5 is
    if name_a and name_a == name_b and _equal(value_a, value_b):
        return True
    solved_a = bool(name_a) and constant(value_a)
    solved_b = bool(name_b) and constant(value_b)
    if solved_a != solved_b or len(xs) != 3 or len(ys) != 3:
        return False
    return proportional(f"{xs[0]}-({xs[2]})", f"{ys[0]}-({ys[2]})")


def _assignment(xs: list[str]) -> tuple[str, str]:
    """(name, value) of x = 5, 5 = x or x = 2 + 3 = 5; ("", "") of another equation or a value."""
    if len(xs) > 1 and (is_name(xs[0]) or not xs[0]):
        return xs[0], xs[-1]
    if len(xs) == 3 and is_name(xs[2]):
        return xs[2], xs[0]
    return "", ""
