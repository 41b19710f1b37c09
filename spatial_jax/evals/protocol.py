"""How a benchmark is asked and read: as published, or in the response form that a policy was trained in.

In a form, the official question stays as it is (its wording, choices and units) and the form's instruction follows it;
a response is first read by the form, and what that extracts by the official rule. The protocol stands in every result.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from spatial_jax.data import instruction
from spatial_jax.data.asked import TEMPLATE
from spatial_jax.drawing.texts import index_line
from spatial_jax.evals.registry import form_answer
from spatial_jax.evals.settings import PUBLISHED, EvalSettings
from spatial_jax.forms import Form, get_form
from spatial_jax.processing.user_text import as_text

if TYPE_CHECKING:
    from spatial_jax.evals.benchmarks.base import Benchmark
    from spatial_jax.evals.generation import Sampler

THOUGHT_TOKENS = 1024  # of a reply with a thought, where neither the settings nor the policy's training say
TAG_TOKENS = 64  # beside a benchmark's own limit, for tags around an answer
MAX_EXAMPLES, EXAMPLE_LENGTH = 3, 200
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Protocol:
    """`form`: the response form's name, None as published; `system`: the system text, None the chat template's own;
    `max_new_tokens` of a reply; `frames` of a video, 0 without one; `rotations` of the options.
    """

    form: str | None
    system: str | None
    max_new_tokens: int
    frames: int = 0
    rotations: int = 1

    @property
    def table_entry(self) -> Form | None:
        """The form itself, None as published."""
        return None if self.form is None else get_form(self.form)

    def describe(self, scoring: str, limits: Mapping[str, Any]) -> str:
        """The protocol in full, as one line."""
        asked = f"response form {self.form}" if self.form else "as published (no response form)"
        system = "the template's own system text" if self.system is None else f"system {self.system[:60]!r}"
        parts = [asked, system, f"scoring {scoring}", f"at most {self.max_new_tokens} new tokens"]
        parts += [f"{self.frames} frames"] if self.frames else []
        parts += ["circular: " + str(self.rotations) + " rotations of the options"] if self.rotations > 1 else ["plain"]
        parts += [f"{name} {limits[name]}" for name in ("max_pixels", "video_max_pixels") if limits.get(name)]
        return ", ".join(parts)


def choose_protocol(sampler: Sampler, benchmark: Benchmark, settings: EvalSettings, rotations: int = 1) -> Protocol:
    """The protocol that the settings and the policy's own export make for a benchmark: a form that was told, else the
    one it was trained in, else none.
    """
    told, asking = settings.policy.prompt_mode, sampler.asking
    form = None
    if told != PUBLISHED and (told is not None or sampler.remembers):
        form = get_form(asking.prompt_mode)
    system = asking.system
    if told == PUBLISHED:  # the training's system text is part of the form
        system = None if settings.policy.system == TEMPLATE else settings.policy.system
    if system is None and form is not None and settings.policy.system != TEMPLATE:
        system = form.system
    tokens = settings.sampling.max_new_tokens or answer_room(form, benchmark.max_new_tokens, asking.max_new_tokens)
    if not settings.sampling.max_new_tokens:
        tokens = min(tokens, max(sampler.engine.answer_buckets))
    frames = (asking.frames or benchmark.frames) if benchmark.frames and told != PUBLISHED else benchmark.frames
    frames = settings.sampling.frames or frames if benchmark.frames else 0
    if form is not None and form.several_turns:
        frames = _frames_to_draw_on(frames, asking.max_pictures, benchmark, settings)
    return Protocol(form.name if form else None, system, tokens, frames, rotations)


def _frames_to_draw_on(frames: int, most: int | None, benchmark: Benchmark, settings: EvalSettings) -> int:
    """The frames of a video as numbered pictures, of `most` (None: ViLaSR's 45) in a conversation with those that are
    drawn. ValueError for a number that was asked for and leaves none to draw.
    """
    from spatial_jax.rollout.answerer import DRAWN_FRAMES, MAX_PICTURES  # jax, which scoring alone does without

    most = most or MAX_PICTURES
    if frames < most:
        return frames
    says = f"{benchmark.name}: {frames} frames leave none of a conversation's {most} pictures to draw"
    if settings.sampling.frames:
        raise ValueError(f"{says}; set config.sampling.frames to {DRAWN_FRAMES} (ViLaSR's), or raise max_pictures")
    log.warning("%s: asked with %d; config.sampling.frames says otherwise", says, DRAWN_FRAMES)
    return DRAWN_FRAMES


def answer_room(form: Form | None, published: int, trained: int | None) -> int:
    """New tokens of a reply: the benchmark's own limit for bare answers; a form's tags and thoughts have as much room
    as in training, and never less than the benchmark gives.
    """
    if form is None or not form.tagged:
        return published
    return max(trained or (THOUGHT_TOKENS if form.thinks else published + TAG_TOKENS), published)


def asked_text(text: str, form: Form | None) -> str:
    """An official question with the form's instruction behind it."""
    hint = instruction(form.name) if form else ""
    return f"{text}\n{hint}" if hint else text


def item_messages(
    text: str,
    pictures: int,
    videos: int,
    system: str | None = None,
    sizes: Sequence[tuple[int, int]] = (),
) -> list[dict[str, Any]]:
    """Chat messages of a benchmark's prompt: pictures at its <image> marks, or before the text when it has none; a
    video before the text. `sizes`: (width, height) of each picture as the model sees it, for a form that numbers them.
    """

    def picture_entries(number: int) -> list[dict[str, Any]]:
        numbered = [{"type": "text", "text": index_line(number + 1, sizes[number])}] if sizes else []
        return [{"type": "image"}, *numbered]

    content: list[dict[str, Any]] = [{"type": "video"}] * videos
    parts = text.split("<image>")
    if len(parts) - 1 == pictures and pictures:
        for i, part in enumerate(parts):
            content += [{"type": "text", "text": as_text(part)}] if part else []
            content += picture_entries(i) if i < pictures else []
    else:
        content += [entry for i in range(pictures) for entry in picture_entries(i)]
        content += [{"type": "text", "text": as_text(text.replace("<image>", ""))}]
    turn = {"role": "user", "content": content}
    return [turn] if system is None else [{"role": "system", "content": system}, turn]


def unparsed_kinds(responses: Sequence[tuple[str, str, bool, bool]], form: str | None) -> dict[str, dict[str, Any]]:
    """What could not be read, by kind: {kind: {"count", "examples": [{"id", "text"}]}} of (id, text, whether a limit
    cut it off, whether something was read).
    """
    kinds: dict[str, dict[str, Any]] = {}
    for name, text, cut, read in responses:
        if read:
            continue
        if not text.strip():
            kind = "empty"
        elif cut:
            kind = "cut off before an answer"
        elif form is not None and form_answer(text, form) is None:
            kind = f"not in the form {form}"
        else:
            kind = "no answer of the question's kind"
        entry = kinds.setdefault(kind, {"count": 0, "examples": []})
        entry["count"] += 1
        if len(entry["examples"]) < MAX_EXAMPLES:
            shown = text if len(text) <= EXAMPLE_LENGTH else "... " + text[-EXAMPLE_LENGTH:]
            entry["examples"].append({"id": name, "text": shown})
    return dict(sorted(kinds.items(), key=lambda pair: -pair[1]["count"]))
