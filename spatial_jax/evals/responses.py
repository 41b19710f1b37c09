"""The responses file: one JSON line an item, written when all its samples are there, so an interrupted run goes on
where it stopped.

Our lines: {"id", "responses": [text], "finish": ["stop"|"length"], "lengths": [tokens], "model_sizes": [[w, h]],
"frames": [...], "error"}. Any model's file is read too: {"id", "response"} lines (several lines of one id are its
samples), with "prediction", "output", "full_prediction" or "answer_text" for "response" and "qid", "idx", "index" or
"question_id" for "id"; a JSON list of the same objects works as well. A line may carry its item under "item"; then no
data set is needed to score it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from spatial_jax.reading import parse_json, parse_object

# VLMEvalKit writes "index" beside the "qid" that 3DSRBench names its variants by.
ID_KEYS = ("id", "qid", "idx", "index", "question_id")
TEXT_KEYS = ("response", "full_prediction", "prediction", "output", "answer_text", "text")


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Short hash of everything that changes the responses (model, prompts' version, sampling, frames)."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


class ResponseLog:
    """Append-only responses.jsonl with its settings on the first line.

    Opening an existing file reads what is there; a last line cut by a kill is dropped. A file made with other settings
    is an error. `write`: False for all but one of several processes, which share the file: they read it and leave it.
    """

    def __init__(self, path: str | os.PathLike, settings: Mapping[str, Any], write: bool = True):
        self.path = Path(path)
        self.rows: dict[str, dict[str, Any]] = {}
        head = {"settings": dict(settings), "fingerprint": fingerprint(settings)}
        good = self._read(head) if self.path.exists() else 0
        self._file: BinaryIO | None = None
        if not write:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "r+b" if self.path.exists() else "w+b")  # noqa: SIM115 (closed in close)
        self._file.truncate(good)
        self._file.seek(good)
        if not good:
            self._write(head)

    def _read(self, head: Mapping[str, Any]) -> int:
        good = 0
        with open(self.path, "rb") as file:
            for number, line in enumerate(file):
                if not line.endswith(b"\n"):
                    break
                try:
                    row = parse_object(line)
                except ValueError:
                    break
                if number == 0:
                    if row.get("fingerprint") != head["fingerprint"]:
                        raise ValueError(
                            f"{self.path}: holds responses of other settings"
                            f" ({first_difference(row.get('settings', {}), head['settings'])}); "
                            "give another --out or remove the file"
                        )
                elif not isinstance(row.get("id"), str) or not isinstance(row.get("responses"), list):
                    break
                else:
                    self.rows[row["id"]] = row
                good += len(line)
        return good

    def _write(self, row: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            self._file.flush()

    def add(self, row: dict[str, Any]) -> None:
        """Saves one item's responses; the line is in the file when this returns."""
        self.rows[row["id"]] = row
        self._write(row)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first key in which two settings differ, with both values."""
    for key in sorted(set(old) | set(new)):
        if json.loads(json.dumps(old.get(key), default=str)) != json.loads(json.dumps(new.get(key), default=str)):
            return f"{key}: {old.get(key)!r} there, {new.get(key)!r} here"
    return "no settings line"


def read_responses(path: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """id -> {"responses": [text], ...} of any responses file; raises ValueError naming the line that cannot be used."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from error
    rows: dict[str, dict[str, Any]] = {}
    begun = False
    for place, row in _objects(path, text):
        if "settings" in row and "fingerprint" in row:
            begun = True
            continue
        key = next((k for k in ID_KEYS if row.get(k) is not None), None)
        if key is None:
            raise ValueError(f"{place}: no id; give each response one of {', '.join(ID_KEYS)}")
        name = str(row[key])
        if isinstance(row.get("responses"), list):
            answers = ["" if r is None else str(r) for r in row["responses"]]
        else:
            field = next((k for k in TEXT_KEYS if k in row), None)
            if field is None and not row.get("error"):
                raise ValueError(f"{place}: no response; give one of responses, {', '.join(TEXT_KEYS)}")
            answers = ["" if field is None or row[field] is None else str(row[field])]
        if name in rows:
            rows[name]["responses"] += answers
        else:
            rows[name] = {**row, "id": name, "responses": answers}
            if (
                "full_prediction" in row and "prediction" in row
            ):  # BLINK's own layout: the judge's reading beside the text
                rows[name].setdefault("judge", row["prediction"])
    if not rows and not begun:
        raise ValueError(f"{path}: holds no response; one JSON object a line is needed")
    return rows


def responses_benchmark(path: str | os.PathLike) -> str:
    """The benchmark that a responses file of ours says its answers are to; "" where it does not say."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.readline()
    try:
        settings = parse_object(head).get("settings")
    except ValueError:
        return ""
    return str(settings.get("benchmark") or "") if isinstance(settings, dict) else ""


def _objects(path: Path, text: str) -> Iterable[tuple[str, dict[str, Any]]]:
    if text.lstrip().startswith("["):
        try:
            rows = parse_json(text)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error})") from None
        for number, row in enumerate(rows):
            if not isinstance(row, dict):
                raise ValueError(f"{path}: entry {number} is not an object")
            yield f"{path}: entry {number}", row
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            if number >= len(lines) - 1 and not text.endswith("\n"):
                return  # the last line of an interrupted run
            raise ValueError(f"{path}: line {number} is not JSON; one object a line is needed") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} is not an object")
        yield f"{path}: line {number}", row
