"""The evaluation page: numbers with intervals and the blind prior, then questions with their pictures and every
response.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.evals.responses import read_responses
from spatial_jax.evals.results import judge_lines
from spatial_jax.pages import (
    Estimate,
    Html,
    Page,
    callout,
    chip,
    details,
    estimate_cell,
    interval_bar,
    number_cards,
    picture,
    searchable,
    table,
    tag,
)

MAX_ITEMS = 240  # items shown with pictures and responses, spread over families and over right and wrong
MAX_TEXT = 4000


def write_page(
    result: Mapping[str, Any],
    path: str | Path,
    *,
    items: Sequence[Mapping[str, Any]] = (),
    records: Sequence[QuestionRecord] = (),
    max_items: int = MAX_ITEMS,
) -> Path:
    """Writes one self-contained HTML file about a result; `items` or `records` bring questions and pictures."""
    title = f"{result.get('title') or result['benchmark']}"
    page = Page(
        title,
        subtitle=(
            f"{result.get('model', '')} · {result['n']} items · {result['samples']} answer(s) each · scoring"
            f" {result['scoring']}"
        ),
        kicker="spatial_jax evaluation",
    )
    page.section(
        "Result",
        _cards(result),
        _families(result),
        *_remarks(result),
        lead="Scores in percent with 95 % intervals over scenes; the mark is what a guesser without pictures scores.",
    )
    shown = _shown(result, [_item_view(i) for i in items] or [_record_view(r) for r in records], max_items)
    if shown:
        responses = _responses(result)
        entries = [_entry(view, item, responses.get(item["id"], {})) for view, item in shown]
        page.section(
            "Answers",
            searchable(entries, groups=list(result["families"])),
            lead=f"{len(shown)} of {result['n']} items, right and wrong ones of every family.",
        )
    return page.write(path)


def _value(value: Any) -> float:
    return math.nan if value is None else float(value)


def _estimate(value: Any, bounds: Any, scale: float = 100.0) -> Estimate:
    low, high = bounds or (None, None)
    return Estimate(_value(value) * scale, _value(low) * scale, _value(high) * scale)


def _cards(result: Mapping[str, Any]) -> Html:
    metrics, intervals = result["metrics"], result.get("intervals", {})
    first = "overall" if "overall" in metrics else next(iter(metrics))
    main = _estimate(metrics[first], intervals.get(first))
    cards: list[tuple[object, object, object]] = [(main.text(1), first, main.interval(1))]
    prior = result.get("prior") or {}
    for name, value in prior.items():
        cards.append(
            (
                f"{100 * _value(value):.1f}",
                "blind guesser" if name == "overall" else f"blind guesser ({name})",
                "no picture seen",
            )
        )
    for name in ("accuracy", "unparsed"):
        if not math.isnan(_value(metrics.get(name))):
            cards.append((f"{100 * _value(metrics[name]):.1f}", name, ""))
    for name in [k for k in metrics if k.startswith("pass@")]:
        cards.append((f"{100 * _value(metrics[name]):.1f}", name, "unbiased"))
    return number_cards(cards)


def _families(result: Mapping[str, Any]) -> Html:
    priors = sorted(
        {k for row in result["families"].values() for k in row if k.startswith("prior_") and k != "prior_answer"}
    )
    ks = sorted(
        {k for row in result["families"].values() for k in row if k.startswith("pass@") and k != "pass@1"},
        key=lambda k: int(k[5:]),
    )
    rows = []
    for name, row in result["families"].items():
        reward, right = _estimate(row["reward"], row["reward_ci"]), _estimate(row["accuracy"], row["accuracy_ci"])
        prior = max((_value(row.get(p)) for p in priors if not math.isnan(_value(row.get(p)))), default=math.nan)
        rows.append(
            [
                name,
                row["n"],
                estimate_cell(reward, 1),
                interval_bar([(name, reward, 0)], low=0, high=100, mark=100 * prior, mark_title="blind guesser"),
                estimate_cell(right, 1),
                *[f"{100 * _value(row.get(k)):.1f}" for k in ks + priors],
                f"{100 * _value(row['unparsed']):.1f}",
            ]
        )
    heads = ["family", "items", "score", "", "accuracy", *ks, *[p.replace("_", " ") for p in priors], "unparsed"]
    return table(heads, rows, numeric=[1, 2, *range(4, len(heads))])


def _remarks(result: Mapping[str, Any]) -> list[Html]:
    out = []
    if result.get("note"):
        out.append(callout("note", "As published", tag("p", result["note"])))
    if result.get("protocol"):
        out.append(callout("note", "Protocol", tag("p", result["protocol"])))
    for kind, entry in (result.get("unparsed") or {}).items():
        shown = [tag("p", f"{e['id']}: {e['text']}") for e in entry["examples"]]
        out.append(details(f"Not read: {entry['count']} {kind}", *shown))
    left = [
        f"{result[k]} {text}"
        for k, text in (
            ("failed", "could not be asked and score 0"),
            ("left_out", "could not be scored"),
            ("unanswered", "have no response"),
            ("cut_off", "answers were cut off at their limit of tokens"),
        )
        if result.get(k)
    ]
    if left:
        out.append(callout("warn", "Items", tag("p", "; ".join(left))))
    if lines := judge_lines(result):
        out.append(callout("note", "Judge", *[tag("p", line) for line in lines]))
    rotation = result.get("rotation")
    if rotation:
        text = ", ".join(f"rotation {k}: {100 * v:.1f}" for k, v in rotation["accuracy"].items())
        out.append(
            callout(
                "note",
                "Option order",
                tag(
                    "p",
                    f"{text}. Right under every order {100 * rotation['circular']:.1f}, under any"
                    f" {100 * rotation['any']:.1f}; {100 * rotation['changed']:.1f} % of items change with the order of"
                    " their options.",
                ),
            )
        )
    return out


def _item_view(item: Mapping[str, Any]) -> dict[str, Any]:
    question = item.get("question") or item.get("prompt") or item.get("text") or item.get("caption") or ""
    gold = next(
        (
            item[k]
            for k in ("answer", "ground_truth", "correct_answer", "gt_answer", "oracle_answer", "answer_value", "label")
            if item.get(k) is not None
        ),
        "",
    )
    options = item.get("options") or item.get("choices") or []
    return {
        "id": str(item["id"]),
        "question": question,
        "options": options if isinstance(options, (list, tuple)) else [str(options)],
        "answer": gold,
        "images": [i for i in item.get("images") or [] if i],
    }


def _record_view(record: QuestionRecord) -> dict[str, Any]:
    return {
        "id": record.question_id,
        "question": record.question,
        "options": list(record.options),
        "answer": f"{record.answer} {record.unit}".strip(),
        "images": [i for i in record.images if i],
    }


def _shown(
    result: Mapping[str, Any], views: Sequence[Mapping[str, Any]], limit: int
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    by_id = {view["id"]: view for view in views}
    groups: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for item in result["items"]:
        if item["id"] in by_id:
            groups.setdefault((item["family"], _value(item["score"]) >= 0.5), []).append(item)
    each = max(limit // max(len(groups), 1), 1)
    return [(by_id[item["id"]], item) for members in groups.values() for item in members[:each]][:limit]


def _responses(result: Mapping[str, Any]) -> Mapping[str, Any]:
    path = result.get("responses")
    return read_responses(path) if path and Path(path).exists() else {}


def _entry(view: Mapping[str, Any], item: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Html, str, str]:
    score = _value(item["score"])
    kind = "good" if score >= 0.999 else "bad" if score <= 0.001 else "warn"
    texts = [str(t)[:MAX_TEXT] for t in row.get("responses", [])]
    answers = (
        tag("ol", [tag("li", tag("pre", text)) for text in texts[:16]])
        if texts
        else tag("p", row.get("error") or "no response kept", class_="quiet")
    )
    body = tag(
        "div",
        tag("div", [picture(image, max_side=320) for image in view["images"][:4]], class_="row"),
        tag("p", chip(f"{100 * score:.0f}", kind), " ", chip(item["family"], "quiet"), " ", tag("small", item["id"])),
        tag("p", str(view["question"])[:MAX_TEXT]),
        tag("ul", [tag("li", str(option)[:400]) for option in view["options"]]) if view["options"] else None,
        tag("p", "truth: ", tag("b", str(view["answer"])[:400])),
        details(f"{len(texts)} response(s)", answers, open_=len(texts) == 1),
    )
    search = f"{view['question']} {view['answer']} {item['id']} {' '.join(texts)[:2000]}"
    return body, search, item["family"]
