"""The page of a question dataset: questions on their pictures with truth, margin and measure, and the answers'
distribution a family.
"""

from __future__ import annotations

import collections
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.inspect.left_out import left_out
from data_prep.inspect.not_asked import not_asked_section
from data_prep.inspect.reasons import ANSWERED, FROM_DEPTH, verdict_of, why_asked
from data_prep.inspect.records import (
    Records,
    config_of,
    damage_box,
    known,
    origin_section,
    parse_or_empty,
    split_cards,
    split_chip,
)
from spatial_jax.data.records import QuestionRecord, SceneObject, SceneRecord, as_stored
from spatial_jax.pages import (
    Box,
    Child,
    ExampleFolder,
    Html,
    Page,
    bar_list,
    chip,
    depth_picture,
    details,
    histogram,
    mask_layer,
    number_cards,
    picture,
    plus_minus,
    read_depth,
    read_mask,
    searchable,
    short,
    table,
    tag,
)


def questions_page(records: Records, limit: int, seed: int, scenes: str) -> Page:
    """The page of a question dataset."""
    families: dict[str, list[tuple[tuple[str, int], str, str, int, float, str]]] = {}
    for place, q in records.scan():
        margin = parse_or_empty(q.meta).get("margin", math.nan)
        families.setdefault(q.family or q.question_type, []).append(
            (
                place,
                q.split,
                as_stored(q.answer),
                q.hops,
                float(margin) if isinstance(margin, (int, float)) else math.nan,
                q.question_type,
            )
        )
    page = Page(f"Questions: {records.folder.folder.name}", str(records.folder.folder), kicker="data_prep inspect")
    manifest = records.folder.manifest
    books = records.folder.folder / "report.json"
    extra = parse_or_empty(books.read_text(errors="replace")) if books.is_file() else {}
    cards = split_cards(records, "questions")
    page.section(
        "Overview",
        number_cards([*cards, (len(families), "families", "")]),
        damage_box(records),
        family_table(families, extra.get("rows") or []),
        origin_section(manifest),
    )
    page.section(
        "Answers",
        tag("div", [answer_card(name, rows) for name, rows in sorted(families.items())], class_="items grid"),
        lead="How often each answer is right, by family. A policy that never looks should gain nothing here.",
    )
    left = left_out(records.folder.folder, manifest)
    page.section(
        "Not asked",
        *not_asked_section(len(records.places), extra, bool(left)),
        *left,
        lead="Candidates that did not clear a margin or would have tilted the balance, and what could not be used.",
    )
    shown = [q for place in _draw_places(families, limit, seed) if (q := records.get(place)) is not None]
    known = find_scenes(scenes or str(config_of(manifest).get("scenes", "")), {q.scene_id for q in shown})
    items = [(question_card(q, known.get(q.scene_id)), _question_text(q), _facets(q)) for q in shown]
    objects = sorted({name for _, _, facets in items for name in facets["object"]})
    splits = sorted(records.folder.splits, reverse=True)
    verdicts = [v for v in ANSWERED if any(of["verdict"] == v for _, _, of in items)]
    facets = {
        "family": sorted(families),
        "verdict": verdicts,
        "split": splits if len(splits) > 1 else [],
        "object": objects,
    }
    page.section(
        "Questions",
        searchable(items, facets=facets, placeholder="search question, answer, object, scene…", class_="items grid"),
        lead=f"{len(shown)} of {len(records.places):,}, drawn at random, the families in turn.",
    )
    return page


def _facets(q: QuestionRecord) -> dict[str, str | list[str]]:
    """What a question can be found by."""
    captions = parse_or_empty(q.meta).get("captions")
    objects = sorted({str(c) for c in captions}) if isinstance(captions, (list, tuple)) else []
    verdict = verdict_of(q, parse_or_empty(q.meta))
    return {"family": q.family or q.question_type, "verdict": verdict, "split": q.split, "object": objects}


def _draw_places(families: Mapping[str, Sequence[tuple[Any, ...]]], limit: int, seed: int) -> list[tuple[str, int]]:
    rng = random.Random(seed)
    queues = [rng.sample([row[0] for row in rows], min(len(rows), limit)) for _, rows in sorted(families.items())]
    out = [queue[i] for i in range(limit) for queue in queues if i < len(queue)]
    return out[:limit]


def _question_text(q: QuestionRecord) -> str:
    meta = parse_or_empty(q.meta)
    captions = map(str, meta.get("captions", ()))
    return " ".join(
        [q.question_id, as_stored(q.question), q.answer, q.family, q.question_type, q.scene_id, q.split, *captions]
    )


def family_table(families: Mapping[str, Sequence[tuple[Any, ...]]], prior_rows: Iterable[Mapping[str, Any]]) -> Html:
    """Counts, types, hops, margins, and what a blind guesser would get."""
    priors = {(r.get("family"), r.get("split")): r for r in prior_rows if isinstance(r, Mapping)}
    rows = []
    for name, entries in sorted(families.items()):
        answers = collections.Counter(e[2] for e in entries)
        top, count = answers.most_common(1)[0]
        margins = sorted(e[4] for e in entries if math.isfinite(e[4]))
        prior = priors.get((name, "train")) or priors.get((name, "heldout")) or {}
        blind = max(
            (float(prior[k]) for k in ("constant", "words", "constant_any") if isinstance(prior.get(k), (int, float))),
            default=math.nan,
        )
        chance = prior.get("chance")
        types = collections.Counter(e[5] for e in entries)
        rows.append(
            [
                name,
                f"{len(entries):,}",
                ", ".join(f"{k} {v}" if len(types) > 1 else k for k, v in types.most_common()),
                f"{np.mean([e[3] for e in entries]):.1f}",
                short(margins[len(margins) // 2]) if margins else "–",
                f"{chance:.2f}" if isinstance(chance, (int, float)) else "–",
                f"{blind:.2f}" if math.isfinite(blind) else "–",
                tag("span", top, tag("small", f"  {100 * count / len(entries):.0f} %")),
            ]
        )
    return table(
        ["family", "count", "type", "hops", "median margin", "chance", "blind", "most frequent answer"],
        rows,
        numeric=(1, 3, 4, 5, 6),
    )


def answer_card(name: str, rows: Sequence[tuple[Any, ...]]) -> Html:
    """The distribution of a family's answers: bars of the most frequent ones, or a histogram of numbers."""
    answers = collections.Counter(row[2] for row in rows)
    numbers = []
    for answer in answers:
        try:
            numbers += [float(answer)] * answers[answer]
        except ValueError:
            break
    body: Child
    if len(numbers) == len(rows) and len(answers) > 8:
        body = histogram(numbers, bins=24)
    else:
        body = tag(
            "div",
            bar_list(
                [(a, c / len(rows)) for a, c in answers.most_common(8)], value=lambda v: f"{100 * v:.0f} %", full=0.5
            ),
            tag("p", tag("small", f"and {len(answers) - 8} more")) if len(answers) > 8 else None,
        )
    margins = [row[4] for row in rows]
    return tag(
        "div",
        tag("h4", f"{name} ({len(rows):,})"),
        body,
        histogram(margins, title="margins", height=60) if len(set(margins)) > 4 else None,
        class_="item",
    )


def question_card(q: QuestionRecord, scene: SceneRecord | None = None) -> Html:
    """Pictures, question, truth, margin, hops, and what the answer was computed from."""
    meta = parse_or_empty(q.meta)
    boxes: list[Box] = []
    if scene is not None:
        named = {str(o) for o in meta.get("objects", ())}
        boxes = [
            Box(o.box, o.caption or o.name, color=i, title=_object_title(o))
            for i, o in enumerate(scene.objects)
            if o.object_id in named
        ]
    if q.question_type == "box":
        numbers = [
            float(v)
            for v in as_stored(q.answer).strip("[] ").replace(",", " ").split()
            if v.replace(".", "", 1).lstrip("-").isdigit()
        ]
        boxes = [Box(numbers, "truth", "truth")] if len(numbers) == 4 else boxes
    sizes = list(zip(q.widths, q.heights))
    masks = _masks(scene, meta) if scene is not None else None
    frames: list[Child] = [
        picture(
            data,
            boxes=boxes if i == 0 else (),
            frame=sizes[i] if i < len(sizes) else None,
            masks=masks if i == 0 else None,
            max_side=420,
        )
        for i, data in enumerate(q.images[:16])
    ]
    chips = [
        chip(q.family),
        chip(q.question_type),
        chip(f"{q.hops} hops") if q.hops > 1 else None,
        split_chip(q.split),
        chip(f"margin {short(float(meta['margin']))}") if isinstance(meta.get("margin"), (int, float)) else None,
        (
            chip(f"known to {plus_minus(float(meta['uncertainty']))}")
            if isinstance(meta.get("uncertainty"), (int, float)) and meta["uncertainty"]
            else None
        ),
        (
            chip(f"asked within {100 * float(meta['tolerance']):.0f} %")
            if isinstance(meta.get("tolerance"), (int, float)) and meta["tolerance"]
            else None
        ),
    ]
    truth = as_stored(q.answer) + (f" {q.unit}" if q.unit else "")
    options = [o for o in q.options if as_stored(o) not in as_stored(q.question)]
    listed: Html | None = None
    if options and q.question_type == "mcq":
        listed = tag(
            "ul", [tag("li", f"{chr(65 + i)}. {as_stored(o)}") for i, o in enumerate(q.options)], class_="options"
        )
    elif options:
        listed = tag("p", tag("small", "one of: ", ", ".join(as_stored(o) for o in q.options)))
    measured = {
        "rule_inputs": meta.get("rule_inputs"),
        "objects": meta.get("captions"),
        **{key: meta.get(key) for key in ("system", "before", "response", "thought", "would_refuse")},
        "reward": parse_or_empty(q.reward),
        "difficulty": parse_or_empty(q.difficulty),
        "template": q.template_id,
        "seed": q.seed,
        "scene": q.scene_id,
        "id": q.question_id,
        "source": q.source,
    }
    facts = json.dumps({k: v for k, v in measured.items() if v not in (None, {}, "")}, indent=1, ensure_ascii=False)
    return tag(
        "div",
        tag("div", frames, class_="pictures") if len(frames) > 1 else frames or tag("p", "no picture", class_="broken"),
        tag("p", [c for c in chips if c], class_="meta"),
        tag("p", as_stored(q.question).replace("<image>", "🖼"), class_="question"),
        listed,
        tag("p", "Truth  ", tag("b", truth), class_="truth-line"),
        tag("p", tag("small", " ".join(why)), class_="why") if (why := why_asked(q, meta)) else None,
        details("What the measure was", tag("pre", facts), _depth_of(q, scene)),
    )


def _masks(scene: SceneRecord, meta: Mapping[str, Any]) -> Any:
    """The masks of the objects that a question names, as one layer; None where there are none to read."""
    named = {str(o) for o in meta.get("objects", ())}
    masks, colors = [], []
    for i, thing in enumerate(scene.objects):
        if thing.object_id not in named or not thing.mask_png:
            continue
        try:
            mask = read_mask(thing.mask_png)
        except ValueError:
            continue
        if mask.shape == (scene.height, scene.width):
            masks.append(mask)
            colors.append(i)
    return mask_layer(masks, colors)


def _depth_of(q: QuestionRecord, scene: SceneRecord | None) -> Html | None:
    """The picture's depth, where the answer comes from it."""
    if scene is None or not scene.depth_png or q.family not in FROM_DEPTH:
        return None
    try:
        depth = read_depth(scene.depth_png, scene.depth_scale or 1.0)
    except ValueError as error:
        return tag("p", str(error), class_="broken")
    unit = "m" if scene.depth_flag == "metric" else "(relative)"
    return depth_picture(depth, unit=unit, caption=f"depth, {scene.depth_flag}")


def _object_title(o: SceneObject) -> str:
    return f"{o.caption}: {short(o.depth_median)} away" if known(o.depth_median) else o.caption


def find_scenes(folder: str, wanted: set[str]) -> dict[str, SceneRecord]:
    """Scenes by id from a scene dataset; empty when it is not there any more."""
    try:
        records = Records(ExampleFolder(folder), SceneRecord)
    except (ValueError, OSError):
        return {}
    found: dict[str, SceneRecord] = {}
    for _, scene in records.scan():
        if scene.scene_id in wanted:
            found[scene.scene_id] = scene
            if len(found) == len(wanted):
                break
    return found
