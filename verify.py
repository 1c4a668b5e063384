"""The reward: is the answer in this text correct?

    answer = extract_answer(text);  r = answer is not None and math_equal(answer, gold)

Answers are looked for as a reader would: the last \\boxed{}, else what follows the last "####" of
GSM8K, else "the answer is ...", else the last number. This file grades numbers; graders for symbols
and programs follow with the tasks that need them.
"""
import re
from fractions import Fraction

NUMBER = r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:/\d+)?"


def extract_answer(text: str) -> str | None:
    """The final answer of a text, or None where there is none."""
    box = text.rfind("\\boxed{")
    if box >= 0:
        return _braced(text[box + len("\\boxed"):])
    said = re.findall(rf"####\s*\$?({NUMBER})", text) or re.findall(
        rf"answer is:?\s*\$?({NUMBER})", text, re.IGNORECASE)
    numbers = said or re.findall(NUMBER, text)
    return numbers[-1] if numbers else None


def _braced(text: str) -> str | None:
    """What the opening brace of `text` encloses, nested braces kept; None if it never closes."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return text[1:i].strip()
    return None


def math_equal(answer: str, gold: str) -> bool:
    """Equal as numbers (thousands separators, decimals, fractions), else as text."""
    a, b = _number(answer), _number(gold)
    return a == b if a is not None and b is not None else answer.strip() == gold.strip()


def _number(text: str) -> Fraction | None:
    try:
        return Fraction(text.strip().strip("$").rstrip(".%").replace(",", "").replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        return None
