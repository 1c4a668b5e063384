r"""One notation for answers: LaTeX and plain text in, a normal form out that verify.py compares.

    normal(r"\dfrac12 \text{ cm}")        \frac{1}{2}
    normal(r"10{,}080")                   10080
    interval(r"2<x\le5")                  ("x", "(2,5]"), for the parts of a form are found here too

Units, styles and spaces go; each symbol is written in one way. All of the tables are ours: the
notation of MATH's answers, and what language models write for it.
"""
import re
from typing import Iterable

from grading.expressions import WORDS

CHARACTERS = str.maketrans({
    "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "π": "\\pi ",
    "θ": "\\theta ", "√": "\\sqrt ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ",
    "≈": "\\approx ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "²": "^2", "³": "^3", "½": "1/2 ",
    "∅": "\\emptyset ", "⟨": "(", "⟩": ")", "\u00a0": " ", "，": ","})
SHORT_UNITS = "cm|mm|km|ft|in|yd|mi|kg|mg|lb|lbs|oz|hr|hrs|mph|sq|cu|mL|ml"
# ⦃ and ⦄ stand for \{ and \}, unlike the braces of LaTeX. \b ends a command: \le5 is \le and 5.
REWRITE = [(re.compile(pattern.replace(r"\b", "(?![A-Za-z])")), new) for pattern, new in [
    (r"\\\\(?:\[[^]]*\])?|\\cr\b", "¶"),                         # a matrix's next row
    (r"\\\$|[$€£]|\\[()\[\]]|^\*\*|\*\*$", ""), (r"(?<=[\d})])\s*\\approx[\d.\s]+$", ""),
    (r"(?<=\d)(?:,\\!|\{,\})\s*(?=\d{3})", ""),                   # 10,\!080 and 10{,}080
    (r"\\!|\\(?:displaystyle|left|right|limits|[bB]igg?[lr]?)(?![a-zA-Z])\.?", ""),
    (r"\\phantom\s*(?:\{[^{}]*\}|.)", ""), (r"\\[,;: ]|~|\\q?quad\b", " "),
    (r"\\(?:lbrace\b|\{)", "⦃"), (r"\\(?:rbrace\b|\})", "⦄"),
    (r"\\langle\b", "("), (r"\\rangle\b", ")"), (r"\\(?:emptyset|varnothing)\b", "⦃⦄"),
    (r"\\[lr]?vert\b|\\mid\b", "|"), (r"\\[dtc]frac", r"\\frac"), (r"\\[dt]binom", r"\\binom"),
    (r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|\\degree\b|\\circ\b", "°"), (r"\\%", "%"),
    (r"\\leq(?:slant)?\b", r"\\le "), (r"\\geq(?:slant)?\b", r"\\ge "), (r"\\neq\b", r"\\ne "),
    (r"<=", r"\\le "), (r">=", r"\\ge "), (r"\\lt\b", "<"), (r"\\gt\b", ">"),
    (r"\\(?:approx|equiv|simeq)\b", "="), (r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),
    (r"\\operatorname\*?\{(\w+)\}", r"\\\1 "), (r"\\mathrm\{([ie]|pi)\}", r"\1"),
    (r"\\mathbb\s*\{?R\b\}?", "(-∞,∞)"), (r"\\arc(\w+)", r"arc\1"),
    (r"(?<=\d)\s*(?:\\text\s*\{)?\s*([ap])\.?m\b\.?\s*\}?", r"\1m"),
    (r"\\(?:boxed|mathbf|mathit|boldsymbol|bm|mathsf|mathcal)\s*\{([^{}]*)\}", r"\1"),
    (r"\\(?:mbox|textbf|textit|textrm|textnormal|textsf|mathrm|rm)\s*\{", r"\\text{"),
    (r"\\text\{[\s,;]*(?:and|or)[\s,;]*\}|\s(?:and|or)\s", ","),
    (r"\\infty\b|(?<![A-Za-z])(?:infinity|inf|oo)\b", "∞"), (r"\+\s*∞", "∞"),
    (r"\\(frac|binom)\s*(\d)\s*(\d)", r"\\\1{\2}{\3}"), (r"\\log_(\d)", r"\\log_{\1}"),
    (r"\\frac\s*(\{[^{}]*\})\s*(\w)", r"\\frac\1{\2}"),
    (r"\\frac\s*(\w)\s*(\{)", r"\\frac{\1}\2"), (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
    (r"(?<![\d.}\w^_)])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"(\1+\2/\3)"),
    (r"(?<![\d.}\w^_)/])(\d+)\s+(\d+)/(\d+)(?![\d.])", r"(\1+\2/\3)")]]
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
UNIT = re.compile(rf"(?<=[\d)}}\]])(?:\s+(?!(?:{'|'.join(WORDS)})\b)(?:[A-Za-z]{{3,}}|"
                  rf"(?:{SHORT_UNITS})\b)|(?:cm|mm|km|kg|mph)\b)"
                  r"(?:[\s/]+[A-Za-z]+)*\.?(?:\^?\{?[23]\}?)?$")


def normal(text: str) -> str:
    """The text without units, styles and spaces, each symbol written in one way."""
    text = text.translate(CHARACTERS).strip()
    for pattern, new in REWRITE:
        text = pattern.sub(new, text)
    text = UNIT.sub("", _without_texts(text).strip().rstrip(" .,;:"))
    text = _without_thousands(text)
    # A space stays where it parts a command from a letter, or two numbers.
    text = re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|(?<=\d)(\s)\s*(?=\d)|\s+",
                  lambda found: found[1] + " " if found[1] else found[2] and " " or "", text)
    return re.sub(r"(?<![\d ])\d{1,3}(?: \d{3})+(?!\d| )", lambda n: n[0].replace(" ", ""), text)


def _without_texts(text: str) -> str:
    r"""\text{} beside something else is a unit or a remark, and goes; alone it is the answer."""
    rest = re.sub(r"^\s*_\S*|\w+\s*=\s*$", "", TEXT.sub("", text))
    if not re.search(r"[^\W_]", rest):
        return TEXT.sub(r"\1", text)
    text = re.sub(r"^\\text\{\s*(\([A-Z]\))\s*\}(?=[^,]*$)", r"\1", text)             # (C) 12
    return TEXT.sub(" ", re.sub(TEXT.pattern + r"\s*\^\s*\{?\d\}?", " ", text))


def _without_thousands(text: str) -> str:
    """1,000 is a number; inside brackets a comma parts: (1,000) is a pair."""
    depth, result = 0, []
    for piece in re.split(r"([(\[⦃]|[)\]⦄])", text):
        depth += (piece in ("(", "[", "⦃")) - (piece in (")", "]", "⦄"))
        result.append(piece if depth else re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)",
                                                 lambda n: n[0].replace(",", ""), piece))
    return "".join(result)


# ---- the parts of a normal form -----------------------------------------------------------------
SYMBOL = r"(?:\\(?:angle|triangle|overline)\s?)?\\?[A-Za-z]+(?:_\{?\w+\}?)?'*"
NAME = re.compile(rf"(?:{SYMBOL}(?:\({SYMBOL}(?:,{SYMBOL})*\))?|\({SYMBOL}(?:,{SYMBOL})+\))")
RELATION = re.compile(r"(=|<|>|\\[lgn]e(?![A-Za-z]))\s?")
PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![A-Za-z])\s?")
FLIPPED = {">": "<", "\\ge": "\\le"}
OPENING, CLOSING = "([{⦃", ")]}⦄"


def is_name(text: str) -> bool:
    """A name such as x, AB, x_1, f(x) or (x,y)."""
    return bool(NAME.fullmatch(text)) and text not in ("e", "i", "\\pi")


def split(text: str, separators: str) -> list[str]:
    """The parts between separators that stand outside of all brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0 and character in separators:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def inside(text: str) -> list[str] | None:
    """The items that one pair of brackets encloses, if it encloses the whole text."""
    if text[:1] not in ("(", "[", "⦃") or text[-1:] not in (")", "]", "⦄"):
        return None
    depth = 0
    for i, character in enumerate(text):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0:
            return split(text[1:i], ",") if i == len(text) - 1 else None
    return None


def items(text: str) -> list[str]:
    """The items of a list without brackets."""
    return signs(part for part in split(text, ",;") if part)


def signs(parts: Iterable[str]) -> list[str]:
    r"""1 \pm 2 is two items; the signs of \pm and \mp in one are opposite."""
    found = []
    for part in parts:
        upper, lower = ([PLUS_MINUS.sub(lambda mark: sign[mark[0][1]], part)
                         for sign in ({"p": "+", "m": "-"}, {"p": "-", "m": "+"})])
        found += [upper] if upper == lower else [upper, lower]
    return found


def union(text: str) -> list[str]:
    """The intervals of a union, or of inequalities joined by "or"."""
    parts = re.split(r"\\cup\b\s?", text)
    if len(parts) == 1:
        parts = [part for part in split(text, ",;") if part]
        if not all(interval(part)[0] for part in parts):
            return [text]
    return [interval(part)[1] for part in parts]


def sides(text: str) -> list[str]:
    r"""[a, "<", b] of a < b and of b > a; longer chains too."""
    parts = re.split(RELATION, text)
    if set(parts[1::2]) and set(parts[1::2]) <= set(FLIPPED):
        parts = [FLIPPED.get(part, part) for part in reversed(parts)]
    return parts


def interval(text: str) -> tuple[str, str]:
    """(name, interval) of an inequality such as -2 < x <= 7 or x > 5; else ("", text)."""
    match sides(text):
        case [low, ("<" | "\\le") as left, name, ("<" | "\\le") as right, high] if is_name(name):
            pass
        case [name, ("<" | "\\le") as right, high] if is_name(name):
            low, left = "-∞", "<"
        case [low, ("<" | "\\le") as left, name] if is_name(name):
            high, right = "∞", "<"
        case _:
            return "", text
    return name, "[("[left == "<"] + f"{low},{high}" + "])"[right == "<"]
