"""A cold start's thoughts against the pictures, ties of tasks to sources, what is made as published, bad photos."""

import collections
import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from data_prep.selfsup import main
from data_prep.synthesis.selfsup import Draw, Picture, Style, Unsuitable, crop, depth_order, flip, position3d, shuffle
from data_prep.synthesis.selfsup.build import VARIANTS, Job, make_record, plan_per_photo, window
from data_prep.synthesis.selfsup.facts import OPPOSITE, colour, edge
from data_prep.synthesis.selfsup.patches import cut
from spatial_jax.data.prompts import target_text
from tests.data_prep.test_selfsup_tasks import photo, record, steps, write_scenes

FULL = Style()
PUBLISHED = Style(as_published=True)


def made(variant, count, style=FULL):
    pictures = [Picture(photo(480, 640, i), steps(480, 640)) for i in range(3)]
    scenes = [record(p.rgb, p.depth, name=f"p{i}") for i, p in enumerate(pictures)]
    jobs = [Job(k, variant, (k % 3,), True, k) for k in range(count)]
    out = [make_record(j, lambda i: (scenes[i], pictures[i]), style, size=0, seed=1) for j in jobs]
    return [(r, json.loads(r.meta)) for r in out if not isinstance(r, str)]


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_thought_leads_to_its_answer_in_varied_words(variant):
    rows = made(variant, 24)
    assert len(rows) >= 12
    for item, meta in rows:
        said = meta["thought"]
        assert target_text(item, "think_boxed") == f"<think>{said}</think>\n\\boxed{{{item.answer}}}"
        assert "{" not in said and "From the picture, the answer" not in said
    shapes = {re.sub(r"\d+(\.\d+)?|\b[A-D]\b", "#", meta["thought"]) for _, meta in rows}
    assert len(shapes) >= len(rows) // 2, shapes


@pytest.mark.parametrize("variant", ["shuffle 2x2", "shuffle 2x2 masked", "shuffle row", "shuffle column"])
def test_shuffle_thoughts_name_edges_that_meet(variant):
    for item, meta in made(variant, 16):
        columns = meta["rule_inputs"]["grid"][1]
        order = [int(v) for v in item.answer.split("-")]
        for seam in meta["rule_inputs"]["seams"]:
            a, b = order.index(seam["first"]), order.index(seam["second"])
            assert b - a == (1 if seam["side"] == "right" else columns)
            assert seam["side"] == "bottom" or a // columns == b // columns
            assert meta["rule_inputs"]["masked_slot"] not in (seam["first"], seam["second"])
        said = meta["thought"]
        pattern = r"The (\w+) edge of patch (\d).*? the (\w+) edge of patch (\d)"
        for side, first, other, second in re.findall(pattern, said):
            step = 1 if side == "right" else columns
            assert order.index(int(second)) - order.index(int(first)) == step and OPPOSITE[side] == other
        assert re.findall(r"\d(?:-\d)+", said) == [item.answer]


def test_flip_thoughts_name_the_border_that_breaks():
    for item, meta in made("flip", 24):
        facts, said = meta["rule_inputs"], meta["thought"]
        patch, direction = map(int, item.answer.split("-"))
        assert f"atch {patch}" in said and re.findall(r"\d-\d", said) == [item.answer]
        assert ("upside" in said or "vertically" in said) == (direction == 0)
        seam = facts["seam"]
        if seam["neighbour"] < 0:
            continue
        assert seam["neighbour"] in (patch ^ 1, patch ^ 2) and f"patch {seam['neighbour']}" in said
        shown = cut(np.asarray(Image.open(io.BytesIO(item.images[0])).convert("RGB")), 2, 2)
        back = shown[patch][::-1] if direction == 0 else shown[patch][:, ::-1]
        other = shown[seam["neighbour"]][8:-8, 8:-8]  # inside the red border
        broken, joined = (
            np.abs(edge(x[8:-8, 8:-8], seam["side"]) - edge(other, OPPOSITE[seam["side"]])).mean()
            for x in (shown[patch], back)
        )
        assert joined < broken + 4


def test_crop_thoughts_name_each_candidate():
    words = {
        "rotated left": ("quarter to the left", "counter-clockwise"),
        "rotated right": ("quarter to the right", "rotated clockwise"),
        "interior": ("enlarged", "zoomed in"),
        "context 0.25": ("surroundings too", "a little more"),
        "context 0.5": ("shrunk", "far more"),
    }
    for item, meta in made("crop", 24):
        facts = meta["rule_inputs"]
        parts = {p.strip(" .")[0]: p for p in re.split(r"[;.] ?", meta["thought"]) if re.match(r"[A-D] ", p.strip())}
        for letter, kind in zip("ABCD", facts["candidates"]):
            if kind == "crop":
                assert letter == item.answer and letter in meta["thought"]
            else:
                assert any(w in parts[letter] for w in words[kind]), (kind, parts)
        for found in facts["edges"]:
            room = {
                "left": facts["left"],
                "top": facts["top"],
                "right": 640 - facts["left"] - facts["side"],
                "bottom": 480 - facts["top"] - facts["side"],
            }
            assert room[found["side"]] >= 4


def test_depth_thoughts_state_true_ratios():
    for item, meta in made("depth_order", 16):
        facts = meta["rule_inputs"]
        depth = dict(zip(facts["labels"], facts["depths"]))
        pairs = re.findall(r"(\d) (?:is|lies) about ([\d.]+) times as", meta["thought"])
        for far, ratio in pairs:
            near = facts["labels"][facts["labels"].index(int(far)) - 1]
            assert abs(float(ratio) - depth[int(far)] / depth[near]) < 0.06
        heights = {label: y for label, (_, y) in zip(facts["labels"], facts["centres"])}
        for label in re.findall(r"and (\d) is lower in the picture", meta["thought"]):
            k = facts["labels"].index(int(label))
            assert heights[int(label)] > heights[facts["labels"][k + 1]]
        assert re.findall(r"\d-\d-\d", meta["thought"]) == [item.answer]


def test_depth_thoughts_tell_no_ratio_where_depth_is_an_order_only():
    scene = dataclasses.replace(record(photo(), steps(480, 640)), depth_flag="relative")
    file = dataclasses.replace(scene, provenance='{"depth": "MegaDepth", "depth_file": "a.h5"}')
    picture = Picture(photo(), steps(480, 640))
    for told, ratio in ((scene, False), (file, True)):
        for k in range(6):
            job = Job(k, "depth_order", (0,), True, k)
            item = make_record(job, {0: (told, picture)}.__getitem__, FULL, size=0, seed=1)
            said = json.loads(item.meta)["thought"]
            assert ("times" in said) == ratio and item.answer in said, said


def test_position_thoughts_turn_the_view_as_the_answer_does():
    sides = {"to its right": "Right", "to its left": "Left", "behind it": "Back", "in front of it": "Front"}
    for item, meta in made("position3d", 40):
        facts, said = meta["rule_inputs"], meta["thought"]
        option = item.options["ABCD".index(item.answer)]
        found = {word for text, word in sides.items() if text in said}
        assert found == set(option.split("-")), (said, option)
        here, there = facts["labels"]
        assert re.search(rf"{there} is .*{here}", said) and re.search(rf"\b{item.answer}\b", said)
        if "dx" in facts["used"]:
            assert f"to the {'right' if facts['dx'] >= 0 else 'left'} of" in said
        if "dz" in facts["used"]:
            assert ("farther away" in said) == (facts["dz"] >= 0)


def test_colours_have_names_only_where_there_is_one():
    for rgb, name in (((220, 30, 30), "red"), ((20, 40, 220), "blue"), ((128, 128, 128), "grey"), ((4, 4, 4), "black")):
        assert colour(np.tile(np.float32(rgb), (50, 1))) == name
    assert colour(np.float32([[0, 0, 0], [255, 255, 255]] * 20)) == ""


def wide(height=480, width=640):
    """Depth of 1 to 150 m in which the right third is 16 m behind the left."""
    depth = np.full((height, width), 30.0, np.float32)
    depth[:, width // 2 :] = 46.0
    depth[0, 0], depth[-1, -1] = 1.0, 150.0
    return depth


def test_near_pairs_scale_with_depth_and_the_published_rule_says_so():
    black = np.zeros((480, 640, 3), np.uint8)
    for turn in range(12):
        puzzle = position3d(Picture(black, wide()), Draw("n", turn), FULL, "near")
        (x1, y1), (x2, y2) = puzzle.rule_inputs["centres"]
        assert wide()[y1, x1] == wide()[y2, x2] and not puzzle.objections
    published = [position3d(Picture(black, wide()), Draw("n", turn), PUBLISHED, "near") for turn in range(40)]
    apart = [abs(p.rule_inputs["dz"]) > 10 for p in published]
    assert any(apart) and all(p.objections for p, far in zip(published, apart) if far)
    assert not all(p.objections for p in published)


def test_sides_of_far_pairs_are_those_of_space():
    """A wall at 40 m right of the middle, before its end a post at 4 m: right of it in the picture, left in space."""
    depth = np.full((480, 640), 40.0, np.float32)
    depth[:, :360] = np.nan
    depth[:, 560:] = 4.0
    black, middle = np.zeros((480, 640, 3), np.uint8), 320

    def sides(puzzle):
        (x1, y1), (x2, y2) = puzzle.rule_inputs["centres"]
        out = [(x - middle) * depth[y, x] for x, y in ((x1, y1), (x2, y2))]
        return puzzle.rule_inputs["used"], (out[1] - out[0]) * (x2 - x1) > 0

    made = [position3d(Picture(black, depth), Draw("x", turn), PUBLISHED, "far") for turn in range(6)]
    wrong = [p for p in made if sides(p) == ("dx dz", False)]
    told = "3-D position: what is right in the picture is left in space"
    assert wrong and all(told in p.objections for p in wrong)
    asked = [position3d(Picture(black, depth), Draw("x", turn), FULL, "far") for turn in range(6)]
    assert {sides(p)[0] for p in asked} == {"dz"}  # such a pair is left to depth
    made = [position3d(Picture(black, depth, middle=700.0), Draw("x", turn), PUBLISHED, "far") for turn in range(6)]
    assert not any(told in p.objections for p in made)


def test_a_window_of_a_photo_keeps_its_lens():
    whole = Picture(photo(480, 640), wide(), focal=900.0)
    columns = np.tile(np.arange(1, 641, dtype=np.float32), (480, 1))
    whole = dataclasses.replace(whole, depth=columns)
    part = window(whole, Draw("w"), False, 0)
    left = part.depth[0, 0] - whole.depth[0, 0]  # its depth is its column
    assert part.middle == 320 - left and window(whole, Draw("w"), True, 320).middle == 160
    assert window(whole, Draw("w"), False, 0).focal == 900.0 and window(whole, Draw("w"), True, 320).focal == 450.0
    assert Picture(photo(48, 64)).focal == 64.0


def test_bad_photos_say_what_is_wrong():
    wall, rng = np.full((480, 640, 3), 200, np.uint8), np.random.default_rng(0)
    half = rng.integers(0, 255, (24, 16, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    mirrored = np.concatenate([half, half[:, ::-1]], 1)
    mirrored = np.concatenate([mirrored[:240], mirrored[:240]], 0)
    quarter = rng.integers(0, 255, (12, 8, 3), np.uint8).repeat(20, 0).repeat(20, 1)
    own = np.concatenate([quarter, quarter[:, ::-1]], 1)
    own = np.concatenate([own, own], 1)
    y, x = np.mgrid[:480, :640]
    slant = 127 + 127 * np.cos((x % 320 + y % 240 - 279) / 25)  # half a turn of a patch changes nothing
    stripes = np.repeat(slant.astype(np.uint8)[..., None], 3, 2)
    holes = steps(480, 640)
    holes[::2], holes[:, ::2] = np.nan, np.nan
    cases = [
        (shuffle, wall, None, "look alike"),
        (flip, wall, None, "own mirror image"),
        (flip, np.concatenate([own, own], 0), None, "own mirror image"),
        (flip, stripes, None, "upside down and left-right look alike"),
        (crop, wall, None, "flat"),
        (shuffle, photo(60, 60), None, "too small"),
        (depth_order, wall, holes, "holes in every region"),
        (position3d, wall, holes, "holes in every region"),
    ]
    for task, rgb, depth, why in cases:
        with pytest.raises(Unsuitable, match=why):
            for turn in (1, 3, 5, 7):
                task(Picture(rgb, depth), Draw("bad", turn), FULL)
    half = photo(480, 320, 4)
    mirrored = np.concatenate([half, half[:, ::-1]], 1)
    for rgb, grid in ((mirrored, (2, 2)), (mirrored, (1, 3)), (np.rot90(mirrored), (4, 1))):
        with pytest.raises(Unsuitable, match="the picture is its own mirror image"):
            shuffle(Picture(np.ascontiguousarray(rgb)), Draw("m"), FULL, *grid)
    assert shuffle(Picture(mirrored), Draw("m"), FULL, 3, 1).answer
    for task in (shuffle, flip, crop):
        assert task(Picture(wall), Draw("bad"), PUBLISHED).objections


def test_tasks_are_tied_to_sources(tmp_path, capsys):
    diode = dataclasses.replace(record(photo(240, 320, 1), steps(240, 320), name="d"), provenance='{"depth": "DIODE"}')
    mega = dataclasses.replace(
        record(photo(240, 320, 2), steps(240, 320), name="m"), provenance='{"depth": "MegaDepth"}'
    )
    for name, scenes in (("c", [record(photo(240, 320, 0), name="c")]), ("d", [diode]), ("m", [mega])):
        write_scenes(tmp_path / name, scenes)
    at = {n: str(tmp_path / n) for n in "cdm"}
    import tensorflow_datasets as tfds

    def scenes_of(out):
        found = collections.defaultdict(set)
        for row in tfds.builder_from_directory(str(out)).as_data_source("train"):
            found[row["family"].decode()[5:]].add(row["scene_id"].decode())
        return dict(found)

    common = [f"--photos={','.join(at.values())}", "--mixture=published", "--count=40"]
    assert main([*common, f"--out={tmp_path / 'p'}"]) == 0 and "note:" not in capsys.readouterr().out
    assert scenes_of(tmp_path / "p") == {
        "shuffle": {"c"},
        "flip": {"c"},
        "crop": {"c"},
        "depth_order": {"d"},
        "position3d": {"m"},
    }
    assert main([*common, f"--out={tmp_path / 't'}", f"--task=crop:{at['m']}", f"--task=position3d:{at['d']}"]) == 0
    found = scenes_of(tmp_path / "t")
    assert found["crop"] == {"m"} and found["position3d"] == {"d"} and found["flip"] == {"c"}
    assert main([f"--task=crop:{at['c']}", f"--task=flip:{at['d']}", "--per_photo=3", f"--out={tmp_path / 'o'}"]) == 0
    assert scenes_of(tmp_path / "o") == {"crop": {"c"}, "flip": {"d"}}
    capsys.readouterr()
    assert main([f"--photos={at['c']}", "--mixture=published", "--count=9", f"--out={tmp_path / 'n'}"]) == 0
    said = capsys.readouterr().out
    assert "depth_order is made of all photos with depth, for --photos holds no DIODE scene" in said
    for wrong in ("--task=crop", "--task=cro:x", f"--task=crop:{tmp_path / 'none'}"):
        assert main([wrong, f"--out={tmp_path / 'w'}"]) == 2
    assert len(capsys.readouterr().err.strip().split("\n")) == 3 and not (tmp_path / "w").exists()


def test_training_photos_that_are_held_out_are_left_out_and_named(tmp_path, capsys):
    def twin(name, rgb):
        again = io.BytesIO()
        Image.fromarray(rgb).resize((300, 225)).save(again, "JPEG", quality=60)
        return dataclasses.replace(record(photo(225, 300, 1), name=name), image=again.getvalue())

    held = photo(240, 320, 1)
    scenes = [
        twin("twin", held),
        twin("turned", np.ascontiguousarray(held[:, ::-1])),
        record(photo(40, 40, 5), name="small"),
        record(photo(4, 1, 6), name="tiny"),
        record(held, None, "heldout", "h"),
        record(photo(240, 320, 0), name="a"),
        dataclasses.replace(record(photo(240, 320, 0), name="b"), content_hash="a"),
    ]
    write_scenes(tmp_path / "s", scenes)
    # The same folder under two names is read once.
    photos = f"--photos={tmp_path / 's'},{tmp_path}/./s/"
    assert main([photos, "--tasks=shuffle,crop", f"--out={tmp_path / 'o'}"]) == 0
    said = capsys.readouterr().out
    named = "twin (held out as h); turned (held out as h, mirrored)"
    assert f"left out 2 training photos that are held out too: {named}" in said
    assert "training photo that is held out too 2" in said and "too small for its patches: photos small" in said
    assert (
        re.search("picture too small: photos (small, )?tiny", said)
        and "1 photos are there more than once, and weigh so: a = b" in said
    )


def test_few_questions_a_photo_reach_every_task_and_a_task_without_a_photo_is_named(tmp_path, capsys):
    tasks = ("shuffle", "flip", "crop")
    jobs = plan_per_photo(tasks, [False] * 6, 1, False)
    assert [job.variant.split()[0] for job in jobs] == [*tasks, *tasks]
    jobs = plan_per_photo(tasks, [False] * 3, 2, False)
    assert [job.variant.split()[0] for job in jobs] == [*tasks, *tasks]
    write_scenes(tmp_path / "s", [record(photo(240, 320, i), name=f"p{i}") for i in range(3)])
    for wanted in (["--per_photo=5"], ["--mixture=published", "--count=30"]):
        assert main([f"--photos={tmp_path / 's'}", *wanted, f"--out={tmp_path / wanted[-1][2:]}"]) == 0
        said = capsys.readouterr().out
        assert all(f"{task}: none of its photos has depth 3" in said for task in ("depth_order", "position3d"))
    assert "of the 30 questions of --mixture came out" in said
    few = [f"--photos={tmp_path / 's'}", "--tasks=flip,crop", "--mixture=published", "--count=2"]
    assert main([*few, f"--out={tmp_path / 'few'}"]) == 0
    assert "flip: its share of --count is less than one question 3" in capsys.readouterr().out


def test_numbers_and_flags_that_make_no_sense_are_refused(tmp_path, capsys):
    write_scenes(tmp_path / "s", [record(photo(240, 320, 0), name="a")])
    wrong = {
        "--per_photo=0": "1 or more",
        "--per_photo=-3": "1 or more",
        "--per_photo=900000000000": "at most 5000000",
        "--size=90000": "at most 8192",
        "--parts=5": "--profile=plain",
        "--tasks=flip --released_rules": "--released_rules is a rule of the task depth_order",
        "--tasks=crop --paper_orientations": "--paper_orientations is a rule of the task position3d",
        "--mixture=published --count=1000000000": "at most",
    }
    for flags, cure in wrong.items():
        assert main([f"--photos={tmp_path / 's'}", *flags.split(), f"--out={tmp_path / 'o'}"]) == 2
        said = capsys.readouterr().err.strip()
        assert cure in said and "\n" not in said and not (tmp_path / "o").exists(), flags


def test_nearly_flat_depth_is_not_asked_about():
    """A wall 2 m away whose depth spans 2 cm, in steps or in a slope: nothing of it is nearer to an eye."""
    rgb, slope = photo(480, 640), np.tile(np.arange(640), (480, 1))
    for depth in (2 + 0.02 * (steps(480, 640) - 1) / 8, 2 + 0.02 * slope / 640):
        picture = Picture(rgb, depth.astype(np.float32))
        for turn in range(6):
            for task in (depth_order, lambda *a: position3d(*a, kind="far")):
                with pytest.raises(Unsuitable, match=r"hardly differ|no far pair"):
                    task(picture, Draw("flat", turn), FULL)
                made = task(picture, Draw("flat", turn), PUBLISHED)
                assert any("hardly differ in distance" in why for why in made.objections)
    stepped = Picture(rgb, steps(480, 640))
    assert not any("hardly" in why for why in depth_order(stepped, Draw("d"), PUBLISHED).objections)


def test_what_is_made_as_published_says_what_would_have_been_refused(tmp_path, capsys):
    write_scenes(tmp_path / "s", [record(np.full((240, 320, 3), 90, np.uint8), name="wall")])
    common = [f"--photos={tmp_path / 's'}", "--tasks=flip,crop", "--per_photo=4"]
    assert main([*common, f"--out={tmp_path / 'no'}"]) == 2
    assert main([*common, "--as_published", f"--out={tmp_path / 'o'}"]) == 0
    said = capsys.readouterr().out
    assert "would have been refused otherwise" in said and "flip: the patch is its own mirror image 2" in said
    assert "crop: the piece is flat 2" in said
