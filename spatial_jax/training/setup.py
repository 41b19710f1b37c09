"""What every method starts from: the policy on its mesh, its processor, its buckets, its optimizer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.models.lora import LoraConfig, add_lora, merge_lora
from spatial_jax.models.policy import Policy, load_pretrained, replaced_checkpoint, save_pretrained
from spatial_jax.models.sharding import param_axes
from spatial_jax.models.trainable import join_params, split_params, trainable_mask
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.parallel.rules import batch_parts, shard_params
from spatial_jax.processing.processor import Processor
from spatial_jax.training.batches import Buckets
from spatial_jax.training.optimizer import make_optimizer
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.state import Params, TrainState, init_state


@dataclasses.dataclass
class Setup:
    """The fixed surroundings of a run; everything that changes is in TrainState and in the method's own state."""

    run: RunConfig
    workdir: Path
    policy: Policy
    mesh: Mesh | None
    lora: LoraConfig | None
    frozen: Params
    optimizer: optax.GradientTransformation
    optimizer_steps: int
    processor: Processor
    buckets: Buckets
    start: TrainState

    @property
    def graphdef(self) -> nnx.GraphDef:
        return self.policy.graphdef

    def params(self, trainable: Params) -> Any:
        """The whole parameter tree with these trainable parameters."""
        return join_params(trainable, self.frozen)

    def export(self, trainable: Params, directory: Path) -> None:
        """Writes the policy in the Hugging Face layout, processor files included; LoRA adapters are merged. An older
        one is replaced as a whole: what else belongs to an export is written inside the block, into `folder`.
        """
        params = self.params(trainable)
        if self.lora is not None:
            params = merge_lora(self.policy.config, params, self.lora)
        with replaced_checkpoint(directory) as folder:
            save_pretrained((self.policy.config, params), folder, processor_files_from=self.policy.directory)


def run_mesh(run: RunConfig) -> Mesh | None:
    """The mesh of the settings over the devices it asks for; None for a single device."""
    sizes = dataclasses.asdict(run.mesh)
    devices = jax.devices()
    if all(size == 1 for size in sizes.values()) or len(devices) == 1:
        if jax.process_count() > 1:
            raise ValueError(
                f"the mesh is of one device, but {jax.process_count()} processes with {len(devices)} devices train"
                " together; give --config.mesh.fsdp=-1, or sizes that multiply to the number of devices"
            )
        return None
    return make_mesh(sizes, devices)


def make_setup(run: RunConfig, workdir: Path) -> Setup:
    """Loads the policy and builds what surrounds it. Errors are one line that names the setting."""
    mesh = run_mesh(run)
    model = run.model
    policy = load_pretrained(
        model.path, dtype=model.dtype, mesh=mesh, param_dtype=model.param_dtype, position_rule=model.position_rule
    )
    processor = Processor.from_pretrained(
        policy.directory or model.path,
        min_pixels=run.data.min_pixels,
        max_pixels=run.data.max_pixels,
        position_rule=model.position_rule,
    )
    lora = LoraConfig(model.lora_rank, model.lora_alpha, model.lora_targets) if model.lora_rank else None
    if lora is not None:
        policy.graphdef, policy.params = add_lora(policy.config, policy.graphdef, policy.params, lora)
        if mesh is not None:  # the adapters are made on one device; the base is where it belongs already
            policy.params = shard_params(policy.params, param_axes(policy.config, lora), mesh)
    trainable, frozen = split_params(
        policy.params, trainable_mask(policy.params, model.freeze, ("lora",) if lora else ())
    )
    steps = run.run.steps * (run.run.prompts // run.run.update_prompts)
    optimizer = make_optimizer(run.optimizer, steps)
    buckets = Buckets(
        run.data.prompt_buckets,
        run.rollout.answer_buckets,
        run.data.patch_buckets,
        processor.pad_id,
        policy.config.vision,
        batch_parts(mesh),
    )
    return Setup(
        run, workdir, policy, mesh, lora, frozen, optimizer, steps, processor, buckets, init_state(trainable, optimizer)
    )
