"""One conversation that draws, as it comes: text while the policy writes, pictures after each turn that drew."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from spatial_jax.drawing.environment import DrawingEnvironment
from spatial_jax.processing.prompt import EncodedPrompt
from spatial_jax.rollout.stream import Streamer
from spatial_jax.rollout.turns import extend
from spatial_jax.rollout.types import SamplingParams, Trajectory

# ("text", token ids of this turn so far), or ("shown", the pictures that the turn drew).
Event = tuple[str, Any]


def stream_turns(
    streamer: Streamer,
    params: Any,
    prompt: EncodedPrompt,
    environment: DrawingEnvironment,
    sampling: SamplingParams,
) -> Iterator[Event]:
    """The turns of an answer to a prompt whose pictures `environment` has as its only ones. Raises ValueError where the
    conversation outgrows the streamer's buckets.
    """
    whole: Trajectory | None = None
    shown: EncodedPrompt | None = None
    for _ in range(environment.turns):
        tokens: list[int] = []
        for new in streamer.stream(params, prompt, sampling):
            tokens += new
            yield "text", tokens
        turn = _turn(tokens)
        whole = turn if whole is None or shown is None else extend(whole, shown, turn)
        shown = environment(whole) if tokens else None
        if shown is None:
            return
        yield "shown", environment.latest(whole)
        prompt = prompt.followed_by(tokens, shown)


def _turn(tokens: list[int]) -> Trajectory:
    zeros = np.zeros(len(tokens), np.float32)
    return Trajectory.of_one_turn(np.asarray(tokens, np.int32), zeros, zeros, "stop", 0, 0)
