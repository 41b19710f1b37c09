"""Hypersim: asset units, distances along rays, cameras that look back along z, lenses, against a rendered room."""

import h5py
import numpy as np
import pytest

from data_prep.annotate import build_pipeline
from data_prep.sources import SourceError, open_source
from tests.data_prep.dataset_folders import check_boxes, save_rgb, view

UNIT = 0.0254
NUMBERS = (7, 5, 29, 35, 4, 18)  # table, chair, box, lamp, bed, pillow of NYU's forty
NAMES = ("table", "chair", "box", "lamp", "bed", "pillow")


def _save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["dataset"] = values


def write(root, seen, lens=True):
    scene = root / "ai_001_001"
    images, detail = scene / "images", scene / "_detail"
    save_rgb(images / "scene_cam_00_final_preview" / "frame.0001.tonemap.jpg", seen.rgb, quality=95)
    rows, columns = np.mgrid[0 : seen.size[1], 0 : seen.size[0]]
    rays = np.stack(
        [(columns - seen.k[0, 2]) / seen.k[0, 0], (rows - seen.k[1, 2]) / seen.k[1, 1], np.ones(rows.shape)]
    )
    geometry = images / "scene_cam_00_geometry_hdf5"
    _save(geometry / "frame.0001.depth_meters.hdf5", (seen.depth * np.linalg.norm(rays, axis=0)))
    owner, kinds = np.full(seen.depth.shape, -1), np.ones(seen.depth.shape, int)
    for i, truth in enumerate(seen.things):
        owner[truth.mask], kinds[truth.mask] = i + 1, NUMBERS[i]
    owner[:9, :9], kinds[:9, :9] = 20, 40
    _save(geometry / "frame.0001.semantic_instance.hdf5", owner)
    _save(geometry / "frame.0001.semantic.hdf5", kinds)
    turn = seen.pose[:3, :3] * [1, -1, -1]  # columns: right, up, back
    _save(detail / "cam_00" / "camera_keyframe_positions.hdf5", np.stack([np.zeros(3), seen.pose[:3, 3] / UNIT]))
    _save(detail / "cam_00" / "camera_keyframe_orientations.hdf5", np.stack([np.eye(3), turn]))
    (detail / "metadata_scene.csv").write_text(f"parameter_name,parameter_value\nmeters_per_asset_unit,{UNIT}\n")
    blank = np.full(3, np.inf)
    mesh = detail / "mesh" / "metadata_semantic_instance_bounding_box_object_aligned_2d_{}.hdf5"
    for part, values in (
        ("positions", [blank] + [t.center / UNIT for t in seen.things]),
        ("extents", [blank] + [t.extent / UNIT for t in seen.things]),
        ("orientations", [np.eye(3)] + [t.axes for t in seen.things]),
    ):
        _save(mesh.parent / mesh.name.format(part), np.array(values))
    width, height = seen.size
    m = np.diag([width / (2 * seen.k[0, 0]), height / (2 * seen.k[1, 1]), -1.0])
    m[0, 2], m[1, 2] = ((width - 1) / 2 - seen.k[0, 2]) / seen.k[0, 0], (seen.k[1, 2] - (height - 1) / 2) / seen.k[1, 1]
    if lens:
        names = [f"M_cam_from_uv_{i}{j}" for i in range(3) for j in range(3)]
        tilted = m + 0.1 * np.eye(3)[[1, 2, 0]]
        rows = [["ai_001_001", *m.ravel()], ["ai_001_002", *tilted.ravel()]]
        text = "\n".join(",".join(map(str, row)) for row in [["scene_name", *names], *rows])
        (root / "metadata_camera_parameters.csv").write_text(text)
    return scene


def test_hypersim_frames_and_boxes_are_in_metres(tmp_path):
    seen = view()
    write(tmp_path, seen)
    spec = {"source": "hypersim", "path": str(tmp_path)}
    frame = open_source(spec).load(0)
    by_name = dict(zip((t.name for t in seen.things), NAMES))
    found = check_boxes(frame, seen, by_name.get)
    for truth, name in zip(seen.things, NAMES):
        np.testing.assert_array_equal(found[name].mask, truth.mask)
    assert np.abs(frame.depth - seen.depth).max() < 1e-4
    np.testing.assert_allclose(frame.intrinsics, seen.k[[0, 1, 0, 1], [0, 1, 2, 2]], atol=1e-3)
    np.testing.assert_allclose(frame.gravity, seen.gravity, atol=1e-6)
    assert frame.told == {"label left out: class otherprop is no object": 1}
    assert build_pipeline(spec)(0).told["3-D box with which the depth agrees"] == len(seen.things)


def test_hypersim_says_what_is_missing(tmp_path):
    seen = view()
    scene = write(tmp_path, seen)
    (tmp_path / "ai_001_002").symlink_to(scene, target_is_directory=True)
    spec = {"source": "hypersim", "path": str(tmp_path)}
    good, tilted = build_pipeline(spec).outcomes([0, 1])
    assert good.kind == "record" and "no pinhole camera" in tilted.reason
    geometry = scene / "images" / "scene_cam_00_geometry_hdf5"
    (geometry / "frame.0001.semantic.hdf5").unlink()
    (geometry / "frame.0001.depth_meters.hdf5").write_bytes(b"\x89HDF")
    assert "depth_meters.hdf5 cannot be read" in build_pipeline(spec)(0).reason
    (geometry / "frame.0001.depth_meters.hdf5").unlink()
    bare = build_pipeline(spec)(0)
    assert bare.kind == "record" and bare.told == {"frame without its instances": 1}
    assert "no depth file: kept without depth" in bare.notes
    (scene / "_detail" / "metadata_scene.csv").write_text("parameter_name,parameter_value\n")
    assert "meters_per_asset_unit" in build_pipeline(spec)(0).reason
    (tmp_path / "metadata_camera_parameters.csv").unlink()
    assert "taken to see 60 degrees" in open_source(spec).said[0]
    with pytest.raises(SourceError, match="looked for ai_VVV_NNN"):
        open_source({**spec, "path": str(scene / "_detail")})
