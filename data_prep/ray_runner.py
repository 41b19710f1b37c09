"""The same outcomes in the same order from Ray: Ray Data over item numbers, actors that keep their models loaded."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from data_prep.pipeline import Outcome, Pipeline


class _Annotator:
    """Ray actor: builds the pipeline once, then turns batches of item numbers into pickled outcomes."""

    def __init__(self, build: Callable[[], Pipeline]):
        self.pipeline = build()

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        outcomes = self.pipeline.outcomes([int(i) for i in batch["id"]])
        packed = np.empty(len(outcomes), object)
        packed[:] = [pickle.dumps(o) for o in outcomes]
        return {"outcome": packed}


def _start_cluster(ray: Any, workers: int, tries: int = 3) -> None:
    """Connects to the cluster of RAY_ADDRESS or starts a local one; tried again because Ray gives its own processes a
    fixed 30 s to come up, which a busy machine may exceed.
    """
    for left in reversed(range(tries)):
        if ray.is_initialized():
            return
        try:
            ray.init(
                num_cpus=None if os.environ.get("RAY_ADDRESS") else max(workers + 1, 2),
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                configure_logging=False,
            )
        except Exception:
            ray.shutdown()
            if not left:
                raise


def run_ray(
    build: Callable[[], Pipeline], start: int, stop: int, workers: int, batch: int = 8, gpus: float = 0.0
) -> Iterator[Outcome]:
    """Outcomes of items start..stop - 1 from `workers` actors of the Ray cluster that RAY_ADDRESS names, or of a local
    one.

    `gpus`: share of a GPU each actor holds. The order is that of the items whatever the number of actors."""
    import ray

    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    _start_cluster(ray, workers)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    numbers: Any = ray.data.range(stop - start, override_num_blocks=max(1, -(-(stop - start) // batch)))
    shifted = numbers.map_batches(lambda b: {"id": b["id"] + start}, batch_size=None)
    done = shifted.map_batches(
        _Annotator, fn_constructor_args=(build,), batch_size=batch, concurrency=workers, num_gpus=gpus
    )
    for row in done.iter_rows():
        # Pickled by our own actor a moment ago, on the same cluster.
        yield pickle.loads(row["outcome"])
