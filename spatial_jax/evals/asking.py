"""The order in which requests go to the engine: what is asked about one clip together, calls of few shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from spatial_jax.processing import EncodedPrompt, choose_bucket
from spatial_jax.rollout import Engine
from spatial_jax.rollout.shared import SharedPrompts, share_prompts

MOST_SHARED = 64  # questions that pass their clip together


@dataclasses.dataclass(frozen=True)
class Request:
    """One question: its id, its place in the whole list (which seeds its samples), and how to encode it. `encode`
    returns the prompt, what to keep beside the responses (model_sizes, frames), and the pictures for a policy that
    draws on them; it raises ValueError with one line for an item that cannot be asked. `shows`: what tells its clip or
    pictures from those of other requests; None where nothing is known to be shared. `asked`: digest of what is asked,
    where the id alone may stand for another question tomorrow.
    """

    id: str
    place: int
    encode: Callable[[], tuple[EncodedPrompt, dict[str, Any], Sequence[Any]]]
    shows: Hashable = None
    asked: str = ""


Waiting = tuple[Request, dict[str, Any], EncodedPrompt, Sequence[Any]]
Shape = tuple[int, int, int]  # questions of a set, bucket of what they share, bucket of their ends


@dataclasses.dataclass(frozen=True, eq=False)
class Set:
    """Questions that are answered together: several that share a part of their prompts, or one (shared None)."""

    waiting: Sequence[Waiting]
    shared: SharedPrompts | None = None


def by_clip(requests: Sequence[Request]) -> Iterator[list[Request]]:
    """The requests, those on one clip together, where the first of them stood."""
    clips: dict[Hashable, list[Request]] = {}
    for number, request in enumerate(requests):
        key = ("alone", number) if request.shows is None else ("clip", request.shows)
        clips.setdefault(key, []).append(request)
    yield from clips.values()


def cut_sets(asked: Sequence[Waiting], engine: Engine, share: bool) -> list[tuple[Shape, Set]]:
    """Encoded questions on one clip as sets with their static shapes; `share`: they may pass the clip together.
    ValueError for a prompt that no bucket holds.
    """
    most = min(MOST_SHARED, engine.max_slots) if share else 1
    sets, alone = share_prompts([prompt for _, _, prompt, _ in asked], most, max(engine.answer_buckets))
    out = []
    for shared in sets:
        ends = choose_bucket(max(map(len, shared.ends)), engine.answer_buckets)
        bucket = choose_bucket(len(shared.prefix), engine.prompt_buckets, "prompt of length")
        out.append(((shared.size, bucket, ends), Set([asked[i] for i in shared.places], shared)))
    for i in alone:
        bucket = choose_bucket(len(asked[i][2]), engine.prompt_buckets, "prompt of length")
        out.append(((1, bucket, 0), Set([asked[i]])))
    return out
