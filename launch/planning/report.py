"""A plan as text and as JSON."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Sequence
from typing import Any

from launch.planning import gpus
from launch.planning.chips import Topology
from launch.planning.measure import Measured
from spatial_jax.training.abstract import Work
from spatial_jax.training.answers import sampling_mesh
from spatial_jax.training.method import answers_per_question
from spatial_jax.training.setup import Setup

# Matrix units do not reach their peak: the share that step times are told with, beside the bound itself.
ATTAINED = 0.5
# Rows of a tile of bfloat16 in a TPU's memory.
TILE_ROWS = 16


def plan_facts(config: str, model: str, topology: Topology, setup: Setup, work: Work) -> dict[str, Any]:
    """What is planned and by which compiler, as a record tells it: parts of plans whose facts are equal may be put
    together, as long as the code is the same, too.
    """
    run, sampler = setup.run, sampling_mesh(setup)
    return {
        "config": config,
        "model": model,
        "layers": setup.policy.config.text.num_layers,
        "versions": compilers(topology),
        "topology": f"{topology.family}:{'x'.join(map(str, topology.shape))}",
        "chips": topology.chips,
        "mesh": dict(setup.mesh.shape) if setup.mesh is not None else {},
        "sampler_mesh": dict(sampler.shape) if sampler is not None else {},
        "batch": {
            "prompts": run.train.prompts,
            "group_size": answers_per_question(run),
            "micro_prompts": run.train.micro_prompts,
            "micro_answers": run.train.micro_answers,
            "max_slots": run.rollout.max_slots,
            "remat": run.model.remat,
            "moments": run.optimizer.moments,
            "pixels": work.pixels,
            "pictures": work.pictures,
            "answer_tokens": work.answer_tokens,
        },
        "settings": json.loads(json.dumps(dataclasses.asdict(run))),
    }


def compilers(topology: Topology) -> dict[str, str]:
    """Versions of what compiles."""
    names = ("jax", "jaxlib", *(["libtpu"] if topology.is_tpu else []))
    return {name: importlib.metadata.version(name) for name in names} | (gpus.versions() if topology.is_card else {})


def plan_record(
    facts: dict[str, Any],
    topology: Topology,
    setup: Setup,
    work: Work,
    programs: list[Measured],
    price: float | None,
    missing: Sequence[str] = (),
) -> dict[str, Any]:
    """Everything that was found, ready for JSON. `price`: of one chip for one hour; `missing`: programs of a step that
    are not among `programs`; while there are any, nothing is said of the step.
    """
    run = setup.run
    capacity = topology.chip.gib
    worst = max(programs, key=lambda m: m.total_gib)
    record: dict[str, Any] = {
        **facts,
        "complete": not missing,
        "missing": list(missing),
        "capacity_gib": capacity,
        "largest_gib": worst.total_gib,
        "largest_program": worst.program,
        "fits": None if capacity is None else worst.total_gib <= capacity,
        "programs": {m.program: dataclasses.asdict(m) for m in programs},
        "advice": mesh_advice(setup) if topology.is_tpu else "",
    }
    if not missing and all(m.seconds for m in programs):
        bound = sum(m.bound * m.calls_a_step for m in programs)
        tokens = run.train.prompts * record["batch"]["group_size"] * work.answer_tokens
        record["step"] = {
            "seconds_at_least": bound,
            "seconds_at_half_rate": bound / ATTAINED,
            "answer_tokens_per_second_at_most": tokens / bound,
        }
        if price is not None:
            record["step"]["cost_of_1000_steps_at_half_rate"] = 1000 * bound / ATTAINED / 3600 * topology.chips * price
    return record


def card_work(program: dict[str, Any]) -> str:
    """Kernels of a call on a card, its heaviest loops, and what only moves data; of the fields of `Measured`."""
    loops = sorted(program["loops"], key=lambda loop: -loop[2] * (loop[1] or 1))[:3]
    text = f"{program['launches']:,.0f} kernels"
    if loops:
        rounds = (f"{turns or '?'} rounds of {kernels:,.0f}{moves(moved)}" for _, turns, kernels, moved in loops)
        text += f" (loops: {', '.join(rounds)})"
    if program["moved_gib"] >= 0.001:
        text += (
            f"; kernels that only copy or convert write {program['moved_gib']:.2f} GiB, most of it"
            f" {program['largest_move']}"
        )
    return text


def token_work(token: dict[str, float], layers: int) -> str:
    """What a token costs, of the field `token` of `Measured`."""
    what = "one layer and all else of a token read and write" if token.get("layers") else "a token reads and writes"
    text = f"{what} {token['bytes'] / 1e9:.2f} GB, {token['bytes'] / token['least_bytes']:.2f} times"
    text += " the weights and caches"
    if inside := token.get("layers_kernels"):
        text += f", by {inside:.0f} kernels in {layers} layers and {token['kernels'] - inside:.0f} for all else"
    return text


def moves(gib: float) -> str:
    """What a loop's round only brings elsewhere, where it is anything."""
    return f" that move {gib * 1024:.0f} MiB" if gib * 1024 >= 1 else ""


def mesh_advice(setup: Setup) -> str:
    """One line when the fsdp axis cuts the model's widths into shards that are no whole tiles; empty otherwise."""
    if setup.mesh is None:
        return ""
    config, ways = setup.policy.config, setup.mesh.shape["fsdp"]
    widths = sorted({config.text.hidden_size, config.vision.hidden_size})
    broken = next((width for width in widths if width % (ways * TILE_ROWS)), None)
    if broken is None or ways == 1:
        return ""
    less = next(
        n for n in range(ways, 0, -1) if ways % n == 0 and all(width % (n * TILE_ROWS) == 0 for width in widths)
    )
    return (
        f"width {broken:,} over fsdp {ways} leaves shards of {broken / ways:g} rows, no multiple of a tile's"
        f" {TILE_ROWS}: the TPU compiler then moves weights or their gradients as all-reduces of the whole;"
        f" --config.mesh.data={setup.mesh.shape['data'] * ways // less} leaves whole tiles (and more of the state on"
        " each device)"
    )


def seconds(value: float) -> str:
    """With two digits at least."""
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"


def plan_text(record: dict[str, Any]) -> str:
    """The plan as a table with a verdict."""
    batch = record["batch"]
    mesh = " x ".join(f"{name} {size}" for name, size in record["mesh"].items()) or "one device"
    if record["sampler_mesh"] != record["mesh"]:
        mesh += "; samples on " + " x ".join(f"{name} {size}" for name, size in record["sampler_mesh"].items())
    part = f" x {batch['micro_answers']} answers" if batch["micro_answers"] else ""
    lines = [
        f"{record['model']} on {record['topology']} ({record['chips']} chips), mesh {mesh}",
        (
            f"{batch['prompts']} prompts x {batch['group_size']}, answers of {batch['answer_tokens']} tokens, "
            f"micro-batches of {batch['micro_prompts']} prompts{part}, remat {batch['remat']}"
        ),
        (
            f"{'program':<10}{'calls':>9}{'args':>7}{'temp':>7}{'beside':>7}{'GiB':>7}{'TFLOP':>9}{'/model':>7}"
            f"{'MXU s':>9}{'HBM s':>9}{'ICI s':>9}  largest collective"
        ),
    ]
    for name, m in record["programs"].items():
        times = [
            f"{m['seconds'][k]:9.3g}" if k in m["seconds"] else f"{'-':>9}" for k in ("compute", "memory", "links")
        ]
        ratio = f"{m['model_ratio']:7.2f}" if m["model_ratio"] else f"{'-':>7}"
        lines.append(
            f"{name:<10}{m['calls_a_step']:9.0f}{m['arguments_gib']:7.2f}{m['temporaries_gib']:7.2f}"
            f"{m['resident_gib']:7.2f}{m['total_gib']:7.2f}{(m['flops'] + m['kernel_flops']) / 1e12:9.3g}"
            f"{ratio}{''.join(times)}"
            f"  {m['largest_collective']}"
        )
    for name, m in record["programs"].items():
        for kind, axes in m["collective_bytes"].items():
            lines.append(
                f"  {name}: {kind} " + ", ".join(f"{size / 1e9:.2f} GB over {axis}" for axis, size in axes.items())
            )
        if m.get("launches"):
            lines.append(f"  {name}: {card_work(m)}")
        if m.get("token"):
            lines.append(f"  {name}: {token_work(m['token'], record['layers'])}")
        if m["kernels"]:
            lines.append(
                f"  {name}: kernels " + ", ".join(f"{kernel} x {runs:.0f}" for kernel, runs in m["kernels"].items())
            )
    if step := record.get("step"):
        cost = step.get("cost_of_1000_steps_at_half_rate")
        lines.append(
            f"a step: at least {seconds(step['seconds_at_least'])} by rooflines,"
            f" {seconds(step['seconds_at_half_rate'])} at half of them; at most"
            f" {step['answer_tokens_per_second_at_most']:.0f} answer tokens/s"
            + (f"; 1,000 steps cost {cost:,.0f}" if cost is not None else "")
        )
    if record["advice"]:
        lines.append(record["advice"])
    if record["fits"] is not None:
        part = "" if record["complete"] else f" (of {', '.join(record['programs'])} alone)"
        lines.append(
            f"{'FITS' if record['fits'] else 'DOES NOT FIT'}{part}: {record['largest_program']} needs"
            f" {record['largest_gib']:.2f} of {record['capacity_gib']:.2f} GiB a device"
        )
    return "\n".join(lines)
