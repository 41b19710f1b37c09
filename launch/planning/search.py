"""Configurations around a recipe: the nearest that fits, and a ranking of those that do."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from launch.planning.runs import Request, plan


def alternatives(request: Request) -> Iterator[dict[str, Any]]:
    """Settings to change, the least intrusive first: recomputation, shorter rows, smaller micro-batches, smaller moments."""
    config, chips = request.config, request.topology.chips * request.topology.chip.devices
    settings: dict[str, Any] = {}
    if config.model.remat != "full":
        settings = {"model__remat": "full"}
        yield dict(settings)
    if config.mesh.data != 1 or config.mesh.tensor != 1:
        settings |= {"mesh__data": 1, "mesh__tensor": 1, "mesh__fsdp": -1}
        yield dict(settings)
    if config.run.micro_prompts > chips and config.run.update_prompts % chips == 0:
        settings["run__micro_prompts"] = chips
        yield dict(settings)
    if config.run.method == "grpo":
        size = config.run.micro_answers or config.rollout.group_size
        for parts in (2, 4, 8, 16):
            if size % parts == 0:
                settings["run__micro_answers"] = size // parts
                yield dict(settings)
        slots = config.rollout.max_slots
        if slots // 2 >= chips * config.rollout.group_size:
            settings["rollout__max_slots"] = chips * config.rollout.group_size
            yield dict(settings)
    for moments in ("bfloat16", "int8"):
        yield settings | {"optimizer__moments": moments}


def nearest(request: Request, program: str) -> str:
    """One line: the first alternative in which `program`, the one that did not fit, does, as flags of the command line."""
    alone = dataclasses.replace(request, programs=(program,))
    for settings in alternatives(request):
        try:
            if plan(alone.changed(**settings))["fits"]:
                return f"nearest configuration that fits: {as_flags(settings)}"
        except (RuntimeError, ValueError):
            continue
    return "no configuration of this topology was found to fit; use more chips or chips with more memory"


def ranking(request: Request) -> str:
    """A line for each mesh shape and micro-batch, by least seconds of a step; what does not fit or compile comes last, with its reason."""
    devices = request.topology.chips * request.topology.chip.devices
    rows: list[tuple[float, str]] = []
    for tensor in (1, 2, 4):
        for data in (1, 2, 4, 8):
            ways = devices // tensor
            if devices % (tensor * data) or ways < data or request.config.run.update_prompts % ways:
                continue
            for answers in ((0,) if request.config.run.method != "grpo" else (0, request.config.rollout.group_size // 4 or 1)):
                settings = {"mesh__data": data, "mesh__fsdp": ways // data, "mesh__tensor": tensor, "run__micro_prompts": ways, "run__micro_answers": answers}
                try:
                    record = plan(dataclasses.replace(request.changed(**settings)))
                except (RuntimeError, ValueError) as error:
                    rows.append((float("inf"), f"{as_flags(settings)}: {str(error).splitlines()[0]}"))
                    continue
                seconds = record.get("step", {}).get("seconds_at_least", 0.0)
                verdict = "does not fit" if record["fits"] is False else f"{seconds:.0f} s a step"
                rows.append((float("inf") if record["fits"] is False else seconds,
                             f"{as_flags(settings)}: {verdict}, {record['largest_gib']:.1f} GiB ({record['largest_program']})"))
    return "\n".join(line for _, line in sorted(rows))


def as_flags(settings: dict[str, Any]) -> str:
    return " ".join(f"--config.{key.replace('__', '.')}={value}" for key, value in settings.items())
