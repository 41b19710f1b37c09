"""SAT-Real (Ray et al., arXiv 2412.07755): real-image test of SAT, one or two pictures, two answers.

Official: every item twice with its options swapped, a free-text answer that is right when it contains the gold or the
gold contains it (so an empty answer is right); accuracy over both orders. lmms-eval asks for a letter. VLMEvalKit does
not have it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored, letter_options
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.sources import as_list, pictures, read_rows

_TURN = "rotated left and rotated right"
_HINT = (
    "When multiple images are provided, You want to realize that when camera moves left, the objects in the image move"
    " right, and vice versa. And when you are asked about the movement of the same object captured in different images,"
    " you can compare the position of the object relative to other objects in the image to answer the question.\n"
)


def load(root: Path) -> list[dict[str, Any]]:
    """Both option orders of every row: ids N and N-swapped."""
    items = []
    for number, row in enumerate(read_rows(root, ("*test*", "*"))):
        answers = as_list(row.get("answers", row.get("answer_choices")))
        images = pictures(row.get("image_bytes", row.get("images")), row["_root"])
        for swapped in (False, True):
            order = answers[::-1] if swapped else answers
            items.append(
                {
                    **row,
                    "id": f"{number}-swapped" if swapped else str(number),
                    "answers": order,
                    "images": images,
                    "scene": str(number),
                }
            )
            items[-1].pop("image_bytes", None)
    return items


def prompt(item: Item, scoring: str) -> str:
    if scoring == "lmms_eval":
        return (
            f"{str(item['question']).strip()}\n{_HINT}\n{letter_options(item['answers'])}\n\nOnly output the letter of"
            " the correct option and nothing else."
        )
    prefix = (
        "The first image is from the beginning of the video and the second image is from the end. "
        if item.get("question_type") == "ego_movement"
        else ""
    )
    options = " or ".join(f'"{a}"' for a in item["answers"])
    return (
        f"Answer in natural language. {prefix}{item['question']} Answer the question using a single word or phrase. "
        f"Choose between the following options: {options}. "
    )


def _choice_word(response: str) -> str:
    """Text before "###" (the turn after "###Human:" or "###Assistant:" where that is empty), lower case, without round
    brackets, up to the first blank.
    """
    text = response.split("###", 1)[0].strip()
    for name in ("Human", "Assistant"):
        # a "###Human" without its colon stops the published script
        if not text and f"###{name}" in response:
            text = response.split(f"###{name}:", 1)[-1].split("###", 1)[0].strip()
            break
    return text.lower().replace("(", "").replace(")", "").strip().split(" ", 1)[0]


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["correct_answer"])
    if scoring == "official":
        said = response.strip().split("\n")[0].split("###")[-1].strip().lower()
        truth = gold.lower().strip()
        right = truth in said or said in truth
        if _TURN in truth and any(form in said for form in (_TURN, "rotated right and rotated left", "did not move")):
            right = True
        return float(right), said or None
    letter = (
        chr(65 + list(item["answers"]).index(item["correct_answer"]))
        if item["correct_answer"] in item["answers"]
        else gold
    )
    if scoring == "lmms_eval":
        word = re.sub(r"[^\w\s]", "", response).strip().split(" ")[0]
    else:
        word = _choice_word(response)
    return float(word.lower() == letter.lower()), word or None


def dress(text: str, item: Item, scoring: str) -> str:
    """A bare letter as its option's words where the scoring reads words."""
    answers, letter = list(item["answers"]), text.strip(" ().").upper()
    if scoring == "official" and len(letter) == 1 and 0 <= ord(letter) - 65 < len(answers):
        return str(answers[ord(letter) - 65])
    return text


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="sat_real",
    title="SAT-Real",
    hub="array/SAT",
    required=("answers", "correct_answer"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type", "all")),
    aggregate=aggregate,
    dress=dress,
    scorings=("official", "lmms_eval", "official_choice"),
    oracle=lambda item, scoring: (
        str(item["correct_answer"])
        if scoring == "official"
        else chr(65 + list(item["answers"]).index(item["correct_answer"]))
    ),
    guesses=lambda item: [str(a) for a in item["answers"]],
    max_new_tokens=64,
    notes="an empty answer counts as right, as published",
)
