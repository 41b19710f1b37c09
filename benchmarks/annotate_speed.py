"""Pictures a second of each stage of annotation, one core, as a table and JSON.

    python -m benchmarks.annotate_speed --pictures=100 --out=benchmarks/results/annotate_speed.json

Times are CPU seconds of this process, so that other programs on the machine do not count; `wall` tells how busy the
machine was.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from data_prep.annotate import build_pipeline
from data_prep.pipeline import Pipeline

CASES: dict[str, dict[str, Any]] = {
    "rendered plain 112x112": {"source": "rendered", "preset": "plain", "seed": 0},
    "rendered rich 448x448": {"source": "rendered", "preset": "rich", "seed": 0},
    "photos of skimage, sklearn": {"source": "folder", "path": "package:skimage,sklearn"},
    "stereo 741x500 with floor": {"source": "stereo"},
}


class _Clock:
    """Stands before a stage's call and adds up its CPU time."""

    def __init__(self, call: Any):
        self.call, self.spent = call, 0.0

    def __call__(self, *arguments: Any) -> Any:
        start = time.process_time()
        try:
            return self.call(*arguments)
        finally:
            self.spent += time.process_time() - start


def measure(pipeline: Pipeline, pictures: int) -> dict[str, Any]:
    """CPU milliseconds a picture of each stage, and pictures a second a core over all."""
    count = len(pipeline.source)
    pipeline(0)  # imports and caches are not the stages' cost
    seconds: dict[str, float] = {}
    original = pipeline._time

    def time_stage(item: Any, stage: str, call: Any, *arguments: Any) -> Any:
        clock = _Clock(call)
        try:
            return original(item, stage, clock, *arguments)
        finally:
            seconds[stage] = seconds.get(stage, 0.0) + clock.spent

    pipeline._time = time_stage  # type: ignore[method-assign]
    wall, size = time.perf_counter(), 0
    for number in range(pictures):
        size += len(pipeline(number % count).example)
    wall = time.perf_counter() - wall
    total = sum(seconds.values())
    return {
        "stages_ms": {k: round(1e3 * v / pictures, 3) for k, v in seconds.items()},
        "pictures_per_second": round(pictures / total, 1),
        "wall_pictures_per_second": round(pictures / wall, 1),
        "kilobytes": round(size / pictures / 1024, 1),
    }


def main() -> None:
    """Prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.annotate_speed", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=100, help="pictures a case; a tenth of it for the large ones")
    parser.add_argument("--out", default="", help="JSON file to write")
    options = parser.parse_args()
    results = {}
    print(f"{'case':28} {'a second':>9} {'wall':>7} {'kB':>7}  CPU ms a picture by stage")
    for name, spec in CASES.items():
        pictures = options.pictures if "plain" in name else max(3, options.pictures // 10)
        found = results[name] = measure(build_pipeline({"count": pictures, **spec}), pictures)
        stages = ", ".join(f"{k} {v:.2f}" for k, v in found["stages_ms"].items())
        print(
            f"{name:28} {found['pictures_per_second']:9.1f} {found['wall_pictures_per_second']:7.1f}"
            f" {found['kilobytes']:7.1f}  {stages}"
        )
    if options.out:
        path = Path(options.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(
                {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "cases": results},
                indent=1,
            )
        )


if __name__ == "__main__":
    main()
