"""The device state of decoding: r rows of one prompt each, w slots a row, g samples a prompt.

A slot decodes one sample at a time and takes its row's next sample when one ends; a row takes the next prompt of the
queue when all its samples ended. Every step writes one column of the answers' ring of keys and values, the same column
for all slots: a sample's tokens are the columns of the last steps, so no scatter and no per-sample pointer is needed.
In rollouts of several turns a slot that waits for its picture keeps its columns as they were, and is turned to the
present column when it goes on (rollout/append.py).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool

from spatial_jax.models import TextConfig
from spatial_jax.ops.attention import for_gpu
from spatial_jax.ops.shared_prefix import KeyValues, store
from spatial_jax.parallel.rules import active_mesh, constrain, mesh_axes

RUNNING, STOP, LENGTH = 0, 1, 2

# Of all layers: one stack of them, or a list with one entry a layer.
Caches = KeyValues | list[KeyValues]


def by_layer() -> bool:
    """Whether a program decodes on weights and caches that lie layer by layer: on GPUs, which copy what they take out
    of a stacked array at every token. Not where each token gathers the weights of the trainer's shards: a loop over
    stacked layers holds one layer's at a time.
    """
    active = active_mesh()
    if active is None:
        return for_gpu()
    mesh, rules = active
    return for_gpu() and all(mesh.shape.get(axis, 1) == 1 for axis in mesh_axes("embed", rules))


@struct.dataclass
class Draw:
    """The numbers of a call that are arguments of the programs: most new tokens, logit temperature, seed and step."""

    limit: Array
    temperature: Array
    seed: Array
    step: Array


@struct.dataclass
class DecodeState:
    """Letters: L layers, r rows, w slots, g samples, k kv heads, p prompt tokens, s ring columns, t answer tokens, d
    head width.

    prompt_kv [L, r, k, p, d], answer_kv [L, r, w, k, s, d], or lists of L without that axis (`by_layer`);
    prompt_valid [r, p]; column [] steps done so far;
    prompt_id [r] uint32 names the prompt in the random keys; next_position [r] M-RoPE id of a sample's first token;
    tokens [r, g, t], logp [r, g, t, 2] (sampler, full), lengths [r, g], reason [r, g] (0 running, 1 stop, 2 length);
    order [r, g] samples still to run first, pending [r] how many of them, taken [r] how many have had a slot;
    slot_sample, slot_length (tokens so far), slot_start (tokens of earlier turns), slot_base (position of the first
    token), slot_token (last token), slot_end (the column behind its newest cached token), slot_active, all [r, w].
    """

    prompt_kv: Caches
    answer_kv: Caches
    prompt_valid: Array
    column: Array
    prompt_id: Array
    next_position: Array
    tokens: Array
    logp: Array
    lengths: Array
    reason: Array
    order: Array
    pending: Array
    taken: Array
    slot_sample: Array
    slot_length: Array
    slot_start: Array
    slot_base: Array
    slot_token: Array
    slot_end: Array
    slot_active: Array

    @property
    def ring(self) -> int:
        return ring_size(self.answer_kv)

    @property
    def rows(self) -> int:
        return self.slot_active.shape[0]


def empty_state(
    config: TextConfig, *, rows: int, slots: int, samples: int, prompt: int, ring: int, answer: int, kv_dtype: Any
) -> DecodeState:
    """A state without any prompt; all rows free."""
    L, k, d = config.num_layers, config.num_kv_heads, config.head_dim

    def caches(*shape: int) -> Caches:
        def zeros(*shape):
            return store(jnp.zeros(shape, jnp.bfloat16), jnp.zeros(shape, jnp.bfloat16), kv_dtype)

        return [zeros(*shape) for _ in range(L)] if by_layer() else zeros(L, *shape)

    per_slot = jnp.zeros((rows, slots), jnp.int32)
    per_row = jnp.zeros((rows,), jnp.int32)
    return constrain_state(
        DecodeState(
            prompt_kv=caches(rows, k, prompt, d),
            answer_kv=caches(rows, slots, k, ring, d),
            prompt_valid=jnp.zeros((rows, prompt), bool),
            column=jnp.zeros((), jnp.int32),
            prompt_id=per_row.astype(jnp.uint32),
            next_position=per_row,
            tokens=jnp.zeros((rows, samples, answer), jnp.int32),
            logp=jnp.zeros((rows, samples, answer, 2), jnp.float32),
            lengths=jnp.zeros((rows, samples), jnp.int32),
            reason=jnp.zeros((rows, samples), jnp.int32),
            order=jnp.zeros((rows, samples), jnp.int32),
            pending=per_row,
            taken=per_row,
            slot_sample=per_slot,
            slot_length=per_slot,
            slot_start=per_slot,
            slot_base=per_slot,
            slot_token=per_slot,
            slot_end=per_slot,
            slot_active=per_slot.astype(bool),
        )
    )


def state_axes(name: str, rank: int, layered: bool = False) -> tuple[str | None, ...]:
    """Logical axes of the arrays in a field of DecodeState; layered: caches of one layer each."""
    known: dict[str, tuple[str | None, ...]] = {
        "prompt_kv": ("layers", "batch", "kv_heads"),
        "answer_kv": ("layers", "batch", None, "kv_heads"),
        "column": (),
    }
    axes = known.get(name, ("batch",))
    axes = axes[1:] if layered and name in ("prompt_kv", "answer_kv") else axes
    return axes + (None,) * (rank - len(axes))


def constrain_state(state: DecodeState) -> DecodeState:
    """The state pinned to the mesh by `state_axes`; nothing without a mesh."""
    fields = {name: getattr(state, name) for name in state.__dataclass_fields__ if name != "column"}

    def pin(name, value):
        return jax.tree.map(lambda x: constrain(x, state_axes(name, x.ndim, isinstance(value, list))), value)

    return replace(state, **{name: pin(name, value) for name, value in fields.items()})


def rows_done(state: DecodeState) -> Bool[Array, " r"]:
    """Rows none of whose samples is running or waiting (free rows included)."""
    return ~jnp.any(state.slot_active, axis=1) & (state.taken >= state.pending)


def ring_full(state: DecodeState) -> Bool[Array, ""]:
    """True when some running slot needs more columns than the ring has."""
    return jnp.any(state.slot_active & (state.slot_start + state.slot_length > state.ring))


def roll_columns(x: Array, shift: Array) -> Array:
    """Rings [..., s] or [..., s, d] of slots, each turned by its own `shift` (the leading axes' shape) along s."""
    if shift.ndim:
        return jax.vmap(roll_columns)(x, shift)
    return jnp.roll(x, shift, axis=1)  # behind the kv heads


def ring_size(answer_kv: Caches) -> int:
    """Columns of the rings."""
    return jax.tree.leaves(answer_kv)[0].shape[-2]  # keys come first


def grow_ring(answer_kv: Caches, ends: Array, ring: int) -> Caches:
    """The rings with `ring` columns, each unrolled so that the column before its end [r, w] comes last of the old ones;
    the next column to write is the old size.
    """
    layered, old = isinstance(answer_kv, list), ring_size(answer_kv)
    shift = -jnp.mod(ends, old)

    def grow(x):
        unrolled = roll_columns(x, shift) if layered else jax.vmap(lambda layer: roll_columns(layer, shift))(x)
        padded = jnp.pad(unrolled, [(0, ring - old) if axis == 4 - layered else (0, 0) for axis in range(x.ndim)])
        return constrain(padded, state_axes("answer_kv", x.ndim, layered))

    return jax.tree.map(grow, answer_kv)


def take_samples(state: DecodeState) -> DecodeState:
    """Gives every free slot the next waiting sample of its row; the sample's first token was drawn at prefill."""
    free = ~state.slot_active
    pick = state.taken[:, None] + jnp.cumsum(free, axis=1) - 1
    gets = free & (pick < state.pending[:, None])
    sample = jnp.take_along_axis(state.order, jnp.clip(pick, 0, state.order.shape[1] - 1), axis=1)
    first = jnp.take_along_axis(state.tokens[:, :, 0], sample, axis=1)
    return replace(
        state,
        slot_active=state.slot_active | gets,
        slot_sample=jnp.where(gets, sample, state.slot_sample),
        slot_length=jnp.where(gets, 1, state.slot_length),
        slot_start=jnp.where(gets, 0, state.slot_start),
        slot_base=jnp.where(gets, state.next_position[:, None], state.slot_base),
        slot_token=jnp.where(gets, first, state.slot_token),
        taken=state.taken + jnp.sum(gets, axis=1, dtype=jnp.int32),
    )
