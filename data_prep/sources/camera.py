"""Pinhole camera of the rendered scenes. World frame: x, y along the floor, z up, floor at z = 0. Camera frame: x
right, y down, z forward. Pixel (u, v) has its centre at whole numbers: u = fx * x / z + cx.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Camera:
    """`rotation` [3, 3] takes world vectors to camera vectors (rows: right, down, forward); `position` [3] in metres,
    world frame.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: np.ndarray
    position: np.ndarray

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points [n, 3] in the camera frame."""
        return (np.asarray(points) - self.position) @ self.rotation.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixel positions [n, 2] of world points [n, 3] in front of the camera."""
        local = self.to_camera(points)
        depth = np.maximum(local[:, 2], 1e-3)
        return np.stack([self.fx * local[:, 0] / depth + self.cx, self.fy * local[:, 1] / depth + self.cy], -1)

    def unproject(self, u: float, v: float, depth: float) -> np.ndarray:
        """World point [3] seen at pixel (u, v) at the given depth (along the optical axis, metres)."""
        local = np.array([(u - self.cx) / self.fx * depth, (v - self.cy) / self.fy * depth, depth])
        return self.position + local @ self.rotation

    def rays(
        self, turn: np.ndarray, left: int, top: int, right: int, bottom: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Directions of the pixels of a rectangle, three float32 [bottom - top, right - left], scaled so that t is the
        depth. `turn` [3, 3] takes camera vectors to the frame wanted; the rectangle may reach beyond the picture.
        """
        x = ((np.arange(left, right) - self.cx) / self.fx).astype(np.float32)[None, :]
        y = ((np.arange(top, bottom) - self.cy) / self.fy).astype(np.float32)[:, None]
        turn = turn.astype(np.float32)
        return tuple(turn[i, 0] * x + (turn[i, 1] * y + turn[i, 2]) for i in range(3))  # type: ignore[return-value]

    @property
    def gravity(self) -> np.ndarray:
        """Unit vector [3] pointing down, camera frame."""
        return -self.rotation[:, 2]

    @property
    def floor(self) -> np.ndarray:
        """Plane (nx, ny, nz, d) of the floor, camera frame, normal up: n.x + d = 0 on it, positive above."""
        return np.append(self.rotation[:, 2], self.position[2])


def look(
    width: int,
    height: int,
    focal: float,
    center: tuple[float, float],
    position: np.ndarray,
    yaw: float,
    pitch: float,
    roll: float,
) -> Camera:
    """Camera at `position`, looking along `yaw` (radians, from +y towards +x), `pitch` radians below the horizon,
    rolled by `roll`.
    """
    forward = np.array([np.sin(yaw) * np.cos(pitch), np.cos(yaw) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(yaw), -np.sin(yaw), 0.0])
    down = np.cross(forward, right)
    turned = np.cos(roll) * right + np.sin(roll) * down, np.cos(roll) * down - np.sin(roll) * right
    return Camera(width, height, focal, focal, center[0], center[1], np.stack([*turned, forward]), position)
