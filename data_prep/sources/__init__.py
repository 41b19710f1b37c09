"""Where pictures come from; `open_source` makes the source that a spec (the command line's options) names."""

from __future__ import annotations

import importlib
from typing import Any

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft, Source, SourceError, split_of

# Datasets that are read from their own folders: the class of each, in data_prep.sources.datasets.
DATASETS = {
    "sunrgbd": "sunrgbd.SunRgbd",
    "kitti": "kitti.KittiObjects",
    "nuscenes": "nuscenes.NuScenes",
    "omni3d": "omni3d.Omni3D",
    "scannet": "scannet.ScanNet",
    "scannetpp": "scannetpp.ScanNetPP",
    "hypersim": "hypersim.Hypersim",
    "arkitscenes": "arkitscenes.ARKitScenes",
}
# Datasets whose folders the general readers know, and the convention they are read by ("": plain photos).
PLAIN_DATASETS = {"coco": "", "diode": "diode", "megadepth": "megadepth"}
# Parts of the names of folders that hold labels drawn as pictures, no photos (COCO's panoptic and stuff maps).
LABEL_FOLDERS = {"coco": ("annotations", "panoptic", "pixelmaps", "stuffthingmaps")}
SOURCES = ("rendered", "walk", "folder", "stereo", "rgbd", "video", "tfds", *DATASETS, *PLAIN_DATASETS)

__all__ = [
    "DATASETS",
    "PLAIN_DATASETS",
    "SOURCES",
    "BadItem",
    "DepthNoise",
    "Frame",
    "ObjectDraft",
    "Source",
    "SourceError",
    "dataset_reader",
    "open_source",
    "split_of",
]


def open_source(spec: dict[str, Any]) -> Source:
    """The source that `spec["source"]` names, one of SOURCES, from the other keys of the spec; raises SourceError."""
    kind = spec["source"]
    if kind in PLAIN_DATASETS:
        convention = PLAIN_DATASETS[kind]
        labels = LABEL_FOLDERS.get(kind, ())
        spec = {**spec, "source": "rgbd" if convention else "folder", "convention": convention, "labels": labels}
        kind = spec["source"]
    if kind in DATASETS:
        found = dataset_reader(kind)
        noise = DepthNoise(**spec["depth_noise"]) if spec.get("depth_noise") else None
        return found(_need(spec, "path"), spec.get("limit", 0), noise, spec.get("every", 1.0))
    if kind == "rendered":
        from data_prep.sources.rendered import RenderedScenes

        noise = DepthNoise(**spec["depth_noise"]) if spec.get("depth_noise") else None
        return RenderedScenes(
            spec["preset"],
            spec["count"],
            spec["seed"],
            spec.get("width", 0),
            spec.get("height", 0),
            noise,
            spec.get("signs", False),
        )
    if kind == "walk":
        from data_prep.sources.walks import Walks
        from data_prep.sources.walks.path import Hand

        noise = DepthNoise(**spec["depth_noise"]) if spec.get("depth_noise") else None
        hand = Hand(spec.get("shake", 1.0), spec.get("blur", 0.0), spec.get("exposure", 0.0))
        sizes = (spec.get("width", 0), spec.get("height", 0))
        frames, rooms = spec.get("walk_frames", 32), spec.get("walk_rooms", 3)
        return Walks(spec["count"], spec["seed"], frames, rooms, *sizes, hand, noise)
    if kind == "folder":
        from data_prep.sources.folder import PictureFolder

        return PictureFolder(_need(spec, "path"), spec.get("max_side", 0), spec.get("limit", 0), spec.get("labels", ()))
    if kind == "stereo":
        from data_prep.sources.stereo import StereoMotorcycle

        return StereoMotorcycle()
    if kind == "rgbd":
        from data_prep.sources.rgbd import RgbdFolder

        camera = tuple(spec["intrinsics"]) if spec.get("intrinsics") else None
        return RgbdFolder(
            _need(spec, "path"),
            spec.get("convention", "generic"),
            camera,
            spec.get("depth_scale", 0.0),  # type: ignore[arg-type]
            spec.get("relative", False),
            spec.get("limit", 0),
            spec.get("by_frame", False),
            encoding=spec.get("depth_encoding", ""),
            registered=spec.get("registered", ""),
            intrinsics_unit=spec.get("intrinsics_unit", "pixels"),
            depth_from=spec.get("depth_from", ""),
            noise=DepthNoise(**spec["depth_noise"]) if spec.get("depth_noise") else None,
        )
    if kind == "video":
        from data_prep.sources.video import VideoFrames

        return VideoFrames(_need(spec, "path"), spec.get("every", 1.0), spec.get("limit", 0))
    if kind == "tfds":
        from data_prep.sources.tfds_source import TfdsImages

        return TfdsImages(
            _need(spec, "name"),
            spec.get("tfds_split", "train"),
            spec.get("data_dir", ""),
            spec.get("metric", False),
            spec.get("group", ""),
            spec.get("limit", 0),
        )
    raise SourceError(f"no source named {kind!r}: choose one of {', '.join(SOURCES)}")


def dataset_reader(name: str) -> Any:
    """The class that reads the dataset of DATASETS with this name."""
    module, _, reader = DATASETS[name].partition(".")
    return getattr(importlib.import_module(f"data_prep.sources.datasets.{module}"), reader)


def _need(spec: dict[str, Any], key: str) -> str:
    if not spec.get(key):
        raise SourceError(f"--source={spec['source']} needs --{key}")
    return spec[key]
