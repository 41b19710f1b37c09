"""Several turns: the ledger of a sample's tokens, and the loop that lets an environment answer between turns.

A trajectory is append-only, by token id: what was sampled stays as sampled, what the environment shows is appended as
its own tokens with its own pictures. Positions of later turns continue where the earlier ones ended.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from spatial_jax.models import PromptBatch, VisionArrays, VisionFeatures
from spatial_jax.models.group import vision_rows
from spatial_jax.processing import EncodedPrompt, choose_bucket, collate_prompts
from spatial_jax.processing.buckets import SHOWN_BUCKETS
from spatial_jax.processing.collate import choose_pack
from spatial_jax.rollout.decode import Pause
from spatial_jax.rollout.device import Shape
from spatial_jax.rollout.earlier import following_position
from spatial_jax.rollout.engine import Call, Engine, answer_trajectory
from spatial_jax.rollout.state import DecodeState
from spatial_jax.rollout.types import SamplingParams, Trajectory, Turn

THREADS = 8
# Steps of decoding that an environment has to answer in before it is waited for.
STEPS_TO_ANSWER = 8
# What the environment makes of a sample so far: an observation to append (its text closes the turn and opens the next),
# or None to end.
Environment = Callable[[Trajectory], EncodedPrompt | None]
Asked = concurrent.futures.Future[EncodedPrompt | None]
Place = tuple[int, int]  # row and slot


def join_trajectories(first: Trajectory, then: Trajectory) -> Trajectory:
    """One trajectory of both, ended as the second is; the first's places."""
    arrays = {
        name: np.concatenate([getattr(first, name), getattr(then, name)])
        for name in ("tokens", "sampler_logp", "full_logp", "loss_mask")
    }
    return Trajectory(
        **arrays,
        finish_reason=then.finish_reason,
        prompt_index=first.prompt_index,
        sample_index=first.sample_index,
        turns=[*first.turns, *then.turns],
    )


def extend(trajectory: Trajectory, observation: EncodedPrompt, turn: Trajectory) -> Trajectory:
    """The trajectory with what the environment showed and the turn sampled after it; shown tokens carry no loss and
    log-probability 0.
    """
    zeros = np.zeros(len(observation), np.float32)
    shown = Trajectory(
        observation.input_ids,
        zeros,
        zeros,
        "stop",
        trajectory.prompt_index,
        trajectory.sample_index,
        np.zeros(len(observation), bool),
        [Turn(observation.input_ids, observation)],
    )
    return join_trajectories(join_trajectories(trajectory, shown), turn)


def run_turns(
    engine: Engine,
    params: Any,
    prompts: Sequence[EncodedPrompt],
    group_size: int,
    sampling: SamplingParams,
    environment: Environment,
    *,
    max_turns: int,
    max_tokens: int,
    step: int = 0,
    prompt_ids: Sequence[int] | None = None,
    on_finish: Callable[[int, Sequence[Trajectory]], None] | None = None,
) -> list[list[Trajectory]]:
    """Groups of answers of up to `max_turns` sampled turns and `max_tokens` tokens in all (shown ones included).

    environment(trajectory) is asked after each turn, in threads and while others decode; None ends the sample, as do a
    turn cut by its length and a budget that the observation and one more turn of sampling.max_new_tokens would exceed.
    A sample's cache stays where it is, so a turn passes what was shown and what it says, nothing twice. step,
    prompt_ids and on_finish as `Engine.generate` takes them.
    """
    groups: list[list[Trajectory]] = [[] for _ in prompts]
    told: dict[str, Any] = {"step": step, "prompt_ids": prompt_ids, "longest": max_tokens}
    with concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="environment") as pool:

        def ask(trajectory: Trajectory) -> Asked | None:
            """What it is shown next, on the way; None where the sample has ended without asking."""
            turns = sum(turn.observation is None for turn in trajectory.turns)
            ended = trajectory.finish_reason != "stop" or turns >= max_turns
            return None if ended else pool.submit(environment, trajectory)

        def fits(trajectory: Trajectory, shown: EncodedPrompt) -> bool:
            return len(trajectory) + len(shown) + sampling.max_new_tokens <= max_tokens

        for call in engine.calls(params, prompts, group_size, sampling, **told):
            conversations = _Conversations(engine, call, ask, fits)
            for index, group in conversations.run():
                groups[index] = group
                if on_finish is not None:
                    on_finish(index, group)
    return groups


class _Conversations:
    """The samples of one call, each in a slot of its own from its first turn to its last.

    What is done when depends on the samples alone, never on how long an environment takes: all processes of a mesh must
    run the same programs, and a resumed run must round as the first did. So an environment has some steps of decoding
    to answer in, and is waited for then.
    """

    def __init__(
        self,
        engine: Engine,
        call: Call,
        ask: Callable[[Trajectory], Asked | None],
        fits: Callable[[Trajectory, EncodedPrompt], bool],
    ):
        self.engine, self.call, self.ask, self.fits = engine, call, ask, fits
        self.held: list[int | None] = [None] * call.shape.rows  # prompt index of each row
        self.decoding: set[Place] = set()
        self.asked: dict[Place, Asked] = {}
        self.samples: dict[Place, Trajectory] = {}  # turns so far
        self.shown: dict[Place, EncodedPrompt] = {}  # before the turn that decodes
        self.slots = call.shape.rows * call.shape.slots

    def run(self) -> Iterator[tuple[int, list[Trajectory]]]:
        """Prompt indices with their groups, as they are complete."""
        engine, call = self.engine, self.call
        state, queue = engine.empty(call), collections.deque(call.indices)
        while queue or any(index is not None for index in self.held):
            if queue and None in self.held:
                free = [row for row, index in enumerate(self.held) if index is None]
                state = engine.admit(call, state, queue, self.held)
                new = [row for row in free if self.held[row] is not None]
                self.decoding |= {(row, slot) for row in new for slot in range(call.shape.slots)}
            waiting, self.asked = self.asked, {}
            state, active = engine.decode(call, state, call.shape.rows, self._pause(bool(waiting)))
            self._take_turns(state, [place for place in sorted(self.decoding) if not active[place]])
            if not self.decoding:
                waiting, self.asked = waiting | self.asked, {}
            state = self._go_on(state, waiting)
            yield from self._finished()

    def _pause(self, waits: bool) -> Pause:
        """Stops for an eighth of the slots, or a quarter of the few that are left; sooner where others wait."""
        enough = max(min(self.slots // 8, len(self.decoding) // 4), 1)
        return Pause(np.int32(max(len(self.decoding) - enough, 0)), np.int32(STEPS_TO_ANSWER if waits else 2**30))

    def _take_turns(self, state: DecodeState, places: list[Place]) -> None:
        """The turns that ended at these slots; environments are asked for what comes next."""
        if not places:
            return
        size = self.slots if len(places) > self.slots // 4 else max(self.slots // 4, 1)
        where = np.asarray(places + [(0, 0)] * (size - len(places)), np.int32)
        collected = self.engine.device.collect_turns(state, where[:, 0], where[:, 1])
        tokens, logp, lengths, reason = jax.device_get(collected)
        for i, (row, slot) in enumerate(places):
            index = self.held[row]
            assert index is not None
            turn = answer_trajectory(tokens[i], logp[i], lengths[i], reason[i], index, slot)
            self.engine.work.add(len(turn) - 1, 0)  # its last token passes with what is shown
            before = self.samples.get((row, slot))
            whole = turn if before is None else extend(before, self.shown.pop((row, slot)), turn)
            self.samples[row, slot] = whole
            self.decoding.discard((row, slot))
            if (asked := self.ask(whole)) is not None:
                self.asked[row, slot] = asked

    def _go_on(self, state: DecodeState, waiting: dict[Place, Asked]) -> DecodeState:
        """Waits for what these samples are shown, and appends it; the others end."""
        blocks: dict[Place, EncodedPrompt] = {}
        for place, asked in waiting.items():
            shown, sample = asked.result(), self.samples[place]
            if shown is not None and self.fits(sample, shown):
                self.shown[place] = shown
                blocks[place] = block_of(sample, shown, self.call.prompts[sample.prompt_index].next_position)
        if blocks:
            longest = max(len(self.samples[place]) + len(self.shown[place]) for place in blocks)
            state = self.engine.grow(self.call, state, longest)
        for some in self._batches(blocks):
            state = append_blocks(self.engine, self.call, state, some)
        self.decoding |= set(blocks)
        return state

    def _batches(self, blocks: dict[Place, EncodedPrompt]) -> Iterator[list[list[tuple[Place, EncodedPrompt] | None]]]:
        """The blocks by the part of the rows that they belong to, as many a part as an append program takes: it has one
        of two sizes.
        """
        engine, parts = self.engine, self.engine.parts
        left: list[list[tuple[Place, EncodedPrompt]]] = [[] for _ in range(parts)]
        for place, block in sorted(blocks.items(), key=lambda item: item[0]):
            left[place[0] // (self.call.shape.rows // parts)].append((place, block))
        large, small = append_sizes(engine, self.call.shape, max(map(_bucket, blocks.values()), default=1))
        while any(left):
            take = size = large if max(map(len, left)) > 2 * small else small
            while take > 1 and sum(block.patches for own in left for _, block in own[:take]) > engine.patch_buckets[-1]:
                take //= 2
            yield [own[:take] + [None] * (size - len(own[:take])) for own in left]
            left = [own[take:] for own in left]

    def _finished(self) -> Iterator[tuple[int, list[Trajectory]]]:
        """The rows whose samples have all ended, which become free."""
        busy = {row for row, _ in (*self.decoding, *self.asked)}
        for row, index in enumerate(self.held):
            if index is not None and row not in busy:
                self.held[row] = None
                group = [self.samples.pop((row, slot)) for slot in range(self.call.shape.slots)]
                self.engine.work.distinct += len(self.call.prompts[index]) + sum(map(len, group))
                yield index, group


def append_sizes(engine: Engine, shape: Shape, length: int) -> tuple[int, int]:
    """Blocks of a part of the rows that an append program takes, where many wait and where few do; `length`: tokens of
    a block.
    """
    most = max(engine.max_prefill_tokens // length, 1)
    slots = shape.rows * shape.slots // engine.parts
    large, small = (max(min(slots // share, 1 << (most.bit_length() - 1)), 1) for share in (2, 8))
    return large, small


def append_blocks(
    engine: Engine, call: Call, state: DecodeState, some: Sequence[Sequence[tuple[Place, EncodedPrompt] | None]]
) -> DecodeState:
    """One append program's call: the blocks (see `block_of`) of each part of the rows, None for nobody's place."""
    rows, filler = call.shape.rows // len(some), engine.filler()
    blocks = [filler if one is None else one[1] for own in some for one in own]
    where = np.asarray(
        [[(rows, 0) if one is None else (one[0][0] % rows, one[0][1]) for one in own] for own in some], np.int32
    )
    length = max(map(_bucket, blocks))
    patches, packed = choose_pack(blocks, engine.patch_buckets, len(some), "patches of what is shown between turns")
    batch = collate_prompts(
        blocks,
        engine.config.vision,
        prompt_bucket=length,
        patch_bucket=patches,
        pad_id=engine.pad_id,
        parts=packed,
    )
    if batch.vision is not None:
        batch = _see(engine, call, batch, batch.vision)
    engine.work.add(sum(len(one[1]) for own in some for one in own if one is not None), len(blocks) * length)
    engine.programs.note(
        "append",
        **call.shape.sizes(),
        ring=state.ring,
        batch=len(blocks),
        shown=length,
        parts=0 if batch.vision is None else packed,
        draw=call.sampling.kind,
    )
    return engine.device.append(call.params, state, batch, where[..., 0], where[..., 1], call.draw, call.sampling)


def _see(engine: Engine, call: Call, batch: PromptBatch, vision: VisionArrays | VisionFeatures) -> PromptBatch:
    """The batch with the features of its pictures, as many rows as it has tokens: the append program then has one shape
    whatever the pictures.
    """
    parts, (count, length) = vision.parts, batch.tokens.shape
    unit, rows = engine.config.vision.merge_unit, count * length // parts
    had = vision_rows(vision, unit) // parts
    engine.programs.note("see", patches=had * parts * unit, parts=parts, rows=rows)
    features = engine.device.see(call.params, vision, rows)
    first = (np.arange(count) // (count // parts) * (rows - had))[:, None]
    index: Any = np.where(batch.feature_index >= 0, batch.feature_index + first, -1).astype(np.int32)
    return replace(batch, vision=features, feature_index=index)


def block_of(sample: Trajectory, shown: EncodedPrompt, start: int) -> EncodedPrompt:
    """The sample's last token, which has not passed yet, and what is shown behind it, at the positions that the trainer
    gives them.
    """
    at = following_position(sample.turns, start)
    shift = at - int(shown.positions[0, 0])
    return dataclasses.replace(
        shown,
        input_ids=np.concatenate([sample.tokens[-1:], shown.input_ids]),
        positions=np.concatenate([np.full((3, 1), at - 1, np.int32), shown.positions + shift], axis=1),
        next_position=shown.next_position + shift,
        type_ids=np.concatenate([np.zeros(1, np.uint8), shown.type_ids]),
    )


def _bucket(block: EncodedPrompt) -> int:
    return choose_bucket(len(block), SHOWN_BUCKETS, "tokens of what is shown between turns")
