"""Pictures, overlays, depth colours and clouds."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from spatial_jax.pages import (
    Box,
    Cuboid,
    Point,
    data_uri,
    depth_colors,
    depth_picture,
    mask_layer,
    open_picture,
    picture,
    read_depth,
    read_mask,
    render_cloud,
    turbo,
    unproject,
)
from spatial_jax.pages.pictures import depth_range


def png(size=(40, 30), mode="RGB", color=(200, 10, 10)):
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, "PNG")
    return buffer.getvalue()


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))


def test_data_uri_shrinks_and_never_enlarges():
    assert decode(data_uri(png((1000, 500)), 200)).size == (200, 100) and decode(data_uri(png((40, 30)), 200)).size == (
        40,
        30,
    )


@pytest.mark.parametrize("bad", [b"", b"no picture", png()[:40], "/nonexistent.png", None, 5])
def test_unreadable_pictures_become_a_line(bad):
    assert "picture cannot be shown" in picture(bad)


def test_modes_are_converted():
    for mode, color in (("L", 7), ("P", 1), ("RGBA", (1, 2, 3, 4)), ("I;16", 5000)):
        assert open_picture(png(mode=mode, color=color)).mode == "RGB"


def test_boxes_are_placed_in_their_frame():
    text = picture(png(), boxes=[Box((50, 25, 100, 50), "chair", "truth")], frame=(200, 100))
    assert "left:25.00%;top:25.00%;width:25.00%;height:25.00%" in text and "box truth" in text and "crisp" in text


@pytest.mark.parametrize(
    "xyxy", [(float("nan"), 0, 1, 1), (1, 2, 3), ("a", 0, 1, 1), (500, 500, 600, 600), None, (float("inf"), 0, 1, 1)]
)
def test_impossible_boxes_are_left_out(xyxy):
    assert 'class="box' not in picture(png(), boxes=[Box(xyxy)])


def test_swapped_corners_are_drawn_and_points_too():
    text = picture(png(), boxes=[Box((20, 20, 10, 10))], points=[Point((20, 15)), Point((900, 1)), Point(("x", 1))])
    assert "left:25.00%;top:33.33%" in text and text.count('class="point') == 1


def test_labels_are_escaped():
    text = picture(png(), boxes=[Box((0, 0, 9, 9), "<script>", title='"><script>')], caption="<script>")
    assert "<script>" not in text


def test_turbo_runs_from_blue_to_red():
    low, high = turbo(np.array([0.1, 0.9]))
    assert low[2] > low[0] and high[0] > high[2] and turbo(np.zeros((2, 3))).shape == (2, 3, 3)


def test_depth_near_is_red_and_invalid_is_grey():
    depth = np.array([[1.0, 10.0, 0.0, np.nan]], np.float32)
    colors = depth_colors(depth, 1.0, 10.0)[0]
    assert colors[0, 0] > colors[0, 2] and colors[1, 2] > colors[1, 0]
    assert all(len(set(colors[i])) == 1 for i in (2, 3))


def test_depth_without_a_valid_pixel():
    assert np.isnan(depth_range(np.zeros((4, 4)))).all() and "no valid depth" in depth_picture(np.zeros((4, 4)))
    assert "1 m" in depth_picture(np.linspace(1, 5, 100).reshape(10, 10))


def test_depth_and_mask_decoding():
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 1500]], np.uint16)).save(buffer, "PNG")
    assert read_depth(buffer.getvalue(), 0.001) == pytest.approx(np.array([[0.0, 1.5]]))
    assert read_mask(png(mode="L", color=255)).all()
    with pytest.raises(ValueError, match="depth cannot be read"):
        read_depth(b"x", 1.0)
    with pytest.raises(ValueError, match="mask cannot be read"):
        read_mask(b"x")


def test_mask_layer_colours_and_edges():
    mask = np.zeros((10, 10), bool)
    mask[2:8, 2:8] = True
    layer = np.asarray(mask_layer([mask]))
    assert layer[0, 0, 3] == 0 and layer[5, 5, 3] < layer[2, 2, 3] and mask_layer([]) is None


def test_unproject_inverts_the_pinhole():
    points, rows, columns = unproject(np.full((4, 6), 2.0), (10.0, 20.0, 3.0, 2.0))
    assert len(points) == 24 and points[0] == pytest.approx([-0.6, -0.2, 2.0])
    assert np.allclose(points[:, 0] / points[:, 2] * 10 + 3, columns) and np.allclose(
        points[:, 1] / points[:, 2] * 20 + 2, rows
    )


def test_cloud_fills_the_picture_and_hides_what_is_behind():
    wall = np.stack(np.meshgrid(np.linspace(-1, 1, 60), np.linspace(-1, 1, 60), [3.0]), -1).reshape(-1, 3)
    front = wall * [0.3, 0.3, 1] - [0, 0, 1]
    colors = np.concatenate([np.tile([0, 0, 255], (len(wall), 1)), np.tile([255, 0, 0], (len(front), 1))]).astype(
        np.uint8
    )
    cuboid = Cuboid((0, 0, 2), (0.5, 0.5, 0.5), np.eye(3))
    image = np.asarray(
        render_cloud(np.concatenate([wall, front]), colors, yaw=0, pitch=0, size=(200, 200), cuboids=[cuboid])
    ).astype(int)
    red, blue = image[..., 0] > image[..., 2] + 60, image[..., 2] > image[..., 0] + 60
    assert (red | blue).mean() > 0.5 and red[60:140, 60:140].mean() > 0.5 and blue[5:30].any()


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.full((5, 3), np.nan), np.ones((1, 3))])
def test_degenerate_clouds_still_draw(points):
    image = render_cloud(points, np.zeros((len(points), 3), np.uint8), gravity=(0, -1, 0), size=(60, 40))
    assert image.size == (60, 40) and not re.search("nan", str(np.asarray(image).max()))
