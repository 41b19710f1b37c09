"""Prefill: prompts (and earlier turns of their samples) into free rows, with the first new token of every sample."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, UInt

from spatial_jax.models import AnswerBatch, PromptBatch, QwenVL, VisionFeatures
from spatial_jax.models.group import encode_pictures, feature_rows
from spatial_jax.ops.logprob import scaled_logits
from spatial_jax.ops.sampling import draw_tokens, sample_keys, step_key
from spatial_jax.ops.shared_prefix import KeyValues, answer_attention, causal_attention, group_attention, store
from spatial_jax.rollout.state import LENGTH, RUNNING, STOP, Caches, DecodeState, Draw, constrain_state, take_samples
from spatial_jax.rollout.types import SamplingParams

# Above this many float32 logits the first tokens of a group are drawn one sample at a time.
_MAX_LOGITS = 2**26


def is_stop(tokens: Array, stop_ids: tuple[int, ...]) -> Array:
    """True where a token is one of `stop_ids`."""
    stop = jnp.zeros(tokens.shape, bool)
    for stop_id in stop_ids:
        stop = stop | (tokens == stop_id)
    return stop


def prefill_prompts(model: QwenVL, prompts: PromptBatch, kv_dtype, chunk: int = 0) -> tuple[Array, KeyValues]:
    """(hidden [b, d] of each prompt's last token, keys and values [L, b, k, p, d]). chunk: tokens of a prompt that pass
    at a time, 0: all.
    """
    features = encode_pictures(model, prompts)
    if 0 < chunk < prompts.tokens.shape[1]:
        hidden, (k, v) = prompts_in_chunks(model, prompts, features, chunk)
        return hidden, store(k.transpose(0, 1, 3, 2, 4), v.transpose(0, 1, 3, 2, 4), kv_dtype)

    def attend(q, k, v, _):
        return causal_attention(q, k, v, prompts.valid), store(
            k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), kv_dtype
        )

    x = model.embed(prompts.tokens, prompts.feature_index, features)
    hidden, cache = model.run_layers(
        x, prompts.positions, attend, None, model.deepstack(prompts.feature_index, features)
    )
    return hidden[:, -1], cache


def prompts_in_chunks(
    model: QwenVL, prompts: PromptBatch, features: VisionFeatures | None, chunk: int
) -> tuple[Array, tuple[Array, Array]]:
    """(hidden [b, d] of each prompt's last token, keys and values [L, b, p, k, d] in the model's type), `chunk` tokens
    after another: what a layer needs for its own tokens is then that of a chunk.

    Every chunk is a piece of the program of its own, whose attention reads the keys up to its end alone: a loop of one
    body would read all keys for each chunk, twice the pairs of a causal prompt.
    """
    length, hidden, earlier = prompts.tokens.shape[1], None, None

    for start in range(0, length, chunk):
        end = min(start + chunk, length)
        rows = prompts.feature_index[:, start:end]

        def attend(q, k, v, cache, end=end):
            if cache is not None:
                k, v = (jnp.concatenate(pair, axis=1) for pair in zip(cache, (k, v)))
            return causal_attention(q, k, v, prompts.valid[:, :end]), (k, v)

        hidden, earlier = model.run_layers(
            model.embed(prompts.tokens[:, start:end], rows, features),
            prompts.positions[:, :, start:end],
            attend,
            earlier,
            model.deepstack(rows, features),
        )
    assert hidden is not None and earlier is not None
    return hidden[:, -1], earlier


def prefill_turns(
    model: QwenVL, prompts: PromptBatch, turns: AnswerBatch, kv_dtype, chunk: int = 0
) -> tuple[Array, KeyValues, KeyValues]:
    """(hidden [b, g, d] of each sample's last token, prompt cache [L, b, k, p, d], turns' cache [L, b, g, k, s, d]).

    turns: the samples' earlier turns, padded on the LEFT, so that each one's last token stands in the last column.
    chunk: as in `prefill_prompts`; the turns pass behind the prompt then.
    """
    b, p = prompts.tokens.shape
    g, s = turns.tokens.shape[1:]
    features = encode_pictures(model, prompts, turns)
    prompt_rows, turn_rows = feature_rows(model, prompts, turns)

    def apart(x):
        return x.reshape(b, g, s, *x.shape[2:])

    def stored(prompt_k, prompt_v, k, v):
        prompt_kv = store(prompt_k.transpose(0, 2, 1, 3), prompt_v.transpose(0, 2, 1, 3), kv_dtype)
        k, v = (apart(x).transpose(0, 1, 3, 2, 4) for x in (k, v))
        return prompt_kv, store(k, v, kv_dtype)

    if 0 < chunk < p:
        _, prompt = prompts_in_chunks(model, prompts, features, chunk)

        def attend_behind(q, k, v, cache):
            prompt_k, prompt_v = cache
            out = answer_attention(apart(q), apart(k), apart(v), prompt_k, prompt_v, prompts.valid, turns.valid)
            return out.reshape(q.shape), stored(prompt_k, prompt_v, k, v)

        rows = turn_rows.reshape(b, -1)
        hidden, caches = model.run_layers(
            model.embed(turns.tokens.reshape(b, -1), rows, features),
            turns.positions.reshape(3, b, -1),
            attend_behind,
            prompt,
            model.deepstack(rows, features),
        )
        return apart(hidden)[:, :, -1], *caches

    tokens = jnp.concatenate([prompts.tokens, turns.tokens.reshape(b, -1)], axis=1)
    rows = jnp.concatenate([prompt_rows, turn_rows.reshape(b, -1)], axis=1)
    positions = jnp.concatenate([prompts.positions, turns.positions.reshape(3, b, -1)], axis=2)
    valid = jnp.concatenate([prompts.valid, turns.valid.reshape(b, -1)], axis=1)

    def attend(q, k, v, _):
        out = group_attention(q, k, v, valid, prompt=p, answers=(g, s))
        return out, stored(k[:, :p], v[:, :p], k[:, p:], v[:, p:])

    hidden, caches = model.run_layers(
        model.embed(tokens, rows, features), positions, attend, None, model.deepstack(rows, features)
    )
    return apart(hidden[:, p:])[:, :, -1], *caches


def draw_first(
    model: QwenVL,
    hidden: Array,
    prompt_ids: UInt[Array, " b"],
    offsets: Int[Array, "b g"],
    draw: Draw,
    sampling: SamplingParams,
    samples: Int[Array, "b g"] | None = None,
) -> tuple[Array, Array]:
    """First new token [b, g] of every sample and its log-probabilities [b, g, 2]; hidden [b, d] shared by a group, or
    [b, g, d]. samples: their numbers in the random keys, None for 0, 1, ...
    """
    b, g = offsets.shape
    head = model.head()

    def draw_some(hidden, samples, offsets):
        """hidden [b, d] or [b, G, d]; samples, offsets [b, G]."""
        G = samples.shape[1]
        logits = scaled_logits(hidden.reshape(-1, hidden.shape[-1]), head, draw.temperature, sampling.banned_ids)
        logits = jnp.repeat(logits, G, axis=0) if hidden.ndim == 2 else logits
        keys = None
        if sampling.temperature:
            keys = sample_keys(
                step_key(draw.seed, draw.step),
                jnp.repeat(prompt_ids, G),
                samples.reshape(-1).astype(jnp.uint32),
                offsets.reshape(-1).astype(jnp.uint32),
            )
        tokens, *logp = draw_tokens(logits, keys, top_k=sampling.top_k, top_p=sampling.top_p, min_p=sampling.min_p)
        return tokens.reshape(b, G), jnp.stack(logp, axis=-1).reshape(b, G, 2)

    samples = jnp.broadcast_to(jnp.arange(g), (b, g)) if samples is None else samples
    if b * g * head.shape[1] <= _MAX_LOGITS:
        return draw_some(hidden, samples, offsets)

    def one(j):
        own = hidden if hidden.ndim == 2 else hidden[:, j][:, None]
        tokens, logp = draw_some(own, samples[:, j][:, None], offsets[:, j][:, None])
        return tokens[:, 0], logp[:, 0]

    tokens, logp = jax.lax.map(one, jnp.arange(g))
    return tokens.swapaxes(0, 1), logp.swapaxes(0, 1)


def first_reason(tokens: Array, draw: Draw, sampling: SamplingParams) -> Array:
    """What becomes of samples (or turns) whose first tokens these are: RUNNING, STOP or LENGTH."""
    return jnp.where(is_stop(tokens, sampling.stop_ids), STOP, jnp.where(draw.limit <= 1, LENGTH, RUNNING))


def admit(
    model: QwenVL,
    state: DecodeState,
    prompts: PromptBatch,
    turns: AnswerBatch | None,
    turn_positions: Array | None,
    rows: Int[Array, " b"],
    prompt_ids: UInt[Array, " b"],
    draw: Draw,
    sampling: SamplingParams,
    kv_dtype,
    chunk: int = 0,
) -> DecodeState:
    """The state with b prompts put into `rows` (a row number past the end drops that prompt: padding of the batch).

    With turns (left-padded, [b, g, s]) each sample continues from its own earlier turns at turn_positions [b, g]; slots
    must equal samples. Where they do, slot j has sample j. chunk: tokens of a prompt that pass at a time, 0: all.
    """
    b, g = len(rows), state.tokens.shape[1]
    if turns is None:
        hidden, prompt_kv = prefill_prompts(model, prompts, kv_dtype, chunk)
        offsets = jnp.zeros((b, g), jnp.int32)
    else:
        hidden, prompt_kv, turn_kv = prefill_turns(model, prompts, turns, kv_dtype, chunk)
        offsets = jnp.sum(turns.valid, axis=-1, dtype=jnp.int32)
        state = replace(state, answer_kv=_place_turns(state, turn_kv, rows))
    tokens, logp = draw_first(model, hidden, prompt_ids, offsets, draw, sampling)
    reason = first_reason(tokens, draw, sampling)
    done = reason != RUNNING

    def put(target, value):
        return target.at[rows].set(value.astype(target.dtype), mode="drop")

    state = replace(
        state,
        prompt_kv=_put_rows(state.prompt_kv, prompt_kv, rows),
        prompt_valid=put(state.prompt_valid, prompts.valid),
        prompt_id=put(state.prompt_id, prompt_ids),
        next_position=put(state.next_position, prompts.next_position),
        tokens=state.tokens.at[rows, :, 0].set(tokens, mode="drop"),
        logp=state.logp.at[rows, :, 0].set(logp, mode="drop"),
        lengths=put(state.lengths, jnp.ones((b, g))),
        reason=put(state.reason, reason),
        order=put(state.order, jnp.argsort(done, axis=1, stable=True)),
        pending=put(state.pending, jnp.sum(~done, axis=1)),
        taken=put(state.taken, jnp.zeros((b,))),
        slot_active=put(state.slot_active, jnp.zeros((b, state.slot_active.shape[1]))),
    )
    if state.slot_active.shape[1] < g:
        return constrain_state(take_samples(state))
    positions = jnp.broadcast_to(prompts.next_position[:, None], (b, g)) if turns is None else turn_positions
    return constrain_state(
        replace(
            state,
            taken=put(state.taken, jnp.sum(~done, axis=1)),
            slot_active=put(state.slot_active, ~done),
            slot_sample=put(state.slot_sample, jnp.broadcast_to(jnp.arange(g), (b, g))),
            slot_length=put(state.slot_length, jnp.ones((b, g))),
            slot_start=put(state.slot_start, offsets),
            slot_base=put(state.slot_base, positions),
            slot_token=put(state.slot_token, tokens),
            slot_end=put(state.slot_end, jnp.broadcast_to(state.column, (b, g))),
        )
    )


def _place_turns(state: DecodeState, turn_kv: KeyValues, rows: Array) -> Caches:
    """Earlier turns into the ring, so that each one's last token is the column before the current one."""
    ring, s = state.ring, turn_kv.k.shape[4]

    def place(new):
        padded = jnp.pad(new, [(ring - s, 0) if axis == 4 else (0, 0) for axis in range(new.ndim)])
        return jnp.roll(padded, jnp.mod(state.column, ring), axis=4)

    return _put_rows(state.answer_kv, jax.tree.map(place, turn_kv), rows)


def _put_rows(caches: Caches, new: KeyValues, rows: Array) -> Caches:
    """The caches with `new`, a stack of all layers, in these rows."""
    if not isinstance(caches, list):
        return jax.tree.map(lambda old, x: old.at[:, rows].set(x.astype(old.dtype), mode="drop"), caches, new)
    return [
        jax.tree.map(lambda old, x, i=i: old.at[rows].set(x[i].astype(old.dtype), mode="drop"), layer, new)
        for i, layer in enumerate(caches)
    ]
