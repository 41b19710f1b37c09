"""Means with 95 % bootstrap intervals that resample scenes, paired differences, and unbiased pass@k.

Questions about one picture stand or fall together, so the unit that is drawn with replacement is the scene, not the
item. Everything is a ratio of sums; the sums of all replicates are one matrix product.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from math import comb

import numpy as np

REPLICATES = 1000


@dataclasses.dataclass(frozen=True)
class Cell:
    """Sum of scores and number of items of one category: scalars, or arrays [replicates]."""

    total: np.ndarray | float
    count: np.ndarray | float

    @property
    def mean(self) -> np.ndarray | float:
        """total / count, nan where no item was drawn."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.divide(self.total, self.count)

    def __add__(self, other: Cell) -> Cell:
        return Cell(self.total + other.total, self.count + other.count)


def pool(cells: Sequence[Cell]) -> Cell:
    """One cell of all the items of `cells` (a micro average when its mean is taken)."""
    return Cell(sum(c.total for c in cells), sum(c.count for c in cells))


def macro(values: Sequence[np.ndarray | float]) -> np.ndarray | float:
    """Unweighted mean of means; a replicate in which one of them drew no item averages the others."""
    stacked = np.stack([np.asarray(v, np.float64) for v in values])
    seen = ~np.isnan(stacked)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(np.where(seen, stacked, 0.0).sum(0), seen.sum(0))


def scene_weights(scenes: Sequence[str], replicates: int = REPLICATES, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(index [n] of each item's scene, weights [replicates, scenes]): how often each scene was drawn."""
    names, index = np.unique(np.asarray(scenes, dtype=object).astype(str), return_inverse=True)
    return index.reshape(-1), _draws(len(names), replicates, seed)


@functools.lru_cache(maxsize=4)
def _draws(scenes: int, replicates: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(scenes, np.full(scenes, 1.0 / max(scenes, 1)), size=replicates).astype(np.float32)
    weights.setflags(write=False)
    return weights


def build_cells(values: np.ndarray, categories: Sequence[str]) -> dict[str, Cell]:
    """Category -> scalar Cell. values [n], nan = left out."""
    labels = np.asarray(categories, dtype=object)
    values = np.asarray(values, np.float64)
    cells = {}
    for name in dict.fromkeys(categories):
        chosen = values[(labels == name) & ~np.isnan(values)]
        cells[name] = Cell(float(chosen.sum()), float(len(chosen)))
    return cells


def bootstrap_cells(
    values: np.ndarray, categories: Sequence[str], scenes: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> dict[str, Cell]:
    """Category -> Cell of arrays [replicates]: the same scenes drawn for every category."""
    index, weights = scene_weights(scenes, replicates, seed)
    labels = np.asarray(categories, dtype=object)
    values = np.asarray(values, np.float64)
    cells = {}
    for name in dict.fromkeys(categories):
        chosen = (labels == name) & ~np.isnan(values)
        total = np.bincount(index[chosen], values[chosen], minlength=weights.shape[1])
        count = np.bincount(index[chosen], minlength=weights.shape[1])
        cells[name] = Cell(weights @ total.astype(np.float32), weights @ count.astype(np.float32))
    return cells


def interval(samples: np.ndarray, level: float = 0.95) -> list[float]:
    """[low, high] percentile interval of bootstrap samples; [nan, nan] when there are none."""
    samples = np.asarray(samples, np.float64)
    samples = samples[~np.isnan(samples)]
    if not len(samples):
        return [float("nan"), float("nan")]
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(samples, [tail, 100 - tail])
    return [float(low), float(high)]


def mean_interval(
    values: np.ndarray, scenes: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> list[float]:
    """95 % interval of the mean of values [n] (nan = left out), scenes resampled."""
    cells = bootstrap_cells(values, ["all"] * len(scenes), scenes, replicates, seed)
    return interval(np.asarray(cells["all"].mean)) if cells else [float("nan")] * 2


def aggregate_interval(
    values: np.ndarray,
    categories: Sequence[str],
    scenes: Sequence[str],
    aggregate: Callable[[Mapping[str, Cell]], Mapping[str, np.ndarray | float]],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """(metric -> value, metric -> interval) of any aggregate written with Cell arithmetic."""
    point = {name: float(v) for name, v in aggregate(build_cells(values, categories)).items()}
    drawn = aggregate(bootstrap_cells(values, categories, scenes, replicates, seed))
    return point, {name: interval(np.asarray(v)) for name, v in drawn.items() if np.ndim(v)}


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> list[float]:
    """[low, high], 95 %, of a share of independent trials (Wilson 1927); [nan, nan] without trials."""
    if not trials:
        return [float("nan"), float("nan")]
    share, weight = successes / trials, z * z / trials
    middle = (share + weight / 2) / (1 + weight)
    half = z * np.sqrt(share * (1 - share) / trials + weight / trials / 4) / (1 + weight)
    return [max(float(middle - half), 0.0), min(float(middle + half), 1.0)]


def paired_difference(
    a: np.ndarray, b: np.ndarray, scenes: Sequence[str], replicates: int = REPLICATES, seed: int = 0
) -> dict[str, float]:
    """mean(b - a) of values on the same items [n], its 95 % interval and a two-sided p-value.

    p is the exact-style sign-flip test by scene: how often random signs on the scenes' summed differences reach the
    seen size.
    """
    difference = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    index, _ = scene_weights(scenes, 1, seed)
    sums = np.bincount(index, difference)
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(max(replicates, 2), len(sums))) * 2.0 - 1.0
    reached = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12
    low, high = mean_interval(difference, scenes, replicates, seed)
    return {
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": float((reached.sum() + 1) / (len(reached) + 1)),
        "n": len(difference),
        "scenes": len(sums),
    }


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value that items which only one of two has right fall evenly (McNemar 1947; the binomial)."""
    n, most = only_a + only_b, max(only_a, only_b)
    tail = sum(comb(n, k) for k in range(most, n + 1))
    return min(2 * tail / 2**n, 1.0)


def pass_at_k(right: int, n: int, k: int) -> float:
    """Unbiased 1 - C(n - right, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374); needs k <= n."""
    if not 0 < k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n samples, got k = {k}, n = {n}; take more samples")
    return 1.0 - comb(n - right, k) / comb(n, k)


def best_at_k(scores: Sequence[float], k: int) -> float:
    """Unbiased estimate of the expected best score of k samples out of n; equals pass_at_k for scores of 0 and 1."""
    ordered = sorted(float(s) for s in scores)
    n = len(ordered)
    if not 0 < k <= n:
        raise ValueError(f"best@k needs 1 <= k <= n samples, got k = {k}, n = {n}; take more samples")
    return sum(score * comb(rank, k - 1) for rank, score in enumerate(ordered)) / comb(n, k)


def powers_of_two(n: int) -> list[int]:
    """1, 2, 4, ... up to n, and n itself: the k that tables show."""
    ks = [1]
    while ks[-1] * 2 <= n:
        ks.append(ks[-1] * 2)
    return ks if ks[-1] == n else ks + [n]


def by_prefix(cells: Mapping[str, Cell], prefixes: Sequence[str]) -> dict[str, Cell]:
    """Cells pooled under the first prefix that their name starts with; names with none are left out."""
    groups: dict[str, list[Cell]] = {}
    for name, cell in cells.items():
        prefix = next((p for p in prefixes if name.startswith(p)), None)
        if prefix is not None:
            groups.setdefault(prefix, []).append(cell)
    return {name: pool(members) for name, members in groups.items()}
