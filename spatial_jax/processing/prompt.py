"""What processing hands to rollout and training: one encoded prompt, and one prepared picture or video."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A decoded and resized picture (kind 1) or video (kind 2): patches uint8 [n, C * Tp * P * P], grid (t, h, w) in
    patches, size (width, height) in pixels; for videos `seconds` a time step and the time `stamps` of the steps.
    """

    kind: int
    patches: np.ndarray
    grid: tuple[int, int, int]
    size: tuple[int, int]
    seconds: float = 1.0
    stamps: tuple[float, ...] = ()

    @property
    def nbytes(self) -> int:
        return self.patches.nbytes


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt as the model takes it.

    input_ids int32 [p] with picture tokens expanded; positions int32 [3, p] M-RoPE; next_position: id of the first
    answer token; type_ids uint8 [p]: 0 text, 1 picture, 2 video; pixel_values float32 [N, C * Tp * P * P] or None
    (uint8 and not yet normalised when made by `encode(..., normalise=False)`); grid_thw int32 [m, 3], pictures and
    videos in token order, as are the rows of pixel_values; model_sizes (width, height) of each after the resize, same
    order.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    next_position: int
    type_ids: np.ndarray
    pixel_values: np.ndarray | None
    grid_thw: np.ndarray
    model_sizes: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.input_ids)

    def followed_by(self, tokens: Sequence[int], turn: EncodedPrompt) -> EncodedPrompt:
        """This prompt, an answer to it (token ids), and a turn encoded from where that ends (`encode_text(...,
        start=next_position + len(tokens))`), as one prompt. Nothing is tokenised again. ValueError when the turn's
        positions start elsewhere.
        """
        start = self.next_position + len(tokens)
        if len(turn) and int(turn.positions[0, 0]) != start:
            raise ValueError(
                f"the turn's positions start at {int(turn.positions[0, 0])}, the conversation ends at {start}; use"
                f" start={start}"
            )
        answer = np.broadcast_to(np.arange(self.next_position, start, dtype=np.int32), (3, len(tokens)))
        pixels = [p for p in (self.pixel_values, turn.pixel_values) if p is not None]
        return EncodedPrompt(
            np.concatenate([self.input_ids, np.asarray(tokens, np.int32), turn.input_ids]),
            np.concatenate([self.positions, answer, turn.positions], axis=1),
            turn.next_position,
            np.concatenate([self.type_ids, np.zeros(len(tokens), np.uint8), turn.type_ids]),
            np.concatenate(pixels) if pixels else None,
            np.concatenate([self.grid_thw, turn.grid_thw]),
            [*self.model_sizes, *turn.model_sizes],
        )

    @property
    def patches(self) -> int:
        """Number of patches of all pictures and videos."""
        return 0 if self.pixel_values is None else len(self.pixel_values)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        arrays = (self.input_ids, self.positions, self.type_ids, self.pixel_values, self.grid_thw)
        return sum(array.nbytes for array in arrays if array is not None)
