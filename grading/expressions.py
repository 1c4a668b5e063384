r"""The value of a mathematical expression (LaTeX or plain) at a point, and equality by values.

    same(r"\frac{\sqrt{3}}{3}", r"1/\sqrt{3}")         True
    proportional("2x-y+3", "2y-4x-6")                  True: equations of one line

Two expressions are one function if they agree at a few random points (Schwartz 1980, Zippel 1979),
so nothing is simplified. Arithmetic is exact on rationals, which decides polynomials and all plain
numbers; roots, logarithms and the like are complex numbers of 300 digits (mpmath, which torch
installs). A name has a rational value, which a hash of its letters gives; e, i, pi are constants.

The text may be hostile. The grammar below reads it; eval never does. The text's length and the size
of its numbers bound the work, so 9^9^9^9 ends at once, in any thread, without a time limit or a
process of its own: what is too large has no value, which is a ValueError.

    expression = term {("+" | "-") term}           term = {sign} power {["*" | "/"] power}
    power      = atom {"!" | "°"} ["^" power]      atom = number | name | (expression) | f atom ...
"""
import hashlib
import math
import operator
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Callable, Sequence

import mpmath

Number = Any                       # a Fraction, or a real or complex number of mpmath
Operation = Callable[[Number, Number], Number]
mp = mpmath.MPContext()            # ours: its precision never changes, so threads may share it
mp.dps = 300                       # digits, ours: leaves 100 for what cancels
TOLERANCE = mp.mpf(10) ** -200     # ours, relative: two different short expressions differ by more
ROUNDING = mp.mpf(10) ** -280      # ours: below this share of its terms, a sum is rounding: it is 0
WORK = 400_000                     # ours: bits of all rationals in a text; 2^100000 passes, ~0.1 s
LARGE = 2000                       # ours: no larger factorial (19,000 bits), exponent or argument

GREEK = set("alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu "
            "xi rho sigma tau phi varphi chi psi omega Gamma Delta Theta Lambda Sigma Phi Psi "
            "Omega ell".split())
CONSTANTS = {"pi": +mp.pi, "e": +mp.e, "i": mp.mpc(0, 1)}
# Not mp.cot and its like: they change the precision for a moment, which other threads would see.
TRIGONOMETRIC = {
    "sin": mp.sin, "cos": mp.cos, "tan": mp.tan, "cot": lambda x: 1 / mp.tan(x),
    "sec": lambda x: 1 / mp.cos(x), "csc": lambda x: 1 / mp.sin(x)}
INVERSE = {"sin": mp.asin, "cos": mp.acos, "tan": mp.atan}
FUNCTIONS = TRIGONOMETRIC | {
    "arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "sinh": mp.sinh, "cosh": mp.cosh,
    "tanh": mp.tanh, "exp": mp.exp, "ln": mp.ln, "log": lambda x: mp.ln(x) / mp.ln(10)}
WORDS = sorted([*FUNCTIONS, "sqrt", "pi"], key=len, reverse=True)
# A number, a command, a word above, **, or any other character
TOKEN = re.compile(rf"\d+\.?\d*|\.\d+|\\[A-Za-z]+|{'|'.join(WORDS)}|\*\*|\S")
BASED = re.compile(r"(-?[\dA-Z]+)_\{?(\d+)\}?")                       # 52_8
PERCENT = re.compile(r"^(.*)%\Z", re.DOTALL)                           # 50%
RATIO = re.compile(r"^([\d.]+):([\d.]+)$")                            # 3:4
SCIENTIFIC = re.compile(r"^(-?[\d.]+)[eE](-?\d+)$")                   # 2e3, but 2e+3 is 3 + 2e
CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}
TIMES = ("*", "\\cdot", "\\times")
# The argument of a function without brackets ends before these: sin x cos x, sin x * y
ENDS_ARGUMENT = [*FUNCTIONS, *("\\" + name for name in FUNCTIONS), *TIMES, "/"]


def equal_values(a: str, b: str) -> bool:
    """Whether numbers or expressions are equal; b is the gold answer.

    50% is 0.5, and 50 too: the question may have asked for percent. 52_8 is never a number in
    another base; if the gold answer has a base, which the question names, it may be left out.
    """
    based_a, based_b = BASED.fullmatch(a), BASED.fullmatch(b)
    if based_a or based_b:
        digits_a, base_a = based_a.groups() if based_a else (a, "10")
        digits_b, base_b = based_b.groups() if based_b else (b, "10")
        return (digits_a == digits_b and base_a == base_b) or a == digits_b
    if a.endswith("%") or b.endswith("%"):
        if same(PERCENT.sub(r"(\1)/100", a), PERCENT.sub(r"(\1)/100", b)):
            return True
        a, b = a.rstrip("%"), b.rstrip("%")
    a, b = SCIENTIFIC.sub(r"\1*10^{\2}", a), SCIENTIFIC.sub(r"\1*10^{\2}", b)
    return same(RATIO.sub(r"\1/\2", a), RATIO.sub(r"\1/\2", b))


def same(a: str, b: str) -> bool:
    """Whether both have a value at every point, and the same one."""
    try:
        return all(_close(value(a, point), value(b, point)) for point in range(3))
    except (ValueError, ArithmeticError, RecursionError):
        return False


def proportional(f: str, g: str) -> bool:
    """Whether f = c g for a number c: then the equations f = 0 and g = 0 are one."""
    try:
        (f0, g0), *others = [(value(f, point), value(g, point)) for point in range(3)]
        if _close(f0, 0) or _close(g0, 0):
            return False
        # f / f0 = g / g0, without the division
        return all(_close(_both(operator.mul, f0, g), _both(operator.mul, f, g0))
                   for f, g in others)
    except (ValueError, ArithmeticError, RecursionError):
        return False


def constant(text: str) -> bool:
    """Whether the text has a value that no name in it changes."""
    return same(text, text) and _close(value(text, 0), value(text, 1))


@lru_cache(4096)                   # ours: the items of long lists are compared many times
def value(text: str, point: int) -> Number:
    """The text's value at point 0 (names positive), 1 (negative) or 2 (of either sign).

    A Fraction where it is rational by construction, else an mpmath number. Raises ValueError if
    the text is not of the grammar, undefined or too large; ArithmeticError for a division by 0.
    """
    reader = _Reader(text, point)
    result = reader.expression()
    if reader.peek:
        raise ValueError(f"{reader.peek!r} is out of place")
    # sin(pi) is 0, but for rounding; pi/2^900 is as small and no sum: it is not 0
    if not isinstance(result, Fraction) and abs(result) <= ROUNDING * reader.largest_term:
        return Fraction(0)
    return result


def _value_of_name(name: str, point: int) -> Fraction:
    """A rational of size 0.5 to 4.7. Its denominator is odd, so that (-1)^n is real."""
    digest = hashlib.blake2b(f"{name} {point}".encode(), digest_size=8).digest()
    draw = int.from_bytes(digest, "big")
    sign = (1, -1, 1 - 2 * (draw & 1))[point]
    return sign * Fraction(101 + (draw >> 1) % 899, 211)


def _inexact(x: Number) -> Number:
    return mp.mpf(x.numerator) / x.denominator if isinstance(x, Fraction) else mp.mpmathify(x)


def _both(operation: Operation, a: Number, b: Number) -> Number:
    """Exact where both are rational."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return operation(a, b)
    return operation(_inexact(a), _inexact(b))


def _close(a: Number, b: Number) -> bool:
    if isinstance(a, Fraction) and isinstance(b, (Fraction, int)):
        return a == b
    a, b = _inexact(a), _inexact(b)
    return bool(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)))


class _Reader:
    """A recursive-descent parser that computes as it reads."""

    def __init__(self, text: str, point: int):
        self.tokens = TOKEN.findall(text) + [""]
        self.at = 0                # the next token
        self.point = point
        self.work = 0              # bits of all rationals so far
        self.largest_term = mp.mpf(0)    # of all sums that are not exact: what may cancel
        self.degree = Fraction(1)  # a degree sign's factor: pi/180 under sin and its like
        self.bars = 0              # absolute values that are open: a bar closes the innermost

    @property
    def peek(self) -> str:
        return self.tokens[self.at]

    def next(self) -> str:
        if not self.peek:
            raise ValueError("it ends too early")
        self.at += 1
        return self.tokens[self.at - 1]

    def checked(self, x: Number) -> Number:
        if isinstance(x, Fraction):
            self.work += x.numerator.bit_length() + x.denominator.bit_length()
        if self.work > WORK or not isinstance(x, Fraction) and not mp.isfinite(x):
            raise ValueError("too large")
        return x

    def may_cancel(self, *terms: Number) -> None:
        self.largest_term = max(self.largest_term, *(abs(_inexact(x)) for x in terms))

    def both(self, operation: Operation, a: Number, b: Number) -> Number:
        return self.checked(_both(operation, a, b))

    # ---- the grammar ----------------------------------------------------------------------------
    def expression(self) -> Number:
        total = self.term()
        while self.peek in ("+", "-"):
            operation = operator.add if self.next() == "+" else operator.sub
            term = self.term()
            if not (isinstance(total, Fraction) and isinstance(term, Fraction)):
                self.may_cancel(total, term)
            total = self.both(operation, total, term)
        return total

    def term(self, stop: Sequence[str] = ()) -> Number:
        """Products and quotients, from the left: 1/2x is x/2. It ends before the tokens in stop."""
        result = self.signed()
        while self.peek and self.peek not in stop:
            if self.peek in TIMES:
                self.next()
                result = self.both(operator.mul, result, self.signed())
            elif self.peek in ("/", "\\div"):
                self.next()
                result = self.both(operator.truediv, result, self.signed())
            elif self.peek in "+-)]}!^_°%" or self.peek == "|" and self.bars:
                break
            elif re.match(r"[\d.]", self.peek) and re.match(r"[\d.]", self.tokens[self.at - 1]):
                raise ValueError("two numbers side by side")
            else:
                result = self.both(operator.mul, result, self.power())
        return result

    def signed(self) -> Number:
        sign = 1
        while self.peek in ("+", "-"):
            sign *= 1 if self.next() == "+" else -1
        return sign * self.power()

    def power(self) -> Number:
        base = self.atom()
        while self.peek in ("!", "°"):
            if self.next() == "!":
                base = self.factorial(base)
            else:
                base = self.both(operator.mul, base, self.degree)
        if self.peek not in ("^", "**"):
            return base
        self.next()
        return self.raised(base, self.signed())

    def atom(self) -> Number:
        token = self.next()
        name = token.lstrip("\\")
        if re.match(r"[\d.]", token) and token != ".":
            return self.checked(Fraction(token))
        if token == "|":
            return abs(self.until("|", self.bars + 1))
        if token in CLOSING:
            return self.until(CLOSING[token], 0)
        if name in FUNCTIONS:
            return self.function(name)
        if name == "sqrt":
            index = self.atom() if self.peek == "[" else Fraction(2)
            return self.raised(self.atom(), self.both(operator.truediv, Fraction(1), index))
        if token == "\\frac":
            return self.both(operator.truediv, self.atom(), self.atom())
        if token == "\\binom":
            return self.binomial(self.atom(), self.atom())
        if name in CONSTANTS and self.peek != "_":
            return CONSTANTS[name]
        if name in GREEK or re.fullmatch("[A-Za-z]", token):
            return _value_of_name(name + self.subscript(), self.point)
        raise ValueError(f"{token!r} is unknown or out of place")

    def until(self, closing: str, bars: int) -> Number:
        """The expression before a closing bracket or bar. bars: absolute values open within it."""
        bars_outside = self.bars
        self.bars = bars
        result = self.expression()
        if self.next() != closing:
            raise ValueError(f"no {closing}")
        self.bars = bars_outside
        return result

    def subscript(self) -> str:
        if self.peek != "_":
            return ""
        self.next()
        start = self.at
        if self.next() == "{":
            while self.peek and self.next() != "}":
                pass
        return "_" + "".join(self.tokens[start:self.at]).strip("{}")

    def function(self, name: str) -> Number:
        """f x, f(x), f^2 x, f^{-1} x and log_b x; an argument without brackets is a product."""
        f = FUNCTIONS[name]
        base = exponent = None
        if self.peek == "_" and name == "log":
            self.next()
            base = self.atom()
        if self.peek == "^":
            self.next()
            exponent = self.signed()
            if exponent == -1 and name in INVERSE:
                f, exponent = INVERSE[name], None
        # The argument of f(x) ends with its bracket
        degree_outside = self.degree
        if name in TRIGONOMETRIC:
            self.degree = mp.pi / 180
        argument = self.power() if self.peek in ("(", "[", "{") else self.term(ENDS_ARGUMENT)
        self.degree = degree_outside
        result = self.applied(f, argument)
        if base is not None:
            result = self.checked(result / self.applied(FUNCTIONS["log"], base))
        return result if exponent is None else self.raised(result, exponent)

    # ---- what can be large ----------------------------------------------------------------------
    def applied(self, f: Callable[[Number], Number], x: Number) -> Number:
        x = _inexact(x)
        if abs(x) > LARGE and f not in (mp.ln, FUNCTIONS["log"]):
            raise ValueError("too large an argument")
        result = self.checked(f(x))
        self.may_cancel(x, Fraction(1))                                   # its series is a sum
        if abs(result) > 1 / TOLERANCE:                                   # tan(pi/2) in 300 digits
            raise ValueError("a pole")
        return result

    def raised(self, base: Number, exponent: Number) -> Number:
        """base^exponent: exact for whole exponents; an odd root of a negative number is real."""
        if isinstance(base, Fraction) and isinstance(exponent, Fraction):
            if exponent.denominator == 1:
                bits = base.numerator.bit_length() + base.denominator.bit_length() - 2
                if bits * abs(exponent) > WORK:
                    raise ValueError("too large a power")
                return self.checked(base ** exponent.numerator)
            if base < 0 and exponent.denominator % 2:
                return (-1) ** exponent.numerator * self.raised(-base, exponent)
        base, exponent = _inexact(base), _inexact(exponent)
        if base == 0 and mp.re(exponent) > 0:
            return Fraction(0)
        if abs(exponent) * (1 + abs(mp.ln(base))) > LARGE * 10:
            raise ValueError("too large a power")
        return self.checked(base ** exponent)

    def factorial(self, n: Number) -> Number:
        if not (isinstance(n, Fraction) and abs(n) <= LARGE) or self.peek == "!":
            raise ValueError("no factorial")
        if n.denominator == 1 and n >= 0:
            return self.checked(Fraction(math.factorial(n.numerator)))
        return self.checked(mp.gamma(_inexact(n) + 1))

    def binomial(self, n: Number, k: Number) -> Number:
        below = self.both(operator.mul, self.factorial(k), self.factorial(n - k))
        return self.both(operator.truediv, self.factorial(n), below)
