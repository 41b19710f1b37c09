"""Supervised drawing: a record's own turns (meta "turns") played through the environment, so that a policy learns from
what it will see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spatial_jax.data import EncodedQuestion, QuestionEncoder, QuestionRecord
from spatial_jax.data.sampled import taught_ids, turns_before
from spatial_jax.drawing import DrawingError
from spatial_jax.drawing.environment import replay_with_text
from spatial_jax.forms import get_form
from spatial_jax.rollout import Trajectory, extend
from spatial_jax.training.answers import drawing_environment
from spatial_jax.training.settings import RolloutSettings
from spatial_jax.training.setup import Setup


def demonstration(question: EncodedQuestion, setup: Setup) -> Trajectory:
    """The question's turns and its target as a trajectory with what the environment shows between them. ValueError
    where it shows nothing.
    """
    environment, processor = drawing_environment(setup, [question]), setup.processor
    mode = setup.run.data.prompt_mode
    replies = taught_ids(question.record, question.prompt.model_sizes, processor, mode)
    whole = Trajectory.written(replies[0])
    for number, reply in enumerate(replies[1:], 1):
        shown = environment(whole)
        if shown is None:
            raise ValueError(f"{question.record_id}: turn {number} of its demonstration draws nothing")
        whole = extend(whole, shown, Trajectory.written(reply))
    return whole


def demonstration_check(
    encoder: QuestionEncoder, rollout: RolloutSettings, longest: int
) -> Callable[[QuestionRecord], None]:
    """For `plan_questions`: raises ValueError for a record whose demonstration cannot be played or has more than
    `longest` tokens. No picture is decoded.
    """
    processor = encoder.processor

    def check(record: QuestionRecord) -> None:
        resolved, sizes = encoder.resolve_record(record)
        said = turns_before(resolved)
        replies = taught_ids(resolved, sizes, processor, encoder.style.mode)
        if len(said) >= rollout.turns:
            raise ValueError(f"{len(said)} turns and an answer are more than config.rollout.turns = {rollout.turns}")
        tokens = sum(map(len, replies))
        for number in range(1, len(said) + 1):
            try:
                tokens += _shown_tokens(said[:number], sizes, encoder, rollout)
            except DrawingError as error:
                raise ValueError(f"turn {number} of its demonstration: {error}") from None
        if tokens > longest:
            raise ValueError(f"more than {longest} tokens of its turns (add an answer bucket): {tokens}")

    return check


def _shown_tokens(
    said: Sequence[str], sizes: Sequence[tuple[int, int]], encoder: QuestionEncoder, rollout: RolloutSettings
) -> int:
    """Length of what the environment answers to these turns."""
    processor, tools = encoder.processor, get_form(encoder.style.mode).tools
    album, new, text = replay_with_text(
        said, sizes, rollout.turns, rollout.max_pictures, tools, lambda size: processor.model_size(*size), None
    )
    side = processor.image_settings.factor
    pads = sum(width * height // side**2 - 1 for width, height in (album.entries[i].size for i in new))
    return len(processor.tokenizer.encode(text)) + pads
