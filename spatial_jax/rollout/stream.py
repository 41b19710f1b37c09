"""One answer as it comes, for a person who waits: an engine's own prefill and decode step with one row and one slot."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from PIL import Image

from spatial_jax.drawing.environment import DrawingEnvironment
from spatial_jax.processing import EncodedPrompt, Processor, choose_bucket, collate_prompts
from spatial_jax.rollout.device import Shape, static_part
from spatial_jax.rollout.engine import Engine
from spatial_jax.rollout.state import Draw
from spatial_jax.rollout.turns import extend
from spatial_jax.rollout.types import SamplingParams, Trajectory

STEPS = 4  # tokens between two looks at the device: each look waits for it


@dataclasses.dataclass(frozen=True)
class Heard:
    """An answer's last turn so far: its token ids, and the characters that are whole. `shown`: the pictures that the
    turn drew, once it is over and another follows.
    """

    tokens: list[int]
    text: str
    shown: tuple[Image.Image, ...] | None = None


def stream_tokens(engine: Engine, params: Any, prompt: EncodedPrompt, sampling: SamplingParams) -> Iterator[list[int]]:
    """Yields one answer's new token ids as they come, a stop token included. The engine's programs are kept, one a
    (prompt bucket, answer bucket, patch bucket). Raises ValueError for a prompt above the largest bucket.
    """
    answer = choose_bucket(sampling.max_new_tokens, engine.answer_buckets, "max_new_tokens")
    length = choose_bucket(len(prompt), engine.prompt_buckets, "the conversation's length")
    patches = choose_bucket(prompt.patches, engine.patch_buckets, "patches of the pictures") if prompt.patches else None
    batch = collate_prompts(
        [prompt], engine.config.vision, prompt_bucket=length, patch_bucket=patches, pad_id=engine.pad_id
    )
    draw = Draw(
        jnp.int32(sampling.max_new_tokens),
        jnp.float32(sampling.logit_temperature),
        jnp.uint32(sampling.seed % 2**32),
        jnp.uint32(0),
    )
    static, device = static_part(sampling), engine.device
    # The ring holds the whole answer from the start: one answer's keys are small, and nothing is compiled in its midst.
    state = device.empty(params, Shape(1, 1, 1, length, answer), answer)
    state = device.admit(params, state, batch, None, None, np.zeros(1, np.int32), np.zeros(1, np.uint32), draw, static)
    given = 0
    while True:
        tokens, count, active = (
            np.asarray(x) for x in (state.tokens[0, 0], state.lengths[0, 0], state.slot_active[0, 0])
        )
        yield tokens[given : int(count)].tolist()
        given = int(count)
        if not active:
            return
        state = device.advance(params, state, draw, static, STEPS)


def stream_turns(
    engine: Engine,
    params: Any,
    prompt: EncodedPrompt,
    sampling: SamplingParams,
    processor: Processor,
    environment: DrawingEnvironment | None = None,
) -> Iterator[Heard]:
    """An answer's turns as they come: one turn, or as many as `environment` goes on with, which has the prompt as its
    only one. Raises ValueError where the conversation outgrows the engine's buckets.
    """
    whole: Trajectory | None = None
    shown: EncodedPrompt | None = None
    for _ in range(1 if environment is None else environment.turns):
        tokens: list[int] = []
        text = ""
        for new in stream_tokens(engine, params, prompt, sampling):
            tokens += new
            text = processor.decode(tokens).rstrip("\ufffd")  # the rest of a character may still come
            yield Heard(list(tokens), text)
        if environment is None or not tokens:
            return
        turn = _turn(tokens)
        whole = turn if whole is None or shown is None else extend(whole, shown, turn)
        shown = environment(whole)
        if shown is None:
            return
        yield Heard(list(tokens), text, tuple(environment.latest(whole)))
        prompt = prompt.followed_by(tokens, shown)


def _turn(tokens: list[int]) -> Trajectory:
    zeros = np.zeros(len(tokens), np.float32)
    return Trajectory.of_one_turn(np.asarray(tokens, np.int32), zeros, zeros, "stop", 0, 0)
