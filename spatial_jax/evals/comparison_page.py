"""The page of a comparison: where two results differ, the surest differences first, to be narrowed to a family or to
who is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.evals.page import MAX_PICTURES, MAX_TEXT, answer_list, item_view, kept_responses, record_view, share
from spatial_jax.pages import (
    Child,
    Estimate,
    Html,
    Page,
    callout,
    chip,
    estimate_cell,
    interval_bar,
    number_cards,
    picture,
    searchable,
    table,
    tag,
)

MAX_DIFFERING = 240  # cards, the surest of every family and side
BETTER = ("b better", "a better")


def write_comparison_page(
    comparison: Mapping[str, Any],
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    path: str | Path,
    *,
    items: Sequence[Mapping[str, Any]] = (),
    records: Sequence[QuestionRecord] = (),
) -> Path:
    """Writes one self-contained HTML file about `compare(a, b)`; `items` or `records` bring questions and pictures."""
    page = Page(
        f"{comparison['benchmark']}: b against a",
        subtitle=f"{comparison['n']:,} items that both have · scoring {comparison['scoring']}",
        kicker="spatial_jax comparison",
    )
    names = tag("p", tag("b", "a "), str(comparison["a"]), tag("br"), tag("b", "b "), str(comparison["b"]))
    told = [tag("p", text) for text in _remarks(comparison)]
    page.section(
        "Difference",
        names,
        _cards(comparison),
        _families(comparison),
        callout("note", "To know", *told) if told else None,
        lead="b minus a in points on the same items; 95 % intervals resample scenes.",
    )
    views = {view["id"]: view for view in [*map(item_view, items), *map(record_view, records)]}
    shown = _choose_items(comparison["items"])
    answers = kept_responses(a), kept_responses(b)
    cards = [_card(item, views.get(item["id"]), answers) for item in shown]
    if cards:
        families = dict.fromkeys(item["family"] for item in shown)
        sides = [side for side in BETTER if any(_side(item) == side for item in shown)]
        page.section(
            "Where they differ",
            searchable(
                cards,
                facets={"family": list(families), "who": sides},
                placeholder="search question, answer, id…",
                class_="items two",
            ),
            lead=(
                f"{len(shown)} of {len(comparison['items']):,} items with other scores, the surest first: how likely"
                " the difference has this sign, from how many answers each gave."
            ),
        )
    else:
        page.section("Where they differ", tag("p", "Nowhere: every item has the same score in both.", class_="quiet"))
    return page.write(path)


def _remarks(comparison: Mapping[str, Any]) -> list[str]:
    left = [
        f"{comparison[key]} items are only in {key[-1]} and are left out"
        for key in ("only_a", "only_b")
        if comparison[key]
    ]
    return [*left, *comparison["remarks"]]


def _difference(entry: Mapping[str, Any]) -> Estimate:
    return Estimate(*(100 * float(entry[key]) for key in ("difference", "low", "high")))


def _cards(comparison: Mapping[str, Any]) -> Html:
    overall = comparison["overall"]
    cards: list[tuple[object, object, object]] = []
    if score := overall.get("score"):
        change = _difference(score)
        cards += [(f"{change.value:+.1f}", "points of mean score", f"{change.interval(1)}, p {score['p']:.3f}")]
        cards += [(share(score["a"]), "mean score of a", ""), (share(score["b"]), "mean score of b", "")]
    if test := overall.get("correct", {}).get("mcnemar"):
        told = f"right in b alone, {test['only_a']} in a alone"
        cards.append((f"{test['only_b']}", told, f"McNemar p {test['p']:.3f}"))
    return number_cards(cards)


def _families(comparison: Mapping[str, Any]) -> Html:
    entries = {name: entry for name, entry in comparison["families"].items() if "score" in entry}
    tested = any("mcnemar" in entry.get("correct", {}) for entry in entries.values())
    changes = {name: _difference(entry["score"]) for name, entry in entries.items()}
    most = max([10.0, *(abs(v) for e in changes.values() for v in (e.low, e.high) if v == v)])
    rows: list[list[Child]] = []
    for name, entry in entries.items():
        score, change = entry["score"], changes[name]
        bar = interval_bar([(name, change, 0)], low=-most, high=most, mark=0.0, mark_title="no difference")
        cells: list[Child] = [name, f"{score['n']:,}", share(score["a"]), share(score["b"])]
        cells += [estimate_cell(change, 1), bar, f"{score['p']:.3f}"]
        test = entry.get("correct", {}).get("mcnemar")
        told = [f"{test['only_a']}, {test['only_b']}", f"{test['p']:.3f}"] if test else ["–", "–"]
        rows.append([*cells, *(told if tested else [])])
    heads = ["family", "items", "a", "b", "b − a", "", "p", *(["right in a, b alone", "McNemar p"] if tested else [])]
    return table(heads, rows, numeric=[1, 2, 3, 4, *range(6, len(heads))])


def _side(item: Mapping[str, Any]) -> str:
    return BETTER[0] if item["difference"] > 0 else BETTER[1]


def _choose_items(items: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The surest differences of every family and side, in the order of all."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in items:
        groups.setdefault((item["family"], _side(item)), []).append(item["id"])
    each = max(MAX_DIFFERING // max(len(groups), 1), 1)
    kept = {name for members in groups.values() for name in members[:each]}
    return [item for item in items if item["id"] in kept]


def _card(
    item: Mapping[str, Any], view: Mapping[str, Any] | None, answers: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> tuple[Html, str, dict[str, str]]:
    """(card, searched text, facets): the question with its picture, and both answers below one another."""
    side, asked = _side(item), view or {"question": "", "options": [], "answer": "", "images": []}
    pictures = [picture(image, max_side=640) for image in asked["images"][:MAX_PICTURES]]
    options = [tag("li", str(o)[:400]) for o in asked["options"]]
    rows = [kept.get(item["id"], {}) for kept in answers]
    texts = [[str(t)[:MAX_TEXT] for t in row.get("responses", [])] for row in rows]
    said = [
        tag("div", tag("p", tag("b", f"{name} "), f"{share(item[name])} %", class_="meta"), answer_list(text, row))
        for name, text, row in zip("ab", texts, rows)
    ]
    text = tag(
        "div",
        tag(
            "p",
            chip(side, "good" if side == BETTER[0] else "bad"),
            chip(item["family"]),
            chip(f"{100 * item['confidence']:.0f} % sure", "quiet"),
            class_="meta",
        ),
        tag("p", str(asked["question"])[:MAX_TEXT], class_="question") if asked["question"] else None,
        tag("ul", options, class_="options") if options else None,
        tag("p", "Truth  ", tag("b", str(asked["answer"])[:400]), class_="truth-line") if view else None,
        *said,
        tag("small", item["id"], class_="id"),
    )
    gallery = tag("div", pictures, class_="pictures" if len(pictures) > 1 else "side") if pictures else None
    search = f"{asked['question']} {asked['answer']} {item['id']} {' '.join(t for ts in texts for t in ts)[:2000]}"
    card = tag("div", gallery, text, class_="group small" if len(pictures) == 1 else None)
    return card, search, {"family": item["family"], "who": side}
