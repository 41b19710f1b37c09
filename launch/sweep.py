r"""Trains every member of a recipe's sweep() and compares them: one after another, or several at once.

    python -m launch.sweep --config=configs/kl_ablation.py --workdir=runs/kl \
        --config.model.path=DIR --config.data.paths='("DIR",)'

Options that start with --config. go to every member. --dry_run lists the members. Run again, it skips finished members
and resumes the others; a member that fails does not end the sweep. --then='-m spatial_jax.evaluate
--model={workdir}/export --workdir={workdir} ...' runs after each training. Results: WORKDIR/sweep.json,
WORKDIR/sweep.html, and one run's directory a member.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from launch.steps import EXIT_PREEMPTED, say
from launch.sweep_results import write_results
from spatial_jax.checkpoints import RunLock
from spatial_jax.ending import leave
from spatial_jax.evals.paper_tables import TABLES
from spatial_jax.options import Listed, Parser, command_text, list_parts
from spatial_jax.reading import parse_json
from spatial_jax.shipped import shipped_path

RESTARTS = 3  # times that a preempted member is started again at once
TRAIN = ("-m", "spatial_jax.train")


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a sweep: its overrides, its directory's name, and its commands (arguments of the Python
    interpreter).
    """

    name: str
    overrides: dict[str, Any]
    commands: tuple[tuple[str, ...], ...]

    @property
    def key(self) -> str:
        """Changes with anything the member is told."""
        return hashlib.sha256(json.dumps(self.commands).encode()).hexdigest()


def member_name(overrides: dict[str, Any]) -> str:
    """A directory name that tells the overrides, e.g. "kl_coef=0.0001,seed=2"; long ones are cut and made unique by a
    hash.
    """
    parts = []
    for key, value in overrides.items():
        if key == "data.seed" and overrides.get("train.seed") == value:
            continue  # repetitions name one seed
        shown = "+".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        parts.append(f"{key.rsplit('.', 1)[-1]}={shown}")
    name = re.sub(r"[^\w.,=+-]+", "_", ",".join(parts)) or "base"
    return name if len(name) <= 100 else f"{name[:88]}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def recipe_table(spec: str) -> str:
    """The paper's table that a recipe names itself (TABLE), "" for none."""
    return str(getattr(load_recipe(spec), "TABLE", ""))


def load_sweep(spec: str) -> list[dict[str, Any]]:
    """The overrides that FILE[:ARG]'s sweep() names. Raises ValueError with one line."""
    module, arg = load_recipe(spec), spec.partition(":")[2]
    return list(module.sweep(arg) if arg else module.sweep())


def load_recipe(spec: str) -> Any:
    """The module of a recipe with a sweep(). Raises ValueError with one line."""
    file = spec.partition(":")[0]
    path = shipped_path(file)
    if not path.is_file():
        raise ValueError(f"--config={file}: no such file; give a recipe, e.g. configs/kl_ablation.py")
    module_spec = importlib.util.spec_from_file_location("sweep_recipe", path)
    assert module_spec is not None and module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(module)
    if not hasattr(module, "sweep"):
        raise ValueError(f"--config={file} has no sweep(); see configs/kl_ablation.py for one")
    return module


def members(
    spec: str, workdir: Path, passed: Sequence[str], then: str = "", command: Sequence[str] = TRAIN
) -> list[Member]:
    """Every member of the sweep. Raises ValueError when two would share a directory."""
    out = []
    for overrides in load_sweep(spec):
        name = member_name(overrides)
        root = workdir / name
        train = (
            *command,
            f"--config={spec}",
            f"--workdir={root}",
            *passed,
            *(f"--config.{key}={value if isinstance(value, str) else repr(value)}" for key, value in overrides.items()),
        )
        after = tuple(part.replace("{workdir}", str(root)) for part in shlex.split(then))
        out.append(Member(name, overrides, (train, after) if after else (train,)))
    twice = {m.name for m in out if sum(m.name == other.name for other in out) > 1}
    if twice:
        raise ValueError(f"--config={spec}: two members are named {min(twice)}; let their overrides differ")
    return out


class Sweep:
    """Runs members; WORKDIR/NAME/sweep.json records what each was told and how it ended."""

    def __init__(self, workdir: Path, chosen: Sequence[Member], parallel: int = 1):
        self.workdir, self.members, self.parallel = workdir, list(chosen), parallel
        self._children: set[subprocess.Popen] = set()
        self._lock = threading.Lock()
        self._stopping = False

    def record(self, member: Member) -> dict[str, Any]:
        """{"key", "code", "seconds"} of the last attempt; empty when there is none."""
        try:
            record = parse_json((self.workdir / member.name / "sweep.json").read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _write(self, member: Member, code: int | None, seconds: float) -> None:
        path = self.workdir / member.name / "sweep.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(
            json.dumps({"key": member.key, "overrides": member.overrides, "code": code, "seconds": seconds})
        )
        os.replace(temporary, path)

    def check(self) -> None:
        """Raises ValueError when a member's directory holds a run that was told something else: resuming it would mix
        two runs.
        """
        for member in self.members:
            if self.record(member).get("key", member.key) != member.key:
                raise ValueError(
                    f"{self.workdir / member.name} holds a member with other settings; use another --workdir or"
                    " delete it"
                )

    def run(self) -> int:
        """Runs all; 0 when every member is finished, 1 when some failed, 75 when it was asked to stop."""
        self.check()
        with concurrent.futures.ThreadPoolExecutor(self.parallel) as pool:
            codes = list(pool.map(self._member, self.members))
        if self._stopping:
            say("stopped; what is finished is kept: the same command goes on")
            return EXIT_PREEMPTED
        failed = [m.name for m, code in zip(self.members, codes) if code]
        say(
            f"{len(codes) - len(failed)} of {len(codes)} members finished"
            + (f"; failed: {', '.join(failed)}" if failed else "")
        )
        return 1 if failed else 0

    def _member(self, member: Member) -> int:
        place = f"[{self.members.index(member) + 1}/{len(self.members)}] {member.name}"
        if self.record(member).get("code") == 0:
            say(f"{place}: finished before, kept")
            return 0
        if self._stopping:
            return EXIT_PREEMPTED
        root = self.workdir / member.name
        root.mkdir(parents=True, exist_ok=True)
        self._write(member, None, 0.0)
        begun = time.monotonic()
        say(f"{place}: started; log: {root / 'log.txt'}\n    $ python {command_text(member.commands[0])}")
        code = 0
        for command in member.commands:
            for _ in range(1 + RESTARTS):
                code = self._call(command, root / "log.txt")
                if code != EXIT_PREEMPTED or self._stopping:
                    break
            if code:
                break
        seconds = time.monotonic() - begun
        self._write(member, code, seconds)
        ended = "finished" if code == 0 else f"ended with exit code {code}, see {root / 'log.txt'}"
        say(f"{place}: {ended} ({seconds:.0f} s)")
        return code

    def _call(self, command: Sequence[str], log: Path) -> int:
        with open(log, "a") as out:
            with self._lock:
                if self._stopping:
                    return EXIT_PREEMPTED
                # A session of its own: Ctrl-C reaches members as one SIGTERM from `stop`, upon which they save.
                child = subprocess.Popen(
                    [sys.executable, *command], stdout=out, stderr=subprocess.STDOUT, start_new_session=True
                )
                self._children.add(child)
            code = child.wait()
            with self._lock:
                self._children.discard(child)
        return code

    def stop(self, *_: object) -> None:
        """Asks the running members to save and leave, and starts no more. A second call kills them."""
        again, self._stopping = self._stopping, True
        for child in list(self._children):
            child.send_signal(signal.SIGKILL if again else signal.SIGTERM)


def stopping(sweep: Sweep, signals: Sequence[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> Callable[[], None]:
    """Lets signals stop the sweep; returns what puts the handlers back."""
    before = {number: signal.signal(number, sweep.stop) for number in signals}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser("python -m launch.sweep", __doc__)
    parser.add_argument("--config", required=True, help="recipe with sweep(), FILE[:ARG]")
    parser.add_argument("--workdir", required=True, type=Path)
    parser.add_argument("--parallel", type=int, default=1, help="members at once")
    parser.add_argument(
        "--command",
        default=shlex.join(TRAIN),
        help="what trains a member: arguments of python, before --config and --workdir",
    )
    parser.add_argument(
        "--then",
        default="",
        help="what follows a member's training: arguments of python; {workdir} is the member's directory",
    )
    parser.add_argument(
        "--metrics",
        action=Listed,
        default="reward/mean,pass_rate,entropy,kl/reference,length/mean,loss",
        help="what the table and plots show",
    )
    parser.add_argument(
        "--table", default="", help="also a paper's table of the members' evaluations; default: the recipe's own TABLE"
    )
    parser.add_argument("--dry_run", action="store_true", help="list the members and their commands")
    args, passed = parser.parse_known_args(argv)
    try:
        wrong = [p for p in passed if not p.startswith("--config.")]
        if wrong or args.parallel < 1:
            raise ValueError(
                f"unexpected argument {wrong[0]}; overrides start with --config."
                if wrong
                else "--parallel must be at least 1"
            )
        table = args.table or recipe_table(args.config)
        if table and table not in TABLES:
            raise ValueError(f"--table: no table {table!r}; there are {', '.join(TABLES)}")
        sweep = Sweep(
            args.workdir,
            members(args.config, args.workdir, passed, args.then, shlex.split(args.command)),
            args.parallel,
        )
        if args.dry_run:
            for i, member in enumerate(sweep.members, 1):
                state = "finished" if sweep.record(member).get("code") == 0 else "to run"
                say(f"[{i}/{len(sweep.members)}] {member.name}: {state}")
                for command in member.commands:
                    say(f"    $ python {command_text(command)}")
            return 0
        restore = stopping(sweep)
        try:
            with RunLock(args.workdir, "sweep"):
                code = sweep.run()
        finally:
            restore()
    except (ValueError, OSError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 2
    runs = [
        (member.overrides, args.workdir / member.name)
        for member in sweep.members
        if sweep.record(member).get("code") == 0
    ]
    if runs:
        say(write_results(args.workdir, runs, list_parts(args.metrics), table))
    return code


if __name__ == "__main__":
    leave(main, "sweep", goes_on=True)
