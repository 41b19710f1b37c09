"""A model's reply, question by question: read strictly, checked against its own words and against our measures."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

from data_prep.synthesis.authored.claims import CLAIMS, Answered, Claim
from data_prep.synthesis.faithful import asks_negation, concepts, foreign, strip_names, units
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing
from spatial_jax.reading import parse_json

LEAST_CHARACTERS, MOST_CHARACTERS = 12, 400
SLACK = 0.05  # of a number: the model may be off by so much, or by the question's tolerance
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_FENCE = re.compile(r"^```(?:json)?\s*|\s*```$")


class Refused(Exception):
    """A written question that is not kept; the message is the reason, short enough to be counted by."""


@dataclasses.dataclass(frozen=True)
class Written:
    """A question that our rules answer: its text, its claim about `things`, our answer, and what the model said."""

    text: str
    claim: Claim
    things: tuple[Thing, ...]
    found: Answered
    said: str


def read_reply(reply: str) -> list[Any]:
    """The questions of a reply: a JSON list, or an object with it under "questions". Refused for anything else."""
    try:
        value = parse_json(_FENCE.sub("", reply.strip()))
    except ValueError:
        raise Refused("reply is no JSON") from None
    if isinstance(value, dict):
        value = value.get("questions")
    if not isinstance(value, list):
        raise Refused("reply is no list of questions")
    return value


def verify(entry: Any, view: SceneView, options: Options, least_hops: int = 0) -> Written:
    """The question of one entry of a reply; Refused with the reason. `least_hops`: a harder question needs more."""
    claim, things, text, said = _parts(entry, view)
    _check_text(text, claim, things, view)
    if claim.hops <= least_hops:
        raise Refused("no harder than the question it was made from")
    found = claim.answer(view, things, options)
    if found is None:
        raise Refused("too unsure or too close to call")
    if not _agrees(said, claim, found):
        raise Refused("answer contradicts the measures")
    return Written(text, claim, things, found, said)


def _parts(entry: Any, view: SceneView) -> tuple[Claim, tuple[Thing, ...], str, str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("claim"), dict):
        raise Refused("a question without a claim")
    text, said, claim = entry.get("question"), entry.get("answer"), entry["claim"]
    # Models write numbers with and without quotation marks; a bool is an int in Python, and no answer here.
    if isinstance(said, int | float) and not isinstance(said, bool):
        said = json.dumps(said)
    if not isinstance(text, str) or not isinstance(said, str):
        raise Refused("a question without a text or an answer")
    kind = CLAIMS.get(str(claim.get("what")))
    if kind is None:
        raise Refused("claims what no rule verifies")
    named = claim.get("objects")
    if not isinstance(named, list) or not all(isinstance(n, str) for n in named):
        raise Refused("a claim without its objects")
    by_caption = {t.caption.lower(): t for t in view.things}
    # By whole caption: a part of one ("cup" for "red cup") could mean several objects.
    things = tuple(by_caption[n] for n in (_bare(n) for n in named) if n in by_caption)
    if len(things) < len(named):
        raise Refused("names an object that is not in the picture")
    least, most = kind.count
    if not least <= len(things) <= most or len(set(things)) < len(things):
        raise Refused("a claim about the wrong number of objects")
    return kind, things, " ".join(text.split()), " ".join(said.split())


def _bare(name: str) -> str:
    text = " ".join(name.lower().split())
    return re.sub(r"^(the|a|an) ", "", text)


def _check_text(text: str, claim: Claim, things: tuple[Thing, ...], view: SceneView) -> None:
    """Refused where the text asks about other objects, or something else than it claims."""
    if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS or foreign(text):
        raise Refused("holds something foreign")
    names = [t.caption for t in things]
    bare = strip_names(text, names)
    if any(not re.search(rf"\b{re.escape(n)}\b", text, re.IGNORECASE) for n in names):
        raise Refused("does not name its objects")
    others = [t.caption for t in view.things if t not in things]
    if any(re.search(rf"\b{re.escape(n)}\b", bare, re.IGNORECASE) for n in others):
        raise Refused("names an object that its claim does not")
    if not all(re.search(pattern, bare, re.IGNORECASE) for pattern in claim.says):
        raise Refused("asks something else than it claims")
    allowed = claim.concepts | ({"count"} if claim.unit else set())  # "how many metres"
    if not concepts(bare) <= allowed or asks_negation(bare):
        raise Refused("asks something else than it claims")
    if _NUMBER.search(bare) or re.search(r"\b(the answer is|answer:)", text, re.IGNORECASE):
        raise Refused("gives numbers or an answer away")
    if _units(bare) != ({claim.unit} if claim.unit else set()):
        raise Refused("asks in another unit than its claim's")
    if claim.role:
        pattern = claim.role.format(*(re.escape(n) for n in names))
        if not re.search(pattern, text, re.IGNORECASE):
            raise Refused("its objects stand in other places than it claims")
    if claim.yes_no and re.search(r"\b(which|what|whose|or)\b", bare, re.IGNORECASE):
        raise Refused("asks something else than it claims")


def _units(text: str) -> set[str]:
    """The units that a text names; "in" is hardly ever an inch here."""
    return units(text) - {"in"}


def _agrees(said: str, claim: Claim, found: Answered) -> bool:
    if not claim.unit:
        return _bare(said.rstrip(".")) == found.answer.lower()
    numbers = _NUMBER.findall(said)
    if len(numbers) != 1 or not _units(said) <= {claim.unit}:
        return False
    return abs(float(numbers[0]) - found.value) <= max(SLACK, found.tolerance) * found.value
