"""The decode loop: one token a slot a step, until everything is done, enough rows are free, or the ring must grow."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from spatial_jax.models.qwen_vl import QwenVL
from spatial_jax.ops.logprob import scaled_logits
from spatial_jax.ops.sampling import draw_tokens, sample_keys
from spatial_jax.ops.shared_prefix import decode_attention, ring_valid, store
from spatial_jax.rollout.prefill import is_stop
from spatial_jax.rollout.state import (
    LENGTH,
    RUNNING,
    STOP,
    DecodeState,
    Draw,
    constrain_state,
    ring_full,
    rows_done,
    take_samples,
)
from spatial_jax.rollout.types import SamplingParams


def decode_step(model: QwenVL, state: DecodeState, draw: Draw, sampling: SamplingParams, kv_dtype) -> DecodeState:
    """Every active slot's last token through the network, and its next token drawn and recorded."""
    r, w = state.slot_active.shape
    g = state.tokens.shape[1]
    column = jnp.mod(state.column, state.ring)
    answer_valid = ring_valid(column, state.slot_start + state.slot_length - 1, state.ring)
    positions = jnp.broadcast_to(state.slot_base + state.slot_length - 1, (3, r, w))

    def attend(q, k, v, caches):
        prompt_kv, answer_kv = caches
        out = decode_attention(q, k, v, prompt_kv, answer_kv, state.prompt_valid, answer_valid)
        return out, store(k[..., None, :], v[..., None, :], kv_dtype)

    # The layers only read the caches and hand back their new column; writing it once for all layers spares a copy of
    # the cache a step.
    hidden, new = model.run_layers(model.embed(state.slot_token), positions, attend, (state.prompt_kv, state.answer_kv))
    answer_kv = jax.tree.map(
        lambda old, x: jax.lax.dynamic_update_slice_in_dim(old, x, column, axis=4), state.answer_kv, new
    )

    logits = scaled_logits(hidden.reshape(r * w, -1), model.head(), draw.temperature, sampling.banned_ids)
    keys = None
    if sampling.temperature:
        drawn = (state.slot_start + state.slot_length).reshape(-1).astype(jnp.uint32)
        keys = sample_keys(
            draw.seed,
            draw.step,
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
    state = replace(
        state,
        answer_kv=answer_kv,
        column=state.column + 1,
        tokens=state.tokens.at[row, sample, state.slot_length].set(tokens, mode="drop"),
        logp=state.logp.at[row, sample, state.slot_length].set(jnp.stack(logp, axis=-1).reshape(r, w, 2), mode="drop"),
        lengths=state.lengths.at[row, sample].set(length, mode="drop"),
        reason=state.reason.at[row, sample].set(reason, mode="drop"),
        slot_token=tokens,
        slot_length=length,
        slot_active=state.slot_active & (reason == RUNNING),
    )
    return take_samples(state) if w < g else state


def decode(
    model: QwenVL,
    state: DecodeState,
    draw: Draw,
    free_rows: Int[Array, ""],
    sampling: SamplingParams,
    kv_dtype,
) -> tuple[DecodeState, Array, Array]:
    """Runs until all rows are done, `free_rows` of them are, or the ring is full; -> (state, rows done [r], ring full
    []).
    """

    def go_on(state):
        done = rows_done(state)
        return (jnp.sum(done) < jnp.minimum(free_rows, state.rows)) & ~ring_full(state)

    def body(state):
        return decode_step(model, state, draw, sampling, kv_dtype)

    state = jax.lax.while_loop(go_on, body, constrain_state(state))
    return state, rows_done(state), ring_full(state)
