"""One program compiled for a topology, and what was read from it."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import jax

from launch.planning import counting, gpus, hlo
from launch.planning.chips import GIB, Topology
from launch.planning.kernels import launches
from spatial_jax.metrics.flops import GroupTokens, forward_flops, model_shape, training_flops, vision_flops
from spatial_jax.models import config_to_hf, leaf_paths
from spatial_jax.training.abstract import Program, Work, picture_grid, typical_prompt
from spatial_jax.training.setup import Setup


@dataclasses.dataclass(frozen=True)
class Measured:
    """Numbers are those of one call on one device, unless named otherwise. `resident_gib`: arrays that stay on the
    device beside the program's own (moments while gradients are computed, the reference while sampling); `total_gib` is
    what must fit. `model_ratio`: FLOPs over the model's own (no padding, no recomputation), None where there is nothing
    to compare with. Seconds are rooflines. Of cards, `launches`: kernels of a call; `loops`: (depth, rounds, kernels a
    round, GiB moved a round), rounds None where the compiler does not know them; `moved_gib`: what kernels write that
    only copy, slice or convert; `largest_move`.
    """

    program: str
    calls_a_step: float
    arguments_gib: float
    temporaries_gib: float
    peak_gib: float
    resident_gib: float
    total_gib: float
    flops: float
    kernel_flops: float
    model_ratio: float | None
    hbm_bytes: float
    collective_bytes: dict[str, dict[str, float]]
    largest_collective: str
    kernels: dict[str, float]
    seconds: dict[str, float]
    compile_seconds: float
    launches: float = 0.0
    loops: list[tuple[int, int | None, float, float]] = dataclasses.field(default_factory=list)
    moved_gib: float = 0.0
    largest_move: str = ""
    token: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def bound(self) -> float:
        """Seconds a call at least takes."""
        return max(self.seconds.values(), default=0.0)


def measure(program: Program, setup: Setup, topology: Topology, work: Work) -> Measured:
    """Compiles the program and reads it."""
    began, mesh = time.monotonic(), program.mesh
    if topology.is_card and mesh is None:
        program = dataclasses.replace(program, arguments=gpus.place_on(program.arguments, topology.devices()[0]))
    traced = traced_program(program, topology)
    done = counting.count(traced.jaxpr, lambda kernel, q, k: visible_pairs(program, q, k))
    compiled = traced.lower(lowering_platforms=topology.lowering).compile()
    seconds = time.monotonic() - began
    memory, text = compiled.memory_analysis(), compiled.as_text()
    devices = 1 if mesh is None else mesh.size
    sizes = {} if mesh is None else dict(mesh.shape)
    found = hlo.collectives(text)
    largest = max(found, key=lambda c: c.bytes, default=None)
    own = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    resident = resident_bytes(program, setup)
    hbm = done.weights / sizes.get("tensor", 1) + done.activations / devices
    useful = model_flops(program, setup, work)
    return Measured(
        program.name,
        program.calls,
        memory.argument_size_in_bytes / GIB,
        memory.temp_size_in_bytes / GIB,
        getattr(memory, "peak_memory_in_bytes", 0) / GIB,
        resident / GIB,
        (own + resident) / GIB,
        done.flops / devices,
        done.kernel_flops / devices,
        (done.flops + done.kernel_flops) / useful if useful else None,
        hbm,
        hlo.by_axis(found, sizes),
        f"{largest.kind} {largest.shape}" if largest else "",
        {name: runs / devices for name, runs in done.kernels.items()},
        roofline(topology, (done.flops + done.kernel_flops) / devices, hbm, found),
        round(seconds, 1),
        **(launch_fields(text) if topology.is_card else {}),
        token=token_fields(program, setup, topology, compiled, text),
    )


def traced_program(program: Program, topology: Topology) -> Any:
    """The program traced. RuntimeError, one line, where it takes cuDNN's attention and there is no cuDNN to ask."""
    try:
        return program.trace()
    except RuntimeError as error:
        if topology.is_card and "cudnn" in str(error).lower():
            raise RuntimeError(f"{program.name} takes cuDNN, which is not installed: {gpus.INSTALL}") from error
        raise


def launch_fields(text: str) -> dict[str, Any]:
    """What a card's program launches, as fields of `Measured`."""
    found = launches(text)
    return {
        "launches": found.kernels,
        "loops": [(loop.depth, loop.turns, loop.kernels, loop.moved / GIB) for loop in found.loops],
        "moved_gib": found.moved / GIB,
        "largest_move": f"{found.largest[0][1]} x {found.largest[0][2]:.0f}" if found.largest else "",
    }


def token_fields(program: Program, setup: Setup, topology: Topology, compiled: Any, text: str) -> dict[str, float]:
    """Of a decode loop's round on one device: `bytes` that it reads and writes by the compiled program, and
    `least_bytes`, the weights and the whole caches once; of cards also kernels and bytes of all layers together. A
    TPU's compiler counts its loop over the layers once: there both are of one layer and all else, which `layers` says.
    Empty for other programs, and where the compiler does not tell.
    """
    if program.name != "decode":
        return {}
    if topology.is_tpu and (cost := compiled.cost_analysis()):
        least = least_token_bytes(program, setup, 1)
        return {"bytes": float(cost["bytes accessed"]), "least_bytes": least, "layers": 1}
    if not topology.is_card:
        return {}
    loop = launches(text).decoding
    if loop is None:
        return {}
    layers = {"layers_kernels": loop.layers_kernels, "layers_bytes": loop.layers_bytes}
    least = least_token_bytes(program, setup)
    return {"kernels": loop.kernels, "bytes": loop.bytes, **layers, "least_bytes": least}


def least_token_bytes(program: Program, setup: Setup, layers: int = 0) -> float:
    """The decoder's layers (so many of them, 0: all) and its head, in the type that they are multiplied in, and their
    caches at full length.
    """
    whole = setup.policy.config.text.num_layers
    share = (layers or whole) / whole
    params, state = program.arguments[:2]
    text, width = params["text"], jax.numpy.dtype(setup.run.model.dtype).itemsize
    head = text["embed"] if setup.policy.config.tie_word_embeddings else text["head"]
    weights = 0.0
    for path, leaf in leaf_paths({"layers": text["layers"], "head": head}):
        if not path[-1].startswith("lora_"):
            size = tree_bytes(leaf) * min(width, leaf.dtype.itemsize) / leaf.dtype.itemsize
            weights += size * (share if path[0] == "layers" else 1.0)
    return weights + share * tree_bytes((state.prompt_kv, state.answer_kv))


def roofline(topology: Topology, flops: float, hbm_bytes: float, found: list[hlo.Collective]) -> dict[str, float]:
    """Least seconds of a call by matrix units, memory and links; empty where the chip's rates are not known."""
    chip = topology.chip
    if chip.flops is None or chip.hbm_rate is None or chip.link_rate is None:
        return {}
    moved = sum(
        c.bytes * c.times * (2 if c.kind == "all-reduce" else c.group if c.kind == "reduce-scatter" else 1)
        for c in found
    )
    return {
        "compute": flops * chip.devices / chip.flops,
        "memory": hbm_bytes * chip.devices / chip.hbm_rate,
        "links": moved * chip.devices / chip.link_rate,
    }


def held_bytes(program: Program, setup: Setup) -> float:
    """Bytes of a device that are taken before the program begins: what it is given and what stays beside it."""
    arrays = [leaf for leaf in jax.tree.leaves(program.arguments) if isinstance(leaf, jax.ShapeDtypeStruct)]
    return tree_bytes(arrays) + resident_bytes(program, setup)


def resident_bytes(program: Program, setup: Setup) -> float:
    """Bytes a device of the state and the reference that the program is not given."""
    state, given, method = setup.start, program.name, setup.method
    moments, trainable, frozen = (tree_bytes(tree) for tree in (state.opt_state, state.params, setup.frozen))
    reference = trainable if method.needs_reference(setup.run) or method.keeps_reference else 0.0
    if given == "apply":
        return frozen + reference
    # The reference pass is given the reference in place of the policy, which stays too.
    return moments + reference + (trainable + frozen if program.own_weights else 0.0)


def tree_bytes(tree: Any) -> float:
    """Bytes of a tree of shapes on one device."""

    def one(leaf):
        shape = leaf.sharding.shard_shape(leaf.shape) if getattr(leaf, "sharding", None) is not None else leaf.shape
        size = leaf.dtype.itemsize
        for n in shape:
            size *= n
        return size

    return float(sum(one(leaf) for leaf in jax.tree.leaves(tree)))


def visible_pairs(program: Program, queries: int, keys: int) -> float:
    """(query, key) pairs that an attention kernel's mask shows in one row: a group's, a prompt's, or a picture's
    frame.
    """
    p, g, t = program.row
    if abs(p + g * t - queries) < 128:
        return p * (p + 1) / 2 + g * (t * p + t * (t + 1) / 2)
    return float(queries * keys)


def model_flops(program: Program, setup: Setup, work: Work) -> float:
    """The model's own FLOPs of a call over all devices; 0 for programs that have none of their own."""
    vision, prompt = setup.policy.config.vision, typical_prompt(setup, work)
    h, w = picture_grid(vision, work.pixels)
    window = vision.window_tokens**2 * vision.merge_unit
    answers = (work.answer_tokens,) * program.row[1]
    n = work.pictures
    group = GroupTokens(len(prompt), answers, n * h * w, n * (h * w) ** 2, n * h * w * window)
    shape = model_shape(config_to_hf(setup.policy.config))
    frozen = setup.tower_is_frozen  # its features are an argument of all programs but its own
    if program.name == "encode":
        return program.rows * vision_flops(shape, group.patches, group.full_squares, group.window_squares)
    if frozen:
        group = GroupTokens(group.prompt, group.answers)
    if program.name == "update":
        return training_flops(shape, [group] * program.rows, freeze_vision=frozen)
    if program.name in ("logprobs", "prefill"):
        return forward_flops(shape, [group] * program.rows)
    return 0.0
