"""What every method starts from: the policy on its mesh, its processor, its buckets, its optimizer."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx
from jax.sharding import Mesh

from spatial_jax.data import EncodedQuestion
from spatial_jax.data.asked import Asking, differences, limits_of, read_asking, write_asking
from spatial_jax.metrics import is_primary
from spatial_jax.models import (
    LoraConfig,
    Policy,
    VisionConfig,
    add_lora,
    join_params,
    leaf_paths,
    load_pretrained,
    merge_lora,
    param_axes,
    save_pretrained,
    split_params,
    trainable_mask,
)
from spatial_jax.models.policy import replaced_checkpoint
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.parallel.rules import batch_parts, param_shardings, shapes_with_shardings, shard_params
from spatial_jax.processing import Processor
from spatial_jax.rl.pass_rates import pass_rate_asking
from spatial_jax.rollout.feature_files import FeatureFiles, tower_digest
from spatial_jax.rollout.features import FeatureStore
from spatial_jax.training.batches import Buckets
from spatial_jax.training.method import Method, method_of
from spatial_jax.training.optimizer import make_optimizer
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.state import Params, TrainState, init_state, is_abstract

_EXAMPLES = {"model.path": "DIR (a checkpoint's folder, or a hub name)", "data.paths": "'(\"DIR\",)'"}
log = logging.getLogger(__name__)


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
    features: FeatureStore | None = None  # of a tower that does not train

    @property
    def method(self) -> type[Method]:
        return method_of(self.run)

    @property
    def graphdef(self) -> nnx.GraphDef:
        return self.policy.graphdef

    @property
    def tower_is_frozen(self) -> bool:
        """Whether neither the tower nor its mergers, nor an adapter on them, train."""
        return all(path[0] != "vision" for path, _ in leaf_paths(self.start.params))

    def encode(self, questions: Sequence[EncodedQuestion], params: Any) -> list[EncodedQuestion]:
        """The questions with what a frozen tower makes of their pictures; of one that trains, as they are. `params`:
        the whole tree.
        """
        if self.features is None:
            return list(questions)
        prompts = self.features(params, [q.prompt for q in questions])
        return [dataclasses.replace(q, prompt=p) for q, p in zip(questions, prompts)]

    def params(self, trainable: Params) -> Any:
        """The whole parameter tree with these trainable parameters."""
        return join_params(trainable, self.frozen)

    def export(self, trainable: Params, directory: Path) -> None:
        """Writes the policy in the Hugging Face layout, processor files included, with how it was trained to be asked;
        LoRA adapters are merged. An older one is replaced as a whole: what else belongs to an export is written inside
        the block, into `folder`.
        """
        params = self.params(trainable)
        if self.lora is not None:
            params = merge_lora(self.policy.config, params, self.lora)
        with replaced_checkpoint(directory) as folder:
            save_pretrained((self.policy.config, params), folder, processor_files_from=self.policy.directory)
            if is_primary() and self.policy.directory is not None:
                write_asking(folder, run_asking(self.run, self.processor), self.processor)


def run_mesh(run: RunConfig) -> Mesh | None:
    """The mesh of the settings over the devices it asks for; None for a single device."""
    sizes = run.mesh.sizes
    devices = jax.devices()
    if all(size == 1 for size in sizes.values()) or len(devices) == 1:
        if jax.process_count() > 1:
            raise ValueError(
                f"the mesh is of one device, but {jax.process_count()} processes with {len(devices)} devices train"
                " together; give --config.mesh.fsdp=-1, or sizes that multiply to the number of devices"
            )
        return None
    return make_mesh(sizes, devices)


def run_asking(run: RunConfig, processor: Processor) -> Asking | None:
    """How the run's policy is taught to be asked; None for alignment, which asks nothing. Supervised training does not
    limit answers: they end where their demonstrations end.
    """
    data, rollout = run.data, run.rollout
    method = method_of(run)
    if not method.asks:
        return None
    return Asking(
        prompt_mode=data.prompt_mode,
        system=data.system,
        max_new_tokens=rollout.max_new_tokens if method.samples else None,
        turns=rollout.turns,
        max_pictures=rollout.max_pictures if rollout.turns > 1 else None,
        position_rule=run.model.position_rule,
        frames=data.frames,
        fps=data.fps,
        format=run.reward.format or None,
        format_weight=run.reward.format_weight,
        truncated_reward=run.reward.truncated_reward,
        gate=run.reward.gate,
        by_family=run.reward.by_family,
        user_function=run.reward.user_function if run.reward.user_file else None,
        **limits_of(processor),
    )


def compare_asking(run: RunConfig, directory: str | Path, processor: Processor) -> None:
    """Says so, where a run begins with a policy that was trained to be asked otherwise than the run asks it, or with
    pass rates of answers to questions that were asked otherwise.
    """
    asking = run_asking(run, processor)
    if asking is None or not is_primary():
        return
    found = [(read_asking(directory), f"the policy in {directory} was trained to be asked")]
    if run.offline_pass_rates and (asked := pass_rate_asking(run.offline_pass_rates)):
        known = {name: value for name, value in asked.items() if hasattr(asking, name)}
        found.append((dataclasses.replace(asking, **known), f"the answers of {run.offline_pass_rates} were asked for"))
    for other, what in found:
        names = [n for n in differences(other, asking) if n != "max_new_tokens"] if other else []
        if other and names:
            told = "; ".join(f"{other.describe(name)} (this run: {asking.describe(name)})" for name in names)
            log.warning("%s otherwise than this run asks: %s", what, told)


def check_inputs(run: RunConfig) -> None:
    """ValueError where a run does not name its policy or its data: recipes leave both open."""
    for key, given in (("model.path", run.model.path), ("data.paths", run.data.paths)):
        if not given:
            raise ValueError(f"config.{key} is not set; give --config.{key}={_EXAMPLES[key]}")


@dataclasses.dataclass
class Weights:
    """A policy on its mesh with its processor: read from a checkpoint, or shapes alone. `vision`: what batches are
    collated for, where that is not the policy's own tower.
    """

    policy: Policy
    processor: Processor
    mesh: Mesh | None
    vision: VisionConfig | None = None


def run_processor(run: RunConfig, directory: str | Path) -> Processor:
    """The processor of a checkpoint, with the run's limits."""
    data = run.data
    return Processor.from_pretrained(
        directory,
        min_pixels=data.min_pixels,
        max_pixels=data.max_pixels,
        position_rule=run.model.position_rule,
        video_min_pixels=data.video_min_pixels,
        video_max_pixels=data.video_max_pixels,
    )


def load_weights(run: RunConfig) -> Weights:
    """The checkpoint that a run begins with. Errors are one line that names the setting."""
    mesh, model = run_mesh(run), run.model
    policy = load_pretrained(
        model.path, dtype=model.dtype, mesh=mesh, param_dtype=model.param_dtype, position_rule=model.position_rule
    )
    processor = run_processor(run, policy.directory or model.path)
    compare_asking(run, policy.directory or model.path, processor)
    return Weights(policy, processor, mesh)


def make_setup(run: RunConfig, workdir: Path, weights: Weights | None = None) -> Setup:
    """What surrounds the policy; `weights` of the run's checkpoint, unless they are given. Of shapes everything else is
    shapes, too.
    """
    weights = weights or load_weights(run)
    policy, mesh, model = weights.policy, weights.mesh, run.model
    lora = LoraConfig(model.lora_rank, model.lora_alpha, model.lora_targets) if model.lora_rank else None
    if lora is not None:
        policy.graphdef, policy.params = with_adapters(policy, lora, mesh)
    mask = trainable_mask(policy.params, model.freeze, ("lora",) if lora else ())
    trainable, frozen = split_params(policy.params, mask)
    steps = run.train.steps * (run.train.prompts // run.train.update_prompts)
    optimizer = make_optimizer(run.optimizer, steps)
    buckets = Buckets(
        run.data.prompt_buckets,
        run.rollout.answer_buckets,
        run.data.patch_buckets,
        weights.processor.pad_id,
        weights.vision or policy.config.vision,
        batch_parts(mesh),
    )
    start = init_state(trainable, optimizer)
    setup = Setup(run, workdir, policy, mesh, lora, frozen, optimizer, steps, weights.processor, buckets, start)
    if not is_abstract(policy.params):
        setup.processor.keyed = True  # pictures that repeat are known
    check_feature_cache(setup)
    if setup.tower_is_frozen and not is_abstract(policy.params):
        setup.features = make_features(setup)
    return setup


def check_feature_cache(setup: Setup) -> None:
    """ValueError where features of pictures cannot be kept as the settings say: the tower trains, or several
    processes share the folder, which would not all find the same pictures there.
    """
    data = setup.run.data
    if data.feature_cache_gib and not setup.tower_is_frozen:
        trains = next(".".join(map(str, path)) for path, _ in leaf_paths(setup.start.params) if path[0] == "vision")
        adapter = "let config.model.lora_targets leave it alone"
        keep = adapter if setup.lora else "set config.model.freeze=('vision', 'merger')"
        raise ValueError(
            f"config.data.feature_cache_gib keeps what a frozen tower makes of pictures, but the tower trains ({trains}"
            f" and others): {keep}, or leave it at 0"
        )
    if data.feature_cache and jax.process_count() > 1:
        raise ValueError(
            "config.data.feature_cache is for runs of one process; leave it empty to keep features in memory"
        )


def make_features(setup: Setup) -> FeatureStore:
    """Where a run keeps what its frozen tower makes of pictures."""
    data, files = setup.run.data, None
    room = int(data.feature_cache_gib * 2**30)
    if data.feature_cache and not is_abstract(setup.policy.params):
        image = setup.processor.image_settings
        tower = tower_digest(setup.policy.params, f"{setup.run.model.dtype} {image.mean} {image.std}")
        files = FeatureFiles(data.feature_cache, tower, setup.policy.config.vision.out_hidden_size, room)
    return FeatureStore(
        setup.graphdef,
        setup.policy.config.vision,
        data.patch_buckets,
        cache_bytes=room,
        files=files,
        mesh=setup.mesh,
    )


def with_adapters(policy: Policy, lora: LoraConfig, mesh: Mesh | None) -> tuple[Any, Any]:
    """(graphdef, parameters) of the policy with new adapters, which are made on one device and go to their places: the
    base is there already.
    """
    made: list[Any] = []

    def add(params: Any) -> Any:
        made[:] = add_lora(policy.config, policy.graphdef, params, lora)
        return made[1]

    params = jax.eval_shape(add, policy.params) if is_abstract(policy.params) else add(policy.params)
    if mesh is not None and is_abstract(params):
        params = shapes_with_shardings(params, param_shardings(params, param_axes(policy.config, lora), mesh))
    elif mesh is not None:
        params = shard_params(params, param_axes(policy.config, lora), mesh)
    return made[0], params
