"""What a sample costs on the host: reading, decoding, patchify, tokens, positions; against PIL alone and transformers'
processor.

    python -m benchmarks.data_pipeline                 # about a minute; writes benchmarks/results/data_pipeline.json
    python -m benchmarks.data_pipeline --peers         # also transformers' processors on these pictures (imports torch)

Rates are samples per second of CPU time (all threads and worker processes summed), so they hold for one core and do not
depend on what else runs on the machine; wall-clock rates stand beside them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spatial_jax.data import (
    PipelineSettings,
    PromptStyle,
    QuestionEncoder,
    QuestionPipeline,
    QuestionRecord,
    open_questions,
)
from spatial_jax.data.records import question_features, to_example
from spatial_jax.models import config_to_hf, published_config
from spatial_jax.processing import Processor, load_image, train_tokenizer

RESULTS = Path(__file__).with_name("results")
QUESTION = "Which of the two is closer to the camera, the wooden chair on the left or the tall lamp behind the table?"
SIZES = {"640x480 JPEG": (640, 480, "JPEG"), "140x140 PNG": (140, 140, "PNG"), "84x84 PNG": (84, 84, "PNG")}


def picture(seed: int, width: int, height: int, kind: str) -> bytes:
    """An encoded picture with the detail of a photograph: smooth shapes plus a little noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).astype(np.int16) + rng.normal(0, 5, (height, width, 3)).astype(np.int16)
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, kind, quality=90)
    return out.getvalue()


def write_dataset(directory: Path, count: int, width: int, height: int, kind: str) -> Path:
    """A question dataset of `count` records with a picture each."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import dataset_info

    directory.mkdir(parents=True)
    identity = dataset_info.DatasetIdentity(
        name="questions", version=tfds.core.Version("1.0.0"), data_dir=str(directory), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=question_features(), description="benchmark")
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=500, file_format="array_record")
    writer.initialize_splits(["train"])
    writer.add_examples(
        {
            "train": [
                to_example(
                    QuestionRecord(
                        question_id=f"q{i}",
                        source="benchmark",
                        split="train",
                        scene_id=f"s{i}",
                        images=(picture(i, width, height, kind),),
                        widths=(width,),
                        heights=(height,),
                        question=f"{QUESTION} ({i})",
                        question_type="word",
                        answer="chair",
                        reward='{"kind": "choice"}',
                        options=("chair", "lamp"),
                        family="closer",
                    )
                )
                for i in range(count)
            ]
        }
    )
    writer.close_all()
    return directory


def cpu_seconds() -> float:
    """CPU time of this process and its ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def rate(work: Callable[[], Any], samples: int) -> dict[str, float]:
    """Samples per CPU second and per wall second of `work`."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return {"per_core_s": round(samples / max(cpu, 1e-9), 1), "per_wall_s": round(samples / wall, 1)}


def measure(directory: Path, processor: Processor, count: int) -> dict[str, dict[str, float]]:
    """All rows of one picture size."""
    rows: dict[str, dict[str, float]] = {}
    source = open_questions(directory)
    encoder = QuestionEncoder(processor, PromptStyle("think_answer"))
    records = [source[i] for i in range(count)]

    def pil(data: bytes) -> None:
        image = load_image(data)
        image.resize(processor.model_size(*image.size), Image.Resampling.BICUBIC)

    rows["PIL decode + resize alone (the bound)"] = rate(lambda: each(lambda r: pil(r.images[0]), records), count)
    rows["record from disk"] = rate(lambda: each(source.__getitem__, range(count)), count)
    rows["record to sample"] = rate(lambda: each(lambda r: encoder.finish(encoder.encode(r)), records), count)
    rows["plan check (tokens and patches, nothing decoded)"] = rate(lambda: each(encoder.measure, records), count)
    for name, cache in (("pipeline, 2 threads, first epoch", 0), ("pipeline, 2 threads, cached", 4 << 30)):
        pipeline = QuestionPipeline(
            [source],
            QuestionEncoder(processor, PromptStyle("think_answer"), cache),
            PipelineSettings(threads=2, buffer=16),
        )
        if cache:
            pipeline.take(count + 32)
        rows[name] = rate(lambda p=pipeline: drain(p, count), count)
        pipeline.close()
    return rows


def each(work: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Calls `work` on every item and keeps nothing, as a training step would."""
    for item in items:
        work(item)


def drain(pipeline: QuestionPipeline, count: int) -> None:
    """Takes samples without keeping them."""
    for _ in range(count):
        next(pipeline)


def workers(directory: Path, processor: Processor, count: int) -> dict[str, float]:
    """The pipeline with two worker processes, by the wall (their CPU time counts only when they end)."""
    encoder = QuestionEncoder(processor, PromptStyle("think_answer"))
    pipeline = QuestionPipeline([open_questions(directory)], encoder, PipelineSettings(workers=2, buffer=16))
    drain(pipeline, 24)  # the processes have started
    out = rate(lambda: drain(pipeline, count), count)
    pipeline.close()
    return {"per_wall_s": out["per_wall_s"]}


def peers(directory: Path, folder: Path, count: int) -> dict[str, dict[str, float]]:
    """transformers' processor on the same pictures and texts, both of its backends."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import torchvision_shim  # noqa: F401  (torchvision's operators, where its binary does not fit the torch build)
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    source = open_questions(directory)
    records: list[Any] = [source[i] for i in range(count)]
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(processor: Any, framework: str) -> Callable[[], None]:
        def work() -> None:
            for record in records:
                message: list[Any] = [
                    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": record.question}]}
                ]
                text: Any = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
                made = processor(images=[Image.open(io.BytesIO(record.images[0]))], return_tensors=framework)
                tokenizer(
                    text.replace(
                        "<|image_pad|>", "<|image_pad|>" * (int(np.prod(np.asarray(made["image_grid_thw"][0]))) // 4)
                    )
                )

        return work

    return {
        "transformers, PIL backend": rate(run(Qwen2VLImageProcessorPil.from_pretrained(folder), "np"), count),
        "transformers, torchvision backend": rate(run(Qwen2VLImageProcessor.from_pretrained(folder), "pt"), count),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="samples of each picture size")
    parser.add_argument("--peers", action="store_true", help="also transformers' processors")
    parser.add_argument("--out", type=Path, default=RESULTS / "data_pipeline.json")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "policy"
        ids = train_tokenizer([QUESTION] * 50, 600, folder)
        (folder / "config.json").write_text(json.dumps({**config_to_hf(published_config("qwen2_5_vl_3b")), **ids}))
        processor = Processor.from_pretrained(folder)
        for name, (width, height, kind) in SIZES.items():
            directory = write_dataset(Path(temporary) / name.replace(" ", "_"), arguments.count, width, height, kind)
            results[name] = measure(directory, processor, arguments.count)
            if width == 640:
                results[name]["pipeline, 2 worker processes"] = workers(directory, processor, arguments.count)
            if arguments.peers:
                results[name].update(peers(directory, folder, min(arguments.count, 60)))
    report = {
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "count": arguments.count,
        "samples_per_second": results,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"{'':52}{'a CPU second':>14}{'a wall second':>15}")
    for name, rows in results.items():
        print(name)
        for row, value in rows.items():
            print(f"  {row:50}{value.get('per_core_s', float('nan')):14,.0f}{value['per_wall_s']:15,.0f}")


if __name__ == "__main__":
    main()
