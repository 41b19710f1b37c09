"""What a record teaches, as token ids: answers that were sampled (`python -m spatial_jax.sample`) by the very tokens
that the policy drew where tokenizer and picture sizes are those it saw, everything else by its text.

meta "turns": what is said before the last reply; "reply": the sampled last reply; "sampled": {"tokens": ids of each
turn, "tokenizer": its digest, "sizes": [[w, h]] of the pictures as they were seen, "prompt_mode", ...}; "rejected":
{"reply", "tokens"} of the answer that a preference pair rejects.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spatial_jax.data.prompts import target_text
from spatial_jax.data.records import QuestionRecord
from spatial_jax.drawing.tool import Size
from spatial_jax.forms import get_form
from spatial_jax.processing import Processor

_OF_PICTURES = ("box", "point")  # answers in pixels of the picture as it was seen


def turns_before(record: QuestionRecord) -> list[str]:
    """The turns that a record demonstrates before its last reply. ValueError where they are no texts."""
    turns = record.json_field("meta").get("turns", []) if '"turns"' in record.meta else []
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise ValueError('meta "turns" must be a list of texts')
    return turns


def taught_ids(record: QuestionRecord, sizes: Sequence[Size], processor: Processor, mode: str) -> list[np.ndarray]:
    """int32 ids of each turn that the record (resolved for pictures of these (width, height)) teaches, ended; the last
    is the reply. ValueError for an answer that was sampled in another form, or in pixels of another size.
    """
    sampled = sampled_facts(record)
    if sampled.get("prompt_mode") not in (None, mode):
        raise ValueError(
            f"its answer was sampled in the form {sampled['prompt_mode']!r}: set config.data.prompt_mode to it"
        )
    same = _same_sizes(sampled, sizes)
    if sampled and not same and record.question_type in _OF_PICTURES:
        raise ValueError(
            f"its answer is in pixels of pictures of {sampled.get('sizes')}, and they are shown as"
            f" {[list(s) for s in sizes]}: set config.data.min_pixels and max_pixels as they were"
        )
    known = _known_ids(sampled, processor) if same else None
    texts = [*turns_before(record), target_text(record, mode)]
    if known is not None and len(known) == len(texts):
        return known
    return [_with_end(text, processor) for text in texts]


def first_reply_ids(record: QuestionRecord, sizes: Sequence[Size], processor: Processor, mode: str) -> np.ndarray:
    """int32 ids of the first of `taught_ids` in a form of several turns, of the response in one of one turn: there
    nothing is drawn before it.
    """
    return taught_ids(record, sizes, processor, mode)[0 if get_form(mode).several_turns else -1]


def sampled_facts(record: QuestionRecord) -> dict[str, Any]:
    """The record's meta "sampled", {} where it is not sampled."""
    facts = record.json_field("meta").get("sampled") if '"sampled"' in record.meta else None
    return facts if isinstance(facts, dict) else {}


def rejected_reply(record: QuestionRecord) -> str | None:
    """The sampled answer that a preference pair rejects; None of a record without one."""
    rejected = _rejected_facts(record)
    return str(rejected["reply"]) if isinstance(rejected.get("reply"), str) else None


def rejected_ids(record: QuestionRecord, text: str, processor: Processor) -> np.ndarray:
    """int32 ids of the rejected answer: as they were sampled, else of its text, ended."""
    facts = {**sampled_facts(record), "tokens": _rejected_facts(record).get("tokens")}
    known = _known_ids(facts, processor) if _rejected_facts(record).get("reply") == text else None
    return known[-1] if known else _with_end(text, processor)


def _rejected_facts(record: QuestionRecord) -> dict[str, Any]:
    rejected = record.json_field("meta").get("rejected") if '"rejected"' in record.meta else None
    return rejected if isinstance(rejected, dict) else {}


def _with_end(text: str, processor: Processor) -> np.ndarray:
    return np.asarray([*processor.tokenizer.encode_text(text), processor.eos_ids[0]], np.int32)


def _same_sizes(sampled: dict[str, Any], sizes: Sequence[Size]) -> bool:
    """Whether pictures are shown at the sizes that were seen; of a video one size was told for all frames."""
    seen = [list(map(int, size)) for size in sizes]
    told = sampled.get("sizes")
    return seen == told or (isinstance(told, list) and len(told) == 1 and all(size == told[0] for size in seen))


def _known_ids(sampled: dict[str, Any], processor: Processor) -> list[np.ndarray] | None:
    """The sampled ids where this tokenizer made them."""
    tokens = sampled.get("tokens")
    if not tokens or sampled.get("tokenizer") != processor.tokenizer.digest:
        return None
    try:
        return [np.asarray(turn, np.int32).reshape(-1) for turn in tokens]
    except (ValueError, TypeError, OverflowError):
        return None
