r"""A text in ASCII: Unicode's signs, digits and spaces, each as LaTeX or a keyboard writes it.

    plain("x ≥ −２½")              x \ge  -2 1/2
    plain("10⁻³ + √12")            10^{-3} + \sqrt{12}

The tables are ours: what LLMs write.
"""
import re
import unicodedata

CHARACTERS = {
    "×": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "∗": "*", "÷": "/",
    "√": "\\sqrt ", "∞": "\\infty ", "≤": "\\le ", "⩽": "\\le ", "≦": "\\le ", "≥": "\\ge ",
    "⩾": "\\ge ", "≧": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "∪": "\\cup ", "∈": "\\in ", "∖": "\\setminus ", "±": "\\pm ",
    "∅": "\\emptyset ", "⟨": "(", "⟩": ")", "∠": "\\angle ", "ℝ": "\\mathbb{R}", "ϕ": "\\phi ",
    "º": "°", "˚": "°", "℃": "°C", "℉": "°F",
    **dict.fromkeys("−‐‑‒–—―﹣－", "-"),                           # minus signs, hyphens and dashes
    **dict.fromkeys("⁄∕", "/"), **dict.fromkeys("“”„″", '"'), **dict.fromkeys("‘’‚′", "'"),
    **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2008\u2009\u200a\u202f\u3000", " "),      # spaces
    **dict.fromkeys("\u00ad\u200b\u200e\u200f\u2060\ufeff", "")}           # what has no width
GREEK = dict(zip("αβγδεζηθκλμνξπρστφχψωΓΔΘΛΣΦΨΩ", """alpha beta gamma delta epsilon zeta eta theta
    kappa lambda mu nu xi pi rho sigma tau phi chi psi omega
    Gamma Delta Theta Lambda Sigma Phi Psi Omega""".split()))
CHARACTERS |= {letter: f"\\{name} " for letter, name in GREEK.items()}
# Full-width characters, styled digits and fractions such as ½: as Unicode itself decomposes them
CHARACTERS |= {chr(i): unicodedata.normalize("NFKC", chr(i))
               for i in [*range(0xff01, 0xff5f), *range(0x1d7ce, 0x1d800)]
               if chr(i) not in CHARACTERS}
CHARACTERS |= {part: f" {unicodedata.normalize('NFKC', part)} ".replace("⁄", "/")
               for part in "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
TO_ASCII = str.maketrans(CHARACTERS)
# x¹² is x^{12}, x₁ is x_{1}, √12 is \sqrt{12}
SMALL = [(re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+"), "^"), (re.compile("[₀₁₂₃₄₅₆₇₈₉]+"), "_")]
ROOTS = [(re.compile(r"√\s?(\d+(?:\.\d+)?)"), r"\\sqrt{\1}"),
         (re.compile(r"∛\s?(\d+|[A-Za-z])"), r"\\sqrt[3]{\1}")]
# The marks within 10 080, 10,080 and 10'000 as typesetters write them
THOUSANDS = re.compile(
    r"(?<=\d)(?:,\\!|\{,\}|\\[, ]|[\u00a0\u2007\u2009\u202f'’])\s*(?=\d{3}(?!\d))")


def plain(text: str) -> str:
    """Any text, a whole completion too, with ASCII in place of Unicode's signs, digits and spaces.

    Whatever searches a completion searches this, so that it finds what `normal` would know.
    """
    if text.isascii():
        return THOUSANDS.sub("", text)
    for small, mark in SMALL:
        text = small.sub(lambda run: f"{mark}{{{unicodedata.normalize('NFKC', run[0])}}}", text)
    for root, command in ROOTS:
        text = root.sub(command, text)
    return THOUSANDS.sub("", text).translate(TO_ASCII)
