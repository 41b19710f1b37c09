"""Cleaning of a response before anything is read from it: one spelling for dashes, quotes, digits and fractions;
bounded length.

Everything here is linear in the length of the text, so that megabytes of output cannot stall a reward.
"""

from __future__ import annotations

import re
import unicodedata

# A response of 16,384 tokens is about 65,000 characters; what is said of the answer stands in its last few thousand.
MAX_CHARACTERS = 8_192

# "A is closer" begins with a name, not with an article.
_ARTICLES = re.compile(r"^(?:(?:the|an?(?!\s+(?:is|are|was|has)\b))\s+)+", re.IGNORECASE)
_SPACES = re.compile(r"\s+")
_TABLE = {ord(c): "-" for c in "\u2010\u2011\u2212\ufe63\uff0d"}
_TABLE.update({ord(c): "\u2013" for c in "\u2012\u2014\u2015"})
_TABLE.update({ord(c): "'" for c in "\u2018\u2019\u201b\u2032\u02b9\u00b4"})
_TABLE.update({ord(c): '"' for c in "\u201c\u201d\u201e\u2033\u02ba"})
_TABLE.update({ord(c): None for c in "\u200b\u200c\u200d\u2060\ufeff\u00ad"})
_TABLE.update({ord(c): "," for c in "\u066c\u3001\uff0c"})
_TABLE[0x066B] = "."
_SUPERSCRIPT = str.maketrans("\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207b", "0123456789-")
_SUPERSCRIPT_RUN = re.compile("[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]+")
_OTHER_DIGIT = re.compile(r"(?![0-9])\d")
_VULGAR = {
    code: " " + unicodedata.normalize("NFKC", chr(code)).replace("\u2044", "/")
    for code in (*range(0xBC, 0xBF), *range(0x2150, 0x215F), 0x2189)
}
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
    text = text.translate(_VULGAR)
    text = _SUPERSCRIPT_RUN.sub(lambda m: "^" + m.group().translate(_SUPERSCRIPT), text)
    text = unicodedata.normalize("NFKC", text.translate(_TABLE)).replace("\u2044", "/").translate(_TABLE)
    # vulgar fractions grow as they are spelled out
    return last_part(_OTHER_DIGIT.sub(lambda m: str(unicodedata.decimal(m.group())), text))


def fold(text: str) -> str:
    """The form in which two short answers are compared: no case, no surrounding punctuation, quotes or articles, single
    spaces.
    """
    text = _SPACES.sub(" ", clean(text).casefold().replace("\u2013", "-")).strip(" \t\n.,;:!?*_`\"'()[]{}$")
    return _ARTICLES.sub("", text).strip()
