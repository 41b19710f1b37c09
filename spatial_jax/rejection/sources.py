"""Who answers: a checkpoint of ours through the one Answerer, or a teacher behind an endpoint. Both give rows of
answers, and say how they were asked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import PromptStyle, QuestionRecord
from spatial_jax.data.asked import settle
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


@dataclasses.dataclass(frozen=True)
class Source:
    """`asked`: how answers are scored and kept; `told`: what they depend on, JSON-ready; `answer`: see run.py;
    `draws`: whether answers are conversations.
    """

    asked: Asked
    told: dict[str, Any]
    answer: Answer
    draws: bool


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
    told = {"model": str(model), "policy": asked_policy(sampler, settings), "sampling": dataclasses.asdict(chosen)}
    return Source(asked, told, answer, form.several_turns)


def policy_plan(model: str, settings: EvalSettings) -> str:
    """How a checkpoint would be asked, without loading it."""
    return settle(checkpoint_directory(model), asking_told(settings))[1]


def teacher_of(endpoint: ChatEndpoint, settings: EvalSettings, folder: Path, **more: Any) -> Teacher:
    """The teacher of the settings; its replies are kept in `folder`; `more`: fields of TeacherSettings. Nothing is
    sent.
    """
    policy, sampling = settings.policy, settings.sampling
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
        **more,
    )
    return Teacher(told, ReplyCache(folder / "replies.jsonl"))


def teacher_source(teacher: Teacher, total: int) -> Source:
    """A teacher. `total`: questions of this process, for the time left."""
    settings = teacher.settings
    form = get_form(settings.style.mode)
    show, before = progress_printer("sample"), [0]

    def answer(part: Sequence[tuple[int, QuestionRecord]], file: Any) -> Any:
        rows = teacher(part, file, lambda done, _: show(before[0] + done, max(total, 1)))
        before[0] += len(part)
        return rows

    asked = Asked(settings.endpoint.model, form.name, RewardRule(form.format), settings.fit, most=settings.pictures)
    plain = {k: v for k, v in dataclasses.asdict(settings).items() if k not in ("seconds", "tries", "pause", "threads")}
    return Source(asked, {"teacher": plain}, answer, form.several_turns)


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
