"""Model families: one file a family, one record of decisions each. A new family is a file beside these and its name in
the tuple below.
"""

from __future__ import annotations

from spatial_jax.models.families.base import Decoder, Family, Pictures, Size, Tower
from spatial_jax.models.families.qwen2_5_vl import QWEN2_5_VL
from spatial_jax.models.families.qwen2_vl import QWEN2_VL
from spatial_jax.models.families.qwen3_vl import QWEN3_VL

FAMILIES: dict[str, Family] = {family.name: family for family in (QWEN2_VL, QWEN2_5_VL, QWEN3_VL)}

__all__ = ["FAMILIES", "Decoder", "Family", "Pictures", "Size", "Tower", "find_family"]


def find_family(name: str | None, where: str) -> Family:
    """The family of a model_type. ValueError begins with `where` and lists the names."""
    if name not in FAMILIES:
        raise ValueError(f"{where} {name!r} is unknown; use one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
