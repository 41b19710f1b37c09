"""Reads a run's directory (or a directory of phases) into plain data. Nothing is required: what is missing is left out
of the page.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spatial_jax.metrics.gallery import read_gallery
from spatial_jax.metrics.logged import value_of
from spatial_jax.metrics.pass_rates import read_pass_rate_history
from spatial_jax.metrics.writer import read_metrics
from spatial_jax.reading import parse_json
from spatial_jax.renamed import with_new_names

EARLIER = "earlier_"  # what a run that began anew has put aside
_PARTS = ("gallery", "eval", "checkpoints", "export", "tensorboard", "pass_rates", "skipped", "compiled")
_STAGES = (("before", 0), ("prior", -1), ("base", 0), ("sft", 1), ("dpo", 2), ("grpo", 3))
_ACRONYMS = {"sft": "SFT", "dpo": "DPO", "grpo": "GRPO"}


@dataclasses.dataclass
class Phase:
    """One training directory: rows of metrics.jsonl, config.json, the gallery and pass rates."""

    name: str
    path: Path
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    gallery: list[dict[str, Any]]
    pass_rates: dict[int, list[dict[str, Any]]]

    def _spans(self) -> list[tuple[int, dict[str, Any]]]:
        """Each row with how many steps it stands for: a run may log only every few."""
        rows = sorted((row for row in self.rows if row["step"] > 0), key=lambda row: row["step"])
        return (
            [
                (row["step"] - before, row)
                for row, before in zip(rows, [rows[0]["step"] - 1, *(r["step"] for r in rows)])
            ]
            if rows
            else []
        )

    @property
    def steps(self) -> int:
        """Steps from the first row to the last."""
        return sum(count for count, _ in self._spans())

    @property
    def seconds(self) -> float:
        """Time spent in them, each step taken as long as the next one that was logged."""
        return sum(count * s for count, row in self._spans() if math.isfinite(s := value_of(row, "time/step")))


@dataclasses.dataclass
class Evaluation:
    """One eval/NAME.json. `stage` is its column ("after_grpo"), `kind` "sampled", "greedy" or "" when the file does not
    say.
    """

    name: str
    stage: str
    kind: str
    path: Path
    result: dict[str, Any]

    @property
    def group(self) -> tuple[str, str, str]:
        """Evaluations of one group can be compared."""
        return str(self.result.get("benchmark", "")), str(self.result.get("scoring", "")), self.kind


@dataclasses.dataclass
class Run:
    """A run: its phases in order of time, its evaluations, and the datasets beside it."""

    label: str
    path: Path
    phases: list[Phase]
    evaluations: list[Evaluation]
    datasets: list[tuple[Path, dict[str, Any]]]
    warnings: list[str]


def load_run(path: Path, label: str = "") -> Run:
    """Raises ValueError with one line when `path` holds nothing that can be reported."""
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such directory; give a run's directory (with metrics.jsonl, gallery/ or eval/)")
    run = Run(label or path.resolve().name, path, [], [], [], [])
    folders = [
        path,
        *sorted(
            p for p in path.iterdir() if p.is_dir() and not p.name.startswith((".", EARLIER)) and p.name not in _PARTS
        ),
    ]
    for folder in folders:
        phase = _phase(folder, run)
        if phase and (phase.rows or phase.gallery or phase.pass_rates):
            run.phases.append(phase)
        run.evaluations += _evaluations(folder / "eval", run)
    run.phases.sort(key=_start_time)
    run.evaluations.sort(key=lambda e: (e.group[:2], e.kind == "greedy", e.kind, _order(e)))
    for manifest in sorted(path.glob("*/manifest.json")) + sorted(path.glob("*/*/manifest.json")):
        run.datasets.append((manifest.parent, _json(manifest, run)))
    run.datasets = [(folder, manifest) for folder, manifest in run.datasets if manifest]
    if not (run.phases or run.evaluations or run.datasets):
        damaged = f" ({len(run.warnings)} damaged: {run.warnings[0]})" if run.warnings else ""
        raise ValueError(
            f"{path}: nothing to report{damaged}; a run's directory has metrics.jsonl with rows, gallery/ or"
            " eval/NAME.json"
        )
    return run


def title_of(name: str) -> str:
    """A file or phase name for people: "after_grpo" -> "After GRPO"."""
    words = re.split(r"[_\-\s]+", name)
    return " ".join(_ACRONYMS.get(w.lower(), w if i else w[:1].upper() + w[1:]) for i, w in enumerate(words) if w)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            out.update(flatten(value, name + ".") if value else {name: {}})
        else:
            out[name] = value
    return out


def shown_value(value: Any) -> str:
    """A setting's value as the command line takes it: "a, b" of a list, true and false, "—" where there is none."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown_value, value)) or "()"
    return json.dumps(value, default=str) if isinstance(value, Mapping) else str(value)


def config_difference(configs: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Any]]]:
    """Keys whose values are not the same in all configs, with each config's value (None where the key is missing)."""
    flat = [flatten(config) for config in configs]
    keys = dict.fromkeys(key for config in flat for key in config)
    rows = [(key, [config.get(key) for config in flat]) for key in keys]
    return [
        (key, values)
        for key, values in rows
        if any(json.dumps(v, default=str) != json.dumps(values[0], default=str) for v in values)
    ]


def _phase(folder: Path, run: Run) -> Phase | None:
    if not ((folder / "metrics.jsonl").exists() or (folder / "gallery").is_dir() or (folder / "pass_rates").is_dir()):
        return None
    config = folder / "config.json"
    return Phase(
        folder.resolve().name,
        folder,
        with_new_names(_json(config, run)) if config.exists() else {},
        read_metrics(folder, run.warnings),
        read_gallery(folder, run.warnings),
        read_pass_rate_history(folder, run.warnings),
    )


def _start_time(phase: Phase) -> float:
    time = phase.rows[0].get("time") if phase.rows else None
    return float(time) if isinstance(time, (int, float)) else 0.0


def _evaluations(folder: Path, run: Run) -> list[Evaluation]:
    out = []
    for path in sorted(folder.glob("*.json")):
        result = _json(path, run)
        if isinstance(result.get("families"), dict):
            out.append(evaluation(path, result))
    return out


def evaluation(path: Path, result: dict[str, Any]) -> Evaluation:
    """Names an evaluation by its file: "after_grpo.greedy.json" and "after_grpo_greedy.json" are the greedy one of
    stage after_grpo.
    """
    parts = re.split(r"[._]", path.stem)
    kind = next((k for k in ("greedy", "sampled") if k in parts), "")
    sampling = result.get("sampling")
    if not kind and isinstance(sampling, Mapping) and isinstance(sampling.get("temperature"), (int, float)):
        kind = "greedy" if sampling["temperature"] == 0 else "sampled"
    stage = "_".join(p for p in parts if p not in ("greedy", "sampled")) or path.stem
    return Evaluation(path.stem, stage, kind, path, result)


def _order(entry: Evaluation) -> tuple[int, float, str]:
    name = entry.stage.lower()
    rank = max((rank for word, rank in _STAGES if word in name), default=9)
    if "before" in name:
        rank = 0
    return rank, entry.path.stat().st_mtime if rank == 9 else 0.0, entry.name


def _json(path: Path, run: Run) -> dict[str, Any]:
    try:
        value = parse_json(path.read_text(encoding="utf-8", errors="replace"))
        if isinstance(value, dict):
            return value
        run.warnings.append(f"{path} holds no JSON object; left out")
    except (OSError, ValueError) as error:
        run.warnings.append(f"{path} cannot be read ({error}); left out")
    return {}
