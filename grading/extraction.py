r"""The final answer in a completion's text: where a human reader looks for it, in this order.

    So $x=\boxed{3}$ or $x=\boxed{5}$.            3, 5     the last box, or those that "and" joins
    I think <answer>12</answer>                    12       the last <answer> tags
    #### 18 dollars                                18       the number behind the mark of GSM8K
    **Final Answer:** The volume is 120.           120      the last "answer is" or "answer:"
    He needs 5 more.                               5        the last number, if the text is whole

Whatever changes a number belongs to the answer: 5 million, 3 + 4, -$5, x > 5 (phrases.py). Each
rule reads the text in ASCII (`plain`), so that a minus sign is one in every rule.
"""
import re

from grading.answers import LONGEST, math_equal
from grading.characters import plain
from grading.phrases import NUMBER, expressions, outcome
from grading.units import is_unit
from utils.reasoning import after_reasoning

# re.VERBOSE skips spaces and comments in a pattern; there [ ] is a space and [#] is a "#".
BOX_OR_BRACE = re.compile(r"""
    \\ (?:boxed|fbox)                # a box ..
    (?: \s* (?P<open>\{)             #     .. that opens with a brace: \boxed{x+1}
      | \s* (?P<bare>\\[dt]?frac\s?\d\s?\d | -?[\d.][\w./-]*) )     # .. or has none: \boxed 7
    | \\ .                           # an escaped character: \{ is not a brace
    | [{}]                           # a brace
    """, re.VERBOSE | re.DOTALL)
# What does not count between two boxes: formula marks, spaces, bold type, the braces of \text{and}
FORMATTING = re.compile(r"""
    [\s$*{}~] | \\[()\[\],;:! ] | \\q?quad\b | \\(?:text|textrm|mbox|mathrm)\b
    """, re.VERBOSE)
JOIN = r"""
    (?: cm | m | km | ft | inches | units | dollars )?             # the unit of the first box,
    (?: [,;&]+ (?:and|or)? | and | or )                            # a comma or a word,
    (?: [A-Za-z]\w{0,3} (?:\(\w\))? = )? -?                          # the name of the second: x_1 =
    """
JOINED = re.compile(JOIN, re.VERBOSE | re.IGNORECASE)
JOINED_AND_CUT = re.compile(JOIN + r"(?: [A-Za-z] | \\[a-z]{0,5} )?", re.VERBOSE | re.IGNORECASE)
MINUS = re.compile(r"(?:^|[=$(\[,]|\b(?:is|or|and)\b) \s* - \s* $", re.VERBOSE)
MARKED = re.compile(r"#{4}[ \t*]*([^#\n]*)")
ANSWER_IS = re.compile(r"""
    \b answers? \b                               # "answer" or "answers"
    (?: [ ] (?:to|for|of) [ ] [^.\n]{1,100}? )?  # perhaps "to the question"
    [\s*]*                                       # spaces, and the stars of **bold** text
    (?: (?P<verb> (?: is | are | was | (?:should|must|will|would) [ ] be ) \b )
      | [:=\n] | - [ ] )                         # a verb, or a sign in its place
    [\s:*"'`#]*
    (?: (?:therefore|thus|indeed|simply|just|then|hence|clearly|exactly|as[ ]follows|option|choice)
        \b [,:]? \s* )?                          # "is thus", "is option"
    """, re.VERBOSE | re.IGNORECASE)
FORMULA = re.compile(r"""
    \$\$? ((?:[^$\\]|\\.)+) \$\$?              # $x$ or $$x$$; in it, \$ is a dollar sign
    | \\\( (.+?) \\\) | \\\[ (.+?) \\\]         # \(x\), \[x\]
    """, re.VERBOSE | re.DOTALL)
TERM = r"[\s.,()$]*\d[\d\s.,()$/]*"         # 48+24 is not an answer yet, though it equals 72
CALCULATION = re.compile(rf"-?{TERM}(?:(?:[-+*x]|\\times|\\cdot){TERM})+")
CHOICE = re.compile(r"\(?[A-Z]\)?(?=[.):]?(?:\s|$))")
# The words behind an answer, perhaps in \text{ } or ( ); and those before which their noun ends
WORDS = re.compile(r"(?:\\(?:text|mathrm|mbox)\s*\{\s*|\()?([A-Za-z][A-Za-z /'-]*)")
NOUN_ENDS = re.compile(r"\b(?:because|since|which|that|so|but|and|if|when|while|as|after|before|in"
                       r"|at|on|for|of|per|with)\b")


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
        return _joined(text, boxes, cut_off, truncated)

    # What stands in the last <answer> tags
    tagged = _tagged(text)
    if tagged:
        return _said("answer: " + tagged, truncated=False)

    # The last number behind "####", as in GSM8K; then the last "the answer is"
    marked = [answer for found in MARKED.finditer(text) if (answer := _marked(found[1]))]
    if marked:
        return marked[-1]
    said = _said(text, truncated)
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
    return sorted(box for box in boxes if box[2].strip(".")), cut_off[-1] if cut_off else None


def _joined(text: str, boxes: list[Box], cut_off: int | None, truncated: bool) -> str | None:
    r"""The last box; \boxed{3} and \boxed{5} are a list, \boxed{3} and \boxed{ is not finished."""
    if not boxes:
        return None
    last = boxes.pop()
    rest = text[last[1]:cut_off]
    if cut_off is not None and _joins(rest) or truncated and _joins(rest, of_a_cut_text=True):
        return None
    begin = last[0]
    answers = [_signed(text, last)]
    while boxes and _joins(text[boxes[-1][1]:begin]):
        box = boxes.pop()
        begin = box[0]
        answer = _signed(text, box)
        if not any(math_equal(answer, other) for other in answers):       # once if repeated
            answers.insert(0, answer)
    return ", ".join(answers)


def _joins(between: str, of_a_cut_text: bool = False) -> bool:
    """Does what stands between two boxes make a list of them?"""
    pattern = JOINED_AND_CUT if of_a_cut_text else JOINED
    return len(between) < LONGEST and bool(pattern.fullmatch(FORMATTING.sub("", between)))


def _signed(text: str, box: Box) -> str:
    r"""What a box contains, with the minus sign before it: $x = -\boxed{5}$."""
    begin, _, content = box
    return f"-({content})" if MINUS.search(text[:begin][-20:]) else content


def _tagged(text: str) -> str:
    """What stands between the last <answer> and </answer>."""
    before, _, _ = text.lower().rpartition("</answer>")
    start = before.rfind("<answer>")
    return text[start + len("<answer>"):len(before)].strip(" \t\n#") if start >= 0 else ""


def _marked(line: str) -> str:
    """The answer behind "####"; "" if it is a heading, such as "#### 1. First"."""
    answer, rest = _at_start(line)
    is_heading = re.match(r"[.):]\s*\w", rest)
    one_word = re.fullmatch(r"[a-z]*", rest.strip(" \t*.$"))
    return answer if not is_heading and (one_word or _is_counted(rest)) else ""


def _said(text: str, truncated: bool) -> str:
    """The answer behind the last "the answer is" that one follows."""
    for said in reversed(list(ANSWER_IS.finditer(text))):
        rest = text[said.end():]
        answer, more = _at_start(rest[:LONGEST])
        if truncated and rest.strip() and _is_unfinished(rest, answer, more):
            return ""
        a_list_follows = not said["verb"] and re.match(r"1[.)]\s+[A-Z]", rest)
        if not answer or a_list_follows or not _is_counted(more):
            answer = _in_words(rest, not said["verb"], truncated)
        if answer:
            return answer
    return ""


def _at_start(text: str) -> tuple[str, str]:
    """(the formula or expression at the start of the text, the rest of its line); or ("", text)."""
    # A dollar sign before an amount of money, $5, opens no formula, $x$
    text = re.sub(r"^\$(?=[\d,.]+(?:\s|$))", "", text)
    line = text.split("\n")[0]
    choice = CHOICE.match(line)
    if choice:
        return choice[0], line[choice.end():]
    formula = FORMULA.match(text)
    end_of_formula = formula.end() if formula else 0
    runs = expressions(line)
    if runs and not line[:runs[0][0]].strip("$*_`\"'~ "):
        begin, end = runs[0]
        if end > end_of_formula:                      # $5$ million, $1$ and $2$
            return outcome(line[begin:end]), line[end:]
    if formula:
        return next(filter(None, formula.groups())).strip(), text[formula.end():].split("\n")[0]
    return "", text


def _is_counted(rest: str) -> bool:
    """Does what follows an answer only say what was counted, or how the sentence goes on?"""
    rest = rest.lstrip("$*_`\"')]~} \t")
    if not rest or rest[0] in ".,;!?:":
        return True
    words = WORDS.match(rest)
    if not words:
        return False
    noun = NOUN_ENDS.split(words[1])[0]
    noun = re.sub(r"^(?:more|fewer|extra|additional) (?!than)", "", noun).strip()
    return noun in ("", "more") or is_unit(noun)


def _is_unfinished(text: str, answer: str, rest: str) -> bool:
    """May a text that ran out of tokens within its answer go on to change it?"""
    if rest.strip(" \t$\\"):
        return not re.search(r"[.!]\s|[.!]$|\n|\*\*", text)           # 12 times
    plain_number = re.fullmatch(rf"-?{NUMBER}", answer, re.VERBOSE)
    closed = text[:1] not in ("$", "\\") and re.search(r"\d[\s.*`\"')]*$", text)
    return not (plain_number and closed) and "\n" not in text


def _in_words(text: str, after_a_sign: bool, truncated: bool) -> str:
    """The answer of a sentence. Behind "Answer:" it is the last number of what follows."""
    if after_a_sign and re.search(r"\d", text[:LONGEST]):
        return "" if truncated else _last_number(text) or ""
    # Everything up to the end of the sentence, or up to "because" and the like
    line = text[:LONGEST].split("\n")[0]
    sentence = re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0]
    return sentence.strip(" $*\"'`")


def _last_number(text: str) -> str | None:
    """The last number, with all of the expression that it is a part of; a calculation is none."""
    for line in reversed(text.split("\n")):
        if not re.search(r"\d", line):
            continue
        line = re.sub(r"^ *[-*+>] ", "", line[-LONGEST:])              # the mark of a list's item
        line = re.sub(r"<<[^<>]*>>", "", line)                         # GSM8K's <<3+4=7>>
        with_digits = [(begin, end) for begin, end in expressions(line)
                       if re.search(r"\d", line[begin:end])]
        if with_digits:
            begin, end = with_digits[-1]
            answer = outcome(line[begin:end])
            return None if CALCULATION.fullmatch(answer) else answer or None
    return None
