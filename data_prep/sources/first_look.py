"""What a source has to say before it is read: files that were left out, and first frames whose depth or camera cannot
be.
"""

from __future__ import annotations

from data_prep.sources.base import Source
from data_prep.sources.listing import left_out_text


def first_look(source: Source) -> list[str]:
    """Lines to print, one a warning; empty where nothing is strange."""
    text = left_out_text(getattr(source, "left_out", []))
    return [text] if text else []
