r"""The boxes in a completion: which is the answer, and what of its surroundings belongs to it.

    \boxed{3}, then \boxed{5}                     5            the last one
    $x=\boxed{3}$ or $x=\boxed{5}$                3, 5         those that "and", "or", "," joins
    \boxed{5}, so again \boxed{5}                 5            once if they are equal
    $x = -\boxed{5}$                              -(5)
    $\boxed{12}\pi$                               12\pi, and \boxed{5} million is 5 million
    \boxed{3} and \boxed{                         nothing: the list is not finished
"""
import re

from grading.answers import LONGEST, math_equal
from grading.units import NUMBER_WORD

# re.VERBOSE skips spaces and comments in a pattern; there [ ] is a space.
BOX_OR_BRACE = re.compile(r"""
    \\ (?:boxed|fbox)                # a box ..
    (?: \s* (?P<open>\{)             #     .. that opens with a brace: \boxed{x+1}
      | \s* (?P<bare>\\[dt]?frac\s?\d\s?\d | -?[\d.][\w./-]*) )     # .. or has none: \boxed 7
    | \\ .                           # an escaped character: \{ is not a brace
    | [{}]                           # a brace
    """, re.VERBOSE | re.DOTALL)
# What is taken out of the text between two boxes before JOINED looks at it: spaces, formula marks,
# bold type, the braces of \text{and}. So "cm$ and $" is "cmand" there.
FORMATTING = re.compile(r"""
    [\s$*{}~] | \\[()\[\],;:! ] | \\q?quad\b | \\(?:text|textrm|mbox|mathrm)\b
    """, re.VERBOSE)
JOIN = r"""
    (?: cm | m | km | ft | inches | units | dollars )?             # the unit of the first box,
    (?: [,;&]+ (?:and|or)? | and | or )                            # a comma or a word,
    (?: [A-Za-z]\w{0,3} (?:\(\w\))? = )? -?                          # the name of the second: x_1 =
    """
JOINED = re.compile(JOIN, re.VERBOSE | re.IGNORECASE)
# At the end of a text that was cut off: ", and", "or x", "and \box"
JOINED_AND_CUT = re.compile(JOIN + r"(?: [A-Za-z] | \\[a-z]{0,5} )?", re.VERBOSE | re.IGNORECASE)
MINUS = re.compile(r"(?: (?: \A | \n ) - | (?: [=$(\[,] | \b(?:is|or|and)\b ) \s* - \s* ) $",
                   re.VERBOSE)
# A box is a part of something if this stands before it: 2, x^, 3 +, \boxed{6} by, x \ne, \frac{3}{
PART_BEFORE = re.compile(r"""
    (?: \d (?= \{ | \Z ) | \^ | (?<![-=]) [<>] | [\w})] \s* [+*/]
      | \}\$?: (?= \$?\Z ) | \}\$? \s* (?: by | \\times )
      | \\(?:sqrt|times|cdot|neq?|[lg]eq?)
      | \\[dt]?frac (?: \s* \{(?:[^{}]|\{[^{}]*\})*\} )? )
    [\s$]* \{? \Z
    """, re.VERBOSE)
# Or if this stands behind it: \pi, ^2, / 2, million, by \boxed{8}; not a degree sign
PART_BEHIND = re.compile(rf"""
    \}}? \s* (?: \^ (?! \s*\{{?\s*\\circ ) | [!/+*<>] (?!\*) | -\s*[\d\\] | : \s* \\boxed
      | \\(?: pi | sqrt | times | cdot | frac | [lg]eq? ) (?![A-Za-z])
      | [\s$]* by \s* \$? \\boxed
      | (?: [\s$] | \\[,\ ] )* (?: \\text\s*\{{\s* )? (?: {NUMBER_WORD.pattern} ) (?![A-Za-z]) )
    """, re.VERBOSE)
AROUND = 40              # ours: characters before and behind a box in which these are looked for

Box = tuple[int, int, str]             # where it begins and ends, what it contains


def boxed_answer(text: str, truncated: bool) -> str | None:
    r"""The answer in the boxes of a text in ASCII; "" if it has none.

    None if its only box was cut off, or the next one of its list.
    """
    boxes, cut_off = _boxes(text)
    if not boxes:
        return "" if cut_off is None else None
    last = boxes.pop()
    rest = text[last[1]:cut_off]
    if cut_off is not None and _joins(rest) or truncated and _joins(rest, of_a_cut_text=True):
        return None
    begin = last[0]
    answers = [_in_context(text, last)]
    while boxes and _joins(text[boxes[-1][1]:begin]):
        box = boxes.pop()
        begin = box[0]
        answer = _in_context(text, box)
        if not any(math_equal(answer, other) for other in answers):       # once if repeated
            answers.insert(0, answer)
    return ", ".join(answers)


def _boxes(text: str) -> tuple[list[Box], int | None]:
    """(the complete boxes that are not empty, as they open; where one begins that is cut off)."""
    first = re.search(r"\\boxed|\\fbox", text)
    if not first:
        return [], None
    opened = []                        # the boxes and braces that are open at this point
    boxes = []
    for found in BOX_OR_BRACE.finditer(text, first.start()):
        if found["open"] or found[0] == "{":
            opened.append(found)
        elif found["bare"]:
            boxes.append((found.start(), found.end(), found["bare"].rstrip(".")))
        elif found[0] == "}" and opened:
            start = opened.pop()
            if start["open"]:
                content = text[start.end():found.start()].strip()
                boxes.append((start.start(), found.end(), content))

    # A box inside another one closes first, so put them in the order in which they open
    cut_off = [brace.start() for brace in opened if brace["open"]]
    return sorted(box for box in boxes if box[2].strip(".")), cut_off[-1] if cut_off else None


def _joins(between: str, of_a_cut_text: bool = False) -> bool:
    """Does what stands between two boxes make a list of them?"""
    pattern = JOINED_AND_CUT if of_a_cut_text else JOINED
    return len(between) < LONGEST and bool(pattern.fullmatch(FORMATTING.sub("", between)))


def _in_context(text: str, box: Box) -> str:
    """What a box contains, with the minus sign before it, or with what it is a part of."""
    begin, end, content = box
    before, behind = text[:begin][-AROUND:], text[end:][:AROUND]
    if MINUS.search(before):
        return f"-({content})"
    part_before, part_behind = PART_BEFORE.search(before), PART_BEHIND.match(behind)
    if not part_before and not part_behind:
        return content
    # That, and what stands beside it without a space
    start = part_before.start() if part_before else len(before)
    until = part_behind.end() if part_behind else 0
    left = re.split(r"[\s$]", before[:start])[-1] + before[start:]
    right = behind[:until] + re.split(r"[\s$]", behind[until:])[0]
    return re.sub(r"\\(?:boxed|fbox)|\$", "", left + content + right)
