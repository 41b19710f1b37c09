"""Li 2025's question families, one file a group, and general ones. A new one is a function under `@family` and its
name in the tuple.
"""

from __future__ import annotations

from data_prep.synthesis.families import (
    boxes,
    camera,
    chains,
    depth,
    depth_words,
    general,
    image_plane,
    listing,
    metric,
    multihop,
    viewpoint,
)
from data_prep.synthesis.registry import Family

# In this order they are asked of a scene: changing it changes which questions a seed gives.
FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        boxes.box,
        boxes.count,
        camera.intrinsics,
        depth.depth_order2,
        depth.depth_order,
        depth.abs_depth,
        image_plane.bearing,
        image_plane.relation,
        listing.listing,
        metric.size,
        metric.distance,
        multihop.multihop,
        viewpoint.direction,
        chains.chain,
        depth_words.depth_words,
        general.colour,
        general.kind,
        general.reading,
    )
}

__all__ = ["FAMILIES", "choose_families"]


def choose_families(names: str) -> list[Family]:
    """The families named in a comma-separated list; "all" stands for those on space that no judge is needed for. An
    unknown name is an error that lists the known ones.
    """
    picked: dict[str, Family] = {}
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name == "all":
            picked |= {f.name: f for f in FAMILIES.values() if f.spatial and not f.judged}
        elif name in FAMILIES:
            picked[name] = FAMILIES[name]
        else:
            raise ValueError(f"--families: {name!r} is unknown: use all or some of {', '.join(FAMILIES)}")
    return list(picked.values())
