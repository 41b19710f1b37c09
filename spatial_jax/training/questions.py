"""The stream of questions that a method trains on: opened, measured against the buckets, tried, and mixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from spatial_jax.data import (
    PipelineSettings,
    PromptStyle,
    QuestionEncoder,
    QuestionPipeline,
    QuestionRecord,
    QuestionSource,
    open_mixture,
    plan_questions,
)
from spatial_jax.training.setup import Setup

Check = Callable[[QuestionRecord], None]  # raises ValueError for a record that the method cannot use
Look = Callable[[Sequence[QuestionSource]], None]


def question_stream(
    setup: Setup,
    *,
    prompt_tokens: int,
    target_tokens: int | None = None,
    check: Callable[[QuestionEncoder], Check | None] = lambda encoder: None,
    before: Look = lambda sources: None,
    after: Look = lambda sources: None,
    together: int = 1,
) -> QuestionPipeline:
    """The run's questions. Every process draws the same ones: a batch is global, and devices take their parts of it.

    With config.data.check, records that need more than `prompt_tokens` or `target_tokens` (None: their written answers
    are not used) or that `check` refuses are named and left out. `before` and `after` look at the sources before and
    after that. `together`: questions on one picture that follow each other.
    """
    data = setup.run.data
    sources = open_mixture(data.paths, data.split, data.families)
    style = PromptStyle(data.prompt_mode, data.system, data.frames, data.fps)
    encoder = QuestionEncoder(setup.processor, style, cache_bytes=data.cache_mib << 20)
    before(sources)
    if data.check:
        plans = [
            plan_questions(
                source,
                encoder,
                max_prompt_tokens=prompt_tokens,
                max_target_tokens=target_tokens,
                max_patches=max(data.patch_buckets),
                check=check(encoder),
            )
            for source in sources
        ]
        for plan in plans:
            plan.report()
        sources = [plan.usable() for plan in plans]
    after(sources)
    settings = PipelineSettings(seed=data.seed, workers=data.workers, together=together)
    return QuestionPipeline(sources, encoder, settings, data.weights)
