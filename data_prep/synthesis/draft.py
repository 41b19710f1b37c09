"""A question before it is chosen (`Draft`), the wordings it is drawn from (`Form`), and its way into a
QuestionRecord.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.synthesis.deviations import Moves
from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView, Thing
from spatial_jax.data.records import GENERATOR_VERSION, QuestionRecord

LETTERS = "ABCDEFGH"
NOTHING = Moves()  # of an answer that is known exactly


@dataclasses.dataclass(frozen=True)
class Form:
    """One form of a family: its wordings, the short ones first, and answer sentences. `first_id` keeps template ids
    unique in the family.
    """

    name: str
    first_id: int
    plain: tuple[str, ...]  # short wordings, for small models too
    full: tuple[str, ...]
    sentences: tuple[str, ...] = ("{answer}", "The answer is {answer}.", "It is {answer}.", "That would be {answer}.")

    def pick(self, rng: random.Random, options: Options) -> tuple[int, str]:
        """(template id, wording) at random among those that the options allow."""
        wordings = self.plain if options.plain else self.plain + self.full
        count = min(options.wordings, len(wordings)) if options.wordings > 0 else len(wordings)
        index = int(rng.random() * count)
        return self.first_id + index, wordings[index]


# A balance fact: (key, value, number of values). Over a dataset each value of a key should be right equally often.
Fact = tuple[tuple, Any, int]


@dataclasses.dataclass(slots=True)
class Draft:
    """A candidate question: everything but its pictures, and the facts that the balance counts. `moved`: what each part
    of its uncertainty does to the answer, in its unit; `tolerance`: within how much of it the question asks for the
    answer, 0 when it says nothing.
    """

    family: str
    form: Form
    template_id: int
    question: str
    question_type: str
    answer: str
    reward: dict[str, Any]
    margin: float
    objects: tuple[Thing, ...]
    rule_inputs: dict[str, Any]
    options: tuple[str, ...] = ()
    unit: str = ""
    hops: int = 1
    facts: tuple[Fact, ...] = ()
    moved: Moves = NOTHING
    tolerance: float = 0.0


def name_facts(key: tuple, pairs: Sequence[tuple[Thing, Any]], values: int) -> list[Fact]:
    """Facts that keep named objects from giving answers away: one for each caption, and for each class word that is not
    the caption.
    """
    facts: list[Fact] = []
    for thing, value in pairs:
        facts.append((key + ("caption", thing.caption), value, values))
        if thing.name and thing.name != thing.caption:
            facts.append((key + ("name", thing.name), value, values))
    return facts


def versus_fact(key: tuple, winner: Thing, loser: Thing) -> list[Fact]:
    """The fact that of two class words neither wins more often than the other."""
    if winner.name == loser.name or not winner.name or not loser.name:
        return []
    first, second = sorted((winner.name, loser.name))
    return [(key + ("versus", first, second), winner.name, 2)]


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked: a form of a family with `names` in its wording, about `objects`, answered from `rule_inputs` (what
    was measured, for the record's meta); `facts` for the balance; `hops`: steps of reasoning.
    """

    family: str
    form: Form
    names: dict[str, str]
    objects: tuple[Thing, ...]
    rule_inputs: dict[str, Any]
    facts: Sequence[Fact] = ()
    hops: int = 1


def choice(
    ask: Ask,
    rng: random.Random,
    options: Options,
    *,
    answers: Sequence[str],
    right: int,
    margin: float,
    letters: bool = True,
) -> Draft:
    """A question with a closed set of answers: as words, or (profile "full", at random) with lettered options in random
    order.
    """
    template_id, wording = ask.form.pick(rng, options)
    question, answer, kind, texts = wording.format(**ask.names), answers[right], "word", tuple(answers)
    key = (ask.family, ask.form.name)
    extra: list[Fact] = (
        [(key + ("answer", texts), answer, len(texts))]
        if not ask.objects or answer not in {o.caption for o in ask.objects}
        else []
    )
    # Letters in random order, and each letter equally often right: a policy must not learn a place for the answer.
    if letters and not options.plain and len(answers) <= len(LETTERS) and rng.random() < options.letters:
        order = list(range(len(answers)))
        rng.shuffle(order)
        texts = tuple(answers[i] for i in order)
        slot = order.index(right)
        question += (
            "\n"
            + "\n".join(f"{LETTERS[i]}. {text}" for i, text in enumerate(texts))
            + "\nAnswer with the letter of the right option."
        )
        answer, kind = LETTERS[slot], "mcq"
        extra.append((key + ("letter",), slot, len(texts)))
    # An object's own name as the answer is balanced by what its family says of names; what is left is its place in the
    # list.
    elif extra == []:
        extra.append((key + ("slot",), right, len(texts)))
    return Draft(
        ask.family,
        ask.form,
        template_id,
        question,
        kind,
        answer,
        {"kind": "choice"},
        margin,
        ask.objects,
        ask.rule_inputs,
        texts,
        facts=(*ask.facts, *extra),
        hops=ask.hops,
    )


def number(
    ask: Ask,
    rng: random.Random,
    options: Options,
    *,
    answer: str,
    unit: str,
    reward: dict[str, Any],
    margin: float = 1.0,
    moved: Moves = NOTHING,
    tolerance: float = 0.0,
) -> Draft:
    """A question whose answer is a number in `unit`, asked within `tolerance` of it; the reward is at least as wide."""
    template_id, wording = ask.form.pick(rng, options)
    question = wording.format(**ask.names)
    if tolerance > 0:
        question += f" Answer within {100 * tolerance:.0f} %."
        reward = widen_tolerance(reward, tolerance)
    return Draft(
        ask.family,
        ask.form,
        template_id,
        question,
        "number",
        answer,
        reward,
        margin,
        ask.objects,
        ask.rule_inputs,
        unit=unit,
        facts=tuple(ask.facts),
        hops=ask.hops,
        moved=moved,
        tolerance=tolerance,
    )


def free(ask: Ask, rng: random.Random, options: Options, *, answer: str, margin: float) -> Draft:
    """A question whose answer is a sentence, which a judge grades."""
    template_id, wording = ask.form.pick(rng, options)
    return Draft(
        ask.family,
        ask.form,
        template_id,
        wording.format(**ask.names),
        "free",
        answer,
        {"kind": "judge"},
        margin,
        ask.objects,
        ask.rule_inputs,
        facts=tuple(ask.facts),
        hops=ask.hops,
    )


def widen_tolerance(reward: dict[str, Any], tolerance: float) -> dict[str, Any]:
    """A number's reward that tells nothing finer than its label: MRA counts no threshold below the tolerance, the
    smooth depth reward falls to 1/e no sooner than there.
    """
    if reward["kind"] == "mra":
        return reward | {"tolerance": min(0.5, tolerance)}
    if reward["kind"] == "depth":
        return reward | {"scale": max(reward.get("scale", 1.25), 1 + tolerance)}
    return reward


def mix_drafts(rng: random.Random, *parts: Iterator[Draft]) -> Iterator[Draft]:
    """The drafts of several forms, taken in turn at random, so that none always comes first."""
    left = list(parts)
    while left:
        part = left[int(rng.random() * len(left))]
        draft = next(part, None)
        if draft is None:
            left.remove(part)
        else:
            yield draft


def round_value(value: float) -> float:
    return float(f"{value:.6g}")


def _plain_numbers(value: Any) -> Any:
    if isinstance(value, float):
        return round_value(value)
    if isinstance(value, (list, tuple)):
        return [_plain_numbers(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain_numbers(v) for k, v in value.items()}
    return value


def finish(draft: Draft, view: SceneView, seed: int, rng: random.Random) -> QuestionRecord:
    """The draft as a QuestionRecord with the scene's picture, its identity and everything needed to check it again."""
    scene = view.scene
    identity = hashlib.sha1(f"{view.scene_id}\n{draft.family}\n{draft.question}\n{draft.answer}".encode()).hexdigest()[
        :12
    ]
    sentence = draft.form.sentences[int(rng.random() * len(draft.form.sentences))]
    shown = draft.options[LETTERS.index(draft.answer)] if draft.question_type == "mcq" else draft.answer
    meta = {
        "form": draft.form.name,
        "margin": round_value(draft.margin),
        "objects": [o.object_id for o in draft.objects],
        "captions": [o.caption for o in draft.objects],
        "rule_inputs": _plain_numbers(draft.rule_inputs),
        "uncertainty": round_value(draft.moved.sd),
        "uncertainty_parts": {part: round_value(value) for part, value in draft.moved.parts().items()},
        "tolerance": draft.tolerance,
        "sentence": sentence.replace("{answer}", shown),
        "depth_flag": scene.depth_flag,
        "intrinsics_source": scene.intrinsics_source,
        "generator_version": GENERATOR_VERSION,
        "provenance": "template",
    }
    return QuestionRecord(
        question_id=f"{view.scene_id}/{draft.family}/{identity}",
        source=scene.source,
        split=scene.split,
        scene_id=scene.scene_id,
        images=(scene.image,),
        widths=(scene.width,),
        heights=(scene.height,),
        question=draft.question,
        question_type=draft.question_type,
        answer=draft.answer,
        options=draft.options,
        unit=draft.unit,
        reward=json.dumps(draft.reward),
        family=draft.family,
        template_id=draft.template_id,
        hops=draft.hops,
        seed=seed,
        meta=json.dumps(meta),
        tags=scene.tags,
    )
