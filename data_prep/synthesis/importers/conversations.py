"""Supervised sets in the two forms of LLaMA-Factory, taken as they are: every reply is learned word for word behind the
turns before it, the row's own system text and the pictures shown so far.

alpaca: `instruction`, `input`, `output`, `system`, `history` [[said, reply], ...], `images`. sharegpt: `conversations`
[{"from", "value"}] (or OpenAI's `messages` [{"role", "content"}]), `system`, `images`. A row gives a record for each of
its replies, so that its replies together weigh what LLaMA-Factory lets them weigh: every token of theirs once.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Collection
from typing import Any

from data_prep.synthesis.importers.answers import Answer, read_answer, unwrap_answer
from data_prep.synthesis.importers.build import Entry, Place, build, scene_of
from data_prep.synthesis.importers.columns import Found, message_turns
from data_prep.synthesis.importers.rows import BadRow, is_missing, picture_items, pictures
from spatial_jax.data.records import QuestionRecord, coordinate_like
from spatial_jax.reading import parse_json

MARK = "<image>"
# How other tools mark a picture in the text; it would be read as these letters, beside no picture.
_OTHER_MARK = re.compile(
    r"</?img>|<(?:image|img)[ _-]?(?:\d+|placeholder|here)?>|<\|(?:image|image_pad|vision_start)\|>", re.IGNORECASE
)
_CALLS = ("function_call", "observation", "tool")
_NOT_READ = {
    "videos": "row shows a video: give its frames as images",
    "video": "row shows a video: give its frames as images",
    "audios": "row has a sound: only pictures are read",
    "tools": "row offers tools, which no chat template here is told of",
    "rejected": "row is a preference pair (chosen, rejected), not a reply to learn",
}


@dataclasses.dataclass
class Talk:
    """A row on its way: turns (role, text) that begin with the user and alternate, pictures in order of their marks;
    `only_said`: places of turns that the row says not to learn.
    """

    system: str
    turns: list[tuple[str, str]]
    items: list[Any]
    only_said: Collection[int] = ()


def alpaca(row: dict[str, Any], place: Place) -> list[QuestionRecord]:
    """Records of a row of `instruction`, `input`, `output`, `system`, `history`, `images`."""
    found, used = place.found, dict[str, str]()
    asked = _text(row, found.chosen.get("question", "instruction"))
    more, reply = _read_text(row, found, used, "input"), _text(row, found.chosen.get("answer", "output"))
    if not asked and not more:
        raise found.missing("question") if "question" in found.chosen else BadRow("field instruction is missing")
    if not reply:
        raise found.missing("answer") if "answer" in found.chosen else BadRow("field output is missing")
    used["question"], used["answer"] = found.chosen.get("question", "instruction"), found.chosen.get("answer", "output")
    turns = []
    column, history = found.value(row, "history")
    if column:
        used["history"] = column
    for said in _history(history):
        turns += [("user", said[0]), ("assistant", said[1])]
    turns += [("user", "\n".join(part for part in (asked, more) if part)), ("assistant", reply)]
    talk = Talk(_read_text(row, found, used, "system"), turns, _picture_items(row, found, used))
    return _records(row, place, talk, used)


def sharegpt(row: dict[str, Any], place: Place) -> list[QuestionRecord]:
    """Records of a row of `conversations` (or `messages`), `system`, `images`."""
    found, used = place.found, dict[str, str]()
    names = (found.chosen["question"],) if "question" in found.chosen else ("conversations", "messages", "conversation")
    column = next((name for name in names if row.get(name)), "")
    whole = _as_list(row[column]) if column else None
    spoken = message_turns(whole)
    if spoken is None or whole is None:
        raise BadRow(f"no conversation in {' or '.join(names)}")
    used["question"] = column
    if any(turn.get("tool_calls") or str(turn.get("role") or turn.get("from")).lower() in _CALLS for turn in whole):
        raise BadRow("conversation calls tools, which no chat template here writes")
    system = [text for role, text, _ in spoken if role == "system"]
    if len(system) > 1 or (system and spoken[0][0] != "system"):
        raise BadRow("conversation holds a system text that is not its beginning")
    stated = _read_text(row, found, used, "system")
    if stated and system and stated != system[0]:
        raise BadRow("system text of the conversation and of its column differ: keep one of them")
    turns = [(role, text) for role, text, _ in spoken if role != "system"]
    inside = [item for _, _, items in spoken for item in items]
    items = _picture_items(row, found, used)
    if items and inside:
        raise BadRow("pictures stand in the messages and in the column of pictures: keep one of them")
    quiet = [at for at, turn in enumerate(whole) if _is_only_said(turn)]
    talk = Talk(stated or "".join(system), turns, items or inside, {at - len(system) for at in quiet})
    return _records(row, place, talk, used)


def _as_list(value: Any) -> Any:
    """A conversation that stands as JSON in a text column, parsed; one message as a list of it."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            return value
    return [value] if isinstance(value, dict) else value


def _is_only_said(turn: dict[str, Any]) -> bool:
    """Whether a turn says that it is not to be learned, as OpenAI's and others' files do."""
    return any(turn.get(name) == 0 for name in ("weight", "loss", "train"))


def talk_pictures(row: dict[str, Any], found: Found) -> list[Any]:
    """The pictures that a row of either form names or holds, without reading them."""
    items = _picture_items(row, found, {})
    if items:
        return items
    for name in (found.chosen.get("question", "conversations"), "messages", "conversation"):
        try:
            spoken = message_turns(row[name]) if row.get(name) else None
        except BadRow:
            return []
        if spoken is not None:
            return [item for _, _, inside in spoken for item in inside]
    return []


def _records(row: dict[str, Any], place: Place, talk: Talk, used: dict[str, str]) -> list[QuestionRecord]:
    _check(row, talk)
    _place_marks(talk, place.found)
    shown = pictures(talk.items, place.bases)
    scene, out = scene_of(row, shown), list[QuestionRecord]()
    learned = [at for at in range(1, len(talk.turns), 2) if at not in talk.only_said]
    if not learned:
        raise BadRow("no reply of the conversation is to be learned (weight 0)")
    for at in learned:
        seen = shown[: sum(text.count(MARK) for _, text in talk.turns[: at + 1])]
        out.append(_record(place, talk, at, seen, scene))
    found = place.found
    for role, column in used.items():
        found.columns[role][column] += 1
    if talk.system:
        found.remarks["a system text of its own is learned with: ask the trained policy with it too (--system)"] += 1
    if len(learned) < len(talk.turns) // 2:
        found.remarks["replies that the row says not to learn (weight 0) stand before the others only"] += 1
    if len(out) > 1:
        found.remarks["several turns: each reply is a record behind the turns before it"] += 1
    return out


def _check(row: dict[str, Any], talk: Talk) -> None:
    """BadRow where the turns are no conversation that can be learned."""
    for column, why in _NOT_READ.items():
        if row.get(column) not in (None, "", [], {}, "[]"):
            raise BadRow(why)
    if any(row.get(name) is False for name in ("kto_tag", "label")):
        raise BadRow("row shows a reply not to give (kto_tag), not one to learn")
    if MARK in talk.system:
        raise BadRow("the system text holds an <image> mark: pictures are shown by the user")
    roles = [role for role, _ in talk.turns]
    if not roles or roles[0] != "user":
        raise BadRow("messages do not begin with a user's turn")
    twice = next((a for a, b in itertools.pairwise(roles) if a == b), "")
    if twice:
        raise BadRow(f"messages hold two {twice}'s turns in a row")
    if roles[-1] != "assistant":
        raise BadRow("conversation ends without a reply")
    for role, text in talk.turns:
        if not text.strip():
            raise BadRow(f"conversation holds an empty {role}'s turn")
        if role == "assistant" and MARK in text:
            raise BadRow("a reply holds an <image> mark: pictures are shown by the user")
        if role == "user" and _OTHER_MARK.search(text.replace(MARK, "")):
            raise BadRow("a turn marks pictures otherwise than by <image>: write <image> where each one stands")
        if "<video>" in text or "<audio>" in text:
            raise BadRow("a turn holds a <video> or <audio> mark: give frames as images")


def _place_marks(talk: Talk, found: Found) -> None:
    """Marks for pictures that no turn marks: before the first question. BadRow where numbers differ."""
    marks = sum(text.count(MARK) for _, text in talk.turns)
    if not marks and talk.items:
        talk.turns[0] = ("user", MARK * len(talk.items) + talk.turns[0][1])
        found.remarks["no <image> mark: the pictures stand before the first question"] += 1
    elif marks != len(talk.items):
        raise BadRow("number of <image> marks and of pictures differ")


def _record(place: Place, talk: Talk, at: int, shown: list[tuple[bytes, int, int]], scene: str) -> QuestionRecord:
    """The record of the reply at place `at` of the turns, asked by the turn before it; `shown`: its pictures."""
    before, asked, reply = talk.turns[: at - 1], talk.turns[at - 1][1], talk.turns[at][1]
    said = [{"role": role, "content": text} for role, text in before]
    if any(coordinate_like(text) for text in (talk.system, reply, *(text for _, text in before))):
        raise BadRow("text holds what reads as a coordinate placeholder")
    answer, boxed = _answer(reply, asked, shown), "\\boxed{" in reply and "<think>" in reply
    reward = {"kind": "ssrl"} if boxed else answer.reward
    place.found.answers[f"{answer.why} -> reward {reward['kind']}"] += 1
    record = build(
        place,
        Entry(
            question=asked,
            answer=answer.text,
            images=shown,
            scene_id=scene,
            question_type="free" if boxed else answer.question_type,
            reward=reward,
            family="conversation",
            options=() if boxed else answer.options,
            unit=answer.unit,
            meta={"response": reply, "turn": at // 2}
            | ({"system": talk.system} if talk.system else {})
            | ({"before": said} if said else {})
            | ({"thought": answer.thought} if answer.thought else {}),
            earlier=sum(text.count(MARK) for _, text in before),
        ),
    )
    try:
        json.dumps(json.loads(record.meta), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRow("text holds half a character (a lone surrogate)") from None
    return record


def _answer(reply: str, asked: str, shown: list[tuple[bytes, int, int]]) -> Answer:
    """What the reply answers, for a reward; a text where it reads as nothing better. The reply itself stays as it is,
    so a box in it is no box that could be moved with the picture's size.
    """
    try:
        answer = read_answer(reply, asked.replace(MARK, ""), (), "", "", shown[0][1:] if shown else None)
        if answer.question_type != "box":
            return answer
    except BadRow:
        pass
    text, thought, _ = unwrap_answer(reply)
    text = text or reply.strip()
    return Answer("free", text, {"kind": "word", "accept": [text]}, "text, compared word for word", thought=thought)


def _picture_items(row: dict[str, Any], found: Found, used: dict[str, str]) -> list[Any]:
    column, value = found.value(row, "images")
    items = picture_items(value)
    if items:
        used["images"] = column
    return items


def _history(value: Any) -> list[tuple[str, str]]:
    if value in (None, "", []):
        return []
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError:
            raise BadRow("history is no list of [said, reply]") from None
    if not isinstance(value, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in value
    ):
        raise BadRow("history is no list of [said, reply]")
    return [(said, reply) for said, reply in value]


def _read_text(row: dict[str, Any], found: Found, used: dict[str, str], role: str) -> str:
    column, _ = found.value(row, role)
    text = _text(row, column) if column else ""
    if text:
        used[role] = column
    return text


def _text(row: dict[str, Any], column: str) -> str:
    value = row.get(column)
    if is_missing(value):
        return ""
    if isinstance(value, (list, dict, bytes)):
        raise BadRow(f"column {column} is no text")
    return str(value)
