"""Puzzles as scenes whose objects are the puzzle's marks and patches, each named by what there is to see of it: a mark
by its number, a patch by where it belongs or how it was turned. config.train.method="align" teaches a small tower to
see them, every visual token at once.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from data_prep.synthesis.dataset import QuestionWriter
from data_prep.synthesis.selfsup.parts import FITS, FLIPPED
from data_prep.synthesis.selfsup.thoughts import PLACES
from spatial_jax.data.records import QuestionRecord, SceneObject, SceneRecord, scene_features, to_example
from spatial_jax.media import decode_picture

Box = tuple[float, float, float, float]


class RegionWriter(QuestionWriter):
    """Writes puzzles as scenes."""

    def __init__(self, out: str, config: dict[str, Any]):
        super().__init__(out, config, name="scenes")

    @staticmethod
    def features() -> Any:
        """Those of scenes."""
        return scene_features()

    def example(self, record: QuestionRecord) -> dict[str, Any]:
        """The puzzle's scene."""
        return to_example(as_scene(record))


def as_scene(record: QuestionRecord) -> SceneRecord:
    """The puzzle's picture (of the plain profile) with its regions as objects, masks their rectangles, and the depths
    of marks where the puzzle knows them.
    """
    (image,) = record.images
    rgb = np.asarray(decode_picture(image).image)
    height, width = rgb.shape[:2]
    meta = json.loads(record.meta)
    named = _NAMED[record.family.removeprefix("ssrl_")](meta["rule_inputs"], record, width, height)
    objects = tuple(
        SceneObject(
            object_id=str(at),
            name=name,
            caption=name,
            box=box,
            mask_png=_mask(box, width, height),
            depth_median=depth,
        )
        for at, (name, box, depth) in enumerate(named)
    )
    return SceneRecord(
        scene_id=record.question_id,
        source=record.source,
        split=record.split,
        image=image,
        width=width,
        height=height,
        content_hash=record.question_id.rsplit("/", 1)[-1],
        objects=objects,
        depth_flag="metric" if meta["depth_flag"] == "metric" and record.family == "ssrl_depth_order" else "none",
    )


def _mask(box: Box, width: int, height: int) -> bytes:
    canvas = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = (round(v) for v in box)
    canvas[max(y1, 0) : y2, max(x1, 0) : x2] = 255
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, "PNG")
    return out.getvalue()


Named = list[tuple[str, Box, float]]


def _marks(inputs: Mapping[str, Any], record: QuestionRecord, width: int, height: int) -> Named:
    depths = inputs.get("depths") or [float("nan")] * len(inputs["centres"])
    return [
        (str(label), (x - 14, y - 14, x + 14, y + 14), float(depth))
        for label, (x, y), depth in zip(inputs["labels"], inputs["centres"], depths, strict=True)
    ]


def _cells(rows: int, columns: int, width: int, height: int) -> list[Box]:
    w, h = width // columns, height // rows
    return [(c * w, r * h, (c + 1) * w, (r + 1) * h) for r in range(rows) for c in range(columns)]


def _flip(inputs: Mapping[str, Any], record: QuestionRecord, width: int, height: int) -> Named:
    nan = float("nan")
    return [(FLIPPED[inputs["direction"]], _cells(2, 2, width, height)[inputs["patch"]], nan)]


def _shuffle(inputs: Mapping[str, Any], record: QuestionRecord, width: int, height: int) -> Named:
    rows, columns = inputs["grid"]
    places = PLACES[rows, columns]
    return [
        (places[place], box, float("nan")) for place, box in zip(inputs["perm"], _cells(rows, columns, width, height))
    ]


def _crop(inputs: Mapping[str, Any], record: QuestionRecord, width: int, height: int) -> Named:
    cells = [(x1 + height, y1, x2 + height, y2) for x1, y1, x2, y2 in _cells(2, 2, height, height)]
    return [(FITS[name], box, float("nan")) for name, box in zip(inputs["candidates"], cells, strict=True)]


_NAMED = {"depth_order": _marks, "position3d": _marks, "flip": _flip, "shuffle": _shuffle, "crop": _crop}
