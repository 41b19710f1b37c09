"""MMSI-Video-Bench (Lin et al., arXiv 2512.10863): 1,106 choices (A to F) about one or several clips, shown as their
published frames.

Uniform-50: at most 50 frames over all clips of an item together, at int(i * (T - 1) / 49) of their joint list; a clip
that gets none shows its first. Frames stand where the question says <video>, reference pictures at <image>.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, Metrics, Scored, correct, letter_of
from spatial_jax.evals.intervals import Cell, pool
from spatial_jax.evals.matching_spatial import option_score
from spatial_jax.evals.sources import as_list, below, read_rows

MOST_FRAMES = 50
LETTERS = "ABCDEF"
SUB_BENCHES = ("Easy2hard", "Grounding", "Indoor_Scene_Perception", "Robot")
_CUES = ('"answer":', "answer is", "answer:", '"Answer":', "Answer is", "Answer:")
_NOISE = str.maketrans("", "", " \"'\n:")


def sample_frames(lengths: Sequence[int], most: int = MOST_FRAMES) -> list[list[int]]:
    """Which frames of each clip are shown: all when there are at most `most` together."""
    total = sum(lengths)
    if total <= most:
        return [list(range(n)) for n in lengths]
    step = (total - 1) / (most - 1)
    places = [int(i * step) for i in range(most)]
    chosen, start = [], 0
    for n in lengths:
        own = [p - start for p in places if start <= p < start + n]
        chosen.append(own or [0] * (n > 0))
        start += n
    return chosen


def load(root: Path) -> list[dict[str, Any]]:
    """Items of mmsivideo.json with their pictures in the order of the prompt's marks (frames/ and ref_images/)."""
    items = []
    for row in read_rows(root, ("mmsivideo*", "*")):
        clips = [as_list(frames) for frames in row["frames_list"]]
        picked = [[clip[i] for i in places] for clip, places in zip(clips, sample_frames([len(c) for c in clips]))]
        text = "".join(str(row.get(part) or "") for part in ("task_prompt", "user_prompt", "format_prompt"))
        marked, files = _place_marks(text, picked, as_list(row.get("ref_images")), row["_root"])
        items.append({**row, "id": str(row["id"]), "images": files, "marked_prompt": marked, "scene": _scene(row)})
    return items


def _scene(row: Mapping[str, Any]) -> str:
    clips = as_list(row.get("video_list"))
    return str(clips[0].get("path")) if clips and isinstance(clips[0], dict) else str(row["id"])


def _place_marks(text: str, clips: list[list[str]], references: list[str], root: str) -> tuple[str, list[str]]:
    """(text with an <image> for every picture, the pictures in that order). Clips without a mark come first, pictures
    without one last.
    """
    waiting, shown = list(clips), list(references)
    files: list[str] = []
    out = ""
    for part in re.split(r"(<video>|<image>)", text):
        if part == "<video>" and waiting:
            clip = waiting.pop(0)
            files += [below(root, name, "frames") for name in clip]
            out += "<image>" * len(clip)
        elif part == "<image>" and shown:
            files.append(below(root, shown.pop(0), "ref_images"))
            out += part
        elif part not in ("<video>", "<image>"):
            out += part
    first = [below(root, name, "frames") for clip in waiting for name in clip]
    last = [below(root, name, "ref_images") for name in shown]
    return "<image>" * len(first) + out + "<image>" * len(last), [*first, *files, *last]


def prompt(item: Item, scoring: str) -> str:
    marked = item.get("marked_prompt")
    if marked is None:
        marked = "".join(str(item.get(part) or "") for part in ("task_prompt", "user_prompt", "format_prompt"))
    return f"{item.get('system_prompt') or ''}\n{marked}"


def _plain(text: str) -> str | None:
    found = text.translate(_NOISE)
    return found if len(found) == 1 and found in LETTERS else None


def stage_texts(response: str) -> list[str]:
    """What each stage of the official extraction that applies would read: a box, the text after the first cue there is,
    the text before the first dot.
    """
    found = []
    if "boxed{" in response:
        found.append(response.split("boxed{")[1].split("}")[0])
    for cue in _CUES:
        if cue in response:
            found.append(response.split(cue)[-1].split(",")[0].split(".")[0])
            break
    return [*found, response.split(".")[0]]


def official_letter(response: str) -> str | None:
    """The first stage that applies decides."""
    text = response.replace("<answer>", "").replace("</answer>", "")
    return None if "no answer" in text else _plain(stage_texts(text)[0])


def lmms_letter(response: str) -> str | None:
    """lmms-eval: a stage that gives no letter falls through, at last to the first of A .. F that stands as "(X)",
    between blanks, or as "X.".
    """
    text = response.replace("<answer>", "").replace("</answer>", "")
    if "no answer" in text.lower():
        return None
    for stage in stage_texts(text):
        letter = _plain(stage)
        if letter:
            return letter
    padded = f" {text} "
    return next((c for c in LETTERS if f"({c})" in padded or f" {c} " in padded or f"{c}." in padded), None)


def score(response: str, item: Item, scoring: str) -> Scored:
    gold = letter_of(item["ground_truth"])
    if gold not in LETTERS or not gold:
        raise ItemError(f"mmsi_video: ground_truth {item['ground_truth']!r} is not one of A to F")
    if scoring == "vlmevalkit":
        return option_score(response, gold)
    letter = lmms_letter(response) if scoring == "lmms_eval" else official_letter(response)
    return correct(letter == gold, letter)


def derive(items: Sequence[Item], outcomes: Sequence[tuple[float, Any]], scoring: str) -> dict[str, Any]:
    """The four sub-benches: accuracy of the items that belong to each, by level."""
    out: dict[str, list[tuple[float, str]]] = {}
    for item, (value, _) in zip(items, outcomes):
        for name in SUB_BENCHES:
            level = item.get(name)
            if level and str(level).lower() not in ("none", "nan"):
                for key in (name, f"{name}: {level}"):
                    out.setdefault(key, []).append((value, str(item.get("scene", item["id"]))))
    return dict(out)


def aggregate(cells: Mapping[str, Cell], scoring: str) -> Metrics:
    return {"overall": pool(list(cells.values())).mean, **{name: cell.mean for name, cell in cells.items()}}


BENCHMARK = Benchmark(
    name="mmsi_video",
    title="MMSI-Video-Bench",
    hub="rbler/MMSI-Video-Bench",
    required=("ground_truth",),
    load=load,
    prompt=prompt,
    score=score,
    category=lambda item: str(item.get("type", "all")),
    oracle=lambda item, scoring: letter_of(item["ground_truth"]),
    aggregate=aggregate,
    derived=derive,
    guesses=lambda item: LETTERS,
    max_new_tokens=1024,
    notes="Uniform-50: at most 50 of the published frames over all clips",
)
