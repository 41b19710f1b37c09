"""Li 2025's question families, one file a group. A new one is a function under `@family` and its name in the tuple."""

from __future__ import annotations

from data_prep.synthesis.families import boxes, camera, chains, depth, image_plane, listing, metric, multihop, viewpoint
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
    )
}

__all__ = ["FAMILIES", "choose_families"]


def choose_families(names: str) -> list[Family]:
    """The families named in a comma-separated list, or all; an unknown name is an error that lists the known ones."""
    if names == "all":
        return list(FAMILIES.values())
    picked = []
    for name in filter(None, (n.strip() for n in names.split(","))):
        if name not in FAMILIES:
            raise ValueError(f"--families: {name!r} is unknown: use all or some of {', '.join(FAMILIES)}")
        picked.append(FAMILIES[name])
    return picked
