"""The gallery: picture with boxes and depth, question, truth, and every answer of the group with its reward and
advantage.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.data import SceneRecord
from spatial_jax.data.records import as_stored
from spatial_jax.metrics.report.results import number
from spatial_jax.metrics.report.runs import title_of
from spatial_jax.metrics.report.trajectory import trajectory
from spatial_jax.pages import (
    Box,
    Child,
    Html,
    chip,
    depth_picture,
    picture,
    read_depth,
    searchable,
    short,
    tabs,
    tag,
)

MOST_PANES = 4
VERDICTS = ("all right", "some right", "none right")
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")


def gallery_section(entries: Sequence[Mapping[str, Any]], scenes: Mapping[str, SceneRecord], limit: int = 60) -> Html:
    """Cards, one a question; the same question met at several steps (or before and after) gets one pane each. Questions
    met most often and most recently come first.
    """
    cards: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        record = entry["record"]
        cards.setdefault(str(record.get("question_id") or record.get("question")), []).append(entry)
    chosen = sorted(cards.values(), key=lambda panes: (-min(len(panes), MOST_PANES), -int(panes[-1].get("step", 0))))
    chosen = _take_in_turn(chosen, limit)
    items = []
    for panes in chosen:
        record = panes[0]["record"]
        text = " ".join(
            str(record.get(k, ""))
            for k in ("question", "answer", "family", "question_type", "scene_id", "source", "question_id")
        )
        text += " " + " ".join(
            str(answer.get("text", "")) for pane in panes for answer in pane["answers"] if isinstance(answer, Mapping)
        )
        facets = {"family": str(record.get("family") or "other"), "answers": _verdict(panes[-1])}
        items.append((card(panes, scenes.get(str(record.get("scene_id", "")))), text, facets))
    families = sorted({facets["family"] for _, _, facets in items})
    verdicts = [v for v in VERDICTS if any(facets["answers"] == v for _, _, facets in items)]
    return searchable(
        items,
        facets={"family": families if len(families) > 1 else (), "answers": verdicts if len(verdicts) > 1 else ()},
        placeholder="search question, answer, object, scene…",
    )


def _verdict(pane: Mapping[str, Any]) -> str:
    """Which of VERDICTS the answers of a pane are, by whether each is correct, else by its reward."""
    answers = [answer for answer in pane["answers"] if isinstance(answer, Mapping)]
    marks = [a["correct"] if isinstance(a.get("correct"), bool) else number(a.get("reward")) >= 0.5 for a in answers]
    return VERDICTS[0 if all(marks) else 1 if any(marks) else 2]


def card(panes: Sequence[Mapping[str, Any]], scene: SceneRecord | None = None) -> Html:
    """One question with a pane for each time it was answered (first, last and some between)."""
    runs = {pane.get("run") for pane in panes}
    if len(panes) > max(MOST_PANES, len(runs)):
        panes = [panes[round(i * (len(panes) - 1) / (MOST_PANES - 1))] for i in range(MOST_PANES)]
    record = panes[-1]["record"]
    frame = _frame(panes[-1], record)
    truth = [Box(box, "truth", "truth")] if (box := _box_of(record.get("answer"), record)) else []
    side: list[Child] = []
    for i, path in enumerate(panes[-1].get("images", ())):
        boxes = (objects_of(record, scene, frame) + answer_boxes(panes, record) + truth) if i == 0 else []
        side.append(picture(path, boxes=boxes, frame=frame if i == 0 else None, max_side=480))
    if len(side) > 1:
        side = [tag("div", side, class_="pictures")]
    depth = _depth(scene)
    if depth is not None and scene is not None:
        boxes = objects_of(record, scene, (scene.width, scene.height))
        unit = "m" if scene.depth_flag == "metric" else "(relative)"
        side.append(depth_picture(depth, unit=unit, boxes=boxes, frame=(scene.width, scene.height), max_side=420))
    body = tabs(
        [(_pane_title(pane, panes), _answers(pane, record, i)) for i, pane in enumerate(panes)], shown=len(panes) - 1
    )
    two = len(side) == 2
    shown = tag("div", side or tag("p", "no picture", class_="broken"), class_="side two" if two else "side")
    return tag("div", shown, tag("div", _question(record), body), class_="group wide" if two else "group")


def _question(record: Mapping[str, Any]) -> Html:
    hops = record.get("hops")
    chips = [
        chip(record.get("family") or "question"),
        chip(record.get("question_type") or "", "quiet") if record.get("question_type") else None,
        chip(f"{hops} hops") if isinstance(hops, int) and hops > 1 else None,
        chip(f"from {record['source']}") if record.get("source") else None,
        chip(record["split"], "warn" if record["split"] == "train" else "good") if record.get("split") else None,
    ]
    text = as_stored(str(record.get("question", ""))).replace("<image>", "🖼")
    options = record.get("options") or ()
    listed = None
    if record.get("question_type") == "mcq" and options and not all(str(o) in text for o in options):
        listed = tag(
            "ul", [tag("li", f"{chr(65 + i)}. {option}") for i, option in enumerate(options)], class_="options"
        )
    truth = as_stored(str(record.get("answer", "")))
    unit = record.get("unit")
    meta = record.get("meta")
    margin = number(meta.get("margin")) if isinstance(meta, Mapping) else math.nan
    remark = tag("small", f"  margin {short(margin)}") if math.isfinite(margin) else None
    return tag(
        "div",
        tag("p", chips, class_="meta"),
        tag("p", text, class_="question"),
        listed,
        tag(
            "p",
            "Truth  ",
            tag("b", truth + (f" {unit}" if unit and unit not in truth else "")),
            remark,
            class_="truth-line",
        ),
    )


def _answers(pane: Mapping[str, Any], record: Mapping[str, Any], index: int) -> Html:
    answers = [answer for answer in pane["answers"] if isinstance(answer, Mapping)]
    rewards = [number(answer.get("reward")) for answer in answers]
    finite = [r for r in rewards if math.isfinite(r)]
    top = max([1.0, *finite])
    rows = []
    for place, (answer, reward) in enumerate(zip(answers, rewards, strict=True)):
        correct = answer.get("correct")
        sign = (
            tag("span", "✓", class_="sign good")
            if correct is True
            else (tag("span", "✗", class_="sign bad") if correct is False else tag("span"))
        )
        bar = tag(
            "div",
            tag("i", style=f"width:{100 * max(0.0, reward) / top:.1f}%") if math.isfinite(reward) else None,
            tag("span", f"{reward:.2f}" if math.isfinite(reward) else "no score"),
            class_="reward",
            title="reward",
        )
        advantage = number(answer.get("advantage"))
        change = (
            tag(
                "span",
                f"{advantage:+.2f}",
                class_="advantage " + ("good" if advantage > 0.005 else "bad" if advantage < -0.005 else "quiet"),
                title="advantage",
            )
            if math.isfinite(advantage)
            else tag("span", class_="advantage")
        )
        cut = chip("cut", "warn") if answer.get("finish_reason") == "length" else None
        text = str(answer.get("text", ""))
        shown = text if len(text) <= 4000 else text[:4000] + f" … ({len(text)} characters)"
        words = shown if shown.strip() else tag("span", "(empty)", class_="quiet")
        content: Child = tag("div", words, " ", cut, class_="text")
        if answer.get("drawn"):
            content = tag("div", trajectory(text, pane.get("images", ()), answer["drawn"]), cut)
        key = f"{index}.{place}" if _box_of(text, record) else None
        rows.append(
            tag(
                "div",
                sign,
                tag("div", content),
                bar,
                change,
                class_="answer-row",
                data_key=key,
            )
        )
    mean = sum(finite) / len(finite) if finite else math.nan
    same = len(finite) > 1 and max(finite) == min(finite)
    summary = f"{len(answers)} answers, mean reward {mean:.2f}" if len(answers) > 1 and math.isfinite(mean) else None
    remark = chip("all the same: no gradient", "quiet") if same and len(answers) > 1 else None
    return tag(
        "div", tag("div", rows, class_="answers"), tag("p", tag("small", summary), " ", remark) if summary else None
    )


def _pane_title(pane: Mapping[str, Any], panes: Sequence[Mapping[str, Any]]) -> str:
    run = f"{pane['run']}: " if pane.get("run") else ""
    phase = title_of(str(pane.get("phase") or ""))
    alike = (
        sum(1 for other in panes if (other.get("run"), other.get("phase")) == (pane.get("run"), pane.get("phase"))) > 1
    )
    if alike or not phase or len(panes) == 1:
        phase = f"{phase}, step {pane.get('step', 0)}".lstrip(", ")
    return f"{run}{phase}"


def _frame(entry: Mapping[str, Any], record: Mapping[str, Any]) -> tuple[float, float] | None:
    """(width, height) in which the record's coordinates are given: the model's picture, else the stored one."""
    sizes = entry.get("model_sizes")
    size = (
        entry.get("model_size")
        or record.get("model_size")
        or (sizes[0] if isinstance(sizes, (list, tuple)) and sizes else None)
    )
    if not size and record.get("widths") and record.get("heights"):
        size = (record["widths"][0], record["heights"][0])
    try:
        width, height = (float(v) for v in size)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def objects_of(record: Mapping[str, Any], scene: SceneRecord | None, frame: tuple[float, float] | None) -> list[Box]:
    """Boxes of the objects that the question is about (all objects of the scene when it names none), moved to
    `frame`.
    """
    if scene is None or not scene.objects:
        return []
    meta = record.get("meta")
    named = {str(o) for o in meta.get("objects") or ()} if isinstance(meta, Mapping) else set()
    chosen = [o for o in scene.objects if o.object_id in named]
    if record.get("question_type") == "box":
        return []  # the truth is drawn instead
    scale_x, scale_y = (frame[0] / scene.width, frame[1] / scene.height) if frame else (1.0, 1.0)
    return [
        Box(
            (o.box[0] * scale_x, o.box[1] * scale_y, o.box[2] * scale_x, o.box[3] * scale_y),
            o.caption or o.name,
            color=i,
            title=(
                f"{o.caption}: {short(o.depth_median)} {'m' if scene.depth_flag == 'metric' else ''} away"
                if math.isfinite(o.depth_median)
                else o.caption
            ),
        )
        for i, o in enumerate(chosen)
    ]


def answer_boxes(panes: Sequence[Mapping[str, Any]], record: Mapping[str, Any]) -> list[Box]:
    """The boxes that the answers of each pane name, amber or red by reward."""
    out = []
    for index, pane in enumerate(panes):
        for i, answer in enumerate(a for a in pane["answers"] if isinstance(a, Mapping)):
            if box := _box_of(answer.get("text"), record):
                reward = number(answer.get("reward"))
                out.append(
                    Box(
                        box,
                        "",
                        "answer" if reward >= 0.5 else "wrong",
                        title=f"answer {i + 1}, reward {short(reward)}",
                        pane=index,
                        shown=index == len(panes) - 1,
                        key=f"{index}.{i}",
                    )
                )
    return out


def _box_of(text: Any, record: Mapping[str, Any]) -> tuple[float, ...] | None:
    if record.get("question_type") != "box":
        return None
    found = _NUMBERS.findall(as_stored(str(text))[:4000])
    return tuple(float(v) for v in found[-4:]) if len(found) >= 4 else None


def _depth(scene: SceneRecord | None) -> Any:
    if scene is None or not scene.depth_png:
        return None
    try:
        return read_depth(scene.depth_png, scene.depth_scale or 1.0)
    except ValueError:
        return None


def _take_in_turn(cards: Sequence[list[Mapping[str, Any]]], limit: int) -> list[list[Mapping[str, Any]]]:
    """`limit` cards, the families in turn, so that one family does not fill the page."""
    queues: dict[str, list[list[Mapping[str, Any]]]] = {}
    for panes in cards:
        queues.setdefault(str(panes[0]["record"].get("family")), []).append(panes)
    out: list[list[Mapping[str, Any]]] = []
    while len(out) < limit and any(queues.values()):
        for queue in queues.values():
            if queue and len(out) < limit:
                out.append(queue.pop(0))
    return out
