"""What changes while training, and how it is saved: one object, so that a resume forgets nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

from spatial_jax.metrics import RunFacts, run_facts
from spatial_jax.models.digest import checkpoint_digest
from spatial_jax.training.identity import NOTHING, Changes, file_digest, settings_of
from spatial_jax.training.method import Method, Stream
from spatial_jax.training.reference import Reference
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import TrainState


@dataclasses.dataclass
class Trainer:
    """A run at step `step`."""

    setup: Setup
    method: Method
    state: TrainState
    pipeline: Stream
    reference: Reference
    step: int = 0

    inputs: dict[str, Any] = dataclasses.field(init=False)  # digests of what the run reads, by setting

    def __post_init__(self) -> None:
        run = self.setup.run
        self.inputs = {
            "model.path": checkpoint_digest(self.setup.policy.directory or run.model.path),
            "data.paths": self.pipeline.digests,
            "reward.user_file": file_digest(run.reward.user_file),
            "offline_pass_rates": file_digest(run.offline_pass_rates),
        }

    @property
    def facts(self) -> RunFacts:
        """What the run's settings and its method say of its metrics."""
        return run_facts(dataclasses.asdict(self.setup.run), samples=self.method.samples)

    def device_state(self) -> dict[str, Any]:
        return {"train": self.state, "reference": self.reference.params}

    def host_state(self) -> dict[str, Any]:
        return {
            **self.method.state_dict(),
            "step": self.step,
            "run": {"settings": settings_of(self.setup.run), "inputs": self.inputs},
            "data": self.pipeline.get_state(),
            "reference": self.reference.controller.state_dict(),
        }

    def restore(self, device: dict[str, Any], host: dict[str, Any], changes: Changes = NOTHING) -> None:
        """Continues where `device_state` and `host_state` were taken, as far as `changes` leave that sense. ValueError
        where `host` is no such state.
        """
        changed = bool(changes.breaking)
        try:
            self.state, self.reference.params = device["train"], device["reference"]
            self.reference.controller.load_state_dict(host["reference"])
            self.pipeline.set_state(host["data"], changed=changed)
            self.method.load_state_dict(host, self.pipeline, changed=changed)
            self.step = int(host["step"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint's host state is not one of this code ({type(error).__name__}: {error}); go on with the"
                " code that wrote it, or give --noresume"
            ) from error


def make_trainer(setup: Setup) -> Trainer:
    """The run at step 0."""
    method = setup.method(setup)
    reference = Reference(setup.run.reference, method.needs_reference(setup.run), setup.start.params)
    return Trainer(setup, method, setup.start, method.stream(), reference)
