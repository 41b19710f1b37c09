"""One function a published form: row -> QuestionRecord. A row that cannot be used raises BadRow and is counted, the
rest goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.frames import frames_of
from data_prep.synthesis.importers.rows import BadRow, json_rows, parquet_rows, pictures, text_field
from spatial_jax.data.records import CODE_REWARDS, GENERATOR_VERSION, QUESTION_TYPES, QuestionRecord

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_MARK = re.compile(r"<image>")
_OPTION = re.compile(r"^\s*\(?([A-H])[.):]\s*(.+?)\s*$", re.MULTILINE)
_COORDINATE_LIKE = re.compile(r"\{[xy](\.\d)?:")
MRA = {"kind": "mra", "comparison": "<"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a row comes from and where its pictures are."""

    kind: str
    number: int
    file: str
    images: Path | None
    split: str


def _number(text: str) -> bool:
    try:
        return abs(float(text.replace(",", ""))) < float("inf")
    except ValueError:
        return False


def _build(
    place: Place,
    *,
    question: str,
    answer: str,
    images: list[tuple[bytes, int, int]],
    scene_id: str,
    question_type: str,
    reward: dict[str, Any],
    family: str,
    options: tuple[str, ...] = (),
    unit: str = "",
    meta: dict[str, Any] | None = None,
    tags: tuple[str, ...] = (),
) -> QuestionRecord:
    if _COORDINATE_LIKE.search(question + answer + "".join(options)):
        raise BadRow("text holds what reads as a coordinate placeholder")
    marks = len(_MARK.findall(question))
    if marks and marks != len(images):
        raise BadRow("number of <image> marks and of pictures differ")
    digest = hashlib.sha1(f"{place.number}\n{question}\n{answer}".encode()).hexdigest()[:12]
    whole = {
        "provenance": place.kind,
        "file": Path(place.file).name,
        "row": place.number,
        "generator_version": GENERATOR_VERSION,
        "objects": [],
        **(meta or {}),
    }
    return QuestionRecord(
        question_id=f"{place.kind}/{scene_id}/{digest}",
        source=place.kind,
        split=place.split,
        scene_id=scene_id,
        images=tuple(i[0] for i in images),
        widths=tuple(i[1] for i in images),
        heights=tuple(i[2] for i in images),
        question=question,
        question_type=question_type,
        answer=answer,
        options=options,
        unit=unit,
        reward=json.dumps(reward),
        family=family,
        meta=json.dumps(whole),
        tags=tags,
    )


def _scene(row: dict[str, Any], images: list[tuple[bytes, int, int]]) -> str:
    for name in ("scene_id", "scene_name", "scene", "video", "video_id", "video_path"):
        if isinstance(row.get(name), str) and row[name]:
            return Path(row[name]).stem
    return hashlib.sha1(images[0][0]).hexdigest()[:16] if images else "unknown"


def ssrl(row: dict[str, Any], place: Place) -> QuestionRecord:
    """Spatial-SSRL-81k parquet: `problem` with <image> marks, `answer`, `images` (paths or bytes)."""
    question, answer, images = (
        text_field(row, "problem", "question"),
        text_field(row, "answer"),
        pictures(row.get("images"), place.images),
    )
    if not images:
        raise BadRow("row has no picture")
    paths = " ".join(
        i if isinstance(i, str) else str((i or {}).get("path") or "") if isinstance(i, dict) else ""
        for i in row.get("images") or []
    )
    task = next(
        (t for t in ("crop", "depth", "flip", "position", "shuffle") if t in paths.lower()),
        "crop" if len(images) > 1 else "",
    )
    family = {"depth": "ssrl_depth_order", "position": "ssrl_position3d", "": "ssrl"}.get(task, f"ssrl_{task}")
    letter = re.fullmatch(r"[A-D]", answer) is not None
    return _build(
        place,
        question=question,
        answer=answer,
        images=images,
        scene_id=_scene(row, images),
        question_type="mcq" if letter else "free",
        reward={"kind": "ssrl"},
        family=family,
        options=("A", "B", "C", "D") if letter else (),
    )


_TOPICS = {
    "count": "object_counting",
    "abs": "object_abs_distance",
    "rel_dis": "object_rel_distance",
    "relative_dis": "object_rel_distance",
    "direction": "object_rel_direction",
    "room": "room_size_estimation",
    "size": "object_size_estimation",
    "distance": "object_abs_distance",
}
_UNITS = {"object_abs_distance": "m", "object_size_estimation": "cm", "room_size_estimation": "m2"}


def vsi100k(row: dict[str, Any], place: Place) -> QuestionRecord:
    """VSI-100k JSON (its fields are undocumented; the usual names are tried). Pictures: frames in IMAGES/SCENE/*.jpg,
    none if absent.
    """
    question = text_field(row, "question", "problem", "prompt")
    answer = text_field(row, "answer", "ground_truth", "solution", "label")
    answer = _TAG.search(answer).group(1).strip() if _TAG.search(answer) else answer  # type: ignore[union-attr]
    named = (
        str(row.get("question_type") or row.get("type") or row.get("task") or Path(place.file).stem)
        .lower()
        .replace("-", "_")
        .replace(" ", "_")
    )
    topic = next((topic for key, topic in _TOPICS.items() if key in named), "other")
    scene = _scene(row, [])
    frames = frames_of(str(place.images), scene) if place.images and scene != "unknown" else []
    numeric = _number(answer)
    return _build(
        place,
        question=question,
        answer=answer,
        images=frames,
        scene_id=scene,
        question_type="number" if numeric else "word",
        reward=MRA if numeric else {"kind": "word", "accept": [answer]},
        family=f"vsi_{topic}",
        unit=_UNITS.get(topic, "") if numeric else "",
        meta={"video": {}} if frames else {},
        tags=("video",),
    )


_VILASR_TYPES = {"multiple choice": "mcq", "regression": "number", "numerical": "number", "free-form": "free"}


def vilasr_rl(row: dict[str, Any], place: Place) -> QuestionRecord:
    """ViLaSR RL jsonl: question, answer (may carry answer tags), image_path list, data_type, question_type, optional
    options and grid_size.
    """
    question, answer = text_field(row, "question", "problem"), text_field(row, "answer", "solution")
    images = pictures(row.get("image_path") or row.get("images"), place.images)
    tagged = _TAG.search(answer)
    answer = tagged.group(1).strip() if tagged else answer
    kind = str(row.get("question_type", "free-form"))
    if kind not in _VILASR_TYPES:
        raise BadRow(f"question_type {kind[:40]!r} is unknown")
    given = row.get("options") or [f"{a}. {b}" for a, b in _OPTION.findall(question)]
    options = tuple(_OPTION.sub(r"\2", str(o)) for o in given)
    if kind == "multiple choice" and not re.fullmatch(r"[A-H]", answer):
        if answer not in options:
            raise BadRow("answer is none of the options")
        answer = "ABCDEFGH"[options.index(answer)]
    if _VILASR_TYPES[kind] == "number" and not _number(answer):
        raise BadRow("answer is not a number")
    data_type = str(row.get("data_type", "vqa"))
    return _build(
        place,
        question=question,
        answer=answer,
        images=images,
        scene_id=_scene(row, images),
        question_type=_VILASR_TYPES[kind],
        reward={"kind": "vilasr"},
        family=f"vilasr_{data_type}",
        options=options if kind == "multiple choice" else (),
        meta={k: row[k] for k in ("data_type", "grid_size") if k in row},
        tags=("video",) if data_type == "video" else (),
    )


def vilasr_sft(row: dict[str, Any], place: Place) -> QuestionRecord:
    """ViLaSR SFT in sharegpt form: `conversations` [{role/from, content/value}], `images`; the whole conversation is
    kept in meta["messages"].
    """
    turns = row.get("conversations") or row.get("messages")
    if not isinstance(turns, list) or len(turns) < 2:
        raise BadRow("field conversations is missing or too short")
    roles = {
        "human": "user",
        "gpt": "assistant",
        "user": "user",
        "assistant": "assistant",
        "system": "system",
        "observation": "user",
    }
    messages = []
    for turn in turns:
        role = roles.get(str(turn.get("role") or turn.get("from"))) if isinstance(turn, dict) else None
        if role is None:
            raise BadRow("conversation holds a turn of unknown role")
        messages.append({"role": role, "content": str(turn.get("content", turn.get("value", "")))})
    images = pictures(row.get("images"), place.images)
    marks = sum(m["content"].count("<image>") for m in messages)
    if marks != len(images):
        raise BadRow("number of <image> marks and of pictures differ")
    asked = next((m["content"] for m in messages if m["role"] == "user"), "")
    first = asked.count("<image>")
    found = _TAG.findall(messages[-1]["content"])
    if messages[-1]["role"] != "assistant" or not found:
        raise BadRow("last turn holds no <answer>")
    later = [{"image": hashlib.sha1(i[0]).hexdigest()[:16]} for i in images[first:]]
    record = _build(
        place,
        question=asked,
        answer=found[-1].strip(),
        images=images[:first],
        scene_id=_scene(row, images),
        question_type="free",
        reward={"kind": "vilasr"},
        family="vilasr_sft",
        meta={"messages": messages, "later_images": later},
    )
    return dataclasses.replace(
        record,
        images=tuple(i[0] for i in images),
        widths=tuple(i[1] for i in images),
        heights=tuple(i[2] for i in images),
    )


def jsonl(row: dict[str, Any], place: Place) -> QuestionRecord:
    """Plain jsonl: question, answer, images; optional options, question_type, unit, reward, family, scene_id."""
    question, answer, images = (
        text_field(row, "question"),
        text_field(row, "answer"),
        pictures(row.get("images"), place.images),
    )
    options = tuple(str(o) for o in row.get("options") or ())
    kind = str(row.get("question_type") or ("mcq" if options else "number" if _number(answer) else "word"))
    if kind not in QUESTION_TYPES:
        raise BadRow(f"question_type {kind[:40]!r} is unknown")
    if kind == "mcq" and answer not in options and not re.fullmatch(r"[A-H]", answer):
        raise BadRow("answer is none of the options")
    reward = row.get("reward") or {
        "mcq": {"kind": "choice"},
        "number": MRA,
        "box": {"kind": "iou"},
        "order": {"kind": "order"},
    }.get(kind, {"kind": "word", "accept": [answer]})
    if not isinstance(reward, dict) or "kind" not in reward:
        raise BadRow("reward is not an object with a kind")
    if reward["kind"] in CODE_REWARDS:
        raise BadRow(
            f"reward names code (kind {reward['kind']}): give the file to train, --config.reward.user_file=FILE"
        )
    return _build(
        place,
        question=question,
        answer=answer,
        images=images,
        scene_id=_scene(row, images),
        question_type=kind,
        reward=reward,
        family=str(row.get("family") or "imported"),
        options=options,
        unit=str(row.get("unit") or ""),
    )


KINDS: dict[str, Callable[[dict[str, Any], Place], QuestionRecord]] = {
    "ssrl": ssrl,
    "vsi100k": vsi100k,
    "vilasr_rl": vilasr_rl,
    "vilasr_sft": vilasr_sft,
    "jsonl": jsonl,
}


def import_records(
    kind: str, path: str, images: str = "", *, split: str = "train", heldout_percent: int = 0
) -> Iterator[QuestionRecord | BadRow]:
    """Records of one published file, and a BadRow (naming file and row) for every row that gives none.

    `heldout_percent` > 0 sends that share of scenes (by hash; a scene never crosses) to "heldout"."""
    if kind not in KINDS:
        raise ValueError(f"--import: {kind!r} is unknown: use one of {', '.join(KINDS)}")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{path}: no such file")
    rows = parquet_rows(file) if file.suffix == ".parquet" else json_rows(file)
    folder = Path(images) if images else None
    for number, row in enumerate(rows):
        try:
            if isinstance(row, BadRow):
                raise row
            record = KINDS[kind](row, Place(kind, number, path, folder, split))
        except BadRow as error:
            yield BadRow(f"{file.name} row {number}", str(error))
            continue
        except (TypeError, AttributeError, KeyError) as error:
            yield BadRow(f"{file.name} row {number}", f"row has an unexpected form ({type(error).__name__})")
            continue
        share = int(hashlib.sha1(record.scene_id.encode()).hexdigest()[:8], 16) % 100
        yield dataclasses.replace(record, split="heldout") if share < heldout_percent else record
