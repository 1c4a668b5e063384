r"""The final answer in a completion's text: where a human reader looks for it, in this order.

    So $x=\boxed{3}$ or $x=\boxed{5}$.            3, 5     the last box, or those that "and" joins
    I think <answer>12</answer>                    12       the last <answer> tags
    #### 18 dollars                                18       the number behind the mark of GSM8K
    The answer is 12 (3 * 4 = 12).                 12       the last "answer is"
    **Answer:** The volume is 120.                 120      the last number behind "answer:"
    He needs 5 more.                               5        the last number, if the text is whole

Whatever changes a number belongs to the answer: 5 million, 3 + 4, -$5, x > 5 (phrases.py). Each
rule reads the text in ASCII (`plain`), so that a minus sign is one in every rule.
"""
import re

from grading.answers import LONGEST
from grading.boxes import boxed_answer
from grading.characters import plain
from grading.phrases import NUMBER, expressions, outcome
from grading.units import changes_a_number, is_unit
from utils.reasoning import after_reasoning

# re.VERBOSE skips spaces and comments in a pattern; there [ ] is a space.
MARKED = re.compile(r"#{4}[ \t*]*([^#\n]*)")
ANSWER_IS = re.compile(r"""
    \b (?: answers? | correct [ ] (?:option|choice) ) \b
    (?P<part> [ ] (?:to|for|of) [ ] [^.\n]{1,100}? )?      # perhaps "to part 2"
    [\s*]*                                       # spaces, and the stars of **bold** text
    (?: (?P<verb> (?: is | are | will[ ]be ) \b )
      | [:=\n] | - [ ] )                         # a verb, or a sign in its place
    [\s:*"'`#]*
    (?: (?: therefore | thus | indeed | simply | just | then | hence | clearly | exactly | actually
          | also | still | only | equal[ ]to | given[ ]by | a[ ]total[ ]of | as[ ]follows
          | about | approximately | roughly | around | option | choice )
        \b [,:]? \s* )?                          # "is thus", "is about", "is option"
    """, re.VERBOSE | re.IGNORECASE)
FORMULA = re.compile(r"""
    \$\$? ((?:[^$\\]|\\.)+) \$\$?              # $x$ or $$x$$; in it, \$ is a dollar sign
    | \\\( (.+?) \\\) | \\\[ (.+?) \\\]         # \(x\), \[x\]
    """, re.VERBOSE | re.DOTALL)
TERM = r"[\s.,()$]*\d[\d\s.,()$/]*"         # 48+24 is not an answer yet, though it equals 72
CALCULATION = re.compile(rf"-?{TERM}(?:(?:[-+*x]|\\times|\\cdot){TERM})+")
CHOICE = re.compile(r"\(?[A-Z]\)?(?=[.):]?(?:\s|$))")
# In brackets behind a number
REMARK = re.compile(r"""
    [ ] \(
    (?= [^()]* =                                  # (3 + 4 = 7)
      | [^()\\]* [A-Za-z]{2}                      # (about 16.7)
      | [^()]* \d \s* [-+*/x] \s* \$? \d          # (3 * 4)
      | \d [\d.]* %? \)                           # (75%)
      | \\approx )                                # (\approx 16.7)
    [^()]* \)
    """, re.VERBOSE)
# A number behind these is no result: 15 liters out of the 24, $64 for 16 glasses
IN_WORDS = re.compile(r"\b(?:for|in|of|after|per|from|within|with|than|on|at|that|who)\b"
                      r"(?: (?!is|are|equals)[a-z]+){0,2} \$?$")
# The words behind an answer, perhaps in \text{ } or ( ); and those before which their noun ends
WORDS = re.compile(r"(?:\\(?:text|mathrm|mbox)\s*\{\s*|\()?([A-Za-z][A-Za-z /'-]*)")
NOUN_ENDS = re.compile(r"\b(?:because|since|which|that|so|but|and|if|when|while|as|after|before|in"
                       r"|at|on|for|of|per|with)\b")


def extract_answer(text: str, truncated: bool = False) -> str | None:
    """The final answer of a completion, or None. A thinking model's thoughts do not count.

    truncated: it ran out of tokens. Then its last number belongs to a solution that goes on, and is
    no answer: only a marked one counts, in a box or tags, behind "####" or "the answer is".
    """
    # assignment 11
    text = plain(after_reasoning(text))

    # The last box, or the last ones that "and" joins; none if the only one was cut off
    boxed = boxed_answer(text, truncated)
    if boxed != "":
        return boxed

    # What stands in the last <answer> tags
    tagged = _tagged(text)
    if tagged:
        return _after_a_sign(tagged, truncated=False)

    # The last number behind "####", as in GSM8K; then the last "the answer is"
    marked = [answer for found in MARKED.finditer(text) if (answer := _marked(found[1]))]
    if marked:
        return marked[-1]
    said = _said(text, truncated)
    if said:
        return said

    # The last number, if the completion ended by itself
    return None if truncated else _last_number(text)


def _tagged(text: str) -> str:
    """What stands between the last <answer> and </answer>."""
    before, _, _ = text.lower().rpartition("</answer>")
    start = before.rfind("<answer>")
    return text[start + len("<answer>"):len(before)].strip(" \t\n#`\"'") if start >= 0 else ""


def _marked(line: str) -> str:
    """The answer behind "####"; "" if it is a heading, such as "#### 1. First"."""
    answer, rest = _at_start(line)
    is_heading = re.match(r"[.):]\s*\w", rest)
    one_word = re.fullmatch(r"[a-z]*", rest.strip(" \t*.$"))
    return answer if not is_heading and (one_word or _is_counted(rest, answer)) else ""


# ---- "the answer is", "answer:" -----------------------------------------------------------------
def _said(text: str, truncated: bool) -> str:
    """The answer behind the last "the answer is" or "answer:" that one follows."""
    for said in reversed(list(ANSWER_IS.finditer(text))):
        rest = text[said.end():]
        if truncated and said["part"]:
            continue                                       # there are other parts to come
        read = _after_a_verb if said["verb"] else _after_a_sign
        answer = read(rest, truncated)
        if answer:
            return answer
        if truncated and rest.strip():
            return ""                                      # the last one is being written
    return ""


def _after_a_verb(text: str, truncated: bool) -> str:
    """ "The answer is": the expression that follows at once, or else the sentence."""
    answer, rest = _at_start(text[:LONGEST])
    if truncated and _is_unfinished(text, answer, rest):
        return ""
    return answer if answer and _is_counted(rest, answer) else _sentence(text)


def _after_a_sign(text: str, truncated: bool) -> str:
    """ "Answer:" may stand above a whole solution: if more numbers follow, the last of them."""
    answer, rest = _at_start(text[:LONGEST])
    behind = rest + "".join(text[:LONGEST].partition("\n")[1:])
    if truncated:
        is_last = not behind.strip(" \t\n.*`\"'$\\)")
        return answer if is_last and not _is_unfinished(text, answer, rest) else ""
    if answer and _is_counted(rest, answer) and not re.search(r"\d", behind):
        return answer
    if re.search(r"\d", text[:LONGEST]):
        return _last_number(text) or ""
    return _sentence(text)


def _at_start(text: str) -> tuple[str, str]:
    """(the formula or expression at the start of the text, the rest of its line); or ("", text)."""
    # A dollar sign before an amount of money, $5, opens no formula, $x$
    text = re.sub(r"^\$(?=[\d,.]+(?:\s|$))", "", text)
    line = _without_remarks(text.split("\n")[0])
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
        rest = _without_remarks(formula[0] + text[end_of_formula:].split("\n")[0])
        return next(filter(None, formula.groups())).strip(), rest.removeprefix(formula[0])
    return "", text


def _without_remarks(line: str) -> str:
    """The line without its remarks in brackets, except those within a formula."""
    def replaced(remark: re.Match) -> str:
        before = line[:remark.start()]
        in_formula = re.search(r"\$[^A-Za-z$]+$", before)
        return remark[0] if in_formula or not re.search(r"\d", before) else ""

    return REMARK.sub(replaced, line)


def _is_counted(rest: str, answer: str) -> bool:
    """Does what follows an answer only say what was counted, or how the sentence goes on?"""
    rest = rest.lstrip("$*_`\"')]~} \t")
    if not rest or rest[0] in ".,;!:":
        return True
    words = WORDS.match(rest)
    if not words:
        return False
    noun, *goes_on = NOUN_ENDS.split(words[1], maxsplit=1)
    if not goes_on and re.match(r"[=+*/<>]|- \d|\\times", rest[words.end():]):
        return False                                               # 3 dogs * 4 = 12
    noun = re.sub(r"^(?:more|fewer|extra|additional) (?!than)", "", noun).strip()
    if answer == "1" and re.fullmatch("[a-z]{2,}", noun):
        return not changes_a_number(noun)                          # 1 apple
    return noun in ("", "more") or is_unit(noun)


def _is_unfinished(text: str, answer: str, rest: str) -> bool:
    """May a text that was cut off within its answer, or behind it, go on to change it?

    | text | | |
    |---|---|---|
    | 12, **12**, $12$ | no | a number at the very end counts, as in all cut texts |
    | 12 apples. | no | the sentence has ended |
    | 12 times, 12 + 3, $12, the sum of | yes | |
    """
    if rest.strip(" \t$\\"):                      # words follow: do they end?
        return not re.search(r"[.!]\s|[.!]$|\n|\*\*", text)
    # Nothing follows: only a number is finished, or what has a line's end behind it
    is_number = re.fullmatch(rf"-?{NUMBER}", answer, re.VERBOSE)
    formula = FORMULA.match(text)
    is_closed = formula or (text[:1] not in ("$", "\\") and re.search(r"\d[\s.*`\"')]*$", text))
    is_finished = (is_number and is_closed) or "\n" in text
    return not is_finished


def _sentence(text: str) -> str:
    """Everything up to the end of the sentence, or up to "because" and the like."""
    line = text[:LONGEST].split("\n")[0]
    sentence = re.split(r"[.!]\s|[.!]$|\*\*| (?:because|since|which) ", line)[0]
    return sentence.strip(" $*\"'`")


# ---- the last number ----------------------------------------------------------------------------
def _last_number(text: str) -> str | None:
    """The last number, with all of the expression that it is a part of; a calculation is none."""
    for line in reversed(text.split("\n")):
        if not re.search(r"\d", line):
            continue
        line = re.sub(r"^ *[-*+>] ", "", line[-LONGEST:])              # the mark of a list's item
        line = re.sub(r"<<[^<>]*>>", "", line)                         # GSM8K's <<3+4=7>>
        line = _without_remarks(line)
        with_digits = [(begin, end) for begin, end in expressions(line)
                       if re.search(r"\d", line[begin:end])]
        # If an equation stands earlier in the line, drop the numbers behind "of", "for" and so on:
        # 24 of "9 + 6 = 15 liters of 24". A number in a formula of its own stays.
        while any("=" in line[begin:end] for begin, end in with_digits[:-1]):
            begin, end = with_digits[-1]
            in_formula = line[end:].startswith(("$", "\\)"))
            if in_formula or not IN_WORDS.search(line[:begin]):
                break
            with_digits.pop()
        if with_digits:
            begin, end = with_digits[-1]
            answer = outcome(line[begin:end])
            return None if CALCULATION.fullmatch(answer) else answer or None
    return None
