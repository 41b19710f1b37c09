"""Who answers: a checkpoint of ours through the one Answerer, or a teacher behind an endpoint. Both give rows of
answers, and say how they were asked.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import PromptStyle, QuestionRecord
from spatial_jax.data.asked import Asking, settle
from spatial_jax.data.frames import choose_record_frames
from spatial_jax.endpoints import ChatEndpoint, ReplyCache
from spatial_jax.evals.generation import Sampler, asking_told
from spatial_jax.evals.protocol import THOUGHT_TOKENS
from spatial_jax.evals.runner import HELDOUT_TOKENS, asked_policy, asked_rule, progress_printer, record_requests
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.forms import USUAL, get_form
from spatial_jax.models import checkpoint_directory
from spatial_jax.rejection.kept import Asked
from spatial_jax.rejection.run import Answer
from spatial_jax.rejection.teacher import Teacher, TeacherSettings
from spatial_jax.rewards.rule import RewardRule
from spatial_jax.rollout.answerer import MAX_PICTURES, MAX_TURNS

# What of Qwen2.5-VL's pictures a teacher sees where nothing is told: ViLaSR's evaluation.
TEACHER_LIMITS = (16_384, 351_232)
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Source:
    """`asked`: how answers are scored and kept; `told`: what they depend on, JSON-ready; `answer`: see run.py; `shown`:
    a record with the frames of its clip that are asked about and kept, ValueError where they cannot be chosen.
    """

    asked: Asked
    told: dict[str, Any]
    answer: Answer
    shown: Callable[[QuestionRecord], QuestionRecord] = lambda record: record


def policy_source(model: str, settings: EvalSettings, total: int) -> Source:
    """A checkpoint, loaded. `total`: questions of this process, for the time left."""
    sampler, chosen = Sampler.from_directory(model, settings), settings.sampling
    print(sampler.asked, flush=True)
    sampler.keeps_tokens = True
    asking = sampler.asking
    form = get_form(asking.prompt_mode)
    room = asking.max_new_tokens or (THOUGHT_TOKENS if form.thinks else HELDOUT_TOKENS)
    sampling = sampler.sampling(
        max_new_tokens=chosen.max_new_tokens or min(room, max(sampler.engine.answer_buckets)),
        temperature=chosen.temperature,
        top_p=chosen.top_p,
        top_k=chosen.top_k,
        seed=chosen.seed,
    )
    show, before = progress_printer("sample"), [0]

    def answer(part: Sequence[tuple[int, QuestionRecord]], file: Any) -> Any:
        requests = record_requests([r for _, r in part], sampler, PromptStyle(asking.prompt_mode, asking.system))
        # A question's draws do not depend on who else is asked, nor on how many share the work.
        requests = [dataclasses.replace(request, place=place) for request, (place, _) in zip(requests, part)]
        rows = sampler.respond(
            requests, chosen.samples, sampling, file, lambda done, _: show(before[0] + done, max(total, 1))
        )
        before[0] += len(part)
        return rows

    asked = Asked(
        str(model),
        asking.prompt_mode,
        asked_rule(asking),
        lambda size: sampler.processor.model_size(*size),
        sampler.processor.tokenizer.digest,
        most=asking.max_pictures or MAX_PICTURES,
    )
    told = {
        "model": str(model),
        "weights": sampler.weights,
        "policy": asked_policy(sampler, settings),
        "sampling": dataclasses.asdict(chosen),
    }
    # The frames that training shows, chosen once: what is drawn on them and kept counts them as they were seen.
    style = PromptStyle(asking.prompt_mode, asking.system, asking.frames, asking.fps)
    return Source(asked, told, answer, lambda r: choose_record_frames(r, style, sampler.processor.video_settings))


def shown_records(
    records: Sequence[QuestionRecord], shown: Callable[[QuestionRecord], QuestionRecord]
) -> list[QuestionRecord]:
    """The records as they are asked; those that cannot be are counted in the log. ValueError where none is left."""
    kept, reasons = list[QuestionRecord](), collections.Counter[str]()
    for record in records:
        try:
            kept.append(shown(record))
        except ValueError as error:
            reasons[str(error)] += 1
    for reason, count in reasons.items():
        log.warning("%d of %d questions left out: %s", count, len(records), reason)
    if not kept:
        raise ValueError(f"no question can be asked: {'; '.join(reasons)}")
    return kept


def policy_plan(model: str, settings: EvalSettings) -> tuple[Asking, str]:
    """How a checkpoint would be asked, without loading it, and a line that says so."""
    return settle(checkpoint_directory(model), asking_told(settings))


def teacher_of(endpoint: ChatEndpoint, settings: EvalSettings, folder: Path, **more: Any) -> Teacher:
    """The teacher of the settings; its replies are kept in `folder`; `more`: fields of TeacherSettings. Nothing is
    sent. ValueError for settings that an endpoint cannot be told.
    """
    policy, sampling = settings.policy, settings.sampling
    if sampling.top_k:
        raise ValueError(f"sampling.top_k = {sampling.top_k}: chat completions know no top_k; narrow with --top_p")
    if sampling.frames:
        raise ValueError(
            f"sampling.frames = {sampling.frames}: a teacher is shown all frames of a record; ask about shorter ones"
        )
    low, high = (given or known for given, known in zip((policy.min_pixels, policy.max_pixels), TEACHER_LIMITS))
    style = PromptStyle(policy.prompt_mode or USUAL, policy.system)
    told = TeacherSettings(
        endpoint,
        style,
        sampling.samples,
        sampling.temperature,
        sampling.max_new_tokens or THOUGHT_TOKENS,
        sampling.seed,
        sampling.turns or MAX_TURNS,
        sampling.max_pictures or MAX_PICTURES,
        (low, high),
        top_p=sampling.top_p,
        **more,
    )
    return Teacher(told, ReplyCache(folder / "replies.jsonl"))


def teacher_source(teacher: Teacher, total: int) -> Source:
    """A teacher. `total`: questions of this process, for the time left."""
    settings = teacher.settings
    show, before = progress_printer("sample"), [0]

    def answer(part: Sequence[tuple[int, QuestionRecord]], file: Any) -> Any:
        rows = teacher(part, file, lambda done, _: show(before[0] + done, max(total, 1)))
        before[0] += len(part)
        return rows

    form = get_form(settings.style.mode)
    asked = Asked(settings.endpoint.model, form.name, RewardRule(form.format), settings.fit, most=settings.pictures)
    plain = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("seconds", "tries", "pause", "threads")}
    return Source(asked, {"teacher": plain}, answer)


def teacher_plan(teacher: Teacher, records: Sequence[QuestionRecord]) -> list[str]:
    """What would be asked of a teacher: how much, and the first question's messages without their pictures."""
    settings = teacher.settings
    form = get_form(settings.style.mode)
    answers = len(records) * settings.samples
    most = answers * (settings.turns if form.several_turns else 1)
    pictures = sum(len(record.images) for record in records) * settings.samples
    lines = [
        f"would ask {settings.endpoint.model} at {settings.endpoint.url}: {len(records)} questions,"
        f" {answers} answers, {answers} to {most} requests with {pictures} pictures or more, at most"
        f" {settings.max_tokens} tokens a reply; nothing was sent"
    ]
    messages, _ = teacher.opening(records[0])
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        told = "".join(part["text"] if part["type"] == "text" else "[picture]" for part in parts)
        lines.append(f"{message['role']}: {told}")
    return lines
