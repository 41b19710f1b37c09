"""Opens pictures and films that others made. Only formats that decode themselves are read.

A file says itself what it is, whatever its name: Pillow hands an EPS to Ghostscript, and FFmpeg follows playlists,
lists of parts, session descriptions and numbered names to other files and to the network.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    import av.container

_PICTURES = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "ICO")
_FILMS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,h264,hevc,m4v,mjpeg,ivf,nut"
)


def open_image(source: Any) -> Image.Image:
    """`PIL.Image.open` of encoded bytes or of a path, for formats that Pillow or a plug-in decodes itself; the pixels
    are not decoded yet. UnidentifiedImageError (an OSError) for anything else.
    """
    Image.init()
    formats = [name for name in _PICTURES if name in Image.OPEN]
    return Image.open(
        io.BytesIO(source) if isinstance(source, (bytes, bytearray, memoryview)) else source, formats=formats
    )


def open_video(path: str | os.PathLike[str] | Any) -> av.container.InputContainer:
    """`av.open` for reading a path or an open file, for containers that hold their own frames and name no other file.
    av's errors for anything else; ImportError where the package av is missing.
    """
    import av

    source = os.path.abspath(path) if isinstance(path, (str, os.PathLike)) else path
    return av.open(source, options={"format_whitelist": _FILMS, "protocol_whitelist": "file"})
