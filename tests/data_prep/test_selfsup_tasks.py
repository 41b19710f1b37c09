"""Spatial-SSRL's tasks: answers solved again from the pictures, the paper's constants, refusals, the published mixture,
the verb.
"""

import collections
import dataclasses
import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from data_prep.synthesis.selfsup import (
    Draw,
    Picture,
    Style,
    Unsuitable,
    crop,
    depth_order,
    flip,
    in_camera_frame,
    plan_mixture,
    plan_per_photo,
    position3d,
    shuffle,
)
from data_prep.synthesis.selfsup.build import VARIANTS, load, make_record, window
from data_prep.synthesis.selfsup.depths import BANDS, _decide, normalise_percentiles
from data_prep.synthesis.selfsup.patches import candidates, cut
from spatial_jax.data.records import SceneRecord

FULL, PLAIN = Style(), Style.small()


def photo(height=480, width=640, seed=0):
    """A picture whose every part looks different: gradients, discs and stripes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = Image.fromarray(
        np.stack([255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 23 + y / 31)], -1).astype(np.uint8)
    )
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        cx, cy, r = rng.integers(0, width), rng.integers(0, height), rng.integers(10, 60)
        draw.ellipse(
            (int(cx - r), int(cy - r), int(cx + r), int(cy + r)), fill=tuple(int(v) for v in rng.integers(0, 255, 3))
        )
    return np.asarray(image)


def steps(height=1100, width=1600):
    """Depth of three vertical planes with a little slope, nearest at the left; a band without depth at the top."""
    depth = np.repeat(np.repeat([[2.0, 5.0, 8.0]], height, 0), -(-width // 3), 1)[:, :width].astype(np.float32)
    depth += 0.001 * np.arange(height, dtype=np.float32)[:, None] / height
    depth[:40] = np.nan
    return depth


def inside(patch, margin):
    return patch[margin:-margin, margin:-margin]


@pytest.mark.parametrize(
    ("rows", "columns", "masked"),
    [(2, 2, False), (2, 2, True), (1, 3, False), (1, 4, False), (3, 1, False), (4, 1, False)],
)
def test_selfsup_shuffle_restores(rows, columns, masked):
    rgb = photo()
    for turn in range(6):
        puzzle = shuffle(Picture(rgb), Draw("t", turn), FULL, rows, columns, masked)
        shown, original = cut(puzzle.images[0], rows, columns), cut(rgb, rows, columns)
        order = [int(v) for v in puzzle.answer.split("-")]
        assert sorted(order) == list(range(rows * columns))
        hidden = puzzle.rule_inputs["masked_slot"]
        for place, label in enumerate(order):
            if label == hidden:
                assert (inside(shown[label], 80) == 255).all()
            else:
                assert (shown[label][70:-5, 70:-5] == original[place][70:-5, 70:-5]).all()
        assert (
            (shown[0][0, 0] == (255, 0, 0)).all()
            and (shown[0][1, 1] == (255, 0, 0)).all()
            and not (shown[0][2, 2] == (255, 0, 0)).all()
        )


def test_selfsup_shuffle_answer_is_argsort():
    """The stated example: perm [2, 0, 3, 1] gives 1-3-0-2."""
    assert "-".join(map(str, np.argsort([2, 0, 3, 1]))) == "1-3-0-2"
    puzzle = shuffle(Picture(photo()), Draw("a"), FULL)
    assert puzzle.answer == "-".join(map(str, np.argsort(puzzle.rule_inputs["perm"])))


def test_selfsup_flip_is_the_only_change():
    rgb = photo()
    seen = set()
    for turn in range(8):
        puzzle = flip(Picture(rgb), Draw("f", turn), FULL)
        target, direction = map(int, puzzle.answer.split("-"))
        seen.add(puzzle.answer)
        shown, original = cut(puzzle.images[0], 2, 2), cut(rgb, 2, 2)
        for slot in range(4):
            expected = (
                original[slot]
                if slot != target
                else original[slot][::-1]
                if direction == 0
                else original[slot][:, ::-1]
            )
            assert (shown[slot][70:-5, 70:-5] == expected[70:-5, 70:-5]).all()
    assert len(seen) == 8


def test_selfsup_crop_fills_the_hole():
    rgb = photo()
    kinds = set()
    for turn in range(24):
        puzzle = crop(Picture(rgb), Draw("c", turn), FULL)
        left, top, side = (puzzle.rule_inputs[k] for k in ("left", "top", "side"))
        assert side == 240 and puzzle.question.count("<image>") == 5 == len(puzzle.images)
        assert (puzzle.images[0][top : top + side, left : left + side] == 0).all()
        right = puzzle.images[1 + "ABCD".index(puzzle.answer)]
        assert (right == rgb[top : top + side, left : left + side]).all()
        assert all(i.shape == (side, side, 3) for i in puzzle.images[1:])
        assert sum((i == right).all() for i in puzzle.images[1:]) == 1
        kinds |= set(puzzle.rule_inputs["candidates"])
    assert kinds == {"crop", "rotated left", "rotated right", "interior", "context 0.25", "context 0.5"}


@pytest.mark.parametrize("shape", [(112, 112), (112, 150), (150, 112)])
def test_selfsup_plain_crop_shows_its_candidates_beside_the_hole_at_its_scale(shape):
    whole = photo(*shape) // 2 + np.random.default_rng(0).integers(0, 128, (*shape, 3)).astype(np.uint8)  # never flat
    rgb = whole[:, 19:131] if shape[1] > 112 else whole[19:131] if shape[0] > 112 else whole
    for turn in range(8):
        puzzle = crop(Picture(whole), Draw("c", turn), PLAIN)
        left, top, side = (puzzle.rule_inputs[k] for k in ("left", "top", "side"))
        (picture,) = puzzle.images
        context, shown = picture[:, :112], picture[:, 112:]
        assert side == 56 and context.shape == shown.shape == (112, 112, 3)
        assert (context[top : top + side, left : left + side] == 0).all()
        row, column = divmod("ABCD".index(puzzle.answer), 2)
        right = shown[56 * row :, 56 * column :][:56, :56]
        assert (right[24:-2, 24:-2] == rgb[top : top + side, left : left + side][24:-2, 24:-2]).all()  # its letter


def test_selfsup_crop_candidates_at_the_edge_are_clipped():
    parts = candidates(photo(), 0, 0, 240)
    assert all(p.shape == (240, 240, 3) for p in parts.values())


def test_selfsup_depth_order_margins():
    depth = steps()
    scaled = normalise_percentiles(depth)
    for turn in range(12):
        puzzle = depth_order(Picture(np.zeros((1100, 1600, 3), np.uint8), depth), Draw("d", turn), FULL)
        centres, labels = puzzle.rule_inputs["centres"], puzzle.rule_inputs["labels"]
        assert puzzle.answer == "-".join(map(str, labels))
        values = [scaled[y, x] for x, y in centres]
        assert values == sorted(values) and all(lo <= v <= hi for v, (lo, hi) in zip(values, BANDS, strict=True))
        ranges = puzzle.rule_inputs["ranges"]
        assert all(hi - lo < 0.15 for lo, hi in ranges) and all(
            b[0] - a[1] >= 0.05 for a, b in itertools.pairwise(ranges)
        )
        for x, y in centres:
            assert np.isfinite(depth[y - 12 : y + 13, x - 12 : x + 13]).all()
            assert (puzzle.images[0][y - 30, x] == 255).all()


FACING = [
    ("left", -5, 0, "Right", "Front"),
    ("left", 5, -1, "Left", "Back"),
    ("right", 5, -1, "Right", "Front"),
    ("right", -5, 1, "Left", "Back"),
    ("toward the viewer", -5, -1, "Right", "Front"),
    ("toward the viewer", 5, 1, "Left", "Back"),
    ("away from the viewer", 5, 1, "Right", "Front"),
    ("away from the viewer", -5, -1, "Left", "Back"),
]


@pytest.mark.parametrize(("facing", "dx", "dz", "side", "ahead"), FACING)
def test_selfsup_camera_frame(facing, dx, dz, side, ahead):
    assert in_camera_frame(facing, dx, dz) == (side, ahead)
    turned = {"left": 90, "toward the viewer": 180, "right": 270, "away from the viewer": 0}[facing]
    t = np.deg2rad(turned)
    if dz:  # the paper's rotation says the same
        x, z = np.cos(t) * dx + np.sin(t) * dz, -np.sin(t) * dx + np.cos(t) * dz
        assert (("Right" if x > 0 else "Left"), ("Front" if z > 0 else "Back")) == (side, ahead)


def test_selfsup_direction_vector_of_the_notes():
    """dx > 0, dz > 0: facing left Right-Back, toward the viewer Left-Back, right Left-Front, away Right-Front."""
    expected = {
        "left": "Right-Back",
        "toward the viewer": "Left-Back",
        "right": "Left-Front",
        "away from the viewer": "Right-Front",
    }
    for facing, answer in expected.items():
        assert _decide("far", facing, 200.0, 1.0, 150)[1] == answer
    assert _decide("far", "left", 100.0, 1.0, 150) == (("Left", "Right", "Front", "Back"), "Right", "dz")
    assert _decide("near", "left", 100.0, 1.0, 150) == (("Left", "Right", "Front", "Back"), "Back", "dx")


@pytest.mark.parametrize("kind", ["near", "far"])
def test_selfsup_position_margins(kind):
    depth = steps()
    scaled = (depth - np.nanmin(depth)) / (np.nanmax(depth) - np.nanmin(depth))
    faces = collections.Counter()
    for turn in range(8):
        puzzle = position3d(Picture(np.zeros((1100, 1600, 3), np.uint8), depth), Draw("p", turn), FULL, kind)
        (x1, y1), (x2, y2) = puzzle.rule_inputs["centres"]
        blocks = [scaled[y - 7 : y + 8, x - 7 : x + 8] for x, y in ((x1, y1), (x2, y2))]
        ranges = [(np.nanmin(b), np.nanmax(b)) for b in blocks]
        assert all(hi - lo <= 0.15 for lo, hi in ranges)
        if kind == "near":
            assert abs(y1 - y2) < 30 and abs(x1 - x2) >= 1100 // 8
        else:
            assert (
                max(ranges[0][0] - ranges[1][1], ranges[1][0] - ranges[0][1]) >= 0.25
                and np.hypot(x1 - x2, y1 - y2) >= 1100 // 8
            )
        faces[puzzle.answer] += 1
        right = puzzle.options["ABCD".index(puzzle.answer)]
        side, ahead = in_camera_frame(puzzle.rule_inputs["facing"], x2 - x1, puzzle.rule_inputs["dz"])
        assert right in (side, ahead, f"{side}-{ahead}")
    assert set(faces.values()) == {2}


@pytest.mark.parametrize(
    ("task", "depth"),
    [
        (shuffle, None),
        (flip, None),
        (crop, None),
        (depth_order, 3.0),
        (position3d, 3.0),
        (depth_order, np.nan),
        (position3d, np.nan),
        (depth_order, None),
        (position3d, None),
    ],
)
def test_selfsup_refuses_what_has_no_answer(task, depth):
    """A uniform wall, flat, invalid or missing depth."""
    wall = np.full((480, 640, 3), 200, np.uint8)
    with pytest.raises(Unsuitable):
        task(Picture(wall, None if depth is None else np.full((480, 640), depth, np.float32)), Draw("r"), FULL)


@pytest.mark.parametrize("task", [shuffle, flip, crop])
def test_selfsup_refuses_small_pictures(task):
    with pytest.raises(Unsuitable):
        task(Picture(photo(30, 30)), Draw("s"), FULL)


def test_depth_of_another_size_is_the_reason_said():
    def png(array):
        out = io.BytesIO()
        Image.fromarray(array).save(out, "PNG")
        return out.getvalue()

    picture, depth = png(np.zeros((40, 60, 3), np.uint8)), png(np.full((20, 30), 900, np.uint16))
    scene = SceneRecord("s", "t", "train", picture, 60, 40, "s", depth_png=depth, depth_scale=0.001)
    with pytest.raises(Unsuitable, match="depth has another size"):
        load(scene)
    assert load(scene, depth_too=False).depth is None


def test_selfsup_published_mixture():
    jobs = plan_mixture(list(dict.fromkeys(t for t, _, _ in VARIANTS.values())), [True] * 50 + [False] * 200, 81_053, 0)
    counts = collections.Counter(j.variant for j in jobs)
    assert counts == {v: w for v, (_, w, _) in VARIANTS.items()} and sum(counts.values()) == 81_053
    assert all(p < 50 for j in jobs if j.variant in ("depth_order", "position3d") for p in j.photos)
    assert (
        len(plan_mixture(["flip", "crop"], [False], 100, 0)) == 100
        and plan_mixture(["depth_order"], [False], 10, 0) == []
    )


def record(rgb, depth=None, split="train", name="p"):
    out = io.BytesIO()
    Image.fromarray(rgb).save(out, "PNG")
    depth_png = b""
    if depth is not None:
        raw = io.BytesIO()
        Image.fromarray(np.where(np.isfinite(depth), depth * 1000, 0).astype(np.uint16)).save(raw, "PNG")
        depth_png = raw.getvalue()
    return SceneRecord(
        name,
        "test",
        split,
        out.getvalue(),
        rgb.shape[1],
        rgb.shape[0],
        name,
        depth_png=depth_png,
        depth_scale=0.001,
        depth_flag="metric" if depth_png else "none",
    )


def write_scenes(folder, scenes):
    from data_prep.pipeline import Outcome
    from data_prep.writer import DatasetWriter, Serializer
    from spatial_jax.data.records import scene_features, to_example

    serialize = Serializer(scene_features())
    with DatasetWriter(str(folder), "scenes", scene_features(), {}) as writer:
        for i, s in enumerate(scenes):
            writer.append(Outcome(i, s.scene_id, "record", s.split, example=serialize(to_example(s))))
        writer.finish()


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if "array_record" in p.name or p.name == "manifest.json"}


def test_selfsup_verb_same_bytes_splits_and_resume(tmp_path, capsys):
    from data_prep.selfsup import main

    depth = np.repeat(np.repeat([[2.0, 5.0, 8.0]], 240, 0), 107, 1)[:, :320].astype(np.float32)
    broken = dataclasses.replace(record(photo(240, 320, 3), name="broken"), image=b"\x89PNG\r\n\x1a\nnothing")
    write_scenes(
        tmp_path / "s",
        [
            record(photo(240, 320, 0), depth, name="a"),
            record(photo(240, 320, 1), name="b"),
            broken,
            record(photo(240, 320, 2), depth, "heldout", "c"),
        ],
    )
    common = [f"--photos={tmp_path / 's'}", "--profile=plain", "--size=112", "--per_photo=10"]
    assert main([*common, f"--out={tmp_path / 'one'}"]) == 0
    assert "picture cannot be decoded" in capsys.readouterr().out
    assert main([*common, f"--out={tmp_path / 'two'}", "--workers=2"]) == 0
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert main([*common, f"--out={tmp_path / 'one'}"]) == 0 and "complete" in capsys.readouterr().out
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(tmp_path / "one"))
    for split, names in (("train", {b"a", b"b"}), ("heldout", {b"c"})):
        rows = list(builder.as_data_source(split))
        assert {r["scene_id"] for r in rows} == names
        for row in rows:  # a crop's candidates stand beside its hole
            most = 224 if row["family"] == b"ssrl_crop" else 112 + 28
            assert all(max(i.shape[:2]) <= most for i in row["images"])
    assert {r["family"] for r in builder.as_data_source("heldout")} == {
        f"ssrl_{t}".encode() for t in ("shuffle", "flip", "crop", "depth_order", "position3d")
    }


def test_selfsup_verb_refuses_in_one_line(tmp_path, capsys):
    from data_prep.selfsup import main

    assert main([f"--photos={tmp_path}", f"--out={tmp_path / 'o'}"]) == 2
    assert main([f"--photos={tmp_path}", f"--out={tmp_path / 'o'}", "--tasks=nothing"]) == 2
    for wrong in (["--count=9"], ["--mixture=published", "--per_photo=2"], ["--mixture=published", "--count=0"]):
        assert main([f"--photos={tmp_path}", f"--out={tmp_path / 'o'}", *wrong]) == 2
    errors = capsys.readouterr().err.strip().split("\n")
    assert len(errors) == 5 and "dataset_info.json" in errors[0] and "nothing" in errors[1]
    assert "give --per_photo" in errors[2] and "give --count" in errors[3] and "1 or more" in errors[4]


def test_selfsup_records_are_balanced_and_carry_rewards():
    scenes = [record(photo(240, 320, i), name=f"p{i}") for i in range(2)]
    pictures = [Picture(photo(240, 320, i)) for i in range(2)]
    jobs = plan_per_photo(("flip", "crop"), [False, False], 32, True)
    made = [make_record(j, lambda i: (scenes[i], pictures[i]), PLAIN, size=112, seed=0) for j in jobs]
    flips = collections.Counter(r.answer for r in made if not isinstance(r, str) and r.family == "ssrl_flip")
    assert len(flips) == 8 and max(flips.values()) - min(flips.values()) <= 2
    full = make_record(
        plan_per_photo(("crop",), [False], 1, False)[0], lambda i: (scenes[i], pictures[i]), FULL, size=0, seed=0
    )
    assert json.loads(full.reward) == {"kind": "ssrl"} and json.loads(made[0].reward)["kind"] in ("word", "choice")


@pytest.mark.parametrize(("height", "width"), [(112, 112), (90, 112), (112, 86), (150, 112)])
def test_selfsup_plain_pictures_fit_the_visual_tokens(height, width):
    """Patches and candidates are whole tokens of 28 pixels, no mark is cut off."""
    y, x = np.mgrid[:height, :width]
    depth = (2.0 + 6.0 * (height - y) / height + 0 * x).astype(np.float32)
    rgb = photo(height, width, 5) / 2 + np.random.default_rng(0).integers(0, 128, (height, width, 3))
    picture = Picture(rgb.astype(np.uint8), depth)
    for turn in range(4):
        made = [shuffle(picture, Draw("s", turn), PLAIN, *grid) for grid in ((2, 2), (1, 3), (3, 1))]
        for puzzle in [*made, flip(picture, Draw("f", turn), PLAIN)]:
            rows, columns = map(int, puzzle.variant.split("x"))
            assert all(side % (28 * cuts) == 0 for side, cuts in zip(puzzle.images[0].shape, (rows, columns)))
        (beside,) = crop(picture, Draw("c", turn), PLAIN).images
        assert beside.shape[1] == 2 * beside.shape[0] and beside.shape[0] % 56 == 0
        for place in depth_order(picture, Draw("d", turn), PLAIN).rule_inputs["centres"]:
            assert all(7 <= at < side - 7 for at, side in zip(place, (width, height)))


def test_selfsup_plain_positions_are_answered_in_words():
    y, x = np.mgrid[:112, :112]
    picture = Picture(photo(112, 112), (2.0 + 6.0 * (112 - y) / 112 + 0 * x).astype(np.float32))
    for turn in range(8):
        puzzle = position3d(picture, Draw("p", turn), PLAIN)
        side, ahead = in_camera_frame(*(puzzle.rule_inputs[k] for k in ("facing", "dx", "dz")))
        assert puzzle.answer in puzzle.options and puzzle.answer in puzzle.question
        assert puzzle.answer in (side.lower(), ahead.lower(), f"{side}-{ahead}".lower())


def test_selfsup_window_keeps_depth_aligned():
    ramp = np.repeat(np.arange(320, dtype=np.uint8)[None, :, None] // 2, 240, 0).repeat(3, 2)
    cut_out = window(Picture(ramp, ramp[..., 0].astype(np.float32)), Draw("w"), False, 0)
    assert (cut_out.rgb[..., 0] == cut_out.depth).all()
