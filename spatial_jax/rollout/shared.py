"""Prompts that begin alike, pictures included: what they share passes once, and each goes on from there with its own
end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from spatial_jax.models.vision_plan import round_size
from spatial_jax.processing import EncodedPrompt
from spatial_jax.processing.prompt import prefix, shared_length


@dataclasses.dataclass(frozen=True, eq=False)
class SharedPrompts:
    """Prompts at `places` of a list: what they all begin with, with their pictures, and the token ids int32 of each
    one's own end (text alone).
    """

    places: tuple[int, ...]
    prefix: EncodedPrompt
    ends: tuple[np.ndarray, ...]

    @property
    def size(self) -> int:
        """Ends that a call takes: few sizes, so few programs."""
        return round_size(len(self.ends))

    @property
    def padded(self) -> list[np.ndarray]:
        """The ends, filled up to `size` by the shortest."""
        return [*self.ends, *[min(self.ends, key=len)] * (self.size - len(self.ends))]

    @property
    def distinct(self) -> int:
        """Tokens that differ: the shared part and each end."""
        return len(self.prefix) + sum(map(len, self.ends))

    @property
    def passed(self) -> int:
        """Tokens that go through the network, repeated ends included."""
        return len(self.prefix) + sum(map(len, self.padded))


def share_prompts(prompts: Sequence[EncodedPrompt], most: int, longest: int) -> tuple[list[SharedPrompts], list[int]]:
    """(sets of two to `most` prompts, places of those that stay alone) of prompts on the same pictures. A prompt stays
    alone where it parts from the others before the pictures' end, or its own end is longer than `longest`.
    """
    cut = shared_length(prompts) if len(prompts) > 1 and most > 1 and _same_pictures(prompts) else 0
    fitting = [i for i, prompt in enumerate(prompts) if cut and len(prompt) - cut <= longest]
    alone = sorted(set(range(len(prompts))) - set(fitting))
    # Sets of like size: one that is nearly empty would pass the shared part for little.
    count = -(-len(fitting) // most)
    sets = []
    for places in np.array_split(np.asarray(fitting, int), count) if count else []:
        if len(places) < 2:
            alone += places.tolist()
            continue
        ends = tuple(prompts[i].input_ids[cut:] for i in places)
        sets.append(SharedPrompts(tuple(places.tolist()), prefix(prompts[places[0]], cut), ends))
    return sets, alone


def _same_pictures(prompts: Sequence[EncodedPrompt]) -> bool:
    first = prompts[0]
    return all(p.keys == first.keys and np.array_equal(p.grid_thw, first.grid_thw) for p in prompts)
