"""What evaluation saves where many questions are asked about one video: tokens that pass, and time.

    python -m benchmarks.shared_clips --questions=FOLDER     # FOLDER holds VSI-Bench's questions as published

Counts prompt tokens that pass through the network over tokens that differ, for the folder's questions in the order in
which evaluation would ask them, 32 frames of 640x480 pixels each (no video is needed: only sizes count; the tokenizer
is one trained on the questions). Then a tiny policy answers 120 questions on 8 rendered clips of 16 frames, with and
without sharing, one after the other in one run: the answers must be the same. Without --questions only the second.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from flax import nnx

from benchmarks.policies import write_result
from spatial_jax.data.fresh import tiny_qwen2_5_vl
from spatial_jax.evals import run_benchmark
from spatial_jax.evals.asking import Request, by_clip, cut_sets
from spatial_jax.evals.benchmarks import vsi_bench
from spatial_jax.evals.generation import Sampler
from spatial_jax.evals.protocol import item_messages
from spatial_jax.evals.runner import Session
from spatial_jax.evals.settings import EngineSettings, EvalSettings, PolicySettings, SamplingSettings
from spatial_jax.models import ModelConfig, QwenVL, save_pretrained, split_model
from spatial_jax.models.positions import VIDEO
from spatial_jax.processing import Prepared, Processor, train_tokenizer

FRAMES, WIDTH, HEIGHT = 32, 640, 480
CLIPS, PER_CLIP = 8, 15
SETTINGS = EvalSettings(
    PolicySettings(dtype="float32", video_max_pixels=112 * 112, video_min_pixels=784),
    SamplingSettings(max_new_tokens=8, frames=16),
    EngineSettings(max_slots=64, prompts_per_call=32, prompt_buckets=(256,), answer_buckets=(8, 64, 128), data=1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", help="a folder with VSI-Bench's questions")
    given = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        items = made_items(Path(folder))
        policy, _ = tiny_policy(Path(folder) / "policy", [vsi_bench.prompt(i, "official") for i in items])
        if given.questions:
            published = vsi_bench.load(Path(given.questions))
            texts = [vsi_bench.prompt(item, "official") for item in published]
            _, words = tiny_policy(Path(folder) / "published", texts, vocabulary=4000)
            result["vsi_bench"] = count_tokens(published, words)
        result["rendered"] = time_answers(policy, items)
    command = "python -m benchmarks.shared_clips" + (" --questions=FOLDER" if given.questions else "")
    write_result("shared_clips", command, result)


def tiny_policy(folder: Path, texts: list[str], vocabulary: int = 600) -> tuple[Path, Processor]:
    """A random policy with a tokenizer of these texts."""
    ids = train_tokenizer(["system\n", "user\n", "assistant\n", *texts] * 4, vocabulary, folder)
    config: ModelConfig = dataclasses.replace(tiny_qwen2_5_vl(ids.pop("vocab_size")), **ids)
    save_pretrained((config, split_model(QwenVL(config, rngs=nnx.Rngs(0)))[1]), folder)
    return folder, Processor.from_pretrained(folder, video_max_pixels=200_704)


def count_tokens(items: list[dict[str, Any]], processor: Processor) -> dict[str, Any]:
    """Tokens of the real planner's sets over those that differ."""
    width, height = processor.video_size(FRAMES, WIDTH, HEIGHT)
    grid = (FRAMES // 2, height // 14, width // 14)
    clip = Prepared(VIDEO, np.zeros((int(np.prod(grid)), 1), np.uint8), grid, (width, height), 1.0)
    engine: Any = SimpleNamespace(**dataclasses.asdict(EngineSettings()))  # the planner asks it for sizes alone
    passed = distinct = alone = 0
    encode: Any = lambda: None  # noqa: E731  # nothing is encoded: the planner asks for places and clips alone
    requests = [Request(str(place), place, encode, str(item["video"])) for place, item in enumerate(items)]
    for asked in by_clip(requests):
        waiting: list[Any] = []
        for request in asked:
            text = vsi_bench.prompt(items[request.place], "official")
            prompt = processor.encode(item_messages(text, 0, 1), videos=[clip], normalise=False)
            waiting.append((request, {}, prompt, ()))
            alone += len(prompt)
        sets = [one for _, one in cut_sets(waiting, engine, True)]
        passed += sum(s.shared.passed if s.shared else sum(len(w[2]) for w in s.waiting) for s in sets)
        cut = max((len(s.shared.prefix) for s in sets if s.shared), default=0)
        distinct += cut + sum(len(prompt) - cut for _, _, prompt, _ in waiting)
    return {
        "questions": len(items),
        "videos": len({str(item["video"]) for item in items}),
        "tokens_a_clip": int(np.prod(grid)) // 4,
        "passed_over_distinct": round(passed / distinct, 3),
        "without_sharing_over_distinct": round(alone / distinct, 3),
    }


def made_items(folder: Path) -> list[dict[str, Any]]:
    """Questions as VSI-Bench words them on rendered clips: boxes that drift over a floor."""
    things = ("chair", "table", "lamp", "sofa", "shelf")
    items = []
    for number in range(CLIPS):
        video = folder / f"{number}.mp4"
        write_clip(video, np.random.default_rng(number))
        for k in range(PER_CLIP):
            thing, other = things[k % 5], things[(k + 1 + k // 5) % 5]
            counting = k % 2 == 0
            question = (
                f"How many {thing}(s) are in this room?"
                if counting
                else f"Which is closer to the {thing}, measured from the closest point of each?"
            )
            options = None if counting else [f"A. {other}", f"B. {things[(k + 3) % 5]}"]
            kind = "object_counting" if counting else "object_rel_distance"
            items.append(
                {"id": f"{number}/{k}", "video": video, "question": question, "question_type": kind, "options": options}
            )
            items[-1] |= {"ground_truth": "2" if counting else "A", "scene": str(number), "images": []}
    return items


def write_clip(path: Path, rng: np.random.Generator) -> None:
    """An mp4 of 32 frames of 160x120."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        y, x = np.mgrid[:120, :160]
        places, colours = rng.uniform((0, 40), (160, 120), (5, 2)), rng.integers(60, 255, (5, 3))
        for t in range(32):
            image = np.broadcast_to(np.where(y[..., None] > 60, 90, 160), (120, 160, 3)).astype(np.uint8).copy()
            for (cx, cy), colour in zip(places, colours):
                image[(abs((x - cx - 2 * t) % 160 - 80) < 12) & (abs(y - cy) < 10)] = colour
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def time_answers(policy: Path, items: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds with and without sharing, the second time each (the first compiles)."""
    sampler = Sampler.from_directory(policy, SETTINGS)
    seconds, answers, tokens = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(2):
            for share in (True, False):
                sampler.share, start = share, time.perf_counter()
                out = Path(folder) / f"{attempt}{share}.jsonl"
                run_benchmark(sampler, "vsi_bench", items, SETTINGS, session=Session(out))
                seconds[share], tokens[share] = time.perf_counter() - start, dict(sampler.tokens)
                answers[share] = sorted(line for line in out.read_text().splitlines()[1:])
    if answers[True] != answers[False]:
        raise SystemExit("shared_clips: answers with and without sharing differ")
    return {
        "questions": len(items),
        "clips": CLIPS,
        "seconds": {"shared": round(seconds[True], 2), "each_alone": round(seconds[False], 2)},
        "times_faster": round(seconds[False] / seconds[True], 2),
        "prompt_tokens": {"shared": tokens[True], "each_alone": tokens[False]},
        "same_answers": True,
    }


if __name__ == "__main__":
    main()
