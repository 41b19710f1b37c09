"""What can be seen of a self-supervised task's construction: which edges meet, how well, and what colour they have.

Measured on the pictures themselves, kept in a record's meta (`rule_inputs`), told by thoughts.py."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np

STRIP = 4  # pixels of an edge that are looked at
MENDS = 4.0  # of 255: by how much less two edges differ before one is said to break off
EVEN = 40.0  # of 255: spread of an edge up to which it has one colour to name
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_HUES = (
    (20, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (200, "turquoise"),
    (260, "blue"),
    (320, "purple"),
)


def edge(part: np.ndarray, side: str) -> np.ndarray:
    """float32 [length, 3]: the outermost STRIP pixels of one side, averaged across."""
    strip = {
        "left": part[:, :STRIP],
        "right": part[:, -STRIP:],
        "top": part[:STRIP].swapaxes(0, 1),
        "bottom": part[-STRIP:].swapaxes(0, 1),
    }[side]
    return strip.mean(1, dtype=np.float32)


def jump(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference, of 255, of two edges that meet along their length."""
    return float(np.abs(a - b).mean())


def colour(line: np.ndarray) -> str:
    """A word for the colour of an edge, "" where it has no single one."""
    if line.std(0).max() > EVEN:
        return ""
    hue, saturation, value = colorsys.rgb_to_hsv(*(line.mean(0) / 255).tolist())
    if value < 0.15:
        return "black"
    if saturation < 0.15:
        return "dark grey" if value < 0.4 else "grey" if value < 0.75 else "light grey" if value < 0.92 else "white"
    name = next((word for most, word in _HUES if 360 * hue < most), "red")
    return f"dark {name}" if value < 0.45 else name


def seams(
    patches: Sequence[np.ndarray], order: Sequence[int], rows: int, columns: int, hidden: int
) -> list[dict[str, Any]]:
    """The borders between neighbouring places of a restored picture, best visible first. `order`: the displayed label
    of each place, `patches` by label. Each: {"first", "side", "second", "colour"}; the first's side meets the opposite
    side of the second; "colour" is a word that both edges share, or "".
    """
    found = []
    for place, first in enumerate(order):
        for side, step in (("right", 1), ("bottom", columns)):
            inside = place % columns < columns - 1 if side == "right" else place // columns < rows - 1
            if not inside or hidden in (first, order[place + step]):
                continue
            a, b = edge(patches[first], side), edge(patches[order[place + step]], OPPOSITE[side])
            shared = colour(a) if colour(a) == colour(b) else ""
            found.append((jump(a, b), {"first": first, "side": side, "second": order[place + step], "colour": shared}))
    return [seam for _, seam in sorted(found, key=lambda pair: pair[0])]


def mending_side(patches: Sequence[np.ndarray], shown: Sequence[np.ndarray], target: int) -> dict[str, Any]:
    """Of a 2x2 grid, the border of the mirrored patch that turning it back mends most: {"neighbour", "side", "mends"};
    "mends" is by how much its jump falls, of 255; neighbour -1 where no border mends by MENDS.
    """
    best: dict[str, Any] = {"neighbour": -1, "side": "", "mends": 0.0}
    for neighbour, side in (
        (target ^ 1, "left" if target % 2 else "right"),
        (target ^ 2, "top" if target > 1 else "bottom"),
    ):
        other = edge(patches[neighbour], OPPOSITE[side])
        mends = jump(edge(shown[target], side), other) - jump(edge(patches[target], side), other)
        if mends > max(MENDS, best["mends"]):
            best = {"neighbour": neighbour, "side": side, "mends": mends}
    return best


def hole_edges(rgb: np.ndarray, left: int, top: int, side: int) -> list[dict[str, Any]]:
    """The sides of a square hole behind which the picture goes on, the smoothest first: {"side", "colour"}; "colour" is
    a word that the piece's edge and its surroundings share, or "".
    """
    height, width = rgb.shape[:2]
    piece, around = rgb[top : top + side, left : left + side], []
    outside = {
        "left": rgb[top : top + side, max(0, left - STRIP) : left],
        "right": rgb[top : top + side, left + side : left + side + STRIP],
        "top": rgb[max(0, top - STRIP) : top, left : left + side],
        "bottom": rgb[top + side : top + side + STRIP, left : left + side],
    }
    room = {"left": left, "right": width - left - side, "top": top, "bottom": height - top - side}
    for name, strip in outside.items():
        if room[name] < STRIP:
            continue
        a, b = edge(piece, name), edge(strip, OPPOSITE[name])
        around.append((jump(a, b), {"side": name, "colour": colour(a) if colour(a) == colour(b) else ""}))
    return [found for _, found in sorted(around, key=lambda pair: pair[0])]
