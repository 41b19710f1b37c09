"""How often each question is answered right: offline from k answers of a given policy, online as a moving average. Host
code, JSON state.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.reading import parse_json, parse_object


@dataclasses.dataclass
class Entry:
    """What is known of one question. `right` of `trials` answers, both decayed with every new group, so they follow the
    policy; `state` active, solved or hard; put aside until step `until`, for the `rests`-th time; offline: pass rate
    before training.
    """

    right: float = 0.0
    trials: float = 0.0
    step: int = -1
    state: str = "active"
    until: int = -1
    rests: int = 0
    offline: float | None = None
    family: str = ""
    hops: int = 1

    @property
    def pass_rate(self) -> float | None:
        """Share of right answers lately; the offline rate before any online answer; None when nothing is known."""
        return self.right / self.trials if self.trials > 0 else self.offline


class PassRateStore:
    """Pass rates by record id. `decay` is the weight that earlier groups keep when a new one comes (0: only the last
    group counts).
    """

    def __init__(self, decay: float = 0.5):
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"pass-rate decay = {decay}; it must lie in [0, 1)")
        self.decay = decay
        self.entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self.entries)

    def get(self, record_id: str) -> Entry:
        """The record's entry, made when it has none."""
        entry = self.entries.get(record_id)
        if entry is None:
            entry = self.entries[record_id] = Entry()
        return entry

    def observe(
        self, record_id: str, correct: Sequence[bool | None], step: int, family: str = "", hops: int = 1
    ) -> Entry:
        """Adds a group's answers; None (no score) is left out. Returns the entry."""
        entry = self.get(record_id)
        known = [bool(c) for c in correct if c is not None]
        if known:
            entry.right = self.decay * entry.right + sum(known)
            entry.trials = self.decay * entry.trials + len(known)
            entry.step = step
        entry.family, entry.hops = family or entry.family, hops
        return entry

    def import_offline(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Takes offline results, each with question_id, pass_k (right answers) and n (answers); returns how many were
        new. ValueError names a row that is not such a result.
        """
        count = 0
        for number, row in enumerate(rows, 1):
            try:
                name, right, trials = str(row["question_id"]), float(row["pass_k"]), float(row["n"])
            except (KeyError, TypeError, ValueError):
                raise ValueError(
                    f"offline pass rates, row {number}: needs question_id, pass_k and n, has {dict(row)!r}"[:300]
                ) from None
            if not (math.isfinite(right) and math.isfinite(trials) and 0 <= right <= trials and trials > 0):
                raise ValueError(
                    f"offline pass rates, row {number} ({name}): {right} right of {trials} answers is impossible"
                )
            count += self.get(name).offline is None
            self.get(name).offline = right / trials
        return count

    def state_dict(self) -> dict[str, Any]:
        """JSON-ready; floats survive JSON exactly."""
        return {
            "decay": self.decay,
            "entries": {name: list(dataclasses.astuple(entry)) for name, entry in self.entries.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continues from `state_dict`'s result."""
        self.decay = float(state["decay"])
        self.entries = {name: Entry(*values) for name, values in state["entries"].items()}


def read_pass_rates(file: str | Path) -> list[dict[str, Any]]:
    """Rows of a pass-rate file: one JSON object a line with question_id, pass_k, n (and model, timestamp); or of the
    result that `python -m spatial_jax.evaluate --dataset=DIR --split=train --samples=K` wrote (NAME.json). ValueError
    names a bad line.
    """
    text = Path(file).read_text(encoding="utf-8")
    result = _result(text)
    if result is not None:
        if not all("answers" in item for item in result["items"]):
            raise ValueError(
                f"{file}: its items do not say how many answers they had; evaluate again with this version"
            )
        return [
            {"question_id": item["id"], "pass_k": round(item["correct"] * item["answers"]), "n": item["answers"]}
            for item in result["items"]
            if item["answers"]
        ]
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                row = parse_object(line)
            except ValueError:
                raise ValueError(
                    f"{file}, line {number} is not JSON; the file holds one object a line with question_id, pass_k"
                    " and n"
                ) from None
            if rows or not _is_head(row):
                rows.append(row)
    return rows


def pass_rate_settings(file: str | Path) -> dict[str, Any]:
    """What the answers behind a file of `write_pass_rates` depended on; {} of one that does not say."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        try:
            row = parse_object(lines.readline())
        except ValueError:
            return {}
    return row["settings"] if _is_head(row) else {}


def _is_head(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("settings"), dict) and "question_id" not in row


def pass_rate_asking(file: str | Path) -> dict[str, Any]:
    """How the answers behind a pass-rate file were asked for: the settings of an evaluation's or a sampling's policy;
    {} of a file that does not say.
    """
    policy = (_result(Path(file).read_text(encoding="utf-8")) or pass_rate_settings(file)).get("policy")
    return policy if isinstance(policy, dict) else {}


def _result(text: str) -> dict[str, Any] | None:
    """The evaluation's result that the text is; None for JSON lines."""
    try:
        result = parse_json(text)
    except ValueError:
        return None
    return result if isinstance(result, dict) and "items" in result else None


def write_pass_rates(file: str | Path, rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    """Writes what `read_pass_rates` reads, behind a line with what the answers depended on."""
    lines = [{"settings": dict(settings)}, *map(dict, rows)]
    Path(file).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in lines), encoding="utf-8")
