"""What to lower, and to which number, so that questions fit the buckets: tried by the processor's own arithmetic."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterable, Sequence

from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.prompts import is_video, shows_video
from spatial_jax.data.records import QuestionRecord
from spatial_jax.processing.settings import with_limits

ROUND = 256  # a proposed prompt bucket is a multiple of this
MOST_KINDS = 32  # different shapes of records that are tried out

Shape = tuple[bool, int, tuple[int, ...], tuple[int, ...]]


def shape_of(record: QuestionRecord) -> Shape:
    """What decides, beside its words, how much of a bucket a record needs."""
    return is_video(record), len(record.images), tuple(record.widths), tuple(record.heights)


def advice(encoder: QuestionEncoder, records: Sequence[QuestionRecord], tokens: int, patches: int | None) -> str:
    """One line: the largest number of pixels and of frames with which all these records (one of each shape, that with
    the most tokens) have at most so many tokens and patches, and the bucket that they need as they are.
    """

    def fits(trial: QuestionEncoder) -> bool:
        needs = [trial.measure(record)[:2] for record in records]
        return all(t <= tokens and (patches is None or p <= patches) for t, p in needs)

    found = []
    # A form that draws gets a clip's frames as pictures: then it is the pictures' limit that helps.
    clips = [r for r in records if shows_video(r, encoder.style.mode)]
    for name, there in (("video_max_pixels", bool(clips)), ("max_pixels", len(clips) < len(records))):
        if there and (words := _most_pixels(encoder, name, fits)):
            found.append(words)
    frames = [r for r in records if is_video(r)]
    step = encoder.processor.video_settings.image.temporal_patch_size
    # Fewer frames help only where all are clips: else some record would stay too large.
    if frames and len(frames) == len(records):
        counts = range(step, max(len(r.images) for r in frames), step)
        most = _last(counts, lambda n: fits(_with_frames(encoder, n)))
        found += [f"config.data.frames to {most}"] if most else []
    need = [encoder.measure(record) for record in records]
    bucket = -(-max(t for t, _, _ in need) // ROUND) * ROUND
    room = f"add {bucket} to config.data.prompt_buckets" if max(t for t, _, _ in need) > tokens else ""
    if patches is not None and max(p for _, p, _ in need) > patches:
        more = f"{-(-max(p for _, p, _ in need) // 1024) * 1024} to config.data.patch_buckets"
        room = f"{room} and {more}" if room else f"add {more}"
    if not found:
        return f"no picture is small enough beside these texts: {room}"
    return f"lower {', or '.join(found)}; or {room}"


def _with_frames(encoder: QuestionEncoder, frames: int) -> QuestionEncoder:
    """The encoder with another number of frames."""
    return QuestionEncoder(encoder.processor, dataclasses.replace(encoder.style, frames=frames, fps=None))


def _most_pixels(encoder: QuestionEncoder, name: str, fits: Callable[[QuestionEncoder], bool]) -> str:
    """The words for the largest limit of that name with which everything fits; "" where none does."""
    processor = encoder.processor
    image = processor.video_settings.image if name.startswith("video") else processor.image_settings
    unit = image.factor**2

    def trial(units: int) -> QuestionEncoder:
        other, limited = copy.copy(processor), with_limits(image, None, units * unit)
        if name.startswith("video"):
            other.video_settings = dataclasses.replace(processor.video_settings, image=limited)
        else:
            other.image_settings = limited
        return QuestionEncoder(other, encoder.style)

    units = _last(range(1, min(image.max_pixels // unit, 2**24)), lambda n: fits(trial(n)))
    if not units:
        return ""
    lower = units * unit < image.min_pixels
    least = name.replace("max", "min")
    return f"config.data.{name} to {units * unit}" + (f" (and config.data.{least} to as much)" if lower else "")


def _last(numbers: range, fits: Callable[[int], bool]) -> int:
    """The last of rising numbers that fits, 0 where none does. Sizes are rounded to whole tokens, so what fits need not
    rise evenly: the result was tried, and the next one was not seen to fit.
    """
    low, high = 0, len(numbers)  # numbers[:low] were passed, numbers[high:] were seen not to fit
    while low < high:
        middle = (low + high) // 2
        if fits(numbers[middle]):
            low = middle + 1
        else:
            high = middle
    return numbers[low - 1] if low else 0


def largest_of_each_shape(needs: Iterable[tuple[int, Shape, int]]) -> list[int]:
    """Positions of the records with the most tokens of each shape, of (tokens, shape, position); the MOST_KINDS shapes
    that need most.
    """
    largest: dict[Shape, tuple[int, int]] = {}
    for tokens, shape, position in needs:
        largest[shape] = max(largest.get(shape, (-1, -1)), (tokens, position))
    return [position for _, position in sorted(largest.values(), reverse=True)[:MOST_KINDS]]
