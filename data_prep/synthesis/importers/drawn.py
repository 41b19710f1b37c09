"""ViLaSR's supervised rows (cold start and reflective, arXiv 2506.09965) as demonstrations: conversations whose replies
draw on numbered pictures. What was drawn is kept as operations and drawn again for the policy that learns; the rows'
own drawn pictures are left out.

A row: `conversations` [{"from", "value"}] or `messages` [{"role", "content"}], `images` (those of the question first,
then one for each picture that was drawn), a system text or none. Coordinates are pixels of the pictures as the teacher
saw them, whose sizes the question tells ("The index of the given image is 1 (width: 364, height: 252)").
"""

from __future__ import annotations

import re
from typing import Any

from data_prep.synthesis.importers.build import Entry, Place, build, scene_of
from data_prep.synthesis.importers.columns import message_turns
from data_prep.synthesis.importers.rows import BadRow, picture_items, pictures
from spatial_jax.blocks import first_block
from spatial_jax.data.records import QuestionRecord, coordinate, coordinate_like
from spatial_jax.drawing import DrawingError
from spatial_jax.drawing.stored import stored_turns

MARK = "<image>"
_PLACE = re.compile(
    r"\n?[^\S\n]*(?:the )?index of the given image is (\d{1,4}) \(width: ?(\d{1,5}), height: ?(\d{1,5})\)\.?"
    r"[^\S\n]*\n?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?")
_LETTER = re.compile(r"[A-H]")
_OPTION = re.compile(r"(?:^|\s)\(?([A-H])[.):]\s*([^\n]+?)(?=\s*(?:\n|$|\s\(?[B-H][.):]\s))")


def vilasr_sft(row: dict[str, Any], place: Place) -> QuestionRecord:
    """A demonstration of a row: the question with its own pictures, meta "turns" (the replies before the last one) and
    "response" (the last). BadRow where it cannot be played.
    """
    asked, said, shown = _conversation(row)
    items = picture_items(row.get("images"))
    first = asked.count(MARK)
    if first + shown != len(items):
        raise BadRow("number of <image> marks and of pictures differ")
    images = pictures(items[:first], place.bases)
    if not images:
        raise BadRow("row has no picture")
    if any(coordinate_like(text) for text in (asked, *said)):
        raise BadRow("text holds what reads as a coordinate placeholder")
    answer = first_block(said[-1])
    if not answer:
        raise BadRow("last turn holds no <answer>")
    # Played again, not taken from the row: a demonstration must draw what its calls draw here.
    turns, drawn = _turns(said[:-1], images, _seen_sizes(asked, images, place))
    if drawn != shown:
        place.found.remarks["its drawings give another number of pictures than the row shows"] += 1
    question = _PLACE.sub("\n", asked).strip()
    kind, options = _question_type(answer, question)
    place.found.columns["question"]["conversations" if row.get("conversations") else "messages"] += 1
    place.found.columns["images"]["images"] += 1
    place.found.answers[f"{kind} -> reward vilasr"] += 1
    return build(
        place,
        Entry(
            question=question,
            answer=answer,
            images=images,
            scene_id=scene_of(row, images),
            question_type=kind,
            reward={"kind": "vilasr"},
            family=f"vilasr_{row['data_type']}" if isinstance(row.get("data_type"), str) else "vilasr_sft",
            options=options,
            meta={"turns": turns, "response": said[-1]},
        ),
    )


def _conversation(row: dict[str, Any]) -> tuple[str, list[str], int]:
    """(the question, the replies, pictures shown between them) of a row; the protocol's system text is the form's."""
    value = row.get("conversations") or row.get("messages")
    spoken = message_turns(value) if value else None
    if spoken is None or len(spoken) < 2:
        raise BadRow("field conversations is missing or too short")
    talk = [(role, text) for role, text, _ in spoken if role != "system"]
    if any(items for _, _, items in spoken):
        raise BadRow("pictures stand in the messages: name them in the column images")
    if [role for role, _ in talk] != ["user", "assistant"] * (len(talk) // 2):
        raise BadRow("user and assistant do not take turns")
    said = [text.strip() for role, text in talk if role == "assistant"]
    if not all(said):
        raise BadRow("conversation holds an empty assistant's turn")
    later = sum(text.count(MARK) for role, text in talk[1:] if role == "user")
    return talk[0][1], said, later


def _seen_sizes(asked: str, images: list[tuple[bytes, int, int]], place: Place) -> list[tuple[int, int]]:
    """(width, height) of each picture as the teacher saw it: as the question tells, else as it is stored."""
    told = {int(k): (int(w), int(h)) for k, w, h in _PLACE.findall(asked) if int(w) and int(h)}
    if len(told) < len(images):
        place.found.remarks["a picture's size is not told: its coordinates are taken as pixels of the file"] += 1
    return [told.get(number, (width, height)) for number, (_, width, height) in enumerate(images, 1)]


def _turns(said: list[str], images: list[tuple[bytes, int, int]], seen: list[tuple[int, int]]) -> tuple[list[str], int]:
    """The drawing turns with their coordinates as placeholders, and how many pictures they give. BadRow where one
    cannot be carried out.
    """
    try:
        return stored_turns(said, [(width, height) for _, width, height in images], seen, coordinate)
    except DrawingError as error:
        raise BadRow(f"a drawing turn cannot be carried out ({re.sub(r'[0-9]+', 'N', str(error))[:60]})") from None


def _question_type(answer: str, question: str) -> tuple[str, tuple[str, ...]]:
    """(question type, options) of a row, which says neither: a letter with options, a number, or free text."""
    if _NUMBER.fullmatch(answer):
        return "number", ()
    if _LETTER.fullmatch(answer):
        found = dict(_OPTION.findall(question))
        listed = [found[letter] for letter in "ABCDEFGH"[: len(found)] if letter in found]
        if answer in found and len(listed) == len(found):
            return "mcq", tuple(listed)
        return "mcq", tuple("ABCDEFGH"[: max("ABCDEFGH".index(answer) + 1, 4)])
    return "free", ()
