"""Makes `import torchvision` work beside a CPU build of PyTorch whose torchvision binary wants CUDA: defines the
missing operators.

`import torchvision_shim` before transformers' processors. Does nothing where the real operators exist.
"""

import importlib.util

import torch

_LIBRARY = None


def nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Indices of the boxes [n, 4] that survive non-maximum suppression, best score first (torchvision.ops.nms)."""
    order, kept = scores.argsort(descending=True, stable=True), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(int(best))
        low = torch.maximum(boxes[order, :2], boxes[best, :2])
        high = torch.minimum(boxes[order, 2:], boxes[best, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        order = order[overlap / (areas[order] + areas[best] - overlap) <= threshold]
    return torch.tensor(kept, dtype=torch.int64)


def _real_operators() -> bool:
    found = importlib.util.find_spec("torchvision")
    if found is None or not found.submodule_search_locations:
        return True
    from pathlib import Path

    folder = Path(next(iter(found.submodule_search_locations)))
    for library in sorted(folder.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
    return hasattr(torch.ops.torchvision, "nms")


def install() -> None:
    """Defines torchvision::nms and torchvision::qnms for CPU tensors where they are missing."""
    global _LIBRARY
    if _LIBRARY is not None or _real_operators():
        return
    _LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARY.impl(name, nms, "CPU")


install()
