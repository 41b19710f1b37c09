"""Text from data, made fit to be shown: no character in it steers a terminal, turns a line round or breaks an
encoding.
"""

from __future__ import annotations

import re
import sys
from typing import Any

# C0 and C1 controls (ESC and CSI begin ANSI sequences), lone surrogates, bidirectional marks, embeddings and isolates,
# and the two separators that some viewers take for line ends.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def plain(value: object) -> str:
    """`value` as text in which every character that steers the viewer is a visible mark (U+FFFD); line feeds and tabs
    stay.
    """
    return _UNFIT.sub("\ufffd", str(value))


def one_line(value: object, most: int = 300) -> str:
    """`plain` text on one line, at most `most` characters."""
    text = " ".join(plain(value).split())
    return text if len(text) <= most else text[: most - 1] + "…"


def say(*values: object, stream: Any = None) -> None:
    """Prints texts that may come from data, made plain; a stream of a narrower encoding gets what it can hold."""
    stream = stream or sys.stdout
    text = " ".join(map(plain, values))
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), file=stream, flush=True)
