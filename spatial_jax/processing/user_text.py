"""Text from data inside a prompt: control tokens in it (<|im_end|>, <|image_pad|>, ...) stay text.

The tokenizer turns such strings into control tokens wherever they stand, so a question could close its own turn and
speak for the policy. A mark between "<" and "|" keeps them apart; `pieces` cuts there, and the parts are encoded one
after the other, which gives the ids of the same text without a control token.
"""

from __future__ import annotations

import re

MARK = "\ufdd0"  # a noncharacter: no text that is exchanged holds it
_CONTROL = re.compile(rf"<{MARK}*(?=\|[^<>|\s]{{1,64}}\|>)")


def as_text(text: str) -> str:
    """The text with a mark in every string that looks like a control token; marking twice changes nothing."""
    return _CONTROL.sub("<" + MARK, text)


def pieces(text: str) -> list[str]:
    """The parts of a text between its marks: what is encoded one after the other."""
    return [piece for piece in text.split(MARK) if piece] or [""]
