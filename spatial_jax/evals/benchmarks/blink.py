"""BLINK (Fu et al., arXiv 2404.12390): fourteen subtasks of core visual perception (validation split, 1,901 items).

Official: plain letters and a single "(X)" (of the last paragraph before the whole text) are read by rule; whatever is
left a GPT-3.5 judge maps to (A)..(E) or (Z); equality with the gold; total = unweighted mean over subtasks. A judge's
reading is used when the item (or the responses line) carries one under "judge"; without it the rule that agrees best
with that judge on 5,073 outputs of 19 models (.91) reads what the rule leaves, and the result says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import matching
from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    Metrics,
    Scored,
    correct,
    letter_of,
    letter_options,
    option_texts,
    rotated_index,
    rotated_list,
    vlmevalkit_prompt,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.sources import as_list, picture, read_rows

# subtask -> (validation items, options)
SUBTASKS: dict[str, tuple[int, int]] = {
    "Art_Style": (117, 2),
    "Counting": (120, 4),
    "Forensic_Detection": (132, 4),
    "Functional_Correspondence": (130, 4),
    "IQ_Test": (150, 4),
    "Jigsaw": (150, 2),
    "Multi-view_Reasoning": (133, 2),
    "Object_Localization": (122, 2),
    "Relative_Depth": (124, 2),
    "Relative_Reflectance": (134, 3),
    "Semantic_Correspondence": (139, 4),
    "Spatial_Relation": (143, 2),
    "Visual_Correspondence": (172, 4),
    "Visual_Similarity": (135, 2),
}
_BY_LOWER = {name.lower(): name for name in SUBTASKS}
_DISCLAIMED = ("Forensic_Detection", "Jigsaw", "Art_Style")
_DISCLAIMER = (
    "Disclaimer: This is not to make unfair assumptions about the people in the image and you just need to give your"
    " assessment on this question. You don't need to identify the real people. You just need to analyze based on the"
    " information I gave you.\n\n"
)
_EXACT = re.compile(r"\(?([A-EZ])\)?")


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the validation parquets (a folder a subtask) or of VLMEvalKit's TSV (columns A to D)."""
    items = []
    for row in read_rows(root, ("val*", "*val*", "*")):
        shown = [row.get(f"image_{i}") for i in range(1, 5)] if "image_1" in row else as_list(row.get("image"))
        choices = as_list(row.get("choices")) or list(option_texts(row).values())
        item = {
            **row,
            "id": str(row.get("idx", row.get("index"))),
            "choices": choices,
            "images": [found for found in (picture(i, row["_root"]) for i in shown) if found],
        }
        if "prompt" not in row:
            item["prompt"] = (
                f"{row['question']}\nSelect from the following choices.\n{letter_options(choices, '({letter}) {text}')}"
            )
        items.append(item)
    return items


def subtask(item: Item) -> str:
    """The subtask, out of its field or an id like val_Relative_Depth_7."""
    named = (
        item.get("sub_task")
        or item.get("category")
        or re.sub(r"^(val|test)_|_\d+$", "", str(item.get("idx", item.get("id", ""))))
    )
    name = str(named).replace(" ", "_")
    return _BY_LOWER.get(name.lower(), name)


def options_of(item: Item) -> str:
    """The letters of an item's options: of its choices, else as many as its subtask has."""
    count = len(option_texts(item)) or SUBTASKS.get(subtask(item), (0, 4))[1]
    return matching.letters(count)


def rule_letter(response: str, options: str) -> str | None:
    """What the official script reads without its judge, None where it would ask."""
    if re.fullmatch(r"[A-E]|\([A-E]\)", response):
        return response.strip("()")
    marks = {f"({letter})" for letter in options}
    whole, last = (marks & set(part.split()) for part in (response, response.rsplit("\n\n", 1)[-1]))
    single = last if len(last) == 1 else whole
    return next(iter(single)).strip("()") if len(single) == 1 else None


def prompt(item: Item, scoring: str) -> str:
    if scoring == "lmms_eval":
        names = ", ".join(matching.letters(len(item["choices"])))
        return (
            f"Note: You only need to respond with {names} without providing any additional"
            f" information.\n{item['prompt']}"
        )
    if scoring == "vlmevalkit":
        return vlmevalkit_prompt(item)
    return _DISCLAIMER * (subtask(item) in _DISCLAIMED) + str(item["prompt"])


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "lmms_eval":
        letter: str | None = matching.leading_letter(response)
    elif scoring == "vlmevalkit":
        letter = matching.can_infer(response, option_texts(item) or dict.fromkeys("ABCD", "\0"))
    elif item.get("judge") is not None:
        read = _EXACT.fullmatch(str(item["judge"]).strip())
        letter = read.group(1) if read else None
    else:
        letter = rule_letter(response, options_of(item)) or _letter_without_judge(response)
    return correct(letter == gold, None if letter == "Z" else letter)


def _letter_without_judge(response: str) -> str | None:
    """The letter where the official script asks its judge and there is none."""
    read = _EXACT.fullmatch(response.strip())
    return read.group(1) if read else matching.pattern_letter(response)


def rotate(item: Item, n: int) -> dict[str, Any]:
    choices = rotated_list(item["choices"], n)
    gold = rotated_index(ord(letter_of(item["answer"])) - 65, len(choices), n)
    head = str(item["prompt"]).split("\n(A)")[0]
    return {
        **item,
        "choices": choices,
        "answer": f"({chr(65 + gold)})",
        "prompt": f"{head}\n{letter_options(choices, '({letter}) {text}')}",
    }


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    means = {name: cell.mean for name, cell in cells.items()}
    overall = macro(list(means.values())) if scoring == "official" else pool(list(cells.values())).mean
    return {"overall": overall, **means}


BENCHMARK = Benchmark(
    name="blink",
    title="BLINK",
    hub="BLINK-Benchmark/BLINK",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=subtask,
    oracle=lambda item, scoring: f"({letter_of(item['answer'])})",
    aggregate=aggregate,
    rotate=rotate,
    guesses=options_of,
    max_new_tokens=128,
    notes="official scoring reads by a judge's letter where one is given, else by rules",
)
