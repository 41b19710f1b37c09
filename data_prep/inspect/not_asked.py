"""What a question dataset does not ask: refused by which margin and what would let it in, left out for which reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spatial_jax.pages import Child, Html, callout, details, short, table, tag


def not_asked_section(asked: int, report: Mapping[str, Any], left: bool) -> list[Child]:
    """Parts of the section from a dataset's report.json ({} when there is none). `left`: items were skipped besides."""
    if not report:
        return [callout("note", "Not known", tag("p", "There is no report.json beside this dataset."))]
    refused, reasons = _refused_rows(report.get("refused")), _counts(report.get("not_asked"))
    found = [str(line) for line in report.get("found") or () if not str(line).startswith("refused ")]
    parts: list[Child] = [tag("p", f"{asked:,} questions were asked.")]
    if not (refused or reasons or left):
        parts.append(callout("good", "Nothing was refused or left out."))
    if refused:
        total = sum(count for _, _, count, *_ in refused)
        parts += [tag("h3", f"{total:,} candidates refused by a margin"), _margins(refused)]
    if reasons:
        parts += [tag("h3", "Left out for other reasons"), _reasons(reasons)]
    if found:
        parts.append(details("What was found in the files", tag("ul", [tag("li", line) for line in found])))
    return parts


def _counts(value: Any) -> list[tuple[str, int]]:
    rows = value.items() if isinstance(value, Mapping) else ()
    return sorted(((str(k), int(v)) for k, v in rows if isinstance(v, (int, float)) and v), key=lambda e: -e[1])


def _refused_rows(value: Any) -> list[tuple[str, str, int, Any, Any, Any]]:
    """(family, margin, count, limit, value that lets half in, value that lets nine tenths in), most first."""
    rows = [
        (str(family), str(margin), int(row.get("count") or 0), row.get("limit"), row.get("half"), row.get("most"))
        for family, margins in (value.items() if isinstance(value, Mapping) else ())
        for margin, row in (margins.items() if isinstance(margins, Mapping) else ())
        if isinstance(row, Mapping)
    ]
    return sorted(rows, key=lambda row: -row[2])


def _margins(rows: list[tuple[str, str, int, Any, Any, Any]]) -> Html:
    def figure(value: Any) -> str:
        return short(float(value)) if isinstance(value, (int, float)) else "–"

    cells = [[f, tag("code", f"margins.{m}"), f"{n:,}", *map(figure, rest)] for f, m, n, *rest in rows]
    heads = ["family", "margin", "refused", "it is", "half pass at", "nine tenths pass at"]
    note = "A margin is moved by --set=margins.KEY=VALUE; a candidate may be refused by several."
    return tag("div", table(heads, cells, numeric=range(2, 6)), tag("p", tag("small", note)))


def _reasons(rows: list[tuple[str, int]]) -> Html:
    """One row a reason, with what it counts: scenes, objects and rows do not add up."""
    cells = []
    for reason, count in rows:
        head, _, rest = reason.partition(": ")
        if reason.startswith("language: "):
            cells.append(["", f"wording: {rest}", f"{count:,}", "questions"])
        elif reason.startswith("object: "):
            cells.append(["", rest, f"{count:,}", "objects"])
        elif rest in ("would tilt the balance", "nothing past its margins"):
            told = "what was left would tilt the balance" if "tilt" in rest else rest
            cells.append([head, told, f"{count:,}", "scenes"])
        else:
            cells.append(["", reason, f"{count:,}", "scenes" if reason == "no usable object" else "items"])
    return table(["family", "reason", "count", "of"], cells, numeric=(2,))
