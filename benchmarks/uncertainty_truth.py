"""What uncertain depth still allows to be asked, how much of it is right, and whether the stated deviations are true.

    python -m benchmarks.uncertainty_truth --scenes=400 --out=benchmarks/results/uncertainty_truth.json
    python -m benchmarks.uncertainty_truth --path=FOLDER --convention=nyu --out=FILE

Rendered rooms are measured from their pixels (masks, noisy depth, camera; gravity found in the depth) and compared with
the closed form: the questions of a perfect sensor, which share of them is kept, how many orders are wrong, how many
numbers lie inside the tolerance that their question states, and, for every derived measure, the error over its own
stated deviation (its root mean square should be 1 within 15 %, the share within two deviations 93 to 97 %). The noises
are those that `annotate` states for Depth Anything V2 and Depth Pro by default, and others that make one part large.

With --path the pictures are real: a folder with depth (--convention as in data_prep.annotate), whose own depth is the
truth and is degraded: 5 % scale, 3 % noise, blurred edges. Objects are the folder's own labels, or smooth regions of
its depth where it has none.
"""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import functools
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.true_answers import nearest, right, true_answer
from data_prep.annotate.depth import DepthSettings
from data_prep.geometry.clouds import inliers, sample, unproject
from data_prep.geometry.measure import Level, Measure
from data_prep.geometry.sides import local_mean
from data_prep.pipeline import to_record
from data_prep.sources import DepthNoise, Frame, ObjectDraft, SourceError, open_source
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import space
from data_prep.synthesis.deviations import Moves, Pose, moves
from data_prep.synthesis.draft import Draft
from data_prep.synthesis.families import choose_families
from data_prep.synthesis.families.metric import DEFINITIONS, LEAST_GAP
from data_prep.synthesis.options import Options
from data_prep.synthesis.refusals import Refusals, refusal_lines
from data_prep.synthesis.view import SceneView, Thing

FAMILIES = ("depth_order2", "depth_order", "abs_depth", "distance", "size", "direction", "multihop")
CLOUD = 512  # points of an object's cloud, for the nearest distance
STEPS = 4  # smoothing passes over a real depth picture before it is taken for the truth
BLUR = 1.5  # pixels: kernel with which a real depth picture's edges are blurred


def noises(side: int) -> dict[str, DepthNoise]:
    """The noises for pictures whose shorter side is `side` pixels."""
    model = DepthSettings(weights="")
    given = {"linear": model.noise, "bias": model.bias}
    return {
        "Depth Anything V2": DepthNoise(**given, correlation=max(1.0, side * 14 / 518)),
        "Depth Pro": DepthNoise(**given, correlation=max(1.0, side * 16 / 1536)),
        "own noise": DepthNoise(linear=0.03),
        "shared scale": DepthNoise(linear=0.005, bias=0.08),
        "shared shift and focal length": DepthNoise(linear=0.005, shift=0.10, focal=0.05),
    }


class Rooms:
    """Rendered rooms as pairs (true frame, measured frame): the closed form, and what pixels with noise give."""

    def __init__(self, preset: str, count: int, seed: int, noise: DepthNoise):
        self.clean = RenderedScenes(preset, count, seed)
        self.noisy = RenderedScenes(preset, count, seed, noise=noise)
        drawn: Any = functools.lru_cache(maxsize=1)(self.clean.draw)
        self.clean.draw = self.noisy.draw = drawn  # type: ignore[method-assign]
        self.count = count

    def __iter__(self) -> Iterator[tuple[Frame, Frame]]:
        for index in range(self.count):
            true, seen = self.clean.load(index), self.noisy.load(index)
            seen.gravity = seen.floor = None
            seen.objects = [
                dataclasses.replace(o, center=None, extent=None, rotation=None, provenance={}) for o in seen.objects
            ]
            yield true, seen


def regions(frame: Frame, least: float = 0.004, most: float = 0.15, count: int = 10) -> list[ObjectDraft]:
    """Smooth regions of a frame's depth as objects, where it has no labels: connected pixels without a jump of depth,
    of at least `least` and at most `most` of the picture and one body of depths, the largest `count`.
    """
    from scipy import ndimage

    assert frame.depth is not None
    depth = ndimage.median_filter(np.where(frame.depth > 0, frame.depth, 0), 5)
    jump = ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > 0.02 * depth
    labels, _ = ndimage.label((depth > 0) & ~jump)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    order = [i for i in np.argsort(-sizes) if least * labels.size <= sizes[i] <= most * labels.size]
    order = [i for i in order if inliers(depth[labels == i]).mean() > 0.98][:count]
    return [ObjectDraft("region", f"region {chr(65 + k)}", labels == i) for k, i in enumerate(order)]


class Folder:
    """Real pictures with depth, as pairs (true frame, degraded frame)."""

    noise = DepthNoise(linear=0.03, bias=0.05, correlation=3.0)

    def __init__(self, spec: dict[str, Any], draws: int, seed: int):
        self.source, self.draws, self.seed = open_source(spec), draws, seed
        self.count = len(self.source) * draws

    def __iter__(self) -> Iterator[tuple[Frame, Frame]]:
        from scipy.ndimage import gaussian_filter

        for index in range(len(self.source)):
            frame = self.source.load(index)
            if frame.depth is None or frame.intrinsics is None:
                continue
            for _ in range(STEPS):  # the sensor's counts are coarse far away: surfaces are smoothed, edges stay
                frame.depth = local_mean(frame.depth, frame.depth > 0, 0.03 * frame.depth)
            frame.depth_noise = DepthNoise()  # it is the truth here
            frame.objects = frame.objects or regions(frame)
            for draw in range(self.draws):
                seen, rng = copy.deepcopy(frame), np.random.default_rng([self.seed, index, draw])
                valid = frame.depth > 0
                weight = gaussian_filter(valid.astype(np.float64), BLUR)
                blurred = gaussian_filter(np.where(valid, frame.depth, 0.0), BLUR) / np.maximum(weight, 1e-6)
                seen.depth = np.where(valid, self.noise.draw(blurred, rng), 0).astype(np.float32)
                seen.depth_noise = self.noise
                yield copy.deepcopy(frame), seen


def view_of(
    frame: Frame, options: Options, refused: Refusals | None = None, cloud: int = CLOUD, whole: bool = False
) -> SceneView:
    """A frame's measures as the families see them; gravity from its depth where it has none. `whole`: clouds of
    things whose mask's edge is known exactly are of all their pixels, as the truth's are.
    """
    Level()(frame)
    Measure(cloud)(frame)
    if whole and frame.depth is not None and frame.intrinsics is not None:
        for thing in (t for t in frame.objects if t.mask_sigma == 0):
            thing.points = sample(unproject(frame.depth, frame.intrinsics, thing.mask), cloud)
    for thing in frame.objects:
        thing.caption = thing.caption or thing.name
    return SceneView(to_record(frame), options, refused)


def key_of(draft: Draft) -> tuple[str, str, frozenset[str]]:
    """What makes two drafts the same question but for its wording."""
    kind = "order" if draft.question_type in ("word", "mcq", "order") and draft.form.name != "against" else "number"
    if draft.form.name in ("against", "range", "ratio"):
        kind = "number"
    return draft.family, kind, frozenset(t.object_id for t in draft.objects)


def drafts_of(view: SceneView, options: Options, seed: str) -> dict[tuple, Draft]:
    """One draft of each kind of question that the view allows, the first of each."""
    out: dict[tuple, Draft] = {}
    for family in (f for f in choose_families("all") if f.name in FAMILIES):
        view.refused.family = family.name
        for draft in family.generate(view, random.Random(f"{seed}/{family.name}"), options):
            out.setdefault(key_of(draft), draft)
    return out


def derived_measures(view: SceneView) -> Iterator[tuple[str, tuple[Thing, ...], Any]]:
    """(name, things, measure) of every derived measure of a view."""
    height = lambda p, g, i=0: space.vertical_extent(p[i], g)  # noqa: E731
    for a in view.things:
        if a.has_depth:
            yield "depth", (a,), lambda p, g: p[0].depth
        if view.gravity:
            yield "height", (a,), height
        if a.has_extent:
            yield "longest side", (a,), lambda p, g: max(p[0].extent)
    for a, b in itertools.combinations(view.things, 2):
        if a.has_depth and b.has_depth:
            yield "log ratio of depths", (a, b), lambda p, g: math.log(p[1].depth / p[0].depth)
        if view.gravity:
            yield "log ratio of heights", (a, b), lambda p, g: _log(height(p, g, 1), height(p, g, 0))
        if a.has_center and b.has_center:
            for name, measure in DEFINITIONS.items():
                if view.gravity or name == "center":
                    yield f"{name} distance", (a, b), measure
    for a, b, c in itertools.combinations([t for t in view.things if t.has_center], 3):
        yield "log ratio of distances", (a, b, c), _distance_ratio
        if view.gravity:
            yield "angle", (a, b, c), _angle


def _log(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else math.nan


def _distance_ratio(p: Sequence[Pose], _: tuple[float, ...]) -> float:
    return _log(math.dist(p[0].center, p[2].center), math.dist(p[0].center, p[1].center))


def _angle(p: Sequence[Pose], g: tuple[float, ...]) -> float:
    angle = space.turn(p[0].center, p[1].center, p[2].center, g)
    return math.nan if angle is None else angle


def guessed(name: str, value: float, moved: Moves, options: Options) -> bool:
    """Whether a far end that was not seen would move a derived measure, so that it is not asked."""
    if name == "angle":
        return moved.unseen > moved.sd
    return moved.unseen > (0.02 if name.startswith("log") else options.max_unseen * value)


def scores(seen: SceneView, true: SceneView, options: Options) -> Iterator[tuple[str, float]]:
    """(derived measure, its error over its stated deviation) of one picture; what an unseen far end would move is left
    out, as it is not asked, and so is what one would move in the truth (of real pictures), which is no truth then.
    """
    things = {t.object_id: t for t in true.things}
    for name, own, measure in derived_measures(seen):
        if not all(t.object_id in things for t in own) or any(t.visible < options.min_visible for t in own):
            continue
        value, moved = moves(seen, own, measure)
        if math.isnan(value) or moved.sd == 0 or guessed(name, value, moved, options):
            continue
        if name == "angle":
            if moved.sd > 30 or min(abs(value), 180 - abs(value)) < 2:
                continue
        elif not name.startswith("log") and moved.sd > options.most_tolerance * value:
            continue
        truth, known = moves(true, [things[t.object_id] for t in own], measure)
        if known.unseen and guessed(name, truth, known, options):
            continue
        error = value - truth
        if name == "angle":
            error = (error + 180) % 360 - 180
        if not math.isnan(error):
            yield name, error / moved.sd
    for a, b in itertools.combinations((t for t in seen.things if t.object_id in things), 2):
        if min(a.visible, b.visible) < options.min_visible or (found := space.nearest_distance(seen, a, b)) is None:
            continue
        value, moved = found
        asked = (
            value >= LEAST_GAP and max(moved.unseen / options.max_unseen, moved.sd / options.most_tolerance) <= value
        )
        if asked and not math.isnan(error := value - nearest(things[a.object_id], things[b.object_id])):
            yield "nearest distance", error / moved.sd


def compare(pairs: Any, options: Options) -> dict[str, Any]:
    """The figures of one noise: kept and right by family, deviations by measure, refusals."""
    perfect, kept = collections.Counter[str](), collections.Counter[str]()
    found: dict[str, list[bool]] = collections.defaultdict(list)
    deviations: dict[str, list[float]] = collections.defaultdict(list)
    refused = Refusals()
    for number, (clean, noisy) in enumerate(pairs):
        true, seen = view_of(clean, options, cloud=4096, whole=True), view_of(noisy, options, refused)
        allowed, asked = drafts_of(true, options, str(number)), drafts_of(seen, options, str(number))
        perfect.update(_bin(k) for k in allowed)
        kept.update(_bin(k) for k in asked)
        things = {t.object_id: t for t in true.things}
        for draft in asked.values():
            if not all(t.object_id in things for t in draft.objects):
                continue
            answer = true_answer(draft, [things[t.object_id] for t in draft.objects], true)
            ok = right(draft, answer)
            if ok is not None:
                found[_kind(draft)].append(ok)
        for name, score in scores(seen, true, options):
            deviations[name].append(score)
    return {
        "questions": {
            name: {"perfect": perfect[name], "kept": kept[name], "share": round(kept[name] / perfect[name], 3)}
            for name in sorted(perfect)
        },
        "right": {k: {"asked": len(v), "wrong": len(v) - sum(v)} for k, v in sorted(found.items())},
        "deviations": {
            name: {
                "rms": round(float(np.sqrt(np.mean(np.square(v)))), 3),
                "within_1": round(float(np.mean(np.abs(v) <= 1)), 3),
                "within_2": round(float(np.mean(np.abs(v) <= 2)), 3),
                "n": len(v),
            }
            for name, v in sorted(deviations.items())
        },
        "refused": refused.report(),
    }


def _bin(key: tuple) -> str:
    """The family of a key; of size and distance, comparisons apart from numbers."""
    return f"{key[0]} (which of two)" if key[0] in ("size", "distance") and key[1] == "order" else key[0]


def _kind(draft: Draft) -> str:
    """What a draft is counted as: an order of a family, or a number, or what was asked in its place."""
    if draft.form.name in ("against", "range", "ratio"):
        return f"{draft.family}: {draft.form.name}"
    return f"{draft.family}: {'numbers' if draft.question_type == 'number' else 'orders'}"


def together(noise: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Each derived measure's deviations over all noises, rms and share within two, weighted by how many there are."""
    rows: dict[str, list[dict[str, float]]] = collections.defaultdict(list)
    for result in noise.values():
        for name, row in result["deviations"].items():
            rows[name].append(row)
    out = {}
    for name, found in sorted(rows.items()):
        n = sum(row["n"] for row in found)
        rms = math.sqrt(sum(row["n"] * row["rms"] ** 2 for row in found) / n)
        within = sum(row["n"] * row["within_2"] for row in found) / n
        out[name] = {"rms": round(rms, 3), "within_2": round(within, 3), "n": n}
    return out


def show(name: str, result: dict[str, Any]) -> None:
    """Prints one noise's figures."""
    print(f"\n{name}")
    for family, row in result["questions"].items():
        print(f"  {family:26} {row['kept']:6d} of {row['perfect']:6d} kept ({row['share']:.0%})")
    for kind, row in result["right"].items():
        print(f"  {kind:26} {row['wrong']:4d} of {row['asked']:6d} wrong")
    for measure, row in result["deviations"].items():
        print(
            f"  {measure:26} error / deviation: rms {row['rms']:.2f}, within one {row['within_1']:.2f}, two"
            f" {row['within_2']:.3f}  n={row['n']}"
        )
    for line in refusal_lines(result["refused"]):
        print("  " + line)


def main() -> int:
    """Prints and saves the tables."""
    p = argparse.ArgumentParser(
        "python -m benchmarks.uncertainty_truth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--scenes", type=int, default=400)
    p.add_argument("--preset", default="plain")
    p.add_argument("--seed", type=int, default=202)
    p.add_argument("--path", default="", help="folder of real pictures with depth, instead of rendered rooms")
    p.add_argument("--convention", default="generic", help="how the folder's files are named, as in annotate")
    p.add_argument("--draws", type=int, default=4, help="degraded depths of each real picture")
    p.add_argument("--out", type=Path)
    args = p.parse_args()
    options, started = Options(pool=24), time.monotonic()
    result: dict[str, Any] = {"seed": args.seed, "noise": {}}
    if args.path:
        spec = {"source": "rgbd", "path": args.path, "convention": args.convention}
        try:
            folder = Folder(spec, args.draws, args.seed)
        except SourceError as error:
            p.error(str(error))
        result |= {"pictures": len(folder.source), "draws": args.draws}
        result["noise"]["5 % scale, 3 % noise, blurred edges"] = compare(folder, options)
    else:
        result |= {"scenes": args.scenes, "preset": args.preset}
        for name, noise in noises(RenderedScenes(args.preset, 1, 0).preset.height).items():
            result["noise"][name] = compare(Rooms(args.preset, args.scenes, args.seed, noise), options)
    for name, row in result["noise"].items():
        show(name, row)
    result["together"] = together(result["noise"])
    print("\nall noises together")
    for measure, row in result["together"].items():
        print(f"  {measure:26} rms {row['rms']:.2f}, within two {row['within_2']:.3f}  n={row['n']}")
    result["seconds"] = round(time.monotonic() - started, 1)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
