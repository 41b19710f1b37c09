"""Spatial-SSRL's five self-supervised tasks, verifiable by construction: shuffle, flip, crop, depth_order,
position3d.
"""

from data_prep.synthesis.selfsup.build import TASKS, Job, make_record, plan_mixture, plan_per_photo
from data_prep.synthesis.selfsup.depths import depth_order, in_camera_frame, position3d
from data_prep.synthesis.selfsup.patches import crop, flip, shuffle
from data_prep.synthesis.selfsup.puzzle import Draw, Picture, Puzzle, Style, Unsuitable

__all__ = [
    "TASKS",
    "Draw",
    "Job",
    "Picture",
    "Puzzle",
    "Style",
    "Unsuitable",
    "crop",
    "depth_order",
    "flip",
    "in_camera_frame",
    "make_record",
    "plan_mixture",
    "plan_per_photo",
    "position3d",
    "shuffle",
]
