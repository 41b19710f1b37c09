"""Point clouds seen from another viewpoint, rendered to a picture."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from spatial_jax.pages.pictures import PALETTE


@dataclasses.dataclass(frozen=True)
class Cuboid:
    """An oriented box in the camera frame: centre, full extents, rotation [3, 3] whose columns are its axes; `color` of
    the palette.
    """

    center: Sequence[float]
    extent: Sequence[float]
    rotation: np.ndarray
    color: int = 0


def unproject(
    depth: np.ndarray, intrinsics: Sequence[float], step: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth [h, w] with (fx, fy, cx, cy) -> points [n, 3] (x right, y down, z forward) and their rows and columns,
    every `step` pixels.
    """
    rows, columns = np.mgrid[0 : depth.shape[0] : step, 0 : depth.shape[1] : step]
    z = depth[rows, columns].astype(np.float64)
    keep = np.isfinite(z) & (z > 0)
    z, rows, columns = z[keep], rows[keep], columns[keep]
    fx, fy, cx, cy = (float(v) for v in intrinsics)
    return np.stack([(columns - cx) / fx * z, (rows - cy) / fy * z, z], axis=1), rows, columns


def render_cloud(
    points: np.ndarray,
    colors: np.ndarray,
    *,
    yaw: float = 28.0,
    pitch: float = 24.0,
    cuboids: Sequence[Cuboid] = (),
    size: tuple[int, int] = (560, 420),
    gravity: Sequence[float] = (),
) -> Image.Image:
    """The cloud [n, 3] in colours uint8 [n, 3] as a camera sees it that has walked `yaw` degrees to the side and
    `pitch` up around the cloud's centre; cuboids as wireframes. `gravity` (unit vector down) levels the view first.
    """
    width, height = size
    points = np.asarray(points, np.float64)
    finite = np.isfinite(points).all(axis=1)
    points, colors = points[finite], np.asarray(colors, np.uint8)[finite]
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[:] = np.linspace((38, 42, 52), (20, 22, 28), height)[:, None, :].astype(np.uint8)
    if not len(points):
        return Image.fromarray(canvas)
    center = np.median(points, axis=0)
    view = _view(yaw, pitch) @ _level(gravity)
    distance = 2.2 * (np.percentile(np.linalg.norm(points - center, axis=1), 95) or 1.0) + 1e-6

    def flat(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Perspective coordinates (unscaled) and depth; NaN behind the camera."""
        moved = (p - center) @ view.T + np.array([0.0, 0.0, distance])
        safe = np.where(moved[:, 2] > 0.05 * distance, moved[:, 2], np.nan)
        return moved[:, :2] / safe[:, None], moved[:, 2]

    # The zoom fits all but the outermost percent of the points.
    seen, z = flat(points)
    low, high = np.nanpercentile(seen, 1, axis=0), np.nanpercentile(seen, 99, axis=0)
    scale = 0.92 * float(np.min(np.array([width, height]) / np.maximum(high - low, 1e-9)))
    shift = np.array([width, height]) / 2 - scale * (low + high) / 2

    def project(p: np.ndarray) -> np.ndarray:
        return flat(p)[0] * scale + shift

    # Splats a little larger than the points' spacing, so that surfaces look closed.
    radius = int(np.clip(np.ceil(1.35 * math.sqrt(float(np.prod((high - low) * scale)) / len(points))), 1, 9))
    _splat(canvas, seen * scale + shift, z, colors, radius)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    for cuboid in cuboids:
        _wireframe(draw, cuboid, project)
    return image


def _splat(canvas: np.ndarray, pixels: np.ndarray, z: np.ndarray, colors: np.ndarray, radius: int) -> None:
    """Paints points far to near as squares of `radius` pixels, darker with distance."""
    height, width, _ = canvas.shape
    order = np.argsort(-z)
    order = order[np.isfinite(pixels[order]).all(axis=1)]
    p = np.floor(pixels[order]).astype(np.int64)
    depth = z[order]
    shade = np.clip(1.15 - 0.35 * (depth - depth.min()) / (np.ptp(depth) or 1.0), 0.6, 1.0) if len(depth) else depth
    painted = (colors[order] * shade[:, None]).astype(np.uint8)
    half = radius // 2
    nearest = np.full(height * width, -1, np.int64)
    for dy in range(-half, radius - half):
        for dx in range(-half, radius - half):
            x, y = p[:, 0] + dx, p[:, 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            np.maximum.at(nearest, y[inside] * width + x[inside], np.flatnonzero(inside))
    hit = nearest >= 0
    canvas.reshape(-1, 3)[hit] = painted[nearest[hit]]


def _wireframe(draw: ImageDraw.ImageDraw, cuboid: Cuboid, project: Callable[[np.ndarray], np.ndarray]) -> None:
    values = [*cuboid.center, *cuboid.extent, *np.ravel(cuboid.rotation)]
    if not all(math.isfinite(float(v)) for v in values):
        return
    signs = np.array([[sx, sy, sz] for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)], np.float64)
    corners = (
        np.asarray(cuboid.center)
        + (signs * np.asarray(cuboid.extent) / 2) @ np.asarray(cuboid.rotation, np.float64).reshape(3, 3).T
    )
    pixels = project(corners)
    color = PALETTE[cuboid.color % len(PALETTE)]
    for a in range(8):
        for bit in (1, 2, 4):
            b = a ^ bit
            if a < b and np.isfinite(pixels[[a, b]]).all():
                ends = [tuple(float(v) for v in pixels[a]), tuple(float(v) for v in pixels[b])]
                draw.line(ends, fill=(10, 10, 14), width=4)
                draw.line(ends, fill=color, width=2)


def _view(yaw: float, pitch: float) -> np.ndarray:
    """World to camera: turned around y (down), then tilted so that the camera looks from above."""
    a, b = math.radians(yaw), math.radians(pitch)
    turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
    tilt = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    return tilt @ turn


def _level(gravity: Sequence[float]) -> np.ndarray:
    """Rotation that brings `gravity` to the y axis (down); identity when unknown."""
    g = np.asarray(gravity, np.float64)
    if g.shape != (3,) or not np.isfinite(g).all() or np.linalg.norm(g) < 1e-6:
        return np.eye(3)
    g = g / np.linalg.norm(g)
    axis = np.cross(g, [0.0, 1.0, 0.0])
    cosine = float(g[1])
    if cosine < -0.9999:
        return np.diag([1.0, -1.0, -1.0])
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + skew + skew @ skew / (1 + cosine)
