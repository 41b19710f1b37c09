"""The decode loop: one token a slot a step, until everything is done, enough rows are free, or the ring must grow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from spatial_jax.models import QwenVL
from spatial_jax.ops.logprob import allowed_ids, scaled_logits
from spatial_jax.ops.sampling import draw_tokens, sample_keys, step_key
from spatial_jax.ops.shared_prefix import KeyValues, decode_attention, ring_valid, store
from spatial_jax.rollout.prefill import is_stop
from spatial_jax.rollout.state import (
    LENGTH,
    RUNNING,
    STOP,
    Caches,
    DecodeState,
    Draw,
    constrain_state,
    ring_full,
    rows_done,
    take_samples,
)
from spatial_jax.rollout.types import SamplingParams


class Constants(NamedTuple):
    """What a loop of many tokens reads at each, made once before it, in the activations' type: the decoder's weights
    layer by layer, the head as it lies in memory ([v, d] where it is the embeddings), tokens that may be drawn [v],
    and the step's random key.
    """

    text: dict[str, Any]
    head: jax.Array
    tied: bool
    allowed: jax.Array
    key: jax.Array


class Pause(NamedTuple):
    """When a loop of several turns stops before its time: once no more than `active` slots are, or after `steps`."""

    active: Any
    steps: Any


def constants(model: QwenVL, state: DecodeState, draw: Draw, sampling: SamplingParams) -> Constants | None:
    """Of a loop on caches by layer, whose program would copy every weight out of its stacked array at every token; None
    where the state's caches are stacked.
    """
    if not isinstance(state.answer_kv, list):
        return None
    tied, head = model.config.tie_word_embeddings, model.head().astype(model.dtype)
    allowed = allowed_ids(model.config.text.vocab_size, sampling.banned_ids)
    return Constants(model.joined_weights(), head.T if tied else head, tied, allowed, step_key(draw.seed, draw.step))


def decode_step(
    model: QwenVL,
    state: DecodeState,
    draw: Draw,
    sampling: SamplingParams,
    kv_dtype,
    fixed: Constants | None = None,
    keep: bool = False,
) -> DecodeState:
    """Every active slot's last token through the network, and its next token drawn and recorded. `fixed` comes with
    caches by layer. `keep`: slots that are not active keep their cache.
    """
    r, w = state.slot_active.shape
    g = state.tokens.shape[1]
    column = jnp.mod(state.column, state.ring)
    answer_valid = ring_valid(column, state.slot_start + state.slot_length - 1, state.ring)
    positions = jnp.broadcast_to(state.slot_base + state.slot_length - 1, (3, r, w))
    writes = state.slot_active if keep else None

    def attend(q, k, v, caches):
        prompt_kv, answer_kv = caches
        out = decode_attention(q, k, v, prompt_kv, answer_kv, state.prompt_valid, answer_valid)
        return out, store(k[..., None, :], v[..., None, :], kv_dtype)

    def attend_in_place(q, k, v, caches):
        """With a layer's own cache, which the new column is written to at once."""
        from spatial_jax.ops import decode_kernel  # Pallas for GPUs is slow to import and only needed there

        prompt_kv, answer_kv = caches
        new = write_column(answer_kv, store(k[..., None, :], v[..., None, :], kv_dtype), column, writes)
        if decode_kernel.takes(q, prompt_kv.k, state.ring, prompt_kv.k.shape[2]):
            lengths = state.slot_start + state.slot_length
            keys = (prompt_kv.k, prompt_kv.v, new.k, new.v)
            return decode_kernel.decode_attention(q, *keys, state.prompt_valid, column, lengths), new
        return decode_attention(q, k, v, prompt_kv, answer_kv, state.prompt_valid, answer_valid), new

    x = model.embed(state.slot_token)
    caches: Any = (state.prompt_kv, state.answer_kv)
    answer_kv: Caches
    if fixed is None:
        # The layers only read the caches and hand back their new column; writing it once for all layers spares a copy
        # of the cache a step.
        hidden, new = model.run_layers(x, positions, attend, caches)
        answer_kv = write_column(caches[1], new, column, writes)
    else:
        layers = list(zip(*caches, strict=True))
        hidden, answer_kv = model.run_layers(x, positions, attend_in_place, layers, weights=fixed.text)

    head = model.head() if fixed is None else fixed.head.T if fixed.tied else fixed.head
    allowed = None if fixed is None else fixed.allowed
    logits = scaled_logits(hidden.reshape(r * w, -1), head, draw.temperature, sampling.banned_ids, allowed)
    keys = None
    if sampling.temperature:
        drawn = (state.slot_start + state.slot_length).reshape(-1).astype(jnp.uint32)
        keys = sample_keys(
            step_key(draw.seed, draw.step) if fixed is None else fixed.key,
            jnp.repeat(state.prompt_id, w),
            state.slot_sample.reshape(-1).astype(jnp.uint32),
            drawn,
        )
    tokens, *logp = draw_tokens(logits, keys, top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p)
    tokens = tokens.reshape(r, w)

    row = jnp.broadcast_to(jnp.arange(r)[:, None], (r, w))
    sample = jnp.where(state.slot_active, state.slot_sample, g)  # past the end: an idle slot's draw is dropped
    length = state.slot_length + 1
    reason = jnp.where(is_stop(tokens, sampling.stop_ids), STOP, jnp.where(length >= draw.limit, LENGTH, RUNNING))
    # A slot's sample is its own, so at most one slot writes a sample's length and reason; both travel in one number.
    own = sample[:, None, :] == jnp.arange(g)[:, None]  # [r, g, w]
    written = jnp.max(jnp.where(own, (length * 4 + reason)[:, None, :], -1), axis=2)  # [r, g]
    state = replace(
        state,
        answer_kv=answer_kv,
        column=state.column + 1,
        tokens=state.tokens.at[row, sample, state.slot_length].set(tokens, mode="drop"),
        logp=state.logp.at[row, sample, state.slot_length].set(jnp.stack(logp, axis=-1).reshape(r, w, 2), mode="drop"),
        lengths=jnp.where(written < 0, state.lengths, written // 4),
        reason=jnp.where(written < 0, state.reason, written % 4),
        slot_token=tokens,
        slot_length=jnp.where(state.slot_active, length, state.slot_length),
        slot_end=jnp.where(state.slot_active, state.column + 1, state.slot_end),
        slot_active=state.slot_active & (reason == RUNNING),
    )
    return take_samples(state) if w < g else state


def write_column(
    cache: KeyValues, new: KeyValues, column: Int[Array, ""], writes: Bool[Array, "r w"] | None = None
) -> KeyValues:
    """The cache [..., r, w, k, s, d] with `new` [..., r, w, k, 1, d] in its column, where the slot `writes` (None:
    all); scales [..., s] likewise.
    """

    def write(old, x, axis):
        if old is None:
            return None
        if writes is not None:
            chosen = writes.reshape(*writes.shape, *[1] * (2 if axis == old.ndim - 1 else 3))
            x = jnp.where(chosen, x, jax.lax.dynamic_slice_in_dim(old, column, 1, axis))
        return jax.lax.dynamic_update_slice_in_dim(old, x, column, axis=axis)

    axis = cache.k.ndim - 2
    return KeyValues(
        write(cache.k, new.k, axis),
        write(cache.v, new.v, axis),
        write(cache.k_scale, new.k_scale, axis),
        write(cache.v_scale, new.v_scale, axis),
    )


def decode(
    model: QwenVL,
    state: DecodeState,
    draw: Draw,
    free_rows: Int[Array, ""],
    pause: Pause | None,
    sampling: SamplingParams,
    kv_dtype,
) -> tuple[DecodeState, Array, Array]:
    """Runs until all rows are done, `free_rows` of them are, or the ring is full; -> (state, rows done [r], ring full
    []). With `pause` (several turns) sooner, slots that are not active keep their caches, and -> (state, slots active
    [r, w], ring full []).
    """
    last = None if pause is None else state.column + pause.steps

    def go_on(state):
        done = rows_done(state)
        going = (jnp.sum(done) < jnp.minimum(free_rows, state.rows)) & ~ring_full(state)
        if pause is None:
            return going
        return going & (jnp.sum(state.slot_active) > pause.active) & (state.column < last)

    fixed = constants(model, state, draw, sampling)

    def body(state):
        return decode_step(model, state, draw, sampling, kv_dtype, fixed, keep=pause is not None)

    state = jax.lax.while_loop(go_on, body, constrain_state(state))
    return state, rows_done(state) if pause is None else state.slot_active, ring_full(state)
