"""The papers' tables out of evaluation results: Li 2025's four columns, vsGRPO's VSI-Bench rows, Spatial-SSRL's seven,
ViLaSR's; what each holds stands in paper_tables.py.

Li publishes no list of subcategories; the mapping here is written into every table (specs of each column), scores are
compared as deltas. A column is the unweighted mean of the subcategories that are there ("macro"), the mean over their
items stands beside it. What is missing, not complete, or asked and scored otherwise than in the paper is said.
"""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_jax.evals.comparison import compare
from spatial_jax.evals.paper_tables import TABLES, Part, Table
from spatial_jax.evals.results import align, passed_over
from spatial_jax.evals.settings import PUBLISHED
from spatial_jax.forms import NO_FORMAT, USUAL

Results = Mapping[str, Mapping[str, Any]]  # benchmark -> its result
_SHOWN = ("difference", "low", "high", "n", "scenes")


def _part_value(part: Part, results: Results, key: str = "") -> tuple[float, float, int] | None:
    """(macro value, micro value, items) of a part, None when its result or families are not there. `key`: pass@k in
    the score's place.
    """
    result = results.get(part.benchmark)
    if result is None:
        return None
    if part.metric:
        value = result["metrics"].get(key or part.metric)
        known = value is not None and not math.isnan(float(value))
        return (float(value), float(value), int(result["n"])) if known else None
    rows = [
        row
        for name, row in result["families"].items()
        if (not part.families or name in part.families) and row.get(key or "reward") is not None
    ]
    if not rows:
        return None
    rewards, counts = np.array([r[key or "reward"] for r in rows], float), np.array([r["n"] for r in rows], float)
    return float(rewards.mean()), float((rewards * counts).sum() / counts.sum()), int(counts.sum())


def _form(table: Table, result: Mapping[str, Any]) -> str:
    """The paper's word for the response form of a result; else the form's own name, "" as published."""
    form = str(result.get("form") or PUBLISHED)
    own = "" if form == PUBLISHED else form
    if (word := table.scorings.get(str(result.get("scoring")))) is not None:
        return word
    if result.get("scoring") == "reward":
        return ""  # questions of one's own stand beside whatever form the rest was asked in
    return table.forms.get(form, own)


def _rows(
    table: Table, results: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Mapping[str, Any]]], dict[str, list[str]]]:
    """(row's name -> benchmark -> result, row's name -> what is not shown of it). Of several results, the one scored as
    in the paper counts, then the last.
    """
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    passed = collections.defaultdict[str, list[str]](list)
    shared: list[tuple[str, Mapping[str, Any]]] = []
    for result in results:
        model, form = str(result.get("model", "model")), _form(table, result)
        if result.get("scoring") == "reward":
            shared.append((model, result))
            continue
        benchmark = str(result["benchmark"])
        wanted = {table.protocol.get(benchmark, {}).get("scoring"), *table.scorings}
        name = f"{model} [{form}]" if form else model
        own = rows.setdefault(name, {})
        known = own.get(benchmark)
        if known is None or result.get("scoring") in wanted or known.get("scoring") not in wanted:
            own[benchmark] = result
        if known is not None and (said := passed_over(known, result, own[benchmark])):
            passed[name].append(f"{benchmark}: {said}")
    for model, result in shared:
        if standing := _of_own_rooms(table, result):
            name = f"{model} [{_own_asking(table, result)}], own rooms"
            if name in rows:  # another set of rooms, asked alike
                name += f" ({result['benchmark']})"
            rows[name] = {table.own[0]: standing}
            continue
        names = [name for name in rows if name.partition(" [")[0] == model] or [model]
        for name in names:
            own = rows.setdefault(name, {})
            if "heldout" in own and (said := passed_over(own["heldout"], result, result)):
                passed[name].append(f"heldout: {said}")
            own["heldout"] = result
    return rows, passed


def _own_asking(table: Table, result: Mapping[str, Any]) -> str:
    """How self-built questions were asked: the table's word for their form, and whether answers were sampled."""
    form = str((result.get("rule") or {}).get("format") or NO_FORMAT)
    sampled = float((result.get("sampling") or {}).get("temperature") or 0) > 0
    return table.forms.get(USUAL if form == NO_FORMAT else form, form) + (", sampled" if sampled else "")


def _of_own_rooms(table: Table, result: Mapping[str, Any]) -> dict[str, Any]:
    """A result of self-built questions as one of the benchmark whose families they share; {} where they share none. Its
    average is that of the families that are there.
    """
    benchmark, prefix = table.own
    families = {name.removeprefix(prefix): row for name, row in result["families"].items() if name.startswith(prefix)}
    if not prefix or not families:
        return {}
    metrics = {name: row["reward"] for name, row in families.items() if row.get("reward") is not None}
    mean = float(np.mean(list(metrics.values()))) if metrics else float("nan")
    return {**result, "benchmark": benchmark, "metrics": {**metrics, "overall": mean}}


def build_table(name: str, results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A row a model and form: {"name", "title", "scorings", "columns": [...], "rows": {model: {column: {"macro",
    "micro", "n", "parts": {...}, "pass": {"pass@8": ...}}}}, "missing": {model: [part labels]}, "differs": {model:
    [texts]}, "deltas": {model: ...}, "mapping", "published", "average", "note"}. Values x100. "deltas" has every row
    but the first of its form: {"from": that one, "columns": {column: macro minus its macro, None where the two were not
    asked alike}, "unlike": {benchmark: [texts]}, "paired": {benchmark: the difference on the same items with its
    interval}}. ValueError for an unknown table or no usable result.
    """
    if name not in TABLES:
        raise ValueError(f"no table {name!r}; there are {', '.join(TABLES)}")
    table = TABLES[name]
    rows: dict[str, Any] = {}
    missing: dict[str, list[str]] = {}
    differs: dict[str, list[str]] = {}
    used: set[str] = set()
    named, passed = _rows(table, results)
    for model, own in named.items():
        cells = {column: _cell(parts, own) for column, parts in table.columns.items()}
        if not any(cell["n"] for cell in cells.values()):
            continue
        rows[model] = cells
        parts = [part for column in table.columns.values() for part in column]
        missing[model] = [part.label() for part in parts if _part_value(part, own) is None]
        shown = {part.benchmark: own[part.benchmark] for part in parts if part.benchmark in own}
        used |= {f"{benchmark}: {result.get('scoring')}" for benchmark, result in shown.items()}
        differs[model] = [text for n, result in shown.items() for text in _differences(table, n, result)]
        differs[model] += passed.get(model, [])
    if not rows:
        raise ValueError(
            f"table {name}: none of the results is of its benchmarks"
            f" ({', '.join(sorted({p.benchmark for c in table.columns.values() for p in c}))})"
        )
    return {
        "name": name,
        "title": table.title,
        "scorings": sorted(used),
        "columns": list(table.columns),
        "rows": rows,
        "missing": missing,
        "differs": differs,
        "forms": _missing_forms(table, list(rows)),
        "deltas": _deltas(table, rows, named),
        "mapping": {column: [part.label() for part in parts] for column, parts in table.columns.items()},
        "published": {model: list(values) for model, values in table.published.items()},
        "average": list(table.average),
        "note": table.note,
    }


def _deltas(table: Table, rows: Mapping[str, Any], named: Mapping[str, Results]) -> dict[str, Any]:
    """What each row gained over the first of its response form: before and after a training, where they are named in
    that order.
    """
    first: dict[str, str] = {}
    out = {}
    for name, cells in rows.items():
        before = first.setdefault(name.partition(" [")[2], name)
        if before == name:
            continue
        both = {n: (named[before][n], result) for n, result in named[name].items() if n in named[before]}
        unlike = {n: texts for n, (a, b) in both.items() if (texts := _unlike(a, b))}
        columns = dict[str, float | None]()
        for column, parts in table.columns.items():
            a, b = rows[before][column], cells[column]
            lone = {part.benchmark for part in parts if (part.label() in a["parts"]) != (part.label() in b["parts"])}
            if a["macro"] is not None and b["macro"] is not None and lone:
                unlike.setdefault(column, []).append(f"only one of them has {', '.join(sorted(lone))}")
            asked_alike = not lone and not any(part.benchmark in unlike for part in parts if part.label() in b["parts"])
            columns[column] = b["macro"] - a["macro"] if asked_alike and b["macro"] is not None else None
        out[name] = {
            "from": before,
            "columns": columns,
            "unlike": unlike,
            "paired": {benchmark: _paired(a, b) for benchmark, (a, b) in both.items()},
        }
    return out


_LIMITS = ("min_pixels", "max_pixels")


def _unlike(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """How two results were asked or scored otherwise, so that their difference would not be the policies'."""

    def told(result: Mapping[str, Any]) -> dict[str, Any]:
        limits = {key: value for key, value in (result.get("policy") or {}).items() if key in _LIMITS}
        asked = {**(result.get("sampling") or {}), **limits, **(result.get("asked") or {})}
        asked.pop("seed", None)
        return {"scoring": result.get("scoring"), "items": result.get("n"), **asked}

    first, second = told(before), told(after)
    same = before.get("weights") and before.get("weights") == after.get("weights")
    texts = ["both are of the same weights"] if same else []
    return texts + [f"{k} {first[k]} and {second[k]}" for k in first if k in second and first[k] != second[k]]


def _paired(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any] | str:
    """The difference on the same items, x100, with its interval over scenes; or why there is none."""
    try:
        score = compare(before, after)["overall"]["score"]
    except (ValueError, KeyError) as error:
        return f"not paired: {error}"
    return {key: score[key] if key in ("n", "scenes") else 100 * score[key] for key in _SHOWN}


def _cell(parts: Sequence[Part], results: Results) -> dict[str, Any]:
    found = {part.label(): v for part in parts if (v := _part_value(part, results)) is not None}
    items = sum(v[2] for v in found.values())
    keys = {
        key
        for part in parts
        for key in results.get(part.benchmark, {}).get("metrics", {})
        if key.startswith("pass@") and key != "pass@1"
    }
    passes = {}
    for key in sorted(keys, key=lambda key: int(key[5:])):
        values = [v[0] for part in parts if (v := _part_value(part, results, key)) is not None]
        if len(values) == len(found):
            passes[key] = 100 * float(np.mean(values))
    return {
        "macro": 100 * float(np.mean([v[0] for v in found.values()])) if found else None,
        "micro": 100 * sum(v[1] * v[2] for v in found.values()) / items if items else None,
        "n": items,
        "parts": {label: 100 * v[0] for label, v in found.items()},
        "pass": passes,
    }


def _differences(table: Table, benchmark: str, result: Mapping[str, Any]) -> list[str]:
    """What a result says of its protocol that the paper says otherwise, and why it is not complete."""
    sampling = result.get("sampling") or {}
    known = {
        "scoring": result.get("scoring"),
        **sampling,
        **(result.get("policy") or {}),
        **(result.get("asked") or {}),
    }
    texts = []
    for key, paper in table.protocol.get(benchmark, {}).items():
        ours = known.get(key)
        if ours is None:
            texts.append(f"{benchmark}: {key} not known (paper: {paper})")
        elif ours != paper and not (key == "scoring" and ours in table.scorings):
            texts.append(f"{benchmark}: {key} {ours} (paper: {paper})")
    if result.get("complete") is False:
        texts.append(f"{benchmark}: not complete: {'; '.join(result['files']['why'])}")
    return texts


def _missing_forms(table: Table, names: Sequence[str]) -> dict[str, list[str]]:
    """Model -> the forms that the table compares and that it was not asked in, with the flag that asks so."""
    flags: dict[str, str] = {}
    for form, word in table.forms.items():
        flags.setdefault(word, f"{word} (--prompt_mode={form})")
    models: dict[str, set[str]] = {}
    for name in names:
        model, _, form = name.partition(" [")
        models.setdefault(model, set()).add(form.partition("]")[0].partition(",")[0])  # "vanilla, sampled], own rooms"
    lacking = {model: [flag for word, flag in flags.items() if word not in words] for model, words in models.items()}
    return {model: texts for model, texts in lacking.items() if texts}


def average_rows(tables: Sequence[Mapping[str, Any]], row: str) -> dict[str, Any]:
    """One row's cells as the means over several tables (seeds of a setting): macro and micro; a column that one of them
    lacks is None.
    """
    cells = {}
    for column in tables[0]["columns"]:
        found = [table["rows"][row][column] for table in tables]
        whole = all(cell["macro"] is not None for cell in found)
        cells[column] = {
            **found[0],
            **{key: float(np.mean([c[key] for c in found])) if whole else None for key in ("macro", "micro")},
        }
    return cells


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.1f}"


def _with_average(table: Mapping[str, Any], values: Sequence[float | None]) -> list[float | None]:
    if not table["average"]:
        return list(values)
    chosen = [values[table["columns"].index(column)] for column in table["average"]]
    mean = None if any(v is None for v in chosen) else float(np.mean([v for v in chosen if v is not None]))
    return [*values, mean]


def _paired_lines(model: str, change: Mapping[str, Any]) -> list[str]:
    """A benchmark a line: the difference on the same items."""
    lines = []
    for benchmark, paired in change["paired"].items():
        text = (
            paired
            if isinstance(paired, str)
            else f"{paired['difference']:+.1f}, 95 % {paired['low']:+.1f} to {paired['high']:+.1f}"
            f" (mean over {paired['n']} items that both have)"
        )
        lines.append(f"  {model} - {change['from']}: {benchmark}: {text}")
    for what, texts in change["unlike"].items():
        lines.append(f"  {model} - {change['from']}: {what}: no difference is told: {'; '.join(texts)}")
    return lines


def table_text(table: Mapping[str, Any]) -> str:
    """The table for a console: macro (micro) a column, pass@k below where there are samples, what each row gained over
    the first, the published rows, the mapping, what is missing, the scoring of every number and what differs from the
    paper's protocol.
    """
    columns = table["columns"]
    rows = [["model", *columns, *(["Avg"] if table["average"] else [])]]
    for model, cells in table["rows"].items():
        macro = _with_average(table, [cells[c]["macro"] for c in columns])
        several = [len(cells[c]["parts"]) > 1 for c in columns]
        texts = [
            _number(v) + (f" ({_number(cells[columns[i]]['micro'])})" if i < len(columns) and several[i] else "")
            for i, v in enumerate(macro)
        ]
        rows.append([model, *texts])
        for key in dict.fromkeys(key for c in columns for key in cells[c]["pass"]):
            values = [cells[c]["pass"].get(key) for c in columns]
            rows.append([f"{model} {key}", *map(_number, _with_average(table, values))])
    for model, change in table["deltas"].items():
        values = _with_average(table, list(change["columns"].values()))
        rows.append([f"{model} - {change['from']}", *("-" if v is None else f"{v:+.1f}" for v in values)])
    for model, values in table["published"].items():
        rows.append([f"{model} (published)", *map(_number, _with_average(table, values))])
    lines = [
        table["title"],
        align(rows),
        "column = unweighted mean of its parts (in brackets: mean over items); scoring " + "; ".join(table["scorings"]),
    ]
    lines += [f"  {column}: {'; '.join(parts)}" for column, parts in table["mapping"].items()]
    lines += [f"  not there for {model}: {'; '.join(labels)}" for model, labels in table["missing"].items() if labels]
    lines += [f"  {model} was not asked: {'; '.join(texts)}" for model, texts in table["forms"].items()]
    lines += [line for model, change in table["deltas"].items() for line in _paired_lines(model, change)]
    lines += [f"  {model}: {text}" for model, texts in table["differs"].items() for text in texts]
    return "\n".join(lines + ([table["note"]] if table["note"] else []))
