"""Room-scale questions from scan metadata: VSI-100k's generator, with VSI-Bench's definitions as a switch."""

from data_prep.synthesis.vsi.measures import (
    alpha_shape_area,
    box_distance,
    centre_distance,
    nearest_distance,
    quadrant,
    side,
    side_or_back,
    turn,
)
from data_prep.synthesis.vsi.questions import (
    DEFINITIONS,
    HELDOUT_TOPICS,
    TOPICS,
    Settings,
    distance,
    floor_area,
    room_questions,
)
from data_prep.synthesis.vsi.scene import Instance, MetadataError, Room, load_rooms, parse_room

__all__ = [
    "DEFINITIONS",
    "HELDOUT_TOPICS",
    "TOPICS",
    "Instance",
    "MetadataError",
    "Room",
    "Settings",
    "alpha_shape_area",
    "box_distance",
    "centre_distance",
    "distance",
    "floor_area",
    "load_rooms",
    "nearest_distance",
    "parse_room",
    "quadrant",
    "room_questions",
    "side",
    "side_or_back",
    "turn",
]
