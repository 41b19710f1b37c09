"""Depth that is not depth, names that mean two files, pictures that their EXIF turns: refused in one line that names
the setting, or read as was asked.
"""

import io
import json

import h5py
import numpy as np
import pytest
from PIL import Image

from data_prep.annotate import build_pipeline
from data_prep.annotate.__main__ import main
from data_prep.pipeline import depth_to_png
from data_prep.sources import BadItem, SourceError, open_source
from data_prep.sources.depth_files import read_depth
from data_prep.sources.first_look import first_look
from data_prep.sources.tfds_source import TfdsImages
from spatial_jax.media import turn_array

SIZE = (64, 48)


def _colour(path, orientation=1, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, exif=exif)
    return pixels


def _store(values, name):
    out = io.BytesIO()
    if name.endswith(".npy"):
        np.save(out, values)
    elif name.endswith(".npz"):
        np.savez(out, depth=values)
    elif name.endswith(".h5"):
        with h5py.File(out, "w") as file:
            file["depth"] = values
    else:
        Image.fromarray(values).save(out, "TIFF" if name.endswith(".tiff") else "PNG")
    return out.getvalue()


def _ramp(low=1000, high=4000, dtype=np.uint16):
    """Farther towards the top, as rooms are."""
    return np.linspace(high, low, SIZE[0] * SIZE[1]).reshape(SIZE[1], SIZE[0]).astype(dtype)


def _source(tmp_path, depth, name="a_depth.png", frame=None, **options):
    _colour(tmp_path / "a.png")
    (tmp_path / name).write_bytes(_store(depth, name))
    if frame is not None:
        entry = {"rgb": "a.png", "depth": name, **frame}
        (tmp_path / "frames.json").write_text(json.dumps({"files": [entry]}))
    return open_source({"source": "rgbd", "path": str(tmp_path), **options})


@pytest.mark.parametrize(
    "depth, name, options, words",
    [
        (_ramp(10, 250, np.uint8), "a_depth.png", {}, "8-bit .* --depth_encoding=inverse"),
        (_ramp(10, 250, np.uint8), "a_depth.png", {"depth_encoding": "inverse"}, "only with --depth_scale"),
        (_ramp(1, 3, np.float32), "a.h5", {}, "does not say what its values are .* --relative"),
        (_ramp() * 8, "a_depth.png", {}, "multiples of 8 .* --convention=sunrgbd"),
        (_ramp(1000, 4000, np.float32), "a_depth.npy", {}, "median of .* --depth_scale=0.001"),
        (_ramp(), "a_depth.png", {"depth_scale": float("nan")}, "depth_scale .* no positive number"),
        (_ramp(1, 4, np.float32), "a_depth.npy", {"depth_encoding": "rotated"}, "only 16-bit files"),
        (_ramp(), "a_depth.png", {"intrinsics": (0.9, 1.2, 0.5, 0.5)}, "relative to the picture's size"),
        (_ramp(), "a_depth.png", {"intrinsics": (60, 60, 32, 24), "intrinsics_unit": "relative"}, "but are pixels"),
    ],
)
def test_what_can_be_no_distance_is_one_line_that_names_the_file_and_the_setting(tmp_path, depth, name, options, words):
    with pytest.raises(BadItem, match=words) as error:
        _source(tmp_path, depth, name, **options).load(0)
    assert "\n" not in str(error.value) and ("a_depth" in str(error.value) or "a." in str(error.value))


def test_a_mask_is_one_of_its_depth_and_is_missed_where_it_should_be(tmp_path):
    """DIODE's: of any type, of the depth's shape (numpy would stretch others), and said where there is none."""
    depth, valid = _ramp(1, 4, np.float32), np.ones((SIZE[1], SIZE[0]))
    valid[:, :32] = 0
    _colour(tmp_path / "a.png", size=SIZE)
    (tmp_path / "a_depth.npy").write_bytes(_store(depth, "a.npy"))

    def load(mask):
        if mask is not None:
            (tmp_path / "a_depth_mask.npy").write_bytes(mask if isinstance(mask, bytes) else _store(mask, "m.npy"))
        options = {"convention": "diode", "intrinsics": (60, 60, 32, 24)}
        return open_source({"source": "rgbd", "path": str(tmp_path), **options}).load(0)

    assert any("no mask file" in note for note in load(None).notes)
    for kind in (bool, np.uint8, np.float32, np.float64):
        frame = load((valid * 255).astype(kind))
        assert not frame.notes and np.array_equal(frame.depth > 0, valid > 0)
    for wrong in (valid[:1], valid[:, :1], valid[:20], np.dstack([valid] * 3), valid[None], b""):
        with pytest.raises(BadItem, match="the mask of a_depth"):
            load(wrong)
    for kind, words in ((bool, "a mask, not depth"), (np.complex64, "complex64"), (np.uint16, "median of")):
        (tmp_path / "a_depth.npy").write_bytes(_store((depth * 1000).astype(kind), "a.npy"))
        with pytest.raises(BadItem, match=words):
            load(valid)


@pytest.mark.parametrize("convention", ["megadepth", "diode"])
def test_what_has_no_partner_is_named(tmp_path, convention):
    """A picture without depth, a depth without picture, two pictures of one depth; nothing of it is silent."""
    mega = convention == "megadepth"
    pictures, depths = ("s/imgs", "s/depths") if mega else ("s", "s")
    for name in ("good.png", "bare.png", *(["good.jpg"] if mega else [])):
        _colour(tmp_path / pictures / name)
    (tmp_path / depths).mkdir(exist_ok=True)
    for name in ("good", "lost"):
        file = f"{name}.h5" if mega else f"{name}_depth.npy"
        (tmp_path / depths / file).write_bytes(_store(_ramp(1, 4, np.float32), file))
    (tmp_path / depths / "good_depth_mask.npy").write_bytes(_store(np.ones((48, 64)), "m.npy"))
    source = open_source({"source": "rgbd", "path": str(tmp_path), "convention": convention})
    said = "\n".join(source.left_out)
    assert len(source) == 1 and "bare.png: no depth file" in said and "lost" in said and "no picture of this" in said
    assert not mega or "good.png: its depth file is that of s/imgs/good.jpg" in said


def test_what_was_asked_for_is_converted(tmp_path):
    near_bright = _ramp(10, 250, np.uint8)[::-1]
    frame = _source(tmp_path, near_bright, depth_encoding="inverse", relative=True).load(0)
    assert frame.depth_flag == "relative" and frame.depth[0, 0] > frame.depth[-1, -1] > 0, "bright is near"
    frame = _source(tmp_path, near_bright, depth_encoding="inverse", depth_scale=0.01).load(0)
    np.testing.assert_allclose(frame.depth, 100.0 / near_bright, rtol=1e-5)
    frame = _source(tmp_path, _ramp(10, 250, np.uint8), depth_scale=0.02).load(0)
    np.testing.assert_allclose(frame.depth, _ramp(10, 250, np.uint8) * 0.02, rtol=1e-5)
    camera = _source(tmp_path, _ramp(), intrinsics=(0.9, 1.2, 0.5, 0.5), intrinsics_unit="relative").load(0).intrinsics
    assert camera == pytest.approx((57.6, 57.6, 32, 24))
    frame = _source(tmp_path, _ramp(), frame={"cam_in": [0.9, 1.2, 0.5, 0.5], "cam_in_unit": "relative"}).load(0)
    assert frame.intrinsics == pytest.approx((57.6, 57.6, 32, 24))


@pytest.mark.parametrize("name", ["a_depth.npy", "a_depth.npz", "a.h5", "a_depth.png"])
def test_the_scale_of_a_list_holds_for_arrays_too(tmp_path, name):
    kind = np.uint16 if name.endswith("png") else np.float32
    frame = _source(tmp_path, _ramp(dtype=kind), name, {"depth_scale": 1000.0}).load(0)
    assert frame.depth.max() == pytest.approx(4.0, rel=1e-3) and frame.provenance["depth_scale"] == "frame list"
    with pytest.raises(BadItem, match="counts values a metre"):
        _source(tmp_path, _ramp(dtype=kind), name, {"depth_scale": 0.001}).load(0)


def test_integers_in_arrays_are_counts_and_floats_in_pictures_are_metres(tmp_path):
    assert _source(tmp_path, _ramp(), "a_depth.npy").load(0).depth.max() == pytest.approx(4.0)
    (tmp_path / "a_depth.npy").unlink()
    assert read_depth(_store(_ramp(1, 4, np.float32), "a.tiff"), "a.tiff", 0.001, stated=False).max() == 4.0


@pytest.mark.parametrize(
    "value, kind", [(0, np.uint16), (65535, np.uint16), (-1, np.int16), (32767, np.int16), (65535, np.int32)]
)
def test_counts_that_mean_nothing_measured(value, kind):
    values = _ramp(1000, 4000, kind)
    values[:10] = value
    depth = read_depth(_store(values, "d.npy"), "d.npy", 0.001)
    assert (depth[:10] == 0).all() and (depth[10:] > 0).all()


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf, -np.inf, 65.535, 655.35, 1e10, 3.4e38, 1000.0])
def test_metres_that_mean_nothing_measured(value):
    values = _ramp(1, 4, np.float32)
    values[:10] = value
    notes = []
    depth = read_depth(_store(values, "d.npy"), "d.npy", 1.0, stated=False, notes=notes)
    assert (depth[:10] == 0).all() and (depth[10:] > 0).all() and depth.max() < 4.0
    assert bool(notes) == (value == 1000.0), "what is only guessed is told"


def test_a_far_wall_of_one_value_stays():
    values = np.full((48, 64), 6.0, np.float32)
    values[20:40, 20:40] = 1.5
    assert (read_depth(_store(values, "d.npy"), "d.npy", 1.0) == values).all()


def test_sun_rgbd_is_read_as_its_tools_read_it(tmp_path):
    metres = _ramp()
    scene = tmp_path / "kv2" / "one"
    _colour(scene / "image" / "7.jpg")
    (scene / "depth_bfx").mkdir()
    Image.fromarray((metres << 3) | (metres >> 13)).save(scene / "depth_bfx" / "other_name.png")
    (scene / "intrinsics.txt").write_text("60 0 32 0 61 24 0 0 1")
    frame = open_source({"source": "rgbd", "path": str(tmp_path), "convention": "sunrgbd"}).load(0)
    np.testing.assert_allclose(frame.depth, metres / 1000, rtol=1e-5)
    assert frame.intrinsics == (60, 61, 32, 24) and frame.item_id == "kv2/one/image/7.jpg"


@pytest.mark.parametrize("orientation", [2, 3, 5, 6, 8])
def test_depth_camera_and_labels_turn_with_the_colour_only_as_said(tmp_path, orientation):
    pixels = _colour(tmp_path / "a.png", orientation)
    depth = _ramp()
    Image.fromarray(depth).save(tmp_path / "a_depth.png")
    label = {"caption": "the mug", "polygon": [[4, 6], [19, 6], [19, 31], [4, 31]], "box": [4, 6, 20, 32]}
    entry = {"rgb": "a.png", "depth": "a_depth.png", "cam_in": [60, 70, 20, 30], "objects": [label]}
    (tmp_path / "frames.json").write_text(json.dumps({"files": [entry]}))
    spec = {"source": "rgbd", "path": str(tmp_path)}
    with pytest.raises(BadItem, match=r"a\.png is turned by its EXIF .* --registered=stored"):
        open_source(spec).load(0)
    frame = open_source({**spec, "registered": "stored"}).load(0)
    np.testing.assert_array_equal(frame.rgb, turn_array(pixels, orientation))
    np.testing.assert_allclose(frame.depth, turn_array(depth, orientation) / 1000, rtol=1e-5)
    spot = np.zeros((48, 64), bool)
    spot[30, 20] = True  # the camera's middle
    row, column = np.argwhere(turn_array(spot, orientation))[0]
    assert frame.intrinsics[2:] == (column, row)
    assert frame.intrinsics[:2] == ((70, 60) if orientation >= 5 else (60, 70))
    rows, columns = np.nonzero(frame.objects[0].mask)
    assert frame.objects[0].box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    if orientation >= 5:
        Image.fromarray(turn_array(depth, orientation)).save(tmp_path / "a_depth.png")
        entry["objects"] = []
        (tmp_path / "frames.json").write_text(json.dumps({"files": [entry]}))
        assert open_source(spec).load(0).intrinsics == (60, 70, 20, 30), "a shape that only the upright picture has"


def test_lists_are_keyed_by_path_and_names_that_mean_two_files_are_refused(tmp_path):
    for scene, counts in (("scene0", 1000), ("scene1", 500)):
        _colour(tmp_path / scene / "rgb" / "0.png")
        (tmp_path / scene / "depth").mkdir()
        Image.fromarray(_ramp(counts, 2 * counts)).save(tmp_path / scene / "depth" / "0.png")
        Image.new("L", SIZE, 255 if scene == "scene0" else 0).save(tmp_path / scene / "m.png")

    def entry(scene, counts, focal):
        label = {"caption": f"of {scene}", "mask": f"{scene}/m.png"} if scene == "scene0" else None
        return {
            "rgb": f"{scene}/rgb/0.png",
            "depth": f"{scene}/depth/0.png",
            "cam_in": [focal, focal, 31, 23],
            "depth_scale": counts,
            "objects": [label] if label else [],
        }

    def listed(*entries, name="frames.json"):
        (tmp_path / name).write_text(json.dumps({"files": entries}))
        return open_source({"source": "rgbd", "path": str(tmp_path)})

    source = listed(entry("scene0", 1000, 60), entry("scene1", 500, 90))
    first, second = source.load(0), source.load(1)
    assert (first.item_id, second.item_id) == ("scene0/rgb/0.png", "scene1/rgb/0.png")
    assert (first.intrinsics[0], second.intrinsics[0]) == (60, 90)
    assert first.depth.max() == pytest.approx(2.0) and second.depth.max() == pytest.approx(2.0)
    assert [o.caption for o in first.objects] == ["of scene0"] and second.objects == []
    with pytest.raises(SourceError, match=r"0\.png could be scene0/rgb/0\.png or scene1/rgb/0\.png"):
        listed({**entry("scene0", 1000, 60), "rgb": "0.png"})
    with pytest.raises(SourceError, match=r"far/scene0/rgb/0\.png and scene0/rgb/0\.png .* both mean"):
        listed({**entry("scene0", 1000, 60), "rgb": "far/scene0/rgb/0.png"}, entry("scene0", 1000, 70))
    with pytest.raises(SourceError, match="none of its 1 pictures is there"):
        listed(entry("scene7", 1000, 60))
    source = listed(entry("scene0", 1000, 60), entry("scene7", 1000, 60))
    assert "1 of its 2 pictures are not there, e.g. scene7/rgb/0.png" in first_look(source)[0]
    (tmp_path / "frames.json").unlink()
    for scene, focal in (("scene0", 61), ("scene1", 91)):  # a list in each scene's own folder
        own = {**entry(scene, 1000, focal), "rgb": "rgb/0.png", "depth": "depth/0.png", "objects": []}
        listed(own, name=f"{scene}/frames.json")
    source = open_source({"source": "rgbd", "path": str(tmp_path)})
    assert [source.load(i).intrinsics[0] for i in range(2)] == [61, 91]


@pytest.mark.parametrize(
    "depth, options, words",
    [
        (_ramp(), {"depth_scale": 0.1}, "median depth is 250 m"),
        (_ramp(8000, 30000), {}, "beyond 10 m"),
        (_ramp()[::-1], {}, "near and far swapped"),
        (_ramp(), {"intrinsics": (60.0, 60.0, 120.0, 90.0)}, "of another size"),
        (_ramp(), {"intrinsics": (900.0, 900.0, 32.0, 24.0)}, "would see 4 degrees"),
        (_ramp(), {}, "counts taken as millimetres"),
    ],
)
def test_the_first_frames_warn_of_what_hardly_can_be(tmp_path, capsys, depth, options, words):
    source = _source(tmp_path, depth, intrinsics=options.pop("intrinsics", None), **options)
    lines = first_look(source)
    assert any(words in line for line in lines) and not any("\n" in line for line in lines)


def test_a_sound_source_says_nothing_and_annotate_prints_what_is_strange(tmp_path, capsys):
    source = _source(tmp_path, _ramp(), depth_scale=0.001, intrinsics=(60.0, 60.0, 32.0, 24.0))
    assert first_look(source) == []
    arguments = ["--source=rgbd", f"--path={tmp_path}", f"--out={tmp_path / 'out'}", "--depth_scale=0.1"]
    assert main(arguments) == 0
    assert "warning: a.png: its median depth is 250 m; is --depth_scale" in capsys.readouterr().out


def test_a_wrong_scale_puts_the_camera_too_high_above_the_floor(tmp_path):
    rows = np.mgrid[:48, :64][0]
    below = np.maximum(rows - 20, 0.5) / 60  # a level floor 1.5 m under a level camera
    depth = np.where(rows > 24, 1.5 / below, 8.0)
    counts = (np.minimum(depth, 8.0) * 1000).astype(np.uint16)
    options = {"intrinsics": (60.0, 60.0, 31.5, 20.0)}
    assert first_look(_source(tmp_path, counts, depth_scale=0.001, **options)) == []
    lines = first_look(_source(tmp_path, counts, depth_scale=0.01, **options))
    assert any("14 m above" in line or "15 m above" in line for line in lines)


def test_an_exif_focal_length_is_of_the_whole_picture():
    from data_prep.sources.pictures import open_picture

    def opened(size, stated=None):
        exif = Image.Exif()
        tags = exif.get_ifd(0x8769)
        tags[0xA405] = 28
        if stated:
            tags[0xA002], tags[0xA003] = stated
        out = io.BytesIO()
        Image.new("RGB", size).save(out, "JPEG", exif=exif)
        return open_picture(out.getvalue())

    whole = opened((800, 600)).exif_intrinsics()[0]
    assert whole == pytest.approx(28 * 1000 / 43.2666)
    assert opened((800, 600), (4000, 3000)).exif_intrinsics()[0] == pytest.approx(whole), "resizing changes no angle"
    for case in (((600, 600),), ((800, 300),), ((800, 600), (4000, 2000)), ((800, 600), (400, 300))):
        cut = opened(*case)
        assert cut.exif_intrinsics() is None and any("focal length is not used" in note for note in cut.notes)


def test_a_list_says_what_is_hidden_complete_and_estimated(tmp_path):
    box = {"caption": "the mug", "box": [4, 6, 20, 32]}
    objects = [box, {**box, "occluded": True}, {**box, "truncated": True}, {**box, "visible": 0.8}]
    frame = {"depth_scale": 1000, "objects": objects, "complete": True, "depth_from": "estimated"}
    found = _source(tmp_path, _ramp(), frame=frame).load(0)
    assert [thing.visible_fraction for thing in found.objects] == [1.0, 0.5, 0.5, 0.8]
    assert found.meta["complete"] is True and found.objects[1].provenance["occluded"] is True
    assert found.depth_noise.bias == 0.1 and found.provenance["depth_from"] == "estimated"
    plain = {"depth_scale": 1000}
    assert _source(tmp_path, _ramp(), frame=plain).load(0).depth_noise.bias < 0.05
    assert _source(tmp_path, _ramp(), frame=plain, depth_from="estimated").load(0).depth_noise.bias == 0.1
    stated = _source(tmp_path, _ramp(), frame=plain, depth_noise={"constant": 0.0, "linear": 0.02, "bias": 0.07})
    assert stated.load(0).depth_noise.bias == 0.07
    for bad, words in (
        ({"objects": [{**box, "occluded": "yes"}]}, "true or false"),
        ({"objects": [{**box, "visible": 7}]}, "not a share"),
        ({"complete": "yes"}, "complete .* true or false"),
        ({"depth_from": "guess"}, "depth_from .* sensor, estimated"),
    ):
        with pytest.raises(BadItem, match=words):
            _source(tmp_path, _ramp(), frame={**plain, **bad}).load(0)


def test_labels_without_depth_are_kept(tmp_path):
    for name in ("a.png", "b.png"):
        _colour(tmp_path / name)
    Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), ((30, 10), (40, 16)))).save(tmp_path / "m.png")
    (tmp_path / "annotations.json").write_text('{"images": []}')
    labels = [{"caption": "the mug", "mask": "m.png"}, {"caption": "the lamp", "box": [4, 6, 20, 32]}]
    entry = {"rgb": "a.png", "complete": True, "cam_in": [60, 60, 32, 24], "objects": labels}
    (tmp_path / "frames.json").write_text(json.dumps({"files": [entry]}))
    source = open_source({"source": "folder", "path": str(tmp_path)})
    assert [source.item_id(k) for k in range(len(source))] == ["a.png", "b.png"], "a mask is no photo"
    record = build_pipeline({"source": "folder", "path": str(tmp_path)}).record(0)
    assert [o.box for o in record.objects] == [(40, 30, 48, 38), (4, 6, 20, 32)]
    assert json.loads(record.meta)["complete"] is True and record.intrinsics == (60, 60, 32, 24)
    assert source.load(1).objects == []
    small = open_source({"source": "folder", "path": str(tmp_path), "max_side": 32}).load(0)
    assert small.objects[1].box == (2, 3, 10, 16) and small.objects[0].mask.sum() == 16
    assert small.intrinsics == (30, 30, 16, 12)
    _colour(tmp_path / "a.png", 6)
    with pytest.raises(BadItem, match=r"turned by its EXIF .* frames\.json"):
        source.load(0)
    (tmp_path / "frames.json").write_text(json.dumps({"files": [{**entry, "registered": "stored"}]}))
    turned = open_source({"source": "folder", "path": str(tmp_path)}).load(0)
    assert (turned.width, turned.height) == (48, 64) and turned.objects[1].box == (16, 4, 42, 20)


def test_a_tfds_picture_that_its_exif_turns_has_no_depth_to_trust(tmp_path):
    _colour(tmp_path / "a.png", 3)
    source = TfdsImages.__new__(TfdsImages)
    source.dataset, source.split, source.image, source.group, source.metric = "mine", "train", "image", "", True
    source.data = [{"image": (tmp_path / "a.png").read_bytes(), "depth": _ramp(1, 4, np.float32)}]
    with pytest.raises(BadItem, match="turned by its EXIF"):
        source.load(0)
    _colour(tmp_path / "a.png")
    sunk = _ramp(1, 4, np.float32)
    sunk[:10] = 65.535
    source.data = [{"image": (tmp_path / "a.png").read_bytes(), "depth": sunk}]
    depth = source.load(0).depth
    assert (depth[:10] == 0).all() and (depth[10:] > 0).all()


def test_depth_up_to_scale_keeps_its_steps_however_small_its_unit():
    for unit in (1e-5, 1e-3, 1.0, 30.0):
        depth = unit * np.linspace(1, 4, 480, dtype=np.float64).reshape(16, 30)
        data, scale = depth_to_png(depth)
        stored = np.asarray(Image.open(io.BytesIO(data))) * scale
        np.testing.assert_allclose(stored, depth, atol=depth.max() / 1900, rtol=0)
    assert depth_to_png(np.zeros((2, 2)))[1] == depth_to_png(2 * np.ones((2, 2)))[1] == 0.001
