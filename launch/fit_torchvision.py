"""Makes the installed torchvision importable beside a PyTorch that its compiled operators were not built for.

    python launch/fit_torchvision.py

The registry has torchvision's wheel for CUDA only; beside a CPU build of PyTorch its operators do not load, and with it
`from transformers import AutoProcessor` ends with "operator torchvision::nms does not exist". Where that is so, the two
operators which Python code declares are written into torchvision/extension.py, box suppression in plain tensors;
everything else of torchvision is Python. Does nothing where torchvision imports, or is not installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

MARK = "# Written by launch/fit_torchvision.py: operators that the compiled library lacks beside this PyTorch."
OPERATORS = f"""

{MARK}
def _suppress(dets, scores, iou_threshold):
    order, kept = scores.argsort(descending=True, stable=True), []
    areas = (dets[:, 2] - dets[:, 0]) * (dets[:, 3] - dets[:, 1])
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(int(best))
        low, high = torch.maximum(dets[order, :2], dets[best, :2]), torch.minimum(dets[order, 2:], dets[best, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        order = order[overlap <= iou_threshold * (areas[order] + areas[best] - overlap)]
    return torch.tensor(kept, dtype=torch.int64, device=dets.device)


_written = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not torch._C._dispatch_has_kernel("torchvision::" + _name):
        try:
            _written.define(_name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        except RuntimeError:
            pass  # declared already, without a kernel
        _written.impl(_name, _suppress, "CPU")
_assert_has_ops = lambda: None  # of box suppression; the others have a form in Python for where this is not so
"""


def imports() -> str:
    """What `import torchvision` ends with in a process of its own; "" where it works."""
    done = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it ends without a word"])[-1]


def _replace(file: Path, text: str) -> None:
    """A new file in the place of the old one, which an installer's cache may hold by a second name."""
    file.unlink()
    file.write_text(text)


def main() -> int:
    """0 when torchvision imports in the end, or is not there; 1 with one line when not."""
    if importlib.util.find_spec("torchvision") is None or not imports():
        return 0
    found = importlib.util.find_spec("torchvision")
    assert found is not None and found.submodule_search_locations
    file = Path(next(iter(found.submodule_search_locations)), "extension.py")
    text = file.read_text()
    if MARK not in text:
        _replace(file, text + OPERATORS)
    if problem := imports():
        _replace(file, text)
        print(f"fit_torchvision: torchvision does not import: {problem}", file=sys.stderr)
        return 1
    print("torchvision is built for another PyTorch: its two operators now come as plain tensors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
