"""A question record as chat messages, and the answer a supervised example teaches.

A prompt mode is the name of a response form (forms.py: vsGRPO's vanilla, think and observe; Spatial-SSRL's boxed
answer; ...). A plain form adds nothing to the question, neither an instruction nor lettered options; a form of several
turns lets the policy draw on the pictures, so it numbers them, and the frames of a video are pictures.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from spatial_jax.data.records import QuestionRecord
from spatial_jax.drawing.texts import index_line
from spatial_jax.forms import FORMS, USUAL, get_form
from spatial_jax.processing.user_text import as_text

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARK = re.compile(r"<image>|<video>")
_TAGS = re.compile(r"<\w+>|\\boxed\{")
_UNITS = {"m": "metres", "cm": "centimetres", "m2": "square metres", "px": "pixels", "deg": "degrees"}
_KINDS = {
    "mcq": "the letter of the right option",
    "number": "a number",
    "box": "the box [x1, y1, x2, y2] in pixels",
    "point": "the point (x, y) in pixels",
    "order": "the order, separated by commas",
    "word": "one or two words",
    "direction": "one or two words",
    "free": "",
}


@dataclasses.dataclass(frozen=True)
class PromptStyle:
    """How records are asked: the mode, a system text (None: the chat template's own, or the drawing protocol; "": an
    empty system turn), and which frames of a clip: `frames` evenly spaced ones, or `fps` a second with at most `frames`
    (None of both: all that the record holds).
    """

    mode: str = USUAL
    system: str | None = None
    frames: int | None = None
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.mode not in FORMS:
            raise ValueError(f"prompt mode {self.mode!r} is unknown; use one of {', '.join(FORMS)}")


DEFAULT_STYLE = PromptStyle()


def instruction(mode: str, question_type: str = "free", unit: str = "", question: str = "") -> str:
    """The sentence that follows the question; "" where the question itself says how to answer and the mode asks for
    nothing more.
    """
    form, kind = get_form(mode), _KINDS.get(question_type, "")
    if question_type == "number" and unit:
        kind += f" in {_UNITS.get(unit, unit)}"
    if not form.tagged:
        stated = "answer with" in question.lower() or "[x1" in question
        return "" if stated or not kind else form.instruction.format(form=kind)
    asked_for = not form.several_turns and all(tag in question for tag in _TAGS.findall(form.target))
    # Published questions bring the sentence themselves.
    return "" if asked_for else form.instruction.format(form=kind or "the answer")


def question_text(record: QuestionRecord, mode: str) -> str:
    """The question, its lettered options where it does not list them itself, and the instruction; <image> marks are
    left in.
    """
    text = record.question
    if get_form(mode).plain or as_written(record):
        return text
    if record.question_type == "mcq" and not _lists_options(text, record.options):
        text += "".join(f"\n{LETTERS[i]}. {option}" for i, option in enumerate(record.options))
    hint = instruction(mode, record.question_type, record.unit, text)
    return f"{text}\n{hint}" if hint else text


def _lists_options(text: str, options: Sequence[str]) -> bool:
    """Whether a question shows its lettered options: on lines of their own, all in one line, or they are mere
    letters.
    """
    if re.search(r"^\s*\(?A[.):]", text, re.MULTILINE) or tuple(options) == tuple(LETTERS[: len(options)]):
        return True
    shown = (rf"(?<![A-Za-z0-9])\(?{LETTERS[i]}[.):]\s*{re.escape(option)}" for i, option in enumerate(options))
    return bool(options) and all(re.search(pattern, text) for pattern in shown)


def build_messages(
    record: QuestionRecord, style: PromptStyle = DEFAULT_STYLE, sizes: Sequence[tuple[int, int]] = ()
) -> list[dict[str, Any]]:
    """Chat messages with {"type": "image"} or {"type": "video"} parts at the question's marks; without marks the
    pictures come first. `sizes`: (width, height) of each picture as the model sees it, which only forms of several
    turns tell.

    Raises ValueError when marks and pictures do not match."""
    what = "video" if shows_video(record, style.mode) else "image"
    count = min(1, len(record.images)) if what == "video" else len(record.images)
    form = get_form(style.mode)
    numbered = form.several_turns and len(sizes) == count
    numbers = [_text_part(index_line(i + 1, sizes[i])) if numbered else [] for i in range(count)]
    text = question_text(record, style.mode)
    before, shown = _earlier(record)
    count, numbers = count - shown, numbers[shown:]
    content: list[dict[str, Any]] = []
    marks = len(_MARK.findall(text))
    if marks == 0 or (what == "image" and is_video(record) and marks == 1):
        # A video's one mark stands for all of its frames.
        content = [part for number in numbers for part in ({"type": what}, *number)]
        text = _MARK.sub("", text)
    elif marks != count:
        raise ValueError(f"the question has {marks} <image> marks but {count} {what}(s)")
    at = 0
    for match, number in zip(_MARK.finditer(text), numbers):
        content += _text_part(text[at : match.start()]) + [{"type": what}, *number]
        at = match.end()
    content += _text_part(text[at:])
    turns = [*before, {"role": "user", "content": content}]
    own = as_written(record).get("system") if form.system is None else form.system
    system = own if style.system is None else style.system
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def as_written(record: QuestionRecord) -> dict[str, Any]:
    """What a record that was brought as a conversation says of it: `response` (the reply to learn, word for word),
    `system` and `before` (the earlier turns [{"role", "content"}], whose <image> marks come first); {} for others.
    """
    meta = record.json_field("meta") if '"response"' in record.meta else {}
    return {key: meta[key] for key in ("response", "system", "before") if key in meta} if "response" in meta else {}


def _earlier(record: QuestionRecord) -> tuple[list[dict[str, Any]], int]:
    """(the turns before the question as messages, how many of the record's pictures they show)."""
    turns, shown = [], 0
    for said in as_written(record).get("before") or []:
        parts = _MARK.split(said["content"])
        content = [p for i, text in enumerate(parts) for p in (*([{"type": "image"}] if i else []), *_text_part(text))]
        shown += len(parts) - 1
        turns.append({"role": said["role"], "content": content})
    return turns, shown


def shows_video(record: QuestionRecord, mode: str) -> bool:
    """Whether the record's pictures go to the model as one video."""
    return is_video(record) and not get_form(mode).several_turns


def is_video(record: QuestionRecord) -> bool:
    """Whether the record's pictures are the frames of one video: meta holds {"video": {"fps", "indices", "total",
    "times"}} (all optional; `times` in seconds, where the rate varies).
    """
    return "video" in record.meta and isinstance(record.json_field("meta").get("video"), dict)


def video_facts(record: QuestionRecord) -> dict[str, Any]:
    """`fps`, `indices`, `total` and `times` of a video record as processing.Video takes them. ValueError for lists that
    are none.
    """
    stated = record.json_field("meta")["video"]
    facts = {key: stated[key] for key in ("fps", "indices", "total", "times") if stated.get(key) is not None}
    for key in ("indices", "times"):
        if key in facts:
            if not isinstance(facts[key], list):
                raise ValueError(f"{key} of the record's video is no list")
            facts[key] = tuple(facts[key])
    return facts


def answer_text(record: QuestionRecord) -> str:
    """What a perfect policy writes as the bare answer: the letter of the right option for lettered questions, else the
    record's answer.
    """
    if (
        record.question_type == "mcq"
        and record.answer in record.options
        and record.answer not in LETTERS[: len(record.options)]
    ):
        return LETTERS[record.options.index(record.answer)]
    return record.answer


def target_parts(record: QuestionRecord, mode: str) -> tuple[str, str]:
    """(answer, thought) of the response that supervised fine-tuning teaches. The thought is the record's own (meta
    "thought", else its answer sentence "sentence", else one plain sentence).
    """
    meta = record.json_field("meta")
    answer = record.answer if get_form(mode).plain else answer_text(record)
    return answer, meta.get("thought") or meta.get("sentence") or f"From the picture, the answer is {answer}."


def target_text(record: QuestionRecord, mode: str) -> str:
    """The response that supervised fine-tuning teaches: the record's own, word for word, where it brings one (as a
    conversation, or sampled: meta "reply"); else `target_parts` in the mode's form.
    """
    own = record.json_field("meta").get("reply") if '"reply"' in record.meta else as_written(record).get("response")
    if own is not None:
        return own
    return get_form(mode).write(*target_parts(record, mode))


def _text_part(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": as_text(text)}] if text else []
