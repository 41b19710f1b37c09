"""The gcloud commands of a TPU run, and what their failures mean. Nothing else talks to the cloud."""

from __future__ import annotations

import dataclasses
import re
import shlex
import subprocess
from collections.abc import Sequence

from launch.processes import run
from launch.steps import say
from spatial_jax.options import command_text

RUNTIMES = {  # accelerator type's beginning -> software version of the TPU VM
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
    "v4": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v2": "tpu-ubuntu2204-base",
}
# accelerator type's beginning -> (what its number counts, sizes, the largest); Cloud TPU's page of each generation
SIZES = {
    "v5litepod": ("chips", (1, 4, 8), 256),
    "v6e": ("chips", (1, 4, 8), 256),
    "v5p": ("cores", (8,), 12288),
    "v4": ("cores", (8,), 8192),
    "v3": ("cores", (8,), 2048),
    "v2": ("cores", (8,), 512),
}
ASKING_S = 120.0  # longest that a question about a state may take
ALIVE = ("ConnectTimeout=30", "ServerAliveInterval=30", "ServerAliveCountMax=4")  # ssh ends when the other side is gone
# Names as the cloud takes them; none can be read as an option or by a shell.
_VALID = {
    "name": (r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "letters, digits and dashes in lower case, a letter first"),
    "zone": (r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "e.g. us-central2-b"),
    "project": (r"([a-z0-9.-]+:)?[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "the project's ID"),
    "accelerator": (r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "e.g. v5p-128"),
    "runtime": (r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", "e.g. v2-alpha-tpuv5"),
    "cluster": (r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "the GKE cluster's name"),
    "image": (r"[a-z0-9][-a-zA-Z0-9._/:@]{0,254}", "e.g. python:3.11"),
}
_QUOTA = re.compile(r"quota", re.IGNORECASE)
_EXISTS = re.compile(r"ALREADY_EXISTS|already exists", re.IGNORECASE)
_ABSENT = re.compile(r"NOT_FOUND|was not found|could not be found", re.IGNORECASE)
_PERMANENT = re.compile(
    r"PERMISSION_DENIED|INVALID_ARGUMENT|UNAUTHENTICATED|invalid choice|unrecognized arguments|do not currently have an"
    r" active account"
)


class CloudError(RuntimeError):
    """gcloud refused for good; the message is one line that says what to do."""


class Temporary(RuntimeError):
    """gcloud or the connection failed in a way that may pass."""


def check_names(**values: str) -> None:
    """ValueError for the first value (by its option's name) that the cloud would not take; an empty one passes."""
    for option, value in values.items():
        pattern, form = _VALID[option]
        if value and not re.fullmatch(pattern, value, re.ASCII):
            raise ValueError(f"--{option}={value!r} is no valid {option}; give {form}")


def check_size(accelerator: str) -> None:
    """ValueError for a size that no TPU of a known generation has; others are the cloud's to know."""
    kind, _, size = accelerator.partition("-")
    if kind not in SIZES:
        return
    what, sizes, most = SIZES[kind]
    number = int(size) if re.fullmatch(r"[0-9]{1,9}", size) else 0
    if number not in sizes and not (0 < number <= most and number % 8 == 0):
        listed = ", ".join(f"{kind}-{n}" for n in (*sizes, 16))
        raise ValueError(f"--accelerator={accelerator}: give {listed}, ... to {kind}-{most}; the number counts {what}")


@dataclasses.dataclass(frozen=True)
class Cloud:
    """A TPU by name. Methods run gcloud; with `dry_run` they print the command and take success for granted."""

    name: str
    zone: str
    accelerator: str
    runtime: str = ""
    project: str = ""
    spot: bool = False
    dry_run: bool = False
    timeout: float = 900.0  # seconds that a command other than following a log may take
    slices: int = 1  # TPUs of this type that train together over the data-centre network

    def _line(self, *words: str) -> list[str]:
        project = [f"--project={self.project}"] if self.project else []
        return ["gcloud", *words, f"--zone={self.zone}", *project, "--quiet"]

    def create_line(self) -> list[str]:
        kind = self.accelerator.split("-")[0]
        runtime = self.runtime or RUNTIMES.get(kind, "")
        if not runtime:
            raise CloudError(
                f"--accelerator={self.accelerator}: software version unknown; give it with --runtime, use one of"
                f" {', '.join(RUNTIMES)}, or --via=xpk for what comes through GKE (tpu7x)"
            )
        nodes = (
            [f"--node-id={self.name}"]
            if self.slices == 1
            else [f"--node-count={self.slices}", f"--node-prefix={self.name}"]
        )
        return self._line(
            "compute",
            "tpus",
            "queued-resources",
            "create",
            self.name,
            *nodes,
            f"--accelerator-type={self.accelerator}",
            f"--runtime-version={runtime}",
            *(["--spot"] if self.spot else []),
        )

    @property
    def nodes(self) -> list[str]:
        """Names of the TPU VMs: one a slice."""
        return [self.name] if self.slices == 1 else [f"{self.name}-{i}" for i in range(self.slices)]

    def delete_line(self) -> list[str]:
        return self._line("compute", "tpus", "queued-resources", "delete", self.name, "--force")

    def ssh_line(self, command: str, worker: str = "all", node: str = "") -> list[str]:
        """On one TPU VM, the first by default."""
        return self._line(
            *("compute", "tpus", "tpu-vm", "ssh", node or self.nodes[0], f"--worker={worker}"),
            *(f"--ssh-flag=-o{option}" for option in ALIVE),
            f"--command={command}",
        )

    def everywhere(self, command: str) -> None:
        """Runs `command` on every worker of every slice."""
        for node in self.nodes:
            self.call(self.ssh_line(command, node=node))

    def copy(self, source: str, target: str) -> None:
        """Copies a file to every worker of every slice."""
        for node in self.nodes:
            self.call(self._line("compute", "tpus", "tpu-vm", "scp", source, f"{node}:{target}", "--worker=all"))

    def call(self, line: Sequence[str], timeout: float | None = None) -> str:
        """Standard output. Raises CloudError or Temporary, the latter also when nothing came within `timeout`."""
        if self.dry_run:
            say(f"$ {command_text(line)}")
            return ""
        try:
            done = run(line, timeout or self.timeout)
        except FileNotFoundError:
            raise CloudError(
                "gcloud is not on the PATH; install the Google Cloud CLI and run `gcloud auth login`"
            ) from None
        except subprocess.TimeoutExpired:
            raise Temporary(f"no answer within {timeout or self.timeout:.0f} s: {shlex.join(line[:6])}") from None
        if done.returncode == 0:
            return done.stdout.strip()
        text = done.stderr.strip() or done.stdout.strip()
        brief = next((part for part in reversed(text.splitlines()) if part.strip()), f"exit code {done.returncode}")
        if _QUOTA.search(text):
            raise CloudError(
                f"quota refused {self.accelerator} in {self.zone}: {brief}; ask for more quota, or take another zone,"
                " size or --spot"
            )
        if _PERMANENT.search(text):
            raise CloudError(f"gcloud refused: {brief}")
        raise Temporary(text if _EXISTS.search(text) or _ABSENT.search(text) else brief)

    def create(self) -> bool:
        """Asks for the TPU; False when one of this name is there already."""
        try:
            self.call(self.create_line())
        except Temporary as error:
            if _EXISTS.search(str(error)):
                return False
            raise
        return True

    def _state(self, *words: str) -> str:
        try:
            return self.call(self._line(*words), timeout=min(self.timeout, ASKING_S))
        except Temporary as error:
            if _ABSENT.search(str(error)):
                return "ABSENT"
            raise

    def queue_state(self) -> str:
        """Of the queued resource: WAITING_FOR_RESOURCES, PROVISIONING, ACTIVE, SUSPENDED, FAILED, ...; ABSENT."""
        return self._state("compute", "tpus", "queued-resources", "describe", self.name, "--format=value(state.state)")

    def node_state(self) -> str:
        """Of the TPU VM: READY, PREEMPTED, TERMINATED, REPAIRING, ...; ABSENT. Of several slices the first that is not
        READY.
        """
        states = (
            self._state("compute", "tpus", "tpu-vm", "describe", node, "--format=value(state)") for node in self.nodes
        )
        return next((state for state in states if state != "READY"), "READY")

    def delete(self) -> None:
        """Deletes the queued resource with its TPU."""
        try:
            self.call(self.delete_line())
        except Temporary as error:
            if not _ABSENT.search(str(error)):
                raise
