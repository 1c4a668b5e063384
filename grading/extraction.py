r"""The final answer in a completion's text: where a human reader looks for it, in this order.

    So $x=\boxed{3}$ or $x=\boxed{5}$.            3, 5     the last box, or those that "and" joins
    I think <answer>12</answer>                    12       the last <answer> tags
    #### 18 dollars                                18       the number behind the mark of GSM8K
    **Final Answer:** The volume is 120.           120      the last "answer is" or "answer:"
    He needs 5 more.                               5        the last number, if the text is whole

Whatever changes a number belongs to the answer: 5 million, 5 sqrt(2), 5x, negative 5. Each pattern
searches the text in ASCII (`notation.plain`), so that a minus sign is one in every rule.
"""
import re

from grading.answers import LONGEST, math_equal
from grading.expressions import WORDS
from grading.notation import GLUED, NUMERIC, plain
from utils.reasoning import after_reasoning

# re.VERBOSE skips spaces and comments in a pattern; there [ ] is a space and [#] is a "#".
NUMBER = r"""
    (?: (?<![\w)}]) -               # a minus sign, but not the one of 7-5;
        (?: (?<==[ ]-) [ ] )? )?    #     there may be a space behind it in "= - 5"
    (?: \\[dt]?frac\{\d+\}\{\d+\}    # \frac{1}{2}, or digits: 12  1,234.50  .5  1/2
      | (?: (?<!\d) \d{1,3} (?:[ ]\d{3})+ (?!\d)                # 10 080
          | \d+ (?:,\d{3})* (?:\.\d+)? | \.\d+ ) (?:/\d+)? )"""
BOX_OR_BRACE = re.compile(r"""
    \\ (?:boxed|fbox)                # a box ..
    (?: \s* (?P<open>\{)             #     .. that opens with a brace: \boxed{x+1}
      | \s* (?P<bare>-?[\d.][\w./-]*) )     # .. or has no braces: \boxed 7
    | \\ .                           # an escaped character: \{ is not a brace
    | [{}]                           # a brace
    """, re.VERBOSE | re.DOTALL)
JOINED = re.compile(r"""
    [\s$]* (?:\\[)\]])? [\s,;]*                # a formula ends; a comma,
    (?: (?<=[,;\s]) (?:and|or) \s            # and a word, or the comma alone
      | \\text\s*\{\s*(?:and|or)\s*\} | (?<=[,;]) | (?<=[,;]\s) )
    [\s$]* (?:\\[(\[])? \s* (?:[A-Za-z]\w?\s*=\s*)?        # another formula begins, "y ="
    """, re.VERBOSE)
MARKED = re.compile(rf"""
    [#]{{4}} [ \t*]* \$?             # the mark "####" of GSM8K, perhaps a dollar sign,
    (?P<number>{NUMBER})             # the number,
    (?P<more> [^#\n]* )              # and what follows it in the line
    """, re.VERBOSE)
ANSWER_IS = re.compile(r"""
    \b answers? \b                               # "answer" or "answers"
    (?: [ ] (?:to|for|of) [ ] [^.\n]{1,100}? )?  # perhaps "to the question"
    [\s*]*                                       # spaces, and the stars of **bold** text
    (?: (?: is | are | was | (?:should|must|will|would) [ ] be ) \b    # a verb
      | [:=\n] )                                 # or a sign in its place
    [\s:*"'`]*
    (?: (?:therefore|thus|indeed|simply|just|then|hence|as[ ]follows) \b [,:]? \s* )?  # "is thus"
    """, re.VERBOSE | re.IGNORECASE)
SUBJECT = re.compile(r"""                        # "The volume is 120" as an answer
    (?: [A-Za-z'-]{1,30} [ ] ){1,12}?            # its subject
    (?: is | are | was | were | has | have | equals | costs ) \b [\s:*]*
    (?= [\d$\\(.-] )
    """, re.VERBOSE)
FORMULA = re.compile(r"""
    \$\$? ((?:[^$\\]|\\.)+) \$\$?              # $x$ or $$x$$; in it, \$ is a dollar sign
    | \\\( (.+?) \\\) | \\\[ (.+?) \\\]         # \(x\), \[x\]
    """, re.VERBOSE | re.DOTALL)
MATHS = rf"""                                    # what changes a number: 5 million, 5 x
    (?: (?:{"|".join(sorted(NUMERIC))}) (?![A-Za-z]) | (?![aAI]) [A-Za-z] (?![A-Za-z'&]) )"""
NUMBER_ENDS = re.compile(rf"""
    ({NUMBER}) (?= [.,;!*"'`\s]* $                  # after the number the line ends,
      | [.,;]? \s+                                  # or goes on in words,
        (?! (?:and|or) [ ] [-$\\\d] | {MATHS}       # but not "and 2", "million",
          | (?!of|for|in|at|on|when|if|as) [a-z]+ ,? (?:[ ]and)? [ ] \d )     # "hours and 30"
        (?: [a-z] | \( (?! \w+ \) \s* {MATHS}) [A-Za-z]{{2}} ) )
    """, re.VERBOSE)
# Around the last number: what makes it a part of an expression, or changes it
BEFORE_NUMBER = re.compile(rf"""
    (?: [A-Za-z^_] | [A-Za-z}}^_] \s? [({{\[]
      | \b (?:{"|".join(WORDS)}|root) (?:_\{{?\w{{1,9}}\}}?)? [ ] ) \Z     # log_2 8
    """, re.VERBOSE)
AFTER_NUMBER = re.compile(rf"""
    (?! (?:{GLUED}|m|g) (?![A-Za-z]) ) [A-Za-z^_(] | \\ (?!text|mathrm|mbox) [A-Za-z]
    """, re.VERBOSE)
MATHS_BEHIND = re.compile(rf"""
    [ \t*$]* (?: \\(?:text|mathrm|mbox) \s* \{{ )? [ ]* ( \\? {MATHS} (?: [ ] {MATHS} )* )
    """, re.VERBOSE)


def extract_answer(text: str, truncated: bool = False) -> str | None:
    """The final answer of a completion, or None. A thinking model's thoughts do not count.

    truncated: it ran out of tokens. Then its last number belongs to a solution that goes on, and is
    no answer: only one in the form that the prompt asked for counts.
    """
    # assignment 11
    text = plain(after_reasoning(text))

    # The last box, or the last ones that "and" joins; none if the only one was cut off
    boxes, cut_off = _boxes(text)
    if boxes or cut_off is not None:
        return _joined(text, boxes, cut_off)

    # What stands in the last <answer> tags
    tagged = _tagged(text)
    if tagged:
        return _said(tagged) or tagged

    # The last number behind "####", as in GSM8K; then the last "the answer is"
    marked = [answer for found in MARKED.finditer(text) if (answer := _marked(found))]
    if marked:
        return marked[-1]
    said = _said(text)
    if said:
        return said

    # The last number, if the completion ended by itself
    return None if truncated else _last_number(text)


Box = tuple[int, int, str]             # where it begins and ends, what it contains


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
    return sorted(box for box in boxes if box[2]), cut_off[-1] if cut_off else None


def _joined(text: str, boxes: list[Box], cut_off: int | None) -> str | None:
    r"""The last box; \boxed{3} and \boxed{5} are a list, \boxed{3} and \boxed{ is not finished."""
    if not boxes:
        return None
    begin, end, content = boxes.pop()
    if cut_off is not None and JOINED.fullmatch(text[end:cut_off]):
        return None
    answers = [content]
    while boxes and JOINED.fullmatch(text[boxes[-1][1]:begin]):
        begin, _, content = boxes.pop()
        if not any(math_equal(content, other) for other in answers):       # once if repeated
            answers.insert(0, content)
    return ", ".join(answers)


def _tagged(text: str) -> str:
    """What stands between the last <answer> and </answer>."""
    before, _, _ = text.lower().rpartition("</answer>")
    start = before.rfind("<answer>")
    return text[start + len("<answer>"):len(before)].strip() if start >= 0 else ""


def _marked(found: re.Match) -> str:
    """The answer behind "####"; "" if it is a heading, such as "#### 1. First"."""
    number = found["number"]
    more = found["more"].strip(" \t*.$")
    if not more or more == "%" or re.fullmatch(r"[a-z]+", more) and not re.match(MATHS, more, re.X):
        return number
    if re.match(rf"[-+*/^=(\\] | {MATHS}", more, re.VERBOSE):
        return f"{number} {more}"
    return ""


def _said(text: str) -> str:
    """The answer behind the last "the answer is" that one follows."""
    for said in reversed(list(ANSWER_IS.finditer(text))):
        answer = _answer_at_start(text[said.end():said.end() + LONGEST])
        if answer:
            return answer
    return ""


def _answer_at_start(text: str) -> str:
    """The answer at the start of what follows "the answer is"."""
    subject = SUBJECT.match(text)
    if subject:
        text = text[subject.end():]

    # A dollar sign before an amount of money, $5, opens no formula, $x$
    if re.match(r"\$[\d,.]+(?:\s|$)", text):
        text = text[1:]

    # A formula, unless it is the first of several: $1$ and $2$
    formula = FORMULA.match(text)
    if formula and not re.match(r",? *(?:and|or)? *[$\\]", text[formula.end():]):
        return next(filter(None, formula.groups())).strip()

    # A number, or else everything up to the end of the sentence, or up to "because" and the like
    line = text.split("\n")[0]
    number = NUMBER_ENDS.match(line)
    if number:
        return number[1]
    sentence = re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0]
    return sentence.strip(" $*\"'`")


def _last_number(text: str) -> str | None:
    """The last number, with all of the expression that it is a part of."""
    numbers = list(re.finditer(NUMBER, text, re.VERBOSE))
    if not numbers:
        return None
    number = numbers[-1][0]
    before = text[:numbers[-1].start()][-LONGEST:]
    after = text[numbers[-1].end():][:LONGEST]
    # x^2, \sqrt{2}, 5x: everything up to the spaces around it
    found = BEFORE_NUMBER.search(before)
    if found or AFTER_NUMBER.match(after):
        glued = found.start() if found else len(before)
        left = re.split(r"\s", before[:glued])[-1] + before[glued:]
        return (left + number + re.split(r"\s", after)[0]).strip("$*\"'`.,;:!?\n ")
    # 5 million, negative 5
    changed = MATHS_BEHIND.match(after)
    if changed:
        number += f" {changed[1]}"
    if re.search(r"\b(?:negative|minus)[ *$]*$", before, re.IGNORECASE):
        number = "-" + number
    return number
