"""Oriented boxes of visible clouds: upright along gravity, turned for the smallest footprint, completed for the side
nobody sees.

Axes of every box: the longer horizontal side, the shorter horizontal side, the vertical (pointing up); right-handed.
"""

from __future__ import annotations

import dataclasses

import numpy as np

CAMERA_DOWN = np.array([0.0, 1.0, 0.0])  # gravity when nothing better is known: the camera is held level


@dataclasses.dataclass
class Box:
    """center [3], extent [3] full sides (metres), rotation [3, 3] with the axes as columns, all in the camera frame.
    `hidden`: half of what the box may be deeper or shallower along axis `hidden_axis`, whose far end was not seen.
    """

    center: np.ndarray
    extent: np.ndarray
    rotation: np.ndarray
    hidden: float = 0.0
    hidden_axis: int = 0

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


def fit_box(
    points: np.ndarray, gravity: np.ndarray | None = None, pixel: float = 0.0, grain: float = 0.0, complete: bool = True
) -> Box:
    """Box around visible points [n, 3] (n >= 3). `pixel`: side of a pixel at the object's depth, metres; half of it is
    added to every extent, because pixel centres stop half a pixel short of an edge that faces the camera (and hardly at
    all of one that leads away). `grain`: noise left on the depths, one deviation, metres; the outermost points lie
    about 1.5 of it too far out.

    With `complete` the side turned away is estimated: the thing is taken to be at least as deep as seen and at most as
    deep as wide. Most things are nearly as deep as wide, so the value lies at 0.85 of that range; half the range is
    reported as `hidden`.
    """
    frame = horizontal_frame(gravity)
    local = points.astype(np.float64) @ frame
    angle = _footprint_angle(local[:: max(1, len(local) // 400), :2])
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    turned = local @ turn
    view = turn.T @ frame.T @ points.mean(0)  # from the camera to the thing, in the box's axes
    low, high = turned.min(0) - pixel / 4, turned.max(0) + pixel / 4
    excess = np.minimum(1.5 * grain * np.abs(view) / max(1e-9, float(np.linalg.norm(view))), (high - low) / 3)
    low, high = low + excess, high - excess
    depth_axis = int(np.argmax(np.abs(view[:2])))
    hidden = 0.0
    if complete:
        seen, wide = high[depth_axis] - low[depth_axis], high[1 - depth_axis] - low[1 - depth_axis]
        hidden = max(0.0, (wide - seen) / 2)
        if view[depth_axis] >= 0:
            high[depth_axis] += 1.7 * hidden
        else:
            low[depth_axis] -= 1.7 * hidden
    extent, center = high - low, (low + high) / 2
    axes = frame @ turn
    center = axes @ center
    if extent[0] < extent[1]:
        extent = extent[[1, 0, 2]]
        axes = np.stack([axes[:, 1], -axes[:, 0], axes[:, 2]], -1)
        depth_axis = 1 - depth_axis
    return Box(center, extent, axes, hidden, depth_axis)


def vertical_extent(rotation: np.ndarray, extent: np.ndarray, gravity: np.ndarray | None = None) -> float:
    """Height of a box above its lowest point: how far it reaches along gravity, whatever its axes are."""
    down = np.asarray(CAMERA_DOWN if gravity is None or not len(gravity) else gravity, np.float64)
    return float(np.abs(np.asarray(rotation, np.float64).reshape(3, 3).T @ down) @ np.asarray(extent, np.float64))
