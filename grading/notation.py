r"""One notation for answers: LaTeX or plain text in, a normal form out, which answers.py compares.

    normal(r"\dfrac12 \text{ cm}")        \frac{1}{2}
    normal(r"10{,}080")                   10080
    normal(r"x \leq 5 or x > 7")          x\le 5,x>7
    interval(r"2<x\le5")                  ("x", "(2,5]")

`normal` removes units, styles and spaces, and writes each symbol in one way. The functions below it
take a normal form apart. The tables are ours: MATH's notation, and what LLMs write for it.
"""
import itertools
import re
from typing import Iterable

from grading.characters import plain
from grading.expressions import constant, value
from grading.units import COUNTED, MEANINGS, changes_a_number, is_unit

# Applied from first to last. \b ends a command: \le5 is \le and 5. ⦃ and ⦄ stand for \{ and \}, the
# braces of a set, because plain braces enclose LaTeX's arguments.
PATTERNS = [
    (r"\\\\(?:\[[^]]*\])?|\\cr\b", "¶"),                          # the next row of a matrix
    (r"\\\$|[$€£]|\\[()\[\]]|^\*\*|\*\*$", ""),                   # formula marks, money, bold
    (r"(?:(?<=[\d})])|(?<=\\pi)|(?<=\\pi ))\s*\\approx[\d.\s]+(?:\\text\s*\{[^{}]*\})?\s*$",
     ""),                                                        # \frac23 \approx 0.67 \text{ cm}
    # Sizes and spaces
    (r"\\!|\\(?:displaystyle|left|right|limits|[bB]igg?[lr]?)(?![a-zA-Z])\.?", ""),
    (r"\\phantom\s*(?:\{[^{}]*\}|.)", ""), (r"\\[,;: ]|~|\\q?quad\b", " "),
    # Matrices by another name
    (r"[(\[]\s*\\[b]egin\s*\{(?:array|matrix)\}\s*(?:\{[^{}]*\})?", r"\\begin{pmatrix}"),
    (r"\\end\s*\{(?:array|matrix)\}\s*[)\]]", r"\\end{pmatrix}"),
    # Brackets and bars
    (r"\\(?:lbrace\b|\{)", "⦃"), (r"\\(?:rbrace\b|\})", "⦄"), (r"\\langle\b", "("),
    (r"\\rangle\b", ")"), (r"\\(?:emptyset|varnothing)\b", "⦃⦄"), (r"\\[lr]?vert\b|\\mid\b", "|"),
    # Commands with several names; degrees and percent
    (r"\\[dtc]frac", r"\\frac"), (r"\\[dt]binom", r"\\binom"), (r"\\%", "%"),
    (r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|\\degree\b|\\circ\b", "°"),
    (r"\\(?:text|mathrm)\s*\{\s*°\s*[CF]?\s*\}", "°"),
    (r"(?<=°)[\s{]*(?:\\(?:text|mathrm|rm)\s*\{)?\s*(?:C|F|Celsius|Fahrenheit)\b\s*\}*", ""),
    # Relations
    (r"\\leq(?:slant)?\b|<=", r"\\le "), (r"\\geq(?:slant)?\b|>=", r"\\ge "), (r"\\lt\b", "<"),
    (r"\\gt\b", ">"), (r"\\neq\b", r"\\ne "), (r"\\(?:approx|equiv|simeq)\b", "="),
    # 9 pi, and the x of 3 x 10^8
    (r"(?<=\d)\s*pi\b", r"\\pi "), (r"(?<=\d)\s*x\s*(?=10\^)", r"\\times "),
    # A union written as U, names of functions, the real numbers
    (r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "), (r"\\operatorname\*?\{(\w+)\}", r"\\\1 "),
    (r"\\mathrm\{([ie]|pi)\}", r"\1"), (r"\\math(?:bb|bf)\s*\{?R\b\}?", "(-∞,∞)"),
    (r"\\text\s*\{\s*all real numbers\s*\}|^\s*all real numbers\s*$", "(-∞,∞)"),
    (r"(?<=[)\]])\s*-\s*(?=⦃)", r"\\setminus "),
    (r"\\arc(\w+)", r"arc\1"),
    # Styles of texts become \text; colours go
    (r"\{\s*\\rm\s+", r"\\text{"), (r"\\(?:bf|it)\b(?!\s*\{)|\\(?:text)?color\s*\{\w+\}", ""),
    (r"\\(?:mbox|textbf|textit|textrm|textnormal|textsf|mathrm|rm)\s*\{", r"\\text{"),
    # Times of day: 4 a.m., 4 AM and 4 \text{ am} are 4am
    (r"(?<=\d)\s*(?:\\text\s*\{\s*[aA]\.?\s?[mM]\b\.?\s*\}|[aA]\.?\s?[mM]\b\.?)", "am"),
    (r"(?<=\d)\s*(?:\\text\s*\{\s*[pP]\.?\s?[mM]\b\.?\s*\}|[pP]\.?\s?[mM]\b\.?)", "pm"),
    # Styles of formulas go; "and" and "or" become commas
    (r"\\(?:boxed|underline|mathbf|mathit|boldsymbol|bm|mathsf|mathcal)\s*\{([^{}]*)\}", r"\1"),
    (r"\\text\{[\s,;]*(?:and|or)[\s,;]*\}|\s(?:and|or)\s|(?<=[)\]\d])(?:and|or)(?=[(\[\d])", ","),
    (r"\\(?:[b]ackslash|smallsetminus)\b", r"\\setminus "),
    # Infinity, without its plus sign
    (r"\\infty\b|(?<![A-Za-z])(?:infinity|inf|oo)\b", "∞"), (r"\+\s*∞", "∞"),
    # Arguments without braces: \frac12, \log_2, \frac{a}b, \frac a{b}, \sqrt3
    (r"\\(frac|binom)\s*(\d)\s*(\d)", r"\\\1{\2}{\3}"), (r"\\log_(\d)", r"\\log_{\1}"),
    (r"\\frac\s*(\{[^{}]*\})\s*(\w)", r"\\frac\1{\2}"),
    (r"\\frac\s*(\w)\s*(\{)", r"\\frac{\1}\2"), (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
    # Mixed numbers: 1\frac12 and 1 1/2 are (1+1/2)
    (r"(?<![\d.}\w^_)])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"(\1+\2/\3)"),
    (r"(?<![\d.}\w^_)/])(\d+)\s+(\d+)/(\d+)(?![\d.])", r"(\1+\2/\3)")]
REWRITES = [(re.compile(pattern.replace(r"\b", "(?![A-Za-z])")), new) for pattern, new in PATTERNS]
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
# 0.1\overline{6}, 0.1\bar 6, 0.1(6)
REPEATING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{?|\()(\d+)[})]?")
QUOTED = re.compile(r"([`'\"]+)(.+)\1", re.DOTALL)

# \text{m}, \text{m}^2, \text{m}/\text{s}, \frac{\text{m}}{\text{s}}
POWER = r"(?:\s*\^\s*\{?-?\d\}?)?"
ONE = r"\\text\s*\{[^{}\d]*\}" + POWER
UNITS_OF_TEXT = re.compile(rf"\\frac\s*\{{\s*{ONE}\s*\}}\s*\{{\s*{ONE}\s*\}}"
                           rf"|{ONE}(?:\s*(?:/|\\cdot|\*)\s*{ONE})*")


def normal(text: str) -> str:
    """The text without units, styles and spaces, each symbol written in one way."""
    text = plain(text).strip().lstrip(": ")
    quoted = QUOTED.fullmatch(text)
    if quoted:
        text = quoted[2]
    for pattern, new in REWRITES:
        text = pattern.sub(new, text)
    text = REPEATING.sub(_repeating, _without_over(text))
    text = _without_texts(text).strip().rstrip(" .,;:")
    for pattern, meaning in MEANINGS:
        text = pattern.sub(meaning, text)
    counted = COUNTED.search(text.rstrip())
    if counted and (counted["words"] is None or is_unit(counted["words"])):
        text = text[:counted.start()]
    text = _without_thousands(text)
    # Remove the spaces, except one between a command and a letter, or between two numbers
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(\\[A-Za-z]+ )(?=[A-Za-z])|(?<=\d)( )(?=\d)| ", r"\1\2", text)
    # 10 000 is a number
    return re.sub(r"(?<![\d ])\d{1,3}(?: \d{3})+(?!\d| )", _digits, text)


def _without_texts(text: str) -> str:
    r"""\text{} alone is the answer; beside something else it is a unit or a remark, and goes."""
    rest = re.sub(r"^\s*_\S*|\w+\s*=\s*$", "", TEXT.sub("", text))    # a base, or the "x =" before
    if not re.search(r"[^\W_]", rest):
        return TEXT.sub(r"\1", text)
    text = re.sub(r"^\\text\{\s*(\([A-Z]\))\s*\}(?=[^,]*$)", r"\1", text)     # the choice (C) 12
    text = UNITS_OF_TEXT.sub(_meaning_of_units, text)
    return TEXT.sub(_meaning, text)


def _meaning(text: re.Match) -> str:
    r"""What \text{} says about the number beside it; nothing if it is a unit or a remark."""
    words = re.findall(r"\w+", text[1])
    says = any(changes_a_number(word) or word[0].isdigit() for word in words)
    return f" {text[1]} " if says else " "


def _meaning_of_units(units: re.Match) -> str:
    r"""Nothing of \text{m}/\text{s}^2, if these are units."""
    words = [word for text in TEXT.finditer(units[0]) for word in re.findall("[A-Za-z]+", text[1])]
    return units[0] if any(map(changes_a_number, words)) else " "


def _without_over(text: str) -> str:
    r"""{3 \over 4} as \frac{3}{4}."""
    while over := re.search(r"\\over(?![A-Za-z])", text):
        # The braces around it, or the whole text
        depths = list(itertools.accumulate((c == "{") - (c == "}") for c in text))
        outside = depths[over.start()] - 1
        begin = max((i + 1 for i in range(over.start())
                     if text[i] == "{" and depths[i] == outside + 1), default=0)
        end = next((i for i in range(over.end(), len(text)) if depths[i] == outside), len(text))
        upper, lower = text[begin:over.start()], text[over.end():end]
        text = f"{text[:begin]}\\frac{{{upper}}}{{{lower}}}{text[end:]}"
    return text


def _repeating(number: re.Match) -> str:
    r"""0.1\overline{6} as (16-1)/90."""
    whole, once, repeated = number.groups()
    denominator = 10 ** len(once + repeated) - 10 ** len(once)
    return f"({int(whole + once + repeated) - int(whole + once or 0)}/{denominator})"


def _without_thousands(text: str) -> str:
    """1,000 is a number, but within brackets a comma separates two: (1,000) is a pair."""
    depth = 0
    result = ""
    for piece in re.split(r"([(\[⦃)\]⦄])", text):
        depth += (piece in ("(", "[", "⦃")) - (piece in (")", "]", "⦄"))
        if depth == 0:
            piece = re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)", _digits, piece)
        result += piece
    return result


def _digits(number: re.Match) -> str:
    return re.sub(r"\D", "", number[0])


# ---- the parts of a normal form -----------------------------------------------------------------
# A letter, word or command, perhaps with \angle before it, a subscript or primes: x, \pi, AB, x_1
SYMBOL = r"(?:\\(?:angle|triangle|overline)\s?)?\\?[A-Za-z]+(?:_\{?\w+\}?)?'*"
# That, f(x,y) or (x,y)
NAME = re.compile(rf"(?:{SYMBOL}(?:\({SYMBOL}(?:,{SYMBOL})*\))?|\({SYMBOL}(?:,{SYMBOL})+\))")
MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}")
RELATION = re.compile(r"(=|<|>|\\[lgn]e(?![A-Za-z]))\s?")
PLUS_MINUS = re.compile(r"\\pm(?![A-Za-z])\s?")
MINUS_PLUS = re.compile(r"\\mp(?![A-Za-z])\s?")
FLIPPED = {">": "<", "\\ge": "\\le"}
OPENING = "([{⦃"
CLOSING = ")]}⦄"


def is_name(text: str) -> bool:
    """A name such as x, AB, x_1, f(x) or (x,y)."""
    return bool(NAME.fullmatch(text)) and text not in ("e", "i", "\\pi")


def _depths(text: str) -> list[int]:
    """How many brackets are open behind each character."""
    steps = [(character in OPENING) - (character in CLOSING) for character in text]
    return list(itertools.accumulate(steps))


def split(text: str, separators: str) -> list[str]:
    """The parts between separators that are outside of all brackets."""
    parts = [""]
    for character, depth in zip(text, _depths(text)):
        if depth == 0 and character in separators:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def inside(text: str) -> list[str] | None:
    """The items of a tuple, set or interval, which one pair of brackets encloses; else None."""
    if text[:1] not in ("(", "[", "⦃") or text[-1:] not in (")", "]", "⦄"):
        return None
    depths = _depths(text)
    if depths[-1] != 0 or 0 in depths[:-1]:                        # (1,2),(3,4)
        return None
    return split(text[1:-1], ",")


def items(text: str) -> list[str]:
    """The items of a list without brackets."""
    return signs(part for part in split(text, ",;") if part)


def signs(parts: Iterable[str]) -> list[str]:
    r"""1 \pm 2 is two items; \pm and \mp in one item have opposite signs."""
    found = []
    for part in parts:
        upper = MINUS_PLUS.sub("-", PLUS_MINUS.sub("+", part))
        lower = MINUS_PLUS.sub("+", PLUS_MINUS.sub("-", part))
        found.append(upper)
        if lower != upper:
            found.append(lower)
    return found


def matrix(text: str) -> list[list[str]]:
    """The rows of a matrix; none of anything else."""
    found = MATRIX.fullmatch(text)
    if found is None:
        return []
    return [split(row, "&") for row in found[2].strip("¶").split("¶")]


def union(text: str) -> list[str]:
    r"""The intervals of a union, joined by \cup or of inequalities in a list; else [text]."""
    parts = re.split(r"\\cup\b\s?", text)
    parts = [piece for part in parts for piece in _around_points(part)]
    if parts == [text]:
        parts = [part for part in split(text, ",;") if part]
        if len(parts) == 1 or not all(interval(part)[0] for part in parts):
            return [text]
    return [interval(part)[1] for part in parts]


def _around_points(text: str) -> list[str]:
    r"""(0,36)\setminus⦃9⦄ is (0,9) and (9,36); [text] if the points are not all in the interval."""
    whole, _, without = text.partition("\\setminus")
    ends, between = inside(whole), inside(without.strip())
    if not between or without.strip()[0] != "⦃" or not ends or len(ends) != 2:
        return [text]
    low, high = ends
    opening, closing = whole[0], whole[-1]
    try:
        points = sorted(signs(between), key=_place)
        first, last = _place(low), _place(high)
        if not first <= _place(points[0]) <= _place(points[-1]) <= last:
            return [text]
    except (ValueError, TypeError, ArithmeticError):           # names, which have no order
        return [text]
    if _place(points[0]) == first:                             # [0,5) without 0 is (0,5)
        opening, points = "(", points[1:]
    if points and _place(points[-1]) == last:
        closing, points = ")", points[:-1]
    borders = [opening + low]
    for point in points:
        borders += [f"{point})", f"({point}"]
    borders.append(high + closing)
    return [f"{left},{right}" for left, right in zip(borders[0::2], borders[1::2])]


def _place(number: str) -> float:
    """Where a number stands in the line. Raises ValueError or TypeError if it is none."""
    if number.strip("-") == "∞":
        return float(number.replace("∞", "inf"))
    if not constant(number):
        raise ValueError(f"{number} has no place")
    return float(value(number, 0))


def sides(text: str) -> list[str]:
    r"""[a, "<", b] of a < b and of b > a; longer chains too."""
    parts = re.split(RELATION, text)
    relations = set(parts[1::2])
    if relations and relations <= set(FLIPPED):
        parts = [FLIPPED.get(part, part) for part in reversed(parts)]
    return parts


def interval(text: str) -> tuple[str, str]:
    """(name, interval) of an inequality such as -2 < x <= 7 or x > 5; else ("", text)."""
    parts = sides(text)
    if not set(parts[1::2]) <= {"<", "\\le"}:
        return "", text
    if len(parts) == 3 and is_name(parts[0]):                      # x < 5
        parts = ["-∞", "<", *parts]
    elif len(parts) == 3:                                          # 5 < x
        parts = [*parts, "<", "∞"]
    if len(parts) != 5 or not is_name(parts[2]):
        return "", text
    low, left, name, right, high = parts
    opening = "(" if left == "<" else "["
    closing = ")" if right == "<" else "]"
    return name, f"{opening}{low},{high}{closing}"
