"""SPBench-SI and SPBench-MV (SpatialLadder, arXiv 2510.08531): choice and numeric questions on one or several views.

`official` is the default prompt mode, `thinking` the one that asks for <think> and <answer>. In thinking mode an
<answer> that is never closed is read as the word "None". Number words are tested in the order of the published table,
"a" and "an" counting as one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks import vsi_bench
from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Metrics, Scored, correct
from spatial_jax.evals.intervals import Cell, macro
from spatial_jax.evals.matching import answer_tag, ladder_letter
from spatial_jax.evals.matching_spatial import match_number, option_score
from spatial_jax.evals.mra import finite, mra, mra_signed, to_float
from spatial_jax.evals.sources import as_list, pictures, read_rows

CHOICE = (
    "object_rel_direction",
    "object_rel_distance",
    "object_rel_direction_easy",
    "object_rel_direction_medium",
    "object_rel_direction_hard",
)
NUMERIC = ("object_counting", "object_abs_distance", "object_size_estimation")
_WORDS = {
    word: str(i)
    for i, word in enumerate(
        [
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ],
        1,
    )
}
_WORDS |= {
    word: str(10 * i) for i, word in enumerate(["thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 3)
} | {
    "zero": "0",
    "a": "1",
    "an": "1",
}
_WORD = re.compile(r"\b(" + "|".join(_WORDS) + r")\b")
_RANK = {word: rank for rank, word in enumerate(_WORDS)}
_NUMBER = re.compile(r"(\d+(\.\d+)?)")
_THINK = (
    "Please think about this question as if you were a human pondering deeply. Engage in an internal dialogue using"
    " expressions such as 'let me think', 'wait', 'Hmm', 'oh, I see', 'let's break it down', etc, or other natural"
    " language thought expressions It's encouraged to include self-reflection or verification in the reasoning"
    " process. \n"
)
_POST = {
    (
        "official",
        "choice",
    ): "Please answer with the option's letter from the given choices (e.g., A, B, etc.) directly.",
    ("official", "number"): "Please answer the question using a numerical value (e.g., 42 or 3.1) directly.",
    (
        "thinking",
        "choice",
    ): (
        "Please provide your detailed reasoning between the <think> </think> tags, and then answer the question with"
        " the option's letter from the given choices (e.g., A, B, etc.) within the <answer> </answer> tags."
    ),
    (
        "thinking",
        "number",
    ): (
        "Please provide your detailed reasoning between the <think> </think> tags, and then answer the question with a"
        " numerical value (e.g., 42 or 3.1) within the <answer> </answer> tags."
    ),
}


def load(root: Path) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "id": f"{row['_file']}_{row.get('id', number)}",
            "options": as_list(row.get("options")) or None,
            "ground_truth": str(row.get("ground_truth")),
            "images": pictures(row.get("images", row.get("image")), row["_root"], "images"),
            "scene": str(row.get("scene_name", row.get("id", number))),
        }
        for number, row in enumerate(read_rows(root, ("SPBench*", "*")))
    ]


def _is_choice(item: Item) -> bool:
    kind = str(item["question_type"])
    if kind not in CHOICE and kind not in NUMERIC:
        raise ItemError(f"spbench: question_type {kind!r} is not one of its types")
    return kind in CHOICE


def prompt(item: Item, scoring: str) -> str:
    mode = "thinking" if scoring == "thinking" else "official"
    options = f"\nOptions:\n{chr(10).join(item['options'])}" if item.get("options") else ""
    think = _THINK if mode == "thinking" else ""
    return f"Question: {item['question']}{options}\n{think}\n{_POST[mode, 'choice' if _is_choice(item) else 'number']}"


def ladder_number(text: str) -> str:
    """The number word that comes first in the table (anywhere in the text), else the first digits without their sign,
    else "None".
    """
    text = text.strip().lower()
    words = set(_WORD.findall(text))
    if words:
        return _WORDS[min(words, key=_RANK.__getitem__)]
    match = _NUMBER.search(text)
    return match.group(1) if match else "None"


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["ground_truth"])
    choice = _is_choice(item)
    if scoring == "vlmevalkit":
        if choice:
            return option_score(response, gold)
        number = match_number(response)
    elif choice:
        letter = ladder_letter(response, thinking=scoring == "thinking")
        return correct(letter.lower() == gold.lower(), letter)
    else:
        tagged = answer_tag(response) if scoring == "thinking" else None
        number = to_float(ladder_number(response if tagged is None else tagged))
    truth = to_float(gold)
    if truth is None:
        raise ItemError(f"spbench: ground_truth {gold!r} is not a number")
    if number is None or not finite(number):
        return 0.0, number
    if truth == 0 and scoring != "vlmevalkit":
        raise ItemError("spbench: ground_truth 0 stops the official script (division by zero)")
    return (mra if scoring == "vlmevalkit" else mra_signed)(number, truth), number


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    if scoring == "vlmevalkit":
        return vsi_bench.aggregate(cells, scoring)
    out: Metrics = {name: cell.mean for name, cell in cells.items()}
    groups = {
        label: macro([v for k, v in out.items() if (k in NUMERIC) == numeric])
        for label, numeric in (("choice", False), ("numeric", True))
        if any((k in NUMERIC) == numeric for k in out)
    }
    return {"overall": macro(list(out.values())), **groups, **out}


BENCHMARK = Benchmark(
    name="spbench",
    title="SPBench",
    hub="hongxingli/SPBench",
    required=("question_type", "ground_truth"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item["question_type"]),
    aggregate=aggregate,
    scorings=("official", "thinking", "vlmevalkit"),
    max_new_tokens=128,
    oracle=lambda item, scoring: (
        f"<answer>{item['ground_truth']}</answer>" if scoring == "thinking" else str(item["ground_truth"])
    ),
    guesses=lambda item: ["A", "B", "C", "D"] if item["question_type"] in CHOICE else [],
)
