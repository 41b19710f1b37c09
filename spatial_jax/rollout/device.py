"""The engine's jitted programs. Everything that touches the device is here; shapes are static, the state is donated."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spatial_jax.parallel.rules import Rules, use_mesh
from spatial_jax.rollout import append as appending
from spatial_jax.rollout import decode as decoding
from spatial_jax.rollout import prefill, state
from spatial_jax.rollout.state import DecodeState, Draw
from spatial_jax.rollout.types import SamplingParams


@dataclasses.dataclass(frozen=True)
class Shape:
    """Static sizes of one call: rows r, slots w a row, samples g a prompt, prompt bucket p, answer bucket t, earlier
    turns s (0: none).
    """

    rows: int
    slots: int
    samples: int
    prompt: int
    answer: int
    earlier: int = 0

    def sizes(self) -> dict[str, int]:
        """The sizes by name, without an unused `earlier`."""
        return {name: size for name, size in dataclasses.asdict(self).items() if size}


def static_part(sampling: SamplingParams) -> SamplingParams:
    """What of the sampling parameters shapes the program; temperature, seed and length limit are arguments of it."""
    return dataclasses.replace(sampling, max_new_tokens=1, seed=0, temperature=1.0 if sampling.temperature else 0.0)


class DevicePrograms:
    """empty, admit, decode, advance, grow and collect for one model on one mesh (or none); between turns also see and
    append. prefill_chunk: tokens of a prompt that pass at a time, 0: all.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        config: Any,
        kv_dtype: Any,
        mesh: Mesh | None,
        rules: Rules | None,
        prefill_chunk: int = 0,
    ):
        self.prefill_chunk = prefill_chunk
        self.graphdef, self.config, self.kv_dtype, self.mesh, self.rules = graphdef, config, kv_dtype, mesh, rules
        self.empty = jax.jit(self._trace_on_mesh(self._empty), static_argnums=(1, 2))
        self.admit = jax.jit(self._trace_on_mesh(self._admit), static_argnums=(8,), donate_argnums=(1,))
        self.decode = jax.jit(self._trace_on_mesh(self._decode), static_argnums=(5,), donate_argnums=(1,))
        self.advance = jax.jit(self._trace_on_mesh(self._advance), static_argnums=(3, 4), donate_argnums=(1,))
        self.see = jax.jit(self._trace_on_mesh(self._see), static_argnums=(2,))
        self.append = jax.jit(self._trace_on_mesh(self._append), static_argnums=(6,), donate_argnums=(1,))
        self._grow = jax.jit(self._trace_on_mesh(self._grow_rings), static_argnums=(2,))
        # On several processes every process reads all answers, so they leave the device replicated.
        replicated = None if mesh is None else NamedSharding(mesh, PartitionSpec())
        self.collect = jax.jit(self._collect, out_shardings=replicated)
        self.collect_turns = jax.jit(self._collect_turns, out_shardings=replicated)

    def grow(self, decode_state: DecodeState, ring: int) -> DecodeState:
        """The same state with a larger ring for the answers' keys and values."""
        answer_kv, ends = self._grow(decode_state.answer_kv, decode_state.slot_end, ring)
        column = jnp.asarray(decode_state.ring, jnp.int32)
        return dataclasses.replace(decode_state, answer_kv=answer_kv, slot_end=ends, column=column)

    def _trace_on_mesh(self, function):
        """The function with the mesh active while it is traced."""

        @functools.wraps(function)
        def inside(*args):
            with use_mesh(self.mesh, self.rules):
                return function(*args)

        return inside

    def _merge(self, params):
        model = nnx.merge(self.graphdef, params)
        return model, jnp.dtype(model.dtype if self.kv_dtype is None else self.kv_dtype)

    def _empty(self, params, shape: Shape, ring: int) -> DecodeState:
        return state.empty_state(
            self.config.text,
            rows=shape.rows,
            slots=shape.slots,
            samples=shape.samples,
            prompt=shape.prompt,
            ring=ring,
            answer=shape.answer,
            kv_dtype=self._merge(params)[1],
        )

    def _admit(
        self,
        params,
        decode_state,
        prompts,
        turns,
        turn_positions,
        rows,
        prompt_ids,
        draw: Draw,
        sampling: SamplingParams,
    ) -> DecodeState:
        model, kv_dtype = self._merge(params)
        given = (decode_state, prompts, turns, turn_positions, rows, prompt_ids, draw, sampling, kv_dtype)
        return prefill.admit(model, *given, self.prefill_chunk)

    def _grow_rings(self, answer_kv, ends, ring: int) -> tuple:
        return state.grow_ring(answer_kv, ends, ring), jnp.full_like(ends, state.ring_size(answer_kv))

    def _decode(self, params, decode_state, draw: Draw, free_rows, pause, sampling: SamplingParams):
        model, kv_dtype = self._merge(params)
        decode_state, done, full = decoding.decode(model, decode_state, draw, free_rows, pause, sampling, kv_dtype)
        return decode_state, replicate((done, full), self.mesh)

    def _advance(self, params, decode_state, draw: Draw, sampling: SamplingParams, steps: int) -> DecodeState:
        """At most `steps` tokens a slot, fewer where all end: for somebody who reads along."""
        model, kv_dtype = self._merge(params)
        fixed = decoding.constants(model, decode_state, draw, sampling)

        def go_on(carry: Any) -> Any:
            return (carry[0] < steps) & jnp.any(carry[1].slot_active)

        def body(carry: Any) -> Any:
            return carry[0] + 1, decoding.decode_step(model, carry[1], draw, sampling, kv_dtype, fixed)

        return jax.lax.while_loop(go_on, body, (jnp.int32(0), decode_state))[1]

    def _see(self, params, vision, rows: int):
        return appending.encode_shown(self._merge(params)[0], vision, rows)

    def _append(self, params, decode_state, shown, rows, slots, draw: Draw, sampling: SamplingParams) -> DecodeState:
        model, kv_dtype = self._merge(params)
        return appending.append(model, decode_state, shown, rows, slots, draw, sampling, kv_dtype)

    def _collect(self, decode_state: DecodeState, rows) -> tuple:
        """(tokens [c, g, t], logp [c, g, t, 2], lengths [c, g], reason [c, g]) of the rows."""
        return tuple(
            x[rows] for x in (decode_state.tokens, decode_state.logp, decode_state.lengths, decode_state.reason)
        )

    def _collect_turns(self, decode_state: DecodeState, rows, samples) -> tuple:
        """(tokens [c, t], logp [c, t, 2], lengths [c], reason [c]) of c samples."""
        return tuple(
            x[rows, samples]
            for x in (decode_state.tokens, decode_state.logp, decode_state.lengths, decode_state.reason)
        )


def replicate(values: Any, mesh: Mesh | None) -> Any:
    """Small host-bound values replicated, so that every process can read them."""
    if mesh is None:
        return values
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, NamedSharding(mesh, PartitionSpec())), values)
