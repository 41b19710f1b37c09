"""torchvision whose compiled operators do not fit the installed PyTorch (the published wheel wants CUDA's): box
suppression in NumPy instead.

`ensure()` before the first import of torchvision. It does nothing where the real operators load, or where torchvision
is not installed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np


def nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Indices int64 [k] of the boxes [n, 4] that survive greedy non-maximum suppression, best score first:
    torchvision.ops.nms.
    """
    import torch

    corners, order = (
        boxes.detach().cpu().float().numpy(),
        scores.detach().cpu().float().argsort(descending=True, stable=True).numpy(),
    )
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(int(best))
        low, high = np.maximum(corners[order, :2], corners[best, :2]), np.minimum(corners[order, 2:], corners[best, 2:])
        overlap = np.clip(high - low, 0, None).prod(1)
        # overlap > threshold * union, without dividing by the zero area of an empty box
        order = order[overlap <= iou_threshold * (areas[order] + areas[best] - overlap)]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device)


def _real_operators() -> bool:
    """Whether torchvision's own library loads, or there is no torchvision to help."""
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return True
    for library in sorted(Path(next(iter(found.submodule_search_locations))).glob("_C*")):
        try:
            torch.ops.load_library(str(library))
            return True
        except (OSError, ImportError):
            continue
    return False


@functools.cache
def ensure() -> tuple[Any, ...]:
    """Defines torchvision::nms and torchvision::qnms where they are missing; returns what must stay alive."""
    import torch

    if _real_operators():
        return ()
    kept = []
    for name in ("nms", "qnms"):
        full = f"torchvision::{name}"
        if not torch._C._dispatch_has_kernel(full):
            library = torch.library.Library("torchvision", "FRAGMENT")
            with contextlib.suppress(RuntimeError):  # declared by someone else, but without a kernel
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            kept.append(library)
        if not torch._C._dispatch_has_kernel_for_dispatch_key(full, "CPU"):
            library = torch.library.Library("torchvision", "IMPL")
            library.impl(name, nms, "CPU")
            kept.append(library)
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True  # its guard asks for all operators; only these two are called here
    return tuple(kept)
