"""Pictures a second of annotation's models at their published sizes (random weights), through the pipeline's own
classes: one GPU, or a CPU.

    python -m benchmarks.annotate_models --device=cuda --precision=bfloat16 --batch_size=8 \
        --out=benchmarks/results/annotate_models.json
    python -m benchmarks.annotate_models --device=cpu --pictures=1 --only=proposals,depth

A picture is a photo of scikit-image at 640 x 480; masks are asked for 32 boxes each. Everything from the NumPy picture
to the finished proposals, masks and depth maps counts, reading and writing of files does not. Captions are not here:
their time is that of the chosen chat model.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data_prep.annotate.base import Proposal
from data_prep.annotate.torchvision_ops import ensure

BOXES, HEIGHT, WIDTH = 32, 480, 640


def photos(count: int) -> list[np.ndarray]:
    """uint8 [480, 640, 3], four different ones over and over."""
    from skimage import data

    made = [
        np.asarray(Image.fromarray(getattr(data, name)()).convert("RGB").resize((WIDTH, HEIGHT)))
        for name in ("astronaut", "coffee", "chelsea", "rocket")
    ]
    return [made[i % len(made)] for i in range(count)]


def proposals(folder: Path, settings: dict[str, Any]) -> Callable[[list[np.ndarray]], list]:
    """Faster R-CNN, ResNet-50 FPN v2."""
    import torch

    ensure()
    from torchvision.models import detection

    from data_prep.annotate.proposals import ProposalSettings, RpnProposer

    path = folder / "fasterrcnn_resnet50_fpn_v2-random.pth"
    torch.save(
        detection.fasterrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=2).state_dict(), path
    )
    return RpnProposer(ProposalSettings(str(path), **settings)).propose


def masks(folder: Path, settings: dict[str, Any]) -> Callable[[list[np.ndarray]], list]:
    """Segment Anything, ViT-H."""
    ensure()
    import torch
    from segment_anything import build_sam_vit_h

    from data_prep.annotate.masks import MaskSettings, SamMasker

    path = folder / "sam_vit_h.pth"
    torch.save(build_sam_vit_h().state_dict(), path)
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 0.6, (BOXES, 2)) * (WIDTH, HEIGHT)
    boxes = [Proposal((x, y, x + 0.3 * WIDTH, y + 0.3 * HEIGHT), 1.0) for x, y in corners]
    masker = SamMasker(MaskSettings(str(path), **settings))
    return lambda pictures: masker.masks(pictures, [boxes] * len(pictures))


def depth(folder: Path, settings: dict[str, Any]) -> Callable[[list[np.ndarray]], list]:
    """Depth Anything V2 Large, metric."""
    ensure()
    import transformers

    from data_prep.annotate.depth import DepthAnything, DepthSettings

    backbone = {
        "model_type": "dinov2",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 518,
        "patch_size": 14,
        "out_indices": [5, 12, 18, 24],
        "reshape_hidden_states": False,
        "apply_layernorm": True,
    }
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=1024,
        neck_hidden_sizes=[256, 512, 1024, 1024],
        fusion_hidden_size=256,
        depth_estimation_type="metric",
        max_depth=20,
    )
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    transformers.DPTImageProcessor(
        size={"height": 518, "width": 518},
        keep_aspect_ratio=True,
        ensure_multiple_of=14,
        do_rescale=True,
        do_normalize=True,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)
    return DepthAnything(DepthSettings(str(folder), **settings)).depth


def depth_pro(folder: Path, settings: dict[str, Any]) -> Callable[[list[np.ndarray]], list]:
    """Depth Pro: depth and field of view at 1536 x 1536."""
    ensure()
    import transformers

    from data_prep.annotate.depth import DepthSettings
    from data_prep.annotate.depth_pro import DepthPro

    transformers.DepthProForDepthEstimation(transformers.DepthProConfig(use_fov_model=True)).save_pretrained(folder)
    transformers.DepthProImageProcessor().save_pretrained(folder)
    return DepthPro(DepthSettings(str(folder), **settings)).depth


MODELS = {"proposals": proposals, "masks": masks, "depth": depth, "depth_pro": depth_pro}


def measure(name: str, pictures: list[np.ndarray], settings: dict[str, Any], repeats: int) -> dict[str, Any]:
    """Seconds a picture of one model, the least of `repeats` passes over all pictures."""
    import torch

    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        call = MODELS[name](Path(folder), settings)
        first = call(pictures[: settings["batch_size"]])  # loads the weights
        spent = []
        for _ in range(repeats):
            start = time.perf_counter()
            call(pictures)
            spent.append(time.perf_counter() - start)
    row = {
        "model": (MODELS[name].__doc__ or "").rstrip("."),
        "pictures_per_second": round(len(pictures) / min(spent), 2),
        "ms_a_picture": round(1e3 * min(spent) / len(pictures), 1),
        "failed": sum(isinstance(one, Exception) for one in first),
    }
    if settings["device"] != "cpu":
        row["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    print(f"{name:<10} {row}", flush=True)
    return row


def main() -> None:
    """Prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.annotate_models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--out", default="", help="JSON file to write")
    options = parser.parse_args()
    import torch

    settings = {"device": options.device, "precision": options.precision, "batch_size": options.batch_size}
    run = functools.partial(measure, pictures=photos(options.pictures), settings=settings, repeats=options.repeats)
    rows = {name: run(name) for name in options.only.split(",")}
    device = torch.cuda.get_device_name() if options.device != "cpu" else "cpu"
    if options.out:
        command = (
            f"python -m benchmarks.annotate_models --device={options.device} --precision={options.precision}"
            f" --batch_size={options.batch_size}"
        )
        Path(options.out).write_text(
            json.dumps(
                {
                    "command": command,
                    "device": device,
                    "torch": torch.__version__,
                    "picture": [HEIGHT, WIDTH],
                    "boxes": BOXES,
                    "models": rows,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()
