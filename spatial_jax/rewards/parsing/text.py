"""Cleaning of a response before anything is read from it: one spelling for dashes, quotes, digits and fractions;
bounded length.

Everything here is linear in the length of the text, so that megabytes of output cannot stall a reward.
"""

from __future__ import annotations

import re
import unicodedata

# A response of 16,384 tokens is about 65,000 characters; an answer proper is far shorter. Longer text is read from its
# end.
MAX_CHARACTERS = 16_384

_CUE = re.compile(r"\b(?:final\s{1,4}answer|answer)\s{0,4}(?:is|was|would\s{1,4}be|=|:)\s{0,4}:?", re.IGNORECASE)
_ARTICLES = re.compile(r"^(?:(?:the|a|an)\s+)+", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_NEGATION = re.compile(
    r"(?:\bnot|\bnever|n't|\bneither|\bnor|\bexcept|\brather\s+than)\s+(?:option\s+|the\s+|a\s+|an\s+|to\s+the\s+)?[(\"'*]*$",
    re.IGNORECASE,
)

_TABLE = {ord(c): "-" for c in "\u2010\u2011\u2212\ufe63\uff0d"}
_TABLE.update({ord(c): "\u2013" for c in "\u2012\u2014\u2015"})
_TABLE.update({ord(c): "'" for c in "\u2018\u2019\u201b\u2032\u02b9\u00b4"})
_TABLE.update({ord(c): '"' for c in "\u201c\u201d\u201e\u2033\u02ba"})
_TABLE.update({ord(c): None for c in "\u200b\u200c\u200d\u2060\ufeff\u00ad"})
_TABLE.update({ord(c): "," for c in "\u066c\u3001\uff0c"})
_TABLE[0x066B] = "."
_SUPERSCRIPT = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")
# Digits grouped by no-break or thin spaces are thousands; an ordinary space separates two numbers.
_THIN_GROUP = re.compile("(?<=[0-9])[\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")


def last_part(text: str, limit: int = MAX_CHARACTERS) -> str:
    """The last `limit` characters, starting at a word: the end of a response is where its answer stands."""
    if len(text) <= limit:
        return text
    cut = text[-limit:]
    space = re.search(r"\s", cut)
    return cut[space.start() :] if space else ""


def clean(text: str) -> str:
    """`text`'s last part with one spelling a sign: minus and hyphens "-", dashes "\u2013", straight quotes, ASCII
    digits, superscripts as "^2", vulgar fractions as " 1/2", compatibility forms (NFKC), no zero-width characters.
    """
    text = last_part(text)
    if text.isascii():
        return text
    text = _THIN_GROUP.sub("", text)
    text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m.group()).replace("\u2044", "/"), text)
    text = _SUPERSCRIPT_RUN.sub(lambda m: "^" + m.group().translate(_SUPERSCRIPT), text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).replace("\u2044", "/").translate(_TABLE)
    return "".join(str(unicodedata.decimal(c)) if not c.isascii() and c.isdecimal() else c for c in text)


def after_cue(text: str) -> str | None:
    """What follows the last "answer is", "answer:" or "final answer =", or None when there is no such cue."""
    ends = [match.end() for match in _CUE.finditer(text)]
    return text[ends[-1] :] if ends else None


def fold(text: str) -> str:
    """The form in which two short answers are compared: no case, no surrounding punctuation, quotes or articles, single
    spaces.
    """
    text = _SPACES.sub(" ", clean(text).casefold().replace("\u2013", "-")).strip(" \t\n.,;:!?*_`\"'()[]{}$")
    return _ARTICLES.sub("", text).strip()


def negated(before: str) -> bool:
    """True if the text that stands before a mention denies it ("not B", "isn't the lamp")."""
    return _NEGATION.search(before[-40:]) is not None
