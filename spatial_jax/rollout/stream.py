"""One answer, token by token, for a person who waits: the engine's own prefill and decode step with one row and one
slot.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models.configs import ModelConfig
from spatial_jax.processing.buckets import ANSWER_BUCKETS, PATCH_BUCKETS, PROMPT_BUCKETS, choose_bucket
from spatial_jax.processing.collate import collate_prompts
from spatial_jax.processing.prompt import EncodedPrompt
from spatial_jax.rollout.decode import decode_step
from spatial_jax.rollout.device import DevicePrograms, Shape, static_part
from spatial_jax.rollout.state import Draw
from spatial_jax.rollout.types import SamplingParams


class Streamer:
    """Streams single answers; programs are kept between calls, one a (prompt bucket, answer bucket, patch bucket)."""

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        config: ModelConfig,
        *,
        pad_id: int,
        prompt_buckets: Sequence[int] = PROMPT_BUCKETS,
        answer_buckets: Sequence[int] = ANSWER_BUCKETS,
        patch_buckets: Sequence[int] = PATCH_BUCKETS,
        chunk: int = 4,
        mesh: Mesh | None = None,
    ):
        self.config, self.pad_id, self.chunk = config, pad_id, chunk
        self.prompt_buckets, self.answer_buckets, self.patch_buckets = prompt_buckets, answer_buckets, patch_buckets
        self._device = DevicePrograms(graphdef, config, None, mesh, None)
        self._steps = jax.jit(functools.partial(_steps, graphdef, chunk), static_argnums=(3,), donate_argnums=(1,))

    def stream(self, params: Any, prompt: EncodedPrompt, sampling: SamplingParams) -> Iterator[list[int]]:
        """Yields the answer's new token ids as they come, a stop token included. Raises ValueError for a prompt above
        the largest bucket.
        """
        answer = choose_bucket(sampling.max_new_tokens, self.answer_buckets, "max_new_tokens")
        length = choose_bucket(len(prompt), self.prompt_buckets, "the conversation's length")
        patches = (
            choose_bucket(prompt.patches, self.patch_buckets, "patches of the pictures") if prompt.patches else None
        )
        batch = collate_prompts(
            [prompt], self.config.vision, prompt_bucket=length, patch_bucket=patches, pad_id=self.pad_id
        )
        draw = Draw(
            jnp.int32(sampling.max_new_tokens),
            jnp.float32(sampling.logit_temperature),
            jnp.uint32(sampling.seed % 2**32),
            jnp.uint32(0),
        )
        static = static_part(sampling)
        state = self._device.empty(params, Shape(1, 1, 1, length, answer), answer)
        state = self._device.admit(
            params, state, batch, None, None, np.zeros(1, np.int32), np.zeros(1, np.uint32), draw, static
        )
        given = 0
        while True:
            tokens, count, active = (
                np.asarray(x) for x in (state.tokens[0, 0], state.lengths[0, 0], state.slot_active[0, 0])
            )
            yield tokens[given : int(count)].tolist()
            given = int(count)
            if not active:
                return
            state = self._steps(params, state, draw, static)


def _steps(graphdef: nnx.GraphDef, chunk: int, params: Any, state: Any, draw: Draw, sampling: SamplingParams) -> Any:
    """At most `chunk` decode steps, fewer when the answer ends."""
    model = nnx.merge(graphdef, params)

    def go_on(carry: Any) -> Any:
        return (carry[0] < chunk) & jnp.any(carry[1].slot_active)

    def body(carry: Any) -> Any:
        return carry[0] + 1, decode_step(model, carry[1], draw, sampling, jnp.dtype(model.dtype))

    return jax.lax.while_loop(go_on, body, (jnp.int32(0), state))[1]
