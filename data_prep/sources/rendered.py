"""Rendered scenes: everyday things on a floor between walls, with exactly known geometry. Scene i of seed s depends on
nothing else.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, ObjectDraft, SourceError
from data_prep.sources.layout import PRESETS, Body, Preset, Room, random_room
from data_prep.sources.raycast import Rendering, render
from data_prep.sources.signs import hang_sign

LEAST_VISIBLE = 0.35  # a thing seen less than this has the whole room drawn again
LEAST_PIXELS = 24


def captions(bodies: list[Body]) -> list[str]:
    """Descriptions that are unique in the picture: colour and kind, with "small" or "large" where two are alike but for
    their size.
    """
    names = [f"{b.colour} {b.kind}" for b in bodies]
    out = []
    for body, name in zip(bodies, names):
        alike = [b for b, other in zip(bodies, names) if other == name and b is not body]
        out.append(name if not alike else f"small {name}" if body.size < alike[0].size else f"large {name}")
    return out


def axes_of(camera_turn: np.ndarray, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Exact rotation [3, 3] (columns in the camera frame) and extent [3] of the body's box: longer side, shorter side,
    height.
    """
    extent = body.high - body.low
    rotation = camera_turn @ body.turn
    if extent[0] < extent[1]:
        extent = extent[[1, 0, 2]]
        rotation = np.stack([rotation[:, 1], -rotation[:, 0], rotation[:, 2]], -1)
    return rotation, extent


def _draft(room: Room, drawn: Rendering, index: int, caption: str) -> ObjectDraft | None:
    body = room.bodies[index]
    mask = drawn.owner == index
    seen = int(np.count_nonzero(mask))
    fraction = seen / max(1, int(drawn.silhouette[index]))
    if seen < LEAST_PIXELS or fraction < LEAST_VISIBLE:
        return None
    rotation, extent = axes_of(room.camera.rotation, body)
    middle = body.turn @ ((body.low + body.high) / 2) + body.position
    return ObjectDraft(
        name=body.kind,
        caption=caption,
        mask=mask,
        visible_fraction=min(1.0, fraction),
        mask_sigma=0.0,
        center=room.camera.to_camera(middle[None])[0],
        extent=extent,
        rotation=rotation,
        provenance={"box": "rendered", "mask": "rendered", "caption": "rendered", "measures": "closed form"},
    )


class RenderedScenes:
    """Source of `count` rendered scenes. `preset`: "plain" (small pictures, few clear shapes), "clear" (likewise, of
    like size and mostly on the floor: depth shows) or "rich"; `width`, `height` override its picture size; `noise`:
    simulated depth noise, added to the depth that is stored (the closed form stays in the objects); `signs`: a board
    with a word on a wall where one has room, told in meta["signs"].
    """

    name = "rendered"

    def __init__(
        self,
        preset: str = "plain",
        count: int = 1000,
        seed: int = 0,
        width: int = 0,
        height: int = 0,
        noise: DepthNoise | None = None,
        signs: bool = False,
    ):
        if preset not in PRESETS:
            raise SourceError(f"no preset named {preset!r}: choose one of {', '.join(PRESETS)}")
        if count < 1:
            raise SourceError(f"--count must be 1 or more, not {count}")
        self.preset_name, self.count, self.seed, self.noise, self.signs = preset, count, seed, noise, signs
        self.preset: Preset = dataclasses.replace(
            PRESETS[preset], width=width or PRESETS[preset].width, height=height or PRESETS[preset].height
        )

    def __len__(self) -> int:
        return self.count

    def item_id(self, index: int) -> str:
        return f"rendered-{self.preset_name}-{self.seed}-{index:06d}"

    def config(self) -> dict[str, Any]:
        noise = dataclasses.asdict(self.noise) if self.noise else None
        return {
            "source": self.name,
            "preset": self.preset_name,
            "seed": self.seed,
            "size": [self.preset.width, self.preset.height],
            "noise": noise,
            **({"signs": True} if self.signs else {}),
        }

    def draw(self, index: int) -> tuple[Room, Rendering, list[tuple[int, ObjectDraft]]]:
        """Room, rendering and (body index, object) pairs of scene `index`; rooms where a thing is hardly seen are drawn
        again.
        """
        rng = np.random.default_rng([self.seed, index])
        for _ in range(200):
            room = random_room(self.preset, rng)
            if self.signs:
                room.sign = hang_sign(room.camera, room.walls, np.random.default_rng([self.seed, index, 2]))
            drawn = render(room)
            things = [i for i, b in enumerate(room.bodies) if b.is_object]
            drafts = [_draft(room, drawn, i, c) for i, c in zip(things, captions([room.bodies[i] for i in things]))]
            if all(d is not None for d in drafts):
                return room, drawn, [(i, d) for i, d in zip(things, drafts) if d is not None]
        raise BadItem("no room with every thing in view after 200 draws")

    def load(self, index: int) -> Frame:
        room, drawn, things = self.draw(index)
        camera = room.camera
        depth, noise, believed = drawn.depth, DepthNoise(), 1.0
        if self.noise is not None:
            noise = self.noise
            rng = np.random.default_rng([self.seed, index, 1])
            depth = noise.draw(depth, rng)
            if noise.focal > 0:
                believed = 1 + noise.focal * float(rng.standard_normal())
        truth = [
            {
                "object": k,
                "kind": room.bodies[i].kind,
                "colour": room.bodies[i].colour,
                "texture": room.bodies[i].texture,
                "size": round(room.bodies[i].size, 4),
                "raised": round(float(room.bodies[i].position[2]), 4),
            }
            for k, (i, _) in enumerate(things)
        ]
        signs = [{"text": room.sign.text, "visible": round(drawn.sign, 3)}] if room.sign else []
        return Frame(
            item_id=self.item_id(index),
            source=self.name,
            rgb=drawn.rgb,
            split_key=self.item_id(index),
            depth=depth,
            depth_flag="metric",
            depth_noise=noise,
            intrinsics=(camera.fx * believed, camera.fy * believed, camera.cx, camera.cy),
            intrinsics_source="rendered",
            gravity=camera.gravity,
            floor=camera.floor,
            objects=[d for _, d in things],
            tags=("indoor", "rendered", self.preset_name),
            provenance={"depth": "rendered", "intrinsics": "rendered", "gravity": "rendered"},
            meta={"preset": self.preset_name, "truth": truth} | ({"signs": signs} if self.signs else {}),
        )
