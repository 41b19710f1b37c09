"""The evaluation page: numbers with intervals and the blind prior, then questions with their pictures and every
response.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spatial_jax.data import QuestionRecord
from spatial_jax.evals.responses import read_responses
from spatial_jax.evals.results import judge_lines
from spatial_jax.metrics.report.results import blind_remark, prior_of
from spatial_jax.pages import (
    Child,
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
MAX_PICTURES = 8
VERDICTS = ("right", "partly", "wrong", "not scored")


def write_page(
    result: Mapping[str, Any],
    path: str | Path,
    *,
    items: Sequence[Mapping[str, Any]] = (),
    records: Sequence[QuestionRecord] = (),
    max_items: int = MAX_ITEMS,
) -> Path:
    """Writes one self-contained HTML file about a result; `items` or `records` bring questions and pictures."""
    answers = "one answer" if result["samples"] == 1 else f"{result['samples']} answers"
    page = Page(
        f"{result.get('title') or result['benchmark']}",
        subtitle=f"{result.get('model', '')} · {result['n']:,} items, {answers} each · scoring {result['scoring']}",
        kicker="spatial_jax evaluation",
    )
    page.section(
        "Result",
        _cards(result),
        blind_remark(result["families"], 100.0, 1),
        _families(result),
        _every_figure(result),
        *_remarks(result),
        lead="Scores in percent with 95 % intervals over scenes; the dashed mark is the best guess without pictures.",
    )
    shown = _choose_items(result, [item_view(i) for i in items] or [record_view(r) for r in records], max_items)
    if shown:
        responses = kept_responses(result)
        entries = [_entry(view, item, responses.get(item["id"], {})) for view, item in shown]
        verdicts = [v for v in VERDICTS if any(facets["verdict"] == v for _, _, facets in entries)]
        page.section(
            "Answers",
            searchable(
                entries,
                facets={"family": list(result["families"]), "verdict": verdicts},
                placeholder="search question, answer, id…",
                class_="items two",
            ),
            lead=f"{len(shown)} of {result['n']:,} items, right and wrong ones of every family.",
        )
    return page.write(path)


def number_of(value: Any) -> float:
    return math.nan if value is None else float(value)


def estimate_of(value: Any, bounds: Any, scale: float = 100.0) -> Estimate:
    low, high = bounds or (None, None)
    return Estimate(number_of(value) * scale, number_of(low) * scale, number_of(high) * scale)


def share(value: Any) -> str:
    number = number_of(value)
    return "–" if math.isnan(number) else f"{100 * number:.1f}"


def _cards(result: Mapping[str, Any]) -> Html:
    """The few figures to look at first, named so that nobody has to look them up."""
    metrics, intervals = result["metrics"], result.get("intervals", {})
    first = "overall" if "overall" in metrics else next(iter(metrics))
    main = estimate_of(metrics[first], intervals.get(first))
    cards: list[tuple[object, object, object]] = [
        (main.text(1), "mean score" if first == "overall" else first, main.interval(1))
    ]
    prior = {name: value for name, value in (result.get("prior") or {}).items() if "accuracy" not in name}
    if known := [number_of(v) for v in prior.values() if not math.isnan(number_of(v))]:
        cards.append((f"{100 * max(known):.1f}", "best blind guess", "the score of one who sees no picture"))
    if not math.isnan(number_of(metrics.get("accuracy"))):
        cards.append((share(metrics["accuracy"]), "% of answers right", ""))
    ks = sorted(int(k[5:]) for k in metrics if k.startswith("pass@") and k[5:].isdigit())
    if len(ks) > 1:
        cards.append((share(metrics[f"pass@{ks[-1]}"]), f"% right at least once in {ks[-1]} answers", ""))
    if number_of(metrics.get("unparsed")) > 0:
        cards.append((share(metrics["unparsed"]), "% of answers that could not be read", ""))
    return number_cards(cards)


def _families(result: Mapping[str, Any]) -> Html:
    """A row a family: score and interval, the best blind guess, how many are right, how many were not read."""
    rows: list[list[Child]] = []
    unread = any(number_of(row["unparsed"]) > 0 for row in result["families"].values())
    for name, row in result["families"].items():
        reward, right = estimate_of(row["reward"], row["reward_ci"]), estimate_of(row["accuracy"], row["accuracy_ci"])
        blind = prior_of(row, "reward")
        bar = interval_bar([(name, reward, 0)], low=0, high=100, mark=100 * blind, mark_title="best blind guess")
        cells: list[Child] = [name, f"{row['n']:,}", estimate_cell(reward, 1), share(blind), bar]
        cells.append(estimate_cell(right, 1))
        rows.append([*cells, share(row["unparsed"])] if unread else cells)
    heads = ["family", "items", "score", "blind", "", "% right", *(["% not read"] if unread else [])]
    return table(heads, rows, numeric=[1, 2, 3, *range(5, len(heads))])


def _every_figure(result: Mapping[str, Any]) -> Html:
    """All metrics and all priors by family, folded, with what their names mean."""
    intervals = result.get("intervals", {})
    metrics = [
        [tag("code", name), share(value), estimate_of(value, intervals.get(name)).interval(1), _meaning(name)]
        for name, value in result["metrics"].items()
    ]
    priors = [
        [tag("code", f"prior {name}"), share(value), "", _meaning(f"prior_{name}")]
        for name, value in (result.get("prior") or {}).items()
    ]
    known = ("n", "scenes", "reward", "accuracy", "unparsed")
    rows = result["families"].values()
    keys = [
        key
        for key in dict.fromkeys(key for row in rows for key in row if key not in known)
        if any(isinstance(row.get(key), (int, float)) for row in rows)
    ]
    by_family = [
        [name, *(share(row[key]) if isinstance(row.get(key), (int, float)) else "–" for key in keys)]
        for name, row in result["families"].items()
    ]
    return details(
        "Every figure",
        table(["figure", "percent", "95 %", "what it is"], metrics + priors, numeric=[1]),
        table(["family", *(tag("code", key) for key in keys)], by_family, numeric=range(1, len(keys) + 1))
        if keys
        else None,
    )


def _meaning(name: str) -> str:
    """What a figure's name stands for; "" for a benchmark's own."""
    told = {
        "overall": "mean score, all items alike",
        "macro": "mean of the families' scores, all families alike",
        "accuracy": "share of answers that are right",
        "unparsed": "share of answers that could not be read",
    }
    if name.startswith("pass@"):
        return f"share of items that {name[5:]} answers solve at least once (unbiased)"
    if name.startswith("prior_"):
        by = "the commonest answer of a family" if "constant" in name else "an answer chosen by the question's words"
        what = "share right" if "accuracy" in name else "score"
        return (
            f"{what} without pictures, by {by}" if "constant" in name or "words" in name else f"{what} without pictures"
        )
    return told.get(name, "")


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


def item_view(item: Mapping[str, Any]) -> dict[str, Any]:
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


def record_view(record: QuestionRecord) -> dict[str, Any]:
    return {
        "id": record.question_id,
        "question": record.question,
        "options": list(record.options),
        "answer": f"{record.answer} {record.unit}".strip(),
        "images": [i for i in record.images if i],
    }


def _choose_items(
    result: Mapping[str, Any], views: Sequence[Mapping[str, Any]], limit: int
) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    by_id = {view["id"]: view for view in views}
    groups: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for item in result["items"]:
        if item["id"] in by_id:
            groups.setdefault((item["family"], number_of(item["score"]) >= 0.5), []).append(item)
    each = max(limit // max(len(groups), 1), 1)
    return [(by_id[item["id"]], item) for members in groups.values() for item in members[:each]][:limit]


def kept_responses(result: Mapping[str, Any]) -> Mapping[str, Any]:
    path = result.get("responses")
    return read_responses(path) if path and Path(path).exists() else {}


def _entry(
    view: Mapping[str, Any], item: Mapping[str, Any], row: Mapping[str, Any]
) -> tuple[Html, str, dict[str, str]]:
    """(card, searched text, facets) of an item: its picture beside question, truth and what was answered."""
    score = number_of(item["score"])
    verdict = VERDICTS[3 if math.isnan(score) else 0 if score >= 0.999 else 2 if score <= 0.001 else 1]
    kind = {"right": "good", "wrong": "bad", "partly": "warn"}.get(verdict, "quiet")
    texts = [str(t)[:MAX_TEXT] for t in row.get("responses", [])]
    pictures = [picture(image, max_side=640) for image in view["images"][:MAX_PICTURES]]
    side = tag("div", pictures, class_="pictures" if len(pictures) > 1 else "side")
    options = (
        tag("ul", [tag("li", str(o)[:400]) for o in view["options"]], class_="options") if view["options"] else None
    )
    told = verdict if verdict in ("right", "wrong") else f"{verdict}: {share(score)} %"
    text = tag(
        "div",
        tag("p", chip(told, kind), chip(item["family"]), class_="meta"),
        tag("p", str(view["question"])[:MAX_TEXT], class_="question"),
        options,
        tag("p", "Truth  ", tag("b", str(view["answer"])[:400]), class_="truth-line"),
        answer_list(texts, row),
        tag("small", item["id"], class_="id"),
    )
    search = f"{view['question']} {view['answer']} {item['id']} {' '.join(texts)[:2000]}"
    card = tag("div", side if pictures else None, text, class_="group small" if len(pictures) == 1 else None)
    return card, search, {"family": item["family"], "verdict": verdict}


def answer_list(texts: Sequence[str], row: Mapping[str, Any]) -> Html:
    """What was answered, the same answers as one with their count, the commonest first."""
    if not texts:
        return tag("p", row.get("error") or "no response kept", class_="quiet")
    counted = collections.Counter(text.strip() for text in texts).most_common()
    rows = [
        tag(
            "div",
            tag("span", f"{n}×" if len(texts) > 1 else "", class_="quiet"),
            tag("div", text or tag("span", "(empty)", class_="quiet"), class_="text"),
            class_="answer-row plain",
        )
        for text, n in counted
    ]
    shown, rest = rows[:4], rows[4:]
    more = details(f"{len(rest)} other answers", tag("div", rest, class_="answers")) if rest else None
    return tag("div", tag("div", shown, class_="answers"), more)
