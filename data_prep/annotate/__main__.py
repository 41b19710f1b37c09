"""python -m data_prep.annotate --source=rendered --preset=plain --count=1500 --out=DIR: pictures to a dataset of scene
records.
"""

from __future__ import annotations

import argparse
import dataclasses
import errno
import functools
import math
import os
import sys
import time
from typing import Any

from data_prep.annotate.build import build_pipeline, build_selectors, build_signatures
from data_prep.annotate.proposals import ProposalSettings
from data_prep.annotate.settings import parse_overrides
from data_prep.filters import FILTERS, choose_filters
from data_prep.pipeline import Pipeline
from data_prep.runner import TooManyFailures, Workers, outcomes_of, run
from data_prep.selection import select
from data_prep.sources import SOURCES, SourceError
from data_prep.sources.base import LEAST_CONFIDENCE
from data_prep.sources.conventions import CONVENTIONS
from data_prep.sources.depth_files import ENCODINGS
from data_prep.sources.first_look import first_look
from data_prep.sources.options import check_read
from data_prep.sources.registration import REGISTERED, UNITS
from data_prep.sources.rgbd import DEPTH_FROM
from data_prep.writer import DatasetWriter, WriterError, is_complete
from spatial_jax.ending import leave
from spatial_jax.options import Listed, Parser
from spatial_jax.pages import say

EXAMPLES = r"""examples:
  python -m data_prep.annotate --source=rendered --preset=plain --count=1500 --seed=0 --out=runs/scenes
  python -m data_prep.annotate --source=walk --count=200 --walk_frames=32 --out=runs/walks
  python -m data_prep.annotate --source=folder --path=my_photos --out=runs/photos
  python -m data_prep.annotate --source=folder --path=package:skimage,sklearn --out=runs/photos
  python -m data_prep.annotate --source=folder --path=my_photos --out=runs/photos --filters=quality,duplicates \
      --depth=depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf --camera=apple/DepthPro-hf,default \
      --proposals=IDEA-Research/grounding-dino-base --masks=facebook/sam-vit-base \
      --captions=http://localhost:8000/v1 --set=captions.model=Qwen/Qwen2.5-VL-7B-Instruct \
      --device=cuda --precision=bfloat16
  python -m data_prep.annotate --source=stereo --out=runs/stereo
  python -m data_prep.annotate --source=rgbd --convention=nyu --path=my_rgbd --out=runs/rgbd
  python -m data_prep.annotate --source=sunrgbd --path=SUNRGBD --out=runs/sunrgbd
  python -m data_prep.annotate --source=scannet --path=ScanNet --every=2 --out=runs/scannet
  python -m data_prep.annotate --source=video --path=clip.mp4 --every=1.0 --out=runs/clip
  python -m data_prep.annotate --source=tfds --name=nyu_depth_v2 --tfds_split=train \
      --data_dir=~/tensorflow_datasets --out=runs/nyu

frames.json (for --source=rgbd and --source=folder, in the folder or in any below it; paths start from its own):
  {"files": [{"rgb": "rgb/0.png", "depth": "depth/0.png",
              "cam_in": [fx, fy, cx, cy], "cam_in_unit": "pixels" or "relative",
              "depth_scale": counts a metre, "depth_encoding": "depth", "inverse" or "rotated",
              "depth_from": "sensor" or "estimated", "registered": "stored" or "upright" (where EXIF turns the colour),
              "complete": true (every object is labelled, so counting is asked),
              "objects": [{"caption": "the red mug", "name": "mug",
                           "mask": "mask.png" or "polygon": [[x, y], ...] or "box": [x1, y1, x2, y2],
                           "occluded": true, "truncated": true, "visible": share that is seen}]}]}
"""


def parser() -> argparse.ArgumentParser:
    """The verb's options."""
    p = Parser("python -m data_prep.annotate", __doc__, EXAMPLES)
    p.add_argument("--source", required=True, choices=SOURCES, help="where the pictures come from")
    p.add_argument(
        "--out", required=True, help="directory of the dataset, local or gs://; run again to go on where it stopped"
    )
    _add_rendered(p)
    _add_walks(p)
    _add_pictures(p)
    _add_depth_folders(p)
    _add_tfds(p)
    _add_models(p)
    _add_running(p)
    return p


def _add_rendered(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("rendered scenes and walks")
    group.add_argument(
        "--preset",
        default="plain",
        help="plain: small pictures, few clear shapes; clear: likewise, of like size; rich: large, cluttered",
    )
    group.add_argument("--count", type=int, default=1000, help="number of scenes, or of walks")
    group.add_argument("--seed", type=int, default=0, help="scene i of a seed is always the same")
    group.add_argument("--width", type=int, default=0, help="picture width in pixels (default: the preset's; 224)")
    group.add_argument("--height", type=int, default=0, help="picture height in pixels (default: the preset's; 224)")
    group.add_argument("--signs", action="store_true", help="hang a board with a word on a wall, where one has room")
    group.add_argument(
        "--depth_noise",
        type=_noise,
        default=None,
        metavar="CONSTANT,LINEAR,QUADRATIC,BIAS",
        help="one deviation of depth: metres, share of depth, share of depth squared, scale error (rgbd: its own)",
    )


def _add_walks(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("walks through rendered rooms (--source=walk)")
    group.add_argument("--walk_frames", type=int, default=32, help="frames of a walk, evenly spread over it")
    group.add_argument("--walk_rooms", type=int, default=3, help="rooms of a home at most, 1 to 3")
    group.add_argument("--shake", type=float, default=1.0, help="of the hand; 0: none, 1: usual")
    group.add_argument("--blur", type=float, default=0.0, help="of motion; 1: as with a shutter of 1/30 s")
    group.add_argument("--exposure", type=float, default=0.0, help="brightness that wanders and adapts; 1: usual")


def _add_pictures(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("pictures of your own")
    group.add_argument(
        "--path",
        default="",
        help="folder, video file, gs:// folder, or package:skimage,sklearn (photos inside these packages)",
    )
    group.add_argument("--limit", type=int, default=0, help="take only the first so many items")
    group.add_argument("--max_side", type=int, default=0, help="shrink larger pictures to this longer side, pixels")
    group.add_argument("--every", type=float, default=1.0, help="videos and walks: seconds between frames")
    group.add_argument(
        "--points",
        type=int,
        default=0,
        help="mark so many points (at most 8) on each picture with depth and no objects: depth and distance of a point",
    )


def _add_depth_folders(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("RGB-D folders")
    group.add_argument(
        "--convention", choices=tuple(CONVENTIONS), default="generic", help="how files are named and what a count means"
    )
    group.add_argument(
        "--intrinsics",
        type=_four,
        default=None,
        metavar="FX,FY,CX,CY",
        help="pixels; overrides the convention's camera",
    )
    group.add_argument(
        "--intrinsics_unit",
        choices=UNITS,
        default="pixels",
        help="of --intrinsics and of a frame list's cam_in; relative: fx, cx in picture widths, fy, cy in heights",
    )
    group.add_argument("--depth_scale", type=float, default=0.0, help="metres a count; overrides the convention's")
    group.add_argument(
        "--depth_encoding",
        choices=("", *ENCODINGS),
        default="",
        help="inverse: near is bright, 1 / (value x scale) is the depth; rotated: SUN RGB-D's bits",
    )
    group.add_argument(
        "--depth_from",
        choices=("", *DEPTH_FROM),
        default="",
        help="estimated: a model made the depth, so it has a model's error and not a sensor's (see --depth_noise)",
    )
    group.add_argument(
        "--registered",
        choices=("", *REGISTERED),
        default="",
        help="where EXIF turns the colour: whether depth, camera and labels belong to its pixels as stored or upright",
    )
    group.add_argument(
        "--relative", action="store_true", help="depth is only known up to scale: never used for a number"
    )
    group.add_argument(
        "--by_frame", action="store_true", help="split frame by frame (default: all frames of a folder share a split)"
    )


def _add_tfds(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("TFDS datasets")
    group.add_argument("--name", default="", help="TFDS name or a dataset's directory")
    group.add_argument("--tfds_split", default="train")
    group.add_argument("--data_dir", default="", help="where TFDS keeps its datasets")
    group.add_argument("--metric", action="store_true", help="its depth feature is in metres")
    group.add_argument("--group", default="", help="feature whose value decides the split, e.g. a scene's id")


def _add_running(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("running")
    group.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        help="processes (or Ray actors); the bytes do not depend on it",
    )
    group.add_argument(
        "--runner",
        choices=("processes", "ray"),
        default="processes",
        help="ray: Ray Data on RAY_ADDRESS or a local cluster",
    )
    group.add_argument("--gpus", type=float, default=0.0, help="ray: share of a GPU that each actor holds")
    group.add_argument(
        "--batch", type=int, default=8, help="items a worker takes at once; models see them as one batch"
    )
    group.add_argument(
        "--max_failures", type=float, default=0.5, help="stop when more than this share of the items failed"
    )
    group.add_argument("--shard_records", type=int, default=1000, help="records a shard")
    group.add_argument(
        "--heldout_percent", type=int, default=10, help="share of scenes (by hash) that go to the split heldout"
    )
    group.add_argument("--cloud_points", type=int, default=128, help="points kept of each object's cloud")


def _add_models(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("filters (each drop has its reason in the manifest)")
    group.add_argument(
        "--filters",
        default="",
        action=Listed,
        metavar="A,B",
        help=f"any of {', '.join(FILTERS)}; they run in this order",
    )
    group = p.add_argument_group("models for what the source does not know (hub name owner/name, directory or file)")
    group.add_argument(
        "--depth",
        default="",
        help=(
            "Depth Anything V2 or Depth Pro, e.g. depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf; of clips,"
            " what a multi-view model wrote: megasam:DIR or vggt:DIR"
        ),
    )
    group.add_argument(
        "--camera",
        default="",
        action=Listed,
        metavar="A,B",
        help="first that knows: megasam:DIR, vggt:DIR, Depth Pro's weights, default[:DEGREES]",
    )
    group.add_argument(
        "--proposals",
        default="",
        help=(
            "a detector of things with names (Grounding DINO, OWLv2), e.g. IDEA-Research/grounding-dino-base, or"
            " torchvision's Faster R-CNN file, e.g. fasterrcnn_resnet50_fpn_coco-258fb6c6.pth"
        ),
    )
    group.add_argument(
        "--masks",
        default="",
        help=(
            "Segment Anything, e.g. sam_vit_h_4b8939.pth or facebook/sam-vit-base; SAM 2 or 3, e.g."
            " facebook/sam2.1-hiera-small"
        ),
    )
    group.add_argument(
        "--captions",
        default="",
        help="http address of an OpenAI-compatible endpoint (…/v1), or a local vision-language model",
    )
    group.add_argument("--device", default="cpu", help="of all models: cpu, cuda, cuda:1, ...")
    group.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    group.add_argument(
        "--model_batch",
        type=int,
        default=1,
        help="pictures a model sees at once; 1: same bytes wherever a run is resumed",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="GROUP.KEY=VALUE",
        help=(
            "any setting of a filter or model, e.g. --set=quality.least_contrast=0.03 --set=masks.least_stability=0.85"
        ),
    )


def _four(text: str) -> tuple[float, ...]:
    values = tuple(float(v) for v in text.split(","))
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"wants four numbers with commas between them, not {text!r}")
    return values


def _noise(text: str) -> dict[str, float]:
    return dict(zip(("constant", "linear", "quadratic", "bias"), _four(text)))


RUNNING = ("out", "workers", "runner", "gpus", "batch", "max_failures", "shard_records")


def _check(options: dict[str, Any]) -> None:
    """WriterError, one line, for a number that makes no sense; nothing is claimed or loaded yet."""
    for name, least, most in (
        ("workers", 1, math.inf),
        ("batch", 1, math.inf),
        ("model_batch", 1, math.inf),
        ("shard_records", 1, math.inf),
        ("limit", 0, math.inf),
        ("max_side", 0, math.inf),
        ("cloud_points", 1, math.inf),
        ("points", 0, 8),
        ("heldout_percent", 0, 100),
        ("max_failures", 0, 1),
        ("gpus", 0, math.inf),
    ):
        if not least <= options.get(name, least) <= most:
            upto = f"{least} or more" if most == math.inf else f"{least} to {most}"
            raise WriterError(f"--{name}={options[name]}: give {upto}")
    filters = choose_filters(options.get("filters", ""))
    for group in parse_overrides(options.get("set") or ()):
        if not (group in filters if group in FILTERS else options.get(group)):
            flag = f"--filters={group}" if group in FILTERS else f"--{group}"
            raise WriterError(
                f"--set={group}...: nothing would use it, as there is no {flag}; add it or leave --set out"
            )


def _thresholds(pipeline: Pipeline) -> list[str]:
    """A line where proposals are let in that no question will be asked about."""
    for stage in pipeline.stages:
        settings = getattr(getattr(stage, "proposer", None), "settings", None)
        if isinstance(settings, ProposalSettings) and settings.least_score < LEAST_CONFIDENCE:
            return [
                f"objects that score {settings.least_score:g} to {LEAST_CONFIDENCE:g} are masked, captioned, and asked"
                f" about only with synthesize --set=margins.min_confidence={settings.least_score:g}"
            ]
    return []


def annotate(options: dict[str, Any]) -> dict[str, Any]:
    """Runs the verb and returns the manifest; raises SourceError, WriterError, TooManyFailures, OSError."""
    from spatial_jax.data.records import scene_features

    _check(options)
    spec = {k: v for k, v in options.items() if k not in RUNNING}
    pipeline = build_pipeline(spec)
    total = len(pipeline.source)
    config = {**pipeline.config(), "items": total}
    whole = getattr(pipeline.source, "together", 1)  # items of one walk go to one worker
    batch = -(-options["batch"] // whole) * whole
    complete = is_complete(options["out"], "scenes", config, options["shard_records"])
    for line in () if complete else [*first_look(pipeline.source), *_thresholds(pipeline)]:
        say(line)
    with DatasetWriter(options["out"], "scenes", scene_features(), config, options["shard_records"]) as writer:
        if complete:
            print(f"{options['out']} is complete already: nothing to do")
            return writer.finish()
        several = total > 64 or options["runner"] == "ray"  # fewer are done before other processes have started
        workers = Workers(options["workers"] if several else 1, options["runner"], batch, gpus=options["gpus"])
        begun = time.monotonic()
        reasons: dict[str, str] = {}
        if selectors := build_selectors(spec):
            first_pass = functools.partial(
                outcomes_of,
                functools.partial(build_signatures, spec),
                0,
                total,
                dataclasses.replace(workers, kind="processes"),  # signatures need no model, so no actor that holds one
            )
            reasons = select(pipeline.source, selectors, first_pass, writer.folder.work / "selection.json")
        seconds = run(
            functools.partial(build_pipeline, spec, reasons),
            writer,
            total,
            workers,
            max_failures=options["max_failures"],
        )
        spent = ", ".join(f"{stage} {1e3 * s / max(1, total):.1f}" for stage, s in seconds.items())
        print(f"{total} items in {time.monotonic() - begun:.1f} s (ms an item: {spent})")
        return writer.finish()


def report(manifest: dict[str, Any], out: str) -> None:
    """Prints what came out and the next command."""
    items = manifest["items"]
    splits = ", ".join(f"{v['records']} {k}" for k, v in manifest["splits"].items()) or "nothing"
    print(
        f"{items['record']} records ({splits}), {items['objects']} objects, {items['dropped']} dropped,"
        f" {items['failed']} failed, {items['notes']} repaired or not trusted"
    )
    for stage, reasons in manifest["reasons"].items():
        for reason, count in reasons.items():
            say(f"  {count} x {stage}: {reason}")
    for what, count in manifest.get("told", {}).items():
        say(f"  {count} x {what}")
    walks = manifest["identity"]["config"]["source"]["source"] == "walk"
    verb = "synthesize --rooms" if walks else "synthesize --scenes" if items["objects"] else "selfsup --photos"
    print(
        f"next: python -m data_prep.inspect {out}\n      python -m data_prep.{verb}={out}"
        f" --out={out.rstrip('/')}_questions"
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0, or 2 with one clear line."""
    known = parser()
    options = vars(known.parse_args(arguments))
    try:
        check_read(options, {name: known.get_default(name) for name in options})
        manifest = annotate(options)
    except (SourceError, WriterError, TooManyFailures) as error:
        say(f"annotate: {error}", stream=sys.stderr)
        return 2
    except ImportError as error:
        print(
            f"annotate: {' '.join(str(error).split())}; pip install 'spatial_jax[prep]' (and gcsfs for gs://)",
            file=sys.stderr,
        )
        return 2
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        where = f"no space left for {options['out']}" if full else f"{error.strerror or error} ({options['out']})"
        say(f"annotate: {where}; what was done is kept, run the same command again to go on", stream=sys.stderr)
        return 2
    report(manifest, options["out"])
    return 0


if __name__ == "__main__":
    leave(main, "annotate", goes_on=True)
