"""Template questions a second on one core, the cost of each self-supervised task a picture, and self-supervised
samples of the published mixture a second.

    python -m benchmarks.synthesis_speed --out=benchmarks/results/synthesis_speed.json

Times are CPU seconds of this process (other load on the machine does not count). Scenes are rendered ones, held in
memory; "records" is the whole way from a SceneRecord to finished QuestionRecords, "with writing" adds serialisation and
the dataset on disk.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.geometry.measure import Measure
from data_prep.pipeline import depth_to_png, to_record
from data_prep.sources.rendered import RenderedScenes
from data_prep.synthesis import Generator, Options, choose_families
from data_prep.synthesis.dataset import write_questions
from data_prep.synthesis.selfsup import Draw, Picture, Style, Unsuitable
from data_prep.synthesis.selfsup.build import NEEDS_DEPTH, TASKS, VARIANTS, load, make_record, plan_mixture
from data_prep.synthesis.selfsup.puzzle import encode
from spatial_jax.data import SceneRecord

TARGET = 2000.0


def scenes(count: int, preset: str) -> list[SceneRecord]:
    source, measure, out = RenderedScenes(preset=preset, count=count), Measure(128), []
    for index in range(count):
        frame = source.load(index)
        measure(frame)
        out.append(to_record(frame))
    return out


def questions(records: list[SceneRecord], profile: str, per_scene: int) -> dict[str, Any]:
    Generator(choose_families("all"), Options(profile=profile), per_scene=per_scene)(records[0])  # imports
    generator = Generator(choose_families("all"), Options(profile=profile), per_scene=per_scene)
    started = time.process_time()
    made = [q for record in records for q in generator(record)]
    seconds = time.process_time() - started
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        write_questions(folder + "/q", {}, made)
        writing = time.process_time() - started
    return {
        "questions": len(made),
        "records_per_second": round(len(made) / seconds),
        "with_writing_per_second": round(len(made) / (seconds + writing)),
    }


def tasks(picture: Picture, turns: int) -> dict[str, Any]:
    """Milliseconds a question of each self-supervised variant, drawing and picture encoding included."""
    rows = {}
    for variant, (_, _, make) in VARIANTS.items():
        started, made, reasons = time.process_time(), 0, collections.Counter[str]()
        for turn in range(turns):
            try:
                puzzle = make(picture, Draw(f"speed/{variant}", turn), Style())
            except Unsuitable as error:
                reasons[str(error)] += 1
                continue
            for image in puzzle.images:
                encode(np.ascontiguousarray(image))
            made += 1
        rows[variant] = {
            "ms": round(1000 * (time.process_time() - started) / max(1, made), 1),
            "made": made,
            "refused": dict(reasons),
        }
    return rows


def mix_speed(pictures: list[Picture], count: int) -> dict[str, Any]:
    """Samples of Spatial-SSRL-81k's mixture a CPU second at 640x480, from stored scenes to records: decoding the photo
    (and its depth, where a task needs it) for each, drawing, encoding. `pixels`: a digest of what was drawn.
    """
    stored = [_scene(picture, number) for number, picture in enumerate(pictures)]
    jobs = plan_mixture(TASKS, [True] * len(stored), count, 0)
    whole, seconds, made = hashlib.sha256(), 0.0, 0
    for job in jobs:
        needs = VARIANTS[job.variant][0] in NEEDS_DEPTH
        started = time.process_time()
        record = make_record(job, lambda i, needs=needs: (stored[i], load(stored[i], needs)), Style(), size=0, seed=0)
        seconds += time.process_time() - started
        made += not isinstance(record, str)
        for image in () if isinstance(record, str) else record.images:
            whole.update(np.asarray(Image.open(io.BytesIO(image))).tobytes())
    return {"samples_per_second": round(made / seconds, 1), "made": made, "pixels": whole.hexdigest()[:16]}


def _photos() -> list[Picture]:
    """Real photos of scikit-image at 640x480 with the depth of a floor that rises behind three steps."""
    from skimage import data

    y, x = np.mgrid[:480, :640].astype(np.float32)
    depth = np.float32(2) + (480 - y) / 80 + 3 * np.floor(x / 214)
    shots = [
        Image.fromarray(shot()).resize((640, 480)) for shot in (data.astronaut, data.chelsea, data.coffee, data.rocket)
    ]
    return [Picture(np.asarray(shot.convert("RGB")), depth) for shot in shots]


def _scene(picture: Picture, number: int) -> SceneRecord:
    assert picture.depth is not None
    depth_png, scale = depth_to_png(picture.depth)
    height, width = picture.rgb.shape[:2]
    return SceneRecord(
        f"p{number}",
        "speed",
        "train",
        encode(picture.rgb),
        width,
        height,
        f"p{number}",
        depth_png=depth_png,
        depth_scale=scale,
        depth_flag="metric",
    )


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--scenes", type=int, default=150)
    p.add_argument("--per_scene", type=int, default=8)
    p.add_argument("--turns", type=int, default=10)
    p.add_argument("--out", default="")
    args = p.parse_args()
    result: dict[str, Any] = {"target_per_second": TARGET, "questions": {}, "selfsup": {}}
    for preset in ("plain", "rich"):
        records = scenes(args.scenes if preset == "plain" else args.scenes // 5, preset)
        for profile in ("plain", "full"):
            row = result["questions"][f"{preset} scenes, {profile}"] = questions(records, profile, args.per_scene)
            print(
                f"{preset} scenes, {profile:5}  {row['questions']:5d} questions  {row['records_per_second']:6d}/s  with"
                f" writing {row['with_writing_per_second']:6d}/s",
                flush=True,
            )
    picture = load(records[0])
    for size in ((480, 640), (1064, 1600)):
        rgb = np.asarray(
            Image.open(io.BytesIO(records[0].image)).convert("RGB").resize(size[::-1], Image.Resampling.BICUBIC)
        )
        assert picture.depth is not None
        depth = np.asarray(Image.fromarray(picture.depth).resize(size[::-1], Image.Resampling.NEAREST))
        rows = result["selfsup"][f"{size[1]}x{size[0]}"] = tasks(Picture(rgb, depth), args.turns)
        print(f"{size[1]}x{size[0]}: " + ", ".join(f"{k} {v['ms']} ms" for k, v in rows.items()), flush=True)
    row = result["selfsup"]["mixture at 640x480"] = mix_speed(_photos(), 40 * args.turns)
    print(f"published mixture at 640x480: {row['samples_per_second']} samples a CPU second", flush=True)
    if args.out:
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
