"""Operations onto a picture, as ViLaSR draws them: outlines of 4 pixels with their label inside, paths from a red to a
blue dot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from spatial_jax.drawing.operations import Operation

COLOURS = (
    "red",
    "green",
    "blue",
    "yellow",
    "orange",
    "pink",
    "purple",
    "brown",
    "gray",
    "beige",
    "turquoise",
    "cyan",
    "magenta",
    "lime",
    "navy",
)
WIDTH, RADIUS = 4, 4
# Of a box's label from its upper left corner.
TEXT_OFFSET = (8, 6)
LONGEST_LABEL = 60


def render(picture: Image.Image, operations: Sequence[Operation], labels: Mapping[str, int]) -> Image.Image:
    """A copy of an RGB picture with the operations on it, boxes first. A label's colour is by its place in `labels`, so
    that it keeps it over a conversation. What lies outside the picture is cut off.
    """
    drawn = picture.copy()
    pen = ImageDraw.Draw(drawn)
    for operation in (o for o in operations if o.kind == "box"):
        left, right = sorted(operation.points[0::2])
        top, bottom = sorted(operation.points[1::2])
        colour = COLOURS[labels[operation.label] % len(COLOURS)]
        pen.rectangle((left, top, right, bottom), outline=colour, width=WIDTH)
        pen.text((left + TEXT_OFFSET[0], top + TEXT_OFFSET[1]), printable(operation.label), fill=colour)
    for operation in (o for o in operations if o.kind == "path"):
        x1, y1, x2, y2 = (int(v) for v in operation.points)
        pen.line((x1, y1, x2, y2), fill="black", width=WIDTH)
        for (x, y), colour in (((x1, y1), "red"), ((x2, y2), "blue")):
            pen.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=colour)
    return drawn


def printable(label: str) -> str:
    """The label in one line of what the default font has."""
    return " ".join(label.split())[:LONGEST_LABEL].encode("latin-1", "replace").decode("latin-1")
