"""LaTeX and Markdown in an answer as plain text: \\frac{1}{2} is 1/2, \\text{B} is B, 10^{3} is 10^3, **B** is B."""

from __future__ import annotations

import re

_WRAPPER = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|operatorname|mbox|boxed)\s?\{([^{}]{0,400})\}")
_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s{0,3}([^{}\\]{1,40}?)\s{0,3}\}\s?\{\s{0,3}([^{}\\]{1,40}?)\s{0,3}\}")
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s?([0-9])\s?([0-9])")
_EXPONENT = re.compile(r"\^\s?\{\s?([-+]?[0-9]{1,3})\s?\}")
_DEGREE = re.compile(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ)|\\degree\b")
_SPACE = re.compile(r"\\[,;:!>]|\\ |\\(?:quad|qquad|left|right|displaystyle)\b|~(?=\\)|\\[()\[\]]|\$")
_COMMANDS = (
    (re.compile(r"\\(?:times|cdot)\b"), "\u00d7"),
    (re.compile(r"\\(?:approx|simeq|sim)\b"), "\u2248"),
    (re.compile(r"\\pm\b"), "\u00b1"),
    (re.compile(r"\\([%#&_])"), r"\1"),
    (re.compile(r"\{,\}"), ","),
)
# A star between numbers or blanks is a product, not emphasis.
_MARKS = re.compile(r"\*{2,3}|(?<![0-9 ])\*|\*(?![0-9 ])|`{1,3}|(?<![A-Za-z0-9])__|__(?![A-Za-z0-9])")
_MIXED = re.compile(r"(?<![0-9.,])([0-9]{1,6}) and (?:a|one) (half|quarter)\b", re.IGNORECASE)


def plain(text: str) -> str:
    """`text` (cleaned) without LaTeX commands and Markdown emphasis, in linear time; unknown commands stay."""
    if "\\" in text or "$" in text or "^" in text:
        text = _SPACE.sub(" ", text)
        for pattern, sign in _COMMANDS:
            text = pattern.sub(sign, text)
        text = _DEGREE.sub("\u00b0", text)
        for _ in range(3):  # \text{} inside \mathrm{} inside a box
            text, count = _WRAPPER.subn(r" \1 ", text)
            if not count:
                break
        text = _SHORT_FRACTION.sub(r" \1/\2 ", _FRACTION.sub(r" \1/\2 ", text))
        text = re.sub(r"(?<!\s)\s{1,3}\^", "^", _EXPONENT.sub(r"^\1", text))
    text = _MIXED.sub(lambda m: f"{m.group(1)} 1/{2 if m.group(2).lower() == 'half' else 4}", text)
    return _MARKS.sub("", text).strip() if "*" in text or "`" in text or "__" in text else text.strip()
