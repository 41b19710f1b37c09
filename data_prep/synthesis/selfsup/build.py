"""From scene records to self-supervised question records: which task on which picture, windows out of photos, and the
record itself.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
from PIL import Image

from data_prep.synthesis.selfsup.depths import depth_order, position3d
from data_prep.synthesis.selfsup.patches import crop, flip, shuffle
from data_prep.synthesis.selfsup.puzzle import Draw, Picture, Puzzle, Style, Unsuitable, encode, nearest_multiple
from data_prep.synthesis.selfsup.thoughts import thought
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord, SceneRecord
from spatial_jax.media import decode_picture, open_image
from spatial_jax.reading import parse_object

Make = Callable[[Picture, Draw, Style], Puzzle]
MOST_PIXELS = 64_000_000

# variant -> (task, weight in Spatial-SSRL-81k, maker)
VARIANTS: dict[str, tuple[str, int, Make]] = {
    "shuffle 2x2": ("shuffle", 4000, lambda p, r, s: shuffle(p, r, s, 2, 2)),
    "shuffle 2x2 masked": ("shuffle", 4028, lambda p, r, s: shuffle(p, r, s, 2, 2, masked=True)),
    "shuffle row": ("shuffle", 4991, lambda p, r, s: shuffle(p, r, s, 1, 3 if s.plain else r.choice((3, 4)))),
    "shuffle column": ("shuffle", 3009, lambda p, r, s: shuffle(p, r, s, 3 if s.plain else r.choice((3, 4)), 1)),
    "flip": ("flip", 4005, flip),
    "crop": ("crop", 20200, crop),
    "depth_order": ("depth_order", 20620, depth_order),
    "position3d": ("position3d", 20200, position3d),
}
TASKS = ("shuffle", "flip", "crop", "depth_order", "position3d")
NEEDS_DEPTH = ("depth_order", "position3d")
PLAIN_VARIANTS = {"shuffle": ("shuffle row", "shuffle column", "shuffle 2x2")}


@dataclasses.dataclass(frozen=True)
class Job:
    """One question to make: a variant, and the photos to try in turn. `whole`: use the whole photo rather than a random
    window.
    """

    index: int
    variant: str
    photos: tuple[int, ...]
    whole: bool
    turn: int = 0  # how many of this variant came before: deals the answers out evenly


def _variants(task: str, plain: bool) -> tuple[str, ...]:
    if plain and task in PLAIN_VARIANTS:
        return PLAIN_VARIANTS[task]
    return tuple(v for v, (t, _, _) in VARIANTS.items() if t == task)


# task -> the data set that Spatial-SSRL-81k makes it of, as a scene's source names it; "": photos without depth (COCO)
PUBLISHED_SOURCES = {"shuffle": "", "flip": "", "crop": "", "depth_order": "DIODE", "position3d": "MegaDepth"}
Tied = Mapping[str, Collection[int]]  # task -> the photos that it may be made of; a task that is not there: all


def plan_per_photo(
    tasks: Sequence[str], has_depth: Sequence[bool], per_photo: int, plain: bool, tied: Tied | None = None
) -> list[Job]:
    """`per_photo` questions of each photo, the tasks in turn (depth tasks only where there is depth). A variant's first
    is on the whole photo. Fewer questions than tasks: the next photo goes on where the last one stopped.
    """
    tied = tied or {}
    jobs: list[Job] = []
    for photo, depth in enumerate(has_depth):
        able = [t for t in tasks if (depth or t not in NEEDS_DEPTH) and (t not in tied or photo in tied[t])]
        first = photo * per_photo if per_photo < len(able) else 0
        for k in range(per_photo if able else 0):
            task, turn = able[(first + k) % len(able)], k // len(able)
            variants = _variants(task, plain)
            jobs.append(
                Job(len(jobs), variants[turn % len(variants)], (photo,), turn < len(variants), turn // len(variants))
            )
    return jobs


def plan_mixture(
    tasks: Sequence[str],
    has_depth: Sequence[bool],
    count: int,
    seed: int,
    tries: int = 12,
    tied: Tied | None = None,
) -> list[Job]:
    """`count` questions in the published proportions (81,053 gives the published counts); photos in a shuffled round,
    some to spare for each job; tasks that are tied to the same photos share their round.
    """
    tied = tied or {}
    weights = {v: w for v, (t, w, _) in VARIANTS.items() if t in tasks}
    total = sum(weights.values())
    exact = {v: count * w / total for v, w in weights.items()}
    counts = {v: int(x) for v, x in exact.items()}
    # Largest remainders first, so that the counts add up to what was asked for.
    for v in sorted(exact, key=lambda v: counts[v] - exact[v])[: count - sum(counts.values())]:
        counts[v] += 1
    rng = random.Random(f"{seed}/mixture")
    pools = {True: [i for i, d in enumerate(has_depth) if d], False: list(range(len(has_depth)))}
    for pool in pools.values():
        rng.shuffle(pool)
    jobs: list[Job] = []
    used = collections.Counter[tuple[int, ...]]()
    for variant, number in counts.items():
        task = VARIANTS[variant][0]
        pool = pools[task in NEEDS_DEPTH]
        if task in tied:
            pool = [photo for photo in pool if photo in tied[task]]
        # Tasks that draw from the same photos share one round through them: each photo is used once before any is used
        # twice, whatever the task.
        round_of = tuple(pool)
        for turn in range(number if pool else 0):
            at = used[round_of]
            # Some photos suit no task; the next ones of the round stand in, so that the count is reached.
            photos = tuple(pool[(at + k) % len(pool)] for k in range(min(tries, len(pool))))
            jobs.append(Job(len(jobs), variant, photos, at < len(pool), turn))
            used[round_of] += 1
    return jobs


def load(scene: SceneRecord, depth_too: bool = True) -> Picture:
    """The scene's picture and, where asked for, depth (nan where invalid); raises Unsuitable for a picture that cannot
    be decoded, is too large or has a depth of another size.
    """
    if scene.width * scene.height > MOST_PIXELS:
        raise Unsuitable("picture too large")
    try:
        rgb = np.asarray(decode_picture(scene.image).image)
        depth = None
        if scene.depth_png and depth_too:
            raw = np.asarray(open_image(scene.depth_png)).astype(np.float32)
            depth = np.where(raw > 0, raw * np.float32(scene.depth_scale), np.float32(np.nan))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise Unsuitable(f"picture cannot be decoded ({type(error).__name__})") from error
    if depth is not None and depth.shape != rgb.shape[:2]:
        raise Unsuitable("its depth has another size than the picture")
    focal, _, middle, _ = scene.intrinsics or (0.0, 0.0, math.nan, 0.0)
    return Picture(rgb, depth, focal, middle)


def window(picture: Picture, rng: random.Random, whole: bool, size: int, align: int = 1) -> Picture:
    """A random window (half to all of each side, aspect ratio 3:4 to 4:3) or the whole, its longer side scaled to
    `size` (0: as it is), then each side to the nearest multiple of `align`.
    """
    height, width = picture.rgb.shape[:2]
    if min(height, width) < 32:
        raise Unsuitable("picture too small")
    if not whole:
        # A few tries and then whatever came: a strip of a panorama has no window of that shape.
        for _ in range(20):
            w, h = round(width * rng.uniform(0.5, 1.0)), round(height * rng.uniform(0.5, 1.0))
            if 0.75 <= w / max(h, 1) <= 4 / 3:
                break
        left, top = rng.randrange(width - w + 1), rng.randrange(height - h + 1)
        picture = Picture(
            picture.rgb[top : top + h, left : left + w],
            None if picture.depth is None else picture.depth[top : top + h, left : left + w],
            picture.focal,
            picture.middle - left,
        )
        height, width = h, w
    scale = size / max(height, width) if size else 1.0
    shape = nearest_multiple(width * scale, align), nearest_multiple(height * scale, align)
    if shape != (width, height):
        rgb = np.asarray(
            Image.fromarray(np.ascontiguousarray(picture.rgb)).resize(shape, Image.Resampling.BICUBIC, reducing_gap=3.0)
        )
        depth = picture.depth
        if depth is not None:
            # Nearest, never mixed: a mean of a near and a far depth is a place where nothing is.
            depth = np.asarray(Image.fromarray(np.ascontiguousarray(depth)).resize(shape, Image.Resampling.NEAREST))
        scaled = shape[0] / width
        picture = Picture(rgb, depth, picture.focal * scaled, picture.middle * scaled)
    if min(picture.rgb.shape[:2]) < 32:
        raise Unsuitable("picture too small")
    return picture


def make_record(
    job: Job,
    scenes: Callable[[int], tuple[SceneRecord, Picture]],
    style: Style,
    *,
    size: int,
    seed: int,
    attempts: int = 4,
) -> QuestionRecord | str:
    """The job's question, or the last reason why none of its photos gave one. Depends on the job, the photos, seed and
    style only.
    """
    reason = "no photo"
    rng = Draw(f"{seed}/{job.photos[0] if len(job.photos) == 1 else ''}/{job.variant}", job.turn)
    task, _, make = VARIANTS[job.variant]
    for photo in job.photos:
        try:
            scene, picture = scenes(photo)
        except Unsuitable as error:
            reason = str(error)
            continue
        for attempt in range(attempts):
            try:
                puzzle = make(window(picture, rng, job.whole and attempt == 0, size, style.align), rng, style)
            except Unsuitable as error:
                reason = str(error)
                continue
            return _record(puzzle, scene, style, seed, job, task)
    return reason


def _is_to_scale(scene: SceneRecord) -> bool:
    """Whether ratios of its depth are those of distances: metres, or a file's up to scale. Relative depth of a network
    tells orders only.
    """
    return scene.depth_flag == "metric" or "depth_file" in parse_object(scene.provenance)


def _record(puzzle: Puzzle, scene: SceneRecord, style: Style, seed: int, job: Job, task: str) -> QuestionRecord:
    images = tuple(encode(np.ascontiguousarray(i)) for i in puzzle.images)
    digest = hashlib.sha1(b"".join(images) + puzzle.question.encode()).hexdigest()[:12]
    question_id = f"{scene.scene_id}/{task}/{digest}"
    facts = puzzle.rule_inputs | ({"orders_only": True} if scene.depth_png and not _is_to_scale(scene) else {})
    meta = {
        "thought": thought(task, facts, puzzle.answer, puzzle.options, question_id),
        "form": puzzle.variant,
        "margin": round(puzzle.margin, 4),
        "objects": [],
        "rule_inputs": facts,
        "variant": job.variant,
        "generator_version": GENERATOR_VERSION,
        "provenance": "self-supervised",
        "depth_flag": scene.depth_flag,
        "photo_hash": scene.content_hash,
    }
    if puzzle.objections:
        meta["would_refuse"] = list(puzzle.objections)
    return QuestionRecord(
        question_id=question_id,
        source=scene.source,
        split=scene.split,
        scene_id=scene.scene_id,
        images=images,
        widths=tuple(i.shape[1] for i in puzzle.images),
        heights=tuple(i.shape[0] for i in puzzle.images),
        question=puzzle.question,
        question_type=puzzle.question_type,
        answer=puzzle.answer,
        options=puzzle.options,
        reward=json.dumps(puzzle.reward(style)),
        family=f"ssrl_{task}",
        template_id=puzzle.template_id,
        seed=seed,
        meta=json.dumps(meta, default=float),
        tags=scene.tags,
    )
