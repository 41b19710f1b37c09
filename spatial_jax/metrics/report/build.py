"""The report page of one run (with its phases) or of several runs laid over each other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from spatial_jax.metrics.figures import duration
from spatial_jax.metrics.report.clips import clip_of, clip_section
from spatial_jax.metrics.report.curves import (
    alarm_list,
    config_block,
    curves,
    explain,
    pass_rate_map,
    phase_alarms,
    timings,
)
from spatial_jax.metrics.report.gallery import gallery_section
from spatial_jax.metrics.report.heldout import Scorer, heldout_entries
from spatial_jax.metrics.report.results import Compare, column_labels, headline, number, results_section
from spatial_jax.metrics.report.runs import Evaluation, Phase, Run, config_difference, shown_value, title_of
from spatial_jax.metrics.report.scenes import find_scenes
from spatial_jax.metrics.report.side import side_by_side
from spatial_jax.metrics.report.story import pipeline, story_section
from spatial_jax.pages import Child, Page, callout, command, number_cards, table, tag


def build_report(
    runs: Sequence[Run],
    *,
    title: str = "",
    story: Sequence[Mapping[str, Any]] = (),
    compare: Compare | None = None,
    gallery: int = 60,
    next_commands: Sequence[str] = (),
    scorer: Scorer | None = None,
) -> Page:
    """The page. `compare` gives the paired difference of two evaluation results (spatial_jax.evals.compare); without it
    intervals are compared unpaired. `gallery` limits the cards; `next_commands` end the page. `scorer` scores saved
    responses of held-out questions (spatial_jax.evals.heldout), for a gallery of them where the run wrote none.
    """
    alone = len(runs) == 1
    page = Page(
        title or (f"Run {runs[0].label}" if alone else "Comparison of " + ", ".join(run.label for run in runs)),
        _subtitle(runs),
        kicker="spatial_jax report",
    )
    evaluations = [(run.label, e) for run in runs for e in run.evaluations]
    entries = [e for _, e in evaluations]
    if not alone:
        entries = sorted(entries, key=lambda e: (e.group[:2], e.kind == "greedy", e.kind))
    owners = [next(label for label, e in evaluations if e is entry) for entry in entries]
    labels = column_labels(entries, owners)
    _overview(page, runs, entries, labels, compare, story)
    if not alone:
        page.section("Side by side", side_by_side(runs, compare), lead="A row a run; a column's head sorts them.")
    if entries:
        page.section(
            "Results",
            results_section(entries, labels),
            lead="What the policy answers, measured the same way each time.",
        )
    if not alone:
        _difference(page, runs)
    _training(page, runs)
    _gallery(page, runs, gallery, scorer)
    for run in runs:
        if clip := clip_of(run):
            page.section(
                "A clip" if alone else f"A clip: {run.label}",
                clip_section(clip),
                lead=f"{clip[0].scene_id}: its frames, and what is asked about them with the true answers.",
            )
    _closing(page, runs, next_commands)
    return page


def _overview(
    page: Page,
    runs: Sequence[Run],
    entries: Sequence[Evaluation],
    labels: Sequence[str],
    compare: Compare | None,
    story: Sequence[Mapping[str, Any]],
) -> None:
    cards, sentences = headline(entries, labels, compare, every=len(runs) > 1)
    alarms = [(phase, phase_alarms(phase)) for run in runs for phase in run.phases]
    count = sum(len({span.name for span in spans}) for _, spans in alarms)
    steps = sum(phase.steps for run in runs for phase in run.phases)
    seconds = sum(phase.seconds for run in runs for phase in run.phases)
    if steps:
        cards.append((f"{steps:,}", "training steps", duration(seconds) if seconds else ""))
        cards.append((str(count), "alarms" if count != 1 else "alarm", "all in band" if not count else "see below"))
    parts: list[Child] = [number_cards(cards) if cards else None, sentences]
    for run in runs:
        strip = pipeline(run) if len(runs) == 1 else None
        parts += [tag("h3", "What was done"), strip] if strip else []
    if story:
        parts += [tag("h3", "The commands"), story_section(story)]
    page.section("Overview", *parts)


def _subtitle(runs: Sequence[Run]) -> str:
    times = [number(row.get("time")) for run in runs for phase in run.phases for row in phase.rows[-1:]]
    last = max((t for t in times if math.isfinite(t)), default=0.0)
    when = time.strftime("%d %B %Y, %H:%M", time.gmtime(last)) + " UTC" if last > 0 else ""
    running = f"Last step written {when}." if when else ""
    return f"{', '.join(str(run.path) for run in runs[:4])}. {running}".strip()


def _difference(page: Page, runs: Sequence[Run]) -> None:
    parts: list[Child] = []
    for name in dict.fromkeys(phase.name if len(run.phases) > 1 else "" for run in runs for phase in run.phases):
        configs = [next((p.config for p in run.phases if len(run.phases) == 1 or p.name == name), {}) for run in runs]
        rows = [
            [tag("code", key), *[tag("code", shown_value(v)) for v in values]]
            for key, values in config_difference(configs)
        ]
        if name:
            parts.append(tag("h3", title_of(name)))
        parts.append(
            table(["key", *[run.label for run in runs]], rows)
            if rows
            else tag("p", "Same configuration.", class_="quiet")
        )
    if parts:
        page.section("What differs", *parts, lead="Keys of the configuration that are not the same in all runs.")


def _training(page: Page, runs: Sequence[Run]) -> None:
    names = dict.fromkeys(_phase_key(run, phase) for run in runs for phase in run.phases if phase.rows)
    for name in names:
        found = [
            (run.label, phase) for run in runs for phase in run.phases if phase.rows and _phase_key(run, phase) == name
        ]
        parts: list[Child] = []
        if len(found) == 1:
            phase = found[0][1]
            notes = explain(phase)
            spans = phase_alarms(phase)
            if any(key in row for row in phase.rows[:50] for key in ("reward/mean", "reward")) or spans:
                parts.append(alarm_list(spans, int(phase.rows[-1]["step"])))
            parts.append(tag("ul", [tag("li", note) for note in notes]) if notes else None)
        else:
            for label, phase in found:
                if spans := phase_alarms(phase):
                    parts += [tag("h3", f"Alarms: {label}"), alarm_list(spans, int(phase.rows[-1]["step"]))]
        parts.append(curves(found))
        for label, phase in found:
            grid = pass_rate_map(phase)
            if grid is not None:
                parts += [tag("h3", "Pass-rate map" + (f": {label}" if len(found) > 1 else "")), grid]
        bars = timings(found if len(found) > 1 else [(title_of(found[0][1].name), found[0][1])])
        parts += [tag("h3", "Timings"), bars] if bars is not None else []
        parts += [config_block(phase) for _, phase in found] if len(found) == 1 else []
        page.section(f"Training: {title_of(name)}" if name else "Training", *parts)


def _phase_key(run: Run, phase: Phase) -> str:
    """Phases are laid over each other by name; a run that is one phase has none."""
    return phase.name if len(run.phases) > 1 or phase.path != run.path else ""


def _gallery(page: Page, runs: Sequence[Run], limit: int, scorer: Scorer | None) -> None:
    entries: list[dict[str, Any]] = []
    for run in runs:
        own: list[dict[str, Any]] = []
        for phase in run.phases:
            for entry in phase.gallery:
                given = str(entry.get("phase") or "train")
                own.append({**entry, "phase": phase.name if given == "train" else given})
        if scorer is not None and not any(e["record"].get("split") == "heldout" for e in own):
            found = heldout_entries(run, scorer, limit)
            # Runs beside one another: what each answers at its end, to the same questions.
            own += found if len(runs) == 1 else [e for e in found if e["step"] == found[-1]["step"]]
        entries += own if len(runs) == 1 else [{**e, "run": run.label} for e in own]
    if not entries or limit <= 0:
        return
    heldout = [e for e in entries if e["record"].get("split") == "heldout"]
    trained = [e for e in entries if e["record"].get("split") != "heldout"]
    datasets = [dataset for run in runs for dataset in run.datasets]
    scenes = find_scenes(datasets, {str(e["record"].get("scene_id", "")) for e in entries})
    legend = tag(
        "p",
        tag(
            "small",
            "Boxes: bright green is the truth, dashed amber and red are answers by their reward, other colours the"
            " objects that a question is about. The bar is the reward, the number beside it the advantage. Click a"
            " picture to enlarge it.",
        ),
    )
    if heldout:
        page.section(
            "Gallery",
            legend,
            gallery_section(heldout, scenes, limit),
            lead="Held-out questions drawn at random, each with its group of answers.",
        )
    if trained:
        page.section(
            "Training gallery",
            legend if not heldout else None,
            gallery_section(trained, scenes, limit),
            lead="Groups as training saw them: what was rewarded, and what was pushed up or down.",
        )


def _closing(page: Page, runs: Sequence[Run], commands: Sequence[str]) -> None:
    warnings = [w for run in runs for w in run.warnings]
    parts: list[Child] = (
        [callout("warn", "Left out", tag("ul", [tag("li", w) for w in warnings[:20]]))] if warnings else []
    )
    parts += [command(c) for c in commands]
    if parts:
        page.section("Next" if commands else "Remarks", *parts)
