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
from grading.units import CARDINALS, GLUED, NUMBER_WORD, TIME_OF_DAY

MATHS = "maths"          # numbers, operators, brackets, LaTeX's commands, single letters, functions
BEFORE = "before"        # changes what follows it, and is maths before maths: half of, negative
AFTER = "after"          # changes what stands before it, and is maths behind it: million, squared
BETWEEN = "between"      # joins two expressions, and is maths between them: and, to, hours
SKIPPED = "skipped"      # spaces, dollar signs, bold type: neither belongs to a run nor ends it
PROSE = "prose"          # all else
# For example, with the kinds before and after `_settled`:
#     it      |  |takes|  | 3   |  |hours  |  |and    |  | 20  |  |minutes|
#     prose      prose      maths  between    between    maths    between
#                           maths  maths      maths      maths    prose

# A number without its sign: 10 080, or 12  1,234.50  .5  1.5e-3  1/2
NUMBER = r"""(?: (?<![\d.]) \d{1,3} (?:[ ]\d{3})+ (?![\d.])
    | (?: \d+ (?:,\d{3})* (?:\.\d+)? | \.\d+ ) (?: [eE][-+]?\d+ (?!\w) | /\d+ (?!\w) )? )"""
NAMES = {*FUNCTIONS, "sqrt", "pi"}
TENS = "thirty forty fifty sixty seventy eighty ninety".split()
CARDINAL = f"(?: {' | '.join([*CARDINALS[1:], *TENS])} )"
# What is measured in two units: 3 hours and 20 minutes is not 20
MEASURE = """(?: (?: hour | hr | minute | min | second | sec | year | month | week | day | dollar
    | cent | pound | lb | ounce | yard | inche? | mile | degree
    | (?:kilo|centi|milli)?(?:meter|metre|gram)
    | (?:milli)?(?:liter|litre) | gallon | quart | pint | cup | tablespoon | teaspoon )s?
    | feet | foot | ft | oz | km | kg | cm | mm | ml )"""
# A group's name is its kind; number, text and word are decided in _kind. The first group that fits
# takes the token, so phrases stand before their words.
TOKEN = re.compile(rf"""
    (?P<number> {NUMBER} | (?<=\d) [ ]? {TIME_OF_DAY} )                # 12; the p.m. of 8:34 p.m.
  | (?P<prose> [A-Za-z]{{2,}} \^ \{{?\d\}}? | (?<=\d[ ]) [a-z] \^ \{{?\d\}}?                # cm^2
      | (?! {"|".join(NAMES)} ) [A-Za-z]{{2,}} / [A-Za-z]+ )                              # km/h
  | (?P<before> (?i: (?:an?|{CARDINAL}) [ ]                            # a hundred and 20, one hour
        (?: and | times | hundred | thousand | [a-z]*illion | dozen | {MEASURE} ) (?: [ ] and )?
      | (?: less | more | fewer | greater ) [ ] than | log[ ]base ) (?![A-Za-z]) )
  | (?P<after> (?i: and [ ] (?: an?[ ](?:half|third|quarter) | {CARDINAL} )      # 2 and a half
      | (?: degrees?[ ] )? below[ ]zero | (?:raised[ ])? to[ ]the[ ](?!power)[a-z]+[ ]power )
      (?![A-Za-z]) )
  | (?P<between> [,&] | (?<=\d)'(?=\d)                                                   # 5'11
      | (?: (?<=%) | (?<=/\d) | (?<=base[ ]\d) ) [ ]+ of (?![A-Za-z])                  # 3/4 of 16
      | (?i: out[ ]of | (?:raised[ ])? to[ ]the[ ]power[ ]of | (?:divided|multiplied)[ ]by
        | and | or | to | over | by | off | times | choose | mod | modulo | {MEASURE} )
      (?![A-Za-z]) )
  | (?P<text> \\ (?:text|mathrm|mbox) \s* \{{ [^{{}}]* \}} (?: \^ \{{? -?\d \}}? )? )
  | (?P<word> [A-Za-z]+ (?:['-][A-Za-z]+)* (?: [ ] of (?:[ ]the)? (?![A-Za-z]) )? )
  | (?P<skipped> </?[A-Za-z]\w*> | \*\*                                  # a tag, bold type
      | \\ (?: [^A-Za-z{{}}|%] | q?quad (?![A-Za-z]) ) | [ \t$~`"] )
  | (?P<maths> \\ (?:begin|end) \{{ [a-z]*matrix \}}
      | \\ (?: (?! begin | end ) [A-Za-z]+ | [{{}}|%] ) | [-=]+> | [-+*^_=<>%°(){{}}\[\]]
      | / (?! [ ]? (?! {"|".join(NAMES)} ) [A-Za-z]{{2}} )           # /2, but not in miles / hour
      | (?<=\d) : (?=\d) | (?<=\d[ ]) : (?=[ ]\d)                   # 8:34  3 : 4
      | ! (?= \s* [-+*/^=)$\\] ) | (?<=\w) \| | \| (?=\w) )          # 5!$  |x|
  | .
    """, re.VERBOSE)
BEFORE_WORDS = set("not negative minus plus twice double triple root square cube".split())
# x - 5 and tax*5, but not the dash of "in total - the answer"
OPERATOR_FOLLOWS = re.compile(r" [-+*/^<>] [\d.\\({$]|[-+*/^_<>][\d.\\({]")
AND_OR = re.compile(r"\b(?:and|or)\b")
IN_A_NUMBER = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
ARROW = re.compile(r"[-=]+>|\\(?:equiv|[Rr]ightarrow|implies|to)(?![A-Za-z])")


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
    if token["text"]:                                        # \text{ million}, \text{ cm}
        words = re.findall("[A-Za-z]+", token[0])[1:]
        return AFTER if any(map(NUMBER_WORD.fullmatch, words)) else PROSE
    if token["word"]:
        return _kind_of_word(token)
    if token["number"]:
        return MATHS
    return token.lastgroup or PROSE


def _kind_of_word(token: re.Match) -> str:
    word, *of = token[0].split(" of")
    lower = word.lower()
    before = token.string[:token.start()][-2:]
    after = token.string[token.end():][:4]
    if before[-1:].isdigit():
        is_unit = re.fullmatch(f"{GLUED}|m|g", word)
        return PROSE if is_unit else MATHS                   # 5km; 5x, 10th
    if after[:1].isdigit() or OPERATOR_FOLLOWS.match(after):
        return MATHS                                         # x1; tax + 5
    if len(word) == 1:
        is_word = word in "aAI" and not re.match(r" ?[=)}]", after)
        return PROSE if is_word or after[:1] == "&" else MATHS         # a pie, M&M; a = 5, x
    if lower in NAMES:
        return MATHS                                         # sin
    is_number = NUMBER_WORD.fullmatch(lower.split("-")[-1])
    if lower in BEFORE_WORDS or (of and is_number):
        is_behind = re.fullmatch(r"\d ", before)
        return AFTER if is_behind else BEFORE                # 2 thirds of the cake; a third of 6
    return AFTER if is_number else PROSE                     # 5 million; apples


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
    """What an expression says at its end.

    | expression | outcome | |
    |---|---|---|
    | 3 + 4 = 7 | 7 | what stands behind the last "=" or arrow |
    | 3 + 4 = | | nothing: it goes on |
    | x = 3 and x = 4 | x = 3 and x = 4 | a list is left whole |
    | 200, 2 x 8 = 16 | 16 | this is none: 200 stands in the words before |
    | 50/3 \\approx 16.67 | 50/3 | the exact value, not the rounded one |
    | (5 | 5 | a bracket that the expression does not close |
    """
    expression = ARROW.sub("=", expression)
    *others, last = split(AND_OR.sub(",", IN_A_NUMBER.sub("", expression)), ",")
    is_a_list = any("=" in part for part in others) or (others and "=" not in last)
    if not is_a_list:
        expression = split(expression, "=")[-1]
        exact, _, rounded = expression.partition("\\approx")
        expression = exact if re.search(r"\d|\\pi", exact) else rounded or exact
    expression = expression.strip(" \t$~_`\"=")
    if expression.startswith("*"):                           # in italics: *12*
        expression = expression.strip("*")
    for opening, closing in (("([", ")]"), ("{", "}")):
        if sum(map(expression.count, opening)) != sum(map(expression.count, closing)):
            expression = expression.strip(opening + closing)
    return re.sub(r"(?<=\w)\*$|[-\s$]+$", "", expression).strip()
