"""Measures made from depth, mask and camera alone against the closed form of rendered scenes, and how often the claimed
uncertainty holds.

    python -m benchmarks.measure_truth --scenes=200 --out=benchmarks/results/measure_truth.json

For exact depth, a depth camera's noise, and an estimated depth map's (with a scale error that the whole picture
shares): the median relative error of each measure, the share of errors within one and within two of its own claimed
deviations (0.68 and 0.95 would be exact), and how many depth orders beyond a ratio of 1.15 are right.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.geometry.measure import measure_object
from data_prep.sources import DepthNoise
from data_prep.sources.rendered import RenderedScenes

NOISES = {"none": None, "sensor": DepthNoise(0.002, 0.0, 0.002), "estimated": DepthNoise(0.0, 0.01, 0.0, 0.02)}
AXES = "xyz"


def measure_scenes(noise: DepthNoise | None, scenes: int, seed: int = 3) -> Iterator[list[tuple[Any, Any, float]]]:
    """(true object, measured object, true depth median) of well visible objects, a list a scene; measured from pixels
    alone.
    """
    source, clean = (RenderedScenes("plain", scenes, seed, noise=n) for n in (noise, None))
    for index in range(scenes):
        frame, exact = source.load(index), clean.load(index)
        row: list[tuple[Any, Any, float]] = []
        for thing, truth in zip(frame.objects, exact.objects):
            measure_object(exact, truth)
            blind = copy.copy(thing)
            blind.center = blind.extent = blind.rotation = None
            blind.provenance = {}
            measure_object(frame, blind)
            if thing.visible_fraction > 0.9 and blind.center is not None:
                row.append((thing, blind, truth.depth["median"]))
        yield row


def center_sigma(seen: Any, noise: DepthNoise | None) -> dict[str, float]:
    """One deviation of each coordinate of an object's centre, metres: its own, what an unseen far end may add,
    and the scale that the picture shares.
    """
    out = {}
    doubt = seen.uncertainty.get("unseen", 0.0) * seen.rotation[:, int(seen.uncertainty.get("unseen_axis", 0))]
    for k, axis in enumerate(AXES):
        shared = (noise.bias if noise else 0.0) * seen.center[k]
        out[f"center_{axis}"] = float(np.sqrt(seen.uncertainty[f"center_{axis}"] ** 2 + doubt[k] ** 2 + shared**2))
    return out


def compare(noise: DepthNoise | None, scenes: int, seed: int = 3) -> dict[str, Any]:
    """{"errors": relative errors, "scores": errors in claimed deviations, both lists by measure, "order": whether each
    depth order is right}.
    """
    errors: dict[str, list[float]] = {k: [] for k in ("depth", "height", "width", "centre", "distance")}
    scores: dict[str, list[float]] = {
        k: [] for k in ("depth", "height", "width", *(f"center_{a}" for a in AXES), "distance")
    }
    order: list[bool] = []
    for row in measure_scenes(noise, scenes, seed):
        for truth, seen, depth in row:
            sigma = {**seen.uncertainty, **center_sigma(seen, noise)}
            if np.isnan(seen.extent[0]):
                continue  # a far end that is not seen: the side is not measured
            for key, error, of, one in (
                ("depth", seen.depth["median"] - depth, depth, sigma["depth_median"]),
                ("height", seen.extent[2] - truth.extent[2], truth.extent[2], sigma["extent_2"]),
                ("width", seen.extent[0] - truth.extent[0], truth.extent[0], sigma["extent_0"]),
            ):
                one = float(np.hypot(one, (noise.bias if noise else 0.0) * of))
                errors[key].append(float(abs(error) / of))
                scores[key].append(float(error / one))
            errors["centre"].append(float(np.linalg.norm(seen.center - truth.center) / np.linalg.norm(truth.center)))
            for k, axis in enumerate(AXES):
                scores[f"center_{axis}"].append(float((seen.center - truth.center)[k] / sigma[f"center_{axis}"]))
        for i, (a, seen_a, depth_a) in enumerate(row):
            for b, seen_b, depth_b in row[:i]:
                step = a.center - b.center
                true, seen = np.linalg.norm(step), np.linalg.norm(seen_a.center - seen_b.center)
                one = np.sqrt(
                    sum(
                        (step[k] / true * center_sigma(s, None)[f"center_{axis}"]) ** 2
                        for s in (seen_a, seen_b)
                        for k, axis in enumerate(AXES)
                    )
                    + ((noise.bias if noise else 0.0) * true) ** 2
                )
                errors["distance"].append(float(abs(seen - true) / true))
                scores["distance"].append(float((seen - true) / one))
                if max(depth_a, depth_b) > 1.15 * min(depth_a, depth_b):
                    order.append(bool((depth_a < depth_b) == (seen_a.depth["median"] < seen_b.depth["median"])))
    return {"errors": errors, "scores": scores, "order": order}


def table(found: dict[str, Any]) -> dict[str, Any]:
    """The figures of one noise: median error, p90, shares within one and two deviations, by measure."""
    rows: dict[str, Any] = {}
    for key, values in found["scores"].items():
        share = {f"within_{n}": round(float(np.mean(np.abs(values) <= n)), 3) for n in (1, 2)}
        error = found["errors"].get(key)
        rows[key] = {
            **(
                {}
                if error is None
                else {
                    "median_error": float(f"{np.median(error):.3g}"),
                    "p90_error": float(f"{np.quantile(error, 0.9):.3g}"),
                }
            ),
            **share,
            "n": len(values),
        }
    rows["centre"] = {
        "median_error": float(f"{np.median(found['errors']['centre']):.3g}"),
        "n": len(found["errors"]["centre"]),
    }
    return {"measures": rows, "orders_right": round(float(np.mean(found["order"])), 5), "orders": len(found["order"])}


def main() -> int:
    """Prints and saves the table."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.measure_truth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"scenes": options.scenes, "seed": options.seed, "noise": {}}
    for name, noise in NOISES.items():
        result["noise"][name] = found = table(compare(noise, options.scenes, options.seed))
        print(f"noise {name}: {found['orders_right']:.4f} of {found['orders']} depth orders right")
        for key, row in found["measures"].items():
            error = (
                f"{100 * row['median_error']:6.2f} % {100 * row.get('p90_error', float('nan')):6.2f} %"
                if "median_error" in row
                else " " * 17
            )
            shares = f"within one {row['within_1']:.2f}, two {row['within_2']:.2f}" if "within_1" in row else ""
            print(f"  {key:10} median, p90 {error}   {shares:28} n={row['n']}")
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
