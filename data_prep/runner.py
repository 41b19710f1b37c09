"""Runs a pipeline over its source: several processes, in order, resumable, with progress and a limit on failures."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from data_prep.geometry.trust import NOT_TRUSTED
from data_prep.writer import DatasetWriter
from spatial_jax.pages import say

Builder = Callable[[], Any]  # makes something with outcomes(indices): a Pipeline, or Signatures of the first pass
WATCH_SECONDS = 2.0
FAILURES_FROM = 20  # failed items from which a share of failures means anything


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who does the items: `count` of `kind` ("processes" or "ray"), `batch` items at a time; `gpus`: the share of a GPU
    that each of Ray's holds.
    """

    count: int = 1
    kind: str = "processes"
    batch: int = 8
    gpus: float = 0.0


class TooManyFailures(Exception):
    """More items failed than the run allows; the message is one line with the reason met most often."""


_PIPELINE: Any = None


def begin_worker() -> None:
    """What a process of a pool does first: Ctrl-C, which a terminal sends it too, is its parent's to answer, and it
    leaves when that is gone: pools' processes would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os._exit(1)


def _start(build: Builder) -> None:
    global _PIPELINE
    begin_worker()
    _PIPELINE = build()


def _work(indices: list[int]) -> list[Any]:
    return _PIPELINE.outcomes(indices)


def _batches(start: int, stop: int, size: int) -> Iterator[list[int]]:
    for first in range(start, stop, size):
        yield list(range(first, min(first + size, stop)))


def run_serial(build: Builder, start: int, stop: int, batch: int = 8) -> Iterator[Any]:
    """Outcomes of items start..stop - 1, in this process."""
    pipeline = build()
    for indices in _batches(start, stop, batch):
        yield from pipeline.outcomes(indices)


def run_processes(build: Builder, start: int, stop: int, workers: int, batch: int = 8) -> Iterator[Any]:
    """The same outcomes in the same order from `workers` processes; at most a few batches are in flight."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _start, (build,)) as pool:
        pending: list[concurrent.futures.Future] = []
        batches = _batches(start, stop, batch)
        try:
            for indices in batches:
                pending.append(pool.submit(_work, indices))
                if len(pending) >= 4 * workers:
                    yield from pending.pop(0).result()
            while pending:
                yield from pending.pop(0).result()
        except BaseException:  # nobody takes what is under way
            end_workers(pool)
            raise


def end_workers(pool: concurrent.futures.ProcessPoolExecutor) -> None:
    """Ends a pool whose results nobody waits for any more, with the batches that are under way."""
    pool.shutdown(wait=False, cancel_futures=True)
    for child in multiprocessing.active_children():
        child.terminate()


def outcomes_of(build: Builder, start: int, stop: int, workers: Workers) -> Iterator[Any]:
    """Outcomes of items start..stop - 1, in order whoever does them."""
    if workers.kind == "ray":
        from data_prep.ray_runner import run_ray

        return run_ray(build, start, stop, workers.count, workers.batch, workers.gpus)
    if workers.count <= 1:
        return run_serial(build, start, stop, workers.batch)
    return run_processes(build, start, stop, min(workers.count, os.cpu_count() or 1), workers.batch)


class Progress:
    """One console line, renewed at most twice a second on a terminal and every ten seconds elsewhere: done, rate, time
    left, skipped.
    """

    def __init__(self, total: int, done: int, label: str, stream: Any = None):
        self.total, self.first, self.label, self.stream = total, done, label, stream or sys.stderr
        self.begun = self.shown = time.monotonic()
        self.every = 0.5 if self.stream.isatty() else 10.0

    def show(self, done: int, skipped: int, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self.shown < self.every:
            return
        self.shown = now
        rate = (done - self.first) / max(now - self.begun, 1e-6)
        left = (self.total - done) / rate if rate > 0 else float("inf")
        clock = f"{int(left // 60)}:{int(left % 60):02d} left" if left < 360000 else ""
        end = "\r" if self.stream.isatty() and not last else "\n"
        print(
            f"{self.label}: {done}/{self.total}, {rate:.1f} a second, {clock}, {skipped} skipped   ",
            end=end,
            file=self.stream,
            flush=True,
        )


def _failed_too_often(writer: DatasetWriter, limit: float) -> str:
    done = writer.items["record"] + writer.items["failed"] + writer.items["dropped"]
    failed = writer.items["failed"]
    if failed < FAILURES_FROM or failed <= limit * done:
        return ""
    counts = {
        f"{stage}: {reason.removeprefix('failed: ')}": n
        for stage, reasons in writer.tally.items()
        for reason, n in reasons.items()
        if reason.startswith("failed: ")
    }
    worst = max(counts, key=lambda key: counts[key])
    return (
        f"{failed} of {done} items failed, more than the allowed share {limit:g}; most often at {worst}"
        f" ({counts[worst]} times)"
    )


LONG = 60.0  # seconds: a run that takes longer is told how long, and what takes the time


def estimate(seconds: dict[str, float], done: int, left: int, workers: int) -> str:
    """How long `left` more items will take, and on what, from the `seconds` a stage of the first `done`; "" for a short
    run. A part of a stage ("objects.masks") is told in place of the whole.
    """
    whole = {name: s / done for name, s in seconds.items() if "." not in name}
    total = sum(whole.values()) * left / max(1, workers)
    if total < LONG:
        return ""
    split = {name.partition(".")[0] for name in seconds if "." in name}
    shown = {name: s / done for name, s in seconds.items() if name not in split}
    most = sorted(shown.items(), key=lambda item: -item[1])[:4]
    clock = f"{total / 3600:.1f} h" if total >= 3600 else f"{total / 60:.0f} min"
    hint = "; fewer objects a picture take less time: --set=masks.most=N" if "objects" in split else ""
    spent = ", ".join(f"{name} {s:.2f}" for name, s in most)
    return f"about {clock} for {left} more items (seconds an item: {spent}){hint}"


def run(
    build: Builder,
    writer: DatasetWriter,
    total: int,
    workers: Workers = Workers(),
    *,
    max_failures: float = 0.5,
    say: Callable[[str], None] = say,
) -> dict[str, float]:
    """Does the items the writer still lacks and finishes the dataset. Returns the seconds spent a stage (all workers
    together).

    Every item that fails or is dropped costs one line on the console. Raises TooManyFailures as soon as more than the
    share `max_failures` of the items done (and at least FAILURES_FROM) have failed; what was done stays and a later
    run goes on.
    """
    label = "annotate"
    seconds: dict[str, float] = {}
    start = writer.next_index
    if writer.complete or start >= total:
        writer.finish()
        return seconds
    if start:
        say(f"{label}: going on at item {start} of {total}")
    progress = Progress(total, start, label)
    # The second batch of each worker is timed: its first has loaded the models, which later ones need not.
    look = min(2 * workers.batch * max(1, workers.count), total - start)
    ahead: dict[str, float] = {}
    outcomes = outcomes_of(build, start, total, workers)
    for outcome in outcomes:
        writer.append(outcome)
        for stage, spent in outcome.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
        if outcome.index + 1 - start == look // 2:
            ahead = dict(seconds)
        if outcome.index + 1 - start == look and (
            text := estimate(
                {k: v - ahead.get(k, 0.0) for k, v in seconds.items()},
                look - look // 2,
                total - start - look,
                workers.count,
            )
        ):
            say(f"{label}: {text}")
        if outcome.kind != "record":
            say(f"{outcome.kind} at {outcome.stage}: {outcome.item_id}: {outcome.reason}")
        for note in outcome.notes:
            say(
                f"{outcome.item_id}: {note}" if note.startswith(NOT_TRUSTED) else f"repaired: {outcome.item_id}: {note}"
            )
        progress.show(outcome.index + 1, writer.items["failed"] + writer.items["dropped"])
        if outcome.kind == "failed":
            reason = _failed_too_often(writer, max_failures)
            if reason:
                outcomes.close()  # type: ignore[attr-defined]
                raise TooManyFailures(reason)
    progress.show(total, writer.items["failed"] + writer.items["dropped"], last=True)
    writer.finish()
    return seconds
