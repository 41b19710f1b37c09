"""Useful FLOPs and throughput of a step, for the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax

from spatial_jax.data.encode import EncodedQuestion
from spatial_jax.metrics.flops import GroupTokens, mfu, model_shape, peak_flops, training_flops
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.training.method import answers_per_question
from spatial_jax.training.setup import Setup


def step_flops(setup: Setup, questions: Sequence[EncodedQuestion], metrics: Mapping[str, float]) -> dict[str, float]:
    """tokens_per_second (prompts once a group, and answers) and, on a device whose peak is known, mfu of the update
    phase.
    """
    update = metrics.get("time/update", 0.0)
    if update <= 0:
        return {}
    answers = metrics.get("answer_tokens", 0.0)
    prompts = sum(len(q.prompt) for q in questions)
    out = {"tokens_per_second": (prompts + answers) / update}
    peak = peak_flops(jax.devices()[0].device_kind)
    if peak:
        shape = model_shape(config_to_hf(setup.policy.config))
        size = answers_per_question(setup.run)
        mean = int(answers / max(len(questions) * size, 1))
        groups = []
        for question in questions:
            frames = [int(h * w) for t, h, w in question.prompt.grid_thw for _ in range(int(t))]
            window = setup.policy.config.vision.window_tokens**2 * setup.policy.config.vision.merge_unit
            groups.append(
                GroupTokens(
                    len(question.prompt),
                    (mean,) * size,
                    sum(frames),
                    sum(f * f for f in frames),
                    sum(f * window for f in frames),
                )
            )
        flops = training_flops(shape, groups, freeze_vision="vision" in setup.run.model.freeze)
        out["mfu"] = mfu(flops, update, peak, len(jax.devices()))
    return out
