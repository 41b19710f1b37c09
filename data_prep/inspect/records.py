"""Reading a dataset for a page: any record, with damage counted, and the small parts that both pages share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from spatial_jax.data.records import from_example
from spatial_jax.pages import ExampleFolder, Html, callout, chip, details, tag
from spatial_jax.reading import parse_json

SCANNED = 20_000  # records read for the counts, at most


class Records:
    """Records of a dataset folder; unreadable ones are counted in `damaged`."""

    def __init__(self, folder: ExampleFolder, kind: type):
        self.folder, self.kind, self.damaged = folder, kind, list(folder.problems)
        self.places = [(split, i) for split in sorted(folder.splits, reverse=True) for i in range(folder.splits[split])]

    def get(self, place: tuple[str, int]) -> Any:
        """The record at a place, None when it cannot be read."""
        try:
            return from_example(self.kind, self.folder.get(*place))
        except (ValueError, KeyError, TypeError) as error:
            self.damaged.append(str(error) or f"{place[0]} record {place[1]} lacks a field")
            return None

    def scan(self) -> Iterator[tuple[tuple[str, int], Any]]:
        """Places and records, every n-th one when there are more than SCANNED."""
        for place in self.places[:: max(1, math.ceil(len(self.places) / SCANNED))]:
            record = self.get(place)
            if record is not None:
                yield place, record


def parse_or_empty(text: str) -> dict[str, Any]:
    try:
        value = parse_json(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def config_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the dataset was made with, {} when the manifest does not say."""
    config = (manifest.get("identity") or {}).get("config")
    return config if isinstance(config, dict) else {}


def known(value: float) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def split_cards(records: Records, what: str) -> list[tuple[object, object, object]]:
    return [(f"{n:,}", f"{split} {what}", "") for split, n in sorted(records.folder.splits.items(), reverse=True)]


def split_chip(split: str) -> Html:
    return chip(split, "good" if split == "heldout" else "quiet")


def origin_section(manifest: Mapping[str, Any]) -> Html | None:
    """The dataset's whole configuration, folded."""
    return (
        details("How it was made", tag("pre", json.dumps(manifest.get("identity", {}), indent=1))) if manifest else None
    )


def damage_box(records: Records) -> Html | None:
    problems = list(dict.fromkeys(records.damaged))
    return (
        callout("bad", f"Damaged: {len(problems)}", tag("ul", [tag("li", p) for p in problems[:12]]))
        if problems
        else None
    )
