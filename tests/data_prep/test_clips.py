"""Depth and cameras that multi-view models wrote of clips: which frame is which, whose scale is known, what fails."""

import numpy as np
import pytest

from data_prep.annotate.base import CameraStage
from data_prep.annotate.clips import ClipDepthStage, ClipResults
from data_prep.annotate.models import build_camera, build_model_stages
from data_prep.annotate.weights import ModelError
from data_prep.sources import BadItem, Frame

SIZE = (96, 64)


def shot(seed):
    """A picture uint8 [64, 96, 3] of a few large blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 6, 3), np.uint8)
    return np.ascontiguousarray(blocks.repeat(16, 0).repeat(16, 1))


def frame(rgb, item="walk/000.png", **more):
    return Frame(item, "t", rgb, **more)


def matrix(focal):
    return np.array([[focal, 0, 47.5], [0, focal, 31.5], [0, 0, 1]])


def megasam(folder, seeds=(1, 2, 3)):
    depths = np.stack([np.full(SIZE[::-1], 1.0 + i, np.float32) for i in range(len(seeds))])
    depths[:, :2] = np.inf
    images = np.stack([shot(s) for s in seeds])
    np.savez(folder / "walk_sgd_cvd_hr.npz", images=images, depths=depths, intrinsic=matrix(80.0))


def vggt(folder, seeds=(1, 2)):
    (folder / "walk").mkdir()
    images = np.stack([shot(s) for s in seeds]).transpose(0, 3, 1, 2).astype(np.float32) / 255
    depth = np.stack([np.full((*SIZE[::-1], 1), 0.5 + i, np.float32) for i in range(len(seeds))])
    np.savez(
        folder / "walk" / "predictions.npz",
        images=images,
        depth=depth,
        intrinsic=np.stack([matrix(80.0 + 10 * i) for i in range(len(seeds))]),
    )


def test_the_frame_of_a_clip_is_told_by_looking_at_it(tmp_path):
    megasam(tmp_path)
    (stage,) = build_model_stages({"depth": f"megasam:{tmp_path}"}, {"depth": {"bias": "0.2"}})
    third = frame(shot(3).repeat(2, 0).repeat(2, 1))  # the clip was halved for the model
    second, stranger = frame(shot(2), "walk/7.png"), frame(shot(9))
    errors = stage.batch([third, second, stranger])
    assert errors[:2] == [None, None] and "none of the 3 frames" in str(errors[2])
    assert third.depth.shape == (128, 192) and third.depth[64, 96] == 3.0 and third.depth[0, 0] == 0
    assert second.depth[32, 48] == 2.0 and second.depth_flag == "metric" and second.depth_noise.bias == 0.2
    assert third.intrinsics[0] == 160 and second.intrinsics[0] == 80 and second.shared()["focal"] == 0.05


def test_a_depth_of_free_scale_only_orders_and_each_frame_has_its_camera(tmp_path):
    vggt(tmp_path)
    stage = ClipDepthStage(ClipResults("vggt", str(tmp_path)))
    found = frame(shot(2))
    assert stage.batch([found]) == [None]
    assert found.depth_flag == "relative" and found.depth[32, 48] == 1.5 and found.intrinsics[0] == 90
    only_camera = frame(shot(1), depth=np.ones(SIZE[::-1], np.float32), depth_flag="metric")
    assert CameraStage(build_camera({"camera": f"vggt:{tmp_path}"}, {}, None)).batch([only_camera]) == [None]
    assert only_camera.intrinsics[0] == 80 and only_camera.depth_flag == "metric"


def test_files_that_are_none_of_the_models(tmp_path):
    with pytest.raises(ModelError, match="no VGGT output"):
        ClipResults("vggt", str(tmp_path))
    np.savez(tmp_path / "walk.npz", images=np.zeros((2, 64, 96, 3), np.uint8), intrinsic=matrix(80.0))
    said = ClipResults("vggt", str(tmp_path)).depth_of(
        [frame(np.zeros((64, 96, 3), np.uint8)), frame(shot(1), "b/1.png")]
    )
    assert "has no depth" in str(said[0]) and "wrote nothing for clip b" in str(said[1])
    np.savez(tmp_path / "walk.npz", depth=np.ones((2, 64, 96)), intrinsic=matrix(80.0))
    assert "cannot be read" in str(ClipResults("vggt", str(tmp_path)).depth_of([frame(shot(1))])[0])
    np.savez_compressed(tmp_path / "walk.npz", images=np.zeros((2, 64, 96, 3), np.uint8), intrinsic=matrix(80.0))
    data = bytearray((tmp_path / "walk.npz").read_bytes())
    data[60:70] = b"\xff" * 10  # inside the packed pictures
    (tmp_path / "walk.npz").write_bytes(data)
    assert "cannot be read" in str(ClipResults("vggt", str(tmp_path)).depth_of([frame(shot(1))])[0])


def test_clips_of_one_name_do_not_share_a_camera(tmp_path):
    for place, focal in (("a", 500.0), ("b", 900.0)):
        (tmp_path / place).mkdir()
        matrix = np.array([[focal, 0, 192], [0, focal, 128], [0, 0, 1]])
        np.savez(tmp_path / place / "clip_droid.npz", images=np.zeros((2, 256, 384, 3), np.uint8), intrinsic=matrix)
    pixels = np.zeros((256, 384, 3), np.uint8)
    frames = [frame(pixels, "x.png", meta={"video": f"{place}/clip.mp4"}) for place in ("a", "b", "c")]
    first, second, third = ClipResults("megasam", str(tmp_path)).camera(frames)
    assert (first.intrinsics[0], second.intrinsics[0]) == (500, 900)
    assert isinstance(third, BadItem) and "could both be of c/clip" in str(third)


def test_poses_come_with_the_frames_they_are_of(tmp_path):
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, 0, 3] = (0.0, 1.0, 2.0)
    images = np.stack([shot(s) for s in (1, 2, 3)])
    base = {"images": images, "depths": np.ones((3, *SIZE[::-1]), np.float32), "intrinsic": matrix(80.0)}
    np.savez(tmp_path / "walk_droid.npz", **base, cam_c2w=poses)
    third = frame(shot(3))
    assert ClipDepthStage(ClipResults("megasam", str(tmp_path))).batch([third]) == [None]
    assert np.array(third.meta["pose"]).reshape(4, 4)[0, 3] == 2.0
    for wrong, said in ((poses[:2], "2 poses of 3 frames"), (poses * 2, "no rotations"), (poses[0], "have shape")):
        np.savez(tmp_path / "walk_droid.npz", **base, cam_c2w=wrong)
        assert said in str(ClipResults("megasam", str(tmp_path)).depth_of([frame(shot(3))])[0])
    (tmp_path / "v").mkdir()
    np.savez(
        tmp_path / "v" / "walk.npz", images=images, depth=base["depths"], intrinsic=matrix(80.0), extrinsic=poses[:, :3]
    )
    second = frame(shot(2))
    assert ClipDepthStage(ClipResults("vggt", str(tmp_path / "v"))).batch([second]) == [None]
    assert np.array(second.meta["pose"]).reshape(4, 4)[0, 3] == -1.0, "VGGT's take the world to the camera"
