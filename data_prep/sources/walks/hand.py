"""What a hand-held camera does to its frames: motion blur, and brightness that wanders and adapts."""

from __future__ import annotations

import numpy as np

from data_prep.sources.camera import Camera, look
from data_prep.sources.walks.home import Home
from data_prep.sources.walks.path import Hand

SHUTTER = 1 / 30  # seconds
SAMPLES = 7  # places along a pixel's way that are averaged
MIDDLE = 118.0  # grey level that exposure aims at


def handle(rgb: np.ndarray, depth: np.ndarray, home: Home, hand: Hand, rng: np.random.Generator) -> np.ndarray:
    """The frames uint8 [n, h, w, 3] as the hand `hand` films them; depth [n, h, w] tells how far a pixel moves."""
    if hand.blur > 0:
        rgb = np.stack([_blur(rgb[k], depth[k], home, k, hand.blur) for k in range(len(rgb))])
    if hand.exposure > 0:
        rgb = _expose(rgb, hand.exposure, rng)
    return rgb


def _blur(rgb: np.ndarray, depth: np.ndarray, home: Home, k: int, amount: float) -> np.ndarray:
    """A frame averaged over the way of each pixel while the shutter is open."""
    camera, rates = home.cameras[k], home.path.rates[k] * SHUTTER * amount
    moved = look(
        camera.width,
        camera.height,
        camera.fx,
        (camera.cx, camera.cy),
        camera.position + rates[:3],
        *map(float, home.path.angles[k] + rates[3:]),
    )
    u, v = np.meshgrid(np.arange(camera.width, dtype=np.float32), np.arange(camera.height, dtype=np.float32))
    du, dv = _flow(camera, moved, u, v, depth)
    total = np.zeros(rgb.shape, np.float32)
    for share in np.linspace(-0.5, 0.5, SAMPLES):
        x = np.rint(u + share * du).astype(int).clip(0, camera.width - 1)
        y = np.rint(v + share * dv).astype(int).clip(0, camera.height - 1)
        total += rgb[y, x]
    return (total / SAMPLES + 0.5).astype(np.uint8)


def _flow(
    camera: Camera, moved: Camera, u: np.ndarray, v: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """By how many pixels what is seen at (u, v) moves when the camera moves."""
    local = np.stack([(u - camera.cx) / camera.fx * depth, (v - camera.cy) / camera.fy * depth, depth], -1)
    there = moved.project(local.reshape(-1, 3) @ camera.rotation + camera.position).reshape(*u.shape, 2)
    far = float(camera.width) / 4  # what passes by the lens itself
    return np.clip(there[..., 0] - u, -far, far), np.clip(there[..., 1] - v, -far, far)


def _expose(rgb: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Frames whose brightness follows what the camera saw before, with a slow drift of its own."""
    wander, adapted, out = 0.0, float(np.log(MIDDLE)), []
    for frame in rgb:
        adapted += 0.5 * (float(np.log(max(1.0, frame.mean()))) - adapted)
        wander = 0.7 * wander + 0.08 * float(rng.standard_normal())
        gain = np.exp(amount * (0.5 * (np.log(MIDDLE) - adapted) + wander))
        out.append(np.clip(frame * np.float32(gain), 0, 255).astype(np.uint8))
    return np.stack(out)
