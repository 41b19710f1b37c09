"""Does a training set hold a benchmark's pictures? Exact by pixels, near by a perceptual hash, and scenes by their
id.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.data import Unusable, open_questions
from spatial_jax.media import decode_picture, read_file

log = logging.getLogger(__name__)

NEAR = 6  # bits of 64 in which two hashes of one picture may differ (resize, JPEG)


def perceptual_hash(image: Image.Image) -> int:
    """64-bit DCT hash: signs of the 8x8 lowest frequencies of the 32x32 grey picture against their median. Resizing and
    recompression change few bits.
    """
    grey = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
    basis = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5))
    low = (basis @ grey @ basis.T).ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # the mean says nothing
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def pixel_hash(image: Image.Image) -> str:
    """sha256 of the decoded RGB bytes, as SceneRecord.content_hash."""
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def dataset_pictures(directory: str | Path, split: str = "train") -> Iterable[tuple[str, str, bytes]]:
    """(record id, scene id, encoded picture) of a question dataset, each scene's picture once."""
    seen: set[tuple[str, int]] = set()
    for record in open_questions(directory, split, checksums=False):
        if isinstance(record, Unusable):
            continue
        for data in record.images:
            key = (record.scene_id, hash(data))
            if key not in seen:
                seen.add(key)
                yield record.question_id, record.scene_id, data


def _open(source: Any) -> Image.Image | None:
    try:
        return decode_picture(source if isinstance(source, bytes) else read_file(source)).image
    except (OSError, ValueError):
        return None


def find_leaks(
    training: Iterable[tuple[str, str, bytes]], items: Sequence[Mapping[str, Any]], *, near: int = NEAR
) -> dict[str, Any]:
    """{"items", "pictures", "training", "unreadable", "exact": [...], "near": [...], "scenes": [...]}; each leak names
    the benchmark's item, the training record and the distance in bits. ValueError where nothing can be compared: no
    leak would be found.
    """
    pictures: dict[Any, tuple[str, int, str]] = {}
    unreadable = 0
    for item in items:
        for source in item.get("images") or []:
            if source is None or (isinstance(source, (str, bytes)) and source in pictures):
                continue
            image = _open(source)
            if image is None:
                unreadable += 1
            else:
                pictures[source] = (str(item["id"]), perceptual_hash(image), pixel_hash(image))
    scenes = {str(item["scene"]): str(item["id"]) for item in items if item.get("scene")}
    if not pictures and not scenes:
        raise ValueError(
            f"nothing is compared: none of {len(items)} items has a picture that can be read, or a scene's id"
            f" ({unreadable} pictures unreadable; videos are not searched)"
        )
    hashes = np.array([h for _, h, _ in pictures.values()], np.uint64)
    names, exact_of = (
        [name for name, _, _ in pictures.values()],
        {digest: name for name, _, digest in pictures.values()},
    )
    out: dict[str, Any] = {
        "items": len(items),
        "pictures": len(pictures),
        "training": 0,
        "unreadable": unreadable,
        "exact": [],
        "near": [],
        "scenes": [],
    }
    for record_id, scene_id, data in training:
        image = _open(data)
        if image is None:
            unreadable += 1
            continue
        out["training"] += 1
        if scene_id in scenes:
            out["scenes"].append({"item": scenes[scene_id], "record": record_id, "scene": scene_id})
        digest = pixel_hash(image)
        if digest in exact_of:
            out["exact"].append({"item": exact_of[digest], "record": record_id, "bits": 0})
        elif len(hashes):
            distances = np.bitwise_count(hashes ^ np.uint64(perceptual_hash(image)))
            closest = int(np.argmin(distances))
            if distances[closest] <= near:
                out["near"].append({"item": names[closest], "record": record_id, "bits": int(distances[closest])})
    if not out["training"]:
        tried = unreadable - out["unreadable"]
        raise ValueError(f"nothing is compared: no picture of the training set can be read ({tried} tried)")
    out["unreadable"] = unreadable
    if unreadable:
        log.warning("leakage check: %d pictures could not be read", unreadable)
    return out


def leak_text(name: str, leaks: Mapping[str, Any], shown: int = 10) -> str:
    """A few lines: how much was compared, what was found."""
    compared = (
        f"{name}: {leaks['pictures']} pictures of {leaks['items']} items against {leaks['training']} training pictures"
    )
    found = (
        f"{len(leaks['exact'])} identical, {len(leaks['near'])} near (look at them), {len(leaks['scenes'])} scenes of"
        " the same id"
    )
    lines = [f"{compared}: {found}, {leaks['unreadable']} unreadable"]
    if not leaks["pictures"]:
        lines.append("  its items have no pictures, and videos are not searched: scenes' ids alone were compared")
    for kind in ("exact", "near", "scenes"):
        lines += [
            f"  {kind}: item {leak['item']} = training record {leak['record']}"
            + (f" ({leak['bits']} bits apart)" if kind == "near" else "")
            for leak in leaks[kind][:shown]
        ]
    return "\n".join(lines)
