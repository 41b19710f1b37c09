"""Where pictures come from; `open_source` makes the source that a spec (the command line's options) names."""
from __future__ import annotations

from typing import Any

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft, Source, SourceError, split_of

SOURCES = ("rendered", "folder", "stereo", "rgbd", "video", "tfds")

__all__ = ["SOURCES", "BadItem", "DepthNoise", "Frame", "ObjectDraft", "Source", "SourceError", "open_source", "split_of"]


def open_source(spec: dict[str, Any]) -> Source:
    """The source that `spec["source"]` names, one of SOURCES, from the other keys of the spec; raises SourceError."""
    kind = spec["source"]
    if kind == "rendered":
        from data_prep.sources.rendered import RenderedScenes

        noise = DepthNoise(**spec["depth_noise"]) if spec.get("depth_noise") else None
        return RenderedScenes(spec["preset"], spec["count"], spec["seed"], spec.get("width", 0), spec.get("height", 0), noise)
    raise SourceError(f"no source named {kind!r}: choose one of {', '.join(SOURCES)}")
