"""From a question with its answers to the records that are kept: turns with drawings as operations in pixels of the
stored pictures, and the token ids as they were sampled.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spatial_jax.blocks import assistant_turns, strip_end_marks
from spatial_jax.data import QuestionRecord
from spatial_jax.data.records import coordinate, coordinate_like
from spatial_jax.drawing import DrawingError, follow
from spatial_jax.drawing.stored import stored_turns
from spatial_jax.drawing.tool import Size
from spatial_jax.evals.heldout import answers_of, resolved_dict
from spatial_jax.forms import get_form
from spatial_jax.rejection.rules import Candidate
from spatial_jax.rewards.rule import RewardRule, score_answers


@dataclasses.dataclass(frozen=True)
class Asked:
    """How the answers were asked for. `fit`: the nearest size that the model can see; `tokenizer`: digest of the one
    that made the tokens, "" of an endpoint; `near`, `most`: as the drawing environment has them.
    """

    model: str
    prompt_mode: str
    rule: RewardRule
    fit: Callable[[Size], Size] = lambda size: size
    tokenizer: str = ""
    near: float | None = 0.0
    most: int = 45


def candidates(record: QuestionRecord, row: Mapping[str, Any], asked: Asked) -> list[Candidate]:
    """The answers of a row (see evals/responses.py), scored by the record's own reward under the rule."""
    form, texts = get_form(asked.prompt_mode), list(row["responses"])
    sizes = _sizes(row)
    scored = score_answers(resolved_dict(record, sizes), answers_of(texts, row), asked.rule, model_sizes=sizes or None)
    draws = form.several_turns and bool(record.images)
    out = []
    for number, (text, outcome) in enumerate(zip(texts, scored)):
        cut = (list(row.get("finish") or ()) + ["stop"] * len(texts))[number] != "stop"
        steps = None
        if draws:
            steps = follow(text, sizes, most=asked.most, tools=form.tools, fit=asked.fit, near=asked.near, cut=cut)
        turns = tuple(assistant_turns(strip_end_marks(text))) if draws else (text,)
        tokens = (row.get("tokens") or [()] * len(texts))[number]
        out.append(Candidate(number, turns, outcome, steps, tuple(map(tuple, tokens)), cut))
    return out


def kept_record(record: QuestionRecord, chosen: Candidate, row: Mapping[str, Any], asked: Asked) -> QuestionRecord:
    """The record that teaches this answer. ValueError with the reason where its text cannot be kept."""
    sizes = _sizes(row)
    stored = list(zip(record.widths, record.heights))
    if any(coordinate_like(turn) for turn in chosen.turns):
        raise ValueError("its text holds what reads as a coordinate placeholder")
    try:
        turns, _ = stored_turns(
            chosen.turns[:-1], stored, sizes, coordinate, get_form(asked.prompt_mode).tools, asked.fit
        )
    except DrawingError as error:
        raise ValueError(f"its drawing cannot be played again ({error.reason})") from None
    meta = record.json_field("meta")
    for name in ("turns", "reply", "sampled", "rejected", "response", "before"):
        meta.pop(name, None)
    sampled = {
        "model": asked.model,
        "number": chosen.number,
        "reward": chosen.reward,
        "prompt_mode": asked.prompt_mode,
        "sizes": [list(size) for size in sizes],
    }
    if chosen.tokens and asked.tokenizer:
        sampled |= {"tokens": [list(turn) for turn in chosen.tokens], "tokenizer": asked.tokenizer}
    meta |= {"reply": chosen.turns[-1], "sampled": sampled} | ({"turns": turns} if turns else {})
    return dataclasses.replace(
        record, question_id=f"{record.question_id}#{chosen.number}", meta=json.dumps(meta, ensure_ascii=False)
    )


def pair_record(
    record: QuestionRecord, best: Candidate, worst: Candidate, row: Mapping[str, Any], asked: Asked
) -> QuestionRecord:
    """The record whose answer is the best one and whose rejected answer is the worst. ValueError likewise."""
    if coordinate_like(worst.turns[-1]):
        raise ValueError("its text holds what reads as a coordinate placeholder")
    made = kept_record(record, best, row, asked)
    rejected: dict[str, Any] = {"reply": worst.turns[-1], "reward": worst.reward, "number": worst.number}
    if worst.tokens and asked.tokenizer:
        rejected["tokens"] = [list(turn) for turn in worst.tokens]
    meta = made.json_field("meta") | {"rejected": rejected}
    return dataclasses.replace(made, meta=json.dumps(meta, ensure_ascii=False))


def _sizes(row: Mapping[str, Any]) -> Sequence[Size]:
    return [(int(width), int(height)) for width, height in row.get("model_sizes") or ()]
