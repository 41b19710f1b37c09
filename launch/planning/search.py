"""Configurations around a recipe: the nearest that fits, and a ranking of those that do."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from launch.planning.report import seconds
from launch.planning.runs import DoesNotFit, Request, plan
from spatial_jax.training.methods import METHODS

# Recomputation policies, the one that repeats least first; "offload" trades memory for traffic to the host instead.
POLICIES = ("none", "dots", "attention", "full")


def alternatives(request: Request, program: str) -> Iterator[dict[str, Any]]:
    """Settings to change where `program` does not fit, the least intrusive first: of sampling fewer answers at once and
    a smaller cache; of training recomputation, shorter rows, smaller micro-batches, smaller moments.
    """
    config, chips = request.config, request.topology.chips * request.topology.chip.devices
    settings: dict[str, Any] = {}
    samples = METHODS[config.train.method].samples
    if program in ("decode", "prefill", "reshard"):
        slots, least = config.rollout.max_slots, chips * config.rollout.group_size
        while slots // 2 >= least:
            slots //= 2
            settings["rollout__max_slots"] = slots
            yield dict(settings)
        if config.rollout.kv_dtype != "int8":
            settings["rollout__kv_dtype"] = "int8"
            yield dict(settings)
    elif config.model.remat != "full":
        settings["model__remat"] = "full"
        yield dict(settings)
    if config.mesh.data != 1 or config.mesh.tensor != 1:
        settings |= {"mesh__data": 1, "mesh__tensor": 1, "mesh__fsdp": -1}
        yield dict(settings)
    if config.train.micro_prompts > chips and config.train.update_prompts % chips == 0:
        settings["train__micro_prompts"] = chips
        yield dict(settings)
    if samples:
        size = config.train.micro_answers or config.rollout.group_size
        for parts in (2, 4, 8, 16):
            if size % parts == 0:
                settings["train__micro_answers"] = size // parts
                yield dict(settings)
    for moments in ("bfloat16", "int8"):
        yield settings | {"optimizer__moments": moments}


def with_least_recomputation(
    request: Request, say: Callable[[str], None] = lambda line: None
) -> tuple[Request, dict[str, Any] | None, str]:
    """The request with the policy that repeats least of those with which its update fits, the plan of that update
    (None where it fits with none), and a line that tells what was tried. What "full" does not make fit, none does.
    """
    tried: list[str] = []

    def attempt(policy: str) -> tuple[Request, dict[str, Any] | None]:
        own = request.with_settings(model__remat=policy)
        say(f"recomputation {policy}:")
        try:
            record = plan(dataclasses.replace(own, programs=("update",)), say)
        except DoesNotFit:
            tried.append(f"{policy} has no room")
            return own, None
        tried.append(f"{policy} needs {record['largest_gib']:.1f} GiB")
        return own, None if record["fits"] is False else record

    own, found = attempt(POLICIES[-1])
    if found is None:
        return own, None, f"update does not fit, whatever is recomputed: {tried[0]} of {request.topology.chip.gib:.1f}"
    for policy in POLICIES[:-1]:
        less, record = attempt(policy)
        if record is not None:
            own, found = less, record
            break
    return own, found, f"recomputation: {', '.join(tried)}: takes {own.config.model.remat}"


def nearest(request: Request, program: str, say: Callable[[str], None] = lambda line: None) -> str:
    """One line: the first alternative in which `program`, the one that did not fit, does, as flags of the command
    line. `say` is told of each, as each is tried; it is compiled only where there is room for what it is given.
    """
    alone, tried = dataclasses.replace(request, programs=(program,)), list(alternatives(request, program))
    for count, settings in enumerate(tried, 1):
        say(f"does it fit with [{count}/{len(tried)}] {as_flags(settings)}?")
        try:
            if plan(alone.with_settings(**settings))["fits"]:
                return f"nearest configuration that fits: {as_flags(settings)}"
        except (RuntimeError, ValueError):
            continue
    adapters = "" if request.config.model.lora_rank else ", train adapters (--config.model.lora_rank=16)"
    return f"no configuration of this topology was found to fit; use more chips or larger ones{adapters}"


def candidates(request: Request) -> Iterator[dict[str, Any]]:
    """Mesh shapes that the devices and the batch divide over, each with whole groups and with quarters of them."""
    devices, group = request.topology.chips * request.topology.chip.devices, request.config.rollout.group_size
    for tensor, data in itertools.product((1, 2, 4), (1, 2, 4, 8)):
        ways = devices // tensor
        if devices % (tensor * data) or request.config.train.update_prompts % ways:
            continue
        for answers in (0, max(group // 4, 1)) if METHODS[request.config.train.method].samples else (0,):
            yield {
                "mesh__data": data,
                "mesh__fsdp": ways // data,
                "mesh__tensor": tensor,
                "train__micro_prompts": ways,
                "train__micro_answers": answers,
            }


def ranking(request: Request, say: Callable[[str], None] = lambda line: None) -> str:
    """A line for each candidate, with the least recomputation that fits it, by least seconds of its programs in a
    step; then those that do not fit or compile, with the reason.
    """
    rows: list[tuple[float, str]] = []
    tried, began = list(candidates(request)), time.monotonic()
    for count, settings in enumerate(tried):
        left = f", {(time.monotonic() - began) / count * (len(tried) - count) / 60:.0f} min left" if count else ""
        say(f"[{count + 1}/{len(tried)}{left}] {as_flags(settings)}")
        try:
            own, update, told = with_least_recomputation(request.with_settings(**settings))
            if update is None:
                raise DoesNotFit("update", told)
            settings = settings | {"model__remat": own.config.model.remat}
            rest = tuple(name for name in update["missing"] if name in (request.programs or update["missing"]))
            record = plan(dataclasses.replace(own, programs=rest), earlier=update) if rest else update
        except (RuntimeError, ValueError) as error:
            rows.append((float("inf"), f"{as_flags(settings)}: {str(error).splitlines()[0]}"))
            continue
        least = sum(max(m["seconds"].values(), default=0.0) * m["calls_a_step"] for m in record["programs"].values())
        verdict = "does not fit" if record["fits"] is False else f"at least {seconds(least)} a step"
        part = "" if record["complete"] else f" of {', '.join(record['programs'])}"
        rows.append(
            (
                float("inf") if record["fits"] is False else least,
                f"{as_flags(settings)}: {verdict}{part}, {record['largest_gib']:.1f} GiB ({record['largest_program']})",
            )
        )
    return "\n".join(line for _, line in sorted(rows))


def as_flags(settings: dict[str, Any]) -> str:
    return " ".join(f"--config.{key.replace('__', '.')}={value}" for key, value in settings.items())
