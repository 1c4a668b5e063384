r"""The mathematical expressions within a sentence.

    so he has 3 + 4 = 7 apples.                 3 + 4 = 7
    the ratio is 3 : 4.                         3 : 4
    it is $5$ million, I think                  $5$ million           a word may change a number
    it takes 20 minutes                         20                    or say what was counted
    it takes 3 hours and 20 minutes             3 hours and 20
    the solutions are x = 3 and x = 4           x = 3 and x = 4

A line is cut into tokens of these kinds, and an expression is a run of MATHS. In doubt a token
belongs to it: then the answer is no plain number, and is not paid for that number.
"""
import re

from grading.expressions import FUNCTIONS
from grading.notation import split
from grading.units import GLUED, NUMBER_WORD, TIME_OF_DAY

MATHS = "maths"          # numbers, operators, brackets, LaTeX's commands, single letters, functions
BEFORE = "before"        # changes what follows it, and is maths before maths: half of, negative
AFTER = "after"          # changes what stands before it, and is maths behind it: million, squared
BETWEEN = "between"      # joins two expressions, and is maths between them: and, to, hours
SKIPPED = "skipped"      # spaces, dollar signs, bold type: neither belongs to a run nor ends it
PROSE = "prose"          # all else

# A number without its sign: 10 080, or 12  1,234.50  .5  1.5e-3  1/2
NUMBER = r"""(?: (?<![\d.]) \d{1,3} (?:[ ]\d{3})+ (?![\d.])
    | (?: \d+ (?:,\d{3})* (?:\.\d+)? | \.\d+ ) (?: [eE][-+]?\d+ (?!\w) | /\d+ (?!\w) )? )"""
NAMES = {*FUNCTIONS, "sqrt", "pi"}
TOKEN = re.compile(rf"""
    (?P<number> {NUMBER} | (?<=\d) [ ]? {TIME_OF_DAY} )            # 12; the p.m. of 8:34 p.m.
  | (?P<between> [,&] | (?<=%) [ ]+ of (?![A-Za-z]) | (?<=/\d) [ ]+ of (?![A-Za-z]) )    # 3/4 of 16
  | (?P<text> \\ (?:text|mathrm|mbox) \s* \{{ [^{{}}]* \}} (?: \^ \{{? -?\d \}}? )? )
  | (?P<unit> [A-Za-z]{{2,}} \^ \{{?\d\}}? | (?<=\d[ ]) [a-z] \^ \{{?\d\}}?          # cm^2  m^2
      | (?! {"|".join(NAMES)} ) [A-Za-z]{{2,}} / [A-Za-z]+ )                           # km/h
  | (?P<word> and[ ] (?: an?[ ](?:half|third|quarter)             # 2 and a half
        | (?: one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve
          | (?:twen|thir|for|fif|six|seven|eigh|nine)ty ) (?![A-Za-z]) )    # 2 hundred and fifty
      | [A-Za-z]+ (?:['-][A-Za-z]+)* (?: [ ] of (?:[ ]the)? (?![A-Za-z]) )? )
  | (?P<skipped> </?[A-Za-z]\w*> | \*\*                               # a tag, bold type
      | \\ (?: [^A-Za-z{{}}|%] | q?quad (?![A-Za-z]) ) | [ \t$~`"] )
  | (?P<maths> \\ (?:begin|end) \{{ [a-z]*matrix \}}
      | \\ (?: (?! begin | end ) [A-Za-z]+ | [{{}}|%] ) | [-=]+> | [-+*^_=<>%°(){{}}\[\]]
      | / (?! [ ]? (?! {"|".join(NAMES)} ) [A-Za-z]{{2}} )           # /2, but not in miles / hour
      | (?<=\d) : (?=\d) | (?<=\d[ ]) : (?=[ ]\d)                   # 8:34  3 : 4
      | ! (?= \s* [-+*/^=)$\\] ) | (?<=\w) \| | \| (?=\w) )          # 5!$  |x|
  | .
    """, re.VERBOSE)
BEFORE_WORDS = set("not negative minus plus twice double triple root square cube".split())
BEFORE_WITH_OF = BEFORE_WORDS | set("""half third thirds quarter quarters fourth fourths fifth
    fifths""".split())
BETWEEN_WORDS = set("""and or to out over by times divided multiplied choose mod modulo
    hour hours hr hrs minute minutes min mins second seconds year years month months week weeks day
    days dollar dollars cent cents pound pounds lb lbs ounce ounces oz yard yards foot feet ft inch
    inches meter meters metre metres mile miles degree degrees""".split())
# x - 5 and tax*5, but not the dash of "in total - the answer"
OPERATOR_FOLLOWS = re.compile(r" [-+*/^<>] [\d.\\({$]|[-+*/^_<>][\d.\\({]")
AND_OR = re.compile(r"\b(?:and|or)\b")
IN_A_NUMBER = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
ARROW = re.compile(r"[-=]+>|\\(?:approx|equiv|[Rr]ightarrow|implies|to)(?![A-Za-z])")


def expressions(line: str) -> list[tuple[int, int]]:
    """Where each expression of a line begins and ends."""
    tokens = list(TOKEN.finditer(line))
    kinds = _settled([_kind(token) for token in tokens])
    found = []
    inside = False
    for token, kind in zip(tokens, kinds):
        if kind == MATHS and not inside:
            found.append((token.start(), token.end()))
        elif kind == MATHS:
            found[-1] = found[-1][0], token.end()
        inside = kind == MATHS or (inside and kind == SKIPPED)
    return found


def _kind(token: re.Match) -> str:
    """What kind of token is it, as far as it and the characters beside it can say?"""
    if token["number"] or token["maths"]:
        return MATHS
    if token["text"]:
        words = re.findall("[A-Za-z]+", token[0])[1:]
        return AFTER if any(map(NUMBER_WORD.fullmatch, words)) else PROSE
    if token["word"]:
        return _kind_of_word(token)
    if token["skipped"]:
        return SKIPPED
    return BETWEEN if token["between"] else PROSE


def _kind_of_word(token: re.Match) -> str:
    word, *of = token[0].split(" of")
    lower = word.lower()
    left = token.string[:token.start()][-1:]
    right = token.string[token.end():][:4]
    # 5x and 10th, but 5km; x1; tax + 5
    if left.isdigit():
        return PROSE if re.fullmatch(f"{GLUED}|m|g", word) else MATHS
    if right[:1].isdigit() or OPERATOR_FOLLOWS.match(right):
        return MATHS
    # Letters, but not "a" and "I", unless they are in an equation or in brackets
    if len(word) == 1:
        is_word = word in "aAI" and not re.match(r" ?[=)}]", right)
        return PROSE if is_word or right[:1] == "&" else MATHS
    if lower in NAMES:
        return MATHS
    if lower in (BEFORE_WITH_OF if of else BEFORE_WORDS):
        return AFTER if re.search(r"\d $", token.string[:token.start()][-2:]) else BEFORE
    if lower in BETWEEN_WORDS or (lower == "percent" and of):
        return BETWEEN
    is_number = NUMBER_WORD.fullmatch(lower) or lower.startswith("and ")
    return AFTER if is_number else PROSE


def _settled(kinds: list[str]) -> list[str]:
    """BEFORE, AFTER and BETWEEN become MATHS if they stand beside mathematics, else PROSE."""
    def beside(order: range) -> list[bool]:
        """Was the last token that is MATHS or PROSE in this order MATHS?"""
        maths = False
        seen = [False] * len(kinds)
        for i in order:
            seen[i] = maths
            if kinds[i] in (MATHS, PROSE):
                maths = kinds[i] == MATHS
        return seen

    behind_maths = beside(range(len(kinds)))
    before_maths = beside(range(len(kinds) - 1, -1, -1))
    settled = []
    for kind, left, right in zip(kinds, behind_maths, before_maths):
        changes = {BEFORE: right, AFTER: left, BETWEEN: left and right}
        if kind in changes:
            kind = MATHS if changes[kind] else PROSE
        settled.append(kind)
    return settled


def outcome(expression: str) -> str:
    """What an expression says at its end: 7 of 3 + 4 = 7; nothing of 3 + 4 =, which goes on.

    All of a list, x = 3 and x = 4.
    """
    expression = ARROW.sub("=", expression)
    *others, last = split(AND_OR.sub(",", IN_A_NUMBER.sub("", expression)), ",")
    is_a_list = any("=" in part for part in others) or (others and "=" not in last)
    if not is_a_list:
        expression = split(expression, "=")[-1]
    expression = expression.strip(" \t$~*_`\"=")
    # Brackets that open or close around more than the expression
    for opening, closing in (("([", ")]"), ("{", "}")):
        if sum(map(expression.count, opening)) != sum(map(expression.count, closing)):
            expression = expression.strip(opening + closing)
    return re.sub(r"[-\s$*]+$", "", expression).strip()
