"""From a recipe to a plan: the abstract run on the topology's mesh, each of its programs compiled and measured."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jax.errors import JaxRuntimeError
from ml_collections import ConfigDict

from launch.planning.chips import GIB, Topology
from launch.planning.measure import Measured, held_bytes, measure
from launch.planning.report import plan_facts, plan_record
from spatial_jax import config as run_config
from spatial_jax.models import ModelConfig, published_config, published_names, read_config
from spatial_jax.ops.attention import target_platform
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.parallel.rules import batch_parts, changed_rules, use_rules
from spatial_jax.training.abstract import (
    Program,
    Work,
    abstract_setup,
    most_pixels,
    pictures_of,
    rollout_programs,
    training_programs,
)
from spatial_jax.training.setup import Setup


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be planned; None takes the recipe's own value."""

    config: ConfigDict
    file: str
    topology: Topology
    model: str | None = None
    layers: int | None = None
    pixels: int | None = None
    pictures: int = 1
    answer_tokens: int | None = None
    programs: tuple[str, ...] = ()
    price: float | None = None

    @property
    def name(self) -> str:
        """Of files: recipe and topology."""
        recipe = Path(self.file.split(":")[0]).stem + "".join(f"_{part}" for part in self.file.split(":")[1:])
        return f"{recipe}_{self.topology.family}_{'x'.join(map(str, self.topology.shape))}"

    def with_settings(self, **settings: Any) -> Request:
        """With "section.key" settings laid over the config: dots are written as double underscores."""
        config = self.config.copy_and_resolve_references()
        for key, value in settings.items():
            section, field = key.split("__")
            config[section][field] = value
        return dataclasses.replace(self, config=config)


class DoesNotFit(RuntimeError):
    """The compiler found no room for a program."""

    def __init__(self, program: str, message: str):
        super().__init__(message)
        self.program = program


# What recipes whose names do not tell are meant for.
_MEANT = {
    "debug_cpu": "configs/quickstart_policy",
    "quickstart": "configs/quickstart_policy",
    "debug_gpu": "qwen2_5_vl_3b",
}


def architecture(request: Request) -> tuple[str, ModelConfig]:
    """Name and sizes of the model: --model (a published name or a checkpoint's folder), what the recipe's name ends in,
    config.model.path, what the recipe is meant for. ValueError when none of them tells.
    """
    stem = Path(request.file.split(":")[0]).stem
    named = request.model or next((n for n in published_names() if stem.endswith(n)), None)
    name = named or request.config.model.get("path") or _MEANT.get(stem)
    if not name:
        raise ValueError(f"which model? give --model, a checkpoint's folder or one of {', '.join(published_names())}")
    if name in published_names():
        config = published_config(name)
    else:
        config, name = read_config(name), Path(name).name
    if request.layers:
        config = dataclasses.replace(config, text=dataclasses.replace(config.text, num_layers=request.layers))
    return name, config


def setup_of(request: Request) -> tuple[str, Setup, Work]:
    """The abstract run. ValueError for settings that do not fit the topology."""
    name, model = architecture(request)
    run = run_config.strict(request.config)
    devices = request.topology.devices()
    mesh = None
    if len(devices) > 1:
        mesh = make_mesh(run.mesh.sizes, devices)
        ways = batch_parts(mesh)
        if run.train.micro_prompts % ways:
            fitting = math.lcm(run.train.micro_prompts, ways)
            raise ValueError(
                f"config.train.micro_prompts = {run.train.micro_prompts} does not divide over data x fsdp = {ways}"
                f" devices, which would each do all of it; use --config.train.micro_prompts={fitting}"
                " or a larger tensor axis"
            )
    pictures = request.pictures if request.pictures > 1 else pictures_of(run)
    pixels = request.pixels or most_pixels(run, model.vision, pictures)
    return (
        name,
        abstract_setup(run, model, mesh),
        Work(pixels, request.answer_tokens or run.rollout.total_tokens, pictures),
    )


def programs_of(setup: Setup, work: Work) -> list[Program]:
    """All programs of a step."""
    programs = training_programs(setup, work)
    if setup.method.samples:
        programs += rollout_programs(setup, work)
    return programs


def plan(
    request: Request,
    say: Callable[[str], None] = lambda line: None,
    earlier: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda record: None,
) -> dict[str, Any]:
    """Compiles everything and returns the record of the plan; `save` is called with what there is of it after each
    program. Of `earlier`, the record of a plan of the same run, it takes the programs that are not asked for.
    DoesNotFit where a program has no room, RuntimeError where the compiler refuses one otherwise.
    """
    with use_rules(changed_rules(run_config.strict(request.config).mesh.rules)):
        return _plan(request, say, earlier, save)


def _plan(
    request: Request,
    say: Callable[[str], None],
    earlier: dict[str, Any] | None,
    save: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    name, setup, work = setup_of(request)
    facts = plan_facts(request.file, name, request.topology, setup, work)
    with target_platform(request.topology.platform):
        everything = programs_of(setup, work)
        if unknown := set(request.programs) - {p.name for p in everything}:
            raise ValueError(
                f"--programs: this recipe has {', '.join(p.name for p in everything)}, not {', '.join(sorted(unknown))}"
            )
        kept = (
            earlier["programs"]
            if request.programs and earlier and all(earlier.get(key) == value for key, value in facts.items())
            else {}
        )
        measured = {name: Measured(**numbers) for name, numbers in kept.items() if name not in request.programs}

        def record() -> dict[str, Any]:
            done = [measured[p.name] for p in everything if p.name in measured]
            missing = [p.name for p in everything if p.name not in measured]
            return plan_record(facts, request.topology, setup, work, done, request.price, missing)

        asked = [p for p in everything if not request.programs or p.name in request.programs]
        refuse_what_cannot_begin(asked, setup, request.topology.chip.gib)
        for program in asked:
            say(f"compiles {program.name} ...")
            try:
                measured[program.name] = measure(program, setup, request.topology, work)
            except JaxRuntimeError as error:
                if "RESOURCE_EXHAUSTED" in str(error):
                    raise DoesNotFit(program.name, f"{program.name} does not fit: {refusal(str(error))}") from error
                raise RuntimeError(f"{program.name} does not compile: {refusal(str(error))}") from error
            say(
                f"  {measured[program.name].compile_seconds:.0f} s, {measured[program.name].total_gib:.2f} GiB a device"
            )
            save(record())
        return record()


def refuse_what_cannot_begin(programs: list[Program], setup: Setup, capacity: float | None) -> None:
    """DoesNotFit where a device's `capacity` in GiB does not hold what a program is given: minutes of compiling would
    not change that.
    """
    for program in programs:
        held = held_bytes(program, setup) / GIB
        if capacity is not None and held > capacity:
            raise DoesNotFit(program.name, f"{program.name} is given {held:.1f} of {capacity:.1f} GiB before it begins")


def refusal(message: str) -> str:
    """The line of a compiler's message that says why."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return next((line for line in lines if "Used" in line or "exceed" in line.lower()), lines[0])
