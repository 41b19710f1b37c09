"""Points marked on pictures that have depth and no labels: where they lie, what is drawn, what is asked about them."""

import math
import random

import numpy as np
from PIL import Image

from data_prep.annotate.points import Points, choose_points, smooth_places
from data_prep.pipeline import to_record
from data_prep.sources import DepthNoise, Frame, ObjectDraft, open_source
from data_prep.synthesis import Options, choose_families
from data_prep.synthesis.view import SceneView

HEIGHT, WIDTH = 240, 320


def slope():
    """A wall that leads away to the right, with a post before it."""
    depth = np.broadcast_to(np.linspace(2.0, 6.0, WIDTH), (HEIGHT, WIDTH)).astype(np.float32).copy()
    depth[:, 150:160] = 1.0
    return depth


def photo(depth=None, **more):
    rgb = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    noise = DepthNoise(linear=0.005)
    frame = Frame("a.png", "t", rgb, depth=slope() if depth is None else depth, depth_flag="metric", depth_noise=noise)
    frame.intrinsics, frame.intrinsics_source = (300.0, 300.0, 159.5, 119.5), "exif"
    for name, value in more.items():
        setattr(frame, name, value)
    return frame


def test_points_lie_on_smooth_surfaces_far_apart_and_are_drawn():
    frame = photo()
    Points(4)(frame)
    assert [t.caption for t in frame.objects] == ["point A", "point B", "point C", "point D"]
    middles = [((t.box[0] + t.box[2] - 1) / 2, (t.box[1] + t.box[3] - 1) / 2) for t in frame.objects]
    for t, (x, y) in zip(frame.objects, middles):
        assert abs(t.depth["median"] - slope()[int(y), int(x)]) < 0.06 and not 140 < x < 170
        z = t.depth["median"]
        assert np.allclose(t.center, [(x - 159.5) / 300 * z, (y - 119.5) / 300 * z, z], atol=1e-3)
        assert (frame.rgb[int(t.box[1]) : int(t.box[3]), int(t.box[0]) : int(t.box[2])] != 90).any()
    assert min(math.dist(a, b) for a in middles for b in middles if a != b) >= 0.2 * math.hypot(WIDTH, HEIGHT)
    again = photo()
    Points(4)(again)
    assert (again.rgb == frame.rgb).all() and again.encoded == frame.encoded


def test_depth_and_distance_of_points_are_asked():
    frame = photo()
    Points(4)(frame)
    view, options = SceneView(to_record(frame), Options(pool=24)), Options(pool=24)
    asked = {
        f.name: list(f.generate(view, random.Random(0), options))
        for f in choose_families("abs_depth,distance,depth_order2,size")
    }
    assert asked["abs_depth"] and asked["depth_order2"] and asked["distance"] and not asked["size"]
    centers = {t.caption: t.center for t in frame.objects}
    for d in asked["distance"]:
        if d.form.name == "center":
            a, b = (centers[t.caption] for t in d.objects)
            assert abs(float(d.answer) - math.dist(a, b)) < 0.02


def test_pictures_with_objects_or_without_a_smooth_place_get_no_points():
    labelled = photo(objects=[ObjectDraft("mug", "mug", box=(5, 5, 50, 50))])
    Points(3)(labelled)
    assert [t.name for t in labelled.objects] == ["mug"] and (labelled.rgb == 90).all()
    rough = np.random.default_rng(0).uniform(1, 5, (HEIGHT, WIDTH)).astype(np.float32)
    assert not len(smooth_places(rough, 5)) and not choose_points(rough, 3, 5, np.random.default_rng(0))
    frame = photo(rough)
    Points(3)(frame)
    assert not frame.objects and list(frame.told.values()) == [1]
    flat = photo(intrinsics=None)
    Points(3)(flat)
    assert all(t.center is None for t in flat.objects) and len(flat.objects) == 3


def test_depth_beside_a_photo_takes_its_lens_from_exif(tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {0xA405: 28, 0xA002: 640, 0xA003: 480}
    Image.new("RGB", (640, 480)).save(tmp_path / "a.jpg", exif=exif)
    Image.fromarray(np.full((480, 640), 2000, np.uint16)).save(tmp_path / "a_depth.png")
    frame = open_source({"source": "rgbd", "path": str(tmp_path), "convention": "generic"}).load(0)
    assert frame.intrinsics_source == "exif" and abs(frame.intrinsics[0] - 28 * 800 / 43.2666) < 0.1
    assert frame.shared()["focal"] == 0.03 and "28 mm" in frame.provenance["intrinsics"]
