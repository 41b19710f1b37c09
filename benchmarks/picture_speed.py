"""Encoded pictures to what a policy reads, a CPU second: here against transformers' two image processors, in turns.

    python -m benchmarks.picture_speed           # about a minute; writes benchmarks/results/picture_speed.json

Bytes are decoded, resized, normalised and cut into float32 patches. Each round takes every side once, so that what else
runs on the machine falls on all; the least CPU time of a side's rounds counts, all of its threads together. torch gets
one thread. `level`: largest difference of a pixel, in levels of 255, from ours.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.data_pipeline import picture
from benchmarks.policies import prepare_torchvision, write_result
from spatial_jax.processing.image import ImageSettings, image_patches, load_image, normalise

SIZES = {
    "1600x1200 JPEG": (1600, 1200, "JPEG"),
    "640x480 JPEG": (640, 480, "JPEG"),
    "224x224 PNG": (224, 224, "PNG"),
    "84x84 PNG": (84, 84, "PNG"),
}
CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SETTINGS = ImageSettings(14, 2, 2, *CLIP, 56 * 56, 1280 * 28 * 28)


def make_sides() -> dict[str, Callable[[bytes], np.ndarray]]:
    """By name: an encoded picture to [patches, 1176]."""
    prepare_torchvision()
    import torch
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    torch.set_num_threads(1)
    size: Any = {"shortest_edge": SETTINGS.min_pixels, "longest_edge": SETTINGS.max_pixels}
    slow, fast = Qwen2VLImageProcessorPil(size=size), Qwen2VLImageProcessor(size=size)

    def ask(processor: Any, framework: str) -> Callable[[bytes], np.ndarray]:
        def run(data: bytes) -> np.ndarray:
            return processor(images=[Image.open(io.BytesIO(data))], return_tensors=framework)["pixel_values"]

        return run

    return {
        "spatial_jax": lambda data: normalise(image_patches(load_image(data), SETTINGS)[0], SETTINGS),
        "transformers, torchvision": ask(fast, "pt"),
        "transformers, PIL": ask(slow, "np"),
    }


def compare(sides: dict[str, Callable[[bytes], np.ndarray]], pictures: list[bytes], rounds: int) -> dict[str, Any]:
    """Pictures a CPU second of each side, times as many as the others' of ours, and how far the others' pixels are."""
    seconds, made = {name: float("inf") for name in sides}, {}
    for _ in range(rounds):
        for name, side in sides.items():
            begun = time.process_time()
            made[name] = [side(data) for data in pictures]
            seconds[name] = min(seconds[name], (time.process_time() - begun) / len(pictures))
    ours, *others = sides
    spread = 255 * min(CLIP[1])
    return {
        "pictures_a_cpu_second": {name: round(1 / value, 1) for name, value in seconds.items()},
        "times_faster": {name: round(seconds[name] / seconds[ours], 2) for name in others},
        "level": {
            name: max(round(spread * float(np.abs(np.asarray(a) - b).max()), 2) for a, b in zip(made[name], made[ours]))
            for name in others
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    rounds, sides = parser.parse_args().rounds, make_sides()
    rows = {name: compare(sides, [picture(i, *size) for i in range(4)], rounds) for name, size in SIZES.items()}
    write_result("picture_speed", "python -m benchmarks.picture_speed", {"rounds": rounds, "sizes": rows})


if __name__ == "__main__":
    main()
