"""RefSpatial-Bench (Zhou et al., RoboRefer, arXiv 2506.04308): point at a place; 100 locations, 100 placements, 77
unseen combinations. An item scores the share of its points inside the mask.

`lmms_eval` takes every tuple as shares of the picture, `lmms_eval_json` Qwen's thousandths, `vlmevalkit` is EASI's
parser; "without_unseen" is the 200 items that reports call RefSpatial_wo_unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals import points
from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.sources import SourceError, data_files, picture, read_rows

SPLITS = ("location", "placement", "unseen")
RULES = {
    "official": points.roborefer,
    "lmms_eval": points.lmms_eval,
    "lmms_eval_json": points.lmms_eval_json,
    "vlmevalkit": points.vlmevalkit,
}
JSON_ASK = (
    'Output the point coordinates in JSON format.\nFor example:\n[\n  {"point_2d": [x, y], "label": "point_1"}\n]\n'
)
_ONE_POINT = (
    "Pinpoint the SINGLE best 2D point that satisfies the description. Output exactly one coordinate pair in JSON,"
    ' normalized to [0, 1000]:\n```json\n[{"point_2d": [x, y], "label": "target"}]\n```\nDo not output more than one'
    " point. Do not include additional text after the JSON block."
)
_TUPLES = "Your answer should be formatted as a list of tuples"


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the three splits (location, placement and unseen in their files' or folders' names)."""
    items: list[dict[str, Any]] = []
    for path in _files(root):
        named = " ".join(path.relative_to(root).parts if root.is_dir() else (path.name,)).lower()
        for row in read_rows(path):
            split = str(row.get("split") or row.get("category") or next((s for s in SPLITS if s in named), "all"))
            base = str(root if root.is_dir() else root.parent)
            items.append(
                {
                    **row,
                    "id": f"{split.lower()}_{row.get('id', row.get('index', len(items)))}",
                    "split": split.lower(),
                    "images": [picture(row.get("image") or row.get("rgb_path"), base, split)],
                    "mask": picture(row.get("mask") or row.get("mask_path"), base, split),
                }
            )
    return items


def _files(root: Path) -> list[Path]:
    """The files of every split there is, else all data files."""
    found = []
    for split in SPLITS if root.is_dir() else ():
        try:
            found += data_files(root, (f"*[{split[0]}{split[0].upper()}]{split[1:]}*",))
        except SourceError:
            continue
    return found or data_files(root)


def prompt(item: Item, scoring: str) -> str:
    text, suffix = str(item.get("prompt") or item.get("question")), str(item.get("suffix") or "")
    if scoring == "vlmevalkit":
        return text + JSON_ASK
    if scoring == "lmms_eval_json":
        kept = "" if suffix.strip().startswith(_TUPLES) else suffix
        return f"{text} {kept}".rstrip() + f"\n{_ONE_POINT}"
    if scoring == "lmms_eval":
        return f"{text} {suffix} Return only list of tuples, don't add anything else."
    return f"{text} {suffix}"


def score(response: str, item: Item, scoring: str) -> Scored:
    return RULES[scoring](response, points.mask_of(item["mask"]))


def oracle(item: Item, scoring: str) -> str:
    """A point inside the mask as the scoring reads it."""
    mask = points.mask_of(item["mask"])
    x, y = points.a_hit(mask)
    height, width = mask.shape
    if scoring == "vlmevalkit":
        return f'[{{"point_2d": [{x / width:.8f}, {y / height:.8f}]}}]'
    if scoring == "lmms_eval_json":
        return f"[{(x + 0.5) / width:.8f}, {(y + 0.5) / height:.8f}]"
    return f"[({(x + 0.5) / width:.8f}, {(y + 0.5) / height:.8f})]"


def guesses(item: Item) -> list[str]:
    """Points of a coarse grid, as shares."""
    return [f"[({x}, {y})]" for x in (0.25, 0.5, 0.75) for y in (0.35, 0.5, 0.65, 0.8)]


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    """overall = mean over items; "without_unseen" = mean over locations and placements."""
    out: Metrics = {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}
    seen = [cell for name, cell in cells.items() if name != "unseen"]
    if seen:
        out["without_unseen"] = pool(seen).mean
    return out


BENCHMARK = Benchmark(
    name="refspatial",
    title="RefSpatial-Bench",
    hub="BAAI/RefSpatial-Bench",
    required=("mask",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("split", "all")),
    oracle=oracle,
    aggregate=aggregate,
    guesses=guesses,
    scorings=("official", "lmms_eval", "lmms_eval_json", "vlmevalkit"),
    max_new_tokens=256,
    notes="integers mean pixels (official), shares (lmms_eval) or thousandths (lmms_eval_json, vlmevalkit)",
)
