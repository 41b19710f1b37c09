"""Li 2025's question families, one file a group; importing this package registers them in `registry.FAMILIES`."""

from data_prep.synthesis.families import boxes, camera, depth, image_plane, listing, metric, multihop, viewpoint

__all__ = ["boxes", "camera", "depth", "image_plane", "listing", "metric", "multihop", "viewpoint"]
