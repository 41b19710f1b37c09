"""PointBench (Cheng et al., PointArena, arXiv 2505.09990): point at what a sentence means; about 1,000 photos with
masks in five categories.

A question is right where its first point lies in the mask; of counting, where all points do and are as many as asked.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

from spatial_jax.evals import points
from spatial_jax.evals.benchmarks import refspatial
from spatial_jax.evals.benchmarks.base import Benchmark, Item, Scored, correct
from spatial_jax.evals.mra import to_float
from spatial_jax.evals.sources import picture, read_rows
from spatial_jax.reading import parse_json
from spatial_jax.rewards.parsing.points import number_tuples

Pixel = tuple[int, int]


def load(root: Path) -> list[dict[str, Any]]:
    """Items of data.json with selected_images/ and selected_masks/, joined by file name."""
    items = []
    for number, row in enumerate(read_rows(root, ("data*", "*"))):
        category = str(row.get("category", "all"))
        folders = ("selected_images", f"selected_images/{category}", "images", f"images/{category}")
        masks = ("selected_masks", f"selected_masks/{category}", "masks", f"masks/{category}")
        image, mask = (unicodedata.normalize("NFC", str(row[k])) for k in ("image_filename", "mask_filename"))
        items.append(
            {
                **row,
                "id": f"{category}_{number}",
                "images": [picture(image, row["_root"], *folders)],
                "mask": picture(mask, row["_root"], *masks),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    return str(item["user_input"])


def json_pixels(response: str) -> list[Pixel]:
    """The authors' reader: the JSON between the first "[" and the last "]", objects with "point" in pixels."""
    try:
        found = parse_json(response[response.find("[") : response.rfind("]") + 1])
        return [(int(p["point"][0]), int(p["point"][1])) for p in found]
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        return []


def tuple_pixels(response: str, width: int, height: int) -> list[Pixel]:
    """lmms-eval: up to 1 shares, up to 1000 thousandths, else pixels; rounded, so a share of 1 lies outside."""
    out = []
    for numbers in number_tuples(response):
        if len(numbers) == 2:
            x, y = (float(n) for n in numbers)
            full = 1.0 if 0 <= x <= 1 and 0 <= y <= 1 else 1000.0 if x <= 1000 and y <= 1000 else 0.0
            out.append((round(x / full * width), round(y / full * height)) if full else (round(x), round(y)))
    return out


def score(response: str, item: Item, scoring: str) -> Scored:
    mask = points.mask_of(item["mask"])
    height, width = mask.shape
    found = tuple_pixels(response, width, height) if scoring == "lmms_eval" else json_pixels(response)
    if not found:
        return 0.0, None
    hits = [0 <= x < width and 0 <= y < height and mask[y, x] > 127 for x, y in found]
    if str(item.get("category", "")).lower() != "counting":
        return correct(bool(hits[0]), found[0])
    count = to_float(item.get("count"))
    wanted = (1.0 if scoring == "official" else 0.0) if count is None else count
    return correct(all(hits) and len(found) == wanted, len(found))


def oracle(item: Item, scoring: str) -> str:
    """As many points as asked, all inside, in the scoring's form."""
    mask = points.mask_of(item["mask"])
    x, y = points.a_hit(mask)
    times = int(to_float(item.get("count")) or 1) if str(item.get("category", "")).lower() == "counting" else 1
    if scoring == "lmms_eval":
        height, width = mask.shape
        return ", ".join([f"({x / width:.8f}, {y / height:.8f})"] * times)
    return "[" + ", ".join([f'{{"point": [{x}, {y}]}}'] * times) + "]"


BENCHMARK = Benchmark(
    name="pointbench",
    title="PointBench",
    hub="PointArena/pointarena-data",
    required=("mask",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    oracle=oracle,
    guesses=refspatial.guesses,
    scorings=("official", "lmms_eval"),
    max_new_tokens=256,
)
