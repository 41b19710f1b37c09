"""What a reward kind is: its spec's keys with their defaults, a check of the record, and the scoring function."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from spatial_jax.forms import extract_answer, format_names, get_format, matches_format

Record = Mapping[str, Any]
Spec = Mapping[str, Any]


class RewardUnavailable(Exception):
    """No score could be had (the judge timed out, a user's function failed): the sample is excluded, it does not score
    0.
    """


class Judgement(Protocol):
    """What the judge kind needs of a judge (see `judge.Judge`)."""

    def correct(
        self, question: str, options: list[str], truth: str, answer: str, timeout: float | None = None
    ) -> bool: ...


@dataclasses.dataclass(frozen=True)
class Score:
    """accuracy in [0, 1] is about the answer alone and is what filters and pass rates use; format is 1.0 where the
    response has the asked form; reward is what the policy is trained on.
    """

    reward: float
    accuracy: float
    format: float = 1.0


@dataclasses.dataclass(frozen=True)
class Context:
    """What scoring may use besides its inputs: a judge, and the time (time.monotonic()) by which the score is
    needed.
    """

    judge: Judgement | None = None
    until: float | None = None

    def remaining(self, timeout: float) -> float:
        """Seconds left, at most `timeout`. RewardUnavailable when there are none."""
        left = timeout if self.until is None else min(timeout, self.until - time.monotonic())
        if left <= 0:
            raise RewardUnavailable(
                "the deadline of the batch passed before this reward could run; raise rewards' deadline"
            )
        return left


@dataclasses.dataclass(frozen=True)
class Kind:
    """A reward: `keys` its spec's own keys with defaults, `score(response, record, spec, context)`, `check(record,
    spec)` raises ValueError where the record's truth cannot be scored against. `own_format(spec)`: the format that a
    kind defines itself (its paper's predicate and weight), which a run's form does not touch; None: the spec's key.
    """

    name: str
    keys: Mapping[str, Any]
    score: Callable[[str, Record, Spec, Context], Score]
    check: Callable[[Record, Spec], Any]
    own_format: Callable[[Spec], str] | None = None


# A shorter question can be an ordinary part of an answer ("Left?").
_MIN_ECHO = 12

COMMON_KEYS: dict[str, Any] = {
    "format": "none",
    "format_weight": 0.0,
    "correct_at": 0.5,
    "overlong": None,
    "gate": 0.0,
}


def answer_kind(
    name: str,
    keys: Mapping[str, Any],
    accuracy: Callable[[str, Record, Spec, Context], float],
    check: Callable[[Record, Spec], Any],
) -> Kind:
    """A kind that scores the extracted answer: reward = (1 - format_weight) * accuracy + format_weight * format; under
    a format of several turns nothing where the accuracy is not above `gate` (ViLaSR's threshold beta; at 0 form alone
    earns nothing). A response
    without an answer has accuracy 0; so has one that only repeats the question, which may list the objects in the true
    order.
    """

    def score(response: str, record: Record, spec: Spec, context: Context) -> Score:
        answer = extract_answer(response, spec["format"])
        question = str(record.get("question", "")).strip()
        if answer is not None and len(question) >= _MIN_ECHO and question in answer:
            answer = extract_answer(answer.replace(question, "\n"), "none")
        right = accuracy(answer, record, spec, context) if answer is not None else 0.0
        form = float(matches_format(response, spec["format"]))
        weight = float(spec["format_weight"])
        gate = float(not get_format(spec["format"]).several_turns or right > float(spec["gate"]))
        return Score(gate * ((1.0 - weight) * right + weight * form), right, form)

    return Kind(name, keys, score, check)


def nearest(key: str, known: Any) -> str:
    """ "; did you mean 'x'?" for the closest known key, or the list of them."""
    close = difflib.get_close_matches(str(key), list(known), 1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"


def check_choice(spec: Spec, key: str, allowed: tuple[str, ...]) -> None:
    """ValueError unless spec[key] is one of the allowed words."""
    if spec[key] not in allowed:
        raise ValueError(f"reward {spec['kind']}: {key} = {spec[key]!r}; {nearest(spec[key], allowed)}")


def check_common(spec: Spec) -> None:
    """The keys that every spec may carry."""
    check_choice(spec, "format", format_names())
    if not 0.0 <= float(spec["format_weight"]) <= 1.0:
        raise ValueError(
            f"reward {spec['kind']}: format_weight = {spec['format_weight']!r}; it must lie between 0 and 1"
        )
    if not 0.0 <= float(spec["gate"]) < 1.0:
        raise ValueError(f"reward {spec['kind']}: gate = {spec['gate']!r}; it must lie in [0, 1)")
    if spec["format"] == "none" and float(spec["format_weight"]) > 0:
        raise ValueError(
            f"reward {spec['kind']}: format_weight without a format would pay for any text; set format or leave it out"
        )
