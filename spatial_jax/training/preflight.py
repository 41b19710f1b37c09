"""Before step 0: every record's plan and truth, the rewards on real records, and the memory of the state, a line each."""
from __future__ import annotations

import collections
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax

from spatial_jax.data.records import QuestionRecord, resolve
from spatial_jax.data.source import QuestionSource
from spatial_jax.rewards.base import Context
from spatial_jax.rewards.lint import lint_records
from spatial_jax.rewards.scoring import check_record
from spatial_jax.training.answers import AnswerScorer

LINTED = 16                                     # records a dataset
SHOWN = 5
log = logging.getLogger(__name__)


def record_in_pixels(record: QuestionRecord) -> dict[str, Any]:
    """The record as rewards take it, in pixels of its stored pictures."""
    return resolve(record, list(zip(record.widths, record.heights))).as_dict()


def truth_check(scorer: AnswerScorer) -> Callable[[QuestionRecord], None]:
    """For `plan_samples`: raises ValueError for a record that the run's reward cannot score."""
    def check(record: QuestionRecord) -> None:
        values = record_in_pixels(record)
        check_record(scorer.spec(values), values)

    return check


def lint_sources(sources: Sequence[QuestionSource], scorer: AnswerScorer) -> list[str]:
    """Degenerate and adversarial answers to some records of each source, scored as the run would; logs one line a source and returns the
    faults. User functions are left out: they may be slow, and `python -m spatial_jax.rewards.lint --user` is there for them."""
    faults: list[str] = []
    for source in sources:
        count = min(LINTED, len(source))
        records = [source[i * len(source) // count] for i in range(count)]
        values = [record_in_pixels(r) for r in records if isinstance(r, QuestionRecord)]
        values = [v | {"reward": spec} for v in values if (spec := scorer.spec(v))["kind"] != "user"]
        rows = lint_records(values, context=Context(judge=scorer.judge))
        found = collections.Counter(f"{row.label}: {row.attack.name}: {row.fault}" for row in rows if row.fault)
        log.info("rewards of %s: %d answers to %d records linted, %d faults", source.name, len(rows), len(values), sum(found.values()))
        for fault, times in found.most_common(SHOWN):
            log.warning("  %s (%d times)", fault, times)
        faults += list(found)
    return faults


def memory_line(state: Any, reference: Any = None, frozen: Any = None) -> str:
    """Bytes of parameters, optimizer state and reference on this process's first device against what the device has, where it says so.
    Raises ValueError when they cannot fit: what the programs need comes on top."""
    device = jax.local_devices()[0]
    used = sum(shard.data.nbytes for leaf in jax.tree.leaves((state, reference, frozen)) if isinstance(leaf, jax.Array)
               for shard in leaf.addressable_shards if shard.device == device)
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:
        return f"memory: {used / 2**30:.2f} GiB of state on {device.device_kind} (it does not tell its size)"
    if used > limit:
        raise ValueError(f"{used / 2**30:.1f} GiB of state on a device of {limit / 2**30:.1f} GiB: use more devices, LoRA or bfloat16 parameters")
    return f"memory: {used / 2**30:.2f} GiB of state of {limit / 2**30:.2f} GiB on {device.device_kind}; {(limit - used) / 2**30:.2f} GiB for programs"
