"""A question file of one's own: rows under the usual column names (EasyR1's, TRL's, LLaMA-Factory's, plain ones), their
answers' kinds told from the answers.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from data_prep.synthesis.importers.answers import given_options, known_unit, read_answer, stated_type
from data_prep.synthesis.importers.build import Entry, Place, build, scene_of
from data_prep.synthesis.importers.columns import Found, message_turns
from data_prep.synthesis.importers.rows import BadRow, picture_items, pictures
from spatial_jax.data.records import CODE_REWARDS, QuestionRecord
from spatial_jax.reading import parse_object

_LETTER_COLUMNS = "ABCDEFGH"


@dataclasses.dataclass
class _Asked:
    """A question on its way: its text, the pictures that stand in its messages, the answer that follows it there."""

    text: str
    items: list[Any]
    answer: str | None = None


def questions(row: dict[str, Any], place: Place) -> QuestionRecord:
    """The record of a row: question, answer and pictures under any of the usual names (columns.NAMES), or as chat
    messages; options, question_type, unit, reward, family and scene_id where the row has them.
    """
    found, used = place.found, dict[str, str]()
    asked = _ask(row, found, used)
    items = _items(row, found, used, asked)
    shown = pictures(items, place.bases)
    options = _options(row, found, used)
    stated, family = _stated_answer(row, found, used)
    unit = known_unit(str(_text(row, found, used, "unit")))
    answer = read_answer(
        _answer(row, found, used, asked), asked.text, options, stated, unit, shown[0][1:] if shown else None
    )
    reward = _reward(row, found, used) or answer.reward
    if reward["kind"] == "choice" and len(answer.options) < 2:
        raise BadRow("a choice without options: give options, or list them in the question as 'A. text'")
    record = build(
        place,
        Entry(
            question=asked.text,
            answer=answer.text,
            images=shown,
            scene_id=scene_of(row, shown),
            question_type=answer.question_type,
            reward=reward,
            family=str(_text(row, found, used, "family") or family or "imported"),
            options=answer.options,
            unit=answer.unit,
            meta={"thought": answer.thought} if answer.thought else {},
        ),
    )
    for role, column in used.items():
        found.columns[role][column] += 1
    found.answers[f"{answer.why} -> reward {reward['kind']}" + (" (the row's own)" if "reward" in used else "")] += 1
    return record


def row_pictures(row: dict[str, Any], found: Found) -> list[Any]:
    """The pictures that a row names or holds, without reading them; [] where that cannot be told."""
    try:
        return _items(row, found, {}, _ask(row, found, {}))
    except BadRow:
        return []


def _ask(row: dict[str, Any], found: Found, used: dict[str, str]) -> _Asked:
    column, value = found.value(row, "question")
    if not column:
        raise found.missing("question")
    used["question"] = column
    turns = message_turns(value)
    if turns is None:
        if isinstance(value, (list, dict, bytes)):
            raise BadRow(f"column {column} is neither text nor chat messages")
        more = row.get("input") if column == "instruction" else None
        return _Asked(str(value).strip() + (f"\n{more.strip()}" if isinstance(more, str) and more.strip() else ""), [])
    if any(role == "system" for role, _, _ in turns):
        found.remarks["the system text is left out: --import=sharegpt keeps it"] += 1
    # The form that a run asks in brings its own system text; a row's would contradict it.
    spoken = [turn for turn in turns if turn[0] != "system"]
    if not spoken or spoken[0][0] != "user" or not spoken[0][1].strip():
        raise BadRow("messages do not begin with a user's turn")
    if len(spoken) == 1:
        return _Asked(spoken[0][1].strip(), spoken[0][2])
    if spoken[1][0] != "assistant":
        raise BadRow("messages hold two user's turns in a row")
    if len(spoken) > 2:
        found.remarks["only the first question of a conversation is taken: --import=sharegpt learns every reply"] += 1
    return _Asked(spoken[0][1].strip(), spoken[0][2], spoken[1][1])


def _items(row: dict[str, Any], found: Found, used: dict[str, str], asked: _Asked) -> list[Any]:
    column, value = found.value(row, "images")
    items = picture_items(value)
    if items:
        used["images"] = column
        if asked.answer is not None and len(items) > asked.text.count("<image>") > 0:
            items = items[: asked.text.count("<image>")]  # the rest belongs to later turns
        return items
    if not asked.items and row.get("videos"):
        raise BadRow("row shows a video: give its frames as images")
    return asked.items


def _answer(row: dict[str, Any], found: Found, used: dict[str, str], asked: _Asked) -> Any:
    column, value = found.value(row, "answer")
    if column:
        used["answer"] = column
        if isinstance(value, dict) and "ground_truth" in value:  # verl's reward_model
            return value["ground_truth"]
        turns = message_turns(value)
        if turns is not None:
            return turns[-1][1]
        if isinstance(value, dict):
            raise BadRow(f"column {column} is an object where an answer belongs")
        return value
    if asked.answer is None:
        raise found.missing("answer")
    used["answer"] = f"{used['question']} (the assistant's turn)"
    return asked.answer


def _options(row: dict[str, Any], found: Found, used: dict[str, str]) -> tuple[str, ...]:
    column, value = found.value(row, "options")
    if column:
        options = given_options(value)
        if options:
            used["options"] = column
        return options
    lettered = [str(row[c]) for c in _LETTER_COLUMNS if row.get(c) not in (None, "")]
    if len(lettered) < 2:
        return ()
    used["options"] = f"A to {_LETTER_COLUMNS[len(lettered) - 1]}"
    return tuple(lettered)


def _stated_answer(row: dict[str, Any], found: Found, used: dict[str, str]) -> tuple[str, str]:
    column, value = found.value(row, "type")
    stated, family = stated_type(value)
    if stated:
        used["type"] = column
    elif family and column == "question_type":
        used["family"] = column
    else:
        family = ""
    return stated, family


def _reward(row: dict[str, Any], found: Found, used: dict[str, str]) -> dict[str, Any] | None:
    column, value = found.value(row, "reward")
    if not column:
        return None
    if isinstance(value, str):
        try:
            value = parse_object(value)
        except ValueError:
            raise BadRow("reward is not an object with a kind") from None
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise BadRow("reward is not an object with a kind")
    if value["kind"] in CODE_REWARDS:
        raise BadRow(
            f"reward names code (kind {value['kind']}): give the file to train, --config.reward.user_file=FILE"
        )
    used["reward"] = column
    return {k: v for k, v in value.items() if v is not None}  # parquet fills up what a row does not say


def _text(row: dict[str, Any], found: Found, used: dict[str, str], role: str) -> str:
    column, value = found.value(row, role)
    if not column or isinstance(value, (list, dict, bytes)):
        return ""
    used[role] = column
    return str(value)
