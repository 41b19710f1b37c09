"""Which options each source reads: one that is given to a source that does not would do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data_prep.sources import DATASETS, PLAIN_DATASETS, SOURCES, SourceError

_RENDERED = ("count", "seed", "width", "height", "depth_noise")
_WALK = ("walk_frames", "walk_rooms", "shake", "blur", "exposure")
_DEPTH = (
    *("intrinsics", "intrinsics_unit", "depth_scale", "depth_encoding", "depth_from", "registered", "relative"),
    *("by_frame", "depth_noise", "path", "limit"),
)
READ: dict[str, tuple[str, ...]] = {
    "rendered": (*_RENDERED, "preset", "signs"),
    "walk": (*_RENDERED, *_WALK),
    "folder": ("path", "limit", "max_side"),
    "stereo": (),
    "rgbd": (*_DEPTH, "convention"),
    "video": ("path", "limit", "every"),
    "tfds": ("name", "tfds_split", "data_dir", "metric", "group", "limit"),
}
_DATASET = ("path", "limit", "depth_noise", "every")


def options_of(source: str) -> tuple[str, ...]:
    """The options that a source of SOURCES reads."""
    if source in DATASETS:
        return _DATASET
    if source in PLAIN_DATASETS:
        return _DEPTH if PLAIN_DATASETS[source] else READ["folder"]
    return READ[source]


def check_read(options: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """SourceError, one line, for an option that is not as usual and that the chosen source does not read."""
    source, readers = options["source"], dict[str, list[str]]()
    for kind in SOURCES:
        for name in options_of(kind):
            readers.setdefault(name, []).append(kind)
    for name, kinds in readers.items():
        if source not in kinds and options[name] != usual[name]:
            raise SourceError(f"--{name} does nothing with --source={source}; it is of {', '.join(kinds)}")
