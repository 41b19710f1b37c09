"""Geometry of annotated pictures: clouds, boxes, planes, distances, and the uncertainty of each."""

from data_prep.geometry.boxes import Box, fit_box, horizontal_frame, vertical_extent
from data_prep.geometry.clouds import depth_statistics, erode, inliers, lift, sample, unproject, valid_depth
from data_prep.geometry.distances import Solid, solid_distance
from data_prep.geometry.planes import Plane, fit_floor

__all__ = [
    "Box",
    "Plane",
    "Solid",
    "depth_statistics",
    "erode",
    "fit_box",
    "fit_floor",
    "horizontal_frame",
    "inliers",
    "lift",
    "sample",
    "solid_distance",
    "unproject",
    "valid_depth",
    "vertical_extent",
]
