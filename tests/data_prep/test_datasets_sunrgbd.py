"""SUN RGB-D's folder: rotated depth bits, the level frame of its boxes, outlines as masks, and what is missing."""

import json
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from data_prep.annotate import build_pipeline
from data_prep.sources import SourceError, open_source
from tests.data_prep.dataset_folders import check_boxes, save_depth, save_rgb, view

SWAP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])  # (x right, y down, z ahead) to (x right, y ahead, z up)


def _level(seen):
    """[3, 3] from the camera to the level frame that keeps its heading (x right, y down, z ahead)."""
    down = seen.gravity
    ahead = np.array([0, 0, 1.0]) - down[2] * down
    ahead /= np.linalg.norm(ahead)
    return np.stack([np.cross(down, ahead), down, ahead])


def write(folder, seen, boxes="json"):
    scene = folder / "kv1" / "b3dodata" / "img_0001"
    millimetres = np.rint(1000 * np.minimum(seen.depth, 8)).astype(np.uint16)
    save_rgb(scene / "image" / "a.jpg", seen.rgb, quality=95)
    save_depth(scene / "depth" / "a.png", (millimetres << 3) | (millimetres >> 13))
    (scene / "intrinsics.txt").write_text("\n".join(" ".join(f"{v:.6f}" for v in row) for row in seen.k))
    level = _level(seen)
    (scene / "extrinsics").mkdir(parents=True)
    (scene / "extrinsics" / "1.txt").write_text("\n".join(" ".join(f"{v:.9f}" for v in [*row, 0]) for row in level))
    outlines, corners, rows = [], [], []
    for i, truth in enumerate(seen.things):
        r, c = np.nonzero(truth.mask)
        outlines.append({"x": [int(c.min()), int(c.max()), int(c.max()), int(c.min())],
                         "y": [int(r.min()), int(r.min()), int(r.max()), int(r.max())], "object": i})  # fmt: skip
        turn = seen.pose[:3, :3]
        floor = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]]) * truth.extent
        camera = (truth.center + floor @ truth.axes.T - seen.pose[:3, 3]) @ turn
        drawn = camera @ level.T  # in the level frame, y down
        middle, half = float(drawn[:, 1].mean()), float(truth.extent[2] / 2)
        floor = {"X": drawn[:, 0].tolist(), "Z": drawn[:, 2].tolist()}
        corners.append(
            {"name": f"{truth.name}:truncated", "polygon": [{**floor, "Ymin": middle + half, "Ymax": middle - half}]}
        )
        center, axes = seen.in_camera(truth)
        upright = SWAP @ level
        rows.append({"classname": truth.name, "basis": (upright @ axes).T, "coeffs": truth.extent[None] / 2,
                     "centroid": (upright @ center)[None]})  # fmt: skip
    names = [{"name": t.name} for t in seen.things]
    more = {"x": [1, 9, 9], "y": [1, 1, 9], "object": len(names)}
    for kind, value in (
        ("2D", {"frames": [{"polygon": [*outlines, more]}], "objects": [*names, {"name": "wall"}]}),
        ("3D", {"objects": [*corners, None, {"name": "lamp", "polygon": [{"X": [0, 0, 0, 0]}]}]}),
    ):
        path = scene / f"annotation{kind}final" / "index.json"
        path.parent.mkdir()
        path.write_text(json.dumps(value))
    if boxes == "table":
        table = np.array([("SUNRGBD/kv1/b3dodata/img_0001", np.array(rows, object))],
                         [("sequenceName", "O"), ("groundtruth3DBB", "O")])  # fmt: skip
        savemat(folder / "SUNRGBDMeta3DBB_v2.mat", {"SUNRGBDMeta": table})
        shutil.rmtree(scene / "annotation3Dfinal")
    return scene


@pytest.mark.parametrize("boxes", ["json", "table"])
def test_boxes_depth_and_gravity_are_those_of_the_rendered_room(tmp_path, boxes):
    seen = view()
    write(tmp_path, seen, boxes)
    frame = open_source({"source": "sunrgbd", "path": str(tmp_path)}).load(0)
    check_boxes(frame, seen)
    np.testing.assert_allclose(frame.depth, np.minimum(seen.depth, 8), atol=6e-4)
    np.testing.assert_allclose(frame.gravity, seen.gravity, atol=1e-6)
    assert all(o.caption == o.name for o in frame.objects), "each class is there once"
    outcome = build_pipeline({"source": "sunrgbd", "path": str(tmp_path)})(0)
    agree = outcome.told["3-D box with which the depth agrees"]
    assert outcome.kind == "record" and agree >= len(seen.things) - 1, (outcome.reason, outcome.told)
    assert outcome.told["label left out: class wall is no object"] == 1
    assert ("label left out: a 3-D box without sides or corners" in outcome.told) == (boxes == "json")


def test_what_is_missing_costs_no_more_than_itself(tmp_path):
    seen = view()
    scene = write(tmp_path, seen)
    shutil.copytree(scene, scene.parent / "img_0002")
    (scene.parent / "img_0002" / "intrinsics.txt").write_text("1 2 3")
    shutil.copytree(scene, scene.parent / "img_0003")
    shutil.rmtree(scene.parent / "img_0003" / "depth")
    (scene.parent / "img_0003" / "annotation3Dfinal" / "index.json").write_text('{"objects": [')
    pipeline = build_pipeline({"source": "sunrgbd", "path": str(tmp_path)})
    one, two, three = pipeline.outcomes([0, 1, 2])
    assert one.kind == "record" and two.kind == "failed" and "intrinsics.txt holds no 9 numbers" in two.reason
    assert three.kind == "record" and "no depth file: kept without depth" in three.notes
    assert three.told["label left out: annotation3Dfinal/index.json cannot be read"] == 1
    with pytest.raises(SourceError, match="looked for SCENE/intrinsics"):
        open_source({"source": "sunrgbd", "path": str(scene / "image")})


def test_the_page_shows_what_the_summary_counts(tmp_path):
    from data_prep.inspect.left_out import left_out

    shown = "".join(map(str, left_out(tmp_path, {"told": {"3-D box with which the depth agrees": 12}})))
    assert "3-D box with which the depth agrees" in shown and "12" in shown
