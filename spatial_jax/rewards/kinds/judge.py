"""Answers that no rule settles: the rule first, then a language model's verdict, 0 or 1 (Li 2025). No verdict excludes
the sample.
"""

from __future__ import annotations

from spatial_jax.blocks import has_content
from spatial_jax.rewards.base import Context, Kind, Record, RewardUnavailable, Spec, answer_kind
from spatial_jax.rewards.parsing.text import fold

_MAX_ANSWER = 2000


def accuracy(answer: str, record: Record, spec: Spec, context: Context) -> float:
    """1 where answer and truth are equal after folding; 0 for an answer over 2,000 characters (an answer to these
    questions is a phrase, and long text is where instructions to the judge hide); else the judge's verdict.
    """
    truth = str(record["answer"])
    if fold(answer) == fold(truth):
        return 1.0
    if len(answer) > _MAX_ANSWER:
        return 0.0
    if context.judge is None:
        raise RewardUnavailable(
            "the judge reward needs a judge: pass judge=Judge(...), or set the judge's endpoint in the config"
        )
    verdict = context.judge.correct(
        str(record["question"]),
        [str(o) for o in record.get("options", ())],
        truth,
        answer,
        timeout=context.remaining(float(spec["timeout"])),
    )
    return float(verdict)


def _check(record: Record, spec: Spec) -> None:
    if not has_content(str(record["answer"])):
        raise ValueError("the answer is empty")
    if not float(spec["timeout"]) > 0:
        raise ValueError(f"reward judge: timeout = {spec['timeout']!r} must be positive (seconds)")


KIND: Kind = answer_kind("judge", {"timeout": 20.0}, accuracy, _check)
