"""Checks every family's answers on rendered scenes against the renderer's closed form, computed here from the room and
the raw rendering alone.

    python -m benchmarks.synthesis_truth --questions=10000 --out=benchmarks/results/synthesis_truth.json

Every candidate question counts (the balance is left out). Words must be equal; numbers must be within 5 % or the last
digit's half, and boxes within half a pixel of the visible pixels' bounds. Exit code 1 if one is wrong.
"""

from __future__ import annotations

import argparse
import collections
import functools
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.geometry.measure import Measure
from data_prep.pipeline import to_record
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis.draft import finish
from data_prep.synthesis.families import choose_families
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView
from spatial_jax.data import QuestionRecord
from spatial_jax.data.records import resolve_text


class Once(RenderedScenes):
    """Rendered scenes that draw the scene asked for last only once."""

    draw = functools.lru_cache(maxsize=1)(RenderedScenes.draw)  # type: ignore[assignment]


class Closed:
    """Closed-form facts of one rendered scene, by object number."""

    def __init__(self, room: Any, drawn: Any, things: list) -> None:
        self.camera, self.depth, self.owner = room.camera, drawn.depth, drawn.owner
        self.bodies = {str(k): (i, room.bodies[i]) for k, (i, _) in enumerate(things)}

    def mask(self, k: str) -> np.ndarray:
        return self.owner == self.bodies[k][0]

    def box(self, k: str) -> np.ndarray:
        rows, columns = np.nonzero(self.mask(k))
        return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], float)

    def middle(self, k: str) -> tuple[float, float]:
        x1, y1, x2, y2 = self.box(k)
        return (x1 + x2) / 2, (y1 + y2) / 2

    def median(self, k: str) -> float:
        return float(np.median(self.depth[self.mask(k)]))

    def center(self, k: str) -> np.ndarray:
        return self.bodies[k][1].corners.mean(0)  # world, z up

    def height(self, k: str) -> float:
        return float(np.ptp(self.bodies[k][1].corners[:, 2]))

    def longest(self, k: str) -> float:
        body = self.bodies[k][1]
        return float((body.high - body.low).max())

    def surface(self, k: str) -> np.ndarray:
        v, u = np.nonzero(self.mask(k))
        z = self.depth[v, u]
        c = self.camera
        return np.stack([(u - c.cx) / c.fx * z, (v - c.cy) / c.fy * z, z], 1)

    def ahead(self) -> np.ndarray:
        return self.camera.rotation[2] * (1, 1, 0)  # the viewing direction on the floor


def truth(c: Closed, r: QuestionRecord) -> Any:
    """The answer to a record's question: a word, a number, or a box."""
    meta = json.loads(r.meta)
    form, inputs, ids, captions = meta["form"], meta["rule_inputs"], meta["objects"], meta["captions"]
    if r.family == "bearing":
        x, y = c.middle(ids[0])
        across, down = ("right" if x > c.camera.width / 2 else "left"), ("bottom" if y > c.camera.height / 2 else "top")
        return {"horizontal": across, "vertical": down, "corner": f"{down} {across}"}[form]
    if r.family == "relation":
        return relation(c, form, inputs, ids, captions)
    if r.family == "depth_order2":
        nearer = int(c.median(ids[1]) < c.median(ids[0]))
        return {"closer": captions[nearer], "farther": captions[1 - nearer], "yes_no": "yes" if nearer == 0 else "no"}[
            form
        ]
    if r.family == "depth_order":
        order = sorted(range(len(ids)), key=lambda i: c.median(ids[i]), reverse=form == "far_to_near")
        return ", ".join(captions[i] for i in order)
    if r.family == "listing":
        assert len(ids) == len(c.bodies)
        order = sorted(
            range(len(ids)), key=lambda i: c.median(ids[i]) if form == "all_near_to_far" else c.middle(ids[i])[0]
        )
        return ", ".join(captions[i] for i in order)
    if r.family == "multihop":
        return chain(c, inputs, ids)
    return numbers_and_space(c, r, form, inputs, ids, captions)


def relation(c: Closed, form: str, inputs: dict[str, Any], ids: list[str], captions: list[str]) -> str:
    axis = 0 if inputs["axis"] == "x" else 1
    first = c.middle(ids[0])[axis] < c.middle(ids[1])[axis]
    if form == "yes_no":
        return "yes" if first == (inputs["said"] in ("to the left of", "above")) else "no"
    if form in ("left_right", "above_below"):
        return (("left", "right"), ("above", "below"))[axis][int(not first)]
    return captions[0 if first == (inputs["end"] in ("left", "higher")) else 1]


def numbers_and_space(
    c: Closed, r: QuestionRecord, form: str, inputs: dict[str, Any], ids: list[str], captions: list[str]
) -> Any:
    if r.family == "abs_depth":
        return c.median(ids[0])
    if r.family == "box":
        return c.box(ids[0])
    if r.family == "count":
        return float(sum(body.kind == inputs["name"] for _, body in c.bodies.values()))
    if r.family == "size":
        if form in ("taller", "shorter"):
            return captions[int((c.height(ids[1]) > c.height(ids[0])) == (form == "taller"))]
        return (c.height(ids[0]) if form == "height" else c.longest(ids[0])) * (100 if r.unit == "cm" else 1)
    if r.family == "intrinsics":
        k = c.camera
        if form == "field_of_view":
            left, right = (np.array([(u - k.cx) / k.fx, 0, 1]) for u in (-0.5, k.width - 0.5))
            return math.degrees(math.acos(left @ right / np.linalg.norm(left) / np.linalg.norm(right)))
        return k.fx if form == "focal" else abs(c.middle(ids[0])[0] - 0.5 - k.cx) * c.median(ids[0]) / k.fx
    centers = [c.center(i) for i in ids]
    if r.family == "distance":
        if form == "closest_to":
            return captions[int(np.linalg.norm(centers[1] - centers[2]) < np.linalg.norm(centers[0] - centers[2]))]
        if form == "nearest":
            from scipy.spatial import cKDTree

            return float(cKDTree(c.surface(ids[0])).query(c.surface(ids[1]))[0].min())
        return float(
            np.linalg.norm(
                (centers[0] - centers[1]) * {"center": (1, 1, 1), "horizontal": (1, 1, 0), "vertical": (0, 0, 1)}[form]
            )
        )
    if r.family == "chain":
        return numeric_chain(c, form, ids, centers)
    return direction(c, form, centers)


def numeric_chain(c: Closed, form: str, ids: list[str], centers: list[np.ndarray]) -> float:
    def gap(i: int, j: int) -> float:
        return float(np.linalg.norm(centers[i] - centers[j]))

    if form == "deeper":
        return c.median(ids[0]) - c.median(ids[1])
    if form == "taller_by":
        return 100 * (c.height(ids[0]) - c.height(ids[1]))
    if form == "closer_one":
        return gap(0 if c.median(ids[0]) < c.median(ids[1]) else 1, 2)
    if form == "nearer_one":
        return 100 * c.height(ids[0 if gap(0, 2) < gap(1, 2) else 1])
    return gap(0, 1) - gap(0, 2) if form == "farther_from" else gap(0, 1) + gap(1, 2)


def direction(c: Closed, form: str, centers: list[np.ndarray]) -> str:
    f = c.ahead() if form == "clock" else centers[1] - centers[0]
    t = centers[1 if form == "clock" else 2] - centers[0]
    left = math.degrees(
        math.atan2(f[0] * t[1] - f[1] * t[0], f[0] * t[0] + f[1] * t[1])
    )  # world z up: positive is to the left
    if form == "clock":
        return f"{(round(-left / 30) - 1) % 12 + 1} o'clock"
    side = "left" if left > 0 else "right"
    return side if form == "left_right" else f"{'front' if abs(left) < 90 else 'back'} {side}"


# Word of a selection -> (what is compared, which of two is taken).
PICKS: dict[str, tuple[str, Any]] = {
    "further left": ("x", min),
    "further right": ("x", max),
    "higher in the picture": ("y", min),
    "lower in the picture": ("y", max),
    "closer": ("z", min),
    "farther": ("z", max),
    "taller": ("h", max),
    "shorter": ("h", min),
}
# What is compared at last -> the answers where it is less, and where it is more.
SIDES = {"x": ("left", "right"), "y": ("above", "below"), "z": ("closer", "farther")}


def chain(c: Closed, inputs: dict[str, Any], ids: list[str]) -> str:
    measures = {"x": lambda k: c.middle(k)[0], "y": lambda k: c.middle(k)[1], "z": c.median, "h": c.height}
    current = ids[0]
    for word, other in zip(inputs["picks"], ids[1:-1]):
        measure, best = PICKS[word]
        current = best((current, other), key=measures[measure])
    m = inputs["final"]
    return SIDES[m][int(measures[m](current) > measures[m](ids[-1]))]


def right(c: Closed, r: QuestionRecord) -> tuple[bool, Any]:
    """(whether the record's answer is true, the truth)."""
    expected = truth(c, r)
    answer = resolve_text(r.options["ABCDEFGH".index(r.answer)] if r.question_type == "mcq" else r.answer, 1, 1)
    if isinstance(expected, str):
        return answer == expected, expected
    if isinstance(expected, np.ndarray):
        return bool(np.abs(np.array(json.loads(answer)) - expected).max() <= 0.5), expected.tolist()
    meta = json.loads(r.meta)
    tolerance = 0.1 if meta["form"] == "nearest" else 0.05  # clouds are samples of the surfaces
    # A difference is as exact as what it is taken of.
    size = max(meta["rule_inputs"]["depths_m"]) if meta["form"] == "deeper" else expected
    return abs(float(answer) - expected) <= max(tolerance * size, 0.5 if r.unit in ("deg", "cm") else 0.0), expected


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--questions", type=int, default=10_000, help="a family")
    p.add_argument("--families", default="all")
    p.add_argument("--preset", default="plain")
    p.add_argument("--profile", default="full")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--out", default="")
    args = p.parse_args()
    families, options = choose_families(args.families), Options(profile=args.profile, pool=12)
    source, measure = Once(preset=args.preset, count=10**9, seed=args.seed), Measure(256)
    checked, wrong = collections.Counter[str](), collections.Counter[str]()
    started, index = time.monotonic(), 0
    while any(checked[f.name] < args.questions for f in families) and index < 20 * args.questions:
        closed = Closed(*source.draw(index))
        frame = source.load(index)
        measure(frame)
        view = SceneView(to_record(frame), options)
        for f in families:
            for n, draft in enumerate(f.generate(view, random.Random(f"{args.seed}/{index}/{f.name}"), options)):
                if checked[f.name] >= args.questions:
                    break
                record = finish(draft, view, args.seed, random.Random(n))
                ok, expected = right(closed, record)
                checked[f.name] += 1
                if not ok:
                    wrong[f.name] += 1
                    print(
                        f"wrong: {record.question!r} -> {record.answer!r}, should be {expected!r} ({view.scene_id},"
                        f" {record.meta})",
                        flush=True,
                    )
        index += 1
    result = {
        "preset": args.preset,
        "profile": args.profile,
        "seed": args.seed,
        "scenes": index,
        "seconds": round(time.monotonic() - started, 1),
        "families": {f.name: {"checked": checked[f.name], "wrong": wrong[f.name]} for f in families},
    }
    print(
        "\n".join(
            f"{name:13} {row['checked']:6d} checked {row['wrong']:4d} wrong" for name, row in result["families"].items()
        )
    )
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
