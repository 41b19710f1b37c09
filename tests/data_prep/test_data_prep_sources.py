"""Folders, stereo, RGB-D conventions, videos and TFDS datasets: ids, geometry, units, splits, and one line for each
thing wrong.
"""

import io
import json

import numpy as np
import pytest
from PIL import Image

from data_prep.annotate import build_pipeline
from data_prep.geometry import unproject
from data_prep.sources import BadItem, SourceError, open_source
from data_prep.sources.rgbd import read_depth
from data_prep.sources.stereo import depth_from_disparity


def _png(array):
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def _frame(folder, colour, depth, counts, size=(64, 48)):
    """A colour picture and a depth file that says 2 m everywhere but for a hole."""
    rgb = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    (folder / colour).parent.mkdir(parents=True, exist_ok=True)
    (folder / depth).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(folder / colour)
    values = np.full((size[1], size[0]), 2.0 * counts)
    values[20, 30] = 0
    if depth.endswith(".npy"):
        np.save(folder / depth, values[..., None].astype(np.float32))
    elif depth.endswith(".npz"):
        np.savez(folder / depth, depth_m=values.astype(np.float32), mask=(values > 0).astype(np.uint8))
    else:
        Image.fromarray(values.astype(np.uint16)).save(folder / depth)


@pytest.mark.parametrize(
    "convention, colour, depth, counts",
    [
        ("tum", "rgb/17.5.png", "depth/17.5.png", 5000),
        ("tum", "1.png", "1_depth.png", 5000),
        ("nyu", "rgb_00050.jpg", "sync_depth_00050.png", 1000),
        ("kitti", "0005.rgb.png", "0005.depth.png", 256),
        ("kitti", "image/7.png", "groundtruth_depth/7.png", 256),
        ("diode", "scene/s_1.png", "scene/s_1_depth.npy", 1),
        ("generic", "rgb/a.png", "depth/a.png", 1000),
        ("generic", "a.jpg", "a_depth.npz", 1),
        ("generic", "img3.png", "depth3.npy", 1),
    ],
)
def test_conventions_pair_files_and_give_metres(tmp_path, convention, colour, depth, counts):
    _frame(tmp_path, colour, depth, counts)
    source = open_source(
        {"source": "rgbd", "path": str(tmp_path), "convention": convention, "intrinsics": (60.0, 60.0, 31.5, 23.5)}
    )
    assert len(source) == 1 and source.item_id(0) == colour
    frame = source.load(0)
    assert frame.depth_flag == "metric" and frame.depth.dtype == np.float32 and frame.intrinsics_source == "sensor"
    valid = frame.depth > 0
    np.testing.assert_allclose(frame.depth[valid], 2.0)
    assert not valid[20, 30] and valid[24, 40]
    np.testing.assert_allclose(unproject(frame.depth, frame.intrinsics)[:, 2], 2.0)
    assert frame.depth_noise.sigma(np.array(2.0)) > 0


def test_a_list_of_frames_overrides_camera_and_scale_and_relative_stays_relative(tmp_path):
    _frame(tmp_path, "rgb_1.jpg", "sync_depth_1.png", 500)
    entry = {"rgb": "x/rgb_1.jpg", "depth": "x/sync_depth_1.png", "cam_in": [70, 71, 30, 20], "depth_scale": 500.0}
    (tmp_path / "test_annotations.json").write_text(json.dumps({"files": [entry]}))
    frame = open_source({"source": "rgbd", "path": str(tmp_path), "convention": "nyu"}).load(0)
    assert frame.intrinsics == (70, 71, 30, 20) and frame.depth[frame.depth > 0].max() == pytest.approx(2.0)
    assert (frame.depth[:10] == 0).all(), "NYU's white border is not depth"
    assert (
        open_source({"source": "rgbd", "path": str(tmp_path), "convention": "nyu", "relative": True}).load(0).depth_flag
        == "relative"
    )


def test_a_list_of_frames_names_objects_by_polygon_mask_or_box(tmp_path):
    _frame(tmp_path, "a.png", "a_depth.png", 1000)
    (tmp_path / "m.png").write_bytes(_png(np.pad(np.full((8, 8), 255, np.uint8), ((30, 10), (40, 16)))))
    objects = [
        {"caption": "the red mug", "name": "mug", "polygon": [[4, 26], [19, 26], [19, 41], [4, 41]]},
        {"caption": "the box", "mask": "m.png"},
        {"caption": "the far lamp", "box": [50, 0, 60, 10]},
    ]
    (tmp_path / "frames.json").write_text(
        json.dumps(
            {"files": [{"rgb": "a.png", "depth": "a_depth.png", "cam_in": [60, 60, 32, 24], "objects": objects}]}
        )
    )
    spec = {"source": "rgbd", "path": str(tmp_path)}
    drafts = open_source(spec).load(0).objects
    assert (
        [d.name for d in drafts] == ["mug", "the box", "the far lamp"]
        and drafts[0].mask.sum() == 256
        and drafts[1].mask.sum() == 64
    )
    record = build_pipeline(spec)(0)
    assert record.kind == "record" and record.objects == 3, record.reason
    before = open_source(spec).config()["files"]
    for bad, words in (
        ({"caption": "x"}, "neither mask"),
        ({"caption": "x", "mask": "none.png"}, "FileNotFound"),
        ({"box": [0, 0, 5, 5]}, "caption"),
        ({"caption": "x", "box": [0, 0, 500, 5]}, "outside"),
        ({"caption": "x", "polygon": [[900, 900], [901, 900], [901, 901]]}, "empty"),
    ):
        listed = {"files": [{"rgb": "a.png", "depth": "a_depth.png", "cam_in": [60, 60, 32, 24], "objects": [bad]}]}
        (tmp_path / "frames.json").write_text(json.dumps(listed))
        outcome = build_pipeline(spec)(0)
        assert outcome.kind == "failed" and words in outcome.reason and "\n" not in outcome.reason
    assert open_source(spec).config()["files"] != before, "other labels are another dataset"


def test_the_stored_camera_follows_the_pictures_size_or_is_refused(tmp_path):
    _frame(tmp_path, "1.png", "1_depth.png", 5000, (320, 240))
    assert open_source({"source": "rgbd", "path": str(tmp_path), "convention": "tum"}).load(0).intrinsics == (
        262.5,
        262.5,
        159.75,
        119.75,
    )
    _frame(tmp_path, "1.png", "1_depth.png", 5000, (300, 240))
    with pytest.raises(BadItem, match="give --intrinsics"):
        open_source({"source": "rgbd", "path": str(tmp_path), "convention": "tum"}).load(0)


def test_tum_sequences_are_paired_by_time(tmp_path):
    for colour, depth in (("1.00", "1.01"), ("1.03", "1.04"), ("2.00", "2.50")):
        _frame(tmp_path, f"rgb/{colour}.png", f"depth/{depth}.png", 5000)
    (tmp_path / "rgb.txt").write_text("# stamps\n1.00 rgb/1.00.png\n1.03 rgb/1.03.png\n2.00 rgb/2.00.png\n")
    (tmp_path / "depth.txt").write_text("# stamps\n1.01 depth/1.01.png\n1.04 depth/1.04.png\n2.50 depth/2.50.png\n")
    source = open_source(
        {"source": "rgbd", "path": str(tmp_path), "convention": "tum", "intrinsics": (60.0, 60.0, 31.5, 23.5)}
    )
    assert source.pairs == [
        ("rgb/1.00.png", "depth/1.01.png"),
        ("rgb/1.03.png", "depth/1.04.png"),
    ], "half a second apart is no pair"
    assert source.load(0).split_key == f"{tmp_path.name}/rgb" == source.load(1).split_key


@pytest.mark.parametrize(
    "name, text",
    [
        (
            "calib_cam_to_cam.txt",
            "calib_time: 09-Jan-2012\nP_rect_02: 7.2e+02 0 6.1e+02 4.5e+01 0 7.3e+02 1.7e+02 -1e-01 0 0 1 4.9e-03\n",
        ),
        ("drive/intrinsics/7.txt", "720 0 610 0 730 170 0 0 1"),
    ],
)
def test_kitti_cameras_come_from_the_calibration(tmp_path, name, text):
    _frame(tmp_path, "drive/image/7.png", "drive/groundtruth_depth/7.png", 256)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text)
    assert open_source({"source": "rgbd", "path": str(tmp_path), "convention": "kitti"}).load(0).intrinsics == (
        720,
        730,
        610,
        170,
    )


def _two_metres(value=2000):
    return np.full((48, 64), value, np.uint16)


@pytest.mark.parametrize(
    "depth, options, words",
    [
        (_png(_two_metres(0)), {}, "no valid depth"),
        (_png(_two_metres()[:40]), {}, "must be registered"),
        (b"garbage", {}, "cannot be decoded"),
        (_png(np.zeros((48, 64, 3), np.uint8)), {}, "is a colour picture"),
        (_png(_two_metres()), {"intrinsics": (-5.0, 60.0, 31.5, 23.5)}, "focal length that is not positive"),
        (_png(_two_metres()), {"intrinsics": (float("nan"), 60.0, 31.5, 23.5)}, "focal length that is not positive"),
    ],
)
def test_broken_depth_and_cameras_cost_the_frame_one_line(tmp_path, depth, options, words):
    _frame(tmp_path, "a.png", "a_depth.png", 1000)
    (tmp_path / "a_depth.png").write_bytes(depth)
    outcome = build_pipeline({"source": "rgbd", "path": str(tmp_path), **options})(0)
    assert outcome.kind == "failed" and words in outcome.reason and "\n" not in outcome.reason


def test_nan_and_negative_depth_is_invalid_not_fatal():
    out = io.BytesIO()
    np.save(out, np.array([[np.nan, -1.0, np.inf, 2.0]], np.float32))
    np.testing.assert_array_equal(read_depth(out.getvalue(), "d.npy", 1.0), [[0, 0, 0, 2]])
    with pytest.raises(BadItem, match="cannot be decoded"):
        np.save(out := io.BytesIO(), np.array([{"code": 1}], object), allow_pickle=True)
        read_depth(out.getvalue(), "d.npy", 1.0)


def test_stereo_pair_is_metric():
    source = open_source({"source": "stereo"})
    frame = source.load(0)
    assert frame.rgb.shape == (500, 741, 3) and frame.depth_flag == "metric"
    valid = frame.depth[frame.depth > 0]
    assert 1.5 < valid.min() < 2.2 and 3 < valid.max() < 8 and len(valid) > 0.6 * frame.depth.size
    np.testing.assert_allclose(
        depth_from_disparity(np.array([[68.914, 0, np.inf]]), 994.978, 0.193001, 31.086)[0], [1.9203, 0, 0], rtol=1e-4
    )
    record = build_pipeline({"source": "stereo"}).record(0)
    height = record.floor[3]
    assert 0.7 < height < 1.4 and record.gravity[1] > 0.9, "the camera stands about a metre above the garage's floor"


def test_package_photos_are_real_pictures_with_stable_ids_and_views_of_one_scene_share_a_split():
    source = open_source({"source": "folder", "path": "package:skimage,sklearn"})
    ids = [source.item_id(i) for i in range(len(source))]
    assert {"skimage/astronaut.png", "skimage/coffee.png", "sklearn/china.jpg"} <= set(ids) and len(ids) >= 8
    keys = {i: source.load(n).split_key for n, i in enumerate(ids) if "motorcycle" in i}
    assert set(keys.values()) == {"skimage/motorcycle"} == {open_source({"source": "stereo"}).load(0).split_key}


def test_copies_of_a_photo_share_a_split_and_ids_are_relative_paths(tmp_path):
    (tmp_path / "a").mkdir()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8))
    image.save(tmp_path / "a" / "one.png")
    image.save(tmp_path / "two.png", compress_level=1)
    pipeline = build_pipeline({"source": "folder", "path": str(tmp_path), "heldout_percent": 50})
    records = [pipeline.record(i) for i in range(2)]
    assert [r.scene_id for r in records] == ["a/one.png", "two.png"]
    assert records[0].content_hash == records[1].content_hash and records[0].split == records[1].split


def test_video_frames_at_fixed_times_share_a_split(tmp_path):
    import av

    with av.open(str(tmp_path / "clip.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(25):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.full((64, 96, 3), 10 * k, np.uint8), "rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    source = open_source({"source": "video", "path": str(tmp_path), "every": 1.0})
    assert [source.item_id(i) for i in range(len(source))] == [
        "broken.mp4#t=0.000",
        "clip.mp4#t=0.000",
        "clip.mp4#t=1.000",
        "clip.mp4#t=2.000",
    ]
    with pytest.raises(BadItem, match="cannot be opened as a video"):
        source.load(0)
    frames = [source.load(i) for i in (1, 2, 3)]
    assert [round(float(f.rgb.mean()) / 10) for f in frames] == [0, 10, 20]
    assert {f.split_key for f in frames} == {"clip.mp4"} and frames[1].meta["time"] == 1.0
    with pytest.raises(SourceError, match="--every"):
        open_source({"source": "video", "path": str(tmp_path), "every": 0.0})


def test_tfds_datasets_with_and_without_depth(tmp_path):
    import tensorflow_datasets as tfds

    from data_prep.writer import Serializer

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "depth": tfds.features.Tensor(shape=(48, 64), dtype=np.float32, encoding="zlib"),
            "scene": tfds.features.Text(),
        }
    )
    from array_record.python import array_record_module

    serialize = Serializer(features)
    writer = array_record_module.ArrayRecordWriter(
        str(tmp_path / "rooms-train.array_record-00000-of-00001"), "group_size:1"
    )
    for k in range(3):
        rgb = np.full((48, 64, 3), 40 * k, np.uint8)
        depth = np.full((48, 64), 0.0 if k == 2 else 3.0, np.float32)
        writer.write(serialize({"image": io.BytesIO(_png(rgb)), "depth": depth, "scene": f"s{k // 2}"}))
    writer.close()
    tfds.folder_dataset.write_metadata(
        data_dir=tmp_path,
        features=features,
        check_data=False,
        split_infos=[tfds.core.SplitInfo(name="train", shard_lengths=[3], num_bytes=0)],
    )
    source = open_source({"source": "tfds", "name": str(tmp_path), "group": "scene"})
    assert len(source) == 3
    first, second = source.load(0), source.load(1)
    assert first.depth_flag == "relative" and first.depth.max() == 3.0 and first.rgb.shape == (48, 64, 3)
    assert first.split_key == second.split_key and first.encoded.startswith(b"\x89PNG")
    with pytest.raises(BadItem, match="no valid depth"):
        source.load(2)
    assert open_source({"source": "tfds", "name": str(tmp_path), "metric": True}).load(0).depth_flag == "metric"
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source({"source": "tfds", "name": str(tmp_path), "tfds_split": "nothing"})


def test_a_named_tfds_dataset_under_tfds_own_mock_data():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        photos = open_source({"source": "tfds", "name": "imagenette/320px-v2"})
        assert len(photos) == 3 and photos.load(1).depth is None and photos.load(1).rgb.shape[2] == 3
        frame = open_source({"source": "tfds", "name": "nyu_depth_v2", "limit": 2}).load(1)
        assert frame.depth.shape == frame.rgb.shape[:2] == (480, 640) and frame.depth_flag == "metric"
        assert frame.intrinsics_source == "sensor" and frame.intrinsics[0] == pytest.approx(518.8579)


def test_the_sources_of_the_self_supervised_tasks_as_they_come(tmp_path):
    """MegaDepth's and DIODE's own layouts, COCO's folders beside its annotations."""
    import h5py

    dense = tmp_path / "mega" / "phoenix" / "S6" / "0001" / "dense0"
    (dense / "imgs").mkdir(parents=True)
    (dense / "depths").mkdir()
    rgb = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    for name in ("a_o.jpg", "b_o.JPG", "c_o.png", "lone.jpg"):
        Image.fromarray(rgb).save(dense / "imgs" / name)
        if name != "lone.jpg":
            with h5py.File(dense / "depths" / f"{name[:3]}.h5", "w") as file:
                file["depth"] = np.full((48, 64), 2.5, np.float32)
    source = open_source({"source": "rgbd", "path": str(tmp_path / "mega"), "convention": "megadepth"})
    assert len(source) == 3 and len(source.left_out) == 1 and "lone.jpg: no depth file" in source.left_out[0]
    frames = [source.load(i) for i in range(3)]
    assert all(f.depth_flag == "relative" and np.allclose(f.depth, 2.5) for f in frames)
    scan = tmp_path / "diode" / "indoors" / "scene_00019" / "scan_00183"
    scan.mkdir(parents=True)
    Image.fromarray(rgb).save(scan / "00019_indoors_000.png")
    mask = np.ones((48, 64), np.float32)
    mask[:10] = 0
    np.save(scan / "00019_indoors_000_depth.npy", np.full((48, 64, 1), 3.0, np.float32))
    np.save(scan / "00019_indoors_000_depth_mask.npy", mask)
    (frame,) = [open_source({"source": "rgbd", "path": str(tmp_path / "diode"), "convention": "diode"}).load(0)]
    assert frame.depth_flag == "metric" and (frame.depth[:10] == 0).all() and np.allclose(frame.depth[10:], 3.0)
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    Image.fromarray(rgb).save(tmp_path / "coco" / "val2017" / "000000000139.jpg")
    stated = {"images": [{"id": 139, "file_name": "000000000139.jpg"}], "annotations": [], "categories": []}
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(stated))
    drawn = tmp_path / "coco" / "annotations" / "panoptic_val2017"
    drawn.mkdir()
    Image.fromarray(rgb).save(drawn / "000000000139.png")
    photos = open_source({"source": "coco", "path": str(tmp_path / "coco")})
    assert photos.left_out == ["annotations/panoptic_val2017/000000000139.png: labels drawn as a picture, no photo"]
    with pytest.raises(SourceError, match=r"no photos in .*labels drawn"):
        open_source({"source": "coco", "path": str(tmp_path / "coco" / "annotations")})
    assert len(photos) == 1 and photos.load(0).rgb.shape == rgb.shape
