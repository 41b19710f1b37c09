"""One function a published form: row -> QuestionRecord. A row that cannot be used raises BadRow and is counted, the
rest goes on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from data_prep.synthesis.importers.answers import MRA
from data_prep.synthesis.importers.build import Entry, Place, build, scene_of, scene_path
from data_prep.synthesis.importers.columns import Found
from data_prep.synthesis.importers.conversations import alpaca, sharegpt, talk_pictures
from data_prep.synthesis.importers.drawn import vilasr_sft
from data_prep.synthesis.importers.files import RowFile, file_rows, row_files
from data_prep.synthesis.importers.frames import SceneFrames, frames_of
from data_prep.synthesis.importers.listing import NAME, Listed, listed_files
from data_prep.synthesis.importers.questions import questions, row_pictures
from data_prep.synthesis.importers.rows import BadRow, picture_items, pictures, text_field
from data_prep.synthesis.importers.survey import Survey, survey
from spatial_jax.data.records import QuestionRecord

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_OPTION = re.compile(r"^\s*\(?([A-H])[.):]\s*(.+?)\s*$", re.MULTILINE)


def _number(text: str) -> bool:
    try:
        return abs(float(text.replace(",", ""))) < float("inf")
    except ValueError:
        return False


def ssrl(row: dict[str, Any], place: Place) -> QuestionRecord:
    """Spatial-SSRL-81k parquet: `problem` with <image> marks, `answer`, `images` (paths or bytes)."""
    question, answer, images = (
        text_field(row, "problem", "question"),
        text_field(row, "answer"),
        pictures(row.get("images"), place.bases),
    )
    if not images:
        raise BadRow("row has no picture")
    task = _ssrl_task(answer, len(images))
    if not task:
        task = _ssrl_folder(picture_items(row.get("images")))
        told = f"told by its picture's folder, {task}" if task else "not told: family ssrl"
        place.found.remarks[f"an answer as none of the five tasks writes it: the task is {told}"] += 1
    family = f"ssrl_{task}" if task else "ssrl"
    letter = re.fullmatch(r"[A-D]", answer) is not None
    return build(
        place,
        Entry(
            question=question,
            answer=answer,
            images=images,
            scene_id=scene_of(row, images),
            question_type="mcq" if letter else "free",
            reward={"kind": "ssrl"},
            family=family,
            options=("A", "B", "C", "D") if letter else (),
        ),
    )


def _ssrl_task(answer: str, pictures: int) -> str:
    """The task of a released question, which its answer's form tells; "" where it tells none. Patches are counted from
    0, marked regions from 1.
    """
    if re.fullmatch("[A-D]", answer):
        return "crop" if pictures > 1 else "position3d"
    numbers = answer.replace(" ", "").split("-")
    if sorted(numbers) in (["0", "1", "2"], ["0", "1", "2", "3"]):
        return "shuffle"
    if sorted(numbers) == ["1", "2", "3"]:
        return "depth_order"
    return "flip" if re.fullmatch("[0-3]-[01]", "-".join(numbers)) else ""


_SSRL_FOLDERS = {"depth": "depth_order", "position": "position3d", **{t: t for t in ("crop", "flip", "shuffle")}}


def _ssrl_folder(items: list[Any]) -> str:
    """The task whose name the folder of the first picture has, "" for none; no folder above it counts."""
    named = items[0].get("path") if isinstance(items[0], dict) else items[0]
    return _SSRL_FOLDERS.get(Path(named.replace("\\", "/")).parent.name.lower(), "") if isinstance(named, str) else ""


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
    scene = scene_of(row, [])
    frames = _frames(place, scene_path(row))
    numeric = _number(answer)
    return build(
        place,
        Entry(
            question=question,
            answer=answer,
            images=frames,
            scene_id=scene,
            question_type="number" if numeric else "word",
            reward=MRA if numeric else {"kind": "word", "accept": [answer]},
            family=f"vsi_{topic}",
            unit=_UNITS.get(topic, "") if numeric else "",
            meta={"video": frames.video} if frames else {},
            tags=("video",),
        ),
    )


def _frames(place: Place, scene: str) -> SceneFrames:
    bases = [place.bases] if isinstance(place.bases, Path) else list(place.bases or ())
    found = (frames_of(str(base), scene, fps=place.fps) for base in bases if scene)
    return next((frames for frames in found if frames), SceneFrames())


_VILASR_TYPES = {"multiple choice": "mcq", "regression": "number", "numerical": "number", "free-form": "free"}


def vilasr_rl(row: dict[str, Any], place: Place) -> QuestionRecord:
    """ViLaSR RL jsonl: question, answer (may carry answer tags), image_path list, data_type, question_type, optional
    options and grid_size.
    """
    question, answer = text_field(row, "question", "problem"), text_field(row, "answer", "solution")
    images = pictures(row.get("image_path") or row.get("images"), place.bases)
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
    return build(
        place,
        Entry(
            question=question,
            answer=answer,
            images=images,
            scene_id=scene_of(row, images),
            question_type=_VILASR_TYPES[kind],
            reward={"kind": "vilasr"},
            family=f"vilasr_{data_type}",
            options=options if kind == "multiple choice" else (),
            meta={k: row[k] for k in ("data_type", "grid_size") if k in row},
            tags=("video",) if data_type == "video" else (),
        ),
    )


KINDS: dict[str, Callable[[dict[str, Any], Place], QuestionRecord | list[QuestionRecord]]] = {
    "questions": questions,
    "jsonl": questions,
    "alpaca": alpaca,
    "sharegpt": sharegpt,
    "ssrl": ssrl,
    "vsi100k": vsi100k,
    "vilasr_rl": vilasr_rl,
    "vilasr_sft": vilasr_sft,
}
OWN = ("questions", "jsonl")  # a user's own: a share is held out without being asked for
TALKS = ("alpaca", "sharegpt")


def default_heldout(kind: str) -> int:
    """Percent of the pictures that are held out unless told otherwise: 10 of a question file of one's own, none of a
    published training set.
    """
    return 10 if kind in OWN else 0


class Import:
    """Rows of a question set at `path` (file or folder) as records. `images`: folder that picture paths start from
    ("": the folder of the file, then `path`). ValueError where there are no such rows.

    `found` tells after the iteration what was read as what; `survey` which rows share pictures, and a digest of all
    that was read.
    """

    def __init__(
        self, kind: str, path: str, images: str = "", *, columns: dict[str, str] | None = None, fps: float = 0.0
    ):
        if kind not in KINDS:
            raise ValueError(f"--import: {kind!r} is unknown: use one of {', '.join(KINDS)}")
        if columns and kind not in (*OWN, *TALKS):
            raise ValueError(f"--columns: the form {kind} has columns of its own; use --import=questions")
        if images and not Path(images).expanduser().is_dir():
            raise ValueError(f"--images: {images}: no such folder")
        self.kind, self.files, self.found = kind, row_files(path), Found(columns)
        self.own, self.fps = kind in OWN, fps
        self.listed, self.said = dict[Path, Listed](), list[str]()
        if kind in TALKS and not columns:
            self.files, self.listed, self.said = listed_files(self.files, kind)
            self.said += [f"{f.path.name} is {self.listed[f.path].said()}" for f in self.files if f.path in self.listed]
        elif kind in TALKS and any((base / NAME).is_file() for file in self.files for base in file.bases):
            self.said = [f"the {NAME} beside the rows is not read, for --columns is given"]
        self.images = Path(images).expanduser() if images else None

    def bases(self, file: RowFile) -> tuple[Path, ...]:
        """Folders that the picture paths of a file may start from."""
        return (self.images,) if self.images is not None else file.bases

    def rows(self) -> Iterator[tuple[int, RowFile, dict[str, Any] | BadRow]]:
        """(number over all files, file, row)."""
        number = 0
        for file in self.files:
            listed = self.listed.get(file.path)
            for row in file_rows(file.path):
                yield number, file, listed.row(row) if listed else row
                number += 1

    def survey(self, heldout_percent: int) -> Survey:
        """A first pass over rows and pictures: who shares a picture with whom."""
        where = talk_pictures if self.kind in TALKS else row_pictures if self.own else None
        return survey(self, heldout_percent, where)

    def records(self, where: Survey) -> Iterator[QuestionRecord | BadRow]:
        """Records in order, and a BadRow (naming file and row) for every row that gives none."""
        make = KINDS[self.kind]
        counts: dict[Path, int] = {}
        for number, file, row in self.rows():
            at = counts[file.path] = counts.get(file.path, -1) + 1
            if not isinstance(row, BadRow):
                self.found.look(row)
            try:
                if isinstance(row, BadRow):
                    raise row
                made = make(
                    row,
                    Place(
                        self.kind, number, str(file.path), self.bases(file), where.split(number), self.found, self.fps
                    ),
                )
                yield from made if isinstance(made, list) else [made]
            except BadRow as error:
                yield BadRow(f"{file.path.name} row {at}", str(error))
            except (TypeError, AttributeError, KeyError, ValueError, ArithmeticError, RecursionError) as error:
                yield BadRow(f"{file.path.name} row {at}", f"row has an unexpected form ({type(error).__name__})")


def import_records(
    kind: str,
    path: str,
    images: str = "",
    *,
    heldout_percent: int | None = None,
    columns: dict[str, str] | None = None,
) -> Iterator[QuestionRecord | BadRow]:
    """Records of a question set, and a BadRow (naming file and row) for every row that gives none.

    `heldout_percent` (None: `default_heldout`) sends that share of pictures (by hash; no picture and no scene crosses)
    to "heldout"."""
    rows = Import(kind, path, images, columns=columns)
    share = default_heldout(kind) if heldout_percent is None else heldout_percent
    yield from rows.records(rows.survey(share))
