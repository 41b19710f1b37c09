"""The page of a scene dataset: boxes, masks, depth, the cloud from a second viewpoint, measures with their
uncertainty.
"""

from __future__ import annotations

import collections
import json
import math
import random
from typing import Any

import numpy as np

from data_prep.inspect.left_out import left_out
from data_prep.inspect.reasons import VERDICTS, Askable
from data_prep.inspect.records import (
    Records,
    damage_box,
    known,
    origin_section,
    parse_or_empty,
    split_cards,
    split_chip,
)
from spatial_jax.data.records import SceneObject, SceneRecord
from spatial_jax.pages import (
    Box,
    Child,
    Cuboid,
    Html,
    Page,
    bar_list,
    callout,
    chip,
    depth_picture,
    details,
    histogram,
    mask_layer,
    number_cards,
    open_picture,
    picture,
    plus_minus,
    read_depth,
    read_mask,
    render_cloud,
    searchable,
    short,
    table,
    tag,
    unproject,
    with_deviation,
)

CLOUD_POINTS = 60_000


def scenes_page(records: Records, limit: int, seed: int) -> Page:
    """The page of a scene dataset."""
    names: collections.Counter[str] = collections.Counter()
    origin: collections.Counter[str] = collections.Counter()
    depths: dict[str, list[float]] = {}
    objects_a_scene, places = [], []
    for place, scene in records.scan():
        places.append(place)
        origin[f"depth {scene.depth_flag}, camera {scene.intrinsics_source}"] += 1
        names.update(o.name or "(no name)" for o in scene.objects)
        unit = "m" if scene.depth_flag == "metric" else ""
        depths.setdefault(unit, []).extend(o.depth_median for o in scene.objects if known(o.depth_median))
        objects_a_scene.append(len(scene.objects))
    page = Page(f"Scenes: {records.folder.folder.name}", str(records.folder.folder), kicker="data_prep inspect")
    manifest = records.folder.manifest
    items = manifest.get("items") or {}
    cards = split_cards(records, "scenes")
    cards += [
        (f"{sum(objects_a_scene):,}", "objects", f"{np.mean(objects_a_scene):.1f} a scene" if objects_a_scene else ""),
        (f"{items.get('dropped', 0):,}", "dropped by filters", ""),
        (f"{items.get('failed', 0):,}", "failed", ""),
    ]
    spread = tag(
        "div",
        [
            histogram(values, title="Depth of objects" + ("" if unit else ", relative"), unit=unit)
            for unit, values in depths.items()
        ],
        histogram(objects_a_scene, title="Objects a scene"),
        class_="plots",
    )
    origins = tag("div", [chip(f"{key}: {n:,}") for key, n in origin.most_common()], class_="chips")
    listed = details("Names of objects", bar_list([(n, float(c)) for n, c in names.most_common(30)])) if names else None
    page.section(
        "Overview",
        number_cards(cards),
        damage_box(records),
        origins,
        spread if any(depths.values()) else None,
        listed,
        origin_section(manifest),
    )
    out = left_out(records.folder.folder, manifest) or [callout("good", "Nothing was left out.")]
    page.section("Left out", *out, lead="What each stage dropped, could not do or repaired, and why.")
    chosen = sorted(random.Random(seed).sample(places, min(limit, len(places))), key=lambda p: (p[0] != "train", p))
    shown = [scene for place in chosen if (scene := records.get(place)) is not None]
    judged = [Askable(scene) for scene in shown]
    cards_html = [
        (
            scene_card(scene, may),
            _scene_text(scene),
            {
                "family": may.families,
                "verdict": may.verdict,
                "split": scene.split,
                "object": sorted({o.name or "(no name)" for o in scene.objects}),
            },
        )
        for scene, may in zip(shown, judged)
    ]
    splits = sorted({s.split for s in shown}, reverse=True)
    objects = sorted({o.name or "(no name)" for scene in shown for o in scene.objects})
    facets = {
        "family": sorted({name for may in judged for name in may.families}),
        "verdict": [v for v in VERDICTS if any(may.verdict == v for may in judged)],
        "split": splits if len(splits) > 1 else [],
        "object": objects,
    }
    page.section(
        "Scenes",
        searchable(cards_html, facets=facets, placeholder="search object, scene, tag…"),
        lead=f"{len(shown)} of {len(records.places):,}, drawn at random.",
    )
    return page


def _scene_text(scene: SceneRecord) -> str:
    return " ".join([scene.scene_id, scene.source, *scene.tags, *(f"{o.name} {o.caption}" for o in scene.objects)])


def scene_card(scene: SceneRecord, may: Askable) -> Html:
    """Picture with boxes and masks, depth, the cloud from a second viewpoint, every object's measures, and what may be
    asked of it.
    """
    boxes = [
        Box(o.box, o.caption or o.name, color=i, title=f"{o.caption} ({o.confidence:.2f})")
        for i, o in enumerate(scene.objects)
    ]
    frame = (scene.width, scene.height)
    masks, colors, notes = [], [], []
    for i, thing in enumerate(scene.objects):
        if not thing.mask_png:
            continue
        try:
            mask = read_mask(thing.mask_png)
        except ValueError as error:
            notes.append(f"object {thing.object_id}: {error}")
            continue
        if mask.shape != (scene.height, scene.width):
            notes.append(
                f"object {thing.object_id}: mask is {mask.shape[1]}x{mask.shape[0]}, the picture"
                f" {scene.width}x{scene.height}"
            )
            continue
        masks.append(mask)
        colors.append(i)
    unit = "m" if scene.depth_flag == "metric" else ""
    views: list[Child] = [
        picture(scene.image, boxes=boxes, frame=frame, masks=mask_layer(masks, colors), caption="boxes and masks")
    ]
    depth = None
    if scene.depth_png:
        try:
            depth = read_depth(scene.depth_png, scene.depth_scale or 1.0)
            views.append(depth_picture(depth, unit=unit or "(relative)", caption=f"depth, {scene.depth_flag}"))
        except ValueError as error:
            notes.append(str(error))
    cloud = second_view(scene, depth)
    if cloud is not None:
        views.append(picture(cloud, caption="from a second viewpoint", max_side=420))
    chips = [
        split_chip(scene.split),
        chip(f"{scene.width}×{scene.height}"),
        chip(f"depth {scene.depth_flag}"),
        chip(f"camera {scene.intrinsics_source}"),
        chip(may.verdict, "good" if may.verdict == VERDICTS[0] else "warn"),
        *[chip(t) for t in scene.tags[:6]],
    ]
    return tag(
        "div",
        tag("p", tag("b", scene.scene_id), chips, class_="meta"),
        tag("div", views, class_="pictures wide"),
        measures(scene, unit) if scene.objects else tag("p", "No objects.", class_="quiet"),
        tag("ul", [tag("li", note) for note in notes]) if notes else None,
        details(f"What may be asked: {', '.join(may.families) or 'nothing'}", may.table()),
        details("Camera and provenance", _provenance(scene)),
    )


def measures(scene: SceneRecord, unit: str) -> Html:
    """One row an object: depth, size, centre, each with one standard deviation, and how much of it is seen where that
    is known.
    """
    seen = [_visible(o) for o in scene.objects]
    rows = []
    for i, o in enumerate(scene.objects):
        sd = parse_or_empty(o.uncertainty)
        size = (
            " × ".join(_with(v, sd.get(f"extent_{k}")) if known(v) else "?" for k, v in enumerate(o.extent))
            if any(map(known, o.extent))
            else "–"
        )
        center = ", ".join(short(v) for v in o.center) if all(map(known, o.center)) else "–"
        center += f" ({plus_minus(sd['center'])})" if known(sd.get("center", math.nan)) else ""
        spread = f"{short(o.depth_q20)} to {short(o.depth_q80)}" if known(o.depth_q20) else "–"
        rows.append(
            [
                tag("span", tag("i", class_=f"key c{i % 8}"), o.caption or o.name),
                _with(o.depth_median, sd.get("depth_median")),
                spread,
                size,
                center,
                *([seen[i] or "–"] if any(seen) else []),
                f"{o.confidence:.2f}",
                tag("small", _origin(parse_or_empty(o.provenance))),
            ]
        )
    mark = f" ({unit})" if unit else ""
    heads = ["object", f"depth{mark}", "20 to 80 %", f"size{mark}", f"centre{mark}"]
    heads += [*(["visible"] if any(seen) else []), "confidence", "from"]
    return table(heads, rows, numeric=(1, 2, *range(5, len(heads) - 1)))


def _visible(thing: SceneObject) -> str:
    """The share of an object that is seen; "" where nobody has looked: a record holds 1 then."""
    looked = "rendered" in {str(v) for v in parse_or_empty(thing.provenance).values()}
    return f"{100 * thing.visible_fraction:.0f} %" if looked or thing.visible_fraction < 1 else ""


def _with(value: float, sd: Any) -> str:
    return with_deviation(value, float(sd) if isinstance(sd, (int, float)) and known(sd) else math.nan)


def second_view(scene: SceneRecord, depth: np.ndarray | None) -> Any:
    """The cloud (from depth, else from the objects' points) with the objects' boxes, from the side and above; None
    without geometry.
    """
    cuboids = [
        Cuboid(o.center, o.extent, np.array(o.rotation), i)
        for i, o in enumerate(scene.objects)
        if all(map(known, (*o.center, *o.extent)))
    ]
    if depth is not None and len(scene.intrinsics) == 4:
        try:
            colors = np.asarray(open_picture(scene.image).resize((depth.shape[1], depth.shape[0])))
        except ValueError:
            return None
        # Depth of another size than the picture has its own pixels: the intrinsics move with it.
        sx, sy = depth.shape[1] / max(1, scene.width), depth.shape[0] / max(1, scene.height)
        fx, fy, cx, cy = scene.intrinsics
        step = max(1, math.ceil(math.sqrt(depth.size / CLOUD_POINTS)))
        if fx * sx <= 0 or fy * sy <= 0:
            return None
        points, rows, columns = unproject(depth, (fx * sx, fy * sy, cx * sx, cy * sy), step)
        size = (480, int(np.clip(480 * depth.shape[0] / depth.shape[1], 240, 520)))
        return (
            render_cloud(points, colors[rows, columns], cuboids=cuboids, gravity=scene.gravity, size=size)
            if len(points)
            else None
        )
    clouds = [(o.cloud(), i) for i, o in enumerate(scene.objects) if len(o.points) % 6 == 0 and o.points]
    if not clouds:
        return None
    points = np.concatenate([c for c, _ in clouds])
    colors = np.concatenate([np.full((len(c), 3), 90 + 40 * (i % 4), np.uint8) for c, i in clouds])
    return render_cloud(points, colors, cuboids=cuboids, gravity=scene.gravity)


def _origin(provenance: dict[str, Any]) -> str:
    """Where an object's parts come from, and what its label says of it, each once."""
    said = {key if value is True else str(value) for key, value in provenance.items() if value is not False}
    return ", ".join(sorted(said))


def _provenance(scene: SceneRecord) -> Html:
    facts = {
        "source": scene.source,
        "content_hash": scene.content_hash,
        "intrinsics": [round(v, 2) for v in scene.intrinsics],
        "gravity": [round(v, 3) for v in scene.gravity],
        "floor": [round(v, 3) for v in scene.floor],
        "provenance": parse_or_empty(scene.provenance),
        "meta": parse_or_empty(scene.meta),
    }
    return tag("pre", json.dumps(facts, indent=1, ensure_ascii=False))
