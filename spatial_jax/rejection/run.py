"""A whole run: questions answered part by part, each part's answers in a file of its own, then scored and kept.

Several processes share the questions: process i of n takes every n-th one, and whoever finds the answers of all parts
writes the dataset. A run that was stopped goes on where it was.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.synthesis.dataset import QuestionWriter
from data_prep.writer import is_complete
from spatial_jax.data import QuestionRecord
from spatial_jax.evals import ResponseLog
from spatial_jax.evals.responses import fingerprint, first_difference
from spatial_jax.evals.runner import open_log
from spatial_jax.rejection.kept import Asked, candidates, kept_record, pair_record
from spatial_jax.rejection.rules import Candidate, Rule, keep
from spatial_jax.rl.pass_rates import pass_rate_settings, write_pass_rates

RATES = "pass_rates.jsonl"
PART = 512  # questions whose answers are in memory together
_PART_OF = re.compile(r"\d+-of-(\d+)\.\d{5}\.jsonl")
log = logging.getLogger(__name__)
# (records with their places, file of answers) -> a row of answers by question id
Answer = Callable[[Sequence[tuple[int, QuestionRecord]], ResponseLog], Mapping[str, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Share:
    """Process `index` of `count`."""

    index: int = 0
    count: int = 1

    def parts(self, records: Sequence[QuestionRecord]) -> Iterator[tuple[str, list[tuple[int, QuestionRecord]]]]:
        """(name, questions with their places in the whole) of this process's parts."""
        own = list(enumerate(records))[self.index :: self.count]
        for start in range(0, len(own), PART):
            yield f"{self.index}-of-{self.count}.{start // PART:05d}.jsonl", own[start : start + PART]


def ask(
    records: Sequence[QuestionRecord], share: Share, folder: Path, settings: Mapping[str, Any], answer: Answer
) -> None:
    """Has this process's questions answered, into `folder`. ValueError where answers of other settings lie there, or of
    another number of shares: they would not be found, and all would be asked again.
    """
    counts = {int(match.group(1)) for path in folder.glob("*.jsonl") if (match := _PART_OF.fullmatch(path.name))}
    if other := counts - {share.count}:
        raise ValueError(
            f"{folder} holds answers of {max(other)} share(s): go on with --share=0/{max(other)}, or give another"
            " --answers"
        )
    for name, part in share.parts(records):
        file = open_log(folder / name, settings)
        try:
            answer(part, file)
        finally:
            file.close()


def read_answers(
    records: Sequence[QuestionRecord], count: int, folder: Path, settings: Mapping[str, Any]
) -> tuple[int, Callable[[], Iterator[tuple[QuestionRecord, dict[str, Any]]]]]:
    """(how many questions have answers, the questions with them part by part)."""

    def rows() -> Iterator[tuple[QuestionRecord, dict[str, Any]]]:
        for index in range(count):
            for name, part in Share(index, count).parts(records):
                path = folder / name
                if not path.exists():
                    continue
                file = ResponseLog(path, settings)
                file.close()
                for _, record in part:
                    if record.question_id in file.rows:
                        yield record, file.rows[record.question_id]

    return sum(1 for _ in rows()), rows


@dataclasses.dataclass
class Tally:
    """Counts of a run, and the pass rate of each question."""

    questions: int = 0
    unasked: int = 0
    answers: int = 0
    kept: int = 0
    kept_questions: int = 0
    reasons: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    ended: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    drawn: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    rates: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def see(self, record: QuestionRecord, found: Sequence[Candidate]) -> None:
        """One question's scored answers."""
        self.questions += 1
        self.answers += len(found)
        known = [c.outcome.correct for c in found if c.outcome.correct is not None]
        if known:
            rate = {"question_id": record.question_id, "pass_k": sum(map(bool, known)), "n": len(known)}
            self.rates.append(rate)
        for candidate in found:
            if candidate.steps is not None:
                self.ended[candidate.steps.ended] += 1
                self.drawn.update({k: candidate.steps.count(k) for k in ("box", "path", "crop")})
                self.drawn["reflective"] += candidate.steps.reflective
                self.drawn["answers"] += 1

    def lines(self) -> list[str]:
        """What is said at the end."""
        out = [
            f"questions: {self.questions} answered, {self.unasked} could not be asked; answers: {self.answers},"
            f" {self.kept} kept of {self.kept_questions} questions"
        ]
        if self.reasons:
            out.append("not kept: " + "; ".join(f"{n} {reason}" for reason, n in self.reasons.most_common()))
        right = sum(r["pass_k"] for r in self.rates) / max(sum(r["n"] for r in self.rates), 1)
        out.append(f"pass rate: {right:.3f} of an answer")
        if self.drawn["answers"]:
            n = self.drawn["answers"]
            each = ", ".join(f"{self.drawn[k] / n:.2f} {k}" for k in ("box", "path", "crop"))
            ended = ", ".join(f"{reason} {count}" for reason, count in self.ended.most_common())
            out.append(f"an answer draws {each}; {self.drawn['reflective'] / n:.1%} are reflective; ended by: {ended}")
        return out


def check_out(out: str, rule: Rule, settings: Mapping[str, Any]) -> None:
    """WriterError or ValueError, one line, where `out` holds what other answers or another rule gave: before anything
    is asked.
    """
    if not rule.only_rates:
        is_complete(out, "questions", _made_of(rule, settings))
    rates = Path(out) / RATES
    if rates.exists() and (told := pass_rate_settings(rates)) != settings:
        what = f"of other settings ({first_difference(told, settings)})" if told else "that do not say what they are of"
        raise ValueError(f"{rates} holds pass rates {what}; choose another --out or remove it")


def _made_of(rule: Rule, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a dataset of kept answers depends on."""
    return {"sample": fingerprint(settings), "keep": dataclasses.asdict(rule)}


def write(
    rows: Iterator[tuple[QuestionRecord, dict[str, Any]]],
    rule: Rule,
    asked: Asked,
    out: str,
    settings: Mapping[str, Any],
) -> Tally:
    """Scores, keeps and writes the dataset `out` (pass_rates.jsonl beside its shards; of a rule of pass rates that
    alone). WriterError, one line, where nothing is kept.
    """
    tally = Tally()
    if rule.only_rates:
        for record, row in rows:
            _score_row(record, row, asked, tally)
        if not tally.rates:
            raise ValueError(f"{out}: not one answer has a score, so there are no pass rates")
        Path(out).mkdir(parents=True, exist_ok=True)
        write_pass_rates(Path(out) / RATES, tally.rates, settings)
        return tally
    writer = QuestionWriter(out, _made_of(rule, settings))
    try:
        for record, row in rows:
            found = _score_row(record, row, asked, tally)
            before = tally.kept
            for made in _records(record, found, row, rule, asked, tally):
                writer.write(made)
                tally.kept += 1
            tally.kept_questions += tally.kept > before
            if tally.kept == before:
                writer.skip(record.question_id, "keep", "no answer of it is kept")
        if not tally.kept:
            say = "; ".join(f"{n} {reason}" for reason, n in tally.reasons.most_common(4))
            raise ValueError(f"{out}: no answer is kept ({say or 'no question could be asked'}); no dataset is written")
        writer.finish({"sample": dict(settings), "lines": tally.lines()})
    finally:
        if not tally.kept:
            writer.abandon()
        writer.close()
    write_pass_rates(Path(out) / RATES, tally.rates, settings)
    return tally


def _score_row(record: QuestionRecord, row: Mapping[str, Any], asked: Asked, tally: Tally) -> list[Candidate]:
    if not row["responses"]:
        tally.unasked += 1
        tally.reasons[f"question could not be answered: {str(row.get('error'))[:60]}"] += 1
        return []
    found = candidates(record, row, asked)
    tally.see(record, found)
    return found


def _records(
    record: QuestionRecord, found: list[Candidate], row: Mapping[str, Any], rule: Rule, asked: Asked, tally: Tally
) -> Iterator[QuestionRecord]:
    """The records of the kept answers; what is not kept is counted."""
    chosen, reasons = keep(found, rule)
    tally.reasons.update(reasons)
    try:
        if rule.pairs and chosen:
            best, worst = chosen
            yield pair_record(record, best, worst, row, asked)
            return
        for candidate in chosen:
            yield kept_record(record, candidate, row, asked)
    except ValueError as error:
        tally.reasons[str(error)] += 1


def settings_of(told: Mapping[str, Any], records: Sequence[QuestionRecord], **more: Any) -> dict[str, Any]:
    """JSON-ready settings of a run: what its answers depend on, and which questions they are to."""
    ids = hashlib.sha256("\n".join(record.question_id for record in records).encode()).hexdigest()[:16]
    return json.loads(json.dumps({**told, **more, "questions": len(records), "question_ids": ids}, default=str))
