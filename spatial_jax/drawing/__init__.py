"""Drawing (ViLaSR, arXiv 2506.09965): the protocol's texts, the tools, the grammar of their calls, the numbered
pictures and their rendering, and the environment that answers a policy between its turns. Host side, no jax.
"""

from spatial_jax.drawing.album import Album
from spatial_jax.drawing.grammar import parse
from spatial_jax.drawing.render import render, render_entry
from spatial_jax.drawing.steps import Steps, follow, reflects
from spatial_jax.drawing.tool import DrawingError, Entry, Operation, Tool

__all__ = [
    "Album",
    "DrawingError",
    "Entry",
    "Operation",
    "Steps",
    "Tool",
    "follow",
    "parse",
    "reflects",
    "render",
    "render_entry",
]
