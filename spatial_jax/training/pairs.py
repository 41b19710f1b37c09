"""DPO's pairs: the right answer is chosen, a wrong one of the same form rejected; the record's reward says which."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from spatial_jax.data import QuestionEncoder, QuestionRecord, QuestionSource
from spatial_jax.data.prompts import as_written, target_parts
from spatial_jax.data.sampled import rejected_reply
from spatial_jax.forms import get_form
from spatial_jax.rewards.attacks import well_formed
from spatial_jax.rewards.base import Context, RewardUnavailable
from spatial_jax.rewards.scoring import evaluate
from spatial_jax.training.corruption import Size, candidates, retold

WRONG = 0.5  # an answer below counts as wrong
_READ = 2000  # records of a dataset whose answers are kept for others
_KEPT = 64  # answers of a family


class Pairs:
    """Rejected responses of one run. `spec`: a record's reward (as a dict in, the spec out), as the run scores it;
    `mode`: the prompt mode of the responses. A rejected response depends on the record and on the answers that `learn`
    has seen, and on nothing else.
    """

    def __init__(self, spec: Callable[[dict[str, Any]], Mapping[str, Any]], mode: str, context: Context | None = None):
        self._spec, self._mode, self._context = spec, mode, context or Context()
        self._answers: dict[tuple[str, str], list[str]] = {}

    def learn(self, sources: Sequence[QuestionSource]) -> None:
        """Keeps some answers of each family: what stands in for an answer that has no opposite and no other option."""
        for source in sources:
            count = min(_READ, len(source))
            for i in range(count):
                record = source[i * len(source) // count]
                if isinstance(record, QuestionRecord) and "{" not in record.answer:
                    known = self._answers.setdefault((record.family, record.question_type), [])
                    if len(known) < _KEPT and record.answer not in known:
                        known.append(record.answer)

    def rejection(self, record: QuestionRecord, size: Size | None = None) -> str:
        """The response to reject for a record in the model's pixels. Raises ValueError where no answer of the right
        form can be shown to be wrong, or the right answer does not count as right.
        """
        if (sampled := rejected_reply(record)) is not None:
            return sampled
        values = record.as_dict() | {"response_tokens": 1} | ({"model_sizes": [size]} if size else {})
        spec, (right, thought) = self._spec(values), target_parts(record, self._mode)
        reward, accuracy = self._score(spec, right, values)
        if accuracy < WRONG:
            raise ValueError(
                f"its own answer counts as wrong, so there is nothing to prefer: {right!r} earns {reward:.2f}"
            )
        rng = random.Random(hashlib.sha256(record.question_id.encode()).digest())
        others = self._answers.get((record.family, record.question_type), [])
        found = None
        for wrong in candidates(record, right, rng, others, size, [*map(str, spec.get("vocabulary", ()))]):
            reward, accuracy = self._score(spec, wrong, values)
            # A form that is paid by itself (vsGRPO's) can lift a wrong answer's reward: then accuracy alone tells.
            if accuracy < WRONG and (found is None or reward < WRONG):
                found = wrong
                if reward < WRONG:
                    break
        if found is None:
            raise ValueError(
                f"no wrong answer of the right one's form can be made (reward {spec.get('kind')}): {right!r}"
            )
        own = as_written(record).get("response")
        if own is None:
            return get_form(self._mode).write(found, retold(thought, record, right, found))
        before, held, after = own.rpartition(right)  # the reply as it was brought, but for its answer
        if not held:
            raise ValueError(f"its reply does not hold its answer {right!r} word for word, so no other can stand there")
        return before + found + after

    def check(self, encoder: QuestionEncoder, longest: int) -> Callable[[QuestionRecord], None]:
        """For `plan_questions`: raises ValueError for a record that has no rejected response of at most `longest`
        tokens, its end included.
        """

        def look(record: QuestionRecord) -> None:
            resolved, sizes = encoder.resolve_record(record)
            text = self.rejection(resolved, sizes[0] if sizes else None)
            if len(encoder.processor.tokenizer.encode_text(text)) + 1 > longest:
                raise ValueError(
                    f"more than {longest} tokens of its rejected answer (add an answer bucket): {text[:80]!r}"
                )

        return look

    def _score(self, spec: Mapping[str, Any], answer: str, record: dict[str, Any]) -> tuple[float, float]:
        """(reward, accuracy) of an answer in the form that its reward reads; without a verdict nothing is known to be
        wrong.
        """
        try:
            result, _ = evaluate(spec, well_formed(spec, answer), record, self._context)
        except RewardUnavailable:
            return 1.0, 1.0
        return result.reward, result.accuracy
