"""Objects that a list of frames names itself: labels drawn by hand or that came with the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from data_prep.sources.base import BadItem, ObjectDraft
from spatial_jax.media import open_image

PARTLY = 0.5  # visible share of an object that is said to be occluded or truncated, nothing more


def labelled_objects(labels: Any, width: int, height: int, read: Callable[[str], bytes]) -> list[ObjectDraft]:
    """Drafts of [{"caption", "name" (default: the caption), and "mask": a file whose non-zero pixels are the object, or
    "polygon": [[x, y], ...], or "box": [x1, y1, x2, y2]}]; coordinates in pixels from the top left corner. Of a box
    alone no mask is made, so nothing metric is measured on it. Optional: "occluded", "truncated" (true: its size is not
    asked), "visible" (share of it that is seen, 0 to 1). `read` gives a file's bytes by its name in the list. BadItem
    names the label that cannot be used.
    """
    if not isinstance(labels, list):
        raise BadItem("objects of the frame list are not a list")
    out = []
    for number, label in enumerate(labels, 1):
        try:
            caption = str(label["caption"]).strip()
            mask, box = _mask(label, width, height, read), label.get("box")
            box = None if box is None else tuple(float(v) for v in box)
            visible, seen = _visible(label)
        except (KeyError, TypeError, ValueError, AttributeError, OSError) as error:
            raise BadItem(f"object {number} of the frame list cannot be used: {type(error).__name__} {error}") from None
        if mask is None and box is None:
            raise BadItem(f"object {number} of the frame list ({caption}) has neither mask, polygon nor box")
        if not caption or (mask is not None and (mask.shape != (height, width) or not mask.any())):
            raise BadItem(
                f"object {number} of the frame list ({caption}) has no caption, or its mask is empty or not of the"
                " picture's size"
            )
        if box is not None and not (len(box) == 4 and 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height):
            raise BadItem(f"object {number} of the frame list ({caption}) has a box outside the picture: {box}")
        out.append(
            ObjectDraft(
                str(label.get("name", caption)),
                caption,
                mask,
                box,
                visible_fraction=visible,
                provenance={"mask": "frame list", "caption": "frame list", **seen},
            )
        )
    return out


def _visible(label: dict[str, Any]) -> tuple[float, dict[str, bool]]:
    """(share of the object that is seen, what the label says of it)."""
    seen: dict[str, bool] = {key: label[key] for key in ("occluded", "truncated") if key in label}
    if not all(isinstance(value, bool) for value in seen.values()):
        raise ValueError("occluded and truncated must be true or false")
    visible = float(label.get("visible", 1.0))
    if not 0 < visible <= 1:
        raise ValueError(f"visible is {visible:g}, not a share above 0 and up to 1")
    return (min(visible, PARTLY) if any(seen.values()) else visible), seen


def _mask(label: dict[str, Any], width: int, height: int, read: Callable[[str], bytes]) -> np.ndarray | None:
    if "mask" in label:
        return np.asarray(open_image(read(str(label["mask"])))) > 0
    if "polygon" in label:
        return fill_polygon(label["polygon"], width, height)
    return None


def fill_polygon(corners: Iterable[tuple[float, float]], width: int, height: int) -> np.ndarray:
    """bool [height, width]: the pixels inside a polygon of (x, y) corners. ValueError, TypeError for what is none."""
    canvas = Image.new("1", (width, height))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=1)
    return np.asarray(canvas)
