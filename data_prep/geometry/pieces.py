"""Masks that fall into pieces: which pieces carry the object, and which are stray pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BRIDGE = 1  # pixels a side: pieces with at most twice as many pixels between them are one
LARGE = 0.25  # of the largest piece: so much is the object's where nothing is known of what lies between
CLOSE, CLOSE_LEAST = 0.05, 0.10  # a piece of a tenth of the largest, nearer than a twentieth of the mask's diagonal
COVERED = 0.6  # of the way between two pieces: so much must an occluder take up
NEARER = 0.98  # an occluder's depth over that of the pieces
MOST_PIECES = 64  # the largest ones are looked at; salt and pepper beyond them is stray
LEAST_PIXELS = 4  # a smaller piece is stray, whatever lies between


def _grow(mask: np.ndarray, steps: int) -> np.ndarray:
    """The mask with `steps` pixels added all around (8-neighbours)."""
    for _ in range(steps):
        wide = np.pad(mask, 1)
        rows = wide[:-2] | wide[1:-1] | wide[2:]
        mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return mask


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pixels [n, 2] on the straight way between the nearest two of a [k, 2] and b [m, 2] (row, column)."""
    from scipy.spatial import cKDTree

    distance, index = cKDTree(b).query(a)
    start, end = a[int(np.argmin(distance))], b[int(index[np.argmin(distance)])]
    steps = int(np.abs(end - start).max())
    return np.rint(start + (end - start) * np.linspace(0, 1, steps + 1)[1:-1, None]).astype(int)


def _split_by_occluder(
    piece: np.ndarray, kept: np.ndarray, mask: np.ndarray, depth: np.ndarray | None, cover: np.ndarray
) -> tuple[bool | None, int]:
    """(whether an occluder fills the way from `piece` [k, 2] to the pixels `kept` [m, 2]; None where neither depth nor
    another mask says what is there, how many pixels long that way is). `cover`: what other objects' masks hold.
    """
    way = _between(piece, kept)
    way = way[~mask[way[:, 0], way[:, 1]]]
    if not len(way):
        return True, 0
    rows, columns = way.T
    front, known = cover[rows, columns], cover[rows, columns].copy()
    if depth is not None:
        own = [np.median(d[d > 0]) for d in (depth[p[:, 0], p[:, 1]] for p in (piece, kept)) if (d > 0).any()]
        there = depth[rows, columns] > 0
        if own and there.any():
            front = front | (there & (depth[rows, columns] < NEARER * min(own)))
            known = known | there
    if front.mean() >= COVERED:
        return True, len(way)
    return (False if known.mean() >= 1 - COVERED else None), len(way)


def object_pieces(
    mask: np.ndarray, depth: np.ndarray | None = None, others: Sequence[np.ndarray] = ()
) -> tuple[np.ndarray, dict[str, int]]:
    """(the mask without stray pixels, what was left out). bool [h, w]; `depth` [h, w] with 0 or nan where unknown;
    `others`: masks of the picture's other objects.

    The largest piece carries the object. Another one belongs to it where an occluder lies between them (another
    object's mask, or nearer depth), or where it almost touches; where nothing is known of what lies between, if it is
    large. The second value is {} when nothing was left out, else counts: pieces kept, pieces and pixels left out.
    """
    from scipy import ndimage

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return mask, {}
    view = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    part = mask[view]
    # Grown first, so that a gap of a pixel or two, which masks have at thin places, parts nothing.
    labels, count = ndimage.label(_grow(part, BRIDGE), np.ones((3, 3)))
    if count == 1:
        return mask, {}
    labels = np.where(part, labels, 0)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    order = [int(i) for i in np.argsort(-sizes, kind="stable")[:MOST_PIECES] if sizes[i] >= LEAST_PIXELS]
    clean = None if depth is None else np.where(np.isfinite(depth[view]), depth[view], 0)
    cover = np.zeros_like(part)
    for other in others:
        # Where masks overlap, the pixels are this object's own and cannot hide it.
        cover |= other[view] & ~part
    keep = labels == (order[0] if order else int(np.argmax(sizes)))
    near = CLOSE * float(np.hypot(*part.shape))
    for i in order[1:]:
        piece = np.argwhere(labels == i)
        # Against all that is kept so far, not the largest piece alone: a chair's leg may hang on its other leg.
        split, gap = _split_by_occluder(piece, np.argwhere(keep), part, clean, cover)
        share = sizes[i] / sizes[order[0]]
        if split or (split is None and share >= LARGE) or (share >= CLOSE_LEAST and gap <= near):
            keep |= labels == i
    left = part & ~keep
    if not left.any():
        return mask, {}
    out = np.zeros_like(mask)
    out[view] = keep
    kept = len(np.unique(labels[keep]))
    told = {"pieces": kept, "pieces_left_out": count - kept, "pixels_left_out": int(left.sum())}
    return out, told
