"""Suites: several benchmarks under one name, with their authors' protocol and one row of numbers.

`easi8` is the required eight of the EASI leaderboard in its order, scored as its default backend does; `general` is
what reports of general ability show.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.evals.results import align, judged_text, passed_over
from spatial_jax.evals.settings import PUBLISHED


@dataclasses.dataclass(frozen=True)
class Member:
    """One benchmark of a suite: the leaderboard's column and key, which of our metrics it is, and its protocol."""

    benchmark: str
    column: str
    key: str
    protocol: str
    metric: str = "overall"


@dataclasses.dataclass(frozen=True)
class Suite:
    """`scoring`: with which it is scored unless --scoring is given; `average`: whether the plain mean is shown;
    `published`: rows of others in the members' order, None what they do not give.
    """

    title: str
    members: tuple[Member, ...]
    scoring: str
    average: bool
    note: str
    published: Mapping[str, tuple[float | None, ...]] = dataclasses.field(default_factory=dict)


SUITES: dict[str, Suite] = {
    "easi8": Suite(
        "EASI leaderboard: the required eight",
        (
            Member("vsi_bench", "VSI-Bench", "vsi_bench", "32 frames, mean of 8 types"),
            Member("mmsi_bench", "MMSI-Bench", "mmsi_bench", "not circular, over items"),
            Member("mindcube", "MindCube-Tiny", "mindcube_tiny", "raw questions of the tiny set, over items"),
            Member("viewspatial", "ViewSpatial", "viewspatial", "over items"),
            Member("site_bench", "SITE", "site", "pictures and videos (32 frames) pooled, chance-adjusted"),
            Member("blink", "BLINK", "blink", "validation, not circular, over items"),
            Member("srbench_3d", "3DSRBench", "3dsrbench", "vanilla, over items"),
            Member("embspatial", "EmbSpatial", "embspatial", "over items"),
        ),
        "vlmevalkit",
        False,
        "read by rules (exact_matching); the leaderboard asks a judge where more than 2.5 % of a benchmark is not read,"
        " and prints no average of the eight; published: EASI's own check of its VLMEvalKit backend, the Qwen2.5-VL"
        " rows with 128 frames of VSI-Bench",
        {
            "Qwen2.5-VL-3B": (26.6, 28.6, 37.88, 31.97, 33.1, None, None, None),
            "Qwen2.5-VL-7B": (33.7, 26.8, None, 36.85, 37.6, None, None, None),
            "Qwen3-VL-8B": (None, None, None, None, None, 66.7, None, 77.7),
            "Cambrian-S-7B": (62.93, None, None, None, None, None, None, None),
        },
    ),
    "general": Suite(
        "General ability",
        (
            Member("mmbench", "MMBench", "mmbench", "dev, right in every rotation"),
            Member("mmstar", "MMStar", "mmstar", "over items"),
            Member("realworldqa", "RealWorldQA", "realworldqa", "over items"),
            Member("hallusionbench", "HallusionBench", "hallusionbench", "mean of aAcc, fAcc, qAcc"),
            Member("ocrbench", "OCRBench", "ocrbench", "of 1,000, / 10"),
            Member("docvqa", "DocVQA", "docvqa", "validation, ANLS"),
            Member("textvqa", "TextVQA", "textvqa", "validation, VQA accuracy"),
            Member("chartqa", "ChartQA", "chartqa", "relaxed accuracy"),
            Member("mme", "MME", "mme", "share of 2,800"),
            Member("ai2d", "AI2D", "ai2d", "over items"),
            Member("seed_bench", "SEED", "seed_bench", "over items"),
            Member("pope", "POPE", "pope", "F1"),
        ),
        "official",
        True,
        "differences between models need a paired test on the same items (--compare)",
    ),
}


def expand(names: Sequence[str]) -> tuple[list[str], str]:
    """(benchmark names with suites replaced by their members, the suite's name or ""). ValueError for two suites."""
    suites = [name for name in names if name.lower() in SUITES]
    if len(suites) > 1:
        raise ValueError(f"--benchmarks: one suite at a time, not {' and '.join(suites)}")
    out: list[str] = []
    for name in names:
        out += [m.benchmark for m in SUITES[name.lower()].members] if name.lower() in SUITES else [name]
    return list(dict.fromkeys(out)), suites[0].lower() if suites else ""


def _latest(suite: Suite, results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Mapping[str, Any]]]:
    """model and response form -> benchmark -> its last result of the suite's benchmarks."""
    members = {member.benchmark for member in suite.members}
    models: dict[str, dict[str, Mapping[str, Any]]] = {}
    for result in results:
        if result["benchmark"] in members:
            models.setdefault(_row_name(result), {})[str(result["benchmark"])] = result
    return models


def _row_name(result: Mapping[str, Any]) -> str:
    form = result.get("form") or PUBLISHED
    return str(result.get("model", "model")) + ("" if form == PUBLISHED else f" [{form}]")


def _value(member: Member, result: Mapping[str, Any] | None) -> float | None:
    value = (result or {}).get("metrics", {}).get(member.metric)
    return None if value is None or math.isnan(float(value)) else 100 * float(value)


def suite_text(name: str, results: Sequence[Mapping[str, Any]], absent: Mapping[str, str] | None = None) -> str:
    """A row a model in the leaderboard's order, the protocol of every column, and what is missing or not complete.
    `absent`: benchmark -> why it was not run. ValueError where no result is of the suite.
    """
    suite = SUITES[name]
    models = _latest(suite, results)
    if not models and not absent:
        raise ValueError(
            f"{name}: none of the results is of its benchmarks ({', '.join(m.key for m in suite.members)})"
        )
    rows = [["model", *(m.column for m in suite.members), *(["Avg"] if suite.average else [])]]
    lines: list[str] = []
    for result in results:
        shown = models.get(_row_name(result), {}).get(str(result["benchmark"]), result)
        if shown is not result and (said := passed_over(result, shown, shown)):
            lines.append(f"  {_row_name(result)}: {result['benchmark']}: {said}")
    for model, own in models.items():
        values = [_value(member, own.get(member.benchmark)) for member in suite.members]
        texts = ["-" if v is None else f"{v:.2f}" for v in values]
        if suite.average:
            known = [v for v in values if v is not None]
            texts.append(f"{sum(known) / len(known):.2f}" if len(known) == len(values) else "-")
        rows.append([model, *texts])
        lines += _remarks(suite, model, own, absent or {})
    for model, given in suite.published.items():
        rows.append([f"{model} (published)", *("-" if v is None else f"{v:.2f}" for v in given)])
    protocol = [f"  {m.column}: {m.protocol}" for m in suite.members]
    return "\n".join([suite.title, align(rows), *protocol, *lines, suite.note])


def _remarks(suite: Suite, model: str, own: Mapping[str, Mapping[str, Any]], absent: Mapping[str, str]) -> list[str]:
    lines = []
    form = next((r["form"] for r in own.values() if r.get("form") not in (None, PUBLISHED)), "")
    if suite.published and form:
        lines.append(f"  {model}: asked in {form}, the leaderboard asks as published (--prompt_mode=published)")
    for member in suite.members:
        result = own.get(member.benchmark)
        if result is None:
            lines.append(
                f"  {model}: {member.column} is missing"
                + (f": {absent[member.benchmark]}" if member.benchmark in absent else "")
            )
            continue
        if result.get("scoring") != suite.scoring:
            lines.append(f"  {model}: {member.column} is scored {result.get('scoring')}, the suite is {suite.scoring}")
        if result.get("complete") is False:
            lines.append(f"  {model}: {member.column} is not complete: {'; '.join(result['files']['why'])}")
        judged = judged_text(result)
        lines += [f"  {model}: {member.column}: {judged}"] if judged else []
    return lines


_TYPES_CHOICE = ("object_rel_direction", "object_rel_distance", "route_planning", "obj_appearance_order")


def _sub_scores(member: Member, result: Mapping[str, Any]) -> dict[str, float | None]:
    ours = ("overall", "accuracy", "unparsed", "pass_gap")  # not the benchmark's own
    metrics = {k: v for k, v in result["metrics"].items() if k not in ours and not k.startswith(("pass@", "best@"))}
    if member.key == "vsi_bench":
        kinds = ("object_abs_distance", "object_counting", "object_size_estimation", "room_size_estimation")
        named = {k: k for k in kinds} | {k: f"{k}_accuracy" for k in _TYPES_CHOICE}
    elif member.key == "3dsrbench":
        metrics["overall"] = result["metrics"].get("overall")
        named = {k: k for k in ("overall", *result["families"])} | {"flip_circular": "circ_eval_overall"}
    elif member.key == "embspatial":
        named = {k: k for k in ("ai2thor", "mp3d", "scannet")}
    elif member.key == "site":
        named = {k: f"{k}_caa" for k in metrics}
    elif member.key == "blink":
        named = {k: k.lower() for k in metrics}
    else:
        named = {k: k for k in metrics}
    kept = {name: metrics[k] for k, name in named.items() if metrics.get(k) is not None}
    return {name: round(100 * float(v), 4) if not math.isnan(float(v)) else None for name, v in sorted(kept.items())}


def _submitted_remarks(members: Sequence[Member], own: Mapping[str, Mapping[str, Any]]) -> list[str]:
    known = [(m.column, own[m.benchmark]) for m in members if m.benchmark in own]
    asked = [f"{column} asked in {r['form']}" for column, r in known if r.get("form") not in (None, PUBLISHED)]
    judged = [f"{column} judged by {r['judge']['model']}" for column, r in known if "graded" in (r.get("judge") or {})]
    return [*asked, *judged, *(f"{column} not complete" for column, r in known if r.get("complete") is False)]


def submission(results: Sequence[Mapping[str, Any]], model: str) -> dict[str, Any]:
    """easi_results.json of one model: the leaderboard's keys in its order, numbers 0 to 100 with four decimals, null
    for what was not run.
    """
    suite = SUITES["easi8"]
    rows = _latest(suite, [r for r in results if str(r.get("model", "model")) == model])
    own = {name: result for row in rows.values() for name, result in row.items()}
    members = sorted(suite.members, key=lambda member: member.key)
    scores = {m.key: _value(m, own.get(m.benchmark)) for m in members}
    return {
        "modelName": model
        if model.count("/") == 1 and not model.startswith("/")
        else f"local/{model.rstrip('/').rsplit('/', 1)[-1]}",
        "modelType": "finetuned",
        "precision": "bfloat16",
        "revision": "main",
        "weightType": "Original",
        "baseModel": "",
        "backend": "vlmevalkit" if all(r.get("scoring") == "vlmevalkit" for r in own.values()) else "lmmseval",
        "remarks": "; ".join(_submitted_remarks(members, own)),
        "scores": {key: None if value is None else round(value, 4) for key, value in scores.items()},
        "subScores": {m.key: _sub_scores(m, own[m.benchmark]) for m in members if m.benchmark in own},
    }
