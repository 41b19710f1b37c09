"""Runs a list of ordinary commands one after another, echoing each, and remembers which are done, so that a second run
resumes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from spatial_jax.options import command_text

EXIT_PREEMPTED = 75  # a training that was asked to stop and has saved (spatial_jax.checkpoints, which needs packages)


@dataclasses.dataclass(frozen=True)
class Step:
    """One command: `args` follow the Python interpreter, e.g. ("-m", "spatial_jax.train", "--config=...")."""

    name: str
    what: str
    args: tuple[str, ...]
    minutes: float  # expected on two idle cores; only for the time left that is shown

    @property
    def command(self) -> str:
        """As a user would type it."""
        return "python " + command_text(self.args)


def train_args(
    recipe: str, workdir: str | Path, model: str | Path, datasets: Mapping[str, float] | Sequence[str], *more: str
) -> tuple[str, ...]:
    """`python -m spatial_jax.train` of a recipe on datasets, with their shares where they are given."""
    shares = tuple(datasets.values()) if isinstance(datasets, Mapping) else ()
    return (
        "-m",
        "spatial_jax.train",
        f"--config={recipe}",
        f"--workdir={workdir}",
        f"--config.model.path={model}",
        "--config.data.paths=(" + "".join(f"'{name}'," for name in datasets) + ")",
        *(("--config.data.weights=(" + "".join(f"{share:g}," for share in shares) + ")",) if shares else ()),
        *more,
    )


def say(text: str) -> None:
    print(text, flush=True)


class StepRunner:
    """Runs steps in order below `root`; `root/.steps/NAME.json` records a finished one together with the commands that
    led to it. `pace`: how many times as long as expected a step takes here; what steps then took corrects it.
    """

    def __init__(self, root: Path, steps: Sequence[Step], pace: float = 1.0):
        self.root, self.steps, self.pace = root, list(steps), pace
        self.seconds: dict[str, float] = {}

    def _stamp(self, step: Step) -> Path:
        return self.root / ".steps" / f"{step.name}.json"

    def _key(self, position: int) -> str:
        """Changes when this command or any before it changes: what came out of other inputs is not reused."""
        return hashlib.sha256("\n".join(s.command for s in self.steps[: position + 1]).encode()).hexdigest()

    def _done(self, position: int) -> float | None:
        try:
            stamp = json.loads(self._stamp(self.steps[position]).read_text())
            return float(stamp["seconds"]) if stamp["key"] == self._key(position) else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):  # no stamp, or none of ours: the step is run
            return None

    def minutes_left(self) -> float:
        """Of the steps that are not done, at the pace known so far."""
        return self.pace * sum(s.minutes for at, s in enumerate(self.steps) if self._done(at) is None)

    def run(self) -> int:
        """0 when all steps are done; else the exit code of the one that failed (130 for Ctrl-C), after one line that
        says how to go on.
        """
        (self.root / ".steps").mkdir(parents=True, exist_ok=True)
        started, first_pace, taken, expected = time.monotonic(), self.pace, 0.0, 0.0
        for position, step in enumerate(self.steps):
            seconds = self._done(position)
            if seconds is not None:
                self.seconds[step.name] = seconds
                say(f"[{position + 1}/{len(self.steps)}] {step.what}: done before ({seconds:.0f} s), kept")
                continue
            left = self.pace * sum(s.minutes for s in self.steps[position:])
            say(
                f"\n[{position + 1}/{len(self.steps)}] {step.what}   (about {self.pace * step.minutes:.1f} min,"
                f" {left:.0f} min to the end)\n    $ {step.command}"
            )
            # From here on what it and all after it left may be of another command: killed midway, they are run again.
            for later in self.steps[position:]:
                self._stamp(later).unlink(missing_ok=True)
            begun = time.monotonic()
            code = self._call(step)
            if code:
                say(
                    f"\nstopped in step {position + 1} ({step.what}), exit code {code}. What is finished is kept: run"
                    " the same command again to go on."
                )
                return code
            self.seconds[step.name] = time.monotonic() - begun
            taken, expected = taken + self.seconds[step.name] / 60, expected + step.minutes
            self.pace = (first_pace + taken) / (1.0 + expected)  # the first guess weighs as much as one minute's steps
            stamp = self._stamp(step).with_suffix(".tmp")
            stamp.write_text(
                json.dumps({"key": self._key(position), "command": step.command, "seconds": self.seconds[step.name]})
            )
            os.replace(stamp, self._stamp(step))
        say(f"\nall {len(self.steps)} steps done; this run took {(time.monotonic() - started) / 60:.1f} min")
        return 0

    @staticmethod
    def _call(step: Step) -> int:
        child = subprocess.Popen([sys.executable, *step.args])
        try:
            return child.wait()
        except KeyboardInterrupt:  # the terminal sent it to the child too, which saves and leaves
            try:
                child.wait(timeout=60)
            except subprocess.TimeoutExpired:
                child.kill()
            return 130
