"""Choices that need all pictures at once: near-duplicates, balance over classes, leakage against evaluation pictures.

First pass: every worker reduces each picture to a small signature. Then each selector, in turn, looks at all signatures
together and gives a reason for every item it leaves out. The second pass (the pipeline proper) starts with `Chosen`,
which drops them by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from data_prep.pipeline import ITEM_ERRORS, Dropped
from data_prep.sources.base import Frame, Source
from spatial_jax.reading import read_object


class Selector(Protocol):
    """`signature` is JSON-ready and small; `choose` gets the ids and signatures of the items still in, in order, and
    returns "" (keep) or a reason for each. Both depend on nothing else, so the choice is the same in every run.
    """

    name: str

    def config(self) -> dict[str, Any]: ...

    def signature(self, frame: Frame) -> Any: ...

    def choose(self, ids: list[str], signatures: list[Any]) -> list[str]: ...


class Chosen:
    """Stage: drops the items that a selector left out. `reasons`: item id -> reason."""

    def __init__(self, reasons: dict[str, str], config: list[dict[str, Any]]):
        self.name, self.reasons, self._config = "selection", reasons, config

    def config(self) -> dict[str, Any]:
        return {"stage": self.name, "selectors": self._config}

    def __call__(self, frame: Frame) -> None:
        reason = self.reasons.get(frame.item_id, "")
        if reason:
            raise Dropped(reason)


class Signatures:
    """What a worker of the first pass does: the signatures of each item under every selector, or None for one that
    cannot be loaded or that the filters `stages` drop (the second pass will say why).
    """

    def __init__(self, source: Source, selectors: list[Selector], stages: Sequence[Callable[[Frame], None]] = ()):
        self.source, self.selectors, self.stages = source, selectors, stages

    def outcomes(self, indices: list[int]) -> list[list[Any] | None]:
        out: list[list[Any] | None] = []
        for index in indices:
            try:
                frame = self.source.load(index)
                for stage in self.stages:
                    stage(frame)
                out.append([selector.signature(frame) for selector in self.selectors])
            except ITEM_ERRORS:
                out.append(None)
        return out


def choose(ids: list[str], signatures: list[list[Any] | None], selectors: list[Selector]) -> dict[str, str]:
    """Item id -> "selector: reason" for the items left out; a later selector sees only what the earlier ones kept."""
    reasons: dict[str, str] = {}
    for number, selector in enumerate(selectors):
        live = [(i, s[number]) for i, s in zip(ids, signatures, strict=True) if s is not None and i not in reasons]
        verdicts = selector.choose([i for i, _ in live], [s for _, s in live])
        for (item, _), reason in zip(live, verdicts, strict=True):
            if reason:
                reasons[item] = f"{selector.name}: {reason}"
    return reasons


def select(
    source: Source, selectors: list[Selector], signatures: Callable[[], Iterator[list[Any] | None]], kept: Path
) -> dict[str, str]:
    """The choice, read from the file `kept` when an earlier run has made it already, else made from `signatures()` and
    written there.
    """
    if kept.exists():
        return read_object(kept, "delete it and run again")
    ids = [source.item_id(i) for i in range(len(source))]
    reasons = choose(ids, list(signatures()), selectors)
    temporary = kept.with_suffix(".tmp")
    temporary.write_text(json.dumps(reasons))
    temporary.replace(kept)
    return reasons
