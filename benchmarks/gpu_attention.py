"""Attention on one GPU: XLA's forms against the kernels (cuDNN's for a 3B's prompt and the tower's full-attention
blocks, our own for a group's rows and for a decode step).

    python -m benchmarks.gpu_attention           # one GPU, half a minute; writes benchmarks/results/gpu_attention.json

bfloat16; the least of five calls, forward, and forward with backward; errors are ||out - xla|| / ||xla|| at the rows
that count.
"""

from __future__ import annotations

import argparse
import json
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from spatial_jax.ops import decode_kernel, group_kernel
from spatial_jax.ops.attention import attention
from spatial_jax.ops.shared_prefix import KeyValues, decode_attention, ring_valid, two_part_attention

Attend = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
PADDED = (0, 37, 5, 64, 1, 2, 3, 90)


def least_ms(call: Callable[..., Any], *arguments: jax.Array) -> float:
    """The least of five calls, after one that compiles."""
    jax.block_until_ready(call(*arguments))
    return round(1e3 * min(timeit.repeat(lambda: jax.block_until_ready(call(*arguments)), number=1, repeat=5)), 3)


def distance(a: jax.Array, b: jax.Array) -> float:
    return round(float(jnp.linalg.norm((a - b).astype(jnp.float32)) / jnp.linalg.norm(b.astype(jnp.float32))), 5)


def case(shape: str, q: tuple[int, int, int, int], kv_heads: int, kernels: dict[str, Attend]) -> list[dict[str, Any]]:
    """A row a kernel; the first is what the others are compared with."""
    b, n, heads, d = q
    keys = jax.random.split(jax.random.key(0), 3)
    inputs = [jax.random.normal(key, (b, n, h, d), jnp.bfloat16) for key, h in zip(keys, (heads, kv_heads, kv_heads))]
    valid = jnp.arange(n)[None] >= jnp.array([PADDED[i % len(PADDED)] for i in range(b)])[:, None]
    rows: list[dict[str, Any]] = []
    first: list[jax.Array] = []
    for name, attend in kernels.items():

        def forward(q, k, v, attend=attend):
            return attend(q, k, v, valid).astype(jnp.float32) * valid[..., None, None]

        once, both = (
            jax.jit(forward),
            jax.jit(jax.grad(lambda q, k, v, forward=forward: jnp.sum(forward(q, k, v)), (0, 1, 2))),
        )
        made = [once(*inputs), *both(*inputs)]
        row: dict[str, Any] = {
            "shape": shape,
            "kernel": name,
            "forward_ms": least_ms(once, *inputs),
            "with_backward_ms": least_ms(both, *inputs),
        }
        if first:
            error, *gradients = (distance(a, b) for a, b in zip(made, first))
            row |= {"error": error, "gradient_errors": gradients}
        first = first or made
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def kernels(causal: bool) -> dict[str, Attend]:
    def whole(q, k, v, valid):
        return attention(q, k, v, causal=causal, kv_valid=valid if causal else None, backend="xla")

    def fuse(q, k, v, valid):
        return attention(q, k, v, causal=causal, kv_valid=valid if causal else None, backend="cudnn")

    return {"xla": whole, "cudnn": fuse}


def group_kernels(p: int, g: int, t: int) -> dict[str, Attend]:
    """A group's rows in plain XLA and by our kernels; answers are whole."""

    def plain(q, k, v, valid):
        return two_part_attention(q, k, v, valid[:, :p], valid[:, p:].reshape(-1, g, t))

    def fuse(q, k, v, valid):
        return group_kernel.group_attention(q, k, v, valid, prompt=p, answer=t)

    return {"xla": plain, "group kernel": fuse}


def decode_case(r: int = 8, w: int = 16, p: int = 1536, s: int = 1024, heads: int = 16, kv: int = 2, d: int = 128):
    """A row a form of one decode step's attention: milliseconds, and the kernel's distance from the plain form."""
    shapes = ((r, w, heads, d), (r, w, kv, d), (r, w, kv, d), *[(r, kv, p, d)] * 2, *[(r, w, kv, s, d)] * 2)
    keys = jax.random.split(jax.random.key(1), len(shapes))
    q, k, v, pk, pv, ok, ov = (jax.random.normal(key, shape, jnp.bfloat16) for key, shape in zip(keys, shapes))
    valid = jnp.arange(p)[None] >= jnp.array(PADDED)[:r, None]
    column, lengths = jnp.asarray(700), 1 + (jnp.arange(r * w) * 37 % s).reshape(r, w).astype(jnp.int32)
    ok, ov = ok.at[:, :, :, column].set(k), ov.at[:, :, :, column].set(v)
    plain = jax.jit(
        lambda: decode_attention(
            q, k, v, KeyValues(pk, pv), KeyValues(ok, ov), valid, ring_valid(column, lengths - 1, s)
        )
    )
    fused = jax.jit(lambda: decode_kernel.decode_attention(q, pk, pv, ok, ov, valid, column, lengths))
    shape = f"{r} prompts of {p}, {w} slots of up to {s}, {heads} heads of {d}, {kv} key heads, one token"
    rows = [
        {"shape": shape, "kernel": "xla", "forward_ms": least_ms(plain)},
        {"shape": shape, "kernel": "decode kernel", "forward_ms": least_ms(fused), "error": distance(fused(), plain())},
    ]
    for row in rows:
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    """Prints the rows and writes the JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.gpu_attention", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="benchmarks/results/gpu_attention.json")
    options = parser.parse_args()
    rows = case(
        "8 prompts x 1024, 16 heads of 128, 2 key heads, causal, left-padded", (8, 1024, 16, 128), 2, kernels(True)
    )
    rows += case("2 pictures x 3648 patches, 16 heads of 80, all to all", (2, 3648, 16, 80), 16, kernels(False))
    p, g, t = 1024, 8, 255
    rows += case(
        f"2 prompts of {p} with {g} answers of {t}, 16 heads of 128, 2 key heads",
        (2, p + g * t, 16, 128),
        2,
        group_kernels(p, g, t),
    )
    rows += decode_case()
    Path(options.out).write_text(
        json.dumps(
            {
                "command": "python -m benchmarks.gpu_attention",
                "device": jax.devices()[0].device_kind,
                "jax": jax.__version__,
                "type": "bfloat16",
                "rows": rows,
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
