"""The rollout engine: prompts in, trajectories out; continuous batching over rows of prompts and slots of samples.

Host code; the device's part is rollout/device.py. With several processes every process calls `generate` with the same
prompts (the whole global batch) and gets all trajectories.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models import ModelConfig, VisionFeatures
from spatial_jax.models.group import vision_rows
from spatial_jax.parallel.rules import Rules, batch_parts
from spatial_jax.processing import (
    ANSWER_BUCKETS,
    PATCH_BUCKETS,
    PROMPT_BUCKETS,
    EncodedPrompt,
    choose_bucket,
    collate_prompts,
)
from spatial_jax.processing.collate import choose_pack
from spatial_jax.rollout.decode import Pause
from spatial_jax.rollout.device import DevicePrograms, Shape, static_part
from spatial_jax.rollout.earlier import collate_earlier, earlier_length
from spatial_jax.rollout.programs import Programs
from spatial_jax.rollout.shared import SharedPrompts
from spatial_jax.rollout.state import STOP, DecodeState, Draw
from spatial_jax.rollout.types import SamplingParams, Trajectory, Turn, Work

OnFinish = Callable[[int, list[Trajectory]], None]
Earlier = Sequence[Sequence[Sequence[Turn]]]


def _power_of_two(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


@dataclasses.dataclass
class Call:
    """One call over prompts of one bucket (those at `indices`): what stays the same while rows are refilled. `rings`:
    sizes that the answers' ring may take.
    """

    params: Any
    prompts: Sequence[EncodedPrompt]
    prompt_ids: np.ndarray
    earlier: Earlier | None
    sampling: SamplingParams
    draw: Draw
    shape: Shape
    rings: list[int]
    indices: list[int]
    on_finish: OnFinish | None = None
    results: list[list[Trajectory]] = dataclasses.field(default_factory=list)


class Engine:
    """Generates groups of answers. The parameters are an argument of every call, so a trainer hands over its newest.

    max_slots: samples decoded at a time (rows * slots; at least a row a device); slots_per_prompt: slots of a row, None
    for the whole group at once. Fewer slots than samples refill as samples end, so that one long answer does not hold
    its group's other slots. prompt_buckets, answer_buckets, patch_buckets: static lengths; the answers' keys grow along
    answer_buckets. kv_dtype: "bfloat16", "int8" or None for the model's own type. max_prefill_tokens: tokens that
    pass at a time in a prefill program, a device; a longer prompt goes in chunks of so many. pad_id fills unused token
    places; mesh: rows over data and fsdp, kv heads over tensor. place: brings the parameters of a call to the layout
    that is sampled with (`weight_mover`); the copy lives as long as the call. None: they are in it.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        model_config: ModelConfig,
        *,
        max_slots: int = 128,
        slots_per_prompt: int | None = None,
        prompt_buckets: Sequence[int] = PROMPT_BUCKETS,
        answer_buckets: Sequence[int] = ANSWER_BUCKETS,
        patch_buckets: Sequence[int] = PATCH_BUCKETS,
        kv_dtype: Any = None,
        max_prefill_tokens: int = 32768,
        pad_id: int | None = None,
        mesh: Mesh | None = None,
        rules: Rules | None = None,
        max_programs: int = 64,
        place: jax.stages.Wrapped | None = None,
    ):
        self.config, self.mesh, self.place = model_config, mesh, place
        self.max_slots, self.slots_per_prompt = max_slots, slots_per_prompt
        self.parts = batch_parts(mesh, rules)
        self.max_prefill_tokens = max_prefill_tokens
        self.prompt_buckets, self.answer_buckets, self.patch_buckets = (
            tuple(sorted(b)) for b in (prompt_buckets, answer_buckets, patch_buckets)
        )
        self.pad_id = pad_id if pad_id is not None else model_config.pad_token_id or 0
        self.programs = Programs("rollout", max_programs)
        self.work = Work()  # of the last call
        self._column = 0  # of the present state, as the host knows it
        self.device = DevicePrograms(graphdef, model_config, kv_dtype, mesh, rules, max_prefill_tokens)

    def generate(
        self,
        params: Any,
        prompts: Sequence[EncodedPrompt],
        group_size: int,
        sampling: SamplingParams,
        *,
        step: int = 0,
        on_finish: OnFinish | None = None,
        prompt_ids: Sequence[int] | None = None,
    ) -> list[list[Trajectory]]:
        """group_size answers to each prompt, in the order of the prompts.

        step and prompt_ids (default: 0, 1, ...) enter the random keys: pass the training step, and global ids when the
        prompts are a part of a larger batch. on_finish(prompt index, group) is called as soon as a group is complete,
        while others still decode. Raises ValueError for a prompt or answer length above the largest bucket.
        """
        return self._generate(params, prompts, group_size, sampling, step, on_finish, prompt_ids, None)

    def continue_shared(
        self,
        params: Any,
        sets: Sequence[SharedPrompts],
        sampling: SamplingParams,
        *,
        prompt_ids: Sequence[int] | None = None,
        step: int = 0,
        most: int = 0,
        on_finish: OnFinish | None = None,
    ) -> list[list[Trajectory]]:
        """One answer to each end of each set, whose shared part passes once: lists of `size` answers, the first of them
        in the order of the ends, what is beyond them repeats the last. All sets are of one `size`; `most`: sets that
        such a call may have; programs are of that size, so that fewer need no others.
        """
        if len({shared.size for shared in sets}) != 1:
            raise ValueError(
                f"continue_shared: sets of sizes {sorted({s.size for s in sets})} in one call; give one size"
            )
        earlier = [[[Turn(end)] for end in shared.padded] for shared in sets]
        prompts = [shared.prefix for shared in sets]
        return self._generate(params, prompts, sets[0].size, sampling, step, on_finish, prompt_ids, earlier, most)

    def _generate(
        self, params, prompts, group_size, sampling, step, on_finish, prompt_ids, earlier, most=0
    ) -> list[list[Trajectory]]:
        results: list[list[Trajectory]] = [[] for _ in prompts]
        told: dict[str, Any] = {"step": step, "prompt_ids": prompt_ids, "earlier": earlier, "most": most}
        for call in self.calls(params, prompts, group_size, sampling, **told):
            self._run(dataclasses.replace(call, on_finish=on_finish, results=results))
        return results

    def calls(
        self,
        params: Any,
        prompts: Sequence[EncodedPrompt],
        group_size: int,
        sampling: SamplingParams,
        *,
        step: int,
        prompt_ids: Sequence[int] | None,
        earlier: Earlier | None = None,
        most: int = 0,
        longest: int = 0,
    ) -> Iterator[Call]:
        """The prompts by their buckets; `work` counts from here on. `longest`: most tokens of all turns of a sample,
        whose group then is decoded whole; 0: answers of one turn.
        """
        ids = np.arange(len(prompts), dtype=np.uint32) if prompt_ids is None else np.asarray(prompt_ids, np.uint32)
        classes: dict[tuple[int, int], list[int]] = collections.defaultdict(list)
        for index, prompt in enumerate(prompts):
            bucket, before = choose_bucket(len(prompt), self.prompt_buckets, f"prompt {index}: length"), 0
            if earlier is not None:
                length = max(earlier_length(sample) for sample in earlier[index])
                before = choose_bucket(length, self.answer_buckets, f"prompt {index}: earlier turns of length")
            classes[bucket, before].append(index)
        draw = Draw(
            jnp.int32(sampling.max_new_tokens),
            jnp.float32(sampling.logit_temperature),
            jnp.uint32(sampling.seed % 2**32),
            jnp.uint32(step),
        )
        answer = choose_bucket(sampling.max_new_tokens, self.answer_buckets, "max_new_tokens")
        self.work = Work()
        if self.place is not None:
            params = self.place(params)
        for (bucket, before), indices in sorted(classes.items()):
            whole = bool(before or longest)
            shape = self.shape(max(len(indices), most), group_size, bucket, answer, before, whole=whole)
            rings = self.turns_rings(answer, longest) if longest else self._rings(shape)
            yield Call(params, prompts, ids, earlier, static_part(sampling), draw, shape, rings, indices)

    def shape(
        self, prompts: int, group_size: int, bucket: int, answer: int, earlier: int = 0, *, whole: bool = False
    ) -> Shape:
        """Static sizes of decoding `prompts` prompts of one bucket. Rows divide over the devices: what does not is
        decoded whole on each. `whole`: each sample of a group has its own slot.
        """
        slots = group_size if whole else min(group_size, self.slots_per_prompt or group_size)
        rows = min(_power_of_two(prompts), max(self.max_slots // slots, 1))
        return Shape(max(rows // self.parts, 1) * self.parts, slots, group_size, bucket, answer, earlier)

    def prefill_size(self, shape: Shape) -> int:
        """Prompts of the largest prefill program."""
        a_device = max(self.max_prefill_tokens // (shape.prompt + shape.samples * shape.earlier), 1)
        largest = max(min(shape.rows, a_device * self.parts), 1)
        return 1 << (largest.bit_length() - 1)

    def _run(self, call: Call) -> None:
        """All prompts of one bucket: admit, decode until rows are free, collect them, admit again."""
        shape = call.shape
        decode_state = self.empty(call)
        queue = collections.deque(call.indices)
        held: list[int | None] = [None] * shape.rows  # prompt index of each row
        chunk = max(shape.rows // 4, 1)
        while queue or any(index is not None for index in held):
            if queue and None in held:
                decode_state = self.admit(call, decode_state, queue, held)
            # A free row has no prompt; count it as done, and wait for a quarter of the rows when more work or a
            # listener waits.
            idle = sum(index is None for index in held)
            wait = min(idle + chunk, shape.rows) if queue or call.on_finish else shape.rows
            decode_state, done = self.decode(call, decode_state, wait)
            finished = [row for row in range(shape.rows) if done[row] and held[row] is not None]
            self._collect(call, decode_state, finished, held)

    def empty(self, call: Call) -> DecodeState:
        """A state without any prompt, with the smallest ring."""
        self.programs.note("empty", **call.shape.sizes(), ring=call.rings[0])
        self._column = 0
        return self.device.empty(call.params, call.shape, call.rings[0])

    def decode(
        self, call: Call, decode_state: DecodeState, free_rows: int, pause: Pause | None = None
    ) -> tuple[DecodeState, np.ndarray]:
        """(state, rows done [r] or, with `pause`, slots active [r, w]) as `rollout.decode.decode` gives them; a ring
        that was full has grown.
        """
        kind = "decode" if pause is None else "decode_turns"
        self.programs.note(kind, **call.shape.sizes(), ring=decode_state.ring, draw=call.sampling.kind)
        decode_state, (done, full) = self.device.decode(
            call.params, decode_state, call.draw, np.int32(free_rows), pause, call.sampling
        )
        steps, self._column = int(decode_state.column) - self._column, int(decode_state.column)
        self.work.steps += steps
        self.work.add(0, steps * call.shape.rows * call.shape.slots)  # tokens are counted as they are collected
        if bool(full):
            decode_state = self.grow(call, decode_state, decode_state.ring + 1)
        return decode_state, np.asarray(done)

    def grow(self, call: Call, decode_state: DecodeState, columns: int) -> DecodeState:
        """The state with a ring of so many columns or more."""
        if decode_state.ring >= columns:
            return decode_state
        larger = next(ring for ring in call.rings if ring >= columns)
        self.programs.note("grow", **call.shape.sizes(), ring=larger)
        self._column = decode_state.ring
        return self.device.grow(decode_state, larger)

    def turns_rings(self, answer: int, longest: int) -> list[int]:
        """Sizes of a ring for conversations of up to `longest` tokens: the last four of the answer buckets, or
        `longest` itself where it is above them.
        """
        total = min((bucket for bucket in self.answer_buckets if bucket >= longest), default=-(-longest // 16) * 16)
        total = max(total, answer)
        return [*[bucket for bucket in self.answer_buckets if answer <= bucket < total][-3:], total]

    def _rings(self, shape: Shape) -> list[int]:
        """Sizes the answers' ring may take: the answer buckets up to the longest total, from the first that holds the
        earlier turns.
        """
        total = shape.answer + shape.earlier
        smaller = [bucket for bucket in self.answer_buckets if shape.earlier < bucket < total]
        return [*smaller, total]

    def admit(
        self, call: Call, decode_state: DecodeState, queue: collections.deque, held: list[int | None]
    ) -> DecodeState:
        """Prompts from the queue into the free rows, in prefill batches of one of two sizes."""
        shape = call.shape
        largest = self.prefill_size(shape)
        free = [row for row, index in enumerate(held) if index is None]
        while free and queue:
            count = min(len(free), len(queue), largest)
            small = max(largest // 4, min(self.parts, largest))
            size = small if count <= small else largest
            chosen = self._next_prompts(call, queue, min(count, size))
            rows, free = free[: len(chosen)], free[len(chosen) :]
            for row, index in zip(rows, chosen):
                held[row] = index
            decode_state = self._admit_batch(call, decode_state, chosen, rows, size)
        return decode_state

    def _next_prompts(self, call: Call, queue: collections.deque, most: int) -> list[int]:
        """Prompts off the queue, one at least and as many as have a patch bucket together."""
        chosen: list[int] = []
        room = self.patch_buckets[-1]
        while queue and len(chosen) < most:
            room -= call.prompts[queue[0]].patches
            if chosen and room < 0:
                break
            chosen.append(queue.popleft())
        return chosen

    def _admit_batch(
        self, call: Call, decode_state: DecodeState, chosen: list[int], rows: list[int], size: int
    ) -> DecodeState:
        shape = call.shape
        unused = size - len(chosen)
        prompts = [call.prompts[index] for index in chosen] + [self.filler()] * unused
        bucket, parts = choose_pack(prompts, self.patch_buckets, self.parts, "patches of a prefill batch")
        batch = collate_prompts(
            prompts,
            self.config.vision,
            prompt_bucket=shape.prompt,
            patch_bucket=bucket,
            pad_id=self.pad_id,
            parts=parts,
        )
        turns = positions = None
        if call.earlier is not None:
            samples = [call.earlier[index] for index in chosen] + [
                [[Turn(np.full(1, self.pad_id, np.int32))]] * shape.samples
            ] * unused
            turns, positions = collate_earlier(
                samples,
                batch.next_position,
                self.config.vision,
                length=shape.earlier,
                patch_buckets=self.patch_buckets,
                pad_id=self.pad_id,
            )
        ids = np.concatenate([call.prompt_ids[chosen], np.zeros(unused, np.uint32)])
        where = np.asarray(rows + [shape.rows] * unused, np.int32)
        passed = 0 if turns is None else int(np.sum(turns.valid[: len(chosen)]))
        passed += sum(len(prompt) for prompt in prompts[: len(chosen)])
        self.work.add(passed, size * (shape.prompt + shape.samples * shape.earlier))
        self.programs.note(
            "admit",
            **shape.sizes(),
            ring=decode_state.ring,
            batch=size,
            patches=bucket or 0,
            features=int(isinstance(batch.vision, VisionFeatures)),
            shown=0 if turns is None or turns.vision is None else vision_rows(turns.vision, 1),
            draw=call.sampling.kind,
        )
        return self.device.admit(
            call.params, decode_state, batch, turns, positions, where, ids, call.draw, call.sampling
        )

    def filler(self) -> EncodedPrompt:
        """What stands for nothing in a batch that is not full: one token of padding."""
        return EncodedPrompt(
            np.full(1, self.pad_id, np.int32),
            np.zeros((3, 1), np.int32),
            1,
            np.zeros(1, np.uint8),
            None,
            np.zeros((0, 3), np.int32),
            [],
        )

    def _collect(self, call: Call, decode_state: DecodeState, finished: list[int], held: list[int | None]) -> None:
        """The answers of finished rows to the host; the rows become free."""
        size = call.shape.rows if len(finished) > call.shape.rows // 4 else max(call.shape.rows // 4, 1)
        if not finished:
            return
        rows = np.asarray(finished + [0] * (size - len(finished)), np.int32)
        tokens, logp, lengths, reason = jax.device_get(self.device.collect(decode_state, rows))
        # An answer's last token never passes.
        self.work.add(int(np.sum(lengths[: len(finished)])) - len(finished) * call.shape.samples, 0)
        for place, row in enumerate(finished):
            index = held[row]
            assert index is not None
            held[row] = None
            before = [] if call.earlier is None else [earlier_length(sample) for sample in call.earlier[index]]
            self.work.distinct += len(call.prompts[index]) + sum(before) + int(np.sum(lengths[place]))
            call.results[index] = [
                answer_trajectory(
                    tokens[place, j], logp[place, j], int(lengths[place, j]), int(reason[place, j]), index, j
                )
                for j in range(call.shape.samples)
            ]
            if call.on_finish is not None:
                call.on_finish(index, call.results[index])


def answer_trajectory(
    tokens: np.ndarray, logp: np.ndarray, length: Any, reason: Any, prompt: int, sample: int
) -> Trajectory:
    """What was collected of one sample."""
    own = tokens[:length].copy()
    return Trajectory.of_one_turn(
        own, logp[:length, 0].copy(), logp[:length, 1].copy(), "stop" if reason == STOP else "length", prompt, sample
    )
