"""The one decoder: every reader of the project sees the same pixels, upright, RGB, of the first frame."""

import io
import os

import numpy as np
import pytest
from PIL import Image, ImageOps

from data_prep.sources.pictures import open_picture
from data_prep.synthesis.importers.frames import frames_of
from data_prep.synthesis.importers.rows import BadRow, pictures
from spatial_jax.evals.leakage import find_leaks
from spatial_jax.media import PictureError, decode_picture, natural_key, picture_files, read_file, turn_array
from spatial_jax.pages import open_picture as page_picture
from spatial_jax.processing import ImageError, load_image


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _upside(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def photo(size=(60, 40)):
    rows = np.add.outer(np.arange(size[1]) * 3, np.arange(size[0]) * 2)
    return Image.fromarray(np.stack([rows, 255 - rows, rows // 2], -1).astype(np.uint8))


def turned(orientation, kind="PNG"):
    return encoded(photo(), kind, exif=_upside(orientation))


def _alpha(values):
    picture = photo().convert("RGBA")
    picture.putalpha(Image.fromarray(values.astype(np.uint8)))
    return picture


def _palette():
    picture = photo().quantize(16)
    return encoded(picture, transparency=3)


HALF = np.where(np.arange(60)[None, :] < 30, 0, 255) * np.ones((40, 1))
CASES = {
    **{f"exif{k}": turned(k) for k in range(1, 9)},
    "exif6.tiff": turned(6, "TIFF"),
    "exif6.webp": encoded(photo(), "WEBP", lossless=True, exif=_upside(6)),
    "alpha": encoded(_alpha(HALF)),
    "palette": _palette(),
    "key": encoded(photo(), transparency=(0, 255, 0)),
    "grey and alpha": encoded(_alpha(HALF).convert("LA")),
    "grey16": encoded(Image.fromarray((np.arange(2400, dtype=np.uint16) * 27).reshape(40, 60))),
    "dark16": encoded(Image.fromarray(np.full((40, 60), 200, np.uint16))),
    "grey": encoded(photo().convert("L")),
    "one bit": encoded(photo().convert("1")),
    "gif": encoded(photo().convert("P"), "GIF", save_all=True, append_images=[photo().rotate(90).convert("P")]),
    "animated webp": encoded(photo(), "WEBP", save_all=True, append_images=[photo().rotate(9)], lossless=True),
}


@pytest.mark.parametrize("name", CASES)
def test_every_reader_sees_the_same_pixels(name):
    data = CASES[name]
    seen = np.asarray(load_image(data))
    stored, width, height = pictures([data], None)[0]
    assert (width, height) == (seen.shape[1], seen.shape[0])
    close = 3 if name in ("exif6.webp", "animated webp") else 0  # what was lossy is stored as JPEG
    for other in (
        open_picture(data).rgb,
        np.asarray(page_picture(data)),
        np.asarray(load_image(stored)),
        np.asarray(Image.open(io.BytesIO(stored)).convert("RGB")),  # also to a reader that knows nothing of EXIF
    ):
        assert np.abs(other.astype(int) - seen).mean() <= close
    item = {"id": "a", "images": [data]}
    assert close or find_leaks([("r", "s", stored)], [item])["exact"], "the same picture is the same to the leak check"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_and_arrays_turn_as_their_exif_says(orientation):
    want = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(turned(orientation)))))
    decoded = decode_picture(turned(orientation))
    np.testing.assert_array_equal(np.asarray(decoded.image), want)
    np.testing.assert_array_equal(turn_array(np.asarray(photo()), orientation), want)
    assert decoded.orientation == orientation and decoded.stored_size == (60, 40)
    assert decode_picture(turned(6, "TIFF")).orientation == 6, "Pillow turns TIFF files itself"


def test_sixteen_bits_are_scaled_by_257_however_dark():
    assert set(np.asarray(load_image(CASES["dark16"])).ravel()) == {1}
    assert np.asarray(load_image(CASES["grey16"])).max() == round(2399 * 27 / 257)
    with pytest.raises(PictureError, match="no picture of 8 or 16 bits"):
        decode_picture(encoded(Image.fromarray(np.full((4, 4), -3.0, np.float32)), "TIFF"))


def test_transparency_lies_on_white_and_frames_are_told():
    assert (np.asarray(load_image(CASES["alpha"]))[:, :30] == 255).all()
    assert decode_picture(CASES["gif"]).notes == ["first of 2 frames taken"]
    assert "its EXIF block cannot be read" not in decode_picture(CASES["exif3"]).notes


def test_a_damaged_exif_block_costs_the_tags_not_the_picture():
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 9)
    assert load_image(data).size == (60, 40)


@pytest.mark.parametrize(
    "data, words, reason",
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "picture is HEIC"),
        (encoded(photo((900, 700)))[:-400], "", "picture cannot be decoded"),
        (b"", "empty", "picture cannot be decoded"),
        (encoded(Image.new("1", (20000, 20000))), "bomb", "picture is too large"),
    ],
)
def test_what_is_no_picture_is_one_line_everywhere(data, words, reason):
    with pytest.raises(ImageError, match=f"not a readable picture.*{words}") as error:
        load_image(data)
    assert "\n" not in str(error.value)
    with pytest.raises(BadRow) as row:
        pictures([data], None)
    assert str(row.value) == reason


def test_pipes_and_devices_are_refused_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(PictureError, match="not a file but"):
            read_file(path)
    with pytest.raises(ImageError, match=r"pipe\.png"):
        load_image(tmp_path / "pipe.png")


def test_numbers_in_names_compare_as_numbers(tmp_path):
    names = ["10.png", "2.png", "1.png", "a2/1.png", "a10/1.png", "frame-9.png", "frame-10.png", "02.png"]
    want = ["1.png", "02.png", "2.png", "10.png", "a2/1.png", "a10/1.png", "frame-9.png", "frame-10.png"]
    assert sorted(names, key=natural_key) == want
    assert sorted(["9" * 5000, "1" + "0" * 5000], key=natural_key)[0] == "9" * 5000
    folder = tmp_path / "scene"
    folder.mkdir()
    for k in (1, 2, 10, 11):
        Image.new("RGB", (8, 8), (k, 0, 0)).save(folder / f"{k}.png")
    os.mkfifo(folder / "3.png")
    (folder / "4.png").symlink_to(folder / "nowhere.png")
    assert [p.name for p in picture_files(folder, (".png",))] == ["1.png", "2.png", "10.png", "11.png"]
    frames = frames_of(str(tmp_path), "scene")
    assert [load_image(data).getpixel((0, 0))[0] for data, _, _ in frames] == [1, 2, 10, 11]
    assert len(frames_of(str(tmp_path), "scene", 1)) == 1


def test_a_scene_without_readable_frames_is_no_scene(tmp_path, capsys):
    (tmp_path / "scene").mkdir()
    with pytest.raises(BadRow, match="no readable frame"):
        frames_of(str(tmp_path), "scene")
    assert frames_of(str(tmp_path), "other") == [] and "no frames of scene other" in capsys.readouterr().out
