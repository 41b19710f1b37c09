"""How far a question is answered without looking: the best constant answer, and what its words alone give away.

The word baseline is a naive Bayes model over the question's words, the named objects and the option's place. On "train"
it is fitted on half of the scenes and scored on the other half, both ways; on other splits it is fitted on all of
"train", as a policy would be. Where options exist, a good set keeps it within 5 points of chance.
"""

from __future__ import annotations

import collections
import math
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from data_prep.synthesis.draft import LETTERS
from spatial_jax.data.records import QuestionRecord

_WORD = re.compile(r"[a-z']+")


def _slim(record: QuestionRecord) -> dict[str, Any]:
    meta = record.json_field("meta")
    return {
        "scene": record.scene_id,
        "family": record.family,
        "form": meta.get("form", ""),
        "question": record.question,
        "answer": record.answer,
        "options": record.options,
        "type": record.question_type,
        "captions": meta.get("captions", []),
    }


def _features(item: dict[str, Any], option: int) -> list[str]:
    """Binary features of (question, option): where the option stands, which words it has, and they with the question's
    other words.
    """
    text = item["options"][option].lower()
    question = item["question"].lower()
    key = f"{item['form']}"
    predicate = (
        next(
            (
                w
                for w in (
                    "further left",
                    "further right",
                    "to the left of",
                    "to the right of",
                    "higher",
                    "lower",
                    "above",
                    "below",
                )
                if w in question
            ),
            "",
        )
        if item["family"] == "relation"
        else ""
    )
    key += "/" + predicate
    place = [f"{key} slot {option}"]
    mine = [f"{key} says {text}"] + [f"{key} word {w}" for w in _WORD.findall(text)]
    others = [f"{key} {text} given {i} {c}" for i, c in enumerate(item["captions"]) if c.lower() != text]
    others += [f"{key} {text} given {i} {c.split()[-1]}" for i, c in enumerate(item["captions"]) if c.lower() != text]
    return place + mine + others


def _fit(items: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    table: dict[str, list[float]] = collections.defaultdict(lambda: [0.0, 0.0])
    for item in items:
        for option in range(len(item["options"])):
            for feature in _features(item, option):
                table[feature][int(option == item["right"])] += 1
    return table


def _score(table: dict[str, list[float]], items: Sequence[dict[str, Any]]) -> float:
    hits = 0.0
    for item in items:
        n = len(item["options"])
        logits = []
        for option in range(n):
            total = 0.0
            for feature in _features(item, option):
                wrong, right = table.get(feature, (0.0, 0.0))
                total += math.log((right + 1.0) / (wrong + n - 1.0)) + math.log(n - 1.0)
            logits.append(total)
        best = max(logits)
        winners = [i for i, v in enumerate(logits) if v >= best - 1e-12]
        hits += (item["right"] in winners) / len(winners)
    return hits


class PriorTable:
    """Collects questions and reports, a family: count, answers, chance, best constant and word baseline."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)

    def add(self, records: Iterable[QuestionRecord]) -> None:
        for record in records:
            self._items[record.split, record.family].append(_slim(record))

    def rows(self) -> list[dict[str, Any]]:
        """One dict a split and family; `chance`, `constant` and `words` are fractions right, None where there are no
        options.
        """
        return [
            self._row(split, name, items)
            for (split, name), items in sorted(self._items.items(), key=lambda kv: (kv[0][0] != "train", kv[0]))
        ]

    def _row(self, split: str, name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
        answers = collections.Counter(i["answer"] for i in items)
        closed = _closed_items(items)
        row: dict[str, Any] = {
            "split": split,
            "family": name,
            "count": len(items),
            "answers": answers.most_common(6),
            "constant_any": answers.most_common(1)[0][1] / len(items),
            "chance": None,
            "constant": None,
            "words": None,
        }
        if closed:
            row["chance"] = sum(1 / len(i["options"]) for i in closed) / len(closed)
            row["constant"] = _constant(closed)
            trained = _closed_items(self._items.get(("train", name), [])) if split != "train" else []
            # By scene, not by question: two questions on one picture share its objects, and a baseline that has seen
            # one half of a picture guesses the other.
            halves: list[list[dict[str, Any]]] = [[], []]
            for item in closed:
                halves[zlib.crc32(item["scene"].encode()) & 1].append(item)
            if trained:
                row["words"] = _score(_fit(trained), closed) / len(closed)
            elif all(halves):
                row["words"] = (_score(_fit(halves[0]), halves[1]) + _score(_fit(halves[1]), halves[0])) / len(closed)
        return row


def _closed_items(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        dict(i, right=_right(i))
        for i in items
        if len(i["options"]) > 1
        and (i["answer"] in i["options"] or (i["type"] == "mcq" and i["answer"] in LETTERS[: len(i["options"])]))
    ]


def _right(item: dict[str, Any]) -> int:
    return item["options"].index(item["answer"]) if item["answer"] in item["options"] else LETTERS.index(item["answer"])


def _constant(items: Sequence[dict[str, Any]]) -> float:
    """Share right of the best fixed answer a form: a fixed slot or a fixed text, whichever is better."""
    forms: dict[tuple, list[dict[str, Any]]] = collections.defaultdict(list)
    for item in items:
        forms[item["form"], item["type"]].append(item)
    hits = 0
    for group in forms.values():
        slots = collections.Counter(i["right"] for i in group)
        texts = collections.Counter(i["options"][i["right"]] for i in group)
        hits += max(slots.most_common(1)[0][1], texts.most_common(1)[0][1])
    return hits / len(items)


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as text for the console."""
    lines = [f"{'split':8} {'family':13} {'count':>7} {'chance':>7} {'constant':>8} {'words':>6}  answers"]
    for r in rows:
        share = [f"{r[k]:.3f}" if r[k] is not None else "-" for k in ("chance", "constant", "words")]
        answers = ", ".join(f"{a[:24]} {n / r['count']:.0%}" for a, n in r["answers"][:4])
        lines.append(
            f"{r['split']:8} {r['family']:13} {r['count']:7d} {share[0]:>7} {share[1]:>8} {share[2]:>6}  {answers}"
        )
    return "\n".join(lines)
