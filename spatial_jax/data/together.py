"""Positions in an order that keeps questions on the same pictures together, so that a batch encodes each picture
once.
"""

from __future__ import annotations

import sys
from typing import Any

import grain
import numpy as np

from spatial_jax.data.source import QuestionSource


def scene_blocks(source: QuestionSource, size: int) -> np.ndarray:
    """int64 [blocks, size] positions: each row holds questions of one scene; what a scene lacks of a full row is filled
    with its own questions again, from the row's start.
    """
    by_scene: dict[str, list[int]] = {}
    for position, scene in enumerate(source.column("scene_id")):
        by_scene.setdefault(scene, []).append(position)
    rows = []
    for positions in by_scene.values():
        for start in range(0, len(positions), size):
            rows.append(np.resize(positions[start : start + size], size))
    return np.stack(rows)


class FlatBlocks(grain.MapDataset):
    """Element k of `blocks` (a dataset of row numbers) spread over `table.shape[1]` consecutive elements."""

    def __init__(self, blocks: grain.MapDataset, table: np.ndarray):
        super().__init__(blocks)
        self._table = table

    def __len__(self) -> int:
        return min(len(self._parent) * self._table.shape[1], sys.maxsize)  # an endless parent stays endless

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return self.slice(index)
        row, column = divmod(int(index) % len(self), self._table.shape[1])
        return int(self._table[self._parent[row], column])
