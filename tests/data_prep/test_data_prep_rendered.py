"""Rendered scenes: the picture, depth and masks agree with the closed form of every solid; any scene alone is
reproducible.
"""

import hashlib

import numpy as np
import pytest

from data_prep.geometry import unproject
from data_prep.sources import SourceError, split_of
from data_prep.sources.catalogue import KINDS, build
from data_prep.sources.primitives import bounds, box, ellipsoid, frustum, intersect, normals
from data_prep.sources.rendered import RenderedScenes


def _surface(solid, points):
    """How far each point [3, n] is from the solid's surface, 0 on it, in the solid's own implicit form."""
    p = points - np.array(solid.center)[:, None]
    half = np.array(solid.half)[:, None]
    if solid.kind == "box":
        return np.abs(np.abs(p / half).max(0) - 1)
    if solid.kind == "ellipsoid":
        return np.abs(np.sqrt(((p / half) ** 2).sum(0)) - 1)
    length = solid.half[solid.axis]
    along = p[solid.axis]
    across = np.sqrt((p**2).sum(0) - along**2)
    radius = (solid.low + solid.high) / 2 + (solid.high - solid.low) / (2 * length) * along
    return np.minimum(np.abs(across - radius), np.abs(np.abs(along) - length) + np.maximum(0, across - radius))


@pytest.mark.parametrize(
    "solid",
    [
        ellipsoid((0.1, 0, 0.3), (0.3, 0.2, 0.4)),
        box((0, 0.1, 0.2), (0.5, 0.3, 0.4)),
        frustum((0, 0, 0.5), 1.0, 0.3, 0.3),
        frustum((0, 0, 0.5), 1.0, 0.4, 0.0),
        frustum((0.1, 0, 0.2), 0.6, 0.1, 0.3),
        frustum((0, 0, 0.2), 0.5, 0.2, 0.1, axis=0),
    ],
)
def test_rays_hit_surfaces_where_a_march_along_the_ray_first_enters(solid):
    rng = np.random.default_rng(0)
    origin = np.array([2.0, -1.5, 1.2])
    aim = np.array(solid.center)[:, None] + rng.normal(0, 0.3, (3, 400))
    direction = (aim - origin[:, None]).astype(np.float32)
    with np.errstate(all="ignore"):
        t = intersect(solid, tuple(origin), tuple(direction))
        shared = intersect(solid, tuple(np.float32(o) + 0 * direction[0] for o in origin), tuple(direction))
    np.testing.assert_allclose(t, shared, atol=1e-4)
    hit = np.isfinite(t)
    assert 0.1 < hit.mean() < 1
    points = origin[:, None] + direction[:, hit] * t[hit]
    assert _surface(solid, points).max() < 2e-3
    normal, _ = normals(solid, points.astype(np.float32))
    assert ((normal * direction[:, hit]).sum(0) < 1e-3).all(), "an entering ray meets a face that looks towards it"
    steps = np.linspace(0, 2, 2000)
    for i in range(0, 400, 10):  # brute force: the first sample inside the solid
        path = origin[:, None] + direction[:, i : i + 1] * steps
        inside = _inside(solid, path)
        if inside.any():
            assert abs(steps[np.argmax(inside)] - t[i]) < 3e-3


def _inside(solid, points):
    p = points - np.array(solid.center)[:, None]
    half = np.array(solid.half)[:, None]
    if solid.kind == "box":
        return (np.abs(p) <= half).all(0)
    if solid.kind == "ellipsoid":
        return ((p / half) ** 2).sum(0) <= 1
    along = p[solid.axis]
    across = np.sqrt(np.maximum(0, (p**2).sum(0) - along**2))
    radius = (solid.low + solid.high) / 2 + (solid.high - solid.low) / (2 * solid.half[solid.axis]) * along
    return (np.abs(along) <= solid.half[solid.axis]) & (across <= radius)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_thing_stands_on_the_floor_and_is_centred(kind):
    low, high = bounds(build(kind, 0.5, np.random.default_rng(1)))
    np.testing.assert_allclose([low[2], low[0] + high[0], low[1] + high[1]], 0, atol=1e-9)
    assert (high > 0.02).all()


@pytest.mark.parametrize("preset, size", [("plain", 0), ("clear", 0), ("rich", 160)])
def test_depth_of_every_object_lies_in_its_exact_box_and_on_its_surface(preset, size):
    source = RenderedScenes(preset, 4, 7, size, size)
    for index in range(4):
        room, drawn, things = source.draw(index)
        frame = source.load(index)
        for body_index, thing in things:
            cloud = unproject(frame.depth, frame.intrinsics, thing.mask)
            local = (cloud - thing.center) @ thing.rotation
            assert (np.abs(local) <= thing.extent / 2 + 2e-3).all()
            body = room.bodies[body_index]
            world = cloud @ room.camera.rotation + room.camera.position
            own = ((world - body.position) @ body.turn).T
            distance = np.min([_surface(s, own) for s in body.solids], axis=0)
            assert np.quantile(distance, 0.99) < 0.02
        np.testing.assert_allclose(np.linalg.norm(frame.gravity), 1, atol=1e-9)
        floor = unproject(frame.depth, frame.intrinsics, drawn.owner < 0)
        heights = floor @ frame.floor[:3] + frame.floor[3]
        assert heights.min() > -2e-3 and (np.abs(heights) < 2e-3).mean() > 0.1
        np.testing.assert_allclose(frame.floor[:3], -frame.gravity)


def test_captions_are_unique_masks_disjoint_and_visible():
    for preset, size in (("plain", 0), ("rich", 128)):
        source = RenderedScenes(preset, 12, 3, size, size)
        for index in range(12):
            frame = source.load(index)
            captions = [o.caption for o in frame.objects]
            assert len(set(captions)) == len(captions)
            assert all(o.name in o.caption for o in frame.objects)
            total = np.sum([o.mask for o in frame.objects], axis=0)
            assert total.max() <= 1
            assert all(o.visible_fraction >= 0.35 and o.mask.sum() >= 24 for o in frame.objects)
            assert source.preset.objects[0] <= len(captions) <= source.preset.objects[1]


def test_a_scene_is_the_same_alone_in_any_order_and_differs_by_seed():
    def digest(source, index):
        return hashlib.sha256(source.load(index).rgb.tobytes()).hexdigest()

    first, again = RenderedScenes("plain", 10, 5), RenderedScenes("plain", 1000, 5)
    forward = [digest(first, i) for i in range(4)]
    assert [digest(again, i) for i in (3, 1, 0, 2)] == [forward[i] for i in (3, 1, 0, 2)]
    assert len(set(forward)) == 4
    assert digest(RenderedScenes("plain", 10, 6), 0) != forward[0]


def test_neither_size_in_the_picture_nor_place_gives_depth_away():
    source = RenderedScenes("plain", 80, 1)
    right = {"bigger": [], "lower": []}
    for index in range(80):
        frame = source.load(index)
        seen = []
        for thing in frame.objects:
            rows = np.flatnonzero(thing.mask.any(1))
            seen.append((float(np.median(frame.depth[thing.mask])), rows[-1] - rows[0], rows[-1]))
        for i, a in enumerate(seen):
            for b in seen[:i]:
                if max(a[0], b[0]) > 1.15 * min(a[0], b[0]):
                    right["bigger"].append((a[0] < b[0]) == (a[1] > b[1]))
                    right["lower"].append((a[0] < b[0]) == (a[2] > b[2]))
    assert np.mean(right["bigger"]) < 0.87 and np.mean(right["lower"]) < 0.9, (
        "a big far thing beside a small near one must occur"
    )
    assert np.mean(right["bigger"]) > 0.55, "and perspective must still be a clue"


def test_split_is_by_hash_and_about_a_tenth():
    share = np.mean([split_of(f"rendered-plain-0-{i:06d}") == "heldout" for i in range(4000)])
    assert 0.08 < share < 0.12
    assert split_of("a", 0) == "train" and split_of("a", 100) == "heldout"


@pytest.mark.parametrize(
    "arguments, words", [({"preset": "fancy"}, "choose one of plain, clear, rich"), ({"count": 0}, "--count")]
)
def test_wrong_options_are_named(arguments, words):
    with pytest.raises(SourceError, match=words):
        RenderedScenes(**arguments)
