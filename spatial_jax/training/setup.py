"""What every method starts from: the policy on its mesh, its processor, its buckets, its optimizer."""
from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models.policy import Policy, load_pretrained, save_pretrained
from spatial_jax.models.trainable import trains
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.processing.processor import Processor
from spatial_jax.training.batches import Buckets
from spatial_jax.training.optimizer import make_optimizer
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.state import Flat, ParamSplit, TrainState, init_state


@dataclasses.dataclass
class Setup:
    """The fixed surroundings of a run; everything that changes is in TrainState and in the method's own state."""

    run: RunConfig
    workdir: Path
    policy: Policy
    mesh: Mesh | None
    split: ParamSplit
    frozen: Flat
    optimizer: optax.GradientTransformation
    optimizer_steps: int
    processor: Processor
    buckets: Buckets
    start: TrainState

    @property
    def graphdef(self) -> nnx.GraphDef:
        return self.policy.graphdef

    def params(self, trainable: Flat) -> Any:
        """The whole parameter tree with these trainable parameters."""
        return self.split.join(trainable, self.frozen)

    def export(self, trainable: Flat, directory: Path) -> None:
        """Writes the policy in the Hugging Face layout, processor files included."""
        save_pretrained(dataclasses.replace(self.policy, params=self.params(trainable)), directory, processor_files_from=self.run.model.path)


def run_mesh(run: RunConfig) -> Mesh | None:
    """The mesh of the settings over the devices it asks for; None for a single device."""
    sizes = dataclasses.asdict(run.mesh)
    devices = jax.devices()
    if all(size == 1 for size in sizes.values()) or len(devices) == 1:
        return None
    return make_mesh(sizes, devices)


def make_setup(run: RunConfig, workdir: Path) -> Setup:
    """Loads the policy and builds what surrounds it. Errors are one line that names the setting."""
    mesh = run_mesh(run)
    model = run.model
    policy = load_pretrained(model.path, dtype=model.dtype, mesh=mesh, param_dtype=model.param_dtype, position_rule=model.position_rule)
    processor = Processor.from_pretrained(
        model.path, min_pixels=run.data.min_pixels, max_pixels=run.data.max_pixels, position_rule=model.position_rule)
    split = ParamSplit.of(policy.params, trains(model.freeze))
    trainable, frozen = split.split(policy.params)
    steps = run.run.steps * (run.run.prompts // run.run.update_prompts)
    optimizer = make_optimizer(run.optimizer, steps)
    buckets = Buckets(run.data.prompt_buckets, run.rollout.answer_buckets, run.data.patch_buckets, processor.pad_id, policy.config.vision)
    return Setup(run, workdir, policy, mesh, split, frozen, optimizer, steps, processor, buckets, init_state(trainable, optimizer))
