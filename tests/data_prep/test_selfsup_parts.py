"""Puzzles taken apart: questions on what an answer is made of, and regions as the objects of a scene."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from data_prep.selfsup import main
from data_prep.synthesis.selfsup import Picture, Style
from data_prep.synthesis.selfsup.build import Job, make_record
from data_prep.synthesis.selfsup.parts import with_parts
from data_prep.synthesis.selfsup.regions import as_scene
from spatial_jax.data import open_questions
from spatial_jax.data.scenes import open_scenes, scene_at
from tests.data_prep.test_selfsup_tasks import photo, record, steps, write_scenes

PLAIN = Style.small()
FACING = {"left": (-1, 0), "right": (1, 0), "us": (0, -1), "away": (0, 1)}  # in the ground plane: x right, z away


def made(variant, count):
    pictures = [Picture(photo(120, 160, i), steps(120, 160)) for i in range(3)]
    scenes = [record(p.rgb, p.depth, name=f"p{i}") for i, p in enumerate(pictures)]
    jobs = [Job(k, variant, (k % 3,), True, k) for k in range(count)]
    out = [make_record(j, lambda i: (scenes[i], pictures[i]), PLAIN, size=112, seed=1) for j in jobs]
    return [r for r in out if not isinstance(r, str)]


def parts_of(puzzle, count=20):
    first, *rest = with_parts(puzzle, count)
    assert first is puzzle and len(rest) == count - 1 and len({r.question_id for r in rest}) == count - 1
    assert all(r.images == puzzle.images and r.family.startswith("part_") and r.split == puzzle.split for r in rest)
    asked = {r.question: r.answer for r in rest}
    assert all(asked[r.question] == r.answer for r in rest)
    return asked


def test_parts_of_a_depth_order_agree_with_the_depths_at_the_marks():
    puzzles = made("depth_order", 9)
    assert puzzles
    for puzzle in puzzles:
        inputs, asked = json.loads(puzzle.meta)["rule_inputs"], parts_of(puzzle)
        depth = dict(zip(map(str, inputs["labels"]), inputs["depths"]))
        assert asked["Nearest mark?"] == min(depth, key=depth.get)
        assert asked["Farthest mark?"] == max(depth, key=depth.get)
        for question, answer in asked.items():
            if pair := re.fullmatch(r"Nearer of (\d), (\d)\?", question):
                assert answer == min(pair.groups(), key=depth.get)
        rgb = np.asarray(Image.open(io.BytesIO(puzzle.images[0])))
        for label in "123":
            x, y = eval(asked[f"Where is {label}?"])
            assert (rgb[y - 10, x] == 255).all()  # within the white circle, above its number


def test_every_way_to_face_is_answered_as_plane_geometry_has_it():
    puzzles, seen = made("position3d", 12), set()
    for puzzle in puzzles:
        inputs, asked = json.loads(puzzle.meta)["rule_inputs"], parts_of(puzzle, 40)
        here, there = inputs["labels"]
        side = ("left" if inputs["dx"] > 0 else "right") if "dx" in inputs["used"] else None
        assert asked.get(f"Side of {here} from {there}?") == side
        ways = [
            (*found.groups(), answer)
            for question, answer in [*asked.items(), (puzzle.question, puzzle.answer)]
            if (found := re.match(r"At (\d) facing (\w+), (\d) is", question))
        ]
        assert len(ways) == 8
        for at, facing, target, answer in ways:
            sign = 1 if (at, target) == (here, there) else -1
            dx, dz = (sign * inputs[k] if k in inputs["used"] else 0.0 for k in ("dx", "dz"))
            fx, fz = FACING[facing]
            ahead, side = fx * dx + fz * dz, fz * dx - fx * dz
            said = [
                ("right" if side > 0 else "left") if side else "",
                ("front" if ahead > 0 else "back") if ahead else "",
            ]
            assert answer == "-".join(word for word in said if word)
            seen.add(answer)
    assert {"left", "right", "front", "back"} <= seen


@pytest.mark.parametrize("variant", ["flip", "crop", "shuffle row", "shuffle 2x2"])
def test_parts_of_patches_say_what_was_done_to_them(variant):
    for puzzle in made(variant, 6):
        inputs, asked = json.loads(puzzle.meta)["rule_inputs"], parts_of(puzzle)
        if variant == "flip":
            patch, way = map(int, puzzle.answer.split("-"))
            assert asked == {
                f"Patch {k}?": ("up-down", "left-right")[way] if k == patch else "unchanged" for k in range(4)
            }
        elif variant == "crop":
            assert [q for q, a in asked.items() if a == "fits"] == [f"Part {puzzle.answer}?"]
        else:
            places = ["left", "middle", "right"] if variant == "shuffle row" else None
            places = places or ["top left", "top right", "bottom left", "bottom right"]
            order = puzzle.answer.split("-")
            assert [asked[f"Place of {k}?"] for k in order] == places and len(inputs["perm"]) == len(order)
        assert parts_of(puzzle, 2) != {}


def test_regions_cover_what_they_name():
    for variant, names in (
        ("depth_order", {"1", "2", "3"}),
        ("flip", {"up-down", "left-right"}),
        ("shuffle column", {"top", "middle", "bottom"}),
        ("crop", {"fits", "turned", "enlarged", "reduced"}),
    ):
        for puzzle in made(variant, 4):
            scene, inputs = as_scene(puzzle), json.loads(puzzle.meta)["rule_inputs"]
            assert {item.name for item in scene.objects} <= names and (scene.width, scene.height) == puzzle_size(puzzle)
            for item in scene.objects:
                ys, xs = np.nonzero(np.asarray(Image.open(io.BytesIO(item.mask_png))))
                assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == tuple(round(v) for v in item.box)
            if variant == "depth_order":
                assert [item.depth_median for item in scene.objects] == pytest.approx(inputs["depths"])
            if variant == "crop":
                (fits,) = (item for item in scene.objects if item.name == "fits")
                column, row = (
                    int(2 * at // scene.height) for at in fits.box[:2]
                )  # the context is a square before them
                assert "ABCD"[2 * row + column - 2] == puzzle.answer


def puzzle_size(puzzle):
    return puzzle.widths[-1], puzzle.heights[-1]


def test_the_verb_writes_both_and_refuses_what_does_not_go_together(tmp_path, capsys):
    scenes = tmp_path / "photos"
    write_scenes(scenes, [record(photo(120, 160, i), steps(120, 160), name=f"p{i}") for i in range(3)])
    plain = [f"--photos={scenes}", "--profile=plain", "--wordings=1", "--per_photo=5", "--size=112"]
    assert main([*plain, "--parts=4", f"--out={tmp_path / 'parts'}"]) == 0
    found = open_questions(str(tmp_path / "parts"), "train")
    assert len(found) % 4 == 0 and len(found) >= 20
    for at in range(0, len(found), 4):
        asked = [found[at + k] for k in range(4)]
        assert len({r.images for r in asked}) == 1 and [r.family[:5] for r in asked] == ["ssrl_", *["part_"] * 3]
    assert main([*plain, "--regions", f"--out={tmp_path / 'regions'}"]) == 0
    source = open_scenes(tmp_path / "regions")
    assert len(source) == len(found) // 4 and all(scene_at(source, i).objects for i in range(len(source)))
    capsys.readouterr()
    assert main([*plain, "--parts=4", "--regions", f"--out={tmp_path / 'x'}"]) == 2
    assert main([f"--photos={scenes}", "--parts=4", f"--out={tmp_path / 'x'}"]) == 2
    assert "--profile=plain" in capsys.readouterr().err
