"""How RGB-D data sets store a frame: which depth file belongs to a colour file, its unit, its camera and its noise."""

from __future__ import annotations

import dataclasses

from data_prep.sources.base import DepthNoise

Intrinsics = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True)
class Convention:
    """`colour`: glob patterns of the colour files; `depth`: candidates for the depth file of a colour file, relative to
    its folder, with {stem} (the name without its last suffix), {tail} (the stem after its first "_"), {head} (the stem
    before its first ".") and {swap} (the stem with "depth" for "img", "image", "rgb" or "color"); `*` stands for the
    only file of its kind there. `scale`: depth file's value times scale is metres; `encoding`: one of
    depth_files.ENCODINGS; `relative`: depth is only known up to scale. `size`: picture size (width, height) that
    `intrinsics` belong to. `border`: pixels at the picture's edge whose colour and depth are not to be trusted. `most`:
    depths beyond it (metres) are invalid.
    """

    colour: tuple[str, ...]
    depth: tuple[str, ...]
    scale: float
    noise: DepthNoise
    intrinsics: Intrinsics | None = None
    size: tuple[int, int] | None = None
    mask: tuple[str, ...] = ()
    border: int = 0
    most: float = float("inf")
    tags: tuple[str, ...] = ()
    source: str = ""
    encoding: str = "depth"
    relative: bool = False
    pairs_all: bool = False  # every colour file should have a depth file: those without are named


CONVENTIONS: dict[str, Convention] = {
    # cvg.cit.tum.de/data/datasets/rgbd-dataset/file_formats: 16-bit PNG, 5000 counts a metre, 0 is missing; ROS default
    # camera.
    "tum": Convention(
        ("rgb/*.png", "*.png"),
        ("../depth/{stem}.png", "{stem}_depth.png"),
        1 / 5000,
        DepthNoise(0.002, 0.0, 0.0019, 0.005, 5),
        (525.0, 525.0, 319.5, 239.5),
        (640, 480),
        tags=("indoor",),
        most=10.0,
        source="TUM RGB-D",
    ),
    # NYU Depth v2, labelled frames projected to the colour camera; millimetres; the undistorted colour has a white
    # border.
    "nyu": Convention(
        ("rgb_*.jpg", "rgb/rgb_*.jpg", "rgb_*.png", "*.jpg"),
        ("sync_depth_{tail}.png", "../depth/sync_depth_{tail}.png", "{stem}_depth.png"),
        1 / 1000,
        DepthNoise(0.002, 0.0, 0.0025, 0.005, 5),
        (518.8579, 519.46961, 325.58245, 253.73617),
        (640, 480),
        border=10,
        most=9.99,
        tags=("indoor",),
        source="NYU Depth v2",
    ),
    # KITTI depth development kit: 16-bit PNG, 256 counts a metre, 0 is missing; the camera differs a drive and must be
    # given.
    "kitti": Convention(
        ("image/*.png", "image_02/data/*.png", "*.rgb.png", "rgb/*.png"),
        (
            "../groundtruth_depth/{stem}.png",
            "{head}.depth.png",
            "../depth/{stem}.png",
            "../proj_depth/groundtruth/image_02/{stem}.png",
            "../../proj_depth/groundtruth/image_02/{stem}.png",
        ),
        1 / 256,
        DepthNoise(0.02, 0.002, 0.0, 0.003, 1),
        tags=("outdoor", "driving"),
        source="KITTI",
    ),
    # diode-dataset.org: NAME.png, NAME_depth.npy in metres, NAME_depth_mask.npy with 1 where valid; one laser scanner
    # camera.
    "diode": Convention(
        ("*.png", "**/*.png"),
        ("{stem}_depth.npy", "{stem}_depth.npz", "{swap}.npy", "{swap}.npz"),
        1.0,
        DepthNoise(0.005, 0.001, 0.0, 0.002, 2),
        (886.81, 927.06, 512.0, 384.0),
        (1024, 768),
        ("{stem}_depth_mask.npy",),
        source="DIODE",
        pairs_all=True,
    ),
    # rgbd.cs.princeton.edu: SCENE/image/NAME.jpg with SCENE/depth_bfx (filled) or depth, millimetres in 16 bits rotated
    # to the left by three, SCENE/intrinsics.txt; SUNRGBDtoolbox/read3dPoints.m.
    "sunrgbd": Convention(
        ("image/*.jpg", "image/*.png"),
        (
            "../depth_bfx/{stem}.png",
            "../depth/{stem}.png",
            "../depth_bfx/*.png",
            "../depth/*.png",
        ),
        1 / 1000,
        DepthNoise(0.005, 0.0, 0.003, 0.005, 5),
        most=10.0,
        tags=("indoor",),
        source="SUN RGB-D",
        encoding="rotated",
    ),
    # MegaDepth v1: SCENE/dense0/imgs/NAME.jpg (.JPG, .png) with depths/NAME.h5, from structure from motion, so known up
    # to scale only.
    "megadepth": Convention(
        ("imgs/*.jpg", "imgs/*.jpeg", "imgs/*.png", "*img*.jpg"),
        ("../depths/{stem}.h5", "{swap}.h5"),
        1.0,
        DepthNoise(0.0, 0.03, 0.0, 0.0, 5),
        tags=("outdoor",),
        source="MegaDepth",
        relative=True,
        pairs_all=True,
    ),
    # Anything else: rgb/ and depth/ with equal names, NAME_depth.png, or a list in frames.json; scale and camera come
    # with the options.
    "generic": Convention(
        ("rgb/*", "color/*", "*.jpg", "*.png"),
        (
            "../depth/{stem}.png",
            "../depth/{stem}.npy",
            "../depth/{stem}.npz",
            "{stem}_depth.png",
            "{stem}_depth.npy",
            "{stem}_depth.npz",
            "{stem}.npy",
            "{stem}.h5",
            "{swap}.png",
            "{swap}.npy",
            "{swap}.npz",
            "{swap}.h5",
        ),
        1 / 1000,
        DepthNoise(0.005, 0.0, 0.003, 0.01, 5),
    ),
}
