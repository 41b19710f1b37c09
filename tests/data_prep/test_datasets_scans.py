"""ScanNet, ScanNet++ and ARKitScenes: packed frames, poses, alignments and boxes, against one rendered room in each
one's shape.
"""

import dataclasses
import io
import json
import re
import shutil
import struct
import zlib

import lz4.block
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from data_prep.annotate import build_pipeline
from data_prep.sources import BadItem, SourceError, open_source
from data_prep.sources.datasets.depth_stream import DepthStream
from data_prep.sources.datasets.ply import read_vertices
from data_prep.sources.datasets.scans import Shot
from data_prep.sources.raycast import render
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis.vsi.scans import frames_of_walk
from tests.data_prep.dataset_folders import check_boxes, quaternion, save_depth, save_rgb, view
from tests.vsgrpo_recipe import check_asked_by_vsgrpo

ALIGN = np.array([[0.6, -0.8, 0, 1.5], [0.8, 0.6, 0, -2.0], [0, 0, 1, 0.25], [0, 0, 0, 1.0]])


def ply(points, order="<"):
    kind = np.dtype([(axis, f"{order}f4") for axis in "xyz"] + [("red", "u1")])
    rows = np.zeros(len(points), kind)
    for i, axis in enumerate("xyz"):
        rows[axis] = points[:, i]
    word = {"<": "binary_little_endian", ">": "binary_big_endian"}[order]
    head = f"ply\nformat {word} 1.0\nelement vertex {len(points)}\n"
    head += "property float x\nproperty float y\nproperty float z\nproperty uchar red\nelement face 1\n"
    return head.encode() + b"property list uchar int vertex_indices\nend_header\n" + rows.tobytes() + b"\3\0\0\0"


def surface(seen):
    """(vertices [n, 3], segment of each): what is seen of every thing and its box's corners; segment 0 for the rest."""
    rows, columns = np.mgrid[0 : seen.size[1], 0 : seen.size[0]]
    z = seen.depth
    points = np.stack([(columns - seen.k[0, 2]) / seen.k[0, 0] * z, (rows - seen.k[1, 2]) / seen.k[1, 1] * z, z], -1)
    points = points @ seen.pose[:3, :3].T + seen.pose[:3, 3]
    free = ~np.any([t.mask for t in seen.things], 0)
    parts, owner = [points[free][::7]], [np.zeros(len(points[free][::7]), int)]
    for i, truth in enumerate(seen.things, 1):
        inside = np.concatenate([points[truth.mask], truth.corners()])
        parts.append(inside)
        owner.append(np.full(len(inside), i))
    return np.concatenate(parts), np.concatenate(owner)


def sens(seen, poses, cut=0, place=None, seen_depth=None):
    """A .sens file whose colour is twice as large as its depth; `poses`: camera to the scan's own frame; `place`
    [4, 4]: from the depth camera to the colour camera, with the depth that it sees.
    """
    big = Image.fromarray(seen.rgb).resize((2 * seen.size[0], 2 * seen.size[1]))
    out, colour = io.BytesIO(), seen.k.copy()
    big.save(out, "JPEG", quality=95)
    colour[:2] *= 2
    colour[:2, 2] += 0.5
    depth = zlib.compress(np.rint(1000 * (seen.depth if seen_depth is None else seen_depth)).astype("<u2").tobytes())
    matrices = [np.eye(4) for _ in range(4)]
    matrices[0][:3, :3], matrices[2][:3, :3] = colour, seen.k
    matrices[3] = np.eye(4) if place is None else place
    data = struct.pack("<IQ", 4, 4) + b"test" + np.array(matrices, "<f4").tobytes()
    data += struct.pack("<2i4IfQ", 2, 1, *big.size, *seen.size, 1000.0, len(poses))
    for pose in poses:
        data += np.asarray(pose, "<f4").tobytes() + struct.pack("<4Q", 0, 0, len(out.getvalue()), len(depth))
        data += out.getvalue() + depth
    return data[: len(data) - cut]


def scannet(folder, seen, name="scene0001_00", frames=3, cut=0):
    scan = folder / "scans" / name
    scan.mkdir(parents=True)
    points, owner = surface(seen)
    back = np.linalg.inv(ALIGN)
    (scan / f"{name}_vh_clean_2.ply").write_bytes(ply(points @ back[:3, :3].T + back[:3, 3]))
    (scan / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": (10 * owner).tolist()}))
    groups = [{"objectId": i, "label": f"raw {t.name}", "segments": [10 * i + 10]} for i, t in enumerate(seen.things)]
    groups += [{"objectId": 90, "label": "wall", "segments": [0]}, {"objectId": 91, "segments": [0]}]
    (scan / f"{name}.aggregation.json").write_text(json.dumps({"segGroups": groups}))
    (scan / f"{name}.txt").write_text(f"axisAlignment = {' '.join(map(str, ALIGN.ravel()))}\nnumDepthFrames = 1\n")
    lost = np.full((4, 4), -np.inf)
    pose = back @ seen.pose
    (scan / f"{name}.sens").write_bytes(sens(seen, [pose, lost, pose][:frames], cut))
    rows = "".join(f"{i}\traw {t.name}\t{t.name}\n" for i, t in enumerate(seen.things))
    (folder / "scannetv2-labels.combined.tsv").write_text("id\traw_category\tcategory\n" + rows)
    return scan


def test_scannet_frames_show_what_was_rendered(tmp_path):
    seen = view()
    scannet(tmp_path, seen)
    spec = {"source": "scannet", "path": str(tmp_path), "every": 0.01}
    pipeline = build_pipeline(spec)
    first, lost, third = pipeline.outcomes([0, 1, 2])
    assert first.kind == third.kind == "record" and "pose was lost" in lost.reason
    assert first.told["label left out: class wall is no object"] == 1 and "label left out" not in str(third.told)
    assert first.told["3-D box with which the depth agrees"] == len(seen.things), first.told
    frame = open_source(spec).load(0)
    by_name = check_boxes(frame, seen, tolerance=5e-3)
    for truth in seen.things:
        mask = by_name[truth.name].mask
        assert (mask & truth.mask).sum() >= 0.9 * truth.mask.sum(), truth.name
        assert (mask & ~truth.mask).sum() <= 0.25 * truth.mask.sum(), truth.name
    np.testing.assert_allclose(frame.gravity, seen.gravity, atol=1e-5)
    np.testing.assert_allclose(frame.intrinsics, seen.k[[0, 1, 0, 1], [0, 1, 2, 2]], atol=1e-3)
    assert np.abs(frame.depth - seen.depth).max() < 1e-3
    assert len(open_source({**spec, "every": 1.0})) == 1, "thirty frames a second"
    assert len(open_source({**spec, "path": str(tmp_path / "scans" / "scene0001_00")})) == 3, "one scan alone"


def test_depth_of_a_camera_beside_the_colour_camera(tmp_path):
    """Both cameras see one room, rendered from both places: the depth comes to stand on the colour picture."""
    seen = view()
    source = RenderedScenes("rich", 40, 7, 320, 240)
    room = next(
        room
        for room, drawn, _ in (source.draw(i) for i in range(40))
        if drawn.depth.shape == seen.depth.shape and np.array_equal(drawn.depth, seen.depth)
    )
    place = np.eye(4)  # from the depth camera to the colour camera
    place[:3, :3], place[:3, 3] = (
        Rotation.from_euler("xyz", [0.8, -1.1, 0.6], degrees=True).as_matrix(),
        [0.04, 0, 0.02],
    )
    pose = seen.pose @ place
    beside = dataclasses.replace(
        room, camera=dataclasses.replace(room.camera, rotation=pose[:3, :3].T, position=pose[:3, 3])
    )
    back = np.linalg.inv(ALIGN)
    scan = scannet(tmp_path, seen)
    (scan / "scene0001_00.sens").write_bytes(sens(seen, [back @ pose], place=place, seen_depth=render(beside).depth))
    frame = open_source({"source": "scannet", "path": str(tmp_path), "every": 0.01}).load(0)
    check_boxes(frame, seen, tolerance=5e-3)
    known = frame.depth > 0
    off = np.abs(frame.depth - seen.depth)[known] / seen.depth[known]
    assert known.mean() > 0.9 and (off < 0.01).mean() > 0.95, (known.mean(), (off < 0.01).mean())


def test_scannet_says_what_is_missing(tmp_path):
    seen = view()
    scan = scannet(tmp_path, seen, cut=9)
    scannet(tmp_path, seen, "scene0002_00", 1)
    (tmp_path / "scans" / "scene0002_00" / "scene0002_00.aggregation.json").unlink()
    cut = scannet(tmp_path, seen, "scene0003_00", 1) / "scene0003_00.sens"
    cut.write_bytes(cut.read_bytes()[:100])
    source = open_source({"source": "scannet", "path": str(tmp_path), "every": 0.01})
    assert any("scene0003_00: scene0003_00.sens: the .sens file is cut off" in line for line in source.left_out)
    outcomes = build_pipeline({"source": "scannet", "path": str(tmp_path), "every": 0.01}).outcomes([0, 2, 3])
    assert [o.kind for o in outcomes] == ["record", "failed", "failed"]
    assert (
        "cut off after 2 of 3 frames" in outcomes[1].reason and "aggregation.json cannot be read" in outcomes[2].reason
    )
    (scan / "scene0001_00.sens").unlink()
    with pytest.raises(SourceError, match="looked for sceneNNNN_NN"):
        open_source({"source": "scannet", "path": str(scan.parent / "none")} | {"path": str(tmp_path.parent)})


@pytest.mark.parametrize("order", "<>")
def test_vertices_of_a_mesh(order):
    points = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_array_equal(read_vertices(ply(points, order)), points)
    text = "ply\nformat ascii 1.0\nelement vertex 2\nproperty double x\nproperty double y\nproperty double z\n"
    np.testing.assert_array_equal(read_vertices(f"{text}end_header\n1 2 3\n4 5 6\n".encode()), [[1, 2, 3], [4, 5, 6]])
    for bad, words in (
        (b"xyz", "no PLY"),
        (ply(points, order)[:-60], "cut off"),
        (f"{text}end_header\n1 2".encode(), "cut"),
    ):
        with pytest.raises(ValueError, match=words):
            read_vertices(bad)


def arkit(folder, seen, turns=1, video="41069043"):
    """The room filmed with a phone that is turned by quarter turns clockwise (its picture lies on its side)."""
    from scipy.spatial.transform import Rotation

    scan = folder / "Training" / video
    frames = scan / f"{video}_frames"
    rgb, depth = np.rot90(seen.rgb, -turns), np.rot90(seen.depth, -turns)
    height, width = depth.shape
    # where the middle of the first, of the second in its row and in its column lie in the upright picture
    grid = np.stack(np.mgrid[0 : seen.size[1], 0 : seen.size[0]], -1)
    turned = np.rot90(grid, -turns)
    along = turned[0, 1] - turned[0, 0], turned[1, 0] - turned[0, 0]
    axes = np.array([[a[1], a[0], 0.0] for a in along] + [[0, 0, 1.0]]).T  # columns: new axes in the old camera
    cx, cy = seen.k[0, 2], seen.k[1, 2]
    spot = np.argwhere((turned == (round(cy), round(cx))).all(-1))[0]
    off = np.array([cx - round(cx), cy - round(cy)]) @ axes[:2, :2]
    k = [
        width,
        height,
        *(seen.k[[1, 0], [1, 0]] if turns % 2 else seen.k[[0, 1], [0, 1]]),
        spot[1] + off[0],
        spot[0] + off[1],
    ]
    pose = seen.pose.copy()
    pose[:3, :3] = seen.pose[:3, :3] @ axes
    out = np.linalg.inv(pose)
    stamp = "101.234"
    save_rgb(frames / "lowres_wide" / f"{video}_{stamp}.png", np.ascontiguousarray(rgb))
    save_depth(frames / "lowres_depth" / f"{video}_{stamp}.png", np.rint(1000 * depth))
    (frames / "lowres_wide_intrinsics").mkdir()
    (frames / "lowres_wide_intrinsics" / f"{video}_101.235.pincam").write_text(" ".join(map(str, k)))
    line = [101.2341, *Rotation.from_matrix(out[:3, :3]).as_rotvec(), *out[:3, 3]]
    (frames / "lowres_wide.traj").write_text("\n".join(" ".join(map(str, row)) for row in (line, [150.0] * 7)))
    data = [
        {
            "label": t.name,
            "segments": {
                "obbAligned": {
                    "centroid": t.center.tolist(),
                    "axesLengths": t.extent.tolist(),
                    "normalizedAxes": t.axes.T.ravel().tolist(),
                }
            },
        }
        for t in seen.things
    ]
    hidden = {"centroid": (seen.pose[:3, 3] + 30 * seen.pose[:3, 2]).tolist(), "axesLengths": [1, 1, 1],
              "normalizedAxes": np.eye(3).ravel().tolist()}  # fmt: skip
    data += [{"label": "behind the wall", "segments": {"obbAligned": hidden}}, {"label": "stove", "segments": {}}]
    (scan / f"{video}_3dod_annotation.json").write_text(json.dumps({"data": data, "skipped": False}))
    (scan / f"{video}_3dod_mesh.ply").write_bytes(ply(surface(seen)[0]))
    return scan


@pytest.mark.parametrize("turns", range(4))
def test_arkitscenes_frames_are_turned_upright(tmp_path, turns):
    seen = view()
    arkit(tmp_path, seen, turns)
    frame = open_source({"source": "arkitscenes", "path": str(tmp_path)}).load(0)
    np.testing.assert_array_equal(frame.rgb, seen.rgb)
    assert np.abs(frame.depth - seen.depth).max() < 1e-3
    np.testing.assert_allclose(frame.intrinsics, seen.k[[0, 1, 0, 1], [0, 1, 2, 2]], atol=1e-6)
    by_name = check_boxes(frame, seen)
    assert "behind the wall" not in by_name, "another room's things are hidden by the wall"
    assert frame.told == {"label left out: an instance without its box": 1}
    for truth in seen.things:
        assert by_name[truth.name].visible_fraction > 0.3


def test_arkitscenes_says_what_is_missing(tmp_path):
    scan = arkit(tmp_path, view(), 0)
    frames = scan / f"{scan.name}_frames"
    pipeline = build_pipeline({"source": "arkitscenes", "path": str(tmp_path)})
    (frames / "lowres_depth" / "41069043_101.234.png").unlink()
    outcome = pipeline(0)
    assert outcome.kind == "record" and outcome.objects == 0 and "no depth: kept without depth" in outcome.notes
    (frames / "lowres_wide.traj").write_text("150 0 0 0 0 0 0")
    fresh = build_pipeline({"source": "arkitscenes", "path": str(tmp_path)})
    assert "no pose within 0.05 s" in fresh(0).reason
    (frames / "lowres_wide_intrinsics" / "41069043_101.235.pincam").unlink()
    assert "41069043_101.234.pincam is missing" in fresh(0).reason


def test_scannetpp_frames_stand_in_its_mesh(tmp_path):
    seen = view()
    scene = scannetpp_scene(tmp_path, seen)
    k = seen.k.copy()
    k[:2] *= 3
    k[:2, 2] += 1
    big = np.repeat(np.repeat(seen.rgb, 3, 0), 3, 1)
    save_rgb(scene / "iphone" / "rgb" / "frame_000060.jpg", big, quality=95)
    save_rgb(scene / "iphone" / "rgb" / "frame_000000.jpg", big, quality=95)
    save_depth(scene / "iphone" / "depth" / "frame_000000.png", np.rint(1000 * seen.depth))
    facts = {"frame_000000": {"aligned_pose": seen.pose.tolist(), "intrinsic": k.tolist()}}
    (scene / "iphone" / "pose_intrinsic_imu.json").write_text(json.dumps(facts))
    spec = {"source": "scannetpp", "path": str(tmp_path)}
    source = open_source(spec)
    assert source.items == ["acd95847c5#000000", "acd95847c5#000001"], "a frame a second"
    frame = source.load(0)
    check_boxes(frame, seen, tolerance=5e-3)
    np.testing.assert_allclose(frame.intrinsics, seen.k[[0, 1, 0, 1], [0, 1, 2, 2]], atol=1e-6)
    assert "no aligned pose and camera of frame_000060" in build_pipeline(spec)(1).reason


@pytest.mark.parametrize("packing", ["whole", "lz4", "zlib"])
def test_depth_streams(tmp_path, packing):
    rng = np.random.default_rng(1)
    depths = np.round(rng.uniform(0.3, 5, (3, 12, 256)).repeat(16, 1), 3).astype(np.float32)

    def deflate(data):
        packer = zlib.compressobj(wbits=-15)
        return packer.compress(data) + packer.flush()

    if packing == "whole":
        data = deflate(depths.tobytes())
    else:
        rows = [np.rint(1000 * d).astype("<u2").tobytes() if packing == "lz4" else d.tobytes() for d in depths]
        packed = [lz4.block.compress(row, store_size=False) if packing == "lz4" else deflate(row) for row in rows]
        data = b"".join(struct.pack("<I", len(p)) + p for p in packed)
    path = tmp_path / "depth.bin"
    path.write_bytes(data)
    stream = DepthStream(str(path))
    for number in (1, 2, 0):
        np.testing.assert_allclose(stream.frame(number), depths[number], atol=1e-6)
    with pytest.raises(ValueError, match="frames"):
        stream.frame(3)
    if packing == "lz4":
        for bad in (packed[0][:-9], lz4.block.compress(rows[0][:-2], store_size=False)):  # cut off, and a value short
            path.write_bytes(struct.pack("<I", len(bad)) + bad)
            with pytest.raises(ValueError, match="neither an LZ4 block nor deflate"):
                DepthStream(str(path)).frame(0)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"cannot be unpacked|ends after|neither an LZ4"):
        DepthStream(str(path)).frame(2)


def scannetpp_scene(tmp_path, seen):
    scene = tmp_path / "data" / "acd95847c5"
    points, owner = surface(seen)
    (scene / "scans").mkdir(parents=True)
    (scene / "scans" / "mesh_aligned_0.05.ply").write_bytes(ply(points))
    (scene / "scans" / "segments.json").write_text(json.dumps({"segIndices": owner.tolist()}))
    groups = [{"objectId": i, "label": t.name, "segments": [i]} for i, t in enumerate(seen.things, 1)]
    (scene / "scans" / "segments_anno.json").write_text(json.dumps({"segGroups": groups}))
    return scene


def test_scannetpp_as_it_is_downloaded(tmp_path):
    """rgb.mp4 and depth.bin, nothing extracted."""
    import av

    seen = view()
    scene = scannetpp_scene(tmp_path, seen)
    (scene / "iphone").mkdir()
    with av.open(str(scene / "iphone" / "rgb.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=60)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 320, 240, "yuv420p", 8_000_000
        for shade in (0, 1):
            picture = seen.rgb if shade else np.zeros_like(seen.rgb)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    small = seen.depth[np.linspace(0, 239, 192).round().astype(int)][:, np.linspace(0, 319, 256).round().astype(int)]
    packer = zlib.compressobj(wbits=-15)
    frames = np.stack([np.zeros_like(small), small]).astype("<f4")
    (scene / "iphone" / "depth.bin").write_bytes(packer.compress(frames.tobytes()) + packer.flush())
    facts = {"frame_000001": {"aligned_pose": seen.pose.tolist(), "intrinsic": seen.k.tolist()}}
    (scene / "iphone" / "pose_intrinsic_imu.json").write_text(json.dumps(facts))
    source = open_source({"source": "scannetpp", "path": str(tmp_path), "every": 1 / 60})
    assert source.items == ["acd95847c5#000000", "acd95847c5#000001"]
    frame = source.load(1)
    np.testing.assert_allclose(frame.depth, small, atol=1e-4)
    wanted = np.asarray(Image.fromarray(seen.rgb).resize((256, 192), Image.Resampling.LANCZOS), float)
    assert np.abs(frame.rgb - wanted).mean() < 12
    by_name = {o.name: o for o in frame.objects}
    for truth in seen.things:
        np.testing.assert_allclose(by_name[truth.name].center, seen.in_camera(truth)[0], atol=5e-3)
    with pytest.raises(BadItem, match="no aligned pose"):
        source.load(0)
    # Two scenes with videos: one is open at a time, and each has its own frames.
    shutil.copytree(scene, scene.parent / "bcd2436daf")
    (scene.parent / "bcd2436daf" / "iphone" / ".listing").touch()
    both = open_source({"source": "scannetpp", "path": str(tmp_path), "every": 1 / 60})
    for index in (1, 3):
        np.testing.assert_array_equal(both.load(index).rgb, frame.rgb)


def test_scannetpp_dslr_pictures_are_straightened(tmp_path):
    """A fisheye picture whose colours are directions: straightened, every pixel has the colour of its own ray."""
    seen = view()
    scene = scannetpp_scene(tmp_path, seen)
    width, height, focal, k = 300, 200, 130.0, (0.03, 0.005, 0.0007, 0.0001)
    x, y = np.meshgrid(np.arange(width) + 0.5 - 151, np.arange(height) + 0.5 - 99)
    bent = np.hypot(x, y) / focal
    angle = bent.copy()
    for _ in range(60):  # the lens' own equation, solved by fixed point
        angle = bent / (1 + k[0] * angle**2 + k[1] * angle**4 + k[2] * angle**6 + k[3] * angle**8)
    ray = np.tan(np.minimum(angle, 1.4)) / np.maximum(np.hypot(x, y), 1e-9)
    rgb = np.stack([128 + 80 * x * ray, 128 + 80 * y * ray, np.full_like(x, 60)], -1).clip(0, 255).astype(np.uint8)
    (scene / "dslr" / "colmap").mkdir(parents=True)
    save_rgb(scene / "dslr" / "resized_images" / "DSC01.JPG", rgb, format="PNG")
    lens = f"1 OPENCV_FISHEYE {width} {height} {focal} {focal} 151 99 {' '.join(map(str, k))}"
    (scene / "dslr" / "colmap" / "cameras.txt").write_text(f"# lenses\n{lens}\n")
    turn, place = seen.pose[:3, :3].T, -seen.pose[:3, :3].T @ seen.pose[:3, 3]
    row = " ".join(map(str, [7, *quaternion(turn), *place, 1, "DSC01.JPG"]))
    (scene / "dslr" / "colmap" / "images.txt").write_text(f"# poses\n{row}\n\n")
    source = open_source({"source": "scannetpp", "path": str(tmp_path), "every": 3.0})
    assert source.items == ["acd95847c5#000000"]
    shot = source.shot("acd95847c5", 0)
    np.testing.assert_allclose(shot.pose, seen.pose, atol=1e-9)
    fx, fy, cx, cy = shot.camera
    u, v = (np.arange(width) - cx) / fx, (np.arange(height) - cy) / fy
    assert np.abs(shot.rgb[..., 0] - (128 + 80 * u)[None].clip(0, 255)).max() <= 2
    assert np.abs(shot.rgb[..., 1] - (128 + 80 * v)[:, None].clip(0, 255)).max() <= 2
    frame = source.load(0)
    assert frame.depth is None and frame.objects == [] and "no depth: kept without depth" in frame.notes
    (scene / "dslr" / "colmap" / "cameras.txt").write_text("1 SIMPLE_RADIAL 300 200 1 2 3 4\n")
    with pytest.raises(SourceError, match="lens of model SIMPLE_RADIAL, which is not read"):
        open_source({"source": "scannetpp", "path": str(tmp_path)})


def ask(tmp_path, *arguments):
    """Questions of --rooms=... by the verb, and what it printed."""
    import contextlib

    from data_prep import synthesize

    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = synthesize.main([f"--out={tmp_path / 'questions'}", "--no_margins", *arguments])
    if code:
        return [], said.getvalue()
    from spatial_jax.data import open_questions

    source = open_questions(str(tmp_path / "questions"), "train")
    return [source[i] for i in range(len(source))], said.getvalue()


def test_rooms_of_arkitscenes_have_the_boxes_that_were_labelled(tmp_path):
    seen = view()
    arkit(tmp_path / "data", seen, 0)
    records, said = ask(tmp_path, f"--rooms={tmp_path / 'data'}")
    assert "no scene is kept out" in said
    truth = {t.name: t for t in seen.things}
    topics = set()
    for record in (r for r in records if "behind the wall" not in r.question):
        topics.add(record.family)
        inputs = record.json_field("meta")["rule_inputs"]
        named = [n for n in truth if re.search(rf"\b{n}\b", record.question)]
        if record.family == "vsi_object_abs_distance":
            a, b = (truth[n] for n in named)
            assert float(record.answer) == pytest.approx(np.linalg.norm(a.center - b.center), abs=0.051)
        if record.family == "vsi_object_size_estimation":
            (a,) = (truth[n] for n in named)
            assert float(record.answer) == pytest.approx(100 * a.extent.max(), abs=0.51)
        if record.family == "vsi_object_rel_distance":
            (target,) = set(named) - set(inputs["options"])
            assert record.answer == min(
                inputs["options"], key=lambda n: np.linalg.norm(truth[n].center - truth[target].center)
            )
    assert {"vsi_object_abs_distance", "vsi_object_size_estimation", "vsi_object_rel_direction"} <= topics
    assert len(records[0].images) == 1 and records[0].json_field("meta")["video"]["total"] == 1


def test_rooms_of_scannet_keep_to_the_quota_and_leave_a_benchmarks_scenes_out(tmp_path):
    seen = view()
    for number in range(3):
        scannet(tmp_path / "data", seen, f"scene000{number}_00")
    rows = [{"scene_name": "scene0001_00", "dataset": "scannet"}, {"scene_name": "scene0900_00"}]
    (tmp_path / "bench.jsonl").write_text("\n".join(map(json.dumps, rows)))
    records, said = ask(
        tmp_path, f"--rooms={tmp_path / 'data'}", f"--exclude_scenes={tmp_path / 'bench.jsonl'}", "--quota=vsi100k"
    )
    assert {r.scene_id for r in records} == {"scene0000_00", "scene0002_00"}
    assert "scene0001_00: kept out by --exclude_scenes" in said and "no scene is kept out" not in said
    made = {family: sum(r.family == family for r in records) for family in {r.family for r in records}}
    # 6400, 13000 and 8000 questions of 1513 scans, for two of them
    assert made["vsi_object_counting"] == 9 and made["vsi_room_size_estimation"] == 2
    assert made["vsi_object_rel_direction"] <= 11 and made["vsi_object_abs_distance"] == 20
    record = records[0]
    assert len(record.images) == 2, "the frame without a pose is passed over"
    assert record.json_field("meta")["video"] == {"fps": 30.0, "indices": [0, 2], "total": 3}
    check_asked_by_vsgrpo(list({r.family: r for r in records}.values()))
    _, said = ask(tmp_path / "other", f"--rooms={tmp_path}")
    assert "holds no scans of scannet, scannetpp, arkitscenes" in said and "\n" not in said.strip()
    (tmp_path / "empty.txt").write_text("\n")
    _, said = ask(tmp_path / "other", f"--rooms={tmp_path / 'data'}", f"--exclude_scenes={tmp_path / 'empty.txt'}")
    assert "names no scene" in said


def test_a_broken_scan_is_named_and_the_others_go_on(tmp_path):
    seen = view()
    scannet(tmp_path / "data", seen, "scene0000_00", 1)
    crooked = scannet(tmp_path / "data", seen, "scene0001_00", 1)
    (crooked / "scene0001_00.txt").write_text("axisAlignment = 1 0 0 zero\n")
    lost = scannet(tmp_path / "data", seen, "scene0002_00", 1) / "scene0002_00.sens"
    lost.write_bytes(sens(seen, [np.full((4, 4), np.nan)]))
    records, said = ask(tmp_path, f"--rooms={tmp_path / 'data'}")
    assert {r.scene_id for r in records} == {"scene0000_00"}
    assert "skipped scene0001_00: could not convert string to float: 'zero'" in said
    assert "skipped scene0002_00: none of its 1 frames can be used (its pose was lost" in said


class Held:
    """A walk of pictures of 8x6 pixels whose frames look in these ways; None cannot be read."""

    def __init__(self, ways):
        self.ways = ways

    def walk(self, scan_id):
        return len(self.ways), 30.0

    def posed_shot(self, scan_id, number):
        if self.ways[number] is None:
            raise OSError("half a file")
        pose = np.eye(4)
        pose[:3, :3] = np.array(self.ways[number], float).T  # rows: the camera's axes in the level frame
        return Shot(np.full((6, 8, 3), number, np.uint8), b"", np.ones((6, 8)), (4.0, 4.0, 3.5, 2.5), pose)


SIDEWAYS = [[0, 0, 1], [1, 0, 0], [0, 1, 0]]  # the right edge is up
LEVEL = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
DOWNWARDS = [[1, 0, 0], [0, -1, 0], [0, 0, -1]]


def test_a_clip_has_one_orientation_whatever_single_frames_look_at():
    frames = frames_of_walk(Held([SIDEWAYS, DOWNWARDS, SIDEWAYS, LEVEL, None]), "a", 5)
    assert {(width, height) for _, width, height in frames} == {(6, 8)} and frames.lost == 1
    assert frames.video == {"fps": 30.0, "indices": [0, 1, 2, 3], "total": 5}
    with pytest.raises(BadItem, match=r"none of its 2 frames can be used \(half a file\)"):
        frames_of_walk(Held([None, None]), "a", 2)


def test_frames_of_different_sizes_are_no_clip(tmp_path):
    meta = {"object_counts": {"chair": 3}, "object_bbox": {}, "room_size": 12.0, "dataset": "scannet"}
    (tmp_path / "rooms.json").write_text(json.dumps({"a": meta, "b": meta}))
    for scene, sizes in (("a", [(56, 28), (56, 28)]), ("b", [(56, 28), (28, 56)])):
        for number, size in enumerate(sizes):
            save_rgb(tmp_path / "frames" / scene / f"{number}.png", np.zeros((size[1], size[0], 3), np.uint8))
    (tmp_path / "frames" / "a" / "2.png").write_bytes(b"half a picture")
    records, said = ask(tmp_path, f"--rooms={tmp_path / 'rooms.json'}", f"--frames={tmp_path / 'frames'}")
    assert {r.scene_id for r in records} == {"a"} and "skipped b: its frames are of different sizes" in said
    assert "a chosen frame cannot be used" in said
