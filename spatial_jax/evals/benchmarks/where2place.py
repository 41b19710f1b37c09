"""Where2Place (Yuan et al., RoboPoint, arXiv 2406.10721): point at free space; 100 photos with masks.

The official script scales what has a dot to 640 x 480 whatever the photo's size, and takes the JPEG mask's grey as the
score; `lmms_eval` always scales; `vlmevalkit` is EASI's parser of points.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spatial_jax.evals import points
from spatial_jax.evals.benchmarks import refspatial
from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored
from spatial_jax.evals.sources import picture, read_rows

RULES = {**refspatial.RULES, "official": points.robopoint}


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the parquet, or of point_questions.jsonl with images/ and masks/ of the same names."""
    items = []
    for number, row in enumerate(read_rows(root, ("point_questions*", "*test*", "*"))):
        image = row.get("image")
        mask = row.get("mask") or (f"masks/{Path(image).name}" if isinstance(image, str) else None)
        items.append(
            {
                **row,
                "id": str(row.get("question_id", number)),
                "question": row.get("question") or row.get("text") or row.get("prompt"),
                "images": [picture(image, row["_root"], "images")],
                "mask": picture(mask, row["_root"], "masks"),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    text = str(item["question"])
    return text + refspatial.JSON_ASK if scoring == "vlmevalkit" else text


def score(response: str, item: Item, scoring: str) -> Scored:
    return RULES[scoring](response, points.mask_of(item["mask"]))


def oracle(item: Item, scoring: str) -> str:
    """A point inside the mask as the scoring reads it: pixels for the official script (its scale is 640 x 480)."""
    if scoring != "official":
        return refspatial.oracle(item, scoring)
    return "[({}, {})]".format(*points.a_hit(points.mask_of(item["mask"])))


BENCHMARK = Benchmark(
    name="where2place",
    title="Where2Place",
    hub="wentao-yuan/where2place",
    required=("mask",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category") or "all"),
    oracle=oracle,
    guesses=refspatial.guesses,
    scorings=("official", "lmms_eval", "lmms_eval_json", "vlmevalkit"),
    max_new_tokens=256,
    notes="the official script scales dotted points to 640 x 480 and scores a grey mask by its grey",
)
