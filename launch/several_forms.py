"""Questions with replies to learn in several response forms, for the cold start of a policy that shall know each.

    python -m launch.several_forms --questions=runs/walk_questions --out=runs/walk_forms \
        --forms=vanilla,think_answer,observe_answer

Each question of the train split stands in one of the forms, in turn. A thought is short and says what the question is
about: its topic where one thinks, the things that it names where one observes.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence

from data_prep.synthesis.dataset import WriterError, write_questions
from spatial_jax.data import QuestionRecord, open_questions
from spatial_jax.data.prompts import question_text, target_parts
from spatial_jax.data.source import Unusable
from spatial_jax.ending import leave
from spatial_jax.forms import get_form
from spatial_jax.options import Listed, Parser, list_parts

NAMED = 2  # things that an observation names at most


def thing_names(records: Iterable[QuestionRecord]) -> tuple[str, ...]:
    """Names that questions choose among ("which of these is the closest?"), the longest first."""
    found = {option for record in records if record.family.endswith("rel_distance") for option in record.options}
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def short_thought(record: QuestionRecord, form: str, names: Sequence[str]) -> str:
    """What a question is about: its topic ("abs distance"), or with "observe_answer" the last things that it names."""
    topic = record.family.removeprefix("vsi_").removeprefix("object_").replace("_", " ")
    if form != "observe_answer" or not names:
        return topic
    said = re.findall(rf"\b(?:{'|'.join(map(re.escape, names))})\b", record.question)
    return ", ".join(dict.fromkeys(said[-NAMED:])) or "the room"


def in_form(record: QuestionRecord, form: str, names: Sequence[str]) -> QuestionRecord:
    """The question as the form asks it, with the reply that the form teaches, both word for word."""
    reply = get_form(form).write(target_parts(record, form)[0], short_thought(record, form, names))
    meta = {**record.json_field("meta"), "response": reply}
    return dataclasses.replace(record, question=question_text(record, form), meta=json.dumps(meta))


def usable(questions: str) -> Iterator[QuestionRecord]:
    source = open_questions(questions, "train")
    for position in range(len(source)):
        record = source[position]
        if not isinstance(record, Unusable):
            yield record


def main(argv: list[str] | None = None) -> int:
    parser = Parser("python -m launch.several_forms", __doc__)
    parser.add_argument("--questions", required=True, help="question dataset")
    parser.add_argument("--forms", default="vanilla,think_answer,observe_answer", action=Listed, help="response forms")
    parser.add_argument("--out", required=True, help="dataset that is written")
    args = parser.parse_args(argv)
    try:
        forms = list_parts(args.forms)
        names = thing_names(usable(args.questions))
        made = (in_form(record, forms[i % len(forms)], names) for i, record in enumerate(usable(args.questions)))
        told = write_questions(args.out, {"questions": args.questions, "forms": forms}, made)
    except (OSError, ValueError, WriterError) as error:
        print(f"several_forms: {error}", file=sys.stderr)
        return 2
    print(f"{args.out}: {told['splits']['train']['records']} questions in {', '.join(forms)}")
    return 0


if __name__ == "__main__":
    leave(main, "several_forms")
