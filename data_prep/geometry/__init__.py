"""Geometry of annotated pictures: clouds, boxes, planes, distances, relations, and the uncertainty of each."""

from data_prep.geometry.boxes import Box, fit_box, horizontal_frame, vertical_extent
from data_prep.geometry.clouds import depth_statistics, erode, inliers, lift, sample, unproject, valid_depth
from data_prep.geometry.distances import Distance, Solid, nearest_distance, pair_distance, solid_distance
from data_prep.geometry.planes import Plane, fit_floor
from data_prep.geometry.relations import beside, closer, depth_order

__all__ = [
    "Box",
    "Distance",
    "Plane",
    "Solid",
    "beside",
    "closer",
    "depth_order",
    "depth_statistics",
    "erode",
    "fit_box",
    "fit_floor",
    "horizontal_frame",
    "inliers",
    "lift",
    "nearest_distance",
    "pair_distance",
    "sample",
    "solid_distance",
    "unproject",
    "valid_depth",
    "vertical_extent",
]
