"""Oriented boxes of visible clouds: upright along gravity, turned for the smallest footprint, completed for the side
nobody sees.

Axes of every box: the longer horizontal side, the shorter horizontal side, the vertical (pointing up); right-handed.
"""

from __future__ import annotations

import dataclasses
import statistics

import numpy as np

# Two faces are seen where the line of sight is turned by so much from both (tangent of 14 degrees), and the shorter one
# is so many times longer than the noise on its depths.
TURNED, CLEAR = 0.25, 3.0
# One in so many of the points may lie outermost at the end of a level side that is turned to the camera, at the end
# that is turned away (few points are seen there), and at an end of the upright side.
ENDS_NEAR, ENDS_FAR, ENDS = 1, 20, 4
FITS = 0.02  # of a footprint's area: angles that need so little more fit as well
CORNER = 0.12  # of the shorter face: so near must points come to the corner where the faces meet
AS_DEEP = 0.9  # of its width: a thing seen so deep is seen to its far end, by its top or its round side
END, CURVED = 0.05, 0.3  # of the height: the points at an end of it; of a ball's curve: how much an edge may show
CAMERA_DOWN = np.array([0.0, 1.0, 0.0])  # gravity when nothing better is known: the camera is held level


@dataclasses.dataclass
class Box:
    """center [3], extent [3] full sides (metres), rotation [3, 3] with the axes as columns, all in the camera frame.
    `hidden`: half of what the box may be deeper or shallower along axis `hidden_axis`, which leads away from the
    camera; `far_seen`: whether that side's far end was seen, so that it is measured and not completed; `misfit`: how
    far its points keep off the faces towards the camera, share of half a side, median (0 for a box); `under`: how much
    of the upright side curves out of sight at its ends, metres (0 for what stands on edges); `swing` [3]: how far the
    centre moves along each axis among the angles at which the footprint fits about as well, root mean square, metres.
    """

    center: np.ndarray
    extent: np.ndarray
    rotation: np.ndarray
    hidden: float = 0.0
    hidden_axis: int = 0
    far_seen: bool = True
    misfit: float = 0.0
    under: float = 0.0
    swing: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(3))

    def corners(self) -> np.ndarray:
        """Corners [8, 3], camera frame."""
        signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        return (signs * self.extent) @ self.rotation.T + self.center


def horizontal_frame(gravity: np.ndarray | None) -> np.ndarray:
    """[3, 3] with columns right, ahead and up of a level observer, in the camera frame: up against gravity, ahead along
    the optical axis.
    """
    up = -np.asarray(CAMERA_DOWN if gravity is None else gravity, np.float64)
    up = up / np.linalg.norm(up)
    ahead = np.array([0.0, 0.0, 1.0]) - up[2] * up
    if np.linalg.norm(ahead) < 1e-3:  # looking straight down or up: the picture's upper edge is ahead
        ahead = np.array([0.0, -1.0, 0.0]) + up[1] * up
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(ahead, up), ahead, up], -1)


def _footprint_angle(flat: np.ndarray, step: float = 3.0) -> float:
    """Angle (radians, 0 to 90 degrees) at which the rectangle around points [n, 2] has the least area; refined to a
    quarter degree.
    """

    def best(angles: np.ndarray) -> float:
        c, s = np.cos(angles), np.sin(angles)
        along, across = flat @ np.stack([c, s]), flat @ np.stack([-s, c])
        area = (along.max(0) - along.min(0) + 1e-6) * (across.max(0) - across.min(0) + 1e-6)
        return float(angles[np.argmin(area)])

    coarse = best(np.radians(np.arange(0, 90, step)))
    return best(coarse + np.radians(np.arange(-step, step + 0.01, 0.25)))


def largest_of(count: float) -> float:
    """Expected largest of `count` standard normal draws (Blom), at least 0."""
    return statistics.NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else 0.0


def _take_off_outermost(
    low: np.ndarray, high: np.ndarray, toward: np.ndarray, grain: float, independent: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ends [2 or 3, ...] of sides without what noise adds to them: the outermost of many points lies beyond the end by
    what the largest of so many draws is to be expected. `toward`: share of the line of sight along each side, positive
    where its low end is turned to the camera.
    """
    near, far = (
        np.array([largest_of(independent / n) for n in (level, level, ENDS)]) for level in (ENDS_NEAR, ENDS_FAR)
    )
    noise, most = grain * np.abs(toward), (high - low) / 3
    shape = (-1,) + (1,) * (low.ndim - 1)
    near, far = (np.minimum(n[: len(low)].reshape(shape) * noise, most) for n in (near, far))
    return low + np.where(toward >= 0, near, far), high - np.where(toward >= 0, far, near)


def _swing(
    flat: np.ndarray, view: np.ndarray, angle: float, pixel: float, grain: float, independent: float
) -> np.ndarray:
    """How far the middle of a footprint moves along its two sides at `angle` when it is drawn at the other angles that
    fit about as well, root mean square [2], metres: little for two faces, nothing for what is round, more for a handle.
    Points [n, 2]; `view` [3]: from the camera to them, in the same level frame.
    """
    at, angles = 15, angle + np.radians(np.arange(-45, 45, 3.0))
    c, s = np.cos(angles), np.sin(angles)
    axes = np.stack([np.stack([c, s]), np.stack([-s, c])])  # side, coordinate, angle
    places = np.einsum("nx,axk->ank", flat, axes)
    toward = np.einsum("x,axk->ak", view[:2], axes) / max(1e-9, float(np.linalg.norm(view)))
    low, high = _take_off_outermost(places.min(1) - pixel / 4, places.max(1) + pixel / 4, toward, grain, independent)
    side = np.maximum(high - low, 1e-9)
    area = side.prod(0)
    fits = area <= area.min() * (1 + FITS + (grain + pixel / 2) * (1 / side[:, at]).sum())
    fits[at] = True
    middle = np.einsum("ak,axk->xk", (low + high) / 2, axes)
    along = axes[:, :, at] @ (middle - middle[:, [at]])[:, fits]
    return np.sqrt((along**2).mean(1))


def _corner_gap(flat: np.ndarray, low: np.ndarray, high: np.ndarray, view: np.ndarray) -> float:
    """How far the footprint [n, 2] stays from the corner of its rectangle that is nearest to the camera: little for two
    faces that meet there, more for what is round.
    """
    corner = np.where(view >= 0, low, high)
    return float(np.sqrt(((flat - corner) ** 2).sum(1).min()))


def _misfit(points: np.ndarray, low: np.ndarray, high: np.ndarray, view: np.ndarray, grain: float) -> float:
    """How far points [n, 3] (the box's axes) keep off the nearest of the three faces that are turned to the camera,
    share of half that side, median; without what noise makes of it.
    """
    half = np.maximum((high - low) / 2, 1e-9)
    off = np.abs(points - np.where(view >= 0, low, high)) / half
    noise = 0.9 * grain / float(half.min())
    return float(np.sqrt(max(0.0, float(np.median(off.min(1))) ** 2 - noise**2)))


def _height_out_of_sight(points: np.ndarray, low: np.ndarray, high: np.ndarray, view: np.ndarray) -> float:
    """How much of the height lies out of sight at the ends that are seen at a slant, metres, as for a ball: its lowest
    visible points lie farther back than its nearest ones, those of a thing that stands on its edges do not. Points
    [n, 3] in the box's axes, from the camera.
    """
    level = float(np.hypot(*view[:2]))
    if level < 1e-6:
        return 0.0
    flat, out = points[:, :2] @ (view[:2] / level), 0.0
    front, radius = float(np.quantile(flat, 0.05)), float((high - low)[:2].min()) / 2
    band = END * (high[2] - low[2])
    for slant, end in ((-low[2], points[:, 2] < low[2] + band), (high[2], points[:, 2] > high[2] - band)):
        if slant <= 0 or not end.any():
            continue  # that end is seen from its own side
        tilt = np.arctan2(slant, level)
        back = float(np.quantile(flat[end], 0.05)) - front
        # Of a ball the band's own height hides a part of how far back its rim is.
        share = np.clip(3 * back / max(1e-9, radius * (1 - np.sin(tilt))) - CURVED, 0, 1)
        out += float(share * radius * (1 - np.cos(tilt)))
    return out


def fit_box(
    points: np.ndarray,
    gravity: np.ndarray | None = None,
    pixel: float = 0.0,
    grain: float = 0.0,
    complete: bool = True,
    independent: float = 64.0,
) -> Box:
    """Box around visible points [n, 3] (n >= 3). `pixel`: side of a pixel at the object's depth, metres; half of it is
    added to every extent, because pixel centres stop half a pixel short of an edge that faces the camera (and hardly at
    all of one that leads away). `grain`: noise left on the depths, one deviation, metres, of which `independent` draws
    are among the points: the outermost of those at an end lie too far out by what the largest is to be expected.

    With `complete` the side that leads away is estimated where two faces are not seen: the thing is taken to be as deep
    as wide, and half of what was added is reported as `hidden`. Its far end counts as seen where two faces are, or
    nearly as much depth as width.
    """
    frame = horizontal_frame(gravity)
    local = points.astype(np.float64) @ frame
    some = local[:: max(1, len(local) // 400), :2]
    angle = _footprint_angle(some)
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    turned_cloud = local @ turn
    view = turn.T @ frame.T @ points.mean(0)  # from the camera to the thing, in the box's axes
    low, high = turned_cloud.min(0) - pixel / 4, turned_cloud.max(0) + pixel / 4
    low, high = _take_off_outermost(low, high, view / max(1e-9, float(np.linalg.norm(view))), grain, independent)
    depth_axis = int(np.argmax(np.abs(view[:2])))
    hidden, far_seen = 0.0, True
    if complete:
        seen, wide = high[depth_axis] - low[depth_axis], high[1 - depth_axis] - low[1 - depth_axis]
        turned = np.abs(view[1 - depth_axis]) > TURNED * np.abs(view[depth_axis]) and min(seen, wide) > CLEAR * grain
        turned = (
            turned and _corner_gap(turned_cloud[:, :2], low[:2], high[:2], view[:2]) < CORNER * min(seen, wide) + grain
        )
        far_seen = bool(turned or seen - 2 * grain > AS_DEEP * wide)
        if not turned:
            hidden = max(0.0, (wide - seen) / 2)
        high[depth_axis] += 2 * hidden * (view[depth_axis] >= 0)
        low[depth_axis] -= 2 * hidden * (view[depth_axis] < 0)
    extent, center = high - low, (low + high) / 2
    swing = np.append(_swing(some, frame.T @ points.mean(0), angle, pixel, grain, independent), 0.0)
    misfit = _misfit(turned_cloud, low, high, view, grain)
    under = _height_out_of_sight(turned_cloud, low, high, view)
    axes = frame @ turn
    center = axes @ center
    if extent[0] < extent[1]:
        extent, swing = extent[[1, 0, 2]], swing[[1, 0, 2]]
        axes = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], -1)
        depth_axis = 1 - depth_axis
    return Box(center, extent, axes, hidden, depth_axis, far_seen, misfit, under, swing)


def vertical_extent(rotation: np.ndarray, extent: np.ndarray, gravity: np.ndarray | None = None) -> float:
    """Height of a box above its lowest point: how far it reaches along gravity, whatever its axes are."""
    down = np.asarray(CAMERA_DOWN if gravity is None or not len(gravity) else gravity, np.float64)
    return float(np.abs(np.asarray(rotation, np.float64).reshape(3, 3).T @ down) @ np.asarray(extent, np.float64))
