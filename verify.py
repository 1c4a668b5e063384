r"""The reward of mathematics: is the answer in this text correct?

    answer = extract_answer(text);  r = answer is not None and math_equal(answer, gold)

Answers are looked for as a reader would: the last \boxed{}, else what follows the last "####" of
GSM8K, else "the answer is ...", else the last number. Both answers are brought to one notation
(`normal`), then compared by their structure: choices, words, lists, tuples, intervals, matrices and
relations; and at the leaves by value (symbols.py). What is wrongly called equal rewards a wrong
answer, so where the texts leave a doubt the answers differ: 0.333 is not 1/3.
"""
import re

from symbols import GREEK, WORDS, constant, proportional, same

LONGEST = 1000      # ours: characters; MATH's longest answer has 159. Beyond, only equal texts match
MOST_ITEMS = 64     # ours: of a list, whose items meet in pairs

# ---- the answer in a text -----------------------------------------------------------------------
NUMBER = (r"(?:(?<![\w)}])-)?(?:\\[dt]?frac\{\d+\}\{\d+\}|"
          r"(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)(?:/\d+)?)")
BRACE = re.compile(r"\\(?:boxed|fbox)(?:\s*(?P<open>\{)|\s*(?P<bare>[\w./-]+))|\\.|[{}]", re.DOTALL)
GSM8K = re.compile(rf"####[ \t]*\$?({NUMBER})(?=[ \t]*(?:%|[a-z]+)?\.?[ \t]*$)", re.MULTILINE)
SAID = re.compile(r"\banswers?\b(?: (?:to|for|of) [^.\n]{1,200}?)?[\s*]*"
                  r"(?:(?:is|are|was|(?:should|must|will|would) be)\b|[:=\n])[\s:*]*"
                  r"(?:(?:therefore|thus|indeed|simply|just|then|hence)\b,?\s*)?", re.IGNORECASE)
MATHS = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)


def extract_answer(text: str) -> str | None:
    """The final answer of a text, or None where there is none.

    Of a thinking model's text only what follows the last </think> counts; one whose <think> never
    closes was cut off, and has no answer. Nor has a text whose only box never closes.
    """
    if "</think>" in text:
        text = text.rsplit("</think>", 1)[1]
    elif "<think>" in text:
        return None
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


def _boxes(text: str) -> tuple[list[str], bool]:
    """What complete boxes enclose, in the order they open, without empty ones; is one cut off?"""
    opened, boxes = [], {}
    for found in BRACE.finditer(text):
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
    if maths := MATHS.match(tail):
        return next(filter(None, maths.groups())).strip()
    line = tail.split("\n")[0]
    if number := re.match(rf"({NUMBER})(?=[.,;!*\s]*$|[.,;]?\s+(?!and |or )[a-z(])", line):
        return number[1]
    return re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0].strip(" $*")


# ---- one notation -------------------------------------------------------------------------------
CHARACTERS = str.maketrans({
    "−": "-", "–": "-", "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "÷": "/", "π": "\\pi ",
    "θ": "\\theta ", "√": "\\sqrt ", "∞": "\\infty ", "≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ",
    "≈": "\\approx ", "∪": "\\cup ", "∈": "\\in ", "±": "\\pm ", "²": "^2", "³": "^3", "½": "1/2 ",
    "∅": "\\emptyset ", "⟨": "(", "⟩": ")", "\u00a0": " ", "，": ","})
SHORT_UNITS = "cm|mm|km|m|ft|in|yd|mi|kg|g|mg|lb|lbs|oz|s|ms|h|hr|hrs|mph|sq|cu|L|mL|ml"
SETS = str.maketrans("⦃⦄", "{}")   # \{ and \}, as one character each, unlike the braces of LaTeX
REWRITE = [(re.compile(pattern), new) for pattern, new in [
    (r"\\\$|\$|\\\(|\\\)|\\\[|\\\](?!\s*\d)|^\*\*|\*\*$", ""),
    (r"\\\\(?:\[[^]]*\])?|\\cr\b", "¶"),                         # a matrix's next row
    (r"(?<=\d)(?:,\\!|\{,\})\s*(?=\d{3})", ""),                   # 10,\!080 and 10{,}080
    (r"\\!|\\(?:displaystyle|left|right|limits|[bB]igg?[lr]?)(?![a-zA-Z])\.?", ""),
    (r"\\phantom\s*(?:\{[^{}]*\}|.)", ""),
    (r"\\[,;: ]|~|\\q?quad\b", " "),
    (r"\\(?:lbrace\b|\{)", "⦃"), (r"\\(?:rbrace\b|\})", "⦄"),
    (r"\\langle\b", "("), (r"\\rangle\b", ")"), (r"\\(?:emptyset|varnothing)\b", "⦃⦄"),
    (r"\\[lr]?vert\b|\\mid\b", "|"), (r"\\[dtc]frac", r"\\frac"), (r"\\[dt]binom", r"\\binom"),
    (r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|\\degree\b|\\circ\b", "°"), (r"\\%", "%"),
    (r"\\leq(?:slant)?\b", r"\\le "), (r"\\geq(?:slant)?\b", r"\\ge "), (r"\\neq\b", r"\\ne "),
    (r"<=", r"\\le "), (r">=", r"\\ge "), (r"\\lt\b", "<"), (r"\\gt\b", ">"),
    (r"\\(?:approx|equiv|simeq)\b", "="), (r"(?<=[)\]])\s*U\s*(?=[(\[])", r"\\cup "),
    (r"\\operatorname\*?\{(\w+)\}", r"\\\1 "), (r"\\mathrm\{([ie]|pi)\}", r"\1"),
    (r"\\(?:mathbf|mathit|boldsymbol|bm|mathsf|mathcal)\s*\{([^{}]*)\}", r"\1"),
    (r"\\(?:mbox|textbf|textit|textrm|textnormal|textsf|mathrm|rm)\s*\{", r"\\text{"),
    (r"\\text\{[\s,;]*(?:and|or)[\s,;]*\}|\s(?:and|or)\s", ","),
    (r"\\infty\b|\binf(?:ini)?ty\b|\boo\b", "∞"), (r"\+\s*∞", "∞"), (r"\\arc(\w+)", r"arc\1"),
    (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"), (r"\\frac\s*(\{[^{}]*\})\s*(\w)", r"\\frac\1{\2}"),
    (r"\\frac\s*(\w)\s*(\{)", r"\\frac{\1}\2"), (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
    (r"(?<![\d.}\w^_)])(\d+)\s*\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}", r"(\1+\2/\3)"),
    (r"(?<![\d.}\w^_)/])(\d+)\s+(\d+)/(\d+)(?![\d.])", r"(\1+\2/\3)")]]
TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
UNIT = re.compile(rf"(?<=[\d)}}\]])(?:\s+(?!(?:{'|'.join(WORDS)})\b)(?:[A-Za-z]{{3,}}|(?:{SHORT_UNITS})"
                  rf"\b)|(?:{SHORT_UNITS})\b(?<=[a-z]{{2}}))(?:[\s/]+[A-Za-z]+)*\.?(?:\^?\{{?[23]\}}?)?$")


def normal(text: str) -> str:
    """The text without units, styles and spaces, each symbol written in one way."""
    text = text.translate(CHARACTERS).strip()
    for pattern, new in REWRITE:
        text = pattern.sub(new, text)
    text = _without_texts(text).strip(" .,;:\n")
    text = UNIT.sub("", text)
    # A space stays where it parts a command from a letter, or two numbers.
    text = re.sub(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|(?<=\d)(\s)\s*(?=\d)|\s+",
                  lambda found: found[1] + " " if found[1] else found[2] and " " or "", text)
    text = re.sub(r"(?<![\d ])\d{1,3}(?: \d{3})+(?!\d| )", lambda n: n[0].replace(" ", ""), text)
    return _without_thousands(text)


def _without_texts(text: str) -> str:
    r"""\text{} beside something else is a unit or a remark, and goes; alone it is the answer."""
    rest = TEXT.sub("", text)
    if not re.search(r"[^\W_]", re.sub(r"^\s*_\S*", "", rest)):
        return TEXT.sub(r"\1", text).replace(" and ", ",")
    return TEXT.sub(" ", re.sub(TEXT.pattern + r"\s*\^\s*\{?\d\}?", " ", text))


def _without_thousands(text: str) -> str:
    """1,000 is a number; inside brackets a comma parts: (1,000) is a pair."""
    depth, result = 0, []
    for piece in re.split(r"([(\[⦃]|[)\]⦄])", text):
        depth += (piece in ("(", "[", "⦃")) - (piece in (")", "]", "⦄"))
        result.append(piece if depth else re.sub(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!\d)",
                                                 lambda n: n[0].replace(",", ""), piece))
    return "".join(result)


# ---- equality -----------------------------------------------------------------------------------
CHOICE = re.compile(r"\(([A-Za-z])\)|([A-Z])[.):]?")
CHOICE_AND_MORE = re.compile(r"\(([A-Z])\)[^(]|([A-Z])[).:]\s*\S")
WORD = re.compile(r"(?=.*[A-Za-z]{3}|[A-Z]{2})[A-Za-z][A-Za-z\d.'-]*")
BASE = re.compile(r"(-?[\dA-Z]+)_\{?(\d+)\}?")
INNER = r"(?:\\(?:angle|triangle|overline)\s?)?\\?[A-Za-z]+(?:_\{?\w+\}?)?'*"
NAME = re.compile(rf"{INNER}(?:\({INNER}(?:,{INNER})*\))?|\({INNER}(?:,{INNER})+\)")
RELATION = re.compile(r"(=|<|>|\\le\b|\\ge\b|\\ne\b)\s?")
MATRIX = re.compile(r"\\begin\{([pb]?matrix)\}(.*)\\end\{\1\}")
OPENING, CLOSING = "([{⦃", ")]}⦄"


def math_equal(answer: str, gold: str) -> bool:
    """Whether the answer is what the gold answer says; never raises.

    Symmetric, but for what a question says and an answer may leave out: the gold x = 5 takes 5, and
    2516_8 takes 2516; a bare gold 5 takes the right side of any equation.
    """
    answer, gold = answer.strip(), gold.strip()
    if not answer or not gold:
        return False
    if answer == gold:
        return True
    if max(len(answer), len(gold)) > LONGEST:
        return False
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
    if _is_word(a) or _is_word(b):
        return re.sub(r"\W", "", a).casefold() == re.sub(r"\W", "", b).casefold()
    unions = _union(a), _union(b)
    if max(map(len, unions)) > 1:
        return _same_items(*unions)
    lists = _items(a), _items(b)
    if max(map(len, lists)) > 1:
        return _equal_lists(a, b, *lists)
    if RELATION.search(a + b):
        return _equal_relations(a, b)
    if MATRIX.fullmatch(a) or MATRIX.fullmatch(b):
        return _equal_matrices(MATRIX.fullmatch(a), MATRIX.fullmatch(b))
    if _inside(a) is not None and _inside(b) is not None:
        inner = _split(_inside(a), ","), _split(_inside(b), ",")
        if max(map(len, inner)) > 1:
            brackets_agree = (a[0], a[-1]) == (b[0], b[-1])
            if a[0] == "⦃":
                return brackets_agree and _same_items(*inner)
            return brackets_agree and _in_order(*inner)
    return _equal_values(a, b)


def _unwrapped(text: str) -> str:
    r"""Without x \in, and without the braces of a set of one."""
    text = re.sub(rf"^{NAME.pattern}\\in\b\s?", "", text)
    inside = _inside(text)
    if text[:1] == "⦃" and inside and len(_split(inside, ",")) == 1 and "\\pm" not in inside:
        return inside
    return text


def _is_word(text: str) -> bool:
    return bool(WORD.fullmatch(text)) and not re.search("|".join(WORDS), text)


# ---- the structure of a normal form -------------------------------------------------------------
def _split(text: str, separators: str) -> list[str]:
    """The parts between separators that stand outside of all brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0 and character in separators:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _inside(text: str) -> str | None:
    """What one pair of brackets encloses, if it encloses the whole text."""
    if text[:1] not in ("(", "[", "⦃") or text[-1:] not in (")", "]", "⦄"):
        return None
    depth = 0
    for i, character in enumerate(text):
        depth += (character in OPENING) - (character in CLOSING)
        if depth == 0:
            return text[1:i] if i == len(text) - 1 else None
    return None


def _items(text: str) -> list[str]:
    r"""The items of a list without brackets; 1 \pm 2 is two."""
    return _signs(part for part in _split(text, ",;") if part)


def _signs(parts) -> list[str]:
    items = []
    for part in parts:
        if re.search(r"\\[pm][mp]\b", part):
            items += [re.sub(r"\\([pm])[mp]\b\s?", lambda found: sign[found[1]], part)
                      for sign in ({"p": "+", "m": "-"}, {"p": "-", "m": "+"})]
        else:
            items.append(part)
    return items


def _union(text: str) -> list[str]:
    """The intervals of a union, or of inequalities joined by "or"."""
    parts = re.split(r"\\cup\b\s?", text)
    if len(parts) == 1:
        parts = [part for part in _split(text, ",;") if part]
        if not all(_interval(part) for part in parts):
            return [text]
    return [(_interval(part) or ("", part))[1] for part in parts]


def _interval(text: str) -> tuple[str, str] | None:
    """The name and the interval that an inequality such as -2 < x <= 7 or x > 5 says."""
    match re.split(RELATION, text):
        case [low, ("<" | "\\le") as left, name, ("<" | "\\le") as right, high] if _is_name(name):
            return name, "[("[left == "<"] + f"{low},{high}" + "])"[right == "<"]
        case [high, (">" | "\\ge") as right, name, (">" | "\\ge") as left, low] if _is_name(name):
            return name, "[("[left == ">"] + f"{low},{high}" + "])"[right == ">"]
        case [name, ("<" | "\\le") as right, high] if _is_name(name):
            return name, f"(-∞,{high}" + "])"[right == "<"]
        case [name, (">" | "\\ge") as left, low] if _is_name(name):
            return name, "[("[left == ">"] + f"{low},∞)"
        case [high, (">" | "\\ge") as right, name] if _is_name(name):
            return name, f"(-∞,{high}" + "])"[right == ">"]
        case [low, ("<" | "\\le") as left, name] if _is_name(name):
            return name, "[("[left == "<"] + f"{low},∞)"
    return None


def _is_name(text: str) -> bool:
    """A name such as x, AB, x_1, f(x) or (x,y)."""
    return bool(NAME.fullmatch(text)) and text not in ("e", "i", "\\pi")


# ---- equality, kind by kind ---------------------------------------------------------------------
def _in_order(xs: list[str], ys: list[str]) -> bool:
    return len(xs) == len(ys) <= MOST_ITEMS and all(map(_equal, xs, ys))


def _same_items(xs: list[str], ys: list[str]) -> bool:
    """Whether the items match one to one in some order; equality is (nearly) transitive."""
    xs, ys = _signs(xs), _signs(ys)
    if len(xs) != len(ys) or len(xs) > MOST_ITEMS:
        return False
    for x in xs:
        partner = next((y for y in ys if _equal(x, y)), None)
        if partner is None:
            return False
        ys.remove(partner)
    return True


def _equal_lists(a: str, b: str, xs: list[str], ys: list[str]) -> bool:
    """Lists without brackets: solutions, in any order, which a set may hold too. The order counts
    among words, against a tuple, and where names say it: AB = 9, CD = 4 against 9, 4."""
    for text, items, others in ((a, xs, ys), (b, ys, xs)):
        if len(items) == 1 and _inside(text) is not None:
            inner = _split(_inside(text), ",")
            if text[0] == "⦃":
                return _same_items(inner, others)
            return text[0] + text[-1] == "()" and (
                _in_order(inner, ys) if text is a else _in_order(xs, inner))
    names = [{x.split("=")[0] for x in items if "=" in x} for items in (xs, ys)]
    ordered = min(map(len, names)) == 0 and max(map(len, names)) > 1
    if ordered or any(map(_is_word, xs)) and len(max(xs, key=len)) > 1:
        return _in_order(xs, ys)
    return _same_items(xs, ys)


def _equal_relations(a: str, b: str) -> bool:
    """Equations and inequalities, or one beside a value."""
    xs, ys = re.split(RELATION, a), re.split(RELATION, b)
    if _interval(a) or _interval(b):
        (name_a, a), (name_b, b) = _interval(a) or ("", a), _interval(b) or ("", b)
        return (not name_a or not name_b or name_a == name_b) and _equal(a, b)
    if not set(xs[1::2] + ys[1::2]) <= {"="}:
        if xs[1] in (">", "\\ge"):
            xs = [xs[2], {">": "<", "\\ge": "\\le"}[xs[1]], xs[0]]
        return len(xs) == len(ys) and xs[1::2] == ys[1::2] and _in_order(xs[::2], ys[::2])
    if len(ys) == 1:
        return _equal(xs[-1], b)
    if len(xs) == 1:
        return (_equal(a, ys[-1]) if _is_name(ys[0]) or not ys[0] else
                all(map(constant, ys[::2])) and any(_equal(a, y) for y in ys[::2]))
    (x, value_x), (y, value_y) = _assignment(xs), _assignment(ys)
    if x and x == y and _equal(value_x, value_y):
        return True
    if (x and constant(value_x)) != (y and constant(value_y)):          # 2x = 10 is not solved yet
        return False
    return len(xs) == len(ys) == 3 and proportional(f"{xs[0]}-({xs[2]})", f"{ys[0]}-({ys[2]})")


def _assignment(sides: list[str]) -> tuple[str, str]:
    """(name, value) of x = 5, 5 = x or x = 2 + 3 = 5; an equation has neither."""
    if _is_name(sides[0]):
        return sides[0], sides[-1]
    return (sides[2], sides[0]) if len(sides) == 3 and _is_name(sides[2]) else ("", "")


def _equal_matrices(a: re.Match | None, b: re.Match | None) -> bool:
    if not a or not b:
        return False
    a, b = ([_split(row, "&") for row in matrix[2].strip("¶").split("¶")] for matrix in (a, b))
    return len(a) == len(b) and all(map(_in_order, a, b))


def _equal_values(a: str, b: str) -> bool:
    """Numbers and expressions. 50% is 0.5, and 50 too: the question may have asked for percent."""
    if percent := a.endswith("%") + 2 * b.endswith("%"):
        a, b = a.rstrip("%"), b.rstrip("%")
        if percent == 1 and same(f"({a})/100", b) or percent == 2 and same(a, f"({b})/100"):
            return True
    base_a, base_b = BASE.fullmatch(a), BASE.fullmatch(b)
    if base_a or base_b:
        based = [match and match.groups() for match in (base_a, base_b)]
        return based[0] == based[1] or base_a is None and base_b[1] == a or (
            base_b is None and based[0] == (b, "10"))
    if scientific := [re.fullmatch(r"(-?[\d.]+)[eE]([+-]?\d+)", x) for x in (a, b)]:
        a, b = (f"{m[1]}*10^{{{m[2]}}}" if m else x for m, x in zip(scientific, (a, b)))
    if ratio := [re.fullmatch(r"([\d.]+):([\d.]+)", x) for x in (a, b)]:
        a, b = (f"{m[1]}/{m[2]}" if m else x for m, x in zip(ratio, (a, b)))
    return same(a, b)
