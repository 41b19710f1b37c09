"""What was shown between turns, into the caches of the slots that go on: nothing of the conversation passes again.

A slot's block is the last token that it drew (which no step has passed yet) and the observation behind it, padded on
the left. The block sees the row's prompt, the slot's own cache and itself; its keys and values become the newest
columns of the slot's ring, which is turned so that they end where the next step writes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from spatial_jax.models import PromptBatch, QwenVL, VisionArrays, VisionFeatures
from spatial_jax.models.group import encode_pictures
from spatial_jax.ops.shared_prefix import append_attention, ring_valid, store
from spatial_jax.rollout.prefill import draw_first, first_reason
from spatial_jax.rollout.state import RUNNING, Caches, DecodeState, Draw, constrain_state, roll_columns
from spatial_jax.rollout.types import SamplingParams

# Above this many float32 scores the slots of a device go one at a time.
_MAX_SCORES = 2**26


class _Slots:
    """m slots of each of S parts of a state's rows: rows [S, m] (within the part; past its end: nobody's) and slots
    [S, m]. Each part lies whole on its devices, so picking and putting moves nothing between them.
    """

    def __init__(self, rows: Array, slots: Array, total: int):
        self.rows, self.slots, self.parts = rows, slots, rows.shape[0]
        self.size = total // self.parts

    def pick(self, x: Array) -> Array:
        """[r, w, ...] -> [S, m, ...]; [r, ...] likewise with `row`."""
        return jax.vmap(lambda own, i, j: own.at[i, j].get(mode="clip"))(self._cut(x), self.rows, self.slots)

    def pick_row(self, x: Array) -> Array:
        """[r, ...] -> [S, m, ...]."""
        return jax.vmap(lambda own, i: own.at[i].get(mode="clip"))(self._cut(x), self.rows)

    def put(self, x: Array, new: Array) -> Array:
        """x [r, w, ...] with new [S * m, ...] (or [S, m, ...]) in the places of the slots."""
        new = new.reshape(*self.rows.shape, *x.shape[2:]).astype(x.dtype)
        out = jax.vmap(lambda own, i, j, value: own.at[i, j].set(value, mode="drop"))(
            self._cut(x), self.rows, self.slots, new
        )
        return out.reshape(x.shape)

    def _cut(self, x: Array) -> Array:
        return x.reshape(self.parts, self.size, *x.shape[1:])


def encode_shown(model: QwenVL, vision: VisionArrays, rows: int) -> VisionFeatures:
    """Features of observations' pictures, cut or filled up to `rows` rows a part: one shape whatever the pictures."""
    made = model.encode_vision(vision)

    def fit(x):
        """[..., N, d] -> [..., S * rows, d]."""
        x = x.reshape(*x.shape[:-2], made.parts, -1, x.shape[-1])[..., :rows, :]
        x = jnp.pad(x, [(0, rows - x.shape[-2]) if axis == x.ndim - 2 else (0, 0) for axis in range(x.ndim)])
        return x.reshape(*x.shape[:-3], -1, x.shape[-1])

    return replace(made, features=fit(made.features), deepstack=None if made.deepstack is None else fit(made.deepstack))


def append(
    model: QwenVL,
    state: DecodeState,
    shown: PromptBatch,
    rows: Int[Array, "S m"],
    slots: Int[Array, "S m"],
    draw: Draw,
    sampling: SamplingParams,
    kv_dtype: Any,
) -> DecodeState:
    """The state with S * m blocks (`shown`, one a slot) behind the conversations of `slots` of `rows`, each with the
    first token of its next turn. Rows are counted within their part; a row past its part's end drops that block.
    """
    chosen = _Slots(rows, slots, state.rows)
    length = jnp.sum(shown.valid, axis=1, dtype=jnp.int32).reshape(rows.shape)
    cached = chosen.pick(state.slot_start + state.slot_length) - 1  # the last token that was drawn is in the block
    ends = chosen.pick(state.slot_end)
    hidden, answer_kv = _prefill(model, state, shown, chosen, cached, ends, length, kv_dtype)

    flat = (-1, 1)
    offsets = (cached + length).reshape(flat)
    samples = chosen.pick(state.slot_sample).reshape(flat)
    ids = chosen.pick_row(state.prompt_id).reshape(-1)
    tokens, logp = draw_first(model, hidden, ids, offsets, draw, sampling, samples)
    reason = first_reason(tokens, draw, sampling)

    # Slot j has sample j (see admit).
    tokens_of, logp_of = state.tokens, state.logp
    return constrain_state(
        replace(
            state,
            answer_kv=answer_kv,
            tokens=tokens_of.at[:, :, 0].set(chosen.put(tokens_of[:, :, 0], tokens)),
            logp=logp_of.at[:, :, 0].set(chosen.put(logp_of[:, :, 0], logp)),
            lengths=chosen.put(state.lengths, jnp.ones_like(tokens)),
            reason=chosen.put(state.reason, reason),
            slot_active=chosen.put(state.slot_active, reason == RUNNING),
            slot_length=chosen.put(state.slot_length, jnp.ones_like(tokens)),
            slot_start=chosen.put(state.slot_start, offsets),
            slot_base=chosen.put(state.slot_base, shown.next_position),
            slot_token=chosen.put(state.slot_token, tokens),
            slot_end=chosen.put(state.slot_end, jnp.broadcast_to(state.column, rows.shape)),
        )
    )


def _prefill(
    model: QwenVL,
    state: DecodeState,
    shown: PromptBatch,
    chosen: _Slots,
    cached: Array,
    ends: Array,
    length: Array,
    kv_dtype: Any,
) -> tuple[Array, Caches]:
    """(hidden [S * m, d] of each block's last token, the state's answer_kv with the blocks in it)."""
    parts, m = chosen.rows.shape
    n, ring = shown.tokens.shape[1], state.ring
    own_valid = ring_valid(ends, cached, ring)
    prompt_valid, valid = chosen.pick_row(state.prompt_valid), shown.valid.reshape(parts, m, n)
    age = jnp.mod(state.column - 1 - jnp.arange(ring), ring)  # 0 is the column before the next step's
    fresh = (age < length[..., None])[:, :, None]  # [S, m, 1, s]
    scores = n * (state.prompt_valid.shape[1] + ring + n) * m

    def attend_slots(q, k, v, prompt, own, prompt_valid, own_valid, valid):
        """Arrays [S, M, ...] of any M slots a part."""
        ones = lambda x: x.reshape(-1, *x.shape[2:])  # noqa: E731
        inputs = jax.tree.map(ones, (q, k, v, prompt, own, prompt_valid, own_valid, valid))
        return append_attention(*inputs).reshape(q.shape)

    def merge(old, new):
        """A layer's rings [S, m, k, s(, d)] with the blocks' new columns."""
        new = new.reshape(parts, m, *new.shape[1:])[:, :, :, -ring:]
        new = jnp.pad(new, [(max(ring - n, 0), 0) if axis == 3 else (0, 0) for axis in range(new.ndim)])
        new = jnp.roll(new, jnp.mod(state.column, ring), axis=3)
        moved = roll_columns(old, jnp.mod(state.column - length - ends, ring))
        return jnp.where(fresh[..., None] if new.ndim == 5 else fresh, new.astype(old.dtype), moved)

    def pick_both(prompt_kv, answer_kv):
        return jax.tree.map(chosen.pick_row, prompt_kv), jax.tree.map(chosen.pick, answer_kv)

    layered = isinstance(state.answer_kv, list)
    caches: Any = (state.prompt_kv, state.answer_kv)
    if layered:  # of caches by layer what is picked makes the stack that the layers are scanned with
        caches = jax.tree.map(lambda *x: jnp.stack(x), *map(pick_both, *caches))

    def attend(q, k, v, caches):
        prompt_kv, own = caches if layered else pick_both(*caches)
        given = [x.reshape(parts, m, *x.shape[1:]) for x in (q, k, v)]
        given += [prompt_kv, own, prompt_valid, own_valid, valid]
        if q.shape[2] * scores <= _MAX_SCORES:
            out = attend_slots(*given)
        else:
            apart = jax.tree.map(lambda x: x.swapaxes(0, 1)[:, :, None], given)
            out = jax.lax.map(lambda xs: attend_slots(*xs), apart)[:, :, 0].swapaxes(0, 1)
        block = store(k.transpose(0, 2, 1, 3), v.transpose(0, 2, 1, 3), kv_dtype)
        return out.reshape(q.shape), jax.tree.map(merge, own, block)

    features = encode_pictures(model, shown)
    x = model.embed(shown.tokens, shown.feature_index, features)
    deepstack = model.deepstack(shown.feature_index, features)
    hidden, merged = model.run_layers(x, shown.positions, attend, caches, deepstack)
    if not isinstance(state.answer_kv, list):
        return hidden[:, -1], jax.tree.map(jax.vmap(chosen.put), state.answer_kv, merged)
    own = [
        jax.tree.map(lambda old, new, i=i: chosen.put(old, new[i]), layer, merged)
        for i, layer in enumerate(state.answer_kv)
    ]
    return hidden[:, -1], own
