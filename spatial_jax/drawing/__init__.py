"""The drawing environment (ViLaSR, arXiv 2506.09965): operations out of a turn's text, drawn on copies of the pictures.
Host side, no jax.
"""

from spatial_jax.drawing.album import Album
from spatial_jax.drawing.operations import DrawingError, Operation, parse
from spatial_jax.drawing.render import render

__all__ = ["Album", "DrawingError", "Operation", "parse", "render"]
