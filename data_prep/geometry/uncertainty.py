"""One standard deviation of every measure, propagated from depth noise, mask edges and the side that cannot be seen.

Noise of single pixels averages out over `n / correlation^2` independent ones; a bias that the whole picture shares (a
wrong scale) does not: it moves depths, extents and distances alike by its share.
"""

from __future__ import annotations

import numpy as np

from data_prep.geometry.boxes import Box
from data_prep.sources.base import DepthNoise

MEDIAN = 1.2533  # standard error of a median over that of a mean, for normal noise
# E|noise| / density at the median, in units of noise times spread; between a normal surface (2) and a flat one (2.8)
CROSSING = 3.0
SHAPE = (
    0.08,
    0.08,
    0.03,
)  # what is left of a fitted side when a box is drawn around a thing that is none: turned footprint, rounded top
PIXEL = 0.289  # standard deviation of a place known to lie within one pixel


def median_sigma(noise: DepthNoise, depth: float, pixels: int, spread: float = 0.0, step: float = 0.001) -> float:
    """Of a median depth over `pixels` pixels of a surface whose own depths spread by `spread` (one standard deviation,
    metres): noise pushes pixels across the median, and the wider the surface the fewer stand near it. `step`: one count
    of the stored depth, metres.
    """
    independent = max(1.0, pixels / noise.correlation**2)
    sigma = float(noise.sigma(np.array(depth)))
    variance = ((MEDIAN * sigma) ** 2 + CROSSING * spread * sigma) / independent
    return float(np.sqrt(variance + (noise.bias * depth) ** 2 + (PIXEL * step) ** 2))


def box_sigma(
    box: Box, noise: DepthNoise, depth: float, pixels: int, pixel: float, mask_sigma: float, doubt: np.ndarray
) -> dict[str, float]:
    """Of centre and extents of a fitted box: keys center_x, center_y, center_z, center (all three together, root of the
    summed squares), extent_0, extent_1, extent_2 (metres). `pixel`: a pixel's side at the object, metres; `mask_sigma`:
    error of a mask's edge, pixels; `doubt`: how much shorter each side may be, metres (`leak`).
    """
    ray = box.center / max(1e-9, float(np.linalg.norm(box.center)))
    toward = np.abs(box.rotation.T @ ray)  # how far each axis runs along the line of sight
    edge = pixel * np.sqrt(PIXEL**2 + mask_sigma**2)
    grain = (
        float(noise.sigma(np.array(depth))) / 3 + 0.5 * pixel
    )  # what is left of the noise at an end, after the local mean
    ends = np.sqrt(2) * np.sqrt(edge**2 + (toward * grain) ** 2)
    hidden = np.zeros(3)
    hidden[box.hidden_axis] = box.hidden
    shape = np.array(SHAPE) * box.extent
    extent = np.sqrt(ends**2 + hidden**2 + shape**2 + doubt**2 + (noise.bias * box.extent) ** 2)
    local = np.sqrt(ends**2 + hidden**2 + shape**2 + doubt**2) / 2
    center = np.sqrt((box.rotation * local) ** 2 @ np.ones(3) + (ray * median_sigma(noise, depth, pixels)) ** 2)
    out = {f"extent_{i}": float(v) for i, v in enumerate(extent)}
    out.update({f"center_{axis}": float(v) for axis, v in zip("xyz", center)})
    out["center"] = float(np.sqrt((center**2).sum()))
    return out


def leak(cloud: np.ndarray, box: Box, allowed: float = 0.25) -> np.ndarray:
    """How much of each side of `box` only the nearest and farthest twentieth of its points [n, 3] make, beyond the
    `allowed` share of the side; [3] metres, axis by axis. Little for a clean mask: much where the mask takes in what
    lies before or behind the object.
    """
    depth, whole = cloud[:, 2], cloud @ box.rotation
    low, high = np.quantile(depth, (0.05, 0.95))
    side = np.ptp(whole, axis=0)
    return np.maximum(0.0, side - np.ptp(whole[(depth >= low) & (depth <= high)], axis=0) - allowed * side)
