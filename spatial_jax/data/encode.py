"""A question's record to an encoded question: the record in the model's pixels, its encoded prompt, the tokens a
supervised example teaches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from spatial_jax.data.cache import ByteCache
from spatial_jax.data.frames import choose_record_frames
from spatial_jax.data.prompts import PromptStyle, build_messages, shows_video, target_text, video_facts
from spatial_jax.data.records import QuestionRecord, resolve
from spatial_jax.data.sampled import first_reply_ids
from spatial_jax.data.source import QuestionSource, Unusable
from spatial_jax.processing import EncodedPrompt, Processor, Video, load_image


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedQuestion:
    """A question ready for rollout or a supervised step.

    record: coordinates already in pixels of the resized pictures; prompt: see EncodedPrompt; dataset: name of its
    source; index: its place in the split; target: the supervised response's text; target_ids int32 [t]: tokens of
    the first reply that is taught (in a form that draws a demonstration's first turn, else the response), ended by the
    end token.
    """

    record: QuestionRecord
    prompt: EncodedPrompt
    dataset: str
    index: int
    target: str
    target_ids: np.ndarray

    @property
    def record_id(self) -> str:
        return self.record.question_id

    @property
    def nbytes(self) -> int:
        """Memory in bytes, pictures included."""
        return self.prompt.nbytes + self.target_ids.nbytes + sum(len(image) for image in self.record.images) + 4096


class QuestionEncoder:
    """Records to Samples, with a memory of the last `cache_bytes` of them.

    `__call__` leaves the pixels uint8 (a quarter of the memory, in the cache and between processes); `finish`
    normalises them.
    """

    def __init__(self, processor: Processor, style: PromptStyle | None = None, cache_bytes: int = 0):
        self.processor, self.style, self.cache = processor, style or PromptStyle(), ByteCache(cache_bytes)

    def __call__(self, source: QuestionSource, position: int) -> EncodedQuestion | Unusable:
        """The question at `position` of the source, from the cache where it is there."""
        index = int(source.indices[position])
        key = (str(source.directory), source.split, index)
        question = self.cache.get(key)
        if question is None:
            record = source[position]
            question = (
                record
                if isinstance(record, Unusable)
                else self.encode(record, source.name, index, source.locate(index))
            )
            if isinstance(question, EncodedQuestion):
                self.cache.put(key, question, question.nbytes)
        return question

    def encode(
        self, record: QuestionRecord, dataset: str = "", index: int = 0, where: str = ""
    ) -> EncodedQuestion | Unusable:
        """The question, or an Unusable that says what is wrong with the record (a picture that cannot be decoded, a
        mark without a picture).
        """
        try:
            resolved, sizes = self.resolve_record(record)
            pictures = [load_image(data, f"picture {i + 1}") for i, data in enumerate(resolved.images)]
            for number, (picture, width, height) in enumerate(zip(pictures, resolved.widths, resolved.heights), 1):
                if picture.size != (width, height):
                    raise ValueError(
                        f"picture {number} has {picture.size[0]}x{picture.size[1]} pixels where the record says"
                        f" {width}x{height}"
                    )
            messages = build_messages(resolved, self.style, sizes)
            if shows_video(resolved, self.style.mode):
                prompt = self.processor.encode(messages, videos=[_clip(resolved, pictures)], normalise=False)
            else:
                prompt = self.processor.encode(messages, images=pictures, normalise=False)
            target = target_text(resolved, self.style.mode)
            ids = first_reply_ids(resolved, sizes, self.processor, self.style.mode)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
            return Unusable(where or record.question_id, f"{record.question_id}: {error}")
        return EncodedQuestion(resolved, prompt, dataset, index, target, ids)

    def finish(self, question: EncodedQuestion | Unusable) -> EncodedQuestion | Unusable:
        """The question with float32 pixels."""
        if isinstance(question, Unusable):
            return question
        prompt = self.processor.normalise(question.prompt)
        return question if prompt is question.prompt else dataclasses.replace(question, prompt=prompt)

    def measure(self, record: QuestionRecord) -> tuple[int, int, int]:
        """(prompt tokens, patches, target tokens) without decoding a picture. Raises ValueError like `encode` would
        refuse.
        """
        resolved, seen = self.resolve_record(record)
        messages = build_messages(resolved, self.style, seen)
        sizes = list(zip(resolved.widths, resolved.heights))
        if shows_video(resolved, self.style.mode):
            tokens, patches = self.processor.measure(messages, videos=[(_clip(resolved, resolved.images), sizes[0])])
        else:
            tokens, patches = self.processor.measure(messages, sizes)
        return tokens, patches, len(first_reply_ids(resolved, seen, self.processor, self.style.mode))

    def resolve_record(self, record: QuestionRecord) -> tuple[QuestionRecord, list[tuple[int, int]]]:
        """The record with the frames that are shown, in pixels of its pictures as the model sees them, and their
        (width, height). ValueError where the numbers of pictures and sizes differ, or frames cannot be chosen.
        """
        self._check_sizes(record)
        record = choose_record_frames(record, self.style, self.processor.video_settings)
        sizes = self._sizes(record)
        return resolve(record, sizes), sizes

    def _check_sizes(self, record: QuestionRecord) -> None:
        if len(record.images) != len(record.widths) or len(record.images) != len(record.heights):
            raise ValueError(
                f"{len(record.images)} pictures but {len(record.widths)} widths and {len(record.heights)} heights"
            )

    def _sizes(self, record: QuestionRecord) -> list[tuple[int, int]]:
        if shows_video(record, self.style.mode):
            if not record.images:
                raise ValueError("a video without frames")
            sizes = sorted(set(zip(record.widths, record.heights)))
            if len(sizes) > 1:
                raise ValueError(
                    f"its video's frames have {len(sizes)} sizes (the first: {sizes[0]}, {sizes[1]}); bring them to one"
                )
            return [self.processor.video_size(len(record.images), *sizes[0])] * len(record.images)
        return [self.processor.model_size(width, height) for width, height in zip(record.widths, record.heights)]


def _clip(record: QuestionRecord, frames: Sequence[Any]) -> Video:
    """The record's video of these frames, which are all shown: their indices are stated, so the processor chooses none
    of them by its own rate.
    """
    facts: dict[str, Any] = {"indices": tuple(range(len(frames)))} | video_facts(record)
    return Video(frames, **facts)
