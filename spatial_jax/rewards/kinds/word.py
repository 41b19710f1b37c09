"""Word answers: 1 when the response is the answer or one of its accepted forms. Containing it is not enough."""

from __future__ import annotations

from spatial_jax.rewards.base import Context, Kind, Record, Spec, answer_kind
from spatial_jax.rewards.parsing.words import matches_word, normal_word


def _accepted_words(record: Record, spec: Spec) -> list[str]:
    return [str(record["answer"]), *map(str, spec["accept"])]


def _check(record: Record, spec: Spec) -> None:
    if not any(normal_word(word) for word in _accepted_words(record, spec)):
        raise ValueError(f"answer {record['answer']!r} holds no word to compare with")


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """`accept`: further right answers. `vocabulary`: the words a sentence is searched for (the record's options are
    added).
    """
    return float(
        matches_word(
            answer, _accepted_words(record, spec), [*map(str, spec["vocabulary"]), *map(str, record.get("options", ()))]
        )
    )


KIND: Kind = answer_kind("word", {"accept": (), "vocabulary": ()}, accuracy, _check)
