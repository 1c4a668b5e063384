r"""One notation for answers: LaTeX and plain text in, a normal form out that verify.py compares.

    normal(r"\dfrac12 \text{ cm}")        \frac{1}{2}
    normal(r"10{,}080")                   10080

Units, styles and spaces go; each symbol is written in one way. All of the tables are ours: the
notation of MATH's answers, and what language models write for it.
"""
import re

from symbols import WORDS

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
