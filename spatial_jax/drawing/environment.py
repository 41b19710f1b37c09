"""The drawing environment between a policy's turns: what it asked to be drawn comes back as pictures (ViLaSR, arXiv
2506.09965, 4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from spatial_jax.drawing import Album, DrawingError, parse, render_entry
from spatial_jax.drawing.texts import shown_turn
from spatial_jax.drawing.tool import Size
from spatial_jax.drawing.tools import PUBLISHED
from spatial_jax.processing import EncodedPrompt, Processor, load_image
from spatial_jax.processing.image import resize
from spatial_jax.rollout import Trajectory, Turn
from spatial_jax.rollout.earlier import following_position

_MARKS = ("<|im_start|>", "<|im_end|>")


def turn_text(turn: Turn, processor: Processor) -> str:
    """What the policy wrote, without marks of the chat that it cannot set by writing them."""
    text = processor.decode(turn.tokens)
    for mark in _MARKS:
        text = text.replace(mark, "")
    return text


def conversation(trajectory: Trajectory, processor: Processor) -> str:
    """The whole trajectory in chat markup from its first reply on, as rewards of several turns read it; pictures are
    left out.
    """
    parts = []
    for turn in trajectory.turns:
        if turn.observation is None:
            parts.append(turn_text(turn, processor) + "<|im_end|>")
        else:
            parts.append(processor.decode(turn.tokens[turn.observation.type_ids == 0], skip_special_tokens=False))
    return "".join(parts)


class DrawingEnvironment:
    """Answers the samples of one rollout; see `run_turns`. `pictures`: of each prompt, encoded or not, in its order.
    A sample ends when it gives an answer, asks for nothing that can be drawn, repeats itself, or asks for more than
    `most` pictures; it is told when its next reply must be the answer: the `turns`-th, or once there are `most`
    pictures. `tools`: those that it may call; `near`: see Album. Nothing is kept between calls: a sample's turns
    are played again.
    """

    def __init__(
        self,
        processor: Processor,
        prompts: Sequence[EncodedPrompt],
        pictures: Sequence[Sequence[Any]],
        *,
        turns: int,
        most: int,
        tools: Sequence[str] = PUBLISHED,
        near: float | None = 0.0,
    ):
        self.processor, self.prompts, self.turns, self.most = processor, prompts, turns, most
        self.tools, self.near = tools, near
        self._encoded, self._clean = pictures, [list[Image.Image]() for _ in prompts]
        self._end = processor.tokenizer.token_id("<|im_end|>")

    def __call__(self, trajectory: Trajectory) -> EncodedPrompt | None:
        """The turn to show after the trajectory's last one, None where the sample ends."""
        said = self._said(trajectory)
        if not self.closed(trajectory) or ("<answer>" in said[-1] and "</answer>" in said[-1]):
            return None
        index = trajectory.prompt_index
        prompt = self.prompts[index]
        try:
            album, new, text = replay_with_text(
                said, prompt.model_sizes, self.turns, self.most, self.tools, self._fit, self.near
            )
        except DrawingError:
            return None
        drawn = self._drawn(index, album, new)
        return self.processor.encode_text(text, drawn, start=following_position(trajectory.turns, prompt.next_position))

    def shown(self, trajectory: Trajectory) -> list[Image.Image]:
        """Every picture that was drawn for the trajectory."""
        index, said = trajectory.prompt_index, self._said(trajectory)
        sizes = self.prompts[index].model_sizes
        album, _ = replay(said[:-1], sizes, self.most, self.tools, self._fit, self.near)
        return self._drawn(index, album, range(len(sizes), len(album.entries)))

    def latest(self, trajectory: Trajectory) -> list[Image.Image]:
        """The pictures that the trajectory's last turn draws. DrawingError as `Album.draw`."""
        index = trajectory.prompt_index
        sizes = self.prompts[index].model_sizes
        album, new = replay(self._said(trajectory), sizes, self.most, self.tools, self._fit, self.near)
        return self._drawn(index, album, new)

    def closed(self, trajectory: Trajectory) -> bool:
        """Whether the last turn ended as a turn, not as a text."""
        return int(trajectory.tokens[-1]) == self._end

    def _said(self, trajectory: Trajectory) -> list[str]:
        return [turn_text(turn, self.processor) for turn in trajectory.turns if turn.observation is None]

    def _drawn(self, index: int, album: Album, places: Sequence[int]) -> list[Image.Image]:
        clean = self._pictures(index) if places else []
        return [render_entry(clean[(entry := album.entries[i]).original], entry, album.labels) for i in places]

    def _fit(self, size: tuple[int, int]) -> tuple[int, int]:
        return self.processor.model_size(*size)

    def _pictures(self, index: int) -> list[Image.Image]:
        """The prompt's pictures as the model sees them, decoded when first asked for."""
        if not self._clean[index]:
            sizes = self.prompts[index].model_sizes
            self._clean[index] = [resize(load_image(data), *size) for data, size in zip(self._encoded[index], sizes)]
        return self._clean[index]


def replay(
    said: Sequence[str],
    sizes: Sequence[Size],
    most: int,
    tools: Sequence[str] = PUBLISHED,
    fit: Callable[[Size], Size] = lambda size: size,
    near: float | None = 0.0,
) -> tuple[Album, list[int]]:
    """The album after these turns on pictures of these (width, height), and the places of what the last one drew.
    DrawingError as `Album.draw`.
    """
    album, new = Album(sizes, fit, near), list[int]()
    for text in said:
        new = album.draw(parse(text, tools), most)
    return album, new


def replay_with_text(
    said: Sequence[str],
    sizes: Sequence[Size],
    turns: int,
    most: int,
    tools: Sequence[str] = PUBLISHED,
    fit: Callable[[Size], Size] = lambda size: size,
    near: float | None = 0.0,
) -> tuple[Album, list[int], str]:
    """`replay` on pictures of these (width, height), with the text of the turn that shows what the last one drew.
    DrawingError likewise.
    """
    album, new = replay(said, sizes, most, tools, fit, near)
    last = len(said) + 1 >= turns or len(album.entries) >= most
    return album, new, shown_turn(new[0] + 1, [album.entries[i].size for i in new], last)


def drawn_pictures(trajectory: Trajectory) -> int:
    """How many pictures the environment showed."""
    return sum(len(turn.observation.grid_thw) for turn in trajectory.turns if turn.observation is not None)


def replies(trajectory: Trajectory) -> int:
    """How many turns the policy took."""
    return sum(turn.observation is None for turn in trajectory.turns)
