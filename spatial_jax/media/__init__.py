"""Pictures and clips as files bring them, which start no program and open no other file: the order of their names, one
decoder, true times. NumPy, PIL and PyAV; imports nothing of the project, so that every room may use it.
"""

from spatial_jax.media.clips import Clip, ClipError, Timing, clip_frames, clip_timing, open_clip, read_clip, upright
from spatial_jax.media.names import natural_key, picture_files, printable_name
from spatial_jax.media.opening import open_image, open_video
from spatial_jax.media.pictures import (
    MOST_PIXELS,
    Decoded,
    PictureError,
    decode_picture,
    encode_picture,
    mode_to_rgb,
    read_file,
    turn_array,
)

__all__ = [
    "MOST_PIXELS",
    "Clip",
    "ClipError",
    "Decoded",
    "PictureError",
    "Timing",
    "clip_frames",
    "clip_timing",
    "decode_picture",
    "encode_picture",
    "mode_to_rgb",
    "natural_key",
    "open_clip",
    "open_image",
    "open_video",
    "picture_files",
    "printable_name",
    "read_clip",
    "read_file",
    "turn_array",
    "upright",
]
