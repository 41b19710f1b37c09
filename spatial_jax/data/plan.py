"""The token and patch plan: every record is measured against the buckets before step 0, and those that do not fit are
named.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.fit import Shape, advice, largest_of_each_shape, shape_of
from spatial_jax.data.integrity import DatasetError
from spatial_jax.data.records import QuestionRecord
from spatial_jax.data.source import QuestionSource, Unusable, reason_kind
from spatial_jax.pages import one_line, plain

log = logging.getLogger(__name__)
_WHAT = ("prompt tokens", "patches", "target tokens (add an answer bucket)")


@dataclasses.dataclass(frozen=True)
class Offender:
    """A record that cannot be used as planned; `kind`: its reason without the record, to count by."""

    position: int
    where: str
    reason: str
    kind: str


@dataclasses.dataclass(frozen=True, eq=False)
class QuestionPlan:
    """What a source's records need: prompt tokens, patches and target tokens [n] int32 (0 for offenders), and the
    offenders; `advice` by their kind: what to change, and to which number, so that all of the kind fit.
    """

    source: QuestionSource
    tokens: np.ndarray
    patches: np.ndarray
    targets: np.ndarray
    offenders: tuple[Offender, ...]
    advice: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def usable(self) -> QuestionSource:
        """The source without its offenders. Raises DatasetError when nothing is left."""
        if len(self.offenders) == len(self.source):
            first = self.offenders[0]
            advice = f"; {self.advice[first.kind]}" if first.kind in self.advice else ""
            raise DatasetError(
                f"{self.source.directory}: no record of split {self.source.split} can be used; "
                f"the first: {first.where}: {first.reason}{advice}"
            )
        return self.source.without([o.position for o in self.offenders]) if self.offenders else self.source

    def summary(self) -> str:
        """One line for the console: counts, and the 50th, 95th and 100th percentile of tokens and patches."""

        def spread(values: np.ndarray) -> str:
            used = values[self.tokens > 0]
            return "/".join(str(int(v)) for v in np.percentile(used, (50, 95, 100))) if used.size else "-"

        return (
            f"{self.source.name} {self.source.split}: {len(self.source)} records, {len(self.offenders)} left out;"
            f" median/95 %/max prompt tokens {spread(self.tokens)}, patches {spread(self.patches)}, target tokens"
            f" {spread(self.targets)}"
        )

    def report(self, shown: int = 5) -> None:
        """Logs the summary, the offenders by reason, and the first few by name."""
        log.info("%s", self.summary())
        reasons = collections.Counter(o.kind for o in self.offenders)
        for reason, count in reasons.most_common(shown):
            advice = f"; {self.advice[reason]}" if reason in self.advice else ""
            log.warning("%s: %d record(s) left out: %s%s", self.source.name, count, one_line(reason, 200), advice)
        if more := sum(count for _, count in reasons.most_common()[shown:]):
            log.warning("%s: %d record(s) left out for %d other reasons", self.source.name, more, len(reasons) - shown)
        for offender in self.offenders[:shown]:
            log.warning("  %s: %s", plain(offender.where), one_line(offender.reason, 500))


def plan_questions(
    source: QuestionSource,
    encoder: QuestionEncoder,
    *,
    max_prompt_tokens: int,
    max_patches: int | None = None,
    max_target_tokens: int | None = None,
    threads: int = 2,
    check: Callable[[QuestionRecord], None] | None = None,
) -> QuestionPlan:
    """Measures every record (no picture is decoded): about 1 ms a record. Limits are the largest buckets; `check`
    raises ValueError for a record that must not be used for another reason.
    """
    limits = (max_prompt_tokens, max_patches, max_target_tokens)

    too_large: dict[str, list[tuple[int, Shape, int]]] = collections.defaultdict(list)

    def look(position: int) -> tuple[tuple[int, int, int], str, str]:
        record = source[position]
        if isinstance(record, Unusable):
            return (0, 0, 0), record.reason, reason_kind(record.reason)
        try:
            needs = encoder.measure(record)
            if check is not None:
                check(record)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError) as error:
            return (0, 0, 0), f"{record.question_id}: {error}", str(error).partition(":")[0]
        for need, limit, what in zip(needs, limits, _WHAT):
            if limit is not None and need > limit:
                kind = f"more than {limit} {what}"
                # A target's length is the answer's own: smaller pictures would not help, so no advice is worked out for
                # it.
                if what != _WHAT[2]:
                    too_large[kind].append((needs[0], shape_of(record), position))
                return (0, 0, 0), f"{kind}: {record.question_id} needs {need}", kind
        return needs, "", ""

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(look, range(len(source)), chunksize=64))
    needs = np.asarray([row[0] for row in rows], np.int32).reshape(-1, 3)
    offenders = tuple(
        Offender(i, source.locate(int(source.indices[i])), row[1], row[2]) for i, row in enumerate(rows) if row[1]
    )
    told = {}
    for kind, found in too_large.items():
        records: Any = [source[i] for i in largest_of_each_shape(found)]
        told[kind] = advice(encoder, records, max_prompt_tokens, max_patches)
    return QuestionPlan(source, needs[:, 0], needs[:, 1], needs[:, 2], offenders, told)
