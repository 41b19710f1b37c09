"""The same run on GKE: handed to XPK, which makes a workload of it. Nothing here talks to Kubernetes; XPK restarts what
is preempted.
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from launch.gcloud import CloudError
from launch.steps import EXIT_PREEMPTED, say
from spatial_jax.options import command_text

ROOT = Path(__file__).resolve().parent.parent
IMAGE = "python:3.11"
LONGEST_S = 3600.0  # building and pushing an image takes its time
GRACE_S = 300  # a training that is asked to stop saves first


@dataclasses.dataclass(frozen=True)
class Workload:
    """A run as a workload of the GKE cluster `cluster`; `slices` TPUs of the type `accelerator` each."""

    name: str
    cluster: str
    accelerator: str
    zone: str = ""
    project: str = ""
    slices: int = 1
    spot: bool = False
    tries: int = 50
    image: str = IMAGE
    dry_run: bool = False

    def _line(self, verb: str, *words: str) -> list[str]:
        place = [f"--{key}={value}" for key, value in (("project", self.project), ("zone", self.zone)) if value]
        return ["xpk", "workload", verb, f"--cluster={self.cluster}", *place, *words]

    def create_line(self, arguments: Sequence[str]) -> list[str]:
        """`arguments`: of spatial_jax.train. The checkout is built into an image on top of `image`; packages are
        installed at each start.
        """
        train = shlex.join(["python", "-m", "launch.worker", "--platform=tpu", "spatial_jax.train", *arguments])
        command = f"pip install -q -c constraints.txt -e '.[tpu,gcs]' && exec {train}"
        return self._line(
            "create",
            f"--workload={self.name}",
            f"--tpu-type={self.accelerator}",
            f"--num-slices={self.slices}",
            f"--max-restarts={self.tries}",
            f"--restart-on-exit-codes={EXIT_PREEMPTED}",
            f"--termination-grace-period-seconds={GRACE_S}",
            f"--base-docker-image={self.image}",
            f"--script-dir={ROOT}",
            *(["--spot"] if self.spot else []),
            f"--command={command}",
        )

    def delete_line(self) -> list[str]:
        return self._line("delete", f"--workload={self.name}")

    def call(self, line: Sequence[str]) -> int:
        """Runs a command before the user's eyes; its exit code. Raises CloudError where XPK is missing."""
        if self.dry_run:
            say(f"$ {command_text(line)}")
            return 0
        try:
            return subprocess.run(line, stdin=subprocess.DEVNULL, timeout=LONGEST_S).returncode
        except subprocess.TimeoutExpired:
            raise CloudError(
                f"no end within {LONGEST_S:.0f} s: {shlex.join(line[:4])}; look with --action=status"
            ) from None
        except FileNotFoundError:
            raise CloudError(
                f"{line[0]} is not on the PATH; pip install xpk, and see that kubectl, docker and gcloud are there, too"
            ) from None

    def act(self, action: str, arguments: Sequence[str]) -> int:
        """run, status, logs, stop or delete; the exit code. A workload goes on without this program."""
        if action == "run":
            code = self.call(self.create_line(arguments))
            if code == 0 and not self.dry_run:
                say(
                    f"workload {self.name} was handed to {self.cluster} and goes on there; look after it with"
                    f" --action=status or logs\n    end it:  {shlex.join(self.delete_line())}"
                )
            return code
        if action == "logs":
            return self.call(
                ["kubectl", "logs", f"--selector=jobset.sigs.k8s.io/jobset-name={self.name}", "--tail=40", "--prefix"]
            )
        # A deleted workload's pods get SIGTERM and the time to save: stopping is deleting.
        return self.call(self._line("list") if action == "status" else self.delete_line())
