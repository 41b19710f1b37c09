"""One file a tool; `TOOLS` maps its name to it, in the order in which a call's operations are carried out."""

from spatial_jax.drawing.tool import Tool
from spatial_jax.drawing.tools import box, crop, path

TOOLS: dict[str, Tool] = {m.TOOL.name: m.TOOL for m in (box, path, crop)}
PUBLISHED = ("box", "path")  # ViLaSR's own

__all__ = ["PUBLISHED", "TOOLS"]
