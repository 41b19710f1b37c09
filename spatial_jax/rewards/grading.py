r"""Equality of two short mathematical answers as EasyR1's rewards grade them (mathruler, after prm800k): equal after
either of two normal forms, or equal in value part by part.

Where the released grader asks sympy, a small arithmetic of our own does: numbers, + - * / ^, brackets, sqrt, pi, and at
most two letters, compared exactly at several points. Nothing of a model's text is ever evaluated as code. What that
arithmetic cannot read (functions, LaTeX beyond fractions, roots and the usual signs) is equal only as a string.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_LONGEST = 400  # characters of an answer that arithmetic is tried on
_WRAPPED = re.compile(r"\\text\{(.+?)\}", re.DOTALL)
_GROUPED = re.compile(r"(\d),(\d\d\d)(?=\D|$)")
_UNITS = (
    *("degree", "cm", "centimeter", "meter", "mile", "second", "minute", "hour", "day", "week", "month", "year"),
    *("foot", "feet", "inch", "yard"),
)
_UNIT = [re.compile(rf"{unit}(?:es)?s? *(?:\^[0-9]+)?") for unit in _UNITS]
_PLAIN_FRACTION = re.compile(r"-?[0-9]+.?/0*[1-9][0-9]*.?")
_TOO_HARD = re.compile(r"\^\{|\^\(|\^[0-9]+\^|\^[0-9][0-9]+")
_BRACKETS = "()[]"


def equal_answers(given: str, truth: str) -> bool:
    """Whether `given` is right. "(B)", "b" and "\\text{B}" are "B"; "B." and "B. chair" are not; "7/2" is "3.5", but
    "2/4" is not "1/2"; where the truth is a whole number, only a whole number is.
    """
    if _string_form(given) == _string_form(truth):
        return True
    said, right = _value_form(given), _value_form(truth)
    if said == right or not said:
        return said == right
    parts, wanted = _parts(said), _parts(right)
    if len(parts) != len(wanted) or (len(wanted) > 1 and (said[0], said[-1]) != (right[0], right[-1])):
        return False
    return all(map(_same_part, parts, wanted))


def _same_part(said: str, right: str) -> bool:
    if _is_plain_fraction(said) and _is_plain_fraction(right):
        return said == right
    return _is_whole(said) == _is_whole(right) and _same_value(said, right)


# the first normal form: strings (after the MATH data set's)


def _string_form(text: str) -> str:
    text = text.strip()
    wrapped = _WRAPPED.fullmatch(text)
    inner = wrapped.group(1).strip() if wrapped and "\n" not in wrapped.group(1) else text
    form = _latex_form(inner)
    return inner if form is None else form


def _latex_form(text: str) -> str | None:
    """One spelling of simple LaTeX; None where it is broken off."""
    for old, new in (("\n", ""), ("\\!", ""), ("\\\\", "\\"), ("tfrac", "frac"), ("dfrac", "frac")):
        text = text.replace(old, new)
    for mark in ("\\left", "\\right", "^{\\circ}", "^\\circ", "\\$"):
        text = text.replace(mark, "")
    if "\\text{ " in text:
        text, _, more = text.partition("\\text{ ")
        if "\\text{ " in more:
            return None
    text = text.replace("\\%", "").replace("%", "").replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = "0" + text if text[0] == "." else text
    sides = text.split("=")
    if len(sides) == 2 and len(sides[0]) <= 2:
        text = sides[1]
    roots = _braced_roots(text)
    fractions = None if roots is None else _braced_fractions(roots.replace(" ", ""))
    if fractions is None:
        return None
    return _spelled_fraction("\\frac{1}{2}" if fractions == "0.5" else fractions)


def _braced_roots(text: str) -> str | None:
    r"""\sqrt3 as \sqrt{3}; None where nothing follows a root."""
    first, *rest = text.split("\\sqrt")
    if any(not part for part in rest):
        return None
    return first + "".join("\\sqrt" + (part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}") for part in rest)


def _braced_fractions(text: str) -> str | None:
    r"""\frac12 as \frac{1}{2}; the text as it is where a fraction has one sign only, None where it has none."""
    first, *rest = text.split("\\frac")
    made = [first]
    for part in rest:
        if not part:
            return None
        if part[0] != "{":
            if len(part) < 2:
                return text
            top, bottom = part[0], part[1]
            part = f"{{{top}}}{bottom}{part[2:]}" if bottom == "{" else f"{{{top}}}{{{bottom}}}{part[2:]}"
        made.append("\\frac" + part)
    return "".join(made)


def _spelled_fraction(text: str) -> str:
    r"""3/4 as \frac{3}{4}, if both are whole numbers in their shortest spelling."""
    top, slash, bottom = text.partition("/")
    if not slash or "/" in bottom or max(len(top), len(bottom)) > 1000:
        return text
    try:
        a, b = int(top), int(bottom)
    except ValueError:
        return text
    return f"\\frac{{{a}}}{{{b}}}" if text == f"{a}/{b}" else text


# the second normal form: values


def _value_form(text: str) -> str:
    wrapped = re.search(r"^\\text\{(.+?)\}$", text)
    text = wrapped.group(1) if wrapped else text
    for mark in ("\\%", "\\$", "$", "%"):
        text = text.replace(mark, "%" if mark == "\\%" else "$" if mark == "\\$" else "")
    text = text.replace(" or ", " , ").replace(" and ", " , ")
    # "billion" holds no "million", "trillion" neither
    text = text.replace("million", "*10^6").replace("billion", "*10^9").replace("trillion", "*10^12")
    for unit in _UNIT:
        text = unit.sub("", text)
    text = re.sub(r"\^ *\\circ", "", text)
    if text and text[0] == "{" and text[-1] == "}":
        text = text[1:-1]
    text = re.sub(r",\\! *", "", text)
    whole = _whole(text)
    if whole is not None:
        text = str(round(whole))
    if "\\" in text:
        text = _without_latex(text)
    text = re.sub("- *", "-", text)
    text = re.sub("([0-9]) +(?=[0-9])", r"\1+", text) if len(text) < _LONGEST else text
    text = text.replace(" ", "").replace("{", "").replace("}", "").lower()
    whole = _whole(_without_grouping(text))
    return str(int(float(text.replace(",", "")))) if whole is not None else text


def _whole(text: str) -> float | None:
    """A number that is whole to within 1e-7, None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value - round(value)) <= 1e-7 else None


def _is_whole(text: str) -> bool:
    return _whole(_without_grouping(text)) is not None


def _is_plain_fraction(text: str) -> bool:
    return _PLAIN_FRACTION.fullmatch(text) is not None


def _without_grouping(text: str) -> str:
    """Without the commas of thousands. A comma is looked at after the one before it is gone."""
    while True:
        shorter = _GROUPED.sub(r"\1\2", text)
        if shorter == text:
            return text
        text = shorter


def _parts(text: str) -> list[str]:
    """The members of a tuple or interval, else the text alone."""
    text = _without_grouping(text)
    if len(text) > 2 and text[0] in _BRACKETS and text[-1] in _BRACKETS and not set(text[1:-1]) & set(_BRACKETS):
        return [part.strip() for part in text[1:-1].split(",")]
    return [text] if text else []


_MACROS = {
    "pi": "pi",
    "infty": "inf",
    "cup": "U",
    "cdot": "*",
    "times": "*",
    "div": "\u00f7",
    "le": "\u2264",
    "leq": "\u2264",
    "ge": "\u2265",
    "geq": "\u2265",
    "circ": "\u2218",
    "degree": "\u00b0",
}
_ARGUMENT = r"\s*(?:\{([^{}]*)\}|([^\\\s{}]))"
_FRACTION = re.compile(rf"\\[td]?frac{_ARGUMENT}{_ARGUMENT}")
_ROOT = re.compile(rf"\\sqrt{_ARGUMENT}")
_STYLED = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|up)?|math(?:rm|bf|it|sf|tt|bb|cal)|emph|mbox|boxed)\s*\{([^{}]*)\}")
_STYLE = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|up)?|math(?:rm|bf|it|sf|tt|bb|cal)|emph|mbox|boxed|left|right|displaystyle)\b ?"
)
_MACRO = re.compile(r"\\([A-Za-z]+) ?")


def _without_latex(text: str) -> str:
    """LaTeX as plain text, from the inside out: fractions with a slash, roots as sqrt(...), marks by their signs."""
    for _ in range(8):
        text = re.sub(r"\{\{([^{}]*)\}\}", r"{\1}", text)
        text, styles = _STYLED.subn(r"\1", text)
        text, roots = _ROOT.subn(lambda m: f"sqrt({m.group(1) or m.group(2) or ''})", text)
        text, fractions = _FRACTION.subn(
            lambda m: f" {m.group(1) or m.group(2) or ''}/{m.group(3) or m.group(4) or ''}", text
        )
        if not roots + fractions + styles:
            break
    if "\\sqrt" in text or "frac" in text:
        return text  # without an argument: equal to nothing but itself
    text = _STYLE.sub("", text).replace("---", "\u2014").replace("--", "\u2013")
    text = _MACRO.sub(lambda m: _MACROS.get(m.group(1), ""), text)
    text = re.sub(r"\\[,;:! ]", " ", text).replace("~", " ")
    return re.sub(r"\\([^A-Za-z])", r"\1", text).strip()


# arithmetic

_TOKEN = re.compile(r"\s*(?:([0-9]+\.?[0-9]*(?:e[-+]?[0-9]+)?|\.[0-9]+)|(sqrt|pi|[a-z])|(\*\*|[-+*/^()]))")
_POINTS = ((Fraction(3, 7), Fraction(5, 11)), (Fraction(13, 5), Fraction(-7, 3)), (Fraction(-17, 9), Fraction(23, 10)))
Value = Fraction | float


class _Unreadable(Exception):
    """The text is no arithmetic."""


def _same_value(said: str, right: str) -> bool:
    """Whether two expressions are equal at every point that is tried; False where either is none."""
    both = f"({right})-({said})"
    letters = {c for c in both.replace("sqrt", "").replace("frac", "") if c.isalpha()}
    if len(both) > _LONGEST or len(letters) > 2 or _TOO_HARD.search(both):
        return False
    names = sorted(letters - {"e"}) if both.count("pi") == 0 else sorted(letters - {"p", "i", "e"})
    rooted = "sqrt" in both or "pi" in both or "e" in letters
    try:
        for point in _POINTS:
            values = dict(zip(names, point))
            a, b = _Expression(right, values).value(), _Expression(said, values).value()
            if not _equal(a, b, exactly=not rooted):
                return False
    except (_Unreadable, ZeroDivisionError, OverflowError, ValueError, RecursionError):
        return False
    return True


def _equal(a: Value, b: Value, *, exactly: bool) -> bool:
    """Decimals are floats, as in the released grader: 0.1 + 0.2 is not 0.3. Roots are compared to 14 digits."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    x, y = float(a), float(b)
    return x == y or (not exactly and abs(x - y) <= 1e-14 * max(abs(x), abs(y)))


class _Expression:
    """A recursive descent over tokens: sums of products of powers; side by side is a product."""

    def __init__(self, text: str, values: dict[str, Fraction]) -> None:
        self.tokens: list[str] = []
        self.values = values
        self.at = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise _Unreadable
            self.tokens.append(match.group().strip())
            position = match.end()

    def value(self) -> Value:
        value = self._sum()
        if self.at != len(self.tokens):
            raise _Unreadable
        return value

    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._next()
        self.at += 1
        return token

    def _sum(self) -> Value:
        value = self._product()
        while self._next() in ("+", "-"):
            value = value + self._product() if self._take() == "+" else value - self._product()
        return value

    def _product(self) -> Value:
        value = self._sign_and_value()
        while True:
            token = self._next()
            if token in ("*", "/"):
                self._take()
                value = value * self._sign_and_value() if token == "*" else _quotient(value, self._sign_and_value())
            elif token and token not in ("+", "-", ")", "^", "**"):
                value = value * self._power()
            else:
                return value

    def _sign_and_value(self) -> Value:
        sign = 1
        while self._next() in ("+", "-"):
            sign *= -1 if self._take() == "-" else 1
        return sign * self._power()

    def _power(self) -> Value:
        base = self._atom()
        if self._next() not in ("^", "**"):
            return base
        self._take()
        exponent = self._sign_and_value()
        if not -64 <= exponent <= 64:
            raise _Unreadable
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            power: Value = base ** int(exponent)
            return power
        return math.pow(base, exponent)

    def _atom(self) -> Value:
        token = self._take()
        if token == "(":
            value = self._sum()
            if self._take() != ")":
                raise _Unreadable
            return value
        if token == "sqrt":
            return math.sqrt(self._atom())
        if token == "pi":
            return math.pi
        if token == "e":
            return math.e
        if token in self.values:
            return self.values[token]
        if not token or not (token[0].isdigit() or token[0] == "."):
            raise _Unreadable
        return Fraction(token) if token.isdigit() else float(token)


def _quotient(a: Value, b: Value) -> Value:
    return a / b
