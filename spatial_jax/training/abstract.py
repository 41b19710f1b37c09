"""A run without weights, data or devices: the programs that its trainer and sampler would compile, on shapes with
shardings.

The same method, LogProbs, Updater and DevicePrograms are built as in a run; only their arrays are shapes. So
what compiles here is what a run compiles.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from spatial_jax.models import (
    ModelConfig,
    Policy,
    VisionConfig,
    VisionFeatures,
    abstract_model,
    model_shardings,
    plan_vision,
)
from spatial_jax.parallel.rules import partition_spec, shapes_with_shardings
from spatial_jax.processing import EncodedPrompt, choose_bucket, collate_prompts
from spatial_jax.processing.buckets import SHOWN_BUCKETS
from spatial_jax.processing.collate import SHARE, choose_pack
from spatial_jax.rollout import Engine, Trajectory, extend
from spatial_jax.rollout.decode import Pause
from spatial_jax.rollout.device import Shape, static_part
from spatial_jax.rollout.state import Draw, state_axes
from spatial_jax.rollout.turns import append_sizes
from spatial_jax.training.answers import make_engine, sampling_params
from spatial_jax.training.batches import GroupBatch
from spatial_jax.training.method import Example, Typical
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.setup import Setup, Weights, make_features, make_setup
from spatial_jax.training.update import Updater, batch_shardings, group_axis

# Words of a question and its chat template beside its picture.
TEXT_TOKENS, LEAST_TEXT = 160, 16
# Words around a picture that is shown between turns.
SHOWN_TEXT = 56


@dataclasses.dataclass
class Tokens:
    """The part of a processor that shapes programs."""

    pad_id: int
    eos_ids: tuple[int, ...]
    banned_ids: tuple[int, ...]

    def decode(self, ids: Any) -> str:
        raise RuntimeError("an abstract run has no text")


@dataclasses.dataclass(frozen=True)
class Work:
    """What a typical step asks for: pixels of a picture, tokens of an answer, pictures of a prompt (or pairs of a
    video's frames).
    """

    pixels: int
    answer_tokens: int
    pictures: int = 1


@dataclasses.dataclass(frozen=True)
class Program:
    """One jitted function with its abstract arguments; `calls`: how often a training step runs it; `rows`: prompts of a
    call, `row`: (prompt tokens, answers, answer tokens that pass) of each; `mesh`: what it is compiled for;
    `own_weights`: it is given the sampler's copy of the policy, not the trainer's parameters.
    """

    name: str
    function: Any
    arguments: tuple[Any, ...]
    calls: float
    rows: int = 0
    row: tuple[int, int, int] = (0, 0, 0)
    mesh: Mesh | None = None
    own_weights: bool = False

    def trace(self) -> Any:
        return self.function.trace(*self.arguments)


def abstract_setup(run: RunConfig, config: ModelConfig, mesh: Mesh | None) -> Setup:
    """A run's setup of shapes alone."""
    return make_setup(run, Path(), abstract_weights(run, config, mesh))


def abstract_weights(run: RunConfig, config: ModelConfig, mesh: Mesh | None) -> Weights:
    """A policy of these sizes whose parameters are shapes with shardings, and the part of a processor that shapes
    programs.
    """
    graphdef, params = abstract_model(config, run.model.dtype, run.model.param_dtype)
    if mesh is not None:
        params = shapes_with_shardings(params, model_shardings(config, params, mesh))
    banned = (config.image_token_id, config.video_token_id)
    tokens: Any = Tokens(config.pad_token_id or 0, (config.text.vocab_size - 2,), banned)
    return Weights(Policy(config, graphdef, params, None, mesh), tokens, mesh, _narrow(config.vision))


def _narrow(vision: VisionConfig) -> VisionConfig:
    """The tower with patches of one number: host batches then need no memory for pixels; `abstract_batch` widens them
    again.
    """
    return dataclasses.replace(
        vision, patch_size=1, temporal_patch_size=1, in_channels=1, window_size=vision.window_size // vision.patch_size
    )


def picture_grid(config: VisionConfig, pixels: int) -> tuple[int, int]:
    """The (height, width) in patches of a picture of about 4:3 with at most `pixels` pixels."""
    unit = config.patch_size * config.spatial_merge_size
    height = max(math.isqrt(pixels * 3 // 4) // unit, 1)
    width = max(pixels // unit**2 // height, 1)
    return height * config.spatial_merge_size, width * config.spatial_merge_size


def most_pixels(run: RunConfig, vision: VisionConfig, pictures: int = 1) -> int:
    """Pixels of each of a prompt's pictures (of a video's frames, where the run chooses their number): the run's
    largest, or what its longest prompt has room for.
    """
    room = (
        (max(run.data.prompt_buckets) - LEAST_TEXT) // pictures * (vision.patch_size * vision.spatial_merge_size) ** 2
    )
    return min((run.data.video_max_pixels if run.data.frames else run.data.max_pixels) or room, room)


def pictures_of(run: RunConfig) -> int:
    """Pictures of a prompt: pairs of a video's frames, where the run chooses their number, else one."""
    return -(-run.data.frames // 2) if run.data.frames else 1


def typical_prompt(setup: Setup, work: Work) -> EncodedPrompt:
    """A question about pictures; its text is shorter where the run's prompts are (tiny policies)."""
    h, w = picture_grid(setup.policy.config.vision, work.pixels)
    pictured = work.pictures * h * w // setup.policy.config.vision.merge_unit
    longest = max(setup.run.data.prompt_buckets)
    length = longest if pictured + LEAST_TEXT <= longest < pictured + TEXT_TOKENS else pictured + TEXT_TOKENS
    kinds = np.zeros(length, np.uint8)
    kinds[LEAST_TEXT // 2 : LEAST_TEXT // 2 + pictured] = 1
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (3, length))
    features = _blank_features(setup, pictured) if setup.tower_is_frozen else None
    return EncodedPrompt(
        np.zeros(length, np.int32),
        positions,
        length,
        kinds,
        np.zeros((work.pictures * h * w, 1), np.float32) if features is None else None,
        np.array([[1, h, w]] * work.pictures),
        [(w, h)] * work.pictures,
        features=features,
    )


def _blank_features(setup: Setup, tokens: int) -> VisionFeatures:
    """Features of so many tokens, of one number each; `abstract_batch` widens them."""
    kind, taps = jnp.dtype(setup.run.model.dtype), len(setup.policy.config.vision.deepstack_blocks)
    host: Any = VisionFeatures  # NumPy arrays stand where device arrays will
    return host(np.zeros((tokens, 1), kind), np.zeros((taps, tokens, 1), kind) if taps else None)


def typical_conversation(setup: Setup, work: Work) -> Trajectory:
    """An answer of `work.answer_tokens` in as many turns as the run allows, or as have room: a picture of the
    question's size is shown after each but the last.
    """
    h, w = picture_grid(setup.policy.config.vision, work.pixels)
    pictured = h * w // setup.policy.config.vision.merge_unit
    size, prompt = pictured + SHOWN_TEXT, typical_prompt(setup, work)
    # One token stays for the prompt's last, which goes before the answer in supervised training.
    pictures = min(setup.run.rollout.turns - 1, max((work.answer_tokens - 1) // (size + LEAST_TEXT) - 1, 0))
    reply = np.zeros((work.answer_tokens - 1 - pictures * size) // (pictures + 1), np.int32)
    kinds = np.zeros(size, np.uint8)
    kinds[SHOWN_TEXT // 2 : SHOWN_TEXT // 2 + pictured] = 1
    whole, at = Trajectory.written(reply), prompt.next_position
    for _ in range(pictures):
        at += len(reply)
        shown = EncodedPrompt(
            np.zeros(size, np.int32),
            np.broadcast_to(np.arange(at, at + size, dtype=np.int32), (3, size)),
            at + size,
            kinds,
            np.zeros((h * w, 1), np.float32),
            np.array([[1, h, w]]),
            [(w, h)],
        )
        whole, at = extend(whole, shown, Trajectory.written(reply)), at + size
    return whole


def abstract_batch(batch: Any, config: VisionConfig, mesh: Mesh | None) -> Any:
    """Shapes of a host batch with the shardings that `place` would give it, patches and features at their true
    width.
    """

    def shape(path, leaf):
        leaf = np.asarray(leaf)
        width = {"patches": config.patch_dim, "features": config.out_hidden_size, "deepstack": config.out_hidden_size}
        last = width.get(getattr(path[-1], "name", ""))
        return jax.ShapeDtypeStruct((*leaf.shape[:-1], last) if last else leaf.shape, leaf.dtype)

    shapes = jax.tree_util.tree_map_with_path(shape, batch)
    return shapes if mesh is None else shapes_with_shardings(shapes, batch_shardings(shapes, mesh, group_axis))


def example(setup: Setup, work: Work) -> Example:
    """A micro-batch of prompts alike with answers of equal length, made by the method's own collation."""
    if not setup.method.planned:
        raise ValueError(f"plan: method {setup.run.train.method!r} is not planned; its programs are not known")
    several = setup.run.rollout.turns > 1
    conversation = typical_conversation(setup, work) if several else None
    answer = np.zeros(work.answer_tokens, np.int32)
    return setup.method(setup).example(Typical(typical_prompt(setup, work), answer, conversation))


def training_programs(setup: Setup, work: Work) -> list[Program]:
    """Accumulation and application of gradients, and the reference pass where the run has one."""
    train, mesh, vision = setup.run.train, setup.mesh, setup.policy.config.vision
    method, state, made = setup.method(setup), setup.start, example(setup, work)
    batch = abstract_batch(made.parts[0], vision, mesh)
    accumulate, apply = Updater(setup.graphdef, setup.optimizer, method.loss, mesh).jit_for(state)
    grads = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=p.sharding), state.params)
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    given = (state.params, setup.frozen, grads, batch, scalar, dict.fromkeys(made.coefficients, scalar))
    micros, updates = train.prompts / train.micro_prompts * made.collations, train.prompts / train.update_prompts
    programs = encode_programs(setup, work)
    programs += [
        Program("update", accumulate, given, micros * len(made.parts), *_rows(batch), mesh),
        Program("apply", apply, (state, grads), updates, mesh=mesh),
    ]
    if made.passes:
        whole = abstract_batch(made.batch, vision, mesh)
        scored = (setup.params(state.params), whole.prompts, whole.answers)
        programs.append(Program("logprobs", method.scorer.jitted, scored, micros * made.passes, *_rows(whole), mesh))
    return programs


def encode_programs(setup: Setup, work: Work) -> list[Program]:
    """The pass of a frozen tower over the pictures of as many prompts as have room in the largest patch bucket; none of
    a tower that trains.
    """
    if not setup.tower_is_frozen:
        return []
    store, vision = make_features(setup), setup.policy.config.vision
    h, w = picture_grid(vision, work.pixels)
    patches = work.pictures * h * w
    prompts = min(max(setup.buckets.patch) // store.parts // patches * store.parts, setup.run.train.prompts)
    parts = store.parts if prompts >= store.parts else 1
    prompts = max(prompts // parts * parts, 1)
    shares = [bucket // parts // SHARE * SHARE for bucket in store.buckets]
    share = min((s for s in shares if s >= prompts // parts * patches), default=prompts // parts * patches)
    arrays = plan_vision(
        np.zeros((prompts * patches, 1), np.float32),
        np.array([[1, h, w]] * (prompts * work.pictures)),
        setup.buckets.vision,
        bucket=share * parts,
        pictures=[prompts // parts * work.pictures] * parts,
    )
    params, calls = setup.params(setup.start.params), setup.run.train.prompts / prompts
    given = (params, abstract_batch(arrays, vision, None))
    return [Program("encode", store.encode, given, calls, prompts, mesh=setup.mesh)]


def _rows(batch: GroupBatch) -> tuple[int, tuple[int, int, int]]:
    rows, prompt = batch.prompts.tokens.shape
    answers, length = batch.answers.tokens.shape[1:]
    return rows, (prompt, answers, length - 1)


def rollout_programs(setup: Setup, work: Work) -> list[Program]:
    """Prefill of one batch of prompts and the decode loop with its longest ring, as the engine calls them; before them,
    where the sampler has a layout of its own, the program that brings the weights there.
    """
    engine, sampling, run, config = make_engine(setup), sampling_params(setup), setup.run, setup.policy.config
    device, mesh, params, prompt = (
        engine.device,
        engine.mesh,
        setup.params(setup.start.params),
        typical_prompt(setup, work),
    )
    programs = []
    place: Any = engine.place
    if place is not None:
        programs.append(Program("reshard", place, (params,), 1, mesh=mesh))
        params = place.eval_shape(params)
    answer = choose_bucket(run.rollout.max_new_tokens, engine.answer_buckets)
    bucket, several = choose_bucket(len(prompt), engine.prompt_buckets), run.rollout.turns > 1
    shape = engine.shape(run.train.prompts, run.rollout.group_size, bucket, answer, whole=several)
    longest = run.rollout.total_tokens
    ring = (
        engine.turns_rings(answer, longest)[-1] if several else choose_bucket(work.answer_tokens, engine.answer_buckets)
    )
    count = engine.prefill_size(shape)
    buckets = dataclasses.replace(
        setup.buckets, prompt=(bucket,), answer=engine.answer_buckets, patch=engine.patch_buckets, parts=engine.parts
    )
    prompts = buckets.prompts([prompt] * count)
    state = _state_shapes(device, params, shape, ring, mesh)
    scalar: Callable[[Any], Any] = lambda kind: jax.ShapeDtypeStruct((), kind)  # noqa: E731
    draw = Draw(scalar(jnp.int32), scalar(jnp.float32), scalar(jnp.uint32), scalar(jnp.uint32))
    rows = jax.ShapeDtypeStruct((count,), jnp.int32)
    ids = jax.ShapeDtypeStruct((count,), jnp.uint32)
    # The engine hands over host arrays without a sharding; so the prompts are whole on every device.
    batch = abstract_batch(prompts, config.vision, None)
    fixed = static_part(sampling)
    rounds = run.train.prompts / shape.rows
    own = place is not None
    pause: Any = Pause(scalar(jnp.int32), scalar(jnp.int32)) if several else None
    if several:
        programs += _append_programs(setup, work, engine, shape, (params, state, draw, fixed), own)
    return [
        *programs,
        Program(
            "prefill",
            device.admit,
            (params, state, batch, None, None, rows, ids, draw, fixed),
            run.train.prompts / count,
            count,
            (bucket, 0, 0),
            mesh,
            own,
        ),
        Program(
            "decode",
            device.decode,
            (params, state, draw, scalar(jnp.int32), pause, fixed),
            rounds * work.answer_tokens,
            mesh=mesh,
            own_weights=own,
        ),
    ]


def _append_programs(
    setup: Setup, work: Work, engine: Engine, shape: Shape, given: tuple[Any, Any, Any, Any], own: bool
) -> list[Program]:
    """What passes between two turns: the tower over the pictures that are shown, and the decoder over them behind the
    conversations. None where a conversation has no room for a picture.
    """
    whole = typical_conversation(setup, work)
    blocks = [turn.observation for turn in whole.turns if turn.observation is not None]
    if not blocks:
        return []
    params, state, draw, fixed = given
    size = 1 + len(blocks[0])  # behind the turn's last token
    length = choose_bucket(size, SHOWN_BUCKETS)
    count = append_sizes(engine, shape, length)[0] * engine.parts
    patches, parts = choose_pack([blocks[0]] * count, engine.patch_buckets, engine.parts, "patches between turns")
    batch = collate_prompts(
        [blocks[0]] * count,
        setup.buckets.vision,
        prompt_bucket=length,
        patch_bucket=patches,
        pad_id=setup.buckets.pad_id,
        parts=parts,
    )
    shown = abstract_batch(batch, setup.policy.config.vision, None)
    seen = (params, shown.vision, count * length // parts)
    shown = dataclasses.replace(shown, vision=engine.device.see.eval_shape(*seen))
    places = jax.ShapeDtypeStruct((engine.parts, count // engine.parts), jnp.int32)
    calls = setup.run.train.prompts * setup.run.rollout.group_size * len(blocks) / count
    appended = (params, state, shown, places, places, draw, fixed)
    return [
        Program("see", engine.device.see, seen, calls, mesh=engine.mesh, own_weights=own),
        Program("append", engine.device.append, appended, calls, mesh=engine.mesh, own_weights=own),
    ]


def _state_shapes(device: Any, params: Any, shape: Shape, ring: int, mesh: Mesh | None) -> Any:
    """The decode state's shapes, sharded as `constrain_state` pins them."""
    shapes = jax.eval_shape(lambda p: device.empty(p, shape, ring), params)
    if mesh is None:
        return shapes

    def one(path, leaf):
        name = getattr(path[0], "name", "")
        axes = state_axes(name, leaf.ndim, isinstance(getattr(shapes, name), list))
        spec = partition_spec(axes, leaf.shape, mesh, strict=False)
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(one, shapes)
