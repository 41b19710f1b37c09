"""One picture's way: a source's frame, through the stages in order, to a scene record.

A stage is anything with a `name` and `__call__(frame) -> None` that fills in the frame; it raises BadItem to give the picture up
(a failure, counted against the limit) or Dropped to leave it out on purpose (a filter's decision, with its reason).
"""
from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import time
from typing import Any, Protocol

import numpy as np
from PIL import Image

from data_prep.sources.base import BadItem, Frame, ObjectDraft, Source, split_of
from spatial_jax.data.records import SceneObject, SceneRecord, to_example


class Dropped(Exception):
    """A filter left the picture out; the message is the reason, short enough to be counted by."""


class Stage(Protocol):
    """One step of annotation. `config` is JSON-ready and part of the dataset's identity."""

    name: str

    def __call__(self, frame: Frame) -> None: ...

    def config(self) -> dict[str, Any]: ...


@dataclasses.dataclass
class Outcome:
    """What became of one item: a serialized example (kind "record"), or a reason (kind "dropped" or "failed")."""

    index: int
    item_id: str
    kind: str
    split: str = ""
    stage: str = ""
    reason: str = ""
    example: bytes = b""
    objects: int = 0
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


def png(array: np.ndarray) -> bytes:
    """PNG bytes of a uint8 [h, w, 3], uint8 [h, w] or uint16 [h, w] array."""
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG", compress_level=3)
    return out.getvalue()


def depth_to_png(depth: np.ndarray) -> tuple[bytes, float]:
    """16-bit PNG of a depth picture and the depth of one count (1 mm, or twice as often as the farthest needs); 0 is invalid."""
    clean = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    scale = 0.001
    while clean.max() / scale > 65535:
        scale *= 2
    return png(np.maximum(np.rint(clean / scale), clean > 0).astype(np.uint16)), scale


def _numbers(values: Any, digits: int = 6) -> tuple[float, ...]:
    return tuple(round(float(v), digits) for v in np.asarray(values).ravel())


def _object(index: int, thing: ObjectDraft) -> SceneObject:
    fields: dict[str, Any] = {f"depth_{key}": round(value, 5) for key, value in thing.depth.items()}
    for name in ("center", "extent", "rotation"):
        value = getattr(thing, name)
        if value is not None:
            fields[name] = _numbers(value)
    if thing.points is not None:
        fields["points"] = np.ascontiguousarray(thing.points, np.float16).tobytes()
    if thing.box is None:
        raise BadItem(f"object {index} ({thing.caption or thing.name}) has neither box nor mask")
    return SceneObject(
        object_id=str(index), name=thing.name, caption=thing.caption, box=tuple(map(float, thing.box)), confidence=thing.confidence,  # type: ignore[arg-type]
        mask_png=png(thing.mask.astype(np.uint8) * 255) if thing.mask is not None else b"", visible_fraction=thing.visible_fraction,
        uncertainty=json.dumps({k: round(v, 6) for k, v in thing.uncertainty.items()}, sort_keys=True),
        provenance=json.dumps(thing.provenance, sort_keys=True), **fields)


def to_record(frame: Frame, heldout_percent: int = 10) -> SceneRecord:
    """The finished record; the picture is kept as the bytes it came in, or encoded as PNG."""
    depth_png, scale = depth_to_png(frame.depth) if frame.depth is not None else (b"", 0.0)
    provenance = {**frame.provenance, "depth_noise": dataclasses.asdict(frame.depth_noise)} if frame.depth is not None else frame.provenance
    meta = {**frame.meta, "notes": frame.notes} if frame.notes else frame.meta
    content = hashlib.sha256(frame.rgb.tobytes()).hexdigest()
    split = split_of(frame.split_key or content, heldout_percent)
    return SceneRecord(
        scene_id=frame.item_id, source=frame.source, split=split, image=frame.encoded or png(frame.rgb), width=frame.width,
        height=frame.height, content_hash=content, objects=tuple(_object(i, t) for i, t in enumerate(frame.objects)),
        depth_png=depth_png, depth_scale=scale, depth_flag=frame.depth_flag, intrinsics=_numbers(frame.intrinsics) if frame.intrinsics else (),
        intrinsics_source=frame.intrinsics_source, gravity=_numbers(frame.gravity) if frame.gravity is not None else (),
        floor=_numbers(frame.floor) if frame.floor is not None else (), tags=frame.tags, provenance=json.dumps(provenance, sort_keys=True),
        meta=json.dumps(meta, sort_keys=True))


class Pipeline:
    """A source and its stages. Calling it with an item's number gives that item's Outcome; it never raises for a bad item."""

    def __init__(self, source: Source, stages: list[Stage], heldout_percent: int = 10):
        self.source, self.stages, self.heldout_percent = source, stages, heldout_percent
        self._serializer: Any = None

    def config(self) -> dict[str, Any]:
        """JSON-ready identity: two runs with the same config give the same bytes."""
        return {"source": self.source.config(), "stages": [s.config() for s in self.stages], "heldout_percent": self.heldout_percent}

    def record(self, index: int, seconds: dict[str, float] | None = None) -> SceneRecord:
        """The scene record of one item; raises BadItem or Dropped with the stage's name as its second argument."""
        seconds = {} if seconds is None else seconds
        stage = "load"
        try:
            start = time.perf_counter()
            frame = self.source.load(index)
            for step in self.stages:
                seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
                start, stage = time.perf_counter(), step.name
                step(frame)
            seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start
            start, stage = time.perf_counter(), "encode"
            record = to_record(frame, self.heldout_percent)
            seconds[stage] = time.perf_counter() - start
            return record
        except (BadItem, Dropped) as error:
            raise type(error)(str(error), stage) from None
        except (ValueError, ArithmeticError, LookupError, OSError, MemoryError) as error:
            raise BadItem(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", stage) from error

    def __call__(self, index: int) -> Outcome:
        item, seconds = self.source.item_id(index), {}      # type: ignore[var-annotated]
        try:
            record = self.record(index, seconds)
        except (BadItem, Dropped) as error:
            kind = "dropped" if isinstance(error, Dropped) else "failed"
            return Outcome(index, item, kind, stage=error.args[1], reason=error.args[0], seconds=seconds)
        start = time.perf_counter()
        notes = tuple(json.loads(record.meta).get("notes", ()))
        example = self._serialize(record)
        seconds["serialize"] = time.perf_counter() - start
        return Outcome(index, item, "record", record.split, example=example, objects=len(record.objects), notes=notes, seconds=seconds)

    def _serialize(self, record: SceneRecord) -> bytes:
        if self._serializer is None:
            from data_prep.writer import Serializer
            from spatial_jax.data.records import scene_features

            self._serializer = Serializer(scene_features())
        return self._serializer(to_example(record))
