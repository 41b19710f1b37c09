"""One picture's way: a source's frame, through the stages in order, to a scene record.

A stage is anything with a `name` and `__call__(frame) -> None` that fills in the frame; it raises BadItem to give the
picture up (a failure, counted against the limit) or Dropped to leave it out on purpose (a filter's decision, with its
reason).
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
    """A filter left the picture out; the message is the reason, short enough to be counted by; what belongs to this
    picture alone comes after " | " and is not counted by ("near-duplicate | of a.jpg").
    """


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
    told: dict[str, int] = dataclasses.field(default_factory=dict)  # counted over all pictures in the summary
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)


def png(array: np.ndarray) -> bytes:
    """PNG bytes of a uint8 [h, w, 3], uint8 [h, w] or uint16 [h, w] array."""
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG", compress_level=3)
    return out.getvalue()


def depth_to_png(depth: np.ndarray) -> tuple[bytes, float]:
    """16-bit PNG of a depth picture and the depth of one count (1 mm; doubled until the farthest fits, halved until it
    is a thousand counts, as depth up to scale may need); 0 is invalid.
    """
    clean = np.where(np.isfinite(depth) & (depth > 0), depth, 0)
    scale = 0.001
    while clean.max() / scale > 65535:
        scale *= 2
    while 0 < clean.max() / scale < 1000 and scale > 1e-30:
        scale /= 2
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
        object_id=str(index),
        name=thing.name,
        caption=thing.caption,
        box=tuple(map(float, thing.box)),  # type: ignore[arg-type]
        confidence=thing.confidence,
        mask_png=png(thing.mask.astype(np.uint8) * 255) if thing.mask is not None else b"",
        visible_fraction=thing.visible_fraction,
        uncertainty=json.dumps({k: round(v, 6) for k, v in thing.uncertainty.items()}, sort_keys=True),
        provenance=json.dumps(
            thing.provenance | ({"unmeasured": ", ".join(thing.unmeasured)} if thing.unmeasured else {}),
            sort_keys=True,
        ),
        **fields,
    )


def to_record(frame: Frame, heldout_percent: int = 10) -> SceneRecord:
    """The finished record; the picture is kept as the bytes it came in, or encoded as PNG."""
    depth_png, scale = depth_to_png(frame.depth) if frame.depth is not None else (b"", 0.0)
    provenance = (
        {**frame.provenance, "depth_noise": dataclasses.asdict(frame.depth_noise)}
        if frame.depth is not None
        else frame.provenance
    )
    meta = {**frame.meta, "notes": frame.notes} if frame.notes else frame.meta
    content = hashlib.sha256(frame.rgb.tobytes()).hexdigest()
    split = split_of(frame.split_key or content, heldout_percent)
    return SceneRecord(
        scene_id=frame.item_id,
        source=frame.source,
        split=split,
        image=frame.encoded or png(frame.rgb),
        width=frame.width,
        height=frame.height,
        content_hash=content,
        objects=tuple(_object(i, t) for i, t in enumerate(frame.objects)),
        depth_png=depth_png,
        depth_scale=scale,
        depth_flag=frame.depth_flag,
        intrinsics=_numbers(frame.intrinsics) if frame.intrinsics else (),
        intrinsics_source=frame.intrinsics_source,
        gravity=_numbers(frame.gravity) if frame.gravity is not None else (),
        floor=_numbers(frame.floor) if frame.floor is not None else (),
        tags=frame.tags,
        provenance=json.dumps(provenance, sort_keys=True),
        meta=json.dumps(meta, sort_keys=True),
        shared_uncertainty=json.dumps({k: round(v, 6) for k, v in frame.shared().items()}, sort_keys=True),
    )


class _Item:
    """One item on its way: its frame so far, or what ended it."""

    def __init__(self, index: int, item_id: str):
        self.outcome = Outcome(index, item_id, "record")
        self.frame: Frame | None = None

    def end(self, stage: str, error: BaseException) -> None:
        """Ends the item with what a stage raised."""
        kind = "dropped" if isinstance(error, Dropped) else "failed"
        text = " ".join(str(error).split())[:300]
        self.outcome.kind, self.outcome.stage = kind, stage
        self.outcome.reason = text if isinstance(error, (BadItem, Dropped)) else f"{type(error).__name__}: {text}"
        self.frame = None


# What a broken item may raise anywhere; a programming error (TypeError, AttributeError, NameError) still stops the run.
ITEM_ERRORS = (BadItem, Dropped, ValueError, ArithmeticError, LookupError, OSError, MemoryError)


class Pipeline:
    """A source and its stages. `outcomes` gives the outcomes of a batch of items; it never raises for a bad item.

    A stage that has `batch(frames) -> list[Exception | None]` is given all frames of the batch at once (models on an
    accelerator), and returns what went wrong with each; other stages are called frame by frame.
    """

    def __init__(self, source: Source, stages: list[Stage], heldout_percent: int = 10):
        self.source, self.stages, self.heldout_percent = source, stages, heldout_percent
        self._serializer: Any = None

    def config(self) -> dict[str, Any]:
        """JSON-ready identity: two runs with the same config give the same bytes."""
        return {
            "source": self.source.config(),
            "stages": [s.config() for s in self.stages],
            "heldout_percent": self.heldout_percent,
        }

    def __call__(self, index: int) -> Outcome:
        return self.outcomes([index])[0]

    def outcomes(self, indices: list[int]) -> list[Outcome]:
        """Outcomes of the items, in the order given."""
        items = [_Item(i, self.source.item_id(i)) for i in indices]
        for item in items:
            item.frame = self._time(item, "load", self.source.load, item.outcome.index)
        for stage in self.stages:
            live = [item for item in items if item.frame is not None]
            if hasattr(stage, "batch") and live:
                self._batch(stage, live)
            else:
                for item in live:
                    self._time(item, stage.name, stage, item.frame)
        for item in items:
            if item.frame is not None:
                self._finish(item)
        return [item.outcome for item in items]

    def _time(self, item: _Item, stage: str, call: Any, *arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*arguments)
        except ITEM_ERRORS as error:
            item.end(stage, error)
            return None
        finally:
            item.outcome.seconds[stage] = time.perf_counter() - start

    def _batch(self, stage: Any, live: list[_Item]) -> None:
        start = time.perf_counter()
        errors = stage.batch([item.frame for item in live])
        share = (time.perf_counter() - start) / len(live)
        parts = {f"{stage.name}.{k}": v / len(live) for k, v in getattr(stage, "parts", {}).items()}
        for item, error in zip(live, errors, strict=True):
            item.outcome.seconds |= {stage.name: share, **parts}
            if error is not None:
                if not isinstance(error, ITEM_ERRORS):
                    raise error
                item.end(stage.name, error)

    def _finish(self, item: _Item) -> None:
        record = self._time(item, "encode", to_record, item.frame, self.heldout_percent)
        if record is None:
            return
        example = self._time(item, "serialize", self._serialize, record)
        if example is not None:
            assert item.frame is not None
            out = item.outcome
            out.split, out.example, out.objects, out.notes, out.told = (
                record.split,
                example,
                len(record.objects),
                tuple(item.frame.notes),
                dict(item.frame.told),
            )
        item.frame = None

    def record(self, index: int) -> SceneRecord:
        """The scene record of one item alone, for looking at; raises what its stages raise."""
        frame = self.source.load(index)
        for stage in self.stages:
            stage(frame)
        return to_record(frame, self.heldout_percent)

    def _serialize(self, record: SceneRecord) -> bytes:
        if self._serializer is None:
            from data_prep.writer import Serializer
            from spatial_jax.data.records import scene_features

            self._serializer = Serializer(scene_features())
        return self._serializer(to_example(record))
