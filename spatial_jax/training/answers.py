"""Sampling and scoring of answers, for rollouts and for validation: the engine of a run, and rewards on host threads
while it decodes.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
import math
import re
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from jax.sharding import Mesh

from spatial_jax.data import EncodedQuestion, QuestionPipeline
from spatial_jax.drawing.environment import DrawingEnvironment
from spatial_jax.forms import get_form
from spatial_jax.models import model_shardings
from spatial_jax.models.quantize import quantize_layers, quantized_graph, quantized_shardings
from spatial_jax.models.sharding import tensor_ways
from spatial_jax.parallel.mesh import sampler_mesh, slice_count
from spatial_jax.rewards import Judge, JudgeConfig
from spatial_jax.rewards.judge import described_judge
from spatial_jax.rewards.rule import Answer, RewardRule, reward_spec, score_answers
from spatial_jax.rewards.scoring import Outcome
from spatial_jax.rollout import Engine, SamplingParams, Trajectory, weight_mover
from spatial_jax.rollout.answerer import Answerer, Drawing, answer_text, sampling_for
from spatial_jax.training.settings import RewardSettings, RunConfig
from spatial_jax.training.setup import Setup

SHOWN_FAILURES = 3
OnFinish = Callable[[int, Sequence[Trajectory]], None]  # (place of a question, its group), as soon as it is complete
log = logging.getLogger(__name__)


def make_engine(setup: Setup) -> Engine:
    """The sampler of a run's policy; parameters are given with each call, in the trainer's layout. ValueError for a
    config.rollout.tensor that divides neither.
    """
    run, config, mesh, graphdef = setup.run, setup.policy.config, sampling_mesh(setup), setup.graphdef
    int8, params = run.rollout.weights == "int8", setup.params(setup.start.params)
    layouts, place = [], None
    if mesh is not None and setup.mesh is not None:
        between = [] if mesh is setup.mesh else [sampler_mesh(setup.mesh, mesh.shape["tensor"], sharded=True), mesh]
        layouts = [model_shardings(config, params, m, lora=setup.lora) for m in (setup.mesh, *between)]
    if int8:
        graphdef = quantized_graph(config, graphdef, params)
        layouts = [quantized_shardings(config, layout) for layout in layouts]
    if int8 or mesh is not setup.mesh:
        convert = partial(quantize_layers, config) if int8 else None
        place = weight_mover(layouts[-1] if layouts else None, run.model.dtype, layouts[:-1], convert)
    return Engine(
        graphdef,
        config,
        max_slots=run.rollout.max_slots,
        max_prefill_tokens=run.rollout.max_prefill_tokens,
        prompt_buckets=run.data.prompt_buckets,
        answer_buckets=run.rollout.answer_buckets,
        mesh=mesh,
        place=place,
        patch_buckets=run.data.patch_buckets,
        pad_id=setup.processor.pad_id,
        kv_dtype=None if run.rollout.kv_dtype == "auto" else run.rollout.kv_dtype,
    )


def sampling_mesh(setup: Setup) -> Mesh | None:
    """The mesh that a run samples on: the trainer's, or the same devices around as many copies of the weights as
    config.rollout.tensor says.
    """
    mesh, tensor, ways = setup.mesh, setup.run.rollout.tensor, tensor_ways(setup.policy.config)
    if mesh is None:
        return None
    if tensor == -1:
        shared = math.gcd(ways, mesh.size // slice_count(list(mesh.devices.flat)))
        tensor = shared if shared > 1 and mesh.shape["fsdp"] > 1 else 0
    if not tensor:
        return mesh
    if tensor < 0 or ways % tensor:
        raise ValueError(
            f"config.rollout.tensor = {tensor} must divide {ways}, which the model's heads, hidden units and vocabulary"
            " all divide by (-1 chooses, 0 samples with the trainer's shards)"
        )
    return sampler_mesh(mesh, tensor)


def sampling_params(setup: Setup) -> SamplingParams:
    """How a run samples its rollouts."""
    rollout, processor = setup.run.rollout, setup.processor
    return sampling_for(
        processor,
        max_new_tokens=rollout.max_new_tokens,
        temperature=rollout.temperature,
        top_k=rollout.top_k,
        top_p=rollout.top_p,
        min_p=rollout.min_p,
        seed=setup.run.train.seed,
    )


@dataclasses.dataclass(frozen=True)
class Draws:
    """How the answers of one call are drawn: `size` of them to a question by `sampling`, with the random keys of
    `step`.
    """

    size: int
    sampling: SamplingParams
    step: int = 0


def sample_groups(
    answerer: Answerer,
    params: Any,
    questions: Sequence[EncodedQuestion],
    draws: Draws,
    *,
    prompt_ids: Sequence[int],
    on_finish: OnFinish | None = None,
) -> list[list[Trajectory]]:
    """A group of answers to each question, of as many turns as the run has; `prompt_ids` and `on_finish` as
    `Engine.generate` takes them.
    """
    return answerer.answer(
        params,
        [q.prompt for q in questions],
        draws.size,
        draws.sampling,
        pictures=[q.record.images for q in questions],
        step=draws.step,
        prompt_ids=prompt_ids,
        on_finish=on_finish,
    )


def make_answerer(setup: Setup) -> Answerer:
    """The answerer of a run's policy, with its engine."""
    return Answerer(make_engine(setup), setup.processor, run_drawing(setup) if setup.run.rollout.turns > 1 else None)


def run_drawing(setup: Setup) -> Drawing:
    """What the run's policy may draw."""
    rollout = setup.run.rollout
    return Drawing(
        rollout.turns,
        rollout.max_pictures,
        rollout.total_tokens,
        get_form(setup.run.data.prompt_mode).tools,
        rollout.repeat_px,
    )


def drawing_environment(setup: Setup, questions: Sequence[EncodedQuestion]) -> DrawingEnvironment:
    """What answers demonstrated turns on these questions: a repeated drawing ends none of them, it is taught as it
    was brought.
    """
    prompts, pictures = [q.prompt for q in questions], [q.record.images for q in questions]
    return dataclasses.replace(run_drawing(setup), near=None).environment(setup.processor, prompts, pictures)


def judge_config(settings: RewardSettings) -> JudgeConfig | None:
    """The judge that the settings describe; None without one. ValueError where they describe half of one."""
    return described_judge(
        settings.judge_endpoint,
        settings.judge_model,
        settings.judge_key_variable,
        settings.judge_cache,
        where="config.reward.judge_",
    )


def make_judge(settings: RewardSettings) -> Judge | None:
    """The judge behind the settings' endpoint; None without one: records that need it have no score then."""
    config = judge_config(settings)
    return None if config is None else Judge(config)


class Failures:
    """Answers without a score, counted by reason. The first SHOWN_FAILURES of each reason are logged, then each tenth,
    hundredth, ...: a reason that goes on is heard again.
    """

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def add(self, error: str) -> None:
        """One answer more without a score."""
        text = error.removesuffix("; the sample is excluded")
        reason = re.sub(r"\d+\.\d+|\d{4,}", "N", re.sub(r"record '[^']*'", "record", text))[:240]
        with self._lock:
            self.counts[reason] += 1
            count = self.counts[reason]
        if count <= SHOWN_FAILURES or count in (10, 100, 1000, 10_000, 100_000):
            log.warning("an answer has no reward (%d times by now): %s", count, text[:300])

    def most_common(self) -> str:
        """The commonest reason with its count."""
        return "; ".join(f"{count} times: {reason}" for reason, count in self.counts.most_common(1))


@dataclasses.dataclass
class Scored:
    """A group's answers as text, without the end token, and what became of each."""

    texts: list[str]
    outcomes: list[Outcome]


def run_rule(run: RunConfig) -> RewardRule:
    """What a run lays over the rewards of its records."""
    settings, user = run.reward, None
    if settings.user_file:
        user = {
            "kind": "user",
            "file": settings.user_file,
            "function": settings.user_function,
            "memory_gib": settings.user_memory_gib,
        }
    form = settings.format or get_form(run.data.prompt_mode).format
    return RewardRule(form, settings.format_weight, settings.truncated_reward, settings.gate, settings.by_family, user)


class AnswerScorer:
    """Scores groups against their whole records. `start` returns at once; groups are scored in threads of their own, as
    many at a time as keeps `reward.threads` answers of kinds that wait (judge, user) under way.
    """

    def __init__(self, setup: Setup):
        self.run, self._processor, self.rule = setup.run, setup.processor, run_rule(setup.run)
        self.judge, self.failures = make_judge(setup.run.reward), Failures()
        groups = max(setup.run.reward.threads // setup.run.rollout.group_size, 1)
        self._pool = concurrent.futures.ThreadPoolExecutor(groups, thread_name_prefix="score")

    def spec(self, record: dict[str, Any]) -> dict[str, Any]:
        """The record's reward with the run's format laid over it, or the run's user function in its place. ValueError
        for a record that names code (see `record_spec`) in a run that names none.
        """
        return reward_spec(record, self.rule)

    def __call__(self, question: EncodedQuestion, group: Sequence[Trajectory]) -> Scored:
        """The group's texts and outcomes, now."""
        texts = [self._text(t) for t in group]
        answers = [Answer(text, len(t), t.finish_reason != "stop") for text, t in zip(texts, group)]
        settings = self.run.reward
        try:
            record = question.record.as_dict()
        except ValueError as error:  # a run without data.check meets it here
            outcomes = [Outcome(None, None, error=str(error))] * len(texts)
        else:
            outcomes = score_answers(
                record,
                answers,
                self.rule,
                model_sizes=question.prompt.model_sizes,
                threads=settings.threads,
                deadline=settings.deadline_s,
                judge=self.judge,
            )
        for outcome in outcomes:
            if outcome.reward is None:
                self.failures.add(outcome.error)
        return Scored(texts, outcomes)

    def _text(self, answer: Trajectory) -> str:
        return answer_text(answer, self._processor, self.run.rollout.turns > 1)

    def start(self, question: EncodedQuestion, group: Sequence[Trajectory]) -> concurrent.futures.Future[Scored]:
        """The same, while the caller goes on decoding."""
        return self._pool.submit(self, question, group)


@dataclasses.dataclass
class Sampled:
    """Groups of answers whose scores are on the way."""

    questions: list[EncodedQuestion]
    groups: list[list[Trajectory]]
    scoring: list[concurrent.futures.Future[Scored]]

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the answers cannot be sampled again by a later policy; questions are named by their place,
        scores are made anew.
        """
        return {
            "questions": [[question.dataset, question.index] for question in self.questions],
            "groups": [
                [
                    {
                        "tokens": t.tokens.astype("<i4").tobytes(),
                        "sampler_logp": t.sampler_logp.astype("<f4").tobytes(),
                        "full_logp": t.full_logp.astype("<f4").tobytes(),
                        "finish_reason": t.finish_reason,
                    }
                    for t in group
                ]
                for group in self.groups
            ],
        }

    @classmethod
    def restore(cls, state: dict[str, Any], pipeline: QuestionPipeline, answers: AnswerScorer) -> Sampled:
        """What `state_dict` was taken of, with scoring begun again. DatasetError where a question is no longer
        there.
        """
        questions = [pipeline.question(dataset, index) for dataset, index in state["questions"]]
        groups = [
            [_trajectory(saved, i, j) for j, saved in enumerate(group)] for i, group in enumerate(state["groups"])
        ]
        return cls(questions, groups, [answers.start(question, group) for question, group in zip(questions, groups)])


def _trajectory(saved: dict[str, Any], prompt: int, sample: int) -> Trajectory:
    tokens = np.frombuffer(saved["tokens"], "<i4").astype(np.int32)
    sampler_logp, full_logp = (
        np.frombuffer(saved[name], "<f4").astype(np.float32) for name in ("sampler_logp", "full_logp")
    )
    return Trajectory.of_one_turn(tokens, sampler_logp, full_logp, saved["finish_reason"], prompt, sample)
