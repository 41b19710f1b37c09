"""OmniSpatial (Jia et al., arXiv 2506.03135): fifty spatial sub-skills, one picture, up to four options; 1533 test
items.

Official default: manual chain of thought and "Answer: X" at the end, the last such letter, **"A" when there is none**;
each item is asked five times and the mean is divided by N + 1e-6. `official_json`, `official_direct`, `official_llm`
are its other modes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spatial_jax.evals.benchmarks.base import (
    Benchmark,
    Item,
    ItemError,
    Metrics,
    Scored,
    by_category,
    correct,
    letter_of,
    letter_options,
    rotated_index,
    rotated_list,
)
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, picture, read_rows
from spatial_jax.reading import parse_json

_ANSWER = re.compile(r"Answer\s*:\s*([A-D])\b", re.IGNORECASE)
_OPEN, _CLOSE = re.compile("<answer>", re.IGNORECASE), re.compile("</answer>", re.IGNORECASE)
_ROLE = """
You are a spatial-reasoning assistant.

Task
-----
You will receive
1. **Image** - a single RGB frame depicting a scene.
2. **Question** - a natural-language query about spatial relationships between objects in the image.
3. **Options** - ≥2 answer candidates, each tagged by a capital letter (A, B, C, D…).
"""
_STEPS = """
Guidelines
----------
Please follow these steps to analyze the image and answer the question:
1. First, carefully observe the image and identify all relevant objects and their spatial relationships.
2. Next, break down the question into key components that need to be addressed.
3. Think through the spatial reasoning step-by-step to arrive at your answer. \
It may be necessary to transfer perspective to better understand the scene.
4. Finally, select the most appropriate option (A, B, C, or D) based on your analysis.
"""
_RULE = """Always ground your answer in the visual evidence; do not hallucinate unseen objects.
If uncertain, pick the most plausible option—never refuse or reply “insufficient information.”
"""
SYSTEMS = {
    "none": f"{_ROLE}\nBased on the image and question, provide your answer.\n{_RULE}",
    "zeroshot_cot": f"{_ROLE}\nThink step by step and provide the answer.\n{_RULE}",
    "manual_cot": f"{_ROLE}{_STEPS}\n{_RULE}",
}
FORMATS = {
    "re": "\nEnd your answer with a separate line formatted exactly as:\n\nAnswer: X\nwhere X ∈ {A, B, C, D}.\n",
    "json": (
        '\nYou need to respond with the answer in JSON format:\n\n```json\n{\n    "analysis": "The analysis of the'
        ' image and question",\n    "answer": "A"\n}\n```\n'
    ),
    "llm": "\nYour answer must be clear and accurate.\n",
    "direct": "\nNote: You only need to respond with A, B, C, or D without providing any additional information.\n",
}
_LMMS_SYSTEM = """You are a spatial-reasoning assistant.

Task
-----
You will receive
1. **Image** - a single RGB frame depicting a scene.
2. **Multi-View Image** - a RGB frame depicting a scene from 6 novel views.
3. **Question** - a natural-language query about spatial relationships between objects in the image.
4. **Options** - >=2 answer candidates, each tagged by a capital letter (A, B, C, D...).

Based on the image and question, provide your answer.
Always ground your answer in the visual evidence; do not hallucinate unseen objects.
If uncertain, pick the most plausible option---never refuse or reply "insufficient information."
"""
_MODE = {"official": "re", "official_json": "json", "official_direct": "direct", "official_llm": "llm"}


def load(root: Path) -> list[dict[str, Any]]:
    items = []
    for number, row in enumerate(read_rows(root, ("data.json", "*test*", "*"))):
        task = str(row.get("task_type", ""))
        name = str(row.get("id", number))
        source = row.get("image") or row.get("image_path") or f"{task}/{name.split('_')[0]}.png"
        items.append(
            {
                **row,
                "id": f"{task}/{name}",
                "options": as_list(row.get("options")),
                "answer": row.get("answer", row.get("gt")),
                "images": [picture(source, row["_root"], "OmniSpatial-test", "images")],
                "scene": f"{task}/{name.split('_')[0]}",
            }
        )
    return items


def prompt(item: Item, scoring: str) -> str:
    question = f"{item['question']}\n{letter_options(item['options'])}"
    if scoring == "lmms_eval":
        return f"{_LMMS_SYSTEM}{FORMATS['direct']}\n{question}"
    if scoring == "vlmevalkit":
        return f"{question}\nAnswer directly with the option letter from the given choices. "
    return f"{SYSTEMS['manual_cot']}\n{FORMATS[_MODE[scoring]]}\n\n{question}"


def _json_letter(response: str) -> str:
    try:
        content = parse_json(response.strip().removeprefix("```json").removesuffix("```").strip())
        return content.get("answer", "A").strip().upper()[:1]
    except (ValueError, AttributeError, RecursionError):
        return "A"


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["answer"])
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    if scoring == "lmms_eval":
        text = response
        for tag in ("</think>", "</thought>"):
            text = text.split(tag, 1)[-1]
        start = _OPEN.search(text)
        end = _CLOSE.search(text, start.end()) if start else None
        letter = (text[start.end() : end.start()] if start and end else text).strip().upper()[:1]
    elif scoring == "official_json":
        letter = _json_letter(response)
    elif scoring == "official_direct":
        letter = response.strip().upper()[:1]
    elif scoring == "official_llm":
        if "judge" not in item:
            raise ItemError(f"omnispatial: item {item.get('id', '?')} has no 'judge' reply, which this mode needs")
        return float("true" in str(item["judge"]).lower()), str(item["judge"])[:20]
    else:
        found = _ANSWER.findall(response)
        letter = found[-1] if found else "A"  # the case counts: "answer: b" is not B
        return float(letter == gold), letter if found else None
    return correct(letter == gold, letter)


def dress(text: str, item: Item, scoring: str) -> str:
    """A letter as the mode's format asks for it; other text as it stands."""
    if not re.fullmatch(r"[A-D]", text):
        return text
    return {"official": f"Answer: {text}", "official_json": json.dumps({"answer": text})}.get(scoring, text)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    whole = pool(list(cells.values()))
    tasks = {name: cell.mean for name, cell in by_category(cells, lambda key: key.split("|")[0]).items()}
    if scoring.startswith("official"):
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"overall": np.divide(whole.total, np.asarray(whole.count) + 1e-6), **tasks}
    return {"overall": whole.mean, **tasks}


def rotate(item: Item, n: int) -> dict[str, Any]:
    options = list(item["options"])
    return {
        **item,
        "options": rotated_list(options, n),
        "answer": rotated_index(ord(letter_of(item["answer"])) - 65, len(options), n),
    }


BENCHMARK = Benchmark(
    name="omnispatial",
    title="OmniSpatial",
    hub="qizekun/OmniSpatial",
    required=("answer",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("sub_task_type", item.get("task_type", "all"))),
    cell=lambda item: f"{item.get('task_type', 'all')}|{item.get('sub_task_type', '')}",
    aggregate=aggregate,
    dress=dress,
    rotate=rotate,
    oracle=lambda item, scoring: {"official": "Answer: {}", "official_json": '{{"answer": "{}"}}'}.get(
        scoring, "{}"
    ).format(letter_of(item["answer"])),
    guesses=lambda item: ["Answer: A", "Answer: B", "Answer: C", "Answer: D", "A", "B", "C", "D"],
    max_new_tokens=1024,
    scorings=("official", "official_json", "official_direct", "official_llm", "lmms_eval", "vlmevalkit"),
    notes=(
        "a response without an answer counts as A, as published; ask with --samples=5 --temperature=1.0 for the"
        " published protocol"
    ),
)
