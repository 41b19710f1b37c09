"""The one way from questions to answers, for training, validation, evaluation and chat: sampling parameters of a
policy, an engine's answers of one or of several turns, and an answer as text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from spatial_jax.data.asked import Asking
from spatial_jax.drawing.environment import DrawingEnvironment, conversation
from spatial_jax.forms import get_form
from spatial_jax.processing import EncodedPrompt, Processor
from spatial_jax.rollout.engine import Engine
from spatial_jax.rollout.stream import Heard, Stream, stream_turns
from spatial_jax.rollout.turns import run_turns
from spatial_jax.rollout.types import SamplingParams, Trajectory

# ViLaSR's, for a drawing policy that does not say; the last: frames of a video as numbered pictures.
MAX_TURNS, MAX_PICTURES, DRAWN_FRAMES = 10, 45, 16


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a policy that draws may do: replies and pictures at most, tokens of all turns together, its tools; `near`:
    pixels within which a drawing repeats another (see Album).
    """

    turns: int
    pictures: int
    tokens: int
    tools: tuple[str, ...]
    near: float | None = 0.0

    def environment(
        self, processor: Processor, prompts: Sequence[EncodedPrompt], pictures: Sequence[Sequence[Any]]
    ) -> DrawingEnvironment:
        """What answers the policy between its turns on these prompts with their pictures."""
        return DrawingEnvironment(
            processor, prompts, pictures, turns=self.turns, most=self.pictures, tools=self.tools, near=self.near
        )


def drawing_asked(asking: Asking, tokens: int) -> Drawing | None:
    """What a policy that is asked so may draw, in `tokens` of all turns together; None where its form draws nothing."""
    tools = get_form(asking.prompt_mode).tools
    turns = asking.turns if asking.turns > 1 else MAX_TURNS
    return Drawing(turns, asking.max_pictures or MAX_PICTURES, tokens, tools) if tools else None


def sampling_for(processor: Processor, **told: Any) -> SamplingParams:
    """SamplingParams (fields in `told`) with the policy's end tokens, and without its picture tokens."""
    return SamplingParams(stop_ids=tuple(processor.eos_ids), banned_ids=tuple(processor.banned_ids), **told)


def answer_text(answer: Trajectory, processor: Processor, several_turns: bool = False) -> str:
    """An answer without its end token; of several turns the whole conversation in chat markup."""
    if several_turns:
        return conversation(answer, processor)
    return processor.decode(answer.tokens[:-1] if answer.finish_reason == "stop" else answer.tokens)


class Answerer:
    """An engine with the processor of its policy; `drawing` of one that draws, None: answers of one turn."""

    def __init__(self, engine: Engine, processor: Processor, drawing: Drawing | None = None):
        self.engine, self.processor, self.drawing = engine, processor, drawing

    def answer(
        self,
        params: Any,
        prompts: Sequence[EncodedPrompt],
        group_size: int,
        sampling: SamplingParams,
        *,
        pictures: Sequence[Sequence[Any]] = (),
        step: int = 0,
        prompt_ids: Sequence[int] | None = None,
        on_finish: Callable[[int, Sequence[Trajectory]], None] | None = None,
    ) -> list[list[Trajectory]]:
        """A group of answers to each prompt, as `Engine.generate` gives them; of several turns where the policy draws
        and there are pictures to draw on.
        """
        told: dict[str, Any] = {"step": step, "prompt_ids": prompt_ids, "on_finish": on_finish}
        if not self.draws(pictures):
            return self.engine.generate(params, prompts, group_size, sampling, **told)
        assert self.drawing is not None
        return run_turns(
            self.engine,
            params,
            prompts,
            group_size,
            sampling,
            self.drawing.environment(self.processor, prompts, pictures),
            max_turns=self.drawing.turns,
            max_tokens=self.drawing.tokens,
            **told,
        )

    def conversation(self, params: Any, sampling: SamplingParams) -> Stream:
        """A conversation for a person who waits; see `stream`."""
        return Stream(self.engine, params, sampling)

    def stream(
        self,
        stream: Stream,
        prompt: EncodedPrompt,
        pictures: Sequence[Any] = (),
        follows: EncodedPrompt | None = None,
    ) -> Iterator[Heard]:
        """One answer as it comes; of several turns where `answer` has several. `follows`: what of the prompt is new
        since the stream's last answer, which is all that passes where its cache has room.
        """
        environment = None
        if self.drawing is not None and self.draws([pictures]):
            environment = self.drawing.environment(self.processor, [prompt], [pictures])
        kept = follows is not None and stream.takes(follows)
        tokens = stream.go_on(follows) if kept and follows is not None else stream.begin(prompt)
        return stream_turns(stream, tokens, self.processor, environment)

    def draws(self, pictures: Sequence[Sequence[Any]]) -> bool:
        """Whether prompts with these pictures are answered in several turns."""
        return self.drawing is not None and any(len(shown) for shown in pictures)
