"""The words beside a number: units, which go, and words that change it, which stay.

    is_unit("red apples in total")         True
    is_unit("miles per hour")              True
    changes_a_number("zillions")           True

The lists are ours: what MATH's and GSM8K's solutions and LLMs write.
"""
import re
from typing import Callable

from grading.expressions import WORDS

# Words that are read for what they mean: 5 million is 5*10^6, negative 5 is -5
MULTIPLIERS = {"dozen": "12", "hundred": "10^2", "thousand": "10^3", "million": "10^6",
               "billion": "10^9", "trillion": "10^{12}"}
CARDINALS = """zero one two three four five six seven eight nine ten eleven twelve thirteen
    fourteen fifteen sixteen seventeen eighteen nineteen twenty""".split()      # 0, 1 .. 20


def in_digits(number: re.Match) -> str:
    """7 for seven, (2+1/2) for "two and a half", whose "and" is a comma in the normal form."""
    i = CARDINALS.index(number[1].lower())
    return f"({i}+1/2)" if number[2] else str(i)


# An answer that begins with a number in words: half, seven apples, two and a half hours
BEGINS = rf"^\s*({'|'.join(CARDINALS)})(,a\s+half)?(?![A-Za-z-])"
MEANINGS: list[tuple[re.Pattern, str | Callable[[re.Match], str]]] = [
    (re.compile(r"^\s*(?:(?:an?|one)[\s-]+)?half(?![A-Za-z])", re.IGNORECASE), "1/2"),
    (re.compile(BEGINS, re.IGNORECASE), in_digits)]
MEANINGS += [(re.compile(rf"(?<=[\d)}}])\s*(?<![A-Za-z]){word}s?(?![A-Za-z])"), f"*{factor} ")
             for word, factor in MULTIPLIERS.items()]
MEANINGS += [(re.compile(r"(?<=[\w)}])\s+squared(?![A-Za-z])"), "^2"),
             (re.compile(r"(?<=[\w)}])\s+cubed(?![A-Za-z])"), "^3"),
             (re.compile(r"(?<=\d)\s*percent(?![A-Za-z])"), "%"),
             (re.compile(r"^\s*(?:negative|minus)\s+(?=[\d.\\(A-Za-z])", re.IGNORECASE), "-")]
# These and other words that change a number: they are no units
NUMERIC = {*WORDS, *MULTIPLIERS, *(word + "s" for word in MULTIPLIERS)} | set("""
    plus minus negative positive divided multiplied squared cubed cube root roots power exponent
    factorial choose mod modulo half halves quarter quarters tens score scores gross couple fold
    percent infinity lakh lakhs crore crores mil mn bn tn grand k theta alpha beta gamma phi lambda
    mu sigma omega delta""".split())
# One of those, or a number's name: zillions, hundredths, fifteenths
NUMBER_WORD = re.compile(rf"""
    {"|".join(sorted(NUMERIC))} | [a-z]* (?:illion|hundred|thousand) (?:th)? s?
    | (?: third | fourth | fifth | sixth | seventh | eighth | ninth | tenth | eleventh | twelfth
        | [a-z]+ t (?:een|ie) th ) s?
    """, re.VERBOSE)
# Beside it alone, in a box, these change a number as well; in a sentence "5 more" is 5
MATHEMATICAL = {"zero", *CARDINALS[2:13], "twenty"} | set("""
    over by below above out to not no non least most more less greater fewer about base double
    triple twice""".split())
# Units; beside these every plural counts as a unit, since anything can be counted
UNITS = set("""
    cm mm km m ft in yd mi nm kg mg g lb lbs oz hr hrs h min sec s ms mph kph sq cu mL ml L rad
    foot feet inch mile meter metre centimeter kilometer gram kilogram pound ounce liter litre
    gallon hour minute second day week month year degree radian dollar cent euro yen yuan unit
    point people children men women mice teeth fish sheep dice per each total left remaining
    altogether long tall wide high deep square cubic ways way hertz joule watt volt newton person
    student item piece time""".split())
TIME_OF_DAY = r"(?: [aApP] \.? [ ]? [mM] (?![A-Za-z]) \.? )"             # p.m., for re.VERBOSE
GLUED = "(?:cm|mm|km|kg|mg|ml|mL|mph|lbs|lb|oz)"       # these need no space: 5km
# One word or more behind a number, or a short unit without a space; perhaps with ^2
COUNTED = re.compile(r"(?:(?<=[\d)}\]])|(?<=\\pi))(?:\s+(?P<words>[A-Za-z]+\.?(?:[\s/]+[A-Za-z]+)*)"
                     rf"|{GLUED}(?:/(?:{GLUED}|hr|h|s))?)\.?(?:\^?\{{?[23]\}}?)?$")


def changes_a_number(word: str) -> bool:
    """Does the word beside a number make another number of it?"""
    is_letter = word in ("M", "B")                         # 12M, but 12 m
    return is_letter or word.lower() in MATHEMATICAL or bool(NUMBER_WORD.fullmatch(word.lower()))


def is_unit(words: str) -> bool:
    """Do these words only say what was counted or measured, as "cm" or "red apples in total"?"""
    each = re.findall("[A-Za-z]+", words)
    names = [word for word in each if len(word) == 1 and word not in UNITS | {"a"}]
    if names or "times" in each[:-1] or any(map(changes_a_number, each)):
        return False
    plurals = [word for word in each if len(word) > 3 and re.search("[^s]s$", word)]
    return each[0] in UNITS or bool(plurals)
