"""Full size on this machine: a checkpoint of Qwen2.5-VL-3B's true configuration, written by transformers with random
weights, loaded here.

    python -m benchmarks.full_size_policy [--layers 36] [--work DIR] [--out benchmarks/results/full_size_policy.json]

Processes after one another, so that each one's peak memory is its own: transformers writes the weights (bfloat16, in
shards), then computes the logits of a prompt with a picture in both types; spatial_jax streams the same files and does
the same. float32 needs 18 GB. The bfloat16 difference is held against transformers' own distance between bfloat16 and
float32 arithmetic on the same weights. Exit code 1 when a difference is outside the bounds of
spatial_jax/models/verify.py.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NAME = "qwen2_5_vl_3b"


def hf_config(layers: int) -> Any:
    """The published configuration, with fewer decoder layers on request."""
    import dataclasses

    from transformers import Qwen2_5_VLConfig

    from spatial_jax.models import config_to_hf, published_config

    config = published_config(NAME)
    config = dataclasses.replace(config, text=dataclasses.replace(config.text, num_layers=layers))
    plain = config_to_hf(config, "bfloat16")
    return config, Qwen2_5_VLConfig(**{k: v for k, v in plain.items() if k not in ("architectures", "model_type")})


def inputs_of(config: Any) -> dict[str, np.ndarray]:
    """A prompt with one picture of 16 x 16 patches."""
    from spatial_jax.models.verify import sample_inputs

    return sample_inputs(config, [[16, ("image", (1, 16, 16)), 32]])


def write(layers: int, folder: Path) -> dict[str, Any]:
    """transformers makes the model with random weights and saves it."""
    from spatial_jax.models.reference import import_torch

    torch, transformers = import_torch()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = transformers.Qwen2_5_VLForConditionalGeneration(hf_config(layers)[1])
    model.save_pretrained(folder, max_shard_size="2GB")
    return {"parameters": sum(p.numel() for p in model.parameters())}


def theirs(layers: int, folder: Path, dtype: str) -> dict[str, Any]:
    """Logits of transformers."""
    from spatial_jax.models.reference import import_torch

    torch, transformers = import_torch()
    inputs = {key: torch.from_numpy(value) for key, value in inputs_of(hf_config(layers)[0]).items()}
    start = time.perf_counter()
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    loaded = time.perf_counter()
    with torch.no_grad():
        np.save(folder / f"theirs_{dtype}.npy", model(**inputs).logits.float().numpy())
    return {"load_s": loaded - start, "forward_s": time.perf_counter() - loaded}


def ours(layers: int, folder: Path, dtype: str) -> dict[str, Any]:
    """Logits of spatial_jax from the same files."""
    from spatial_jax.models import load_pretrained

    inputs = inputs_of(hf_config(layers)[0])
    start = time.perf_counter()
    policy = load_pretrained(folder, dtype=dtype, position_rule="hf5")
    loaded, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    np.save(folder / f"ours_{dtype}.npy", policy.logits(**inputs))
    return {
        "load_s": loaded - start,
        "forward_with_compile_s": time.perf_counter() - loaded,
        "peak_gib_after_load": peak,
    }


PARTS: dict[str, Callable[[int, Path], dict[str, Any]]] = {"write": write} | {
    f"{who.__name__}_{dtype}": functools.partial(who, dtype=dtype)
    for who in (theirs, ours)
    for dtype in ("bfloat16", "float32")
}


def run_part(name: str, layers: int, folder: Path) -> dict[str, Any]:
    """A part in a process of its own: what it returns, its seconds and its peak memory; kept in `folder`, so that a
    stopped run goes on.
    """
    kept = folder / f"part_{name}_{layers}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    start = time.perf_counter()
    command = [
        sys.executable,
        "-m",
        "benchmarks.full_size_policy",
        f"--part={name}",
        f"--layers={layers}",
        f"--work={folder}",
    ]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip().split("\n")[-1]
    row = json.loads(out) | {"seconds": time.perf_counter() - start}
    print(f"{name}: {row}", flush=True)
    kept.write_text(json.dumps(row))
    return row


def differences(folder: Path) -> dict[str, float]:
    """Errors of the logits, and their scale."""
    logits = {
        name: np.load(folder / f"{name}.npy").astype(np.float64)
        for name in ("theirs_float32", "theirs_bfloat16", "ours_float32", "ours_bfloat16")
    }
    truth = logits["theirs_float32"]
    rms = {name: float(np.sqrt(np.mean((value - truth) ** 2))) for name, value in logits.items()}
    return {
        "logits_std": float(truth.std()),
        "float32_max_error": float(np.abs(logits["ours_float32"] - truth).max()),
        "float32_rms_error": rms["ours_float32"],
        "bfloat16_rms_error": rms["ours_bfloat16"],
        "transformers_bfloat16_rms_error": rms["theirs_bfloat16"],
        "same_top_token_float32": float(np.mean(logits["ours_float32"].argmax(-1) == truth.argmax(-1))),
    }


def within_bounds(difference: dict[str, float]) -> bool:
    """The bounds of `convert --verify`, in both types, and the same most likely token everywhere."""
    from spatial_jax.models.verify import HALF_RATIO, MAX_ERROR, RMS_ERROR

    return (
        difference["float32_max_error"] <= MAX_ERROR
        and difference["float32_rms_error"] <= RMS_ERROR
        and difference["bfloat16_rms_error"] <= HALF_RATIO * difference["transformers_bfloat16_rms_error"]
        and difference["same_top_token_float32"] == 1.0
    )


def main() -> int:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--layers", type=int, default=36, help="decoder layers; 36 is the published number")
    parser.add_argument("--work", default="", help="folder for the checkpoint (8 GB); default: a temporary one")
    parser.add_argument("--out", default="benchmarks/results/full_size_policy.json")
    args = parser.parse_args()
    if args.part:
        row = PARTS[args.part](args.layers, Path(args.work))
        print(json.dumps(row | {"peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return 0
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(args.work or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        parts = {name: run_part(name, args.layers, folder) for name in PARTS}
        files = sum(f.stat().st_size for f in folder.glob("*.safetensors"))
        largest = max(np.prod(shape) for shape in ((151936, 2048), (2048, 11008))) * 2 / 2**30
        result = {
            "command": "python -m benchmarks.full_size_policy",
            "model": NAME,
            "layers": args.layers,
            "file_gib": files / 2**30,
            "largest_tensor_gib": float(largest),
            **parts,
            "difference": differences(folder),
        }
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    passed = within_bounds(result["difference"])
    print(json.dumps(result["difference"], indent=1) + ("\nwithin the bounds" if passed else "\nOUT OF BOUNDS"))
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
