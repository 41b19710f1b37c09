"""One rendered room with known boxes, and folders in the shapes of published datasets that show it: every reader must
give the same boxes back, in the camera's frame, where the rendered masks are.
"""

import dataclasses
import functools

import numpy as np
from PIL import Image

from data_prep.sources.layout import PRESETS
from data_prep.sources.rendered import RenderedScenes


@dataclasses.dataclass(frozen=True)
class Truth:
    """A rendered thing: `center` [3], `axes` [3, 3] (columns) and `extent` [3] in the world (x, y floor, z up)."""

    name: str
    center: np.ndarray
    axes: np.ndarray
    extent: np.ndarray
    mask: np.ndarray

    def corners(self):
        signs = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        return self.center + (signs * self.extent) @ self.axes.T


@dataclasses.dataclass(frozen=True)
class View:
    """`pose` [4, 4]: camera (x right, y down, z ahead) to world; `k` [3, 3]; things by name, each class once."""

    rgb: np.ndarray
    depth: np.ndarray
    pose: np.ndarray
    k: np.ndarray
    things: tuple[Truth, ...]
    gravity: np.ndarray

    @property
    def size(self):
        return self.rgb.shape[1], self.rgb.shape[0]

    def in_camera(self, truth):
        """(center [3], axes [3, 3]) of a thing in the camera's frame."""
        turn = self.pose[:3, :3]
        return turn.T @ (truth.center - self.pose[:3, 3]), turn.T @ truth.axes


@functools.cache
def view(index=0, level=False):
    """A rendered room of at least three things, each of its own class; `level`: seen by a camera held level."""
    source = RenderedScenes("rich", 40, 7, 320, 240)
    if level:
        source.preset = dataclasses.replace(PRESETS["rich"], width=320, height=240, pitch=(0.0, 0.0), roll=0.0)
    found = 0
    for number in range(40):
        room, drawn, things = source.draw(number)
        bodies = [room.bodies[i] for i, _ in things]
        kinds = [b.kind for b in bodies]
        if sum(kinds.count(k) == 1 for k in kinds) < 3 or len(set(kinds)) != len(kinds):
            continue
        if found == index:
            break
        found += 1
    camera = room.camera
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = camera.rotation.T, camera.position
    truths = tuple(
        Truth(
            body.kind,
            body.turn @ ((body.low + body.high) / 2) + body.position,
            body.turn.copy(),
            body.high - body.low,
            draft.mask,
        )
        for body, (_, draft) in zip(bodies, things)
    )
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    return View(drawn.rgb, drawn.depth, pose, k, truths, camera.gravity)


def check_boxes(frame, seen, names=str, tolerance=1e-3):
    """Every thing of the view is there with its own centre, sides and axes, and its rectangle is where it was drawn."""
    by_name = {draft.name: draft for draft in frame.objects}
    for truth in seen.things:
        draft = by_name[names(truth.name)]
        center, axes = seen.in_camera(truth)
        np.testing.assert_allclose(draft.center, center, atol=tolerance)
        sides = sorted(truth.extent[:2], reverse=True) + [truth.extent[2]]
        np.testing.assert_allclose(draft.extent, sides, atol=2 * tolerance)
        up = -seen.gravity
        np.testing.assert_allclose(draft.rotation[:, 2], axes[:, 2], atol=1e-3)
        assert abs(float(draft.rotation[:, 2] @ up) - 1) < 1e-3 and abs(np.linalg.det(draft.rotation) - 1) < 1e-5
        longer = axes[:, int(truth.extent[1] > truth.extent[0])]
        assert abs(abs(float(draft.rotation[:, 0] @ longer)) - 1) < 1e-3 or abs(sides[0] - sides[1]) < 1e-2
        rows, columns = np.nonzero(truth.mask)
        if draft.mask is None:
            # the mask lies inside its box's projection, to the pixel
            x1, y1, x2, y2 = draft.box
            inside = (columns + 1 >= x1) & (columns <= x2) & (rows + 1 >= y1) & (rows <= y2)
            assert inside.all(), (truth.name, draft.box)
    return by_name


def save_depth(path, counts):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(counts.astype(np.uint16)).save(path)


def save_rgb(path, rgb, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **options)


def quaternion(turn):
    """(w, x, y, z) of a rotation [3, 3], by another way than any reader takes."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(turn).as_quat()
    return [w, x, y, z]
