"""Spatial457 (Wang et al., arXiv 2502.08636): synthetic scenes, seven levels, free answers. The official evaluation is
VLMEvalKit's.

Correct there also when the first words belong to one super-category ("sedan" = "suv"); lmms-eval has no such rule and
no list of shapes in its prompt, so its scores are lower.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, Metrics, Scored
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.numbers import UNITS_TO_TWENTY
from spatial_jax.evals.sources import picture, read_rows

SIZES = ("small", "large")
SHAPES = (
    "airliner",
    "dirtbike",
    "road bike",
    "tandem bike",
    "suv",
    "wagon",
    "scooter",
    "mountain bike",
    "minivan",
    "sedan",
    "school bus",
    "fighter",
    "chopper",
    "double bus",
    "truck",
    "articulated bus",
    "cruiser",
    "jet",
    "utility bike",
    "regular bus",
    "biplane",
)
COLORS = ("gray", "blue", "purple", "brown", "green", "cyan", "red", "yellow")
SIDES = ("left", "right", "front", "back")
_CLASSES = {
    "car": "suv wagon minivan sedan truck addi car",
    "bus": "articulated regular double school bus",
    "motorbike": "chopper dirtbike scooter cruiser motorbike",
    "aeroplane": "jet fighter biplane airliner aeroplane",
    "bicycle": "road utility mountain tandem bicycle",
}
_CLASS_OF = {word: name for name, words in _CLASSES.items() for word in words.split()}
_DIGIT_OF = {word: str(value) for word, value in UNITS_TO_TWENTY.items() if value <= 10}
_ASPECT = {
    "L1_single": "attributes of the objects",
    "L2_objects": "attributes of multiple objects",
    "L3_2d_spatial": "attributes of multiple objects and their spatial relationship from 2D projected camera view",
    "L4_occ": "attributes of multiple objects and their occlusion relationships",
    "L4_pose": "attributes of multiple objects and their facing direction in 3D space from the camera view",
    "L5_6d_spatial": (
        "attributes of multiple objects and their spatial relationship from objects{quote} perspective in 3D space"
    ),
    "L5_collision": (
        "attributes of multiple objects and their potential collision given the assumption of moving direction in 3D"
        " space"
    ),
}
_PARSERS = (re.compile(r"Answer': '(.*?)'"), re.compile(r'Answer": "(.*?)"'), re.compile(r"Answer': (\d)"))
_PARSERS_LMMS = tuple(
    re.compile(p, re.IGNORECASE)
    for p in (
        r"['\"]?Answer['\"]?\s*[:=]\s*['\"]([^'\"]+)['\"]",
        r"Answer['\"]?\s*:\s*['\"]?(\w+)",
        r"['\"]Answer['\"]:\s*(\d+)",
    )
)


def load(root: Path) -> list[dict[str, Any]]:
    """Items of the TSV, or of questions/LEVEL.json beside images/."""
    items = []
    for number, row in enumerate(read_rows(root, ("*patial457*", "L[1-5]_*", "*"))):
        level = str(row.get("category") or row["_file"])
        source = row.get("image") or row.get("image_filename")
        index = row.get("index", row.get("question_index", number))
        items.append(
            {
                **row,
                "category": level,
                "answer": str(row.get("answer")),
                "id": f"{level}_{index}",
                "images": [picture(source, row["_root"], "images", "../images")],
                "scene": str(row.get("image_filename") or f"{level}_{index}"),
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    lmms = scoring == "lmms_eval"
    aspect = _ASPECT.get(str(item["category"]), "").format(quote="'" if lmms else "’")
    role = (
        "You are an intelligent chatbot designed to answer questions based on an image. Your task is to analyze the"
        f" images, identify {aspect}, and then determine the answer to the question.\n"
        if aspect
        else ""
    )
    listed = (
        ""
        if lmms
        else " chosen from the following options: "
        + ", ".join(w.capitalize() for group in (SIZES, SHAPES, COLORS, SIDES) for w in group)
    )
    form = (
        f"First, you should identify the related objects {'referred' if lmms else 'refered'} in the questions,"
        " including their shape, color, size; then add a brief reasoning process about the questions. Each object in"
        " the image has a shape (e.g., 'airliner'), a size (only can be 'small' or 'large'), a color (e.g. 'blue')."
        " The size of the object is either 'small' or 'large'. The color of the object is one of the following:"
        " 'gray', 'blue', 'purple', 'brown', 'green', 'cyan', 'red', 'yellow'. The direction of the object is one of"
        " the following: 'left', 'right', 'front', 'back'.\n\nSecond, give the answer based on the reasoning process."
        " The answer should only be (1) a phrase"
        + listed
        + ", or (2) an integer [0-10] when asked for 'How many' or 'What is the number of', or (3) 'Yes' or 'No' when"
        " asked for 'Is there'. If you think there are no possible answers or the question is not clear, choose the"
        " best answer that fits the question.\n\nWrite your response into this json template: {'Reasoning': '<your"
        " reasons>', 'Answer': '<Your answer>'}"
    )
    return f"{role}{item['question']}\n{form}" if lmms else f"{role}<image>{item['question']}{form}"


def parse(response: str) -> tuple[str, bool]:
    """(answer, whether the template was kept); without it the whole text is the answer."""
    for pattern in _PARSERS:
        match = pattern.search(response)
        if match:
            return match.group(1), True
    return response, False


def is_correct(gold: str, said: str) -> bool:
    """VLMEvalKit's rules of equality."""
    if said.lower() == "none":
        said = "no"
    first = [text.lower().split(" ")[0] for text in (said, gold)]
    return (
        said.lower() == gold.lower()
        or (said == "0" and gold == "No")
        or _DIGIT_OF.get(said.lower()) == gold
        or (gold.lower() == "yes" and said in set("123456789"))
        or (first[0] in _CLASS_OF and _CLASS_OF[first[0]] == _CLASS_OF.get(first[1]))
    )


def _is_correct_lmms(gold: str, said: str) -> bool:
    gold, said = gold.strip().lower(), said.strip().lower()
    yes, no = {"yes", "true", "1"}, {"no", "false", "0"}
    if gold == said or (gold in yes and said in yes) or (gold in no and said in no):
        return True
    return gold.isdecimal() and said.isdecimal() and len(said) < 20 and int(gold) == int(said)


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = str(item["answer"])
    if scoring == "lmms_eval":
        match = next((m for m in (p.search(response) for p in _PARSERS_LMMS) if m), None)
        said = match.group(1).strip() if match else response.strip()
        return float(_is_correct_lmms(gold, said)), said[:200] or None
    said, kept = parse(response)
    return float(is_correct(gold, said)), said[:200] if kept else None


def dress(text: str, item: Item, scoring: str) -> str:
    """The answer in the template that is asked for; a text with quotes or its own template as it stands."""
    return text if "'" in text or "Answer" in text else f"{{'Answer': '{text}'}}"


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="spatial457",
    title="Spatial457",
    hub="RyanWW/Spatial457",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("category", "all")),
    aggregate=aggregate,
    dress=dress,
    max_new_tokens=512,
    oracle=lambda item, scoring: "{'Reasoning': '', 'Answer': '" + str(item["answer"]) + "'}",
    guesses=lambda item: ["Yes", "No", "0", "1", "2", "Large", "Small", "Left"],
    notes="parsed is empty where the answer template was not kept (the whole text is then compared)",
)
