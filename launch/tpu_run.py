r"""Trains on a TPU pod: asks for it, copies the code, starts the same command on every worker, follows worker 0's log,
and goes on after preemption.

    python launch/tpu_run.py --name=li --zone=us-central2-b --accelerator=v5p-128 --spot \
        --config=configs/li2025_qwen2_5_vl_7b.py --workdir=gs://BUCKET/li --config.model.path=/mnt/DIR \
        --config.data.paths='("gs://BUCKET/DIR",)'
    python launch/tpu_run.py --via=xpk --cluster=C --name=li --accelerator=v5p-128 --slices=2 \
        --config=... --workdir=gs://BUCKET/li
    python launch/tpu_run.py --local=2 --devices_per_process=4 --config=... --workdir=runs/rehearsal

--dry_run prints every gcloud command. --action=status, logs, stop or delete looks after a run that goes on without this
program: the run is detached, Ctrl-C only stops following it, and the same command follows it again. The TPU is deleted
at the end unless --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:  # called by path, Python looks in launch/ only
    sys.path.insert(0, str(ROOT))

from launch import xpk  # noqa: E402
from launch.gcloud import Cloud, CloudError, Temporary, check_names, check_size  # noqa: E402
from launch.processes import lines  # noqa: E402
from launch.rehearsal import rehearse  # noqa: E402
from launch.steps import EXIT_PREEMPTED, say  # noqa: E402
from spatial_jax.ending import leave  # noqa: E402
from spatial_jax.options import Parser  # noqa: E402

T = TypeVar("T")
LONGEST_PAUSE = 600.0
MOST_REHEARSED = 1024  # devices, of all processes together
# What each way to run reads beside config, workdir and action.
READS = {
    "gcloud": ("name", "zone", "accelerator", "slices", "project", "spot", "tries", "dry_run")
    + ("runtime", "keep", "pause", "wait_hours"),
    "xpk": ("name", "zone", "accelerator", "slices", "project", "spot", "tries", "dry_run", "cluster", "image"),
    "local": ("local", "devices_per_process"),
}
MARK = "spatial_jax_exit"
COPY, FOLDER, LOG, PID, EXIT = "spatial_jax.tar.gz", "spatial_jax_run", "run.log", "run.pid", "run.exit"
# The number of a process is given again after a boot: it must be the run's.
ALIVE = f"[ -f {FOLDER}/{PID} ] && grep -qs launch.worker /proc/$(cat {FOLDER}/{PID})/cmdline"
INSTALL = (
    f"if {ALIVE}; then exit 0; fi; "  # a run that goes on keeps the code it reads from
    f"rm -rf {FOLDER}/code && mkdir -p {FOLDER}/code && tar -xzf {COPY} -C {FOLDER}/code && cd {FOLDER}/code && python3"
    " -m pip install -q --user uv && ~/.local/bin/uv venv -q --allow-existing --python 3.11 ../venv && ~/.local/bin/uv"
    " pip install -q --python ../venv/bin/python -c constraints.txt -e '.[tpu,gcs]'"
)
STOP = f"kill -TERM -- -$(cat {FOLDER}/{PID})"


class Lost(RuntimeError):
    """The TPU is gone."""


def start_command(arguments: Sequence[str]) -> str:
    """What every worker runs: detached, in a process group of its own, its exit code left in a file. A run that is
    still alive is left alone.
    """
    train = shlex.join(["../venv/bin/python", "-m", "launch.worker", "--platform=tpu", "spatial_jax.train", *arguments])
    # the shell outlives a SIGTERM to its group
    body = f"trap : TERM; cd code && {train}; code=$?; cd .. && echo $code > {EXIT}"
    return (
        f"if {ALIVE}; then exit 0; fi; cd {FOLDER} && rm -f {EXIT}; "
        f"setsid nohup bash -c {shlex.quote(body)} > {LOG} 2>&1 < /dev/null & echo $! > {PID}"
    )


def follow_command(seen: int) -> str:
    """Worker 0's log from line `seen` on until the run ends, then its exit code."""
    return (
        f"cd {FOLDER} && tail -n +{seen + 1} --pid=$(cat {PID}) -f {LOG}; echo {MARK} $(cat {EXIT} 2>/dev/null || echo"
        " unknown)"
    )


def pack(target: Path) -> None:
    """The checkout (tracked files and new ones that git does not ignore) as a tar file."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120.0,
    )
    with tarfile.open(target, "w:gz", compresslevel=1) as tar:
        for name in filter(None, names.stdout.split("\0")):
            if (ROOT / name).is_file():
                tar.add(ROOT / name, arcname=name)


class TpuRun:
    """One training on one TPU, kept going. `tries` bounds all re-creations, restarts and repeated commands together."""

    silence = 120.0  # seconds without a line of the log after which the TPU is asked for
    reconnect = 1800.0  # and after which the log is followed anew, from the line it was at

    def __init__(
        self, cloud: Cloud, arguments: Sequence[str], *, tries: int = 50, pause: float = 30.0, wait_hours: float = 48.0
    ):
        self.cloud, self.arguments = cloud, list(arguments)
        self.tries, self.pause, self.wait_hours = tries, pause, wait_hours
        self.used = 0
        self.streak = 0
        self.created = False  # by this program, which then also deletes it
        self.held = False  # there is a TPU, or a request for one

    def again(self, why: str) -> None:
        """Counts a try and waits, longer each time in a row. Raises CloudError when the tries are used up."""
        self.used += 1
        if self.used >= self.tries:
            raise CloudError(f"gave up after {self.used} tries; the last: {why}")
        wait = min(self.pause * 2**self.streak, LONGEST_PAUSE)
        self.streak += 1
        say(f"{why}; try {self.used + 1} of {self.tries} in {wait:.0f} s")
        time.sleep(wait)

    def insist(self, action: Callable[[], T], lost: bool = True) -> T:
        """Repeats what fails for a passing reason. Raises Lost when the TPU is gone, unless `lost` is False."""
        while True:
            try:
                return action()
            except Temporary as error:
                if lost and self.insist(self.cloud.node_state, lost=False) not in ("READY", ""):
                    raise Lost(str(error)) from None
                self.again(str(error).splitlines()[-1])

    def obtain(self) -> None:
        """Returns once the TPU is ready. Raises Lost when the request fails or a TPU of this name is broken."""
        self.created = self.insist(self.cloud.create, lost=False) or self.created
        self.held = True
        deadline = time.monotonic() + 3600 * self.wait_hours
        shown = ""
        while not self.cloud.dry_run:
            # A TPU that was made without a queued resource has a node only.
            node = self.insist(self.cloud.node_state, lost=False)
            state = node if node != "ABSENT" else self.insist(self.cloud.queue_state, lost=False)
            if state == "READY":
                return
            if state == "STOPPED":  # somebody's decision, with their disk: not ours to delete
                raise CloudError(f"TPU {self.cloud.name} is stopped; start or delete it, or take another --name")
            if state in ("FAILED", "SUSPENDED", "SUSPENDING", "PREEMPTED", "TERMINATED", "ABSENT"):
                raise Lost(f"the TPU is {state}")
            if state != shown:
                say(f"{self.cloud.name}: {state}")
                shown = state
            if time.monotonic() > deadline:
                raise CloudError(f"no TPU within {self.wait_hours:g} hours (--wait_hours)")
            time.sleep(self.pause)

    def attempt(self) -> int:
        """From a request to the run's exit code. Raises Lost when the TPU is gone on the way."""
        self.obtain()
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / COPY
            if not self.cloud.dry_run:
                pack(archive)
            self.insist(lambda: self.cloud.copy(str(archive), COPY))
        self.insist(lambda: self.cloud.everywhere(INSTALL))
        while True:
            self.insist(lambda: self.cloud.everywhere(start_command(self.arguments)))
            code = self.follow()
            if code == 0:
                return 0
            if self.insist(self.cloud.node_state, lost=False) not in ("READY", ""):
                raise Lost(f"the run ended with exit code {code} as the TPU went")
            if code != EXIT_PREEMPTED:
                return code
            self.again("the run was asked to stop and has saved, the TPU is still there")

    def follow(self) -> int:
        """Prints worker 0's log until the run ends; reconnects where it left off. Raises Lost when the TPU is gone."""
        seen = 0
        while True:
            line = self.cloud.ssh_line(follow_command(seen), worker="0")
            if self.cloud.dry_run:
                self.cloud.call(line)
                return 0
            quiet = 0.0
            with contextlib.closing(lines(line, self.silence)) as log:
                for text in log:
                    quiet = 0.0 if text is not None else quiet + self.silence
                    if text is None:  # a run may be quiet, and an ssh that hangs is
                        if quiet >= self.reconnect or self.insist(self.cloud.node_state, lost=False) != "READY":
                            break
                        continue
                    ended = re.fullmatch(rf"{MARK} (\w+)\s*", text)
                    if ended and ended[1].isdigit():
                        return int(ended[1])
                    seen += 1
                    self.streak = 0  # it runs: the next failure waits briefly again
                    print(text, end="", flush=True)
            if self.insist(self.cloud.node_state, lost=False) != "READY":
                raise Lost("the TPU went while the run was going")
            if quiet < self.reconnect:
                self.again("lost the connection to worker 0")

    def run(self) -> int:
        """The whole run, over as many TPUs as it takes."""
        while True:
            try:
                return self.attempt()
            except Lost as error:
                self.insist(self.cloud.delete, lost=False)
                self.held = False
                self.again(f"{error}; asking for another one")


def still_there(cloud: Cloud, words: str) -> None:
    """Names what goes on and costs money, and how to end it."""
    say(
        f"{words} TPU {cloud.name} ({cloud.slices} x {cloud.accelerator}, {cloud.zone}) is still there and paid for.\n "
        f"   delete it:  {shlex.join(cloud.delete_line())}\n    or run this command again to go on, or with"
        " --action=status, logs, stop, delete"
    )


def act(cloud: Cloud, action: str) -> int:
    """status, logs, stop or delete. Raises CloudError or Temporary."""
    if action == "status":
        say(f"queued resource {cloud.queue_state() or '-'}, TPU {cloud.node_state() or '-'}")
    elif action == "logs":
        say(cloud.call(cloud.ssh_line(f"tail -n 40 {FOLDER}/{LOG}")))
    elif action == "stop":
        cloud.everywhere(STOP)
        still_there(cloud, "The run was asked to save and leave.")
    else:
        cloud.delete()
        say(f"deleted {cloud.name}")
    return 0


def run_on_cloud(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Exit code of the run, or 1 when the cloud would not have it, or 130 for Ctrl-C."""
    cloud = Cloud(
        args.name, args.zone, args.accelerator, args.runtime, args.project, args.spot, args.dry_run, slices=args.slices
    )
    run = TpuRun(cloud, arguments, tries=args.tries, pause=args.pause, wait_hours=args.wait_hours)
    code = 1
    try:
        if args.action != "run":
            return act(cloud, args.action)
        cloud.create_line()  # an unknown accelerator is named before anything starts
        code = run.run()
    except (CloudError, Temporary) as error:
        print(f"tpu_run: {str(error).splitlines()[-1]}", file=sys.stderr)
    except KeyboardInterrupt:
        still_there(cloud, "\nStopped following; the run goes on.")
        return 130
    if args.keep or not run.created:
        if run.held and not args.dry_run:
            still_there(cloud, f"The run ended with exit code {code}.")
        return code
    try:
        cloud.delete()
    except (CloudError, Temporary):
        still_there(cloud, "Deleting failed.")
    return code


def run_on_gke(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Exit code of XPK, or 1 when it is not there."""
    workload = xpk.Workload(
        args.name,
        args.cluster,
        args.accelerator,
        args.zone,
        args.project,
        args.slices,
        args.spot,
        args.tries,
        args.image,
        args.dry_run,
    )
    try:
        return workload.act(args.action, arguments)
    except CloudError as error:
        print(f"tpu_run: {error}", file=sys.stderr)
        return 1


def check(args: argparse.Namespace, passed: Sequence[str], default: Callable[[str], Any]) -> None:
    """ValueError, one line, for what cannot run, or would do nothing, before anything is asked of the cloud. `passed`:
    overrides; `default`: of an option.
    """
    place = ("name", "zone") if args.via == "gcloud" else ("name", "cluster")
    needed = () if args.local else place if args.action != "run" else (*place, "accelerator")
    if wrong := [p for p in passed if not p.startswith("--config.")]:
        raise ValueError(f"unexpected argument {wrong[0]}; overrides start with --config.")
    for name in (*needed, *(("config", "workdir") if args.action == "run" else ())):
        if not getattr(args, name):
            raise ValueError(f"--{name} is missing")
    names = ("name", "zone", "project", "accelerator", "runtime", "cluster", "image")
    check_names(**{name: getattr(args, name) for name in names})
    check_size(args.accelerator)
    for name, least in (("local", 0), ("devices_per_process", 1), ("slices", 1), ("tries", 1)):
        if getattr(args, name) < least:
            raise ValueError(f"--{name}={getattr(args, name)} must be {least} or more")
    for name in ("pause", "wait_hours"):
        if not 0 < getattr(args, name) < float("inf"):
            raise ValueError(f"--{name}={getattr(args, name):g} must be a number above 0")
    way = "local" if args.local else args.via
    for name in sorted({name for reads in READS.values() for name in reads} - {*READS[way]}):
        if getattr(args, name) != default(name):
            raise ValueError(f"--{name} does nothing with --{'local' if args.local else f'via={way}'}; leave it out")
    if args.local and args.action != "run":
        raise ValueError(f"--action={args.action} looks after a TPU; a rehearsal (--local) ends with this program")
    if args.local * args.devices_per_process > MOST_REHEARSED:
        raise ValueError(
            f"--local={args.local} with --devices_per_process={args.devices_per_process}: at most {MOST_REHEARSED}"
            " devices together"
        )
    if args.local or args.action != "run":
        return
    if not args.workdir.startswith("gs://"):
        raise ValueError(f"--workdir={args.workdir} would be lost with the TPU; give a gs:// path")
    check_recipe(args.config, passed)


def check_recipe(config: str, passed: Sequence[str]) -> None:
    """ValueError for a recipe that the workers would not have, or a key that does not exist: a TPU may come after
    hours.
    """
    from spatial_jax.command_line import check_config_arguments, check_config_file
    from spatial_jax.training.settings import RunConfig

    check_config_file(config, ROOT)
    if not (ROOT / config).resolve().is_relative_to(ROOT):
        raise ValueError(f"--config={config}: the workers get the checkout {ROOT} alone; put the recipe there")
    check_config_arguments(passed, RunConfig)


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser("python launch/tpu_run.py", __doc__)
    parser.add_argument("--action", choices=("run", "status", "logs", "stop", "delete"), default="run")
    parser.add_argument(
        "--name", "--tpu", default="", help="name of the TPU and its queued resource, or of the workload"
    )
    parser.add_argument("--zone", default="")
    parser.add_argument(
        "--accelerator",
        "--type",
        default="",
        help="e.g. v5litepod-16, v6e-64, v5p-128 (cores, not chips, for v5p and v4)",
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=1,
        help=(
            "TPUs of this type that train together over the data-centre network: the mesh's data axis "
            "runs over them, so --config.mesh.data is a multiple of it"
        ),
    )
    parser.add_argument(
        "--via",
        choices=("gcloud", "xpk"),
        default="gcloud",
        help="xpk: a workload on the GKE cluster --cluster, by XPK",
    )
    parser.add_argument("--cluster", default="", help="GKE cluster of --via=xpk")
    parser.add_argument("--image", default=xpk.IMAGE, help="base image of --via=xpk, with Python 3.11")
    parser.add_argument("--project", default="", help="default: gcloud's own")
    parser.add_argument("--runtime", default="", help="software version of the TPU VM; default: by accelerator")
    parser.add_argument("--spot", action="store_true", help="cheaper, and taken back at any time")
    parser.add_argument("--keep", action="store_true", help="leave the TPU at the end")
    parser.add_argument("--tries", type=int, default=50, help="re-creations, restarts and repeated commands, together")
    parser.add_argument(
        "--pause",
        type=float,
        default=30.0,
        help=f"seconds before the first repetition; doubles up to {LONGEST_PAUSE:.0f}",
    )
    parser.add_argument("--wait_hours", type=float, default=48.0, help="longest wait for a TPU")
    parser.add_argument("--dry_run", action="store_true", help="print the gcloud commands")
    parser.add_argument("--config", default="")
    parser.add_argument("--workdir", default="")
    parser.add_argument(
        "--local",
        "--local_processes",
        type=int,
        default=0,
        help="processes of a rehearsal on this machine, without a TPU",
    )
    parser.add_argument("--devices_per_process", type=int, default=4)
    args, passed = parser.parse_known_args(argv)
    try:
        check(args, passed, parser.get_default)
    except ValueError as error:
        print(f"tpu_run: {error}", file=sys.stderr)
        return 2
    arguments = [f"--config={args.config}", f"--workdir={args.workdir}", *passed]
    if args.local:
        return rehearse(
            args.local, args.devices_per_process, ["spatial_jax.train", *arguments], Path(args.workdir) / "logs"
        )
    return run_on_gke(args, arguments) if args.via == "xpk" else run_on_cloud(args, arguments)


if __name__ == "__main__":
    leave(main, "tpu_run", goes_on=True)
