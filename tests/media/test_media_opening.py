"""Pictures and films are data: none of them starts a program or opens another file, whatever its name says."""

import io
import shutil
import subprocess

import h5py
import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from data_prep.sources.base import BadItem
from data_prep.sources.pictures import open_picture
from data_prep.sources.rgbd import read_depth
from data_prep.synthesis.importers.rows import BadRow, pictures
from spatial_jax.evals.frames import read_frames
from spatial_jax.media import open_image, open_video
from spatial_jax.pages.pictures import open_picture as open_for_page
from spatial_jax.processing.image import ImageError, load_image
from spatial_jax.processing.video import read_video

av = pytest.importorskip("av")


@pytest.fixture
def eps(monkeypatch):
    """An EPS picture of 64 x 64, and a Ghostscript that would be found and must not be asked."""
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, "EPS")

    def asked(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    monkeypatch.setattr(subprocess, "check_call", asked)
    return out.getvalue()


@pytest.mark.parametrize(
    "opens, error",
    [
        (load_image, ImageError),
        (open_picture, BadItem),
        (open_for_page, ValueError),
        (lambda data: pictures([data], None), BadRow),
    ],
)
def test_no_picture_starts_a_program(eps, opens, error):
    with pytest.raises(error):
        opens(eps)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_ordinary_pictures_open(form):
    out = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(out, form)
    assert open_image(out.getvalue()).size == (8, 6)


@pytest.fixture
def film(tmp_path):
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for i in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), 40 * i, np.uint8), "rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile 'film.mkv'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1.0,\nfilm.mkv\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["list of parts", "playlist", "session"],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.m3u8", "list.sdp"])
def test_no_film_opens_another_file(film, text, name):
    (film.parent / name).write_text(text)
    with pytest.raises(ImageError, match="not a readable video"):
        read_video(film.parent / name)
    with pytest.raises(ValueError, match="not a readable video"):
        read_frames(film.parent / name, 2)
    with pytest.raises(av.error.FFmpegError), open(film.parent / name, "rb") as file:
        open_video(file)


def test_numbered_names_are_no_film(film):
    for i in range(3):
        Image.new("RGB", (64, 64)).save(film.parent / f"frame{i}.png")
    with pytest.raises(ImageError):
        read_video(film.parent / "frame%d.png")


def test_ordinary_films_open(film):
    assert len(read_video(film).frames) == 5
    for name in ("film.mp4", "film.avi", "film.webm"):
        shutil.copy(film, film.parent / name)
        assert len(read_frames(film.parent / name, 3).frames) == 3
    with open(film, "rb") as file, open_video(file) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5


def stored(change):
    out = io.BytesIO()
    with h5py.File(out, "w") as file:
        change(file)
    return out.getvalue()


def test_depth_of_an_hdf5_file_is_its_own(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["depth"] = np.full((4, 5), 7.0, np.float32)
    (tmp_path / "raw").write_bytes(bytes(80))
    layout = h5py.VirtualLayout((4, 5), np.float32)
    layout[:] = h5py.VirtualSource(str(secret), "depth", (4, 5))
    for change in (
        lambda f: f.__setitem__("depth", h5py.ExternalLink(str(secret), "depth")),
        lambda f: f.create_dataset("depth", (4, 5), np.float32, external=[(str(tmp_path / "raw"), 0, 80)]),
        lambda f: f.create_virtual_dataset("depth", layout),
        lambda f: f.create_group("depth"),
    ):
        with pytest.raises(BadItem, match=r"another file|cannot be decoded"):
            read_depth(stored(change), "x.h5", 1.0)
    own = stored(lambda f: f.__setitem__("depth", np.full((4, 5), 2.0, np.float32)))
    assert read_depth(own, "x.h5", 1.0).tolist() == [[2.0] * 5] * 4
