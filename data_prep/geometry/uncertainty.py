"""One standard deviation of every measure of one object, propagated from depth noise, mask edges and the side that
cannot be seen.

Noise of single pixels averages out over `n / correlation^2` independent ones. What the whole picture shares (scale,
shift, focal length) is not in these numbers: it is kept apart, in the record of the picture.
"""

from __future__ import annotations

import math

import numpy as np

from data_prep.geometry.boxes import Box
from data_prep.sources.base import DepthNoise

MEDIAN = 1.2533  # standard error of a median over that of a mean, for normal noise
# Depths of things are no normal distribution: fewer of them lie at the median than their spread tells, and noise moves
# it as if they spread by so much more.
LOPSIDED = 1.5
# What is left of a fitted side when a box is drawn around a thing that is none (turned footprint, handles), and of its
# centre along a side that is seen, along the one that leads away, and upright. A box has none of it: it is told by how
# far the points keep off the box's faces, of which `ROUND` is as much as round things do.
SHAPE = (0.075, 0.075, 0.03)
MIDDLE, MIDDLE_AWAY, MIDDLE_UP = 0.021, 0.042, 0.013
SQUARE, ROUND, LEAST_SHAPE = 0.05, 0.12, 0.25
TURN = 1.5  # error of a footprint's angle, radians, for noise as large as its shorter side
PIXEL = 0.289  # standard deviation of a place known to lie within one pixel
# Of the noise that is left on a depth, with half a pixel: how far it moves a box's middle along the line of sight. Of
# the variance of that, `COMMON` is the same for all things of a picture (noise draws all of them the same way).
BACK, COMMON = 0.9, 0.3


def independent_draws(noise: DepthNoise, pixels: int) -> float:
    """How many independent draws of the noise a compact patch of `pixels` pixels holds: correlated noise does not reach
    beyond the patch's edge, so there are a few more than areas of `correlation` squared.
    """
    shared = noise.correlation - 1 / noise.correlation
    inside = 1 - min(0.5, shared / (math.pi * math.sqrt(pixels)))
    return max(1.0, pixels / (noise.correlation * inside) ** 2)


def crossing_variance(sigma: float, spread: float) -> float:
    """Variance of a median, times the number of its depths: of a surface whose depths are spread normally by `spread`,
    under independent noise of `sigma`. E[F (1 - F)] / density^2, with F the chance that a depth falls below the median.
    """
    total = sigma**2 + spread**2
    if not total > 0:
        return 0.0
    return 2 * math.pi * total * (0.25 - math.asin(spread**2 / total) / (2 * math.pi))


def median_sigma(noise: DepthNoise, depth: float, pixels: int, spread: float = 0.0, step: float = 0.001) -> float:
    """Of a median depth over `pixels` pixels of a surface whose own depths spread by `spread` (one standard deviation,
    metres): noise pushes pixels across the median, and the wider the surface the fewer stand near it. `step`: one count
    of the stored depth, metres.
    """
    # Pixels that share their noise lie at different depths of the surface, so not all of them cross together.
    crossing = max(1.0, pixels / noise.correlation)
    sigma = float(noise.sigma(np.array(depth)))
    median = 1 + (MEDIAN - 1) / noise.correlation  # of a smooth field the median is hardly worse than the mean
    crossed = max(0.0, crossing_variance(sigma, LOPSIDED * spread) - (MEDIAN * sigma) ** 2)
    variance = (median * sigma) ** 2 / independent_draws(noise, pixels) + crossed / crossing
    return math.sqrt(variance + (PIXEL * step) ** 2)


def box_sigma(
    box: Box,
    noise: DepthNoise,
    depth: float,
    pixels: int,
    pixel: float,
    grain: float,
    rim: np.ndarray,
    rim_center: np.ndarray,
    doubt: np.ndarray,
) -> dict[str, float]:
    """Of centre and sides of a fitted box, metres: extent_0, extent_1, extent_2; side_0, side_1, side_2 (the centre
    along the box's axes) and along (the centre along the line of sight), independent of each other; near (the centre
    along the line of sight again: the part that all boxes of a picture share); and, of these five together, center_x,
    center_y, center_z and center (root of the summed squares).

    `pixel`: a pixel's side at the object, metres; `grain`: noise left on a depth, metres; `rim` and `rim_center`: how
    much each side, and the centre along it, changes by one deviation of the mask's edge [3]; `doubt`: how much shorter
    each side may be (`leak`), [3].
    """
    ray = box.center / max(1e-9, float(np.linalg.norm(box.center)))
    toward = np.abs(box.rotation.T @ ray)  # how far each axis runs along the line of sight
    edge, face = PIXEL * pixel, toward * (grain + 0.5 * pixel)
    hidden = np.zeros(3)
    hidden[box.hidden_axis] = box.hidden
    short = max(1e-9, float(box.extent[:2].min()))
    turn = np.array([*box.extent[[1, 0]], 0.0]) * min(0.3, TURN * grain / short)
    middle = np.array([MIDDLE, MIDDLE, MIDDLE_UP])
    middle[box.hidden_axis] = MIDDLE_AWAY
    shape = float(np.clip((box.misfit - SQUARE) / (ROUND - SQUARE), LEAST_SHAPE, 1.0))
    local = doubt**2 + np.array([0.0, 0.0, box.under]) ** 2
    extent = np.sqrt(
        2 * (edge**2 + face**2) + (turn**2 + hidden**2 + local + (shape * np.array(SHAPE) * box.extent) ** 2 + rim**2)
    )
    # What was added to a side lies anywhere within it (what may lie beyond is told as `unseen`).
    side = np.sqrt(
        edge**2 / 2
        + (box.swing**2 + (PIXEL * hidden) ** 2 + local / 4)
        + ((shape * middle * box.extent) ** 2 + rim_center**2)
    )
    # Noise lies along the line of sight, and draws both ends of what leads away the same way.
    back = BACK * (grain + 0.5 * pixel)
    along = math.hypot(median_sigma(noise, depth, pixels), math.sqrt(1 - COMMON) * back)
    near = math.sqrt(COMMON) * back
    center = np.sqrt((box.rotation * side) ** 2 @ np.ones(3) + ray**2 * (along**2 + near**2))
    out = {f"extent_{i}": float(v) for i, v in enumerate(extent)}
    out.update({f"side_{i}": float(v) for i, v in enumerate(side)})
    out.update({f"center_{axis}": float(v) for axis, v in zip("xyz", center)})
    return out | {"along": along, "near": near, "center": float(np.sqrt((center**2).sum()))}


def leak(cloud: np.ndarray, box: Box, allowed: float = 0.25) -> np.ndarray:
    """How much of each side of `box` only the nearest and farthest twentieth of its points [n, 3] make, beyond the
    `allowed` share of the side; [3] metres, axis by axis. Little for a clean mask: much where the mask takes in what
    lies before or behind the object.
    """
    depth, whole = cloud[:, 2], cloud @ box.rotation
    low, high = np.quantile(depth, (0.05, 0.95))
    side = np.ptp(whole, axis=0)
    return np.maximum(0.0, side - np.ptp(whole[(depth >= low) & (depth <= high)], axis=0) - allowed * side)
