r"""Will this run compile, fit and be worth its price on that TPU? Asked of the real compiler, without a TPU.

    python launch/plan.py --config=configs/li2025_qwen2_5_vl_7b.py --topology=v5p:4x4x4 \
        [--price=4.20] [--config.train.micro_prompts=64]
    python launch/plan.py --config=... --topology=v5e:8x8 --search      ranks mesh shapes and micro-batches
    python launch/plan.py --config=... --topology=h200:8 --least_recomputation     what repeats least and fits
    python launch/plan.py --proofs                                      re-makes benchmarks/results/plans/

Compiles the programs of the recipe on shapes alone (for TPUs libtpu must be installed, for cards of NVIDIA the extra
plan-gpu; cpu:8 and gpu:1 need none) and tells memory, FLOPs, collectives and roofline times of each, of cards also
kernels and copies. Exit code 1: does not fit; the nearest configuration that does is
named.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launch.planning.runs import Request

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from absl import flags
from ml_collections import config_flags

from spatial_jax.command_line import start
from spatial_jax.options import define_list, flag_parts

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "recipe, e.g. configs/li2025_qwen2_5_vl_7b.py", lock_config=True
)
_TOPOLOGY = flags.DEFINE_string(
    "topology",
    "v5p:4x4x4",
    "chip and shape, e.g. v5e:8x8, v5p:4x4x4, tpu7x:2x2x4; cards of one host: a100:8, h100:1, h200:8, b200:8,"
    " rtx4090:1; the machine's own: cpu:8, gpu:1",
)
_MODEL = flags.DEFINE_string(
    "model",
    None,
    "published architecture, e.g. qwen2_5_vl_7b, or a checkpoint's folder; default: what the recipe's file name ends in"
    ", config.model.path, or what the recipe is meant for",
)
_LAYERS = flags.DEFINE_integer("layers", None, "fewer decoder layers, for a quick look")
_PIXELS = flags.DEFINE_integer(
    "pixels", None, "pixels of a picture; default: the recipe's max_pixels, or what its longest prompt has room for"
)
_PICTURES = flags.DEFINE_integer(
    "pictures",
    1,
    "pictures of a prompt, or pairs of a video's frames; 1: as many as config.data.frames makes",
    lower_bound=1,
)
_ANSWER = flags.DEFINE_integer(
    "answer_tokens", None, "tokens of every answer; default: the recipe's max_new_tokens, the worst case"
)
_PROGRAMS = define_list(
    "programs",
    "only these of encode, update, apply, logprobs, reshard, prefill, see, append, decode; an earlier plan of the same"
    " run in --out keeps its others; default: all",
)
_PRICE = flags.DEFINE_float("price", None, "price of a chip for an hour")
_OUT = flags.DEFINE_string("out", None, "file for the plan as JSON; default: runs/plans/RECIPE_TOPOLOGY.json")
_SEARCH = flags.DEFINE_bool("search", False, "try mesh shapes and micro-batches and rank those that fit")
_LEAST = flags.DEFINE_bool(
    "least_recomputation", False, "take the recomputation that repeats least and fits, in place of config.model.remat"
)
_PROOFS = flags.DEFINE_bool("proofs", False, "re-make the committed plans, each only if it is missing or --force")
_FORCE = flags.DEFINE_bool("force", False, "with --proofs: compile plans that exist, too")


def main(argv: list[str]) -> int:
    """0: fits; 1: does not; 2: one line for what cannot be planned."""
    from launch.planning import proofs, runs, search
    from launch.planning.chips import Topology
    from launch.planning.report import plan_text

    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected argument {argv[1]!r}; options start with --")
        if _PROOFS.value:
            return proofs.remake(_FORCE.value)
        if _CONFIG.value is None:
            raise ValueError("--config=configs/RECIPE.py is needed")
        file = str(flags.FLAGS["config"].config_filename)  # type: ignore[attr-defined]
        request = runs.Request(
            _CONFIG.value,
            file,
            Topology.parse(_TOPOLOGY.value),
            _MODEL.value,
            _LAYERS.value,
            _PIXELS.value,
            _PICTURES.value,
            _ANSWER.value,
            tuple(flag_parts(_PROGRAMS)),
            _PRICE.value,
        )

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)

        if _SEARCH.value:
            print(search.ranking(request, say))
            return 0
        out = Path(_OUT.value or f"runs/plans/{request.name}.json")
        request, record = make_plan(request, say, out)
        print(plan_text(record))
        print(f"wrote {out}")
        if record["fits"] is False:
            print(search.nearest(request, record["largest_program"], say))
            return 1
        return 0
    except runs.DoesNotFit as error:
        print(f"DOES NOT FIT: {str(error).splitlines()[0]}")
        print(search.nearest(request, error.program, say))
        return 1
    except (ValueError, RuntimeError, OSError) as error:
        print(f"plan: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2


def make_plan(request: Request, say: Callable[[str], None], out: Path) -> tuple[Request, dict[str, Any]]:
    """The plan, written to `out` after every program, and the request with the recomputation that was taken."""
    from launch.planning import runs, search

    earlier = json.loads(out.read_text()) if request.programs and out.is_file() else None
    if _LEAST.value:
        request, earlier, told = search.with_least_recomputation(request, say)
        if earlier is None:
            raise runs.DoesNotFit("update", told)
        print(told)
        rest = [name for name in earlier["missing"] if name in (request.programs or earlier["missing"])]
        if not rest:
            save(earlier, out)
            return request, earlier
        request = dataclasses.replace(request, programs=tuple(rest))
    return request, runs.plan(request, say, earlier, lambda part: save(part, out))


def save(record: dict[str, Any], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


def prepare(arguments: list[str]) -> None:
    """The environment of a compile-only process, before jax is imported."""
    from launch.planning.gpus import CARDS
    from launch.xla_flags import compile_only_card, environment

    found = re.findall(r"^--?topology[=\n](.*)$", "\n".join(arguments), re.MULTILINE)
    given = found[-1] if found else "v5p"
    family, _, count = given.partition(":")
    card = family in CARDS
    tpu = not card and family not in ("cpu", "gpu")
    # XLA's own warnings and errors, such as that a compilation is slow; what it refuses it raises, and what ends it is
    # still written.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if card:
        os.environ.update(compile_only_card(os.environ))
    if family == "cpu" and count.isdigit():
        os.environ.update(environment("cpu", int(count), os.environ))
    if tpu:
        os.environ.update(environment("tpu", inherited=os.environ))
        # The machine's own devices are not used, several planners may run, and libtpu need not look for a TPU.
        os.environ["JAX_PLATFORMS"] = "cpu"
        for name, value in (
            ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
            ("TPU_ACCELERATOR_TYPE", "v5litepod-16"),
            ("TPU_WORKER_HOSTNAMES", "localhost"),
            ("TPU_SKIP_MDS_QUERY", "1"),
        ):
            os.environ.setdefault(name, value)


if __name__ == "__main__":
    prepare(sys.argv[1:])
    from spatial_jax.training.settings import RunConfig

    start(
        main,
        __doc__,
        RunConfig,
        groups={
            "what is planned": "config topology model layers programs",
            "its sizes": "pixels pictures answer_tokens",
            "what comes out": "price search least_recomputation out proofs force",
        },
    )
