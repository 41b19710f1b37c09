"""`score`, `is_correct` and their batched forms: a spec, a response and its record in, a number out."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

from spatial_jax.data.records import CODE_REWARDS
from spatial_jax.rewards.base import (
    COMMON_KEYS,
    Context,
    Judgement,
    Kind,
    Record,
    RewardUnavailable,
    Score,
    Spec,
    check_common,
    nearest,
)
from spatial_jax.rewards.kinds import KINDS
from spatial_jax.rewards.kinds.overlong import check_limits, overlong_penalty, response_tokens


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one response. `reward` and `correct` are None, and `error` says why, when it has no score: such a
    sample is left out of its group's statistics, it does not count as 0.
    """

    reward: float | None
    correct: bool | None
    accuracy: float | None = None
    format: float | None = None
    error: str = ""


def complete_spec(spec: Spec) -> tuple[Kind, dict]:
    """The kind that a spec names and the spec with every default filled in. ValueError for an unknown kind or key,
    naming the nearest.
    """
    name = spec.get("kind")
    if name not in KINDS:
        raise ValueError(f"reward kind {name!r} is unknown; {nearest(str(name), KINDS)}")
    kind = KINDS[name]
    known = {**COMMON_KEYS, **kind.keys}
    for key in spec:
        if key != "kind" and key not in known:
            raise ValueError(f"reward {name}: key {key!r} is unknown; {nearest(key, known)}")
    full = {**known, **spec}
    _check_numbers(full, known)
    check_common(full)
    if full["overlong"] is not None:
        check_limits(full["overlong"])
    return kind, full


def _check_numbers(spec: Spec, known: Mapping[str, Any]) -> None:
    """ValueError where a key whose default is a number holds anything else: a text ("1e999999999") is worked out to its
    last digit, and what does not fit into a float ends a reward in the midst of a run.
    """
    for key, default in known.items():
        value = spec[key]
        if isinstance(default, bool) or not isinstance(default, int | float):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
            raise ValueError(f"reward {spec['kind']}: {key} = {str(value)[:40]!r} is no ordinary number")


def record_spec(record: Record) -> dict[str, Any]:
    """The reward that a record names itself, as a dict of its own. ValueError where it is none, or where it names code:
    a record is data, and code comes from the command line and the config alone.
    """
    spec = record.get("reward")
    if not isinstance(spec, Mapping):
        raise ValueError(f"record {record.get('question_id', '?')!r}: its reward is no object with a kind")
    if spec.get("kind") in CODE_REWARDS:
        raise ValueError(
            f"record {record.get('question_id', '?')!r}: its reward names code (kind {spec['kind']!r}); records may"
            " not: name the file yourself, --config.reward.user_file=FILE"
        )
    return dict(spec)


def _code_of_its_own(spec: Spec, record: Record) -> bool:
    """Whether a spec that runs code is the record's own: a caller may have taken it from there."""
    own = record.get("reward")
    return (
        spec.get("kind") in CODE_REWARDS
        and isinstance(own, Mapping)
        and all(own.get(key) == spec.get(key) for key in ("kind", "file", "function"))
    )


def check_record(spec: Spec, record: Record) -> None:
    """ValueError, naming the record, when its spec is wrong or its truth cannot be scored against. For checks before a
    run.
    """
    try:
        if _code_of_its_own(spec, record):
            record_spec(record)
        kind, full = complete_spec(spec)
        kind.check(record, full)
    except Exception as error:  # whatever a record's fields make of a check, it is this record that cannot be used
        problem = f"field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"record {record.get('question_id', '?')!r}, reward {spec.get('kind')!r}: {problem}") from None


def evaluate(spec: Spec, response: str, record: Record, context: Context | None = None) -> tuple[Score, bool]:
    """The score with its parts, and whether the answer counts as right: accuracy (never the shaped reward) >=
    correct_at. A spec that runs code and is the record's own is a ValueError (see `record_spec`).
    """
    if _code_of_its_own(spec, record):
        record_spec(record)
    kind, full = complete_spec(spec)
    result = kind.score(response, record, full, context or Context())
    if full["overlong"] is not None:
        limits = full["overlong"]
        penalty = overlong_penalty(response_tokens(record), int(limits["max_length"]), int(limits["buffer"]))
        result = dataclasses.replace(result, reward=result.reward + penalty)
    if not (math.isfinite(result.reward) and math.isfinite(result.accuracy)):
        raise RewardUnavailable(f"reward {kind.name} came to {result.reward} (accuracy {result.accuracy}), no number")
    return result, result.accuracy >= float(full["correct_at"])


def score(spec: Spec, response: str, record: Record, *, judge: Judgement | None = None) -> float:
    """The reward of `response` (text) for `record` (QuestionRecord.as_dict(), resolved to the pixels the model sees)
    under `spec` ({"kind": ..., parameters}). ValueError for a bad spec or truth; RewardUnavailable when a judge or a
    user's function gave none.
    """
    return evaluate(spec, response, record, Context(judge=judge))[0].reward


def is_correct(spec: Spec, response: str, record: Record, *, judge: Judgement | None = None) -> bool:
    """Whether the answer counts as right: accuracy >= spec["correct_at"] (0.5 unless given). Same errors as `score`."""
    return evaluate(spec, response, record, Context(judge=judge))[1]


def _outcome(item: tuple[Spec, str, Record], context: Context) -> Outcome:
    spec, response, record = item
    try:
        result, correct = evaluate(spec, response, record, context)
    except RewardUnavailable as error:
        return Outcome(None, None, error=str(error))
    except Exception as error:  # whatever a text or a record makes of a rule, it costs this sample and no other
        return Outcome(None, None, error=f"record {record.get('question_id', '?')!r}: {type(error).__name__}: {error}")
    return Outcome(result.reward, correct, result.accuracy, result.format)


def outcome_many(
    items: Iterable[tuple[Spec, str, Record]],
    *,
    threads: int = 8,
    deadline: float | None = None,
    judge: Judgement | None = None,
) -> list[Outcome]:
    """The outcome of each (spec, response, record), in order, on host threads. Whatever is not done `deadline` seconds
    from now has no score; the call returns then and does not wait for stragglers.
    """
    items = list(items)
    until = None if deadline is None else time.monotonic() + deadline
    context = Context(judge=judge, until=until)
    waiting = {"judge", "user"}
    if threads <= 1 or not any(spec.get("kind") in waiting for spec, _, _ in items):
        # Rules are pure Python: threads would only contend for the interpreter.
        return [
            _outcome(item, context) if until is None or time.monotonic() < until else _late(deadline) for item in items
        ]
    pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="reward")
    try:
        futures = [pool.submit(_outcome, item, context) for item in items]
        concurrent.futures.wait(futures, timeout=None if until is None else max(0.0, until - time.monotonic()))
        return [future.result() if future.done() and not future.cancelled() else _late(deadline) for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _late(deadline: float | None) -> Outcome:
    return Outcome(None, None, error=f"no score within the batch's deadline of {deadline} s; the sample is excluded")


def score_many(
    items: Iterable[tuple[Spec, str, Record]],
    *,
    threads: int = 8,
    deadline: float | None = None,
    judge: Judgement | None = None,
) -> list[float | None]:
    """`outcome_many`'s rewards: a float, or None for a sample that must be excluded."""
    return [outcome.reward for outcome in outcome_many(items, threads=threads, deadline=deadline, judge=judge)]
