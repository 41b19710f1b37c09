"""Spatial-SSRL's three colour tasks: shuffled patches, flipped patch, cropped patch (systems: arXiv 2510.27606,
sections on T1 to T3).

Beyond the paper, a puzzle whose pieces look alike (sky, walls) is refused: it has no answer that an eye could find."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from data_prep.synthesis.selfsup.facts import hole_edges, mending_side, seams
from data_prep.synthesis.selfsup.puzzle import (
    Draw,
    Picture,
    Puzzle,
    Style,
    Unsuitable,
    cut,
    detail,
    difference,
    draw_grid,
    nearest_multiple,
    pick_wording,
    resize_to,
    thumbnail,
)

LEAST_DIFFERENCE = 8.0  # of 255, between thumbnails
LEAST_DETAIL = 6.0  # of 255, about a plane
FLIPS = ("upside down", "left-right")

SLOTS = {
    (2, 2): "TopLeft-TopRight-BottomLeft-BottomRight",
    (1, 3): "Left-Middle-Right",
    (1, 4): "Left-Middle1-Middle2-Right",
    (3, 1): "Top-Middle-Bottom",
    (4, 1): "Top-Middle1-Middle2-Bottom",
}
SHUFFLE_PLAIN = ("Order of the patches?", "Which order restores the picture?")
SHUFFLE = (
    (
        "The picture was cut into a {grid} grid of patches, which were then shuffled and numbered. {mask}"
        "Give the numbers in the order that restores the picture: {slots}."
    ),
    (
        "Below is a scrambled photo: {grid} patches, each with its number. {mask}Which number belongs in each place,"
        " read as {slots}?"
    ),
    (
        "These {count} numbered patches have been mixed up. {mask}Put the picture together again and write the numbers"
        " in the order {slots}."
    ),
    "A {grid} puzzle: every patch carries a number. {mask}Reconstruct the photo; answer with the numbers for {slots}.",
    "Find the original arrangement of the {count} patches. {mask}List their numbers in the order {slots}.",
    "The patches of this {grid} image are out of place. {mask}Which permutation puts them right? Answer as {slots}.",
    (
        "Mentally move the numbered patches until the scene makes sense. {mask}Which number ends up at each position"
        " ({slots})?"
    ),
    (
        "Someone exchanged the patches of a photo ({grid}). {mask}State for every position, {slots}, the number of the"
        " patch that should be there."
    ),
)


def shuffle(picture: Picture, rng: Draw, style: Style, rows: int = 2, columns: int = 2, masked: bool = False) -> Puzzle:
    """T1. Displayed slot k shows original patch perm[k]; the answer is argsort(perm), joined by hyphens. One slot may
    be masked white.
    """
    patches = _patches(picture, rows, columns, style)
    count = rows * columns
    hidden = rng.randrange(count) if masked else -1
    perm = rng.permutation(count)
    shown = [patches[p] for p in perm]
    seen = [thumbnail(patch) for patch in shown]
    pairs = [difference(a, b) for (i, a), (j, b) in itertools.combinations(enumerate(seen), 2) if hidden not in (i, j)]
    objections: list[str] = []
    if min(pairs) < LEAST_DIFFERENCE:
        style.object_to("shuffle: two patches look alike", objections)
    if sum(detail(patch) < LEAST_DETAIL for slot, patch in enumerate(seen) if slot != hidden) > 1:
        style.object_to("shuffle: two patches without detail", objections)
    if _is_mirrored(picture.rgb, rows, columns):
        style.object_to("shuffle: the picture is its own mirror image", objections)
    order = [int(label) for label in np.argsort(perm)]
    borders = seams(shown, order, rows, columns, hidden)
    if masked:
        shown[hidden] = np.full_like(shown[hidden], 255)
    template_id, wording = pick_wording(rng, style, SHUFFLE_PLAIN, SHUFFLE)
    example = "-".join(map(str, range(count)))
    question = wording.format(
        grid=f"{rows}x{columns}",
        count=count,
        slots=SLOTS.get((rows, columns), "in raster order"),
        mask="One patch is hidden behind white. " if masked else "",
    )
    if not style.plain:
        question += f" Join the numbers by hyphens, for example {example}."
    variant = f"{rows}x{columns}{' masked' if masked else ''}"
    return Puzzle(
        "shuffle",
        variant,
        (draw_grid(shown, rows, columns, style),),
        question,
        "free",
        "-".join(map(str, order)),
        template_id,
        tuple(map(str, range(count))),
        min(pairs) / LEAST_DIFFERENCE,
        {"perm": perm, "masked_slot": hidden, "grid": [rows, columns], "seams": borders},
        tuple(objections),
    )


def _is_mirrored(rgb: np.ndarray, rows: int, columns: int) -> bool:
    """Whether a picture is its own mirror image across a way that it is cut in: its outer edges meet as well as its
    inner ones then, and the patches fit in another order, too.
    """
    seen = thumbnail(rgb)
    ways = [seen[::-1]] * (rows > 1) + [seen[:, ::-1]] * (columns > 1)
    return any(difference(seen, other) < LEAST_DIFFERENCE / 4 for other in ways)


FLIP_PLAIN = ("Which patch is flipped? (0 up-down, 1 left-right)", "Flipped patch and way (0 up-down, 1 left-right)?")
FLIP = (
    (
        "The picture is divided into four numbered patches. One of them has been mirrored. Which one, and how (0:"
        " upside down, 1: left-right)?"
    ),
    (
        "Exactly one of the four numbered patches was flipped. Name it and the kind of flip: 0 for vertical (upside"
        " down), 1 for horizontal."
    ),
    (
        "Find the patch that does not fit because it was mirrored. Give its number and the direction, 0 = upside down,"
        " 1 = left-right."
    ),
    (
        "One quarter of this photo is a mirror image of what it should be. Which quarter, and flipped which way (0"
        " upside down, 1 left-right)?"
    ),
    "Look at how the patches meet: one was flipped. Report its number and 0 (vertical flip) or 1 (horizontal flip).",
    "Which of the patches 0 to 3 has been flipped, and was it turned upside down (0) or left-right (1)?",
    (
        "Somebody mirrored a single patch of this image. State which, and whether vertically (0, upside down) or"
        " horizontally (1, left-right)."
    ),
    "Spot the mirrored patch among the four. Answer with its number and its flip code: 0 upside down, 1 left-right.",
)


def flip(picture: Picture, rng: Draw, style: Style) -> Puzzle:
    """T2. One of four patches in place is mirrored; answer "label-direction", direction 0 vertical (upside down), 1
    horizontal.
    """
    patches = _patches(picture, 2, 2, style)
    target, direction = divmod(rng.balance(8), 2)
    flipped = patches[target][::-1] if direction == 0 else patches[target][:, ::-1]
    mirrored = thumbnail(flipped)
    seen = difference(mirrored, thumbnail(patches[target]))
    objections: list[str] = []
    if seen < LEAST_DIFFERENCE:
        style.object_to("flip: the patch is its own mirror image", objections)
    # Where half a turn changes nothing, such as on a slanting stripe, both ways of mirroring give the same patch.
    elif difference(mirrored, thumbnail(flipped[::-1, ::-1])) < LEAST_DIFFERENCE:
        style.object_to("flip: upside down and left-right look alike", objections)
    elif detail(mirrored) < LEAST_DETAIL:
        style.object_to("flip: the patch is flat", objections)
    shown = [flipped if i == target else p for i, p in enumerate(patches)]
    template_id, wording = pick_wording(rng, style, FLIP_PLAIN, FLIP)
    question = wording if style.plain else f"{wording} Answer as number-direction, for example 0-1."
    return Puzzle(
        "flip",
        "2x2",
        (draw_grid(shown, 2, 2, style),),
        question,
        "free",
        f"{target}-{direction}",
        template_id,
        tuple(f"{p}-{d}" for p in range(4) for d in range(2)),
        seen / LEAST_DIFFERENCE,
        {"patch": target, "direction": direction, "seam": mending_side(patches, shown, target)},
        tuple(objections),
    )


def _patches(picture: Picture, rows: int, columns: int, style: Style) -> list[np.ndarray]:
    patches = cut(picture.rgb, rows, columns)
    if min(patches[0].shape[:2]) < 2 * style.label_at + style.label_size // 2 + 4:
        raise Unsuitable("picture too small for its patches")
    height, width = (nearest_multiple(size, style.align) for size in patches[0].shape[:2])
    return [resize_to(patch, width, height) for patch in patches]


CROP_PLAIN = ("Which part fills the black square?", "Which of A to D fills the hole?")
CROP = (
    "Image 1 has a black square. Which of the four candidates A, B, C, D (images 2 to 5) fills it exactly?",
    (
        "A square was cut out of the first image. Choose the original piece among A (image 2), B (image 3), C (image 4)"
        " and D (image 5)."
    ),
    "The first picture misses a square region. Candidates A to D follow in order. Which one restores the picture?",
    "Find the patch that belongs in the black area of the first image: A, B, C or D, shown as images 2, 3, 4 and 5.",
    (
        "One of the four small pictures (A to D, in order) was cut from the black region of the first picture,"
        " unrotated and at the same scale. Which?"
    ),
    (
        "Which candidate continues the surroundings of the black square seamlessly? The candidates A, B, C and D are"
        " images 2 to 5."
    ),
    "Complete the first image: pick A, B, C or D (the next four images) for the black square.",
    "Inpainting by choice: the hole in image 1 must be filled with image 2 (A), 3 (B), 4 (C) or 5 (D). Which is right?",
)


CANDIDATES = ("crop", "rotated left", "rotated right", "interior", "context 0.25", "context 0.5")


def candidates(
    rgb: np.ndarray, left: int, top: int, side: int, names: Sequence[str] = CANDIDATES
) -> dict[str, np.ndarray]:
    """The named ones of the crop and Spatial-SSRL's five distractors, all side x side."""
    height, width = rgb.shape[:2]
    crop = rgb[top : top + side, left : left + side]

    def around(extra: int) -> np.ndarray:
        return rgb[
            max(0, top - extra) : min(height, top + side + extra),
            max(0, left - extra) : min(width, left + side + extra),
        ]

    makers = {
        "crop": lambda: crop,
        "rotated left": lambda: np.rot90(crop),
        "rotated right": lambda: np.rot90(crop, -1),
        "interior": lambda: crop[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4],
        "context 0.25": lambda: around(side // 4),
        "context 0.5": lambda: around(side // 2),
    }
    return {name: resize_to(np.ascontiguousarray(makers[name]()), side, side) for name in names}


def crop(picture: Picture, rng: Draw, style: Style) -> Puzzle:
    """T3. A square of half the short side is blacked out; three of five distractors without replacement; answer a
    letter. Five pictures (context and candidates); in the plain profile one, which shows the middle square of the
    context at its left and the candidates as quarters of a square at its right, at the same scale.
    """
    rgb = _middle_square(picture.rgb, style) if style.plain else picture.rgb
    height, width = rgb.shape[:2]
    side = min(height, width) // 2
    if side < 16:
        raise Unsuitable("picture too small for a crop")
    step = max(1, style.align // 2)  # of the hole's place: a patch of the tower
    left, top = rng.randrange(0, width - side + 1, step), rng.randrange(0, height - side + 1, step)
    names = ["crop", *rng.sample(CANDIDATES[1:], 3)]
    parts = candidates(rgb, left, top, side, names)
    seen = {name: thumbnail(part) for name, part in parts.items()}
    least = min(difference(seen[a], seen[b]) for a, b in itertools.combinations(names, 2))
    objections: list[str] = []
    if detail(seen["crop"]) < LEAST_DETAIL:
        style.object_to("crop: the piece is flat", objections)
    elif least < LEAST_DIFFERENCE / 2:
        style.object_to("crop: two candidates look alike", objections)
    names = rng.place(names, "crop")
    context = rgb.copy()
    context[top : top + side, left : left + side] = 0
    options = [parts[n] for n in names]
    images = (_beside(context, options, style),) if style.plain else (context, *options)
    template_id, wording = pick_wording(rng, style, CROP_PLAIN, CROP)
    question = wording if style.plain else "<image>" + wording + "\nA. <image>\nB. <image>\nC. <image>\nD. <image>"
    return Puzzle(
        "crop",
        "4 options",
        images,
        question,
        "word" if style.plain else "mcq",
        "ABCD"[names.index("crop")],
        template_id,
        ("A", "B", "C", "D"),
        2 * least / LEAST_DIFFERENCE,
        {"left": left, "top": top, "side": side, "candidates": names, "edges": hole_edges(rgb, left, top, side)},
        tuple(objections),
    )


def _middle_square(rgb: np.ndarray, style: Style) -> np.ndarray:
    """The picture's middle square, scaled so that a quarter of it is of whole visual tokens."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    scaled = nearest_multiple(side, 2 * style.align)
    return resize_to(rgb[top : top + side, left : left + side], scaled, scaled)


def _beside(context: np.ndarray, options: list[np.ndarray], style: Style) -> np.ndarray:
    """One picture of the context and, at its right, the four lettered candidates."""
    return np.concatenate([context, draw_grid(options, 2, 2, style, "ABCD")], 1)
