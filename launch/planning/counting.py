"""FLOPs of a traced program, loops counted as often as they run: what the compiler's own count gets wrong (it takes the
body of a scan once and leaves kernels out).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax.extend.core as core
import numpy as np

# Matrix products over visible pairs: scores and values forward; dq repeats the scores and adds two; dkv repeats them
# and adds three; the one kernel of short blocks repeats them and adds four.
KERNEL_PRODUCTS = {"dkv": 4, "dq": 3, "fwd": 2, "block_attention_forward": 2, "block_attention_backward": 5}


@dataclasses.dataclass
class Work:
    """Matrix products of a whole program over all devices. `flops` of dense products, `kernel_flops` of attention
    kernels; `weights` bytes of two-dimensional operands, which every device reads whole after gathering, `activations`
    bytes of the others, which are shared out; `kernels`: runs of each Pallas kernel.
    """

    flops: float = 0.0
    kernel_flops: float = 0.0
    weights: float = 0.0
    activations: float = 0.0
    kernels: dict[str, float] = dataclasses.field(default_factory=dict)


def count(jaxpr: Any, pairs: Callable[[str, int, int], float]) -> Work:
    """Work of a closed jaxpr. A loop without a known number of rounds counts once (a decode loop: one token).

    `pairs(kernel, queries, keys)`: visible (query, key) pairs of one row and head of an attention kernel."""
    work = Work()
    _walk(jaxpr.jaxpr if isinstance(jaxpr, core.ClosedJaxpr) else jaxpr, 1.0, work, pairs)
    return work


def _walk(jaxpr: Any, times: float, work: Work, pairs: Callable[[str, int, int], float]) -> None:
    ends = [*jaxpr.outvars, *(v for eqn in jaxpr.eqns for v in eqn.invars)]
    read = {v for v in ends if isinstance(v, core.Var)}
    for eqn in jaxpr.eqns:
        name = eqn.primitive.name
        if name == "dot_general":
            _dot(eqn, times, work)
        elif name == "pallas_call":
            # JAX never drops a kernel from a trace, though nothing reads it (a backward pass that kept what the kernel
            # gave); the compiler does.
            if not read.isdisjoint(eqn.outvars):
                _kernel(eqn, times, work, pairs)
        elif name == "cond":
            branches = [count(b, pairs) for b in eqn.params["branches"]]
            _add(work, max(branches, key=lambda w: w.flops + w.kernel_flops), times)
        else:
            inner = times * (eqn.params["length"] if name == "scan" else 1)
            if name == "shard_map":
                inner *= _shards(eqn)
            for value in eqn.params.values():
                for sub in value if isinstance(value, (tuple, list)) else (value,):
                    if isinstance(sub, core.ClosedJaxpr):
                        _walk(sub.jaxpr, inner, work, pairs)
                    elif isinstance(sub, core.Jaxpr):
                        _walk(sub, inner, work, pairs)


def _add(work: Work, other: Work, times: float) -> None:
    for name in ("flops", "kernel_flops", "weights", "activations"):
        setattr(work, name, getattr(work, name) + times * getattr(other, name))
    for kernel, runs in other.kernels.items():
        work.kernels[kernel] = work.kernels.get(kernel, 0.0) + times * runs


def _shards(eqn: Any) -> float:
    """Parts that a shard_map cuts its inputs into: axes that no input is cut over do the same work everywhere, which
    counts once.
    """
    mesh = eqn.params["mesh"]
    used = {
        axis
        for spec in eqn.params["in_specs"]
        for part in spec
        if part is not None
        for axis in ((part,) if isinstance(part, str) else part)
    }
    return math.prod(mesh.shape[axis] for axis in used)


def _dot(eqn: Any, times: float, work: Work) -> None:
    left, right = (v.aval for v in eqn.invars)
    out = eqn.outvars[0].aval
    (contract, _), _ = eqn.params["dimension_numbers"]
    work.flops += times * 2.0 * out.size * math.prod(left.shape[i] for i in contract)
    for aval in (left, right, out):
        size = times * aval.size * np.dtype(aval.dtype).itemsize
        if aval is right and aval.ndim == 2:
            work.weights += size
        else:
            work.activations += size


def _kernel(eqn: Any, times: float, work: Work, pairs: Callable[[str, int, int], float]) -> None:
    name = str(eqn.params.get("name") or eqn.params.get("name_and_src_info") or "pallas").split(" ")[0]
    work.kernels[name] = work.kernels.get(name, 0.0) + times
    kind = next((k for k in KERNEL_PRODUCTS if k in name), None)
    blocks = [
        v.aval
        for v in eqn.invars
        if (v.aval.ndim >= 3 and np.issubdtype(v.aval.dtype, np.floating)) or str(v.aval.dtype) == "bfloat16"
    ]
    if kind is None or len(blocks) < 2:
        return
    q, k = blocks[:2]
    # Kernels for GPUs take [batch, tokens, heads, width], those for TPUs heads before tokens.
    short = name.startswith("block_attention")
    tokens = 1 if short or name.startswith("group_attention") else len(q.shape) - 2
    rows = math.prod(q.shape[:-1]) // q.shape[tokens]  # batch and heads
    # A short block's scores are made whole, as plain attention makes them.
    seen = q.shape[tokens] * k.shape[tokens] if short else pairs(name, q.shape[tokens], k.shape[tokens])
    work.kernel_flops += times * 2.0 * KERNEL_PRODUCTS[kind] * rows * q.shape[-1] * seen
