"""One clip of a run's questions: its frames as a strip, and everything that was asked about it, with the answers."""

from __future__ import annotations

import itertools
from pathlib import Path

from spatial_jax.data import QuestionRecord
from spatial_jax.data.records import as_stored
from spatial_jax.metrics.report.runs import Run
from spatial_jax.metrics.report.scenes import dataset_kind, read_records
from spatial_jax.pages import Html, chip, picture, table, tag

MOST_READ = 2000  # records that are looked through for a clip
MOST_FRAMES, MOST_QUESTIONS = 16, 40


def clip_of(run: Run) -> list[QuestionRecord]:
    """The questions on the clip that has most of them; [] where the run's datasets hold no clip."""
    for folder, manifest in run.datasets:
        if dataset_kind(manifest) == "questions" and (found := _clip_in(folder)):
            return found
    return []


def _clip_in(folder: Path) -> list[QuestionRecord]:
    clips: dict[str, list[QuestionRecord]] = {}
    for record in itertools.islice(read_records(folder, "questions"), MOST_READ):
        if "video" not in record.tags or len(record.images) < 2:
            if not clips:
                return []  # a dataset's questions are all on clips, or none is
            continue
        clips.setdefault(record.scene_id, []).append(record)
    return max(clips.values(), key=len, default=[])


def clip_section(records: list[QuestionRecord]) -> Html:
    """Frames in their order, then a row a question."""
    frames = [picture(data, max_side=224) for data in records[0].images[:MOST_FRAMES]]
    families = {record.family: record for record in reversed(records)}
    first = [families[name] for name in sorted(families)]  # one of each before more of the same
    rest = [record for record in records if record not in first]
    rows = [
        [chip(record.family), _lines(as_stored(record.question)), tag("b", _answer(record))]
        for record in (first + rest)[:MOST_QUESTIONS]
    ]
    return tag("div", tag("div", frames, class_="pictures"), table(["family", "question", "answer"], rows))


def _lines(text: str) -> Html:
    return tag("div", [tag("div", line) for line in text.split("\n")])


def _answer(record: QuestionRecord) -> str:
    said = as_stored(record.answer)
    if record.question_type == "mcq" and len(said) == 1 and ord(said) - 65 < len(record.options):
        return f"{said}. {record.options[ord(said) - 65]}"
    return f"{said} {record.unit}".strip()
