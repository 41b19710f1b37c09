"""What was done: a strip of steps with sample pictures, and the commands to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from spatial_jax.data.records import as_stored
from spatial_jax.metrics.figures import duration, format_value
from spatial_jax.metrics.logged import value_of
from spatial_jax.metrics.report.results import column_labels, overall
from spatial_jax.metrics.report.runs import Phase, Run, title_of
from spatial_jax.metrics.report.scenes import asked_of, dataset_kind, first_record
from spatial_jax.pages import (
    Box,
    Child,
    Html,
    Series,
    command,
    depth_colors,
    details,
    line_plot,
    mask_layer,
    open_picture,
    picture,
    read_depth,
    read_mask,
    tag,
)
from spatial_jax.pages.pictures import depth_range
from spatial_jax.reading import parse_json


def read_story(path: Path) -> list[dict[str, Any]]:
    """Sections [{"title", "text", "command" or "commands", "seconds"}] of a story file. Raises ValueError with one
    line.
    """
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"--story {path}: cannot be read as JSON ({error})") from None
    sections = value.get("sections") if isinstance(value, dict) else value
    if not isinstance(sections, list) or not all(isinstance(s, dict) and s.get("title") for s in sections):
        raise ValueError(f'--story {path}: must be a list of objects with a "title" (and "text", "command", "seconds")')
    return sections


def pipeline(run: Run) -> Html | None:
    """The run's way as cards: pictures, scenes, questions, each training phase, evaluation; only what is there."""
    cards: list[Child] = [
        *_data_cards(run),
        *[_phase_card(phase) for phase in run.phases if phase.rows],
        _evaluation_card(run),
    ]
    cards = [card for card in cards if card]
    return tag("div", cards, class_="pipeline") if len(cards) > 1 else None


def story_section(sections: Sequence[Mapping[str, Any]]) -> Html:
    """Every step with its text and its commands to copy."""
    rows: list[Child] = []
    for i, section in enumerate(sections, 1):
        commands = section.get("commands") or ([section["command"]] if section.get("command") else [])
        seconds = section.get("seconds")
        took = tag("small", f"  {duration(float(seconds))}") if isinstance(seconds, (int, float)) else None
        rows.append(
            details(
                tag("span", f"{i}. {section['title']}", took),
                tag("p", section.get("text", "")) if section.get("text") else None,
                [command(c) for c in commands],
                open_=False,
            )
        )
    return tag("div", rows)


def _step(title: str, art: Child, text: Child) -> Html:
    return tag("div", tag("h3", title), tag("div", art, class_="art"), tag("p", text), class_="step")


def _datasets(run: Run, kind: str) -> list[tuple[Path, dict[str, Any]]]:
    """The datasets of a kind but those of rooms and clips alone, which have a section of their own; all, where there
    are no others.
    """
    asked = [manifest for _, manifest in run.datasets if dataset_kind(manifest) == "questions"]
    scenes = {name for manifest in asked for name in asked_of(manifest, "scenes")}
    rooms = {name for manifest in asked for name in asked_of(manifest, "rooms")} - scenes

    def of_rooms(folder: Path, manifest: dict[str, Any]) -> bool:
        return bool(asked_of(manifest, "rooms")) if kind == "questions" else folder.name in rooms

    found = [(folder, manifest) for folder, manifest in run.datasets if dataset_kind(manifest) == kind]
    return [(folder, manifest) for folder, manifest in found if not of_rooms(folder, manifest)] or found


def _count(run: Run, kind: str) -> tuple[int, int]:
    """Records and held-out records of the datasets of a kind."""
    total = heldout = 0
    for _, manifest in _datasets(run, kind):
        for split, entry in (manifest.get("splits") or {}).items():
            records = int(entry.get("records", 0)) if isinstance(entry, Mapping) else 0
            total += records
            heldout += records if split == "heldout" else 0
    return total, heldout


def _data_cards(run: Run) -> list[Html]:
    out = []
    scene = first_record(_datasets(run, "scenes"), "scenes", most_objects=True)
    if scene is not None:
        total, heldout = _count(run, "scenes")
        out.append(
            _step("Pictures", picture(scene.image, max_side=300), f"{total:,} pictures, {heldout:,} of them held out.")
        )
        boxes = [Box(o.box, o.caption or o.name, color=i) for i, o in enumerate(scene.objects)]
        if scene.objects:
            out.append(
                _step("Scenes", _annotate(scene, boxes), f"Boxes, masks, depth and size of {_objects(run):,} objects.")
            )
    question = first_record(_datasets(run, "questions"), "questions")
    if question is not None:
        total, heldout = _count(run, "questions")
        bubbles = [
            tag("p", as_stored(question.question).split("\n")[0], class_="bubble"),
            tag(
                "p",
                as_stored(question.answer) + (f" {question.unit}" if question.unit else ""),
                class_="bubble",
            ),
        ]
        out.append(_step("Questions", bubbles, f"{total:,} questions from the measures, {heldout:,} held out."))
    return out


def _objects(run: Run) -> int:
    return sum(int((manifest.get("items") or {}).get("objects", 0)) for _, manifest in _datasets(run, "scenes"))


def _annotate(scene: Any, boxes: Sequence[Box]) -> Html:
    """The picture with masks and boxes, its right half as depth."""
    masks = []
    for thing in scene.objects:
        try:
            mask = read_mask(thing.mask_png)
        except ValueError:
            continue
        if mask.shape == (scene.height, scene.width):
            masks.append(mask)
    image = open_picture(scene.image)
    if scene.depth_png:
        depth = read_depth(scene.depth_png, scene.depth_scale or 1.0)
        colors = Image.fromarray(depth_colors(depth, *depth_range(depth))).resize(image.size, Image.Resampling.NEAREST)
        half = (image.width // 2, 0, image.width, image.height)
        image.paste(colors.crop(half), half)
    return picture(
        image,
        boxes=[Box(b.xyxy, "", color=b.color, title=b.label) for b in boxes],
        masks=mask_layer(masks),
        max_side=300,
        frame=(scene.width, scene.height),
    )


def _phase_card(phase: Phase) -> Html:
    for key, label in (("reward/mean", "mean reward"), ("accuracy", "token accuracy"), ("loss", "loss")):
        points = [
            (float(row["step"]), value_of(row, key)) for row in phase.rows if value_of(row, key) == value_of(row, key)
        ]
        if len(points) > 1:
            curve = Series(label, [x for x, _ in points], [y for _, y in points])
            art: Child = line_plot([curve], smooth=0.85 if len(points) > 12 else 0.0, height=150)
            first, last = points[: max(1, len(points) // 20)], points[-max(1, len(points) // 20) :]
            text = f"{label}: {format_value(_mean(first))} → {format_value(_mean(last))}"
            break
    else:
        art, text = None, ""
    took = f" in {duration(phase.seconds)}" if phase.seconds else ""
    return _step(title_of(phase.name), art, f"{phase.steps:,} steps{took}. {text}.")


def _evaluation_card(run: Run) -> Html | None:
    groups = dict.fromkeys(e.group for e in run.evaluations)
    if not groups:
        return None
    group = next((g for g in groups if g[2] == "sampled"), next(iter(groups)))
    entries = [e for e in run.evaluations if e.group == group]
    values = [
        (label, overall(e.result, "reward"))
        for label, e in zip(column_labels(entries, [run.label] * len(entries)), entries, strict=True)
    ]
    top = max([1e-9, *(value.value for _, value in values if value.value == value.value)])
    art = [
        tag(
            "p",
            tag("span", label, tag("b", value.text())),
            tag("i", class_=f"c{i % 8}", style=f"width:{max(0.0, 100 * value.value / top):.0f}%"),
            class_="mini",
        )
        for i, (label, value) in enumerate(values[-5:])
    ]
    count = entries[-1].result.get("n")
    return _step("Evaluation", art, "Mean reward" + (f" on {count:,} questions." if isinstance(count, int) else "."))


def _mean(points: Sequence[tuple[float, float]]) -> float:
    return sum(y for _, y in points) / len(points)
