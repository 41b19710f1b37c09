"""Two results on the same items, paired: differences with intervals over scenes, McNemar's test for right and wrong,
and how sure the difference on each item is.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from spatial_jax.evals.intervals import mcnemar_p, paired_difference
from spatial_jax.evals.results import align, bounds_text, percent, read_result


def compare(a: Mapping[str, Any] | str | os.PathLike, b: Mapping[str, Any] | str | os.PathLike) -> dict[str, Any]:
    """Paired comparison of two results on the same items: b minus a, by family and "overall".

    Returns {"a", "b", "n", "only_a", "only_b", "families": {family: {"score": ..., "correct": ...}}, "overall": {...},
    "items": [...], "remarks": [...]}, each entry as `paired_difference` gives it, scenes resampled, "correct" with
    "mcnemar" where every answer is right or wrong. Items that only one of them has are left out and counted; items that
    differ come first where the difference is surest. ValueError for results that cannot be compared.
    """
    a, b = (read_result(r) if isinstance(r, (str, os.PathLike)) else r for r in (a, b))
    if a["benchmark"] != b["benchmark"] or a.get("scoring") != b.get("scoring"):
        raise ValueError(
            f"compare needs one benchmark and one scoring, got {a['benchmark']} ({a.get('scoring')}) and"
            f" {b['benchmark']} ({b.get('scoring')})"
        )
    left, right = ({item["id"]: item for item in result["items"]} for result in (a, b))
    common = [key for key in left if key in right]
    if not common:
        raise ValueError("compare: the two results share no item id; were they made from the same data?")

    def entry(keys: Sequence[str]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for field in ("score", "correct"):
            pairs = [(left[k][field], right[k][field], left[k]["scene"]) for k in keys]
            pairs = [p for p in pairs if _known(p[0]) and _known(p[1])]
            if pairs:
                first, second, scenes = zip(*pairs)
                out[field] = {
                    "a": float(np.mean(first)),
                    "b": float(np.mean(second)),
                    **paired_difference(np.array(first), np.array(second), scenes),
                }
                if field == "correct" and set(first) | set(second) <= {0.0, 1.0}:
                    out[field]["mcnemar"] = _mcnemar(first, second)
        return out

    families = {
        f: entry([k for k in common if left[k]["family"] == f])
        for f in dict.fromkeys(left[k]["family"] for k in common)
    }
    items = [_item(left[k], right[k]) for k in common if _known(left[k]["score"]) and _known(right[k]["score"])]
    differing = [item for item in items if item["difference"]]
    return {
        "a": a.get("model", "a"),
        "b": b.get("model", "b"),
        "benchmark": a["benchmark"],
        "scoring": a.get("scoring"),
        "n": len(common),
        "only_a": len(left) - len(common),
        "only_b": len(right) - len(common),
        "families": families,
        "overall": entry(common),
        "remarks": _remarks(a, b),
        "items": sorted(differing, key=lambda item: (-item["confidence"], -abs(item["difference"]), item["id"])),
    }


def _known(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def _mcnemar(first: Sequence[float], second: Sequence[float]) -> dict[str, Any]:
    """How many items only one of the two has right, and the exact p-value of that split."""
    only_a = sum(x > y for x, y in zip(first, second))
    only_b = sum(y > x for x, y in zip(first, second))
    both = sum(x == y == 1.0 for x, y in zip(first, second))
    return {
        "both": both,
        "only_a": only_a,
        "only_b": only_b,
        "neither": len(first) - both - only_a - only_b,
        "p": mcnemar_p(only_a, only_b),
    }


def _item(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """An item's scores and how sure the sign of their difference is: the probability under Beta posteriors (uniform
    priors, normal approximation) of its numbers of answers. One answer each says little, sixteen say much.
    """
    score_a, score_b = float(first["score"]), float(second["score"])
    parts = []
    for item, score in ((first, score_a), (second, score_b)):
        n = int(item.get("answers") or 1)
        mean = (1 + min(max(score, 0.0), 1.0) * n) / (2 + n)
        parts.append((mean, mean * (1 - mean) / (3 + n)))
    (mean_a, variance_a), (mean_b, variance_b) = parts
    z = abs(mean_b - mean_a) / math.sqrt(variance_a + variance_b)
    return {
        "id": first["id"],
        "family": first["family"],
        "scene": first["scene"],
        "a": score_a,
        "b": score_b,
        "difference": score_b - score_a,
        "confidence": 0.5 * (1 + math.erf(z / math.sqrt(2))),
    }


def _remarks(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """What differs between the two besides the policy, and what is not complete."""
    remarks = []
    for name in ("form", "protocol"):
        if (name in a or name in b) and a.get(name) != b.get(name):
            remarks.append(f"{name} differs: a {a.get(name)}; b {b.get(name)}")
    for name in ("rule", "sampling"):
        first, second = a.get(name) or {}, b.get(name) or {}
        keys = [key for key in dict.fromkeys([*first, *second]) if first.get(key) != second.get(key)]
        remarks += [f"{name}: {key} is {first.get(key)} in a, {second.get(key)} in b" for key in keys]
    for letter, result in (("a", a), ("b", b)):
        if result.get("complete") is False:
            remarks.append(f"{letter} is not complete: {'; '.join(result['files']['why'])}")
    return remarks


def compare_table(comparison: Mapping[str, Any]) -> str:
    """Console table of a comparison: b - a in points with its interval and p."""
    tested = any("mcnemar" in entry.get("correct", {}) for entry in comparison["families"].values())
    rows = [["family", "n", "a", "b", "b - a", "95 %", "p", *(["right in a, b only", "McNemar p"] if tested else [])]]
    for name, entry in [*comparison["families"].items(), ("overall", comparison["overall"])]:
        if "score" in entry:
            e = entry["score"]
            rows.append(
                [
                    name,
                    str(e["n"]),
                    percent(e["a"]),
                    percent(e["b"]),
                    f"{100 * e['difference']:+.1f}",
                    bounds_text([e["low"], e["high"]]),
                    f"{e['p']:.4f}",
                    *(_mcnemar_cells(entry) if tested else []),
                ]
            )
    head = f"{comparison['benchmark']} (scoring {comparison['scoring']}): {comparison['n']} items that both have"
    left = (
        f"; {comparison['only_a']} only in a, {comparison['only_b']} only in b"
        if comparison["only_a"] or comparison["only_b"]
        else ""
    )
    lines = [f"a = {comparison['a']}", f"b = {comparison['b']}", head + left, align(rows), *comparison["remarks"]]
    lines.append("95 % and p: scenes resampled and their signs flipped" + ("; McNemar: items alone" if tested else ""))
    return "\n".join(lines)


def _mcnemar_cells(entry: Mapping[str, Any]) -> list[str]:
    test = entry.get("correct", {}).get("mcnemar")
    return [f"{test['only_a']}, {test['only_b']}", f"{test['p']:.4f}"] if test else ["-", "-"]
