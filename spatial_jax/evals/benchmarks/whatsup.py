"""What'sUp (Kamath et al., arXiv 2310.19785): which caption fits the picture; controlled pairs and sets, COCO and GQA.

Published for image-text scores (argmax, the first index wins ties): here a response names an option (`official`: the
letter; a list of scores under "scores" is read as the argmax). The first caption is always right, in Spatial-SSRL's
generative variant the gold is always A, and a reply is right when it contains an "A". Pair and set accuracy: all
members right, over half and a quarter of the items.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Derived,
    Item,
    ItemError,
    Metrics,
    Outcome,
    Scored,
    boxed_for,
    correct,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, macro, pool
from spatial_jax.evals.matching import closed_braces, pattern_letter
from spatial_jax.evals.sources import picture, read_rows

FOLDERS = ("controlled_images", "controlled_clevr", "val2017", "vg_images", "data")
_BOXED = re.compile(r"boxed\{([^}]*)\}")
_RELATIONS = ("left_of", "right_of", "in-front_of", "behind", "under", "on")
_PAIRS = {
    "left_of": "sides",
    "right_of": "sides",
    "on": "height",
    "under": "height",
    "in-front_of": "depth",
    "behind": "depth",
}


def load(root: Path) -> list[dict[str, Any]]:
    """Every *.json under root: {image_path, caption_options} (controlled) or [image_id, true, false] (COCO, VG)."""
    items = []
    for number, row in enumerate(read_rows(root, ("controlled*", "*qa*", "*"))):
        subset = row["_file"].replace("_dataset", "")
        entry = row.get("row")
        if entry is not None:
            name = f"{int(entry[0]):012d}.jpg" if "coco" in subset else f"{entry[0]}.jpg"
            fields: dict[str, Any] = {"image_path": name, "caption_options": list(entry[1:])}
        else:
            fields = {"image_path": row["image_path"], "caption_options": row["caption_options"]}
        path = str(fields["image_path"])
        base = path.removeprefix("data/")
        items.append(
            {
                **fields,
                "id": f"{subset}_{number}",
                "subset": subset,
                "images": [picture(base, row["_root"], *FOLDERS)],
                "scene": _set_key(path) or path,
            }
        )
    return items


def _stem(path: str) -> str:
    return Path(path).stem


def relation(path: str) -> str | None:
    """Relation in a controlled picture's file name ("mug_left_of_table" -> left_of)."""
    stem = f"_{_stem(path)}_"
    return next((r for r in _RELATIONS if f"_{r}_" in stem), None)


def _set_key(path: str) -> str:
    found = relation(path)
    return f"_{_stem(path)}_".replace(f"_{found}_", "|", 1).strip("_") if found else ""


def prompt(item: Item, scoring: str) -> str:
    options = "\n".join(f"{chr(65 + i)}: {c}" for i, c in enumerate(item["caption_options"]))
    if scoring == "spatial_ssrl_cot":
        return (
            "Based on the image, choose the correct option from the list below.You FIRST think about the reasoning"
            " process as an internal monologue and then provide the final answer. The reasoning process MUST BE"
            f" enclosed within <think> </think> tags. The final answer MUST BE put in \\boxed{{}}.{options}"
        )
    return (
        "Based on the image, choose the correct option from the list below. Only respond the corresponding letter"
        f" (e.g., C).\n\n{options}"
    )


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = int(item.get("gold", 0))
    if scoring.startswith("spatial_ssrl"):
        if gold:
            raise ItemError("whatsup: this scoring knows only the given order of captions (gold A)")
        found = _BOXED.findall(closed_braces(response))
        text = (found[-1] if found else "") if scoring == "spatial_ssrl_cot" else response
        return correct("A" in text, text.strip()[:40])
    scores = item.get("scores")
    if scores is not None:
        choice = int(np.argmax(scores))
        return correct(choice == gold, chr(65 + choice))
    letter = pattern_letter(response)
    return correct(letter == chr(65 + gold), letter)


def derive(items: Sequence[Item], outcomes: Sequence[Outcome], scoring: str) -> dict[str, Derived]:
    """pair_SUBSET and set_SUBSET of the controlled subsets."""
    out: dict[str, list[tuple[float, str]]] = {}
    for kind in ("pair", "set"):
        groups: dict[tuple[str, str], list[float]] = {}
        for item, (value, _) in zip(items, outcomes):
            path = str(item["image_path"])
            found = relation(path)
            if found and str(item.get("subset", "controlled")).startswith("controlled"):
                key = _set_key(path) + (f"|{_PAIRS[found]}" if kind == "pair" else "")
                groups.setdefault((str(item.get("subset", "controlled")), key), []).append(value)
        for (subset, key), values in groups.items():
            if len(values) == (2 if kind == "pair" else 4):
                out.setdefault(f"{kind}_{subset}", []).append((float(all(v == 1.0 for v in values)), key))
    return dict(out)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall = macro over subsets (the paper's table)."""
    means = {name: cell.mean for name, cell in cells.items()}
    return {"overall": macro(list(means.values())), "micro": pool(list(cells.values())).mean, **means}


def rotate(item: Item, n: int) -> dict[str, Any]:
    captions = list(item["caption_options"])
    return {
        **item,
        "caption_options": rotated_list(captions, n),
        "gold": rotated_index(int(item.get("gold", 0)), len(captions), n),
    }


BENCHMARK = Benchmark(
    name="whatsup",
    title="What'sUp",
    hub="",
    required=("caption_options", "image_path"),
    load=load,
    prompt=prompt,
    score=score,
    derived=derive,
    category=lambda item: str(item.get("subset", "controlled")),
    aggregate=aggregate,
    dress=boxed_for("_cot"),
    scorings=("official", "spatial_ssrl", "spatial_ssrl_cot"),
    oracle=lambda item, scoring: (
        f"\\boxed{{{chr(65 + int(item.get('gold', 0)))}}}"
        if scoring == "spatial_ssrl_cot"
        else chr(65 + int(item.get("gold", 0)))
    ),
    rotate=rotate,
    max_new_tokens=64,
    notes="the right caption is always option A unless options are rotated: read the blind prior and use --rotations",
)
