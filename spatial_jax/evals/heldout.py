"""Any data_prep dataset as a benchmark of its own question families, with the answers a blind guesser would give beside
it.

Records and responses in, a result (see results.py) out. Scoring is the training reward itself, so the number here is
what the policy was trained for; accuracy is `rewards.is_correct` of the same record.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_jax.data import QuestionRecord, resolve
from spatial_jax.data.records import in_stored_pixels
from spatial_jax.evals.judging import Grader
from spatial_jax.evals.results import ScoredItem, summarise
from spatial_jax.forms import extract_answer, get_format
from spatial_jax.rewards import outcome_many, parse_box, parse_choice, parse_number
from spatial_jax.rewards.base import Judgement
from spatial_jax.rewards.kinds import response_format
from spatial_jax.rewards.rule import OWN_REWARD, Answer, RewardRule, reward_spec, score_answers

log = logging.getLogger(__name__)

MAX_CANDIDATES = 20  # constants tried by the blind guesser, a family
MAX_PROBES = 80  # train records on which they are tried, a family
NEIGHBOURS = 8  # train questions that vote for a held-out question's blind answer

_WORD = re.compile(r"[a-z]+")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def resolved_dict(record: QuestionRecord, model_sizes: Sequence[Sequence[int]] | None) -> dict[str, Any]:
    """The record as rewards take it, in pixels of the pictures the model saw (of the stored ones when the sizes are not
    known).
    """
    if not model_sizes:
        return in_stored_pixels(record).as_dict()
    return resolve(record, [(width, height) for width, height in model_sizes]).as_dict()


def scored_item(
    record: dict[str, Any],
    answers: Sequence[Answer],
    failures: Counter[str] | None = None,
    *,
    rule: RewardRule = OWN_REWARD,
    model_sizes: Sequence[Any] | None = None,
    judge: Judgement | None = None,
) -> ScoredItem:
    """One resolved record with the scores of its answers, as training under the same rule scores them; a sample without
    a score (a judge that timed out) is nan, not 0, and is counted in `failures` by reason.
    """
    outcomes = score_answers(record, answers, rule, model_sizes=model_sizes, threads=1 if judge else 8, judge=judge)
    if failures is not None:
        failures.update(o.error.partition(f"{record['question_id']!r}: ")[2] or o.error for o in outcomes if o.error)
    return ScoredItem(
        id=str(record["question_id"]),
        family=_family(record),
        scene=str(record["scene_id"]),
        scores=tuple(float("nan") if o.reward is None else float(o.reward) for o in outcomes),
        correct=tuple(float("nan") if o.correct is None else float(o.correct) for o in outcomes),
        parsed=tuple(parsed_answer(in_form(record, rule), a.text) for a in answers),
    )


def _family(record: Mapping[str, Any]) -> str:
    return str(record["family"] or record["question_type"])


def in_form(record: dict[str, Any], rule: RewardRule) -> dict[str, Any]:
    """The record with the reward that answers to it are scored by; as it is, where that cannot be told."""
    try:
        return {**record, "reward": reward_spec(record, rule)}
    except ValueError:
        return record


def answers_of(texts: Sequence[str], row: Mapping[str, Any]) -> list[Answer]:
    """Responses with what their row says of their lengths and ends."""
    lengths, finish = list(row.get("lengths") or ()), list(row.get("finish") or ())
    if row.get("error"):  # never asked: an empty answer of no length
        lengths = [0] * len(texts)
    return [
        Answer(
            text,
            int(lengths[i]) if i < len(lengths) else None,
            i < len(finish) and finish[i] != "stop",
        )
        for i, text in enumerate(texts)
    ]


def parsed_answer(record: Mapping[str, Any], response: str) -> Any:
    """What the rewards' parsers find in a response for the record's kind of question, None when nothing of that kind
    stands in it.
    """
    answer = extract_answer(response, response_format(record["reward"]))
    if answer is None or not answer.strip():
        return None
    kind = record["question_type"]
    if kind == "number":
        return parse_number(answer, record["unit"])
    if kind == "mcq":
        return parse_choice(answer, list(record["options"]))
    if kind == "box":
        return parse_box(answer)
    return answer


def perfect_response(record: Mapping[str, Any], answer: str | None = None) -> str:
    """The record's answer (or another one) in the form that its reward asks for: what an oracle or a blind guesser
    writes.
    """
    form = get_format(response_format(record["reward"]))
    return form.write(record["answer"] if answer is None else answer, "seen")


_OWN_TRUTH = (
    "choice",
    "number",
    "mra",
    "depth",
    "word",
    "order",
    "iou",
    "direction",
)  # score by answer, options and unit alone


def _blind_outcome(
    record: Mapping[str, Any], answer: str, known: dict[Any, tuple[float, float]]
) -> tuple[float, float]:
    """(reward, 1.0 if right) of a blind answer, zeros when it cannot be scored; `known` remembers equal cases."""
    spec = record["reward"]
    key = (
        json.dumps(spec, sort_keys=True),
        answer,
        record["answer"],
        record["unit"],
        tuple(record["options"]),
        "" if spec.get("kind") in _OWN_TRUTH else record["question_id"],
    )
    if key not in known:
        outcome = outcome_many([(spec, perfect_response(record, answer), record)])[0]
        known[key] = float(outcome.reward or 0.0), float(bool(outcome.correct))
    return known[key]


def evaluate_heldout(
    name: str,
    records: Sequence[QuestionRecord],
    rows: Sequence[Mapping[str, Any]],
    train: Sequence[QuestionRecord] = (),
    *,
    extra: Mapping[str, Any] | None = None,
    rule: RewardRule = OWN_REWARD,
    grader: Grader | None = None,
) -> dict[str, Any]:
    """The result of rows[i] to records[i] under a rule of reward, with the blind priors of `train`'s records when those
    are given. A row holds "responses" (the samples' texts) and what is known of them: "lengths" in tokens, "finish",
    "model_sizes" of the pictures; `grader`: the judge of records whose reward asks one.

    Metrics: overall (mean reward over items), macro (over families), accuracy, unparsed, pass@k; "prior" holds the same
    overall reward for the best constant answer and for the answers of the most similar train questions, chosen without
    any picture.
    """
    if len(records) != len(rows):
        raise ValueError(f"{name}: {len(records)} records but {len(rows)} lists of responses")
    dicts = [resolved_dict(record, row.get("model_sizes")) for record, row in zip(records, rows)]
    jobs = list(zip(dicts, rows))

    def work(job: tuple[dict[str, Any], Mapping[str, Any]]) -> tuple[ScoredItem, Counter[str]]:
        record, row = job
        judge, why = grader.judge if grader else None, Counter[str]()
        sizes = row.get("model_sizes")
        return scored_item(
            record, answers_of(row["responses"], row), why, rule=rule, model_sizes=sizes, judge=judge
        ), why

    scored = grader.map(work, jobs, name) if grader else [work(job) for job in jobs]
    items, failures = [item for item, _ in scored], sum((why for _, why in scored), Counter[str]())
    for reason, count in failures.most_common(3):
        log.warning("%s: %d answers have no score: %s", name, count, reason[:200])
    if failures and all(math.isnan(score) for item in items for score in item.scores):
        raise ValueError(f"{name}: no answer has a score ({failures.most_common(1)[0][0][:200]})")
    result = summarise(name, items, scoring="reward", extra=extra)
    if failures:
        result |= {"excluded": failures.total(), "excluded_why": failures.most_common(1)[0][0][:200]}
    if grader:
        result["judge"] = grader.entry()
    if train:
        asked = [in_form(d, rule) for d in dicts]
        add_prior(result, asked, blind_priors(asked, [in_form(resolved_dict(r, None), rule) for r in train]))
    return result


def evaluate_saved(
    name: str,
    records: Sequence[QuestionRecord],
    rows: Mapping[str, Mapping[str, Any]],
    train: Sequence[QuestionRecord] = (),
    *,
    extra: Mapping[str, Any] | None = None,
    rule: RewardRule = OWN_REWARD,
    grader: Grader | None = None,
) -> dict[str, Any]:
    """The result of a responses file (id -> {"responses", "model_sizes"}) to self-built questions. A
    question without a response has one empty response a sample and scores 0, which is said. ValueError where no id of
    the file is one of the records'.
    """
    known = [r for r in records if r.question_id in rows]
    if not known:
        raise ValueError(
            f"{name}: none of the {len(rows)} responses has the id of one of its {len(records)} questions, such as"
            f" {records[0].question_id!r}"
            if records
            else f"{name}: the dataset holds no question"
        )
    samples = max(len(rows[r.question_id]["responses"]) for r in known) or 1
    found = [rows.get(r.question_id, {}) for r in records]
    kept = [{**row, "responses": list(row.get("responses") or [""] * samples)} for row in found]
    missing, unknown = len(records) - len(known), len(rows) - len(known)
    if missing or unknown:
        log.warning(
            "%s: %d of %d questions have no response and score 0; %d responses are to no question of it",
            name,
            missing,
            len(records),
            unknown,
        )
    told = {**(extra or {}), "missing": missing}
    return evaluate_heldout(name, records, kept, train, extra=told, rule=rule, grader=grader)


def add_prior(
    result: dict[str, Any], records: Sequence[Mapping[str, Any]], priors: Mapping[str, Sequence[float]]
) -> None:
    """Writes each blind guesser's means into the result's families ("prior_KIND", "prior_accuracy_KIND") and over all
    items into "prior" (KIND, accuracy_KIND).
    """
    families = [_family(r) for r in records]
    result["prior"] = {}
    for kind, values in priors.items():
        for family, row in result["families"].items():
            row[f"prior_{kind}"] = float(np.mean([v for v, f in zip(values, families) if f == family]))
        result["prior"][kind] = float(np.mean(values))


def blind_priors(heldout: Sequence[Mapping[str, Any]], train: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Scores on `heldout` of two guessers that see no picture: "constant", the best single answer a family, and
    "words", the answer that the most similar train questions of the family agree on (options known by how often each
    text was right). Rewards under these names, accuracies under "accuracy_" + name. A family without train records
    scores 0.
    """
    by_family: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in train:
        by_family[_family(record)].append(record)
    guessers = {family: _Guesser(records) for family, records in by_family.items()}
    out: dict[str, list[float]] = {name: [] for name in ("constant", "words", "accuracy_constant", "accuracy_words")}
    for record in heldout:
        guesser = guessers.get(_family(record))
        for name in ("constant", "words"):
            answer = None if guesser is None else guesser.constant if name == "constant" else guesser.by_words(record)
            reward, right = (
                (0.0, 0.0) if guesser is None or answer is None else _blind_outcome(record, answer, guesser.known)
            )
            out[name].append(reward)
            out[f"accuracy_{name}"].append(right)
    return out


def copy_prior(source: Mapping[str, Any], target: dict[str, Any]) -> None:
    """The blind priors of one result put into another of the same records."""
    if "prior" in source:
        target["prior"] = source["prior"]
        for family, row in source["families"].items():
            target["families"][family].update({k: v for k, v in row.items() if k.startswith("prior_")})


class _Guesser:
    """Blind answers for one family, fitted on its train records."""

    def __init__(self, records: Sequence[Mapping[str, Any]]):
        rng = np.random.default_rng(0)
        keep = rng.permutation(len(records))[:4000]
        self.known: dict[Any, tuple[float, float]] = {}
        self.records = [records[i] for i in keep]
        self.bags = [_words(r) for r in self.records]
        frequency = Counter(word for bag in self.bags for word in bag)
        self.idf = {word: float(np.log((1 + len(self.bags)) / (1 + n)) + 1e-3) for word, n in frequency.items()}
        self.index: dict[str, list[int]] = defaultdict(list)
        for i, bag in enumerate(self.bags):
            for word in bag:
                self.index[word].append(i)
        self.norms = np.array([max(sum(self.idf[w] for w in bag), 1e-6) for bag in self.bags])
        self.shown: Counter[str] = Counter()
        self.right: Counter[str] = Counter()
        for record in self.records:
            self.shown.update(o.lower() for o in record["options"])
            if record["options"]:
                self.right[_option_text(record)] += 1
        probes = self.records[:MAX_PROBES]
        self.constant = max(self._candidates(), key=lambda c: self._total(c, probes), default="")

    def _total(self, answer: str, records: Sequence[Mapping[str, Any]]) -> float:
        return sum(_blind_outcome(r, answer, self.known)[0] for r in records)

    def _candidates(self) -> list[str]:
        answers = Counter(r["answer"] for r in self.records)
        common = [a for a, _ in answers.most_common(MAX_CANDIDATES // 2)]
        numbers = sorted(float(a) for a in answers.elements() if _NUMBER.fullmatch(a.strip()))
        if numbers:
            common += [
                f"{v:.3g}" if abs(v) < 1000 else f"{v:.0f}"
                for v in np.quantile(numbers, np.linspace(0.05, 0.95, MAX_CANDIDATES // 2))
            ]
        elif any(r["options"] for r in self.records):
            common += [chr(65 + i) for i in range(max(len(r["options"]) for r in self.records))]
        return list(dict.fromkeys(common))

    def by_words(self, record: Mapping[str, Any]) -> str:
        """The blind answer to one record's question."""
        if record["options"] and self.right:
            lowered = [o.lower() for o in record["options"]]
            odds = [(self.right[o] + 1) / (self.shown[o] + 2) for o in lowered]
            if max(odds) - min(odds) > 1e-9:
                return chr(65 + int(np.argmax(odds)))
        overlap = np.zeros(len(self.bags))
        for word in _words(record):
            if word in self.index:
                overlap[self.index[word]] += self.idf[word]
        chosen = np.argsort(-overlap / self.norms**0.5, kind="stable")[:NEIGHBOURS]
        near = [self.records[i] for i in chosen]
        numbers = [float(r["answer"]) for r in near if _NUMBER.fullmatch(r["answer"].strip())]
        if numbers and len(numbers) == len(near):
            return f"{float(np.median(numbers)):.4g}"
        candidates = list(dict.fromkeys(r["answer"] for r in near))
        return max(candidates, key=lambda c: self._total(c, near), default=self.constant)


def _words(record: Mapping[str, Any]) -> set[str]:
    return set(_WORD.findall(str(record["question"]).lower()[:2000]))


def _option_text(record: Mapping[str, Any]) -> str:
    answer, options = str(record["answer"]).strip(), record["options"]
    if len(answer) == 1 and 0 <= ord(answer.upper()) - 65 < len(options) and answer not in options:
        return str(options[ord(answer.upper()) - 65]).lower()
    return answer.lower()
