"""What processing hands to rollout and training: one encoded prompt, and one prepared picture or video."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spatial_jax.models.batch import VisionFeatures  # imports jax, which readers of data need not


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

    @functools.cached_property
    def key(self) -> bytes:
        """What tells this picture, at this size, from every other."""
        return picture_key(self.patches, self.grid)


def picture_key(patches: np.ndarray, grid: Sequence[int]) -> bytes:
    """Digest of a picture's patches and grid."""
    digest = hashlib.blake2b(np.asarray(grid, np.int64).tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(patches).data)
    return digest.digest()


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt as the model takes it.

    input_ids int32 [p] with picture tokens expanded; positions int32 [3, p] M-RoPE; next_position: id of the first
    answer token; type_ids uint8 [p]: 0 text, 1 picture, 2 video; pixel_values float32 [N, C * Tp * P * P] or None
    (uint8 and not yet normalised when made by `encode(..., normalise=False)`); grid_thw int32 [m, 3], pictures and
    videos in token order, as are the rows of pixel_values; model_sizes (width, height) of each after the resize, same
    order; keys: what tells its pictures from others, () where nobody asked; features: what the tower makes of the
    pictures (NumPy leaves, rows of all in order), in the place of pixel_values where somebody encoded them.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    next_position: int
    type_ids: np.ndarray
    pixel_values: np.ndarray | None
    grid_thw: np.ndarray
    model_sizes: list[tuple[int, int]]
    keys: tuple[bytes, ...] = ()
    features: VisionFeatures | None = None

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
            (*self.keys, *turn.keys),
        )

    @property
    def patches(self) -> int:
        """Number of patches of all pictures and videos."""
        if self.features is not None:
            return int(np.prod(self.grid_thw, axis=1).sum())
        return 0 if self.pixel_values is None else len(self.pixel_values)

    @property
    def nbytes(self) -> int:
        """Memory of the arrays in bytes."""
        arrays = (self.input_ids, self.positions, self.type_ids, self.pixel_values, self.grid_thw)
        features = () if self.features is None else (self.features.features, self.features.deepstack)
        return sum(array.nbytes for array in (*arrays, *features) if array is not None)


def shared_length(prompts: Sequence[EncodedPrompt]) -> int:
    """Tokens that all prompts begin with; at least one token of each prompt is left over. 0 when their pictures
    differ.
    """
    first = prompts[0]
    shortest = min(map(len, prompts)) - 1
    same = np.ones(shortest, bool)
    for other in prompts[1:]:
        same &= first.input_ids[:shortest] == other.input_ids[:shortest]
    length = shortest if same.all() else int(np.argmin(same))
    last_picture = int(np.max(np.nonzero(first.type_ids)[0], initial=-1))
    return length if length > last_picture else 0


def prefix(prompt: EncodedPrompt, length: int) -> EncodedPrompt:
    """The first `length` tokens of a prompt, which hold all its pictures."""
    return dataclasses.replace(
        prompt,
        input_ids=prompt.input_ids[:length],
        positions=prompt.positions[:, :length],
        type_ids=prompt.type_ids[:length],
        next_position=int(prompt.positions[0, length]),
    )


def concatenate_features(parts: Sequence[VisionFeatures]) -> VisionFeatures:
    """Features of all pictures, in order; NumPy leaves."""
    if len(parts) == 1:
        return parts[0]
    deepstack: Any = None
    if parts[0].deepstack is not None:
        deepstack = np.concatenate([p.deepstack for p in parts], axis=1)
    features: Any = np.concatenate([p.features for p in parts])
    return dataclasses.replace(parts[0], features=features, deepstack=deepstack)
