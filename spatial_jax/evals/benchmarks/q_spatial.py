"""Q-Spatial Bench (Liao et al., arXiv 2409.09788): distances in natural pictures, answered as \\scalar{..}
\\distance_unit{..}.

A success is max(p/g, g/p) < 2. All unsigned numbers of the last \\scalar are averaged ("1-2" is 1.5, "1,5" is 3). An
unknown unit counts as centimetres in the official notebook and as nothing (x0) in VLMEvalKit; a missing answer stops
the notebook and is 1e-8 there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching import closed_braces
from spatial_jax.evals.mra import to_float
from spatial_jax.evals.sources import picture, read_rows
from spatial_jax.rewards.parsing.numbers import parse_quantity

SYSTEM = (
    "You will be provided with a question and a 2D image. The question involves measuring the precise distance in 3D"
    " space through a 2D image. You will answer the question by providing a numeric answer consisting of a scalar and a"
    ' distance unit in the format of """\\scalar{scalar} \\distance_unit{distance unit}""" at the end of your response.'
)
# "thinkg" is part of the published template.
PROMPT = (
    "Question: {question}\nLet's thinkg step by step and start by finding good reference objects or object parts in the"
    " image."
)
_SCALAR, _UNIT = re.compile(r"scalar{([^}]*)}"), re.compile(r"distance_unit{([^}]*)}")
_NUMBER = re.compile(r"\d+\.?\d*")
_CENTIMETRES = {
    **dict.fromkeys(("meters", "meter", "m", "metre", "metres"), 100.0),
    **dict.fromkeys(("centimeters", "centimeter", "cm"), 1.0),
    **dict.fromkeys(("feet", "foot", "ft"), 30.48),
    **dict.fromkeys(("inch", "inches", "in"), 2.54),
    "mm": 0.1,
}


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for number, row in enumerate(read_rows(root, ("*plus*", "*QSpatial*", "*"))):
        source = row.get("image") or row.get("image_path")
        items.append(
            {
                **row,
                "id": f"{row['_file'].split('-')[0]}_{number}",
                "images": [picture(source, row["_root"])],
                "scene": str(row.get("image_path") or number),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    return f"{SYSTEM}\n{PROMPT.format(question=item['question'])}"


def centimetres(unit: str, unknown: float) -> float:
    """Centimetres of a unit's name."""
    return _CENTIMETRES.get(unit.lower(), unknown)


def parse(response: str, unknown: float) -> float | None:
    """Centimetres that the response states, None without both boxes; nan when the scalar box holds no number."""
    text = closed_braces(response)
    scalars, units = _SCALAR.findall(text), _UNIT.findall(text)
    if not scalars or not units:
        return None
    numbers = [float(n) for n in _NUMBER.findall(scalars[-1])]
    return float(np.mean(numbers)) * centimetres(units[-1], unknown) if numbers else float("nan")


def success(predicted: float, truth: float, delta: float) -> bool:
    """max(p/g, g/p) < delta; nan and zero are no success."""
    with np.errstate(all="ignore"):
        ratio = np.max([np.divide(np.float64(predicted), truth), np.divide(np.float64(truth), predicted)])
    return bool(ratio < delta)


def score(response: str, item: Item, scoring: str, delta: float = 2.0) -> Scored:
    harness = scoring == "vlmevalkit"
    value = to_float(item["answer_value"])
    truth = (value or 0.0) * centimetres(str(item["answer_unit"]), 0.0 if harness else 1.0)
    predicted = parse(response, 0.0 if harness else 1.0)
    stated = None if predicted is None or predicted != predicted else predicted
    if harness:
        predicted = 1e-8 if predicted is None else predicted
        return float(success(predicted + 1e-8, truth + 1e-8, delta)), stated
    return (0.0, None) if predicted is None else (float(success(predicted, truth, delta)), stated)


def dress(text: str, item: Item, scoring: str) -> str:
    """ "1.5 m" as \\scalar{1.5} \\distance_unit{m}; text with a box of its own, or without a quantity, as it stands."""
    quantity = None if "scalar{" in text else parse_quantity(text)
    return text if quantity is None else f"\\scalar{{{float(quantity.value)}}} \\distance_unit{{{quantity.unit}}}"


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="q_spatial",
    title="Q-Spatial Bench",
    hub="andrewliao11/Q-Spatial-Bench",
    required=("answer_value", "answer_unit"),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("question_type", "all")),
    aggregate=aggregate,
    dress=dress,
    scorings=("official", "vlmevalkit"),
    max_new_tokens=512,
    oracle=lambda item, scoring: f"\\scalar{{{item['answer_value']}}} \\distance_unit{{{item['answer_unit']}}}",
    guesses=lambda item: [
        f"\\scalar{{{v}}} \\distance_unit{{cm}}" for v in (10, 20, 30, 40, 60, 80, 100, 120, 150, 200, 300, 500)
    ],
)
