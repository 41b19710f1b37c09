"""The two records that travel from pictures to training: `SceneRecord` (a picture and what is known of it) and
`QuestionRecord`.

Pure Python and NumPy: data_prep shares this file (and the rooms pages/ and media/). Both records are stored as
TFDS-format ArrayRecord; `scene_features()` and `question_features()` give the TFDS features, `to_example` /
`from_example` convert.

Coordinates inside a question's texts are written in pixels of the stored picture as `{x:12.5}` or `{y:7}` (`{x.1:12.5}`
keeps one decimal; `{x@2:12.5}` is of the second picture, else of the first); `resolve` turns them into pixels of the
resized picture that the model sees, so boxes, points and intrinsics always match it.
"""

from __future__ import annotations

import dataclasses
import io
import re
from typing import Any

import numpy as np

from spatial_jax.reading import parse_object

GENERATOR_VERSION = "1"
SCHEMA_VERSION = 2  # of the two records' fields and their meaning; stored as the dataset's version N.0.0
QUESTION_TYPES = ("mcq", "number", "box", "point", "order", "word", "direction", "free")
CODE_REWARDS = ("user",)  # reward kinds that run a file: the command line and the config name them, never a record
DEPTH_FLAGS = ("metric", "relative", "none")

_COORDINATE = re.compile(r"\{([xy])(?:\.(\d))?(?:@(\d{1,4}))?:(-?\d+(?:\.\d+)?)\}")


class JsonFields:
    """Of a record whose fields hold JSON as text: each is parsed here, and once a record."""

    def json_field(self, name: str) -> dict[str, Any]:
        """The object that the field holds, a copy at its first level. ValueError, one line, names a field that holds
        none.
        """
        known = self.__dict__.setdefault("_parsed", {})  # beside the fields: equality and copies do not see it
        if name not in known:
            try:
                known[name] = parse_object(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"field {name}: {error}") from None
        return dict(known[name])


@dataclasses.dataclass(frozen=True)
class SceneObject(JsonFields):
    """One object of a scene. Lengths in metres (or arbitrary units when the scene's depth_flag is "relative"), camera
    frame x right, y down, z forward; boxes [x1, y1, x2, y2] in pixels of the stored picture.
    """

    object_id: str
    name: str  # class word, e.g. "chair"
    caption: str  # description that is unique in the picture
    box: tuple[float, float, float, float]
    mask_png: bytes = b""  # 8-bit PNG of the picture's size, 255 inside; empty when unknown
    confidence: float = 1.0
    visible_fraction: float = 1.0  # 1.0 when unknown
    depth_median: float = float("nan")
    depth_q20: float = float("nan")
    depth_q80: float = float("nan")
    depth_rel_std: float = float("nan")  # robust spread of depth inside the mask over its median
    depth_share: float = float("nan")  # of the mask's pixels, how many have valid depth; nan when unknown
    depth_cover: float = float("nan")  # of the mask's area, how much has valid depth nearby; nan when unknown
    center: tuple[float, float, float] = (float("nan"),) * 3  # centre of the oriented box, camera frame
    extent: tuple[float, float, float] = (float("nan"),) * 3  # full side lengths of the oriented box
    rotation: tuple[float, ...] = (
        1.0,
        0,
        0,
        0,
        1.0,
        0,
        0,
        0,
        1.0,
    )  # row-major, columns are the box's axes in the camera frame
    # JSON: measure -> one standard deviation of its own, same unit; "shared" is 1 where centre and sides come from the
    # picture's depth, so that its shared errors (SceneRecord.shared_uncertainty) move them too
    uncertainty: str = "{}"
    points: bytes = b""  # float16 [n, 3] C-order sample of its cloud, camera frame
    provenance: str = "{}"  # JSON: which model or source gave box, mask, caption, ...

    def cloud(self) -> np.ndarray:
        """float32 [n, 3] points of the object, camera frame."""
        return np.frombuffer(self.points, np.float16).reshape(-1, 3).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class SceneRecord(JsonFields):
    """A picture with everything that is known of it."""

    scene_id: str
    source: str
    split: str  # "train" or "heldout"
    image: bytes  # encoded JPEG or PNG, EXIF rotation already applied
    width: int
    height: int
    content_hash: str  # sha256 of the decoded RGB bytes
    objects: tuple[SceneObject, ...] = ()
    depth_png: bytes = b""  # 16-bit PNG, value * depth_scale = depth; 0 is invalid
    depth_scale: float = 0.0  # metres (or relative units) per count
    depth_flag: str = "none"  # one of DEPTH_FLAGS
    intrinsics: tuple[float, ...] = ()  # fx, fy, cx, cy in pixels of the stored picture; empty when unknown
    intrinsics_source: str = "none"  # exif | sensor | rendered | estimated | default | none
    gravity: tuple[float, ...] = ()  # unit vector pointing down, camera frame; empty when unknown
    floor: tuple[float, ...] = ()  # plane n.x + d = 0, (nx, ny, nz, d), camera frame; empty when unknown
    tags: tuple[str, ...] = ()
    provenance: str = "{}"  # JSON
    meta: str = "{}"  # JSON
    # JSON: one standard deviation of what all measures of the picture share: scale and focal (relative), shift (metres)
    # and pitch and roll (of gravity, radians); "tip" is there where gravity was found in the depth, and how much it
    # pitches for a shift (radians a metre). The objects' own uncertainties do not hold it.
    shared_uncertainty: str = "{}"


@dataclasses.dataclass(frozen=True)
class QuestionRecord(JsonFields):
    """A question on one or more pictures, its answer, and how to score a response."""

    question_id: str
    source: str
    split: str
    scene_id: str
    images: tuple[bytes, ...]  # encoded pictures, in the order of the question's <image> marks
    widths: tuple[int, ...]
    heights: tuple[int, ...]
    question: str  # may hold coordinates; <image> marks are optional (default: pictures first)
    question_type: str  # one of QUESTION_TYPES
    answer: str  # the canonical short answer, what a perfect policy writes
    options: tuple[str, ...] = ()
    unit: str = ""  # "", m, cm, m2, px, deg
    reward: str = "{}"  # JSON: {"kind": ..., parameters}
    family: str = ""
    template_id: int = 0
    hops: int = 1
    seed: int = 0
    meta: str = "{}"  # JSON: margin, uncertainty, objects, rule_inputs, generator_version
    difficulty: str = "{}"  # JSON: pass_k, n, model, timestamp
    tags: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain dict with reward, meta and difficulty parsed: what rewards and pages receive."""
        out = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        for key in ("reward", "meta", "difficulty"):
            out[key] = self.json_field(key)
        return out


MOST_OPTIONS = 26  # an option has a letter
_OBJECTS = ("reward", "meta", "difficulty", "provenance", "uncertainty")  # fields that hold a JSON object


def check_record(record: QuestionRecord | SceneRecord) -> None:
    """ValueError, one line that names the field, where a record cannot be used: a field of JSON that is no object or
    holds a number that no float can hold, more options than letters, pictures without their sizes, a video without a
    rate.
    """
    for field in _OBJECTS:
        if hasattr(record, field):
            record.json_field(field)
    if isinstance(record, SceneRecord):
        for number, item in enumerate(record.objects):
            for field in ("uncertainty", "provenance"):
                try:
                    item.json_field(field)
                except ValueError as error:
                    raise ValueError(f"object {number}'s {error}") from None
        return
    if len(record.options) > MOST_OPTIONS:
        raise ValueError(f"field options holds {len(record.options)}, {MOST_OPTIONS} are the most")
    if not len(record.images) == len(record.widths) == len(record.heights):
        sizes = f"{len(record.widths)} widths and {len(record.heights)} heights"
        raise ValueError(f"{len(record.images)} pictures but {sizes}")
    for width, height in zip(record.widths, record.heights):
        if width < 1 or height < 1:
            raise ValueError(f"a picture of {width}x{height} pixels in the fields widths and heights")
    _check_meta(record.json_field("meta"))


def _check_meta(meta: dict[str, Any]) -> None:
    """The parts of a question's meta that prompts are made of."""
    for key in ("thought", "sentence", "response", "system", "reply"):
        if not isinstance(meta.get(key) or "", str):
            raise ValueError(f"field meta: {key} is no text")
    before = meta.get("before") or []
    if not isinstance(before, list) or not all(_is_turn(turn) for turn in before):
        raise ValueError('field meta: before is no list of turns {"role": "user" or "assistant", "content": text}')
    video = meta.get("video")
    if not isinstance(video, dict):
        return
    fps, total = video.get("fps"), video.get("total")
    if fps is not None and not (type(fps) in (int, float) and 0 < fps < 1e4):
        raise ValueError(f"field meta: video.fps = {str(fps)[:20]!r} is no rate in frames a second")
    if total is not None and not (type(total) is int and total > 0):
        raise ValueError(f"field meta: video.total = {str(total)[:20]!r} is no number of frames")
    for key in ("indices", "times"):
        given = video.get(key)
        if given is not None and not (
            isinstance(given, list) and all(type(i) in (int, float) and 0 <= i < 1e9 for i in given)
        ):
            raise ValueError(f"field meta: video.{key} is no list of numbers")


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and turn.get("role") in ("user", "assistant") and isinstance(turn.get("content"), str)


def coordinate(axis: str, value: float, decimals: int = 0, picture: int = 1) -> str:
    """Placeholder for a coordinate along `axis` ("x" or "y"), pixels of the stored picture of that number."""
    mark = (f"{axis}.{decimals}" if decimals else axis) + (f"@{picture}" if picture > 1 else "")
    return "{" + f"{mark}:{value:.3f}" + "}"


def coordinate_like(text: str) -> bool:
    """Whether a text holds what would be replaced by `resolve_text`, or nearly."""
    return re.search(r"\{[xy](\.\d)?(@\d+)?:", text) is not None


def resolve_text(text: str, scale_x: float, scale_y: float, *others: tuple[float, float]) -> str:
    """Replaces coordinate placeholders by numbers in the resized picture (multiplied by the scales, rounded); `others`:
    (x, y) scales of the pictures after the first. ValueError for a coordinate of a picture without scales.
    """
    scales = ((scale_x, scale_y), *others)

    def replace(match: re.Match[str]) -> str:
        number = int(match.group(3) or 1)
        if not 1 <= number <= len(scales):
            raise ValueError(f"{match.group()} is of picture {number}; there are {len(scales)}")
        value = float(match.group(4)) * scales[number - 1]["xy".index(match.group(1))]
        decimals = int(match.group(2) or 0)
        return f"{value:.{decimals}f}" if decimals else str(int(np.floor(value + 0.5)))

    return _COORDINATE.sub(replace, text)


def as_stored(text: str) -> str:
    """The text with every coordinate in pixels of its stored picture, for pages."""
    numbers = [int(found.group(3) or 1) for found in _COORDINATE.finditer(text)]
    return resolve_text(text, 1.0, 1.0, *[(1.0, 1.0)] * max(numbers, default=1))


def resolve(record: QuestionRecord, model_sizes: list[tuple[int, int]]) -> QuestionRecord:
    """The record in the pixels of the pictures the model sees: `model_sizes` are (width, height) after the processor's
    resize. ValueError for a coordinate of a picture that is not there.
    """
    if not record.images:
        return record
    stored = zip(record.widths, record.heights)
    first, *others = [(seen[0] / width, seen[1] / height) for seen, (width, height) in zip(model_sizes, stored)]
    return dataclasses.replace(
        record,
        question=resolve_text(record.question, *first, *others),
        answer=resolve_text(record.answer, *first, *others),
        options=tuple(resolve_text(o, *first, *others) for o in record.options),
        meta=resolve_text(record.meta, *first, *others),
    )


def in_stored_pixels(record: QuestionRecord) -> QuestionRecord:
    """The record in the pixels of its own pictures, as if no processor resized them."""
    return resolve(record, list(zip(record.widths, record.heights)))


def scene_features() -> Any:
    """TFDS FeaturesDict of a SceneRecord."""
    import tensorflow_datasets as tfds

    f = tfds.features
    text, real, whole = f.Text(), f.Scalar(np.float32), f.Scalar(np.int64)
    vector = f.Tensor(shape=(None,), dtype=np.float32)
    obj = {
        "object_id": text,
        "name": text,
        "caption": text,
        "box": f.Tensor(shape=(4,), dtype=np.float32),
        "mask_png": text,
        "confidence": real,
        "visible_fraction": real,
        "depth_median": real,
        "depth_q20": real,
        "depth_q80": real,
        "depth_rel_std": real,
        "depth_share": real,
        "depth_cover": real,
        "center": f.Tensor(shape=(3,), dtype=np.float32),
        "extent": f.Tensor(shape=(3,), dtype=np.float32),
        "rotation": f.Tensor(shape=(9,), dtype=np.float32),
        "uncertainty": text,
        "points": text,
        "provenance": text,
    }
    return f.FeaturesDict(
        {
            "scene_id": text,
            "source": text,
            "split": text,
            "image": f.Image(shape=(None, None, 3)),
            "width": whole,
            "height": whole,
            "content_hash": text,
            "objects": f.Sequence(obj),
            "depth_png": text,
            "depth_scale": real,
            "depth_flag": text,
            "intrinsics": vector,
            "intrinsics_source": text,
            "gravity": vector,
            "floor": vector,
            "tags": f.Sequence(text),
            "provenance": text,
            "meta": text,
            "shared_uncertainty": text,
        }
    )


def question_features() -> Any:
    """TFDS FeaturesDict of a QuestionRecord."""
    import tensorflow_datasets as tfds

    f = tfds.features
    text, whole = f.Text(), f.Scalar(np.int64)
    return f.FeaturesDict(
        {
            "question_id": text,
            "source": text,
            "split": text,
            "scene_id": text,
            "images": f.Sequence(f.Image(shape=(None, None, 3))),
            "widths": f.Sequence(whole),
            "heights": f.Sequence(whole),
            "question": text,
            "question_type": text,
            "answer": text,
            "options": f.Sequence(text),
            "unit": text,
            "reward": text,
            "family": text,
            "template_id": whole,
            "hops": whole,
            "seed": whole,
            "meta": text,
            "difficulty": text,
            "tags": f.Sequence(text),
        }
    )


_BYTE_FIELDS = {"mask_png", "points", "depth_png"}


def to_example(record: SceneRecord | QuestionRecord) -> dict[str, Any]:
    """The nested dict that TFDS's writer takes (pictures as file objects of encoded bytes, so nothing is
    re-encoded).
    """
    example: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name == "objects":
            value = [{f.name: getattr(o, f.name) for f in dataclasses.fields(o)} for o in value]
        elif field.name == "image":
            value = io.BytesIO(value)
        elif field.name == "images":
            value = [io.BytesIO(image) for image in value]
        elif isinstance(value, tuple):
            value = list(value)
        example[field.name] = value
    return example


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _convert(field: dataclasses.Field, value: Any) -> Any:
    kind = str(field.type)
    if field.name in _BYTE_FIELDS:
        return bytes(value)
    if kind.startswith("tuple[str"):
        return tuple(_text(v) for v in value)
    if kind.startswith("tuple[int"):
        return tuple(int(v) for v in value)
    if kind.startswith("tuple[float"):
        return tuple(float(v) for v in value)
    return _text(value) if kind == "str" else int(value) if kind == "int" else float(value)


# Fields that records written before them do not have: these are read with the field's default, "unknown".
LATER_FIELDS = {"depth_share", "depth_cover", "shared_uncertainty"}


def check_schema(info: Any, kind: type) -> str:
    """What is to be said of a dataset (its TFDS info) of records of `kind` from another version: "" for one of this
    version, else one line that tells how it is read. ValueError for a newer one, and for one that lacks fields.
    """
    ours = "written by data_prep" in (info.description or "")  # others number their versions as they like
    version = int(str(info.version).partition(".")[0]) if ours else SCHEMA_VERSION
    if version > SCHEMA_VERSION:
        raise ValueError(
            f"its records are of schema {version}, this version reads {SCHEMA_VERSION}; update spatial_jax"
        )
    names = {f.name for f in dataclasses.fields(kind)}
    missing = names - set(info.features)
    if "objects" in info.features and "objects" in names:
        inner = getattr(info.features["objects"], "feature", info.features["objects"])
        missing |= {f.name for f in dataclasses.fields(SceneObject)} - set(inner)
    if missing - LATER_FIELDS:
        raise ValueError(f"its records lack {', '.join(sorted(missing - LATER_FIELDS))}; make the dataset again")
    if version == SCHEMA_VERSION and not missing:
        return ""
    unknown = f"{', '.join(sorted(missing))} are taken as unknown" if missing else "all fields are there"
    return f"its records are of schema {version}, now it is {SCHEMA_VERSION}: {unknown}; make it again to have all"


def from_example(kind: type, example: dict[str, Any]) -> Any:
    """A SceneRecord or QuestionRecord from an example read with pictures left encoded
    (`decoders={"image": tfds.decode.SkipDecoding()}`, or "images"). Raises KeyError for a field that is missing."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in LATER_FIELDS and field.name not in example:
            continue
        raw = example[field.name]
        if field.name == "objects":
            names = [f.name for f in dataclasses.fields(SceneObject)]
            columns = {n: raw[n] for n in names if n in raw or n not in LATER_FIELDS} if isinstance(raw, dict) else None
            rows = (
                [{k: v[i] for k, v in columns.items()} for i in range(len(columns["object_id"]))]
                if columns
                else list(raw)
            )
            values["objects"] = tuple(from_example(SceneObject, row) for row in rows)
        elif field.name == "image":
            values["image"] = bytes(raw)
        elif field.name == "images":
            values["images"] = tuple(bytes(v) for v in raw)
        else:
            values[field.name] = _convert(field, raw)
    return kind(**values)
