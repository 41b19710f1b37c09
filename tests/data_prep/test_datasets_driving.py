"""KITTI, nuScenes and Omni3D: frames, orders of sides, quaternions, against one rendered room in each one's shape."""

import json

import numpy as np
import pytest

from data_prep.annotate import build_pipeline
from data_prep.sources import SourceError, open_source
from data_prep.sources.base import BadItem, ObjectDraft
from data_prep.sources.datasets.boxes import name_apart
from tests.data_prep.dataset_folders import check_boxes, quaternion, save_rgb, view

MOVED = np.array([0.06, -0.002, 0.003])  # camera 0 to camera 2
TURN = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # x right, y down, z ahead -> x ahead, y left, z up
CLASSES = ("Car", "Pedestrian", "Van", "Truck", "Cyclist", "Tram")
CATEGORIES = (
    "vehicle.car",
    "human.pedestrian.adult",
    "vehicle.truck",
    "vehicle.bus.rigid",
    "animal",
    "vehicle.trailer",
)


def _points(seen):
    """Every third pixel's point, camera frame."""
    rows, columns = (g.ravel() for g in np.mgrid[0 : seen.size[1] : 3, 0 : seen.size[0] : 3])
    z = seen.depth[rows, columns]
    return np.stack([(columns - seen.k[0, 2]) / seen.k[0, 0] * z, (rows - seen.k[1, 2]) / seen.k[1, 1] * z, z], -1)


def kitti(folder, seen, item="000007"):
    top = folder / "training"
    save_rgb(top / "image_2" / f"{item}.png", seen.rgb)
    p2 = np.concatenate([seen.k, (seen.k @ MOVED)[:, None]], 1)
    rectify = np.linalg.qr(np.eye(3) + 0.01 * np.arange(9).reshape(3, 3))[0]
    rectify *= np.sign(np.diag(rectify))
    to_camera = np.concatenate([TURN.T, [[0.01], [-0.08], [-0.27]]], 1)
    lines = {"P0": p2 * 0, "P2": p2, "R0_rect": rectify, "Tr_velo_to_cam": to_camera}
    (top / "calib").mkdir(parents=True, exist_ok=True)
    (top / "calib" / f"{item}.txt").write_text(
        "\n".join(f"{name}: {' '.join(f'{v:.12e}' for v in m.ravel())}" for name, m in lines.items())
    )
    labels = ["DontCare -1 -1 -10 300.0 100.0 304.0 103.0 -1 -1 -1 -1000 -1000 -1000 -10", "Misc 0 0", ""]
    for name, truth in zip(CLASSES, seen.things):
        center, axes = seen.in_camera(truth)
        turn = np.arctan2(-axes[2, 0], axes[0, 0])  # the world's x side as length
        rows, columns = np.nonzero(truth.mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        l, w, h = truth.extent  # noqa: E741
        x, y, z = center - MOVED
        labels.append(" ".join(map(str, [name, 0.0, 0, -10, *box, h, w, l, x, y + h / 2, z, turn])))
    (top / "label_2").mkdir(exist_ok=True)
    (top / "label_2" / f"{item}.txt").write_text("\n".join(labels))
    camera0 = (_points(seen) - MOVED) @ rectify  # before it was rectified
    sweep = (camera0 - to_camera[:, 3]) @ to_camera[:, :3]
    (top / "velodyne").mkdir(exist_ok=True)
    np.concatenate([sweep, np.ones((len(sweep), 1))], 1).astype(np.float32).tofile(top / "velodyne" / f"{item}.bin")
    return top


def _renamed(seen, names):
    by_name = dict(zip((t.name for t in seen.things), names))
    return lambda name: by_name[name]


def test_kitti_boxes_stand_where_the_second_camera_sees_them(tmp_path):
    seen = view(level=True)
    top = kitti(tmp_path, seen)
    frame = open_source({"source": "kitti", "path": str(tmp_path)}).load(0)
    named = ("car", "pedestrian", "van", "truck", "cyclist", "tram")
    check_boxes(frame, seen, _renamed(seen, named))
    hit = frame.depth > 0
    assert hit[::3, ::3].mean() > 0.95 and np.abs(frame.depth - seen.depth)[hit].max() < 2e-3
    assert frame.told["label left out: DontCare: nobody labelled it"] == 1
    assert frame.told["label left out: a line that is no label"] == 1  # Misc without numbers
    pipeline = build_pipeline({"source": "kitti", "path": str(tmp_path)})
    outcome = pipeline(0)
    assert outcome.told["3-D box with which the depth agrees"] == len(seen.things), outcome.told
    things = {o.name: o for o in pipeline.record(0).objects}
    for name, truth in zip(named, seen.things):
        depths = seen.depth[truth.mask]
        assert depths.min() - 0.02 <= things[name].depth_median <= depths.max() + 0.02
    assert open_source({"source": "kitti", "path": str(top)}).item_id(0) == "000007", "training/ itself is fine too"


def test_kitti_says_what_is_missing(tmp_path):
    seen = view(level=True)
    top = kitti(tmp_path, seen)
    for number, part in enumerate(("calib", "velodyne", "label_2"), 8):
        kitti(tmp_path, seen, f"{number:06d}")
        (top / part / f"{number:06d}{'.bin' if part == 'velodyne' else '.txt'}").unlink()
    kitti(tmp_path, seen, "000011")
    sweep = top / "velodyne" / "000011.bin"
    sweep.write_bytes(sweep.read_bytes()[:-5])
    pipeline = build_pipeline({"source": "kitti", "path": str(tmp_path)})
    good, no_camera, no_sweep, no_labels, cut = pipeline.outcomes([0, 1, 2, 3, 4])
    kept = [outcome.kind for outcome in (good, no_sweep, no_labels)]
    assert kept == ["record"] * 3, [o.reason for o in (good, no_sweep, no_labels)]
    assert no_camera.kind == "failed" and "calibration 000008.txt cannot be read" in no_camera.reason
    assert "no lidar sweep: kept without depth" in no_sweep.notes and no_labels.objects == 0
    assert no_labels.told == {"frame without its file in label_2": 1}
    assert cut.kind == "failed" and "cut off" in cut.reason
    # without depth a box still says how near and how far the thing can be
    thing = next(o for o in pipeline.record(2).objects if o.name == "car")
    assert thing.depth_q20 < thing.depth_median < thing.depth_q80
    assert thing.json_field("uncertainty")["depth"] == pytest.approx(
        (thing.depth_q80 - thing.depth_q20) / 12**0.5, abs=1e-4
    )
    with pytest.raises(SourceError, match="looked for image_2"):
        open_source({"source": "kitti", "path": str(top / "calib")})


def nuscenes(folder, seen):
    pose_ego, pose_camera = np.eye(4), np.eye(4)
    pose_camera[:3, :3] = np.array([[0.0, 0.02, 1], [-1, 0, 0], [0, -1, 0.02]])
    pose_camera[:3, :3] = np.linalg.qr(pose_camera[:3, :3])[0]
    pose_camera[:3, :3] *= np.sign(np.sum(pose_camera[:3, :3] * TURN, 0))
    pose_camera[:3, 3] = (1.7, 0.02, 1.5)
    world = np.eye(4)  # the map's frame is not the room's
    world[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    world[:3, 3] = (411.3, 1180.9, 0.0)
    pose_ego = world @ seen.pose @ np.linalg.inv(pose_camera)

    def row(token, pose, **more):
        return {"token": token, "rotation": quaternion(pose[:3, :3]), "translation": pose[:3, 3].tolist(), **more}

    lidar = np.eye(4)
    lidar[:3, 3] = (0.9, 0, 1.8)
    points = np.concatenate([_points(seen), np.ones((len(_points(seen)), 1))], 1) @ pose_camera.T
    points = (points @ np.linalg.inv(lidar).T)[:, :3]
    file = folder / "samples" / "LIDAR_TOP" / "a.pcd.bin"
    file.parent.mkdir(parents=True)
    np.concatenate([points, np.zeros((len(points), 2))], 1).astype(np.float32).tofile(file)
    save_rgb(folder / "samples" / "CAM_FRONT" / "a.jpg", seen.rgb, quality=95)
    data = {"sample_token": "s", "ego_pose_token": "e", "is_key_frame": True, "timestamp": 1}
    tables = {
        "sample": [{"token": "s", "scene_token": "scene"}],
        "sensor": [{"token": "c", "channel": "CAM_FRONT"}, {"token": "l", "channel": "LIDAR_TOP"}],
        "calibrated_sensor": [
            row("cc", pose_camera, sensor_token="c", camera_intrinsic=seen.k.tolist()),
            row("cl", lidar, sensor_token="l", camera_intrinsic=[]),
        ],
        "ego_pose": [row("e", pose_ego)],
        "sample_data": [
            {**data, "token": "d1", "calibrated_sensor_token": "cc", "filename": "samples/CAM_FRONT/a.jpg"},
            {**data, "token": "d2", "calibrated_sensor_token": "cl", "filename": "samples/LIDAR_TOP/a.pcd.bin"},
            {**data, "token": "d3", "calibrated_sensor_token": "cc", "filename": "samples/CAM_FRONT/gone.jpg"},
        ],
        "category": [{"token": f"k{i}", "name": name} for i, name in enumerate((*CATEGORIES, "movable_object.debris"))],
        "instance": [{"token": f"i{i}", "category_token": f"k{i}"} for i in range(len(CATEGORIES) + 1)],
        "sample_annotation": [],
    }
    for i, truth in enumerate((*seen.things, seen.things[0])):
        place = np.eye(4)
        place[:3, :3], place[:3, 3] = truth.axes, truth.center
        place, number = world @ place, i if i < len(seen.things) else len(CATEGORIES)
        tables["sample_annotation"].append(
            row(
                f"a{i}",
                place,
                sample_token="s",
                instance_token=f"i{number}",
                visibility_token="4",
                size=truth.extent[[1, 0, 2]].tolist(),
            )
        )
    for name, rows in tables.items():
        (folder / "v1.0-mini").mkdir(exist_ok=True)
        (folder / "v1.0-mini" / f"{name}.json").write_text(json.dumps(rows))


def test_nuscenes_boxes_come_through_three_frames(tmp_path):
    seen = view()
    nuscenes(tmp_path, seen)
    source = open_source({"source": "nuscenes", "path": str(tmp_path)})
    assert source.said == ["1 of its 2 key frames' pictures are not there"] and len(source) == 1
    frame = source.load(0)
    named = ("car", "pedestrian", "truck", "bus", "animal", "trailer")
    check_boxes(frame, seen, _renamed(seen, named))
    np.testing.assert_allclose(frame.gravity, seen.gravity, atol=1e-6)
    hit = frame.depth > 0
    assert hit[::3, ::3].mean() > 0.9 and np.abs(frame.depth - seen.depth)[hit].max() < 2e-3
    assert frame.told == {"label left out: class movable_object.debris is no name": 1}
    outcome = build_pipeline({"source": "nuscenes", "path": str(tmp_path)})(0)
    assert outcome.told["3-D box with which the depth agrees"] == len(seen.things), outcome.told
    (tmp_path / "v1.0-mini" / "ego_pose.json").write_text("[")
    with pytest.raises(SourceError, match=r"ego_pose\.json cannot be read"):
        open_source({"source": "nuscenes", "path": str(tmp_path)})
    (tmp_path / "v1.0-mini" / "ego_pose.json").unlink()
    with pytest.raises(SourceError, match=r"ego_pose\.json is missing"):
        open_source({"source": "nuscenes", "path": str(tmp_path)})


def omni3d(folder, seen, **changed):
    save_rgb(folder / "hypersim" / "ai_001_001" / "a.jpg", seen.rgb, quality=95)
    labels = []
    order = np.array(
        [[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]
    )
    for i, truth in enumerate(seen.things):
        center, axes = seen.in_camera(truth)
        # Omni3D's own axes: x and z along the floor, y down
        axes, sides = np.stack([axes[:, 0], -axes[:, 2], axes[:, 1]], -1), truth.extent[[0, 2, 1]]
        corners = center + (order / 2 * sides) @ axes.T
        label = {"id": i, "image_id": 5, "category_id": i, "category_name": truth.name, "valid3D": True,
                 "bbox3D_cam": corners.tolist(), "center_cam": center.tolist(), "dimensions": sides.tolist(),
                 "R_cam": axes.tolist(), "behind_camera": False, "visibility": -1, "truncation": -1,
                 "bbox2D_tight": [-1] * 4, "bbox2D_trunc": [-1] * 4}  # fmt: skip
        labels.append(label)
    labels += [
        {**labels[0], "id": 90, "category_name": "pillow", "valid3D": False},
        {**labels[0], "id": 91, "category_name": ""},
        {**labels[0], "id": 92, "category_name": "shelf", "dimensions": [1, 2, 3]},
    ]
    image = {"id": 5, "file_path": "hypersim/ai_001_001/a.jpg", "width": seen.size[0], "height": seen.size[1],
             "K": seen.k.tolist()}  # fmt: skip
    gone = {**image, "id": 6, "file_path": "hypersim/ai_001_002/a.jpg"}
    (folder / "Omni3D").mkdir(exist_ok=True)
    data = {"info": {"name": "Hypersim Train"}, "images": [{**image, **changed}, gone], "categories": [],
            "annotations": labels}  # fmt: skip
    (folder / "Omni3D" / "Hypersim_train.json").write_text(json.dumps(data))


def test_omni3d_boxes_are_their_corners(tmp_path):
    seen = view()
    omni3d(tmp_path, seen)
    source = open_source({"source": "omni3d", "path": str(tmp_path)})
    assert "1 of 2 pictures are not there" in source.said[0]
    frame = source.load(0)
    by_name = {o.name: o for o in frame.objects}
    for truth in seen.things:
        center, _ = seen.in_camera(truth)
        np.testing.assert_allclose(by_name[truth.name].center, center, atol=1e-6)
        np.testing.assert_allclose(sorted(by_name[truth.name].extent), sorted(truth.extent), atol=1e-6)
    assert frame.split_key.endswith("ai_001_001") and frame.depth_flag == "metric" and frame.depth is None
    assert frame.told == {
        "label left out: its 3-D box is not valid": 1,
        "label left out: class without a name is no object": 1,
        "label left out: its corners contradict its dimensions": 1,
    }
    omni3d(tmp_path, seen, width=999)
    with pytest.raises(BadItem, match="its list says 999x240"):
        open_source({"source": "omni3d", "path": str(tmp_path)}).load(0)
    omni3d(tmp_path, seen, file_path="../outside.jpg")
    with pytest.raises(SourceError, match="none of the 2 pictures"):
        open_source({"source": "omni3d", "path": str(tmp_path)})


def test_captions_mean_one_thing():
    def captions(*boxes, others=()):
        drafts = [ObjectDraft("car", "car", box=(x, 10.0, x + 10.0, 30.0)) for x in boxes]
        return [d.caption for d in name_apart(drafts, 100, others)]

    assert captions(5.0) == ["car"] and captions(50.0, 5.0) == ["right car", "left car"]
    assert captions(5.0, 8.0) == ["", ""], "too near to each other"
    assert captions(5.0, 40.0, 44.0, 80.0) == ["leftmost car", "", "", "rightmost car"]
    small, large = ("", (90.0, 10.0, 92.0, 12.0)), ("", (90.0, 10.0, 99.0, 28.0))
    assert captions(5.0, others=[small]) == ["car"] and captions(5.0, others=[large]) == [""]
    assert captions(5.0, 50.0, others=[large]) == ["leftmost car", ""]
    assert captions(5.0, others=[("van", large[1])]) == ["car"]


def test_datasets_that_the_general_readers_know_are_sources_too(tmp_path):
    seen = view()
    save_rgb(tmp_path / "coco" / "val2017" / "000000000139.jpg", seen.rgb)
    (tmp_path / "coco" / "annotations").mkdir()
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text('{"images": []}')
    assert open_source({"source": "coco", "path": str(tmp_path / "coco")}).item_id(0) == "val2017/000000000139.jpg"
    save_rgb(tmp_path / "diode" / "s_1.png", seen.rgb)
    np.save(tmp_path / "diode" / "s_1_depth.npy", seen.depth)
    np.save(tmp_path / "diode" / "s_1_depth_mask.npy", np.ones_like(seen.depth))
    frame = open_source({"source": "diode", "path": str(tmp_path / "diode")}).load(0)
    assert frame.provenance["depth"] == "DIODE" and frame.depth_flag == "metric"
    with pytest.raises(SourceError, match="imgs"):
        open_source({"source": "megadepth", "path": str(tmp_path / "diode")})
    with pytest.raises(SourceError, match="needs --path"):
        open_source({"source": "scannet"})
