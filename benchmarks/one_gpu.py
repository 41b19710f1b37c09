"""One accelerator, measured: Qwen2.5-VL-3B in bfloat16 here, in transformers and in vLLM on the same card, and the
first steps of the 3B recipe.

    python -m benchmarks.one_gpu --all      # one GPU of 80 GB, at most eight minutes; benchmarks/results/one_gpu.json
    python -m benchmarks.one_gpu --parts=rollout,transformers_rollout --layers=2
    python -m benchmarks.one_gpu --all --tiny --out=FILE    # on shapes for a CPU: whether everything runs

Random weights of the true shapes. Eight prompts of 1,024 tokens, 900 of them of a picture of 840 x 840; sixteen answers
each. Rollout: 128 answers of 128 tokens. Update: forward and backward over one group with answers of 256 tokens, every
layer recomputed. Gap: the sampler's log-probabilities against the update's.

Each part has a process and a time limit of its own: one that fails or takes too long is named, the rest goes on, and
the result is written after each. Exit code 1 when a part failed, 2 when there is no GPU.

For a machine with a GPU and no network, take the packages along. Here (its Python and the C library's age as they are
there), then there, from this folder:

    pip download -c constraints.txt --only-binary=:all: --python-version=3.12 --platform=manylinux_2_28_x86_64 \
        --platform=manylinux_2_27_x86_64 --platform=manylinux2014_x86_64 -d wheels ".[cuda,prep,bench]"
    pip install --no-index --find-links=wheels -e ".[cuda,prep,bench]"

vLLM is measured where it is installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.card import Work
from benchmarks.policies import RESULTS
from spatial_jax.models import published_names
from spatial_jax.options import Listed, Parser, list_parts, nearest

LIMIT_S = 470  # all parts; what is left of eight minutes is for the start and the end
PATIENCE = 10  # how many times as long --tiny may take, on a machine that is busy with other things


@dataclasses.dataclass(frozen=True)
class Part:
    """`function` of `module` in `benchmarks.card`, the seconds it may take, and the package it cannot do without."""

    module: str
    function: str
    limit_s: int
    needs: str = "jax"


# In this order: what cannot be had elsewhere first.
PARTS = {
    "prefill": Part("ours", "prefill", 60),
    "rollout": Part("ours", "rollout", 90),
    "update": Part("ours", "update", 110),
    "prepare": Part("recipe", "prepare", 100),
    "recipe": Part("recipe", "steps", 150),
    "transformers_prefill": Part("theirs", "prefill", 50, "torch"),
    "transformers_rollout": Part("theirs", "rollout", 110, "torch"),
    "transformers_update": Part("theirs", "update", 70, "torch"),
    "recipe_again": Part("recipe", "first_step", 70),
    "vllm_rollout": Part("served", "rollout", 150, "vllm"),
}


def measure(name: str, work: Work) -> dict[str, Any]:
    """The part, in this process."""
    part = PARTS[name]
    return getattr(importlib.import_module(f"benchmarks.card.{part.module}"), part.function)(work)


def run_part(name: str, command: list[str], log: Path, limit_s: float) -> dict[str, Any]:
    """What a command measured, which it leaves as JSON beside its `log`; {"failed": WHY} where it does not. What it
    started ends with it.
    """
    begun, measured = time.monotonic(), log.with_suffix(".json")
    measured.unlink(missing_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    if code is None:
        return {"failed": f"not done after {limit_s:.0f} s: {lines[-1][:200]}"}
    if code or not measured.exists():
        return {"failed": f"ended with {code}: {lines[-1][:200]}"}
    return {**json.loads(measured.read_text()), "took_s": round(time.monotonic() - begun, 1)}


def run_all(names: list[str], options: list[str], folder: Path, result: dict[str, Any], out: Path) -> None:
    """Every part after the other into `result["parts"]`, which is written after each."""
    patience = PATIENCE if "--tiny" in options else 1
    begun = time.monotonic()
    for at, name in enumerate(names):
        part = PARTS[name]
        limit = min(part.limit_s * patience, LIMIT_S * patience - (time.monotonic() - begun))
        if importlib.util.find_spec(part.needs) is None:
            told = {"failed": f"{part.needs} is not installed"}
        elif limit < 10:
            told = {"failed": f"no time was left of {LIMIT_S * patience} s"}
        else:
            print(f"[{at + 1}/{len(names)}] {name}: at most {limit:.0f} s", flush=True)
            command = [sys.executable, "-m", "benchmarks.one_gpu", f"--here={name}", f"--folder={folder}", *options]
            told = run_part(name, command, folder / f"{name}.log", limit)
        print(f"    {told}", flush=True)
        result["parts"][name] = told
        result["table"] = table(result["parts"], result["work"])
        out.write_text(json.dumps(result, indent=1) + "\n")


def table(parts: dict[str, Any], work: dict[str, Any]) -> list[list[str]]:
    """Rows of what, spatial_jax, transformers and vLLM; then a row for each part that failed."""

    def of(part: str, key: str, form: str = "{:,}") -> str:
        value = parts.get(part, {}).get(key)
        return "-" if value is None else form.format(value)

    rows = [
        [what, *(of(side + part, key, form) for side in ("", "transformers_", "vllm_"))]
        for what, part, key, form in (
            ("prefill, tokens a second", "prefill", "tokens_per_s", "{:,}"),
            ("prefill, share of the peak", "prefill", "mfu", "{:.1%}"),
            ("rollout, tokens a second", "rollout", "tokens_per_s", "{:,}"),
            ("update, answers a second", "update", "answers_per_s", "{:,}"),
            ("update, share of the peak", "update", "mfu", "{:.1%}"),
            ("update, its first time, s", "update", "first_s", "{:,}"),
            ("memory, GiB", "update", "peak_gib", "{:,}"),
        )
    ]
    prefill, rollout = parts.get("prefill", {}), parts.get("rollout", {})
    if "seconds" in prefill and "seconds" in rollout:
        step = (rollout["seconds"] - prefill["seconds"]) / work["rolled"]
        rows.append(["rollout without prefill, ms a token step", f"{1000 * step:.2f}", "-", "-"])
        if rollout["bandwidth"] and step > 0:
            share = rollout["read_gb"] * 1e9 / step / rollout["bandwidth"]
            rows.append(["its least reads, share of bandwidth", f"{share:.1%}", "-", "-"])
    rows += [
        ["gap of sampler and update, nats", of("rollout", "gap"), "-", "-"],
        ["recipe, seconds a step", of("recipe", "seconds_a_step"), "-", "-"],
        ["recipe, its gap, nats", of("recipe", "gap"), "-", "-"],
        ["recipe, first step, s", of("recipe", "first_step_s"), "-", "-"],
        ["recipe, first step from the cache, s", of("recipe_again", "first_step_s"), "-", "-"],
    ]
    return rows + [[name, told["failed"], "", ""] for name, told in parts.items() if "failed" in told]


def card() -> str:
    """The GPU's name; "" where JAX sees none."""
    look = "import jax; d = jax.devices()[0]; print(d.device_kind if d.platform in ('gpu', 'cuda', 'rocm') else '')"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True)
    return done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""


def main(argv: list[str] | None = None) -> int:
    """Command line; see the module's docstring."""
    parser = Parser("python -m benchmarks.one_gpu", __doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="every part")
    which.add_argument("--parts", action=Listed, metavar="NAME,NAME", help=", ".join(PARTS))
    which.add_argument("--here", choices=tuple(PARTS), help="this part, in this process")
    parser.add_argument("--model", default="qwen2_5_vl_3b")
    parser.add_argument("--layers", type=int, default=0, help="decoder layers; 0: the published number")
    parser.add_argument("--tiny", action="store_true", help="a tiny model and little work, without a GPU")
    parser.add_argument("--folder", default="", help="for logs, questions and weights (default: one that is removed)")
    parser.add_argument("--out", default=str(RESULTS / "one_gpu.json"))
    args = parser.parse_args(argv)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    work = Work.tiny(Path(args.folder)) if args.tiny else Work(args.model, args.layers, Path(args.folder))
    if args.here:
        (work.folder / f"{args.here}.json").write_text(json.dumps(measure(args.here, work)))
        return 0
    names = list(PARTS) if args.all else list_parts(args.parts)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"--parts={unknown[0]}: there is no such part; {nearest(unknown[0], PARTS)}")
    if args.model not in ("tiny", *published_names()):
        parser.error(f"--model={args.model}: there is no such model; {nearest(args.model, published_names())}")
    if args.layers < 0:
        parser.error(f"--layers={args.layers}: give 1 or more, or 0 for the published number")
    if not Path(args.out).parent.is_dir():
        parser.error(f"--out={args.out}: there is no folder {Path(args.out).parent}")
    device = "CPU, tiny shapes" if args.tiny else card()
    if not device:
        print(
            "one_gpu: JAX sees no GPU here: run it on a machine with one and jax[cuda12] (--tiny: a look on a CPU)",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="one_gpu_") as temporary:
        folder = Path(args.folder or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        options = [f"--model={args.model}", f"--layers={args.layers}", *(["--tiny"] if args.tiny else [])]
        sizes = {key: value for key, value in dataclasses.asdict(work).items() if key != "folder"}
        command = f"python -m benchmarks.one_gpu {'--all' if args.all else '--parts=' + ','.join(names)}"
        result: dict[str, Any] = {"command": command, "device": device, "work": sizes, "parts": {}}
        run_all(names, options, folder, result, Path(args.out))
    columns = ["", "spatial_jax", "transformers", "vLLM"]
    for row in [columns, ["---"] * 4, *result["table"]]:
        print(f"| {' | '.join(row)} |")
    return int(any("failed" in told for told in result["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
