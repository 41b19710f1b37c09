"""Pictures with what tools did to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image

from spatial_jax.drawing.tool import Entry, Operation
from spatial_jax.drawing.tools import TOOLS

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


def render(picture: Image.Image, operations: Sequence[Operation], labels: Mapping[str, int]) -> Image.Image:
    """A copy of an RGB picture with the marks on it, tool by tool. A label's colour is by its place in `labels`, so
    that it keeps it over a conversation. What lies outside the picture is cut off.
    """
    drawn = picture.copy()
    for name, tool in TOOLS.items():
        for operation in (o for o in operations if o.kind == name):
            drawn = tool.show(drawn, operation, _colour(operation, labels), drawn.size)
    return drawn


def render_entry(clean: Image.Image, entry: Entry, labels: Mapping[str, int]) -> Image.Image:
    """An album's picture out of the clean one that it comes from, which is as large as the model sees it."""
    picture = clean.copy()
    for operation, size in entry.under:
        picture = TOOLS[operation.kind].show(picture, operation, _colour(operation, labels), size)
    return render(picture, entry.drawn, labels)


def _colour(operation: Operation, labels: Mapping[str, int]) -> str:
    return COLOURS[labels.get(operation.label, 0) % len(COLOURS)]
