"""How numbers and the camera are written in questions and answers."""

from __future__ import annotations

from data_prep.synthesis.options import Options
from data_prep.synthesis.view import SceneView
from spatial_jax.data.records import coordinate


def metres(value: float, options: Options) -> str:
    """A length in metres, rounded to 5 % or better: two decimals below ten metres (plain: one decimal from one metre
    on).
    """
    decimals = 1 if value >= (1 if options.plain else 10) else 2
    return f"{value:.{decimals}f}"


def centimetres(value: float) -> str:
    """A length given in metres, written in centimetres: whole ones from ten on."""
    return f"{100 * value:.0f}" if value >= 0.1 else f"{100 * value:.1f}"


def camera_text(view: SceneView, options: Options) -> str:
    """The intrinsics as text, in coordinate placeholders, so that they follow the picture when it is resized."""
    fx, fy, cx, cy = view.intrinsics
    if options.plain:
        return f"f {coordinate('x', fx, 1)}"
    return (
        f"fx = {coordinate('x', fx, 1)}, fy = {coordinate('y', fy, 1)}, cx = {coordinate('x', cx, 1)}, cy ="
        f" {coordinate('y', cy, 1)} pixels for an image of {coordinate('x', view.width)} x"
        f" {coordinate('y', view.height)}"
    )


def box_text(box: tuple[float, float, float, float]) -> str:
    """[x1, y1, x2, y2] in coordinate placeholders."""
    x1, y1, x2, y2 = box
    return f"[{coordinate('x', x1)}, {coordinate('y', y1)}, {coordinate('x', x2)}, {coordinate('y', y2)}]"
