"""Spatial-SSRL's two depth tasks: regional depth ordering and relative 3-D position (arXiv 2510.27606, T4 and T5).
Depth may be of any scale.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from data_prep.synthesis.selfsup.puzzle import (
    Draw,
    Picture,
    Puzzle,
    Style,
    Unsuitable,
    draw_marker,
    marker_radius,
    pick_wording,
)

BANDS = ((0.0, 0.30), (0.35, 0.65), (0.70, 1.0))
R_MAX, R_FALLBACK, D_MIN = 0.15, 0.20, 0.05
LEAST_STEP = 0.02  # of the distance: on a nearly flat wall the whole range of depth is less, or is noise
TRIES = 400

ORDER_PLAIN = ("Order the marks near to far.", "Marks from near to far?")
ORDER = (
    "Three regions are marked 1, 2 and 3. Order them from the nearest to the farthest from the camera.",
    "Which order, closest first, do the marked points 1, 2 and 3 have by depth?",
    "Sort the circled regions 1, 2, 3 by their distance from the viewer, nearest first.",
    "Judge the depth at the three white circles. Write their numbers from near to far.",
    "From foreground to background: in which order come the marks 1, 2 and 3?",
    "Compare how far away the places 1, 2 and 3 are. List them starting with the closest.",
    "Rank the three marked spots by increasing depth.",
    "The circles 1, 2 and 3 lie at different depths. Name them in the order nearest, middle, farthest.",
)


def _odd(value: float, least: int) -> int:
    return max(least, 2 * round((value - 1) / 2) + 1)


def normalise_percentiles(depth: np.ndarray) -> np.ndarray:
    """Depth scaled to [0, 1] between its 0.5 and 99.5 percentiles; nan outside and where invalid."""
    valid = depth[np.isfinite(depth) & (depth > 0)]
    if valid.size < 100:
        raise Unsuitable("too little valid depth")
    low, high = np.percentile(valid, (0.5, 99.5))
    if high <= low:
        raise Unsuitable("flat depth")
    scaled = (depth - low) / (high - low)
    with np.errstate(invalid="ignore"):
        return np.where((depth > 0) & (scaled >= 0) & (scaled <= 1), scaled, np.nan).astype(np.float32)


def _region(
    scaled: np.ndarray, band: tuple[float, float], window: int, limit: float, rng: np.random.Generator, align: int
) -> tuple[int, int] | None:
    """A random centre (x, y) in a depth band whose window is inside the picture, wholly valid, and within `limit` in
    range; in the middle of an `align` x `align` square of the picture's grid.
    """
    half = window // 2
    edge = max(half, align // 2)
    inner = scaled[edge : scaled.shape[0] - half : align, edge : scaled.shape[1] - half : align]
    with np.errstate(invalid="ignore"):
        places = np.flatnonzero((inner >= band[0]) & (inner <= band[1]))
    for place in rng.permutation(places)[:TRIES]:
        y, x = (edge + align * at for at in divmod(int(place), inner.shape[1]))
        block = scaled[y - half : y + half + 1, x - half : x + half + 1]
        low, high = block.min(), block.max()  # nan if any is nan
        if high - low < limit:
            return x, y
    return None


def _why_no_region(scaled: np.ndarray, band: tuple[float, float], window: int) -> str:
    """Why no window of a band will do: holes in each, or unevenness."""
    rows, columns = (np.arange(size - window + 1) for size in scaled.shape)
    half, held = window // 2, np.isfinite(scaled)
    whole = _over_windows(held, np.logical_and, rows, columns, window)
    inner = scaled[half : half + len(rows), half : half + len(columns)]
    with np.errstate(invalid="ignore"):
        there = (inner >= band[0]) & (inner <= band[1])
    if there.any() and not (there & whole).any():
        return "depth ordering: depth has holes in every region of a band"
    return "depth ordering: a depth band has no even region"


def depth_order(picture: Picture, rng: Draw, style: Style) -> Puzzle:
    """T4. One region in each of the near, middle and far bands; labels nearest to farthest, e.g. "3-1-2".
    With `strict_depth` the paper's range limit holds for the small windows too, and neighbours' windows are at least
    D_MIN apart.
    """
    depth = _depth(picture)
    scaled = normalise_percentiles(depth)
    scale = picture.short_side / 768 if style.plain else 1.0
    strict, objections = style.strict_depth and not style.as_published, list[str]()
    windows = ((_odd(25 * scale, 5), R_MAX), (_odd(11 * scale, 3), R_MAX if strict else R_FALLBACK))
    draw, radius = np.random.default_rng(rng.getrandbits(63)), marker_radius(picture, style)
    centres, ranges, halves = [], [], []
    for band in BANDS:
        for window, limit in windows:
            centre = _region(scaled, band, window, limit, draw, style.align)
            if centre:
                break
        else:
            raise Unsuitable(_why_no_region(scaled, band, windows[-1][0]))
        half = window // 2
        block = scaled[centre[1] - half : centre[1] + half + 1, centre[0] - half : centre[0] + half + 1]
        centres.append(centre)
        halves.append(half)
        ranges.append((float(block.min()), float(block.max())))
    gap = min(ranges[1][0] - ranges[0][1], ranges[2][0] - ranges[1][1])
    if style.strict_depth and gap < D_MIN:
        style.object_to("depth ordering: neighbouring regions too close in depth", objections)
    blocks = [depth[y - half : y + half + 1, x - half : x + half + 1] for (x, y), half in zip(centres, halves)]
    if min(float(b.min() / a.max()) for a, b in itertools.pairwise(blocks)) < 1 + LEAST_STEP:
        style.object_to("depth ordering: regions hardly differ in distance", objections)
    if style.as_published and max(high - low for low, high in ranges) >= R_MAX:
        objections.append("depth ordering: a region spans too much depth")
    if min(np.hypot(a[0] - b[0], a[1] - b[1]) for i, a in enumerate(centres) for b in centres[:i]) < 2 * radius + 2:
        style.object_to("depth ordering: marks overlap", objections)
    labels = [1 + k for k in rng.permutation(3)]
    canvas = Image.fromarray(picture.rgb)
    for (x, y), label in zip(centres, labels):
        draw_marker(canvas, x, y, str(label), radius)
    template_id, wording = pick_wording(rng, style, ORDER_PLAIN, ORDER)
    question = wording if style.plain else f"{wording} Join the numbers by hyphens, for example 1-2-3."
    return Puzzle(
        "depth_order",
        "3 regions",
        (np.asarray(canvas),),
        question,
        "free",
        "-".join(map(str, labels)),
        template_id,
        ("1", "2", "3"),
        gap / D_MIN,
        {
            "centres": centres,
            "ranges": ranges,
            "labels": labels,
            "depths": [float(depth[y, x]) for x, y in centres],
        },
        tuple(objections),
    )


def _depth(picture: Picture) -> np.ndarray:
    if picture.depth is None:
        raise Unsuitable("no depth")
    return picture.depth


Slopes = tuple[np.ndarray, np.ndarray, float, float]
PAIR = 0.25  # of normalised depth
LEAST_VALID = 0.5  # of a block's pixels have depth
LATERAL = 150  # pixels
NEAR_DY = 30  # pixels
WINDOW = 15  # pixels
REFERENCE_SIDE = 1064  # short side of the pictures that those pixels were chosen on
MOST_CANDIDATES = 3000
ORIENTATIONS = ("left", "right", "toward the viewer", "away from the viewer")
PLAIN_FACING = {"left": "left", "right": "right", "toward the viewer": "us", "away from the viewer": "away"}
CROSS = ("Left", "Right", "Front", "Back")
CORNERS = ("Left-Front", "Right-Front", "Right-Back", "Left-Back")

POSITION_PLAIN = ("At {h} facing {facing}, {t} is {options}?", "Facing {facing} at {h}: is {t} {options}?")
POSITION = (
    (
        "Two places are marked 1 and 2. A camera stands at place {h} and faces {facing}, as seen in this picture. "
        "Where is place {t} relative to the camera?"
    ),
    "Imagine a camera at mark {h} whose lens points {facing} in this view. In which direction from it is mark {t}?",
    "Put yourself at point {h}, facing {facing} with respect to the picture. Where do you find point {t}?",
    (
        "An observer at the circle {h} looks {facing} (directions as in the image). On which side of them lies the"
        " circle {t}?"
    ),
    "Seen from place {h} by someone facing {facing} in the scene, where is place {t}?",
    "Take the viewpoint of a camera at {h}, turned {facing} in this picture. Which direction does {t} have from there?",
    (
        "Let a camera at the place marked {h} face {facing} as we see the scene. What is the position of the place"
        " marked {t} in its frame?"
    ),
    "Suppose you stand where {h} is and face {facing}, in terms of this photo. In what direction is {t}?",
)


def in_camera_frame(facing: str, dx: float, dz: float) -> tuple[str, str]:
    """("Left" | "Right", "Front" | "Back") of a target at (dx, dz) from the camera in viewer coordinates (x right, z
    away); zero is positive.

    facing "left" is the source's table: front if dx < 0, right-hand side if dz >= 0; and so on for the others."""
    front, right = {
        "left": (dx < 0, dz >= 0),
        "right": (dx >= 0, dz < 0),
        "toward the viewer": (dz < 0, dx < 0),
        "away from the viewer": (dz >= 0, dx >= 0),
    }[facing]
    return ("Right" if right else "Left"), ("Front" if front else "Back")


def _blocks(
    scaled: np.ndarray, window: int, least_valid: float, align: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(centres [n, 2] as x, y; min [n]; max [n]) of even windows in the middle 90 % of the picture, nearest to its
    centre first; of each at least the share `least_valid` has depth. Each stands in the middle of an `align` x `align`
    square of the picture's grid.
    """
    height, width = scaled.shape
    half = window // 2
    step = max(1, int(np.sqrt(0.81 * height * width / (4 * MOST_CANDIDATES))))
    ys = np.arange(max(half, round(0.05 * height)), min(height - half, round(0.95 * height)), step)
    xs = np.arange(max(half, round(0.05 * width)), min(width - half, round(0.95 * width)), step)
    if align > 1:
        ys, xs = (np.arange(align // 2, side - half, align) for side in (height, width))
    if not len(ys) or not len(xs):
        raise Unsuitable("3-D position: picture too small")
    valid = np.isfinite(scaled)
    low = _over_windows(np.where(valid, scaled, np.inf), np.minimum, ys - half, xs - half, window)
    high = _over_windows(np.where(valid, scaled, -np.inf), np.maximum, ys - half, xs - half, window)
    keep = (high - low <= R_MAX) & valid[np.ix_(ys, xs)]
    if least_valid:
        count = _over_windows(valid.astype(np.int32), np.add, ys - half, xs - half, window)
        whole = count >= least_valid * window**2
        if not whole.any():
            raise Unsuitable("3-D position: depth has holes in every region")
        keep &= whole
    grid_x, grid_y = np.meshgrid(xs, ys)
    centres = np.stack([grid_x[keep], grid_y[keep]], 1)
    order = np.argsort(np.hypot(centres[:, 0] - width / 2, centres[:, 1] - height / 2), kind="stable")
    if len(order) > MOST_CANDIDATES:
        order = order[np.linspace(0, len(order) - 1, MOST_CANDIDATES).astype(int)]
    return centres[order], low[keep][order], high[keep][order]


def _over_windows(
    values: np.ndarray, extreme: np.ufunc, tops: np.ndarray, lefts: np.ndarray, window: int
) -> np.ndarray:
    """[tops, lefts] extreme of the windows that begin there: down the columns first, then along the rows."""
    down = values[tops]
    for k in range(1, window):
        extreme(down, values[tops + k], out=down)
    out = down[:, lefts]
    for k in range(1, window):
        extreme(out, down[:, lefts + k], out=out)
    return out


def _outweighs(slopes: Slopes, i: int, dx: np.ndarray, kind: str, lateral: float) -> np.ndarray:
    """bool [n]: whether what decides the answer of the pair of block i with each other, `dx` columns beside it (the
    step sideways of a near pair, that in depth of a far pair side by side), is at least as long as the step that the
    answer leaves out.
    """
    nearest, farthest, focal, _ = slopes
    apart = np.maximum(farthest, farthest[i]) / np.minimum(nearest, nearest[i]) - 1
    if kind == "near":
        return apart <= np.abs(dx) / focal
    return (np.abs(dx) > lateral) | (_step(slopes, i) >= np.abs(dx) / focal)


def _step(slopes: Slopes, i: int) -> np.ndarray:
    """[n]: by how much of the farther one's distance block i and each other are apart in depth at least."""
    nearest, farthest, _, _ = slopes
    return np.maximum(nearest - farthest[i], nearest[i] - farthest) / np.maximum(nearest, nearest[i])


def _same_side(slopes: Slopes, i: int, columns: np.ndarray, kind: str, lateral: float) -> np.ndarray:
    """bool [n]: whether what is on one side of block i in the picture is there in space too, where the answer names a
    side: lines of sight part, so a far thing near the middle may stand farther out than a near one beyond it.
    """
    nearest, farthest, _, middle = slopes
    out = (columns - middle) * (nearest + farthest) / 2
    dx = columns - columns[i]
    return (dx * (out - out[i]) > 0) | ((kind == "far") & (np.abs(dx) <= lateral))


def _search(
    centres: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    kind: str,
    short: int,
    scale: float,
    shift: int,
    slopes: Slopes | None,
) -> tuple[int, int] | None:
    """First pair (i, j) of blocks, anchors in order, that is a near pair (same depth, side by side) or a far pair
    (apart in depth). `slopes` (nearest depth [n], farthest depth [n], focal length and column of the optical axis in
    pixels): what an answer is asked by must also outweigh what it leaves out, as measured from the camera (depth's
    quarter of a range of 150 m is 37 m, beside which a step sideways is nothing), and be so in space.
    """
    count = len(centres)
    for step in range(min(count, 600)):
        i = (shift + step) % count
        dx, dy = np.abs(centres[:, 0] - centres[i, 0]), np.abs(centres[:, 1] - centres[i, 1])
        if kind == "near":
            fits = (
                (np.abs(high[i] - low) <= PAIR)
                & (np.abs(high - low[i]) <= PAIR)
                & (dy < NEAR_DY * scale)
                & (dx >= short // 8)
            )
        else:
            fits = ((low - high[i] >= PAIR) | (low[i] - high >= PAIR)) & (np.hypot(dx, dy) >= short // 8)
        if slopes is not None:
            fits &= _outweighs(slopes, i, dx, kind, LATERAL * scale)
            fits &= (kind == "near") | (_step(slopes, i) >= LEAST_STEP)
            fits &= _same_side(slopes, i, centres[:, 0], kind, LATERAL * scale)
        hits = np.flatnonzero(fits)
        if len(hits):
            return i, int(hits[0])
    return None


def position3d(picture: Picture, rng: Draw, style: Style, kind: str = "") -> Puzzle:
    """T5. Two marked places; where is one for a camera at the other that faces left, right, toward the viewer or away?
    Answer a letter. Only the pixel's x and normalised depth are used: no intrinsics, no metric unit. `kind`: "near",
    "far" or at random.
    """
    depth = _depth(picture)
    positive = np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
    if np.count_nonzero(np.isfinite(positive)) < 100:
        raise Unsuitable("too little valid depth")
    least, most = float(np.nanmin(positive)), float(np.nanmax(positive))
    if most <= least:
        raise Unsuitable("flat depth")
    scale = picture.short_side / REFERENCE_SIDE if style.plain else 1.0
    window = _odd(WINDOW * scale, 3)
    holes = 0.0 if style.as_published else LEAST_VALID
    centres, low, high = _blocks((positive - least) / (most - least), window, holes, style.align)
    kind = kind or rng.choice(("near", "far"))
    metres = least + np.stack([low, high]) * (most - least)
    slopes = metres[0], metres[1], picture.focal, picture.middle
    pair = None
    if len(centres) > 1:
        shift = rng.randrange(max(1, len(centres) // 2))
        rule = None if style.as_published else slopes
        pair = _search(centres, low, high, kind, picture.short_side, scale, shift, rule)
    if pair is None:
        raise Unsuitable(f"3-D position: no {kind} pair of even regions")
    objections: list[str] = []
    offsets = centres[:, 0] - centres[pair[0], 0]
    if style.as_published and not _outweighs(slopes, pair[0], offsets, kind, LATERAL * scale)[pair[1]]:
        objections.append("3-D position: the step that the answer leaves out is longer than the one that it names")
    if style.as_published and not _same_side(slopes, pair[0], centres[:, 0], kind, LATERAL * scale)[pair[1]]:
        objections.append("3-D position: what is right in the picture is left in space")
    if style.as_published and kind == "far" and _step(slopes, pair[0])[pair[1]] < LEAST_STEP:
        objections.append("3-D position: regions hardly differ in distance")
    first, second = pair if rng.random() < 0.5 else pair[::-1]
    facing = rng.choice(ORIENTATIONS) if style.paper_orientations else rng.choices(ORIENTATIONS, (30, 30, 30, 10))[0]
    dx = float(centres[second, 0] - centres[first, 0])
    dz = _window_max(positive, centres[second], window) - _window_max(positive, centres[first], window)
    options, right, used = _decide(kind, facing, dx, dz, LATERAL * scale)
    return _position_puzzle(
        picture,
        rng,
        style,
        kind,
        facing,
        centres[[first, second]],
        options,
        right,
        {"dx": dx, "dz": dz, "facing": facing, "used": used, "centres": centres[[first, second]].tolist()},
        objections,
    )


def _window_max(depth: np.ndarray, centre: np.ndarray, window: int) -> float:
    x, y, half = int(centre[0]), int(centre[1]), window // 2
    return float(np.nanmax(depth[y - half : y + half + 1, x - half : x + half + 1]))


def _decide(kind: str, facing: str, dx: float, dz: float, lateral: float) -> tuple[tuple[str, ...], str, str]:
    """(options, right option, components used): near pairs by dx alone, far pairs by both or, when side by side is
    unclear, by dz alone.
    """
    side, ahead = in_camera_frame(facing, dx, dz)
    along_x = facing in ("left", "right")  # then dx decides front/back and dz decides the side
    if kind == "far" and abs(dx) > lateral:
        return CORNERS, f"{side}-{ahead}", "dx dz"
    if kind == "near":
        return CROSS, (ahead if along_x else side), "dx"
    return CROSS, (side if along_x else ahead), "dz"


def ask_position(template_id: int, labels: Sequence[str], facing: str, options: Sequence[str]) -> str:
    """A plain question: where is the second label for a camera at the first?"""
    *others, last = (option.lower() for option in options)
    said = f"{', '.join(others)} or {last}"
    return POSITION_PLAIN[template_id].format(h=labels[0], t=labels[1], facing=PLAIN_FACING[facing], options=said)


def _position_puzzle(
    picture: Picture,
    rng: Draw,
    style: Style,
    kind: str,
    facing: str,
    centres: np.ndarray,
    options: tuple[str, ...],
    right: str,
    inputs: dict,
    objections: list[str],
) -> Puzzle:
    radius = marker_radius(picture, style)
    if np.hypot(*(centres[0] - centres[1])) < 2 * radius + 2:
        style.object_to("3-D position: marks overlap", objections)
    labels = ["1", "2"]
    rng.shuffle(labels)
    canvas = Image.fromarray(picture.rgb)
    for (x, y), label in zip(centres.tolist(), labels):
        draw_marker(canvas, x, y, label, radius)
    shown = rng.place(options, right)
    template_id, wording = pick_wording(rng, style, POSITION_PLAIN, POSITION)
    if style.plain:
        shown = [option.lower() for option in options]
        question = ask_position(template_id, labels, facing, options)
        answer = right.lower()
    else:
        lettered = [f"{'ABCD'[i]}. {o}" for i, o in enumerate(shown)]
        question = (
            wording.format(h=labels[0], t=labels[1], facing=facing)
            + " Ignore differences in height.\n"
            + "\n".join(lettered)
        )
        answer = "ABCD"[shown.index(right)]
    return Puzzle(
        "position3d",
        f"{kind}, {inputs['used']}",
        (np.asarray(canvas),),
        question,
        "word" if style.plain else "mcq",
        answer,
        template_id,
        tuple(shown),
        1.0,
        inputs | {"labels": labels, "kind": kind},
        tuple(objections),
    )
