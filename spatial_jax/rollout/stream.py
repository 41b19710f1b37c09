"""Answers as they come, for a person who waits: an engine's own prefill, append and decode step with one row and one
slot, which a conversation keeps.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.drawing.environment import DrawingEnvironment
from spatial_jax.processing import EncodedPrompt, Processor, choose_bucket
from spatial_jax.rollout.engine import Call, Engine
from spatial_jax.rollout.state import DecodeState
from spatial_jax.rollout.turns import append_blocks, block_of, extend
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


class Stream:
    """A conversation in a slot of its own. What was said and shown stays in its cache: a turn passes what is new.

    `said`: what followed the prompt so far, each turn once it is over.
    """

    def __init__(self, engine: Engine, params: Any, sampling: SamplingParams):
        self.engine, self.params, self.sampling = engine, params, sampling
        self.said: Trajectory | None = None
        self._call: Call | None = None
        self._state: DecodeState | None = None

    def begin(self, prompt: EncodedPrompt) -> Iterator[list[int]]:
        """Passes the prompt, and yields its answer's new token ids as they come, a stop token included. The engine's
        programs are kept, one a (prompt bucket, answer bucket, patch bucket). Raises ValueError for a prompt above the
        largest bucket.
        """
        engine = self.engine
        self.said = self._state = None
        choose_bucket(len(prompt), engine.prompt_buckets, "the conversation's length")
        if prompt.patches:
            choose_bucket(prompt.patches, engine.patch_buckets, "patches of the pictures")
        (self._call,) = engine.calls(self.params, [prompt], 1, self.sampling, step=0, prompt_ids=None)
        # The ring holds the whole answer from the start: one answer's keys are small, and nothing is compiled in its
        # midst.
        state = engine.device.empty(self._call.params, self._call.shape, self._call.shape.answer)
        state = engine.admit(self._call, state, collections.deque(self._call.indices), [None])
        yield from self._turn(state, None)

    def takes(self, shown: EncodedPrompt) -> bool:
        """Whether the conversation can go on with `shown` in its cache: its last turn is over, and there is room."""
        return self.said is not None and self._columns(self.said, shown) <= self.engine.answer_buckets[-1]

    def go_on(self, shown: EncodedPrompt) -> Iterator[list[int]]:
        """Passes what is shown behind the last turn, and yields the next one as `begin` does. ValueError where the
        cache cannot hold it.
        """
        said, call, state = self.said, self._call, self._state
        if said is None or call is None or state is None:
            raise ValueError("the conversation's last turn is not over: nothing can be shown behind it")
        needed = self._columns(said, shown)
        ring = choose_bucket(needed, self.engine.answer_buckets, "the conversation's length behind its first prompt")
        self.said = self._state = None  # until the turn is over
        if state.ring < ring:
            state = self.engine.device.grow(state, ring)
        block = block_of(said, shown, call.prompts[0].next_position)
        yield from self._turn(append_blocks(self.engine, call, state, [[((0, 0), block)]]), (said, shown))

    def _columns(self, said: Trajectory, shown: EncodedPrompt) -> int:
        return len(said) + len(shown) + self.sampling.max_new_tokens

    def _turn(self, state: DecodeState, before: tuple[Trajectory, EncodedPrompt] | None) -> Iterator[list[int]]:
        call, own = self._call, list[int]()
        assert call is not None
        while True:
            tokens, count, active = (
                np.asarray(x) for x in (state.tokens[0, 0], state.lengths[0, 0], state.slot_active[0, 0])
            )
            new = tokens[len(own) : int(count)].tolist()
            own += new
            if not active:
                turn = Trajectory.written(own)
                self.said = turn if before is None else extend(*before, turn)
                self._state = state
            yield new
            if not active:
                return
            state = self.engine.device.advance(call.params, state, call.draw, call.sampling, STEPS)


def stream_turns(
    stream: Stream, tokens: Iterator[list[int]], processor: Processor, environment: DrawingEnvironment | None = None
) -> Iterator[Heard]:
    """An answer's turns as they come, the first one of `tokens`, which the stream gives: one turn, or as many as
    `environment` goes on with, which has the stream's prompt as its only one. Raises ValueError where the conversation
    outgrows the engine's buckets.
    """
    for _ in range(1 if environment is None else environment.turns):
        said, text = list[int](), ""
        for new in tokens:
            said += new
            text = processor.decode(said).rstrip("\ufffd")  # the rest of a character may still come
            yield Heard(list(said), text)
        if environment is None or stream.said is None:
            return
        shown = environment(stream.said)
        if shown is None:
            return
        yield Heard(list(said), text, tuple(environment.latest(stream.said)))
        tokens = stream.go_on(shown)
