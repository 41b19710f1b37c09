"""Experiment trackers as sinks of the metrics: Weights & Biases and trackio, which are called the same way."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import math
import os
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spatial_jax.pages import one_line, say

TRACKERS = ("wandb", "trackio")


def check_trackers(sinks: tuple[str, ...]) -> None:
    """ValueError, one line, where a named tracker is not installed: said before a model is loaded."""
    for name in sinks:
        if name in TRACKERS and importlib.util.find_spec(name) is None:
            raise ValueError(
                f"config.log.sinks names {name!r}, which is not installed; pip install {name}, or leave it out"
            )


@dataclasses.dataclass(frozen=True)
class Tracked:
    """What trackers call a run: their project, its name there ("": its folder's), its settings."""

    project: str = "spatial_jax"
    title: str = ""
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Tracker:
    """One run of a tracker. A run that resumes goes on under the id that WORKDIR/NAME.id holds. What fails here is told
    once and ends the tracking, never the training: metrics.jsonl has every row anyway.

    Args:
      name: one of TRACKERS.
      workdir: the run's directory; wandb's own files go to `workdir/wandb` (trackio's to $TRACKIO_DIR).
      tracked: what the run is called there.
    """

    def __init__(self, name: str, workdir: Path, tracked: Tracked):
        self.name = name
        try:
            module = importlib.import_module(name)
            title = tracked.title or workdir.resolve().name
            self._run = _start(name, module, workdir, tracked.project, title, dict(tracked.config))
        except Exception as error:  # a tracker raises classes of its own
            cure = "; WANDB_MODE=offline needs no account" if name == "wandb" else ""
            raise ValueError(f"{name} does not start: {one_line(error, 200)}{cure}") from error

    def row(self, row: Mapping[str, Any]) -> None:
        """One row's finite numbers at its step."""
        if self._run is None:
            return
        values = {
            key: value
            for key, value in row.items()
            if key != "time" and isinstance(value, (int, float)) and math.isfinite(value)
        }
        try:
            if self.name == "trackio":
                self._run.log({key: value for key, value in values.items() if key != "step"}, step=int(row["step"]))
            else:
                self._run.log(values)
        except Exception as error:
            self._fail(error)

    def close(self) -> None:
        """Waits until what was logged is kept or sent."""
        run, self._run = self._run, None
        try:
            if run is not None:
                run.finish()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._run = None
        say(f"{self.name}: {one_line(error, 200)}; it gets no more rows, metrics.jsonl does", stream=sys.stderr)


def _start(name: str, module: Any, workdir: Path, project: str, title: str, config: dict[str, Any]) -> Any:
    settings = json.loads(json.dumps(config, default=str))
    if name == "trackio":
        # trackio knows a run by its name: the id keeps two runs of one name apart.
        return module.init(project=project, name=f"{title}-{_run_id(workdir, name)}", config=settings, resume="allow")
    quiet = module.Settings(silent=True, console="off") if hasattr(module, "Settings") else None
    run = module.init(
        project=project,
        name=title,
        id=_run_id(workdir, name),
        resume="allow",
        dir=str(workdir),
        config=settings,
        settings=quiet,
    )
    # Steps that a killed run had logged past its checkpoint come again: by their own column, not by wandb's counter.
    run.define_metric("*", step_metric="step")
    return run


def _run_id(workdir: Path, name: str) -> str:
    """The tracker's id of this run, kept beside it so that a resumed run goes on there."""
    path = workdir / f"{name}.id"
    try:
        known = path.read_text().strip()
    except OSError:
        known = ""
    if not known.isalnum():
        known = uuid.uuid4().hex[:8]
        temporary = path.with_suffix(".id.tmp")
        temporary.write_text(known + "\n")
        os.replace(temporary, path)
    return known
