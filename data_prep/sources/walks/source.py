"""Walks as a source: each frame is an item; all frames of a walk share a split. Walk i of seed s depends on nothing
else.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from data_prep.sources.base import DepthNoise, Frame, ObjectDraft, SourceError
from data_prep.sources.datasets.boxes import name_apart
from data_prep.sources.folder import stored_pixels
from data_prep.sources.rendered import LEAST_PIXELS, LEAST_VISIBLE, axes_of
from data_prep.sources.walks.hand import handle
from data_prep.sources.walks.home import Home, draw_home
from data_prep.sources.walks.path import Hand
from data_prep.sources.walks.render import Frames, render_walk
from data_prep.sources.walks.truth import frame_record, room_record
from spatial_jax.media import encode_picture

SIZE = 224  # pixels a side


@dataclasses.dataclass
class Walk:
    """A home, and the frames that the camera took of it."""

    home: Home
    frames: Frames


class Walks:
    """Source of the frames of `count` walks, `frames` each, through homes of at most `rooms` rooms; `width` and
    `height` in pixels (0: 224); `hand`: how the camera is held; `noise`: added to the depth that is stored.
    """

    name = "walk"

    def __init__(
        self,
        count: int = 100,
        seed: int = 0,
        frames: int = 32,
        rooms: int = 3,
        width: int = 0,
        height: int = 0,
        hand: Hand | None = None,
        noise: DepthNoise | None = None,
    ):
        for flag, value, most in (("count", count, 1 << 31), ("walk_frames", frames, 1000), ("walk_rooms", rooms, 3)):
            if not 1 <= value <= most:
                raise SourceError(f"--{flag}={value}: give 1 to {most}")
        self.count, self.seed, self.frames, self.rooms, self.noise = count, seed, frames, rooms, noise
        self.size, self.hand = (width or SIZE, height or SIZE), hand or Hand()
        if not 32 <= min(self.size) <= max(self.size) <= 2048:
            raise SourceError(
                f"--width and --height of a walk are 32 to 2048 pixels, not {self.size[0]}x{self.size[1]}"
            )
        for field in dataclasses.fields(self.hand):
            if not 0 <= getattr(self.hand, field.name) <= 10:
                raise SourceError(f"--{field.name}={getattr(self.hand, field.name):g}: give 0 (none) to 10")
        self.together = frames  # items that a worker should take at once: it draws a walk as a whole
        self._kept: tuple[int, Walk, dict[str, Any]] | None = None

    def __len__(self) -> int:
        return self.count * self.frames

    def walk_id(self, number: int) -> str:
        return f"walk-{self.seed}-{number:06d}"

    def item_id(self, index: int) -> str:
        return f"{self.walk_id(index // self.frames)}#{index % self.frames:06d}"

    def config(self) -> dict[str, Any]:
        return {
            "source": self.name,
            "seed": self.seed,
            "frames": self.frames,
            "rooms": self.rooms,
            "size": list(self.size),
            "hand": dataclasses.asdict(self.hand),
            "noise": dataclasses.asdict(self.noise) if self.noise else None,
        }

    def draw(self, number: int, colours: bool = True) -> Walk:
        """Walk `number`; without `colours` its frames are black (in a third of the time). BadItem where no home came
        out.
        """
        rng = np.random.default_rng([self.seed, number])
        home = draw_home(rng, self.rooms, self.frames, self.size, self.hand)
        frames = render_walk(home, rng, colours)
        if colours:
            frames.rgb = handle(frames.rgb, frames.depth, home, self.hand, rng)
        return Walk(home, frames)

    def load(self, index: int) -> Frame:
        number, k = divmod(index, self.frames)
        if self._kept is None or self._kept[0] != number:
            walk = self.draw(number)
            self._kept = (number, walk, room_record(walk.home))
        _, walk, room = self._kept
        camera, depth = walk.home.cameras[k], walk.frames.depth[k]
        noise = self.noise or DepthNoise()
        if self.noise is not None:
            depth = noise.draw(depth, np.random.default_rng([self.seed, number, k]))
        encoded = encode_picture(Image.fromarray(walk.frames.rgb[k]), "JPEG")
        times = walk.home.path.times
        facts = {"walk": self.walk_id(number), "frame": k, "frames": self.frames}
        rate = (self.frames - 1) / float(times[-1]) if self.frames > 1 else 1.0
        return Frame(
            item_id=self.item_id(index),
            source=self.name,
            rgb=stored_pixels(walk.frames.rgb[k], encoded),
            encoded=encoded,
            split_key=self.walk_id(number),
            depth=depth,
            depth_flag="metric",
            depth_noise=noise,
            intrinsics=(camera.fx, camera.fy, camera.cx, camera.cy),
            intrinsics_source="rendered",
            gravity=camera.gravity,
            floor=camera.floor,
            objects=_objects(walk, k),
            tags=("indoor", "rendered", "walk"),
            provenance={"depth": "rendered", "intrinsics": "rendered", "gravity": "rendered"},
            meta={
                **facts,
                "fps": round(rate, 4),
                **frame_record(walk.home, walk.frames, k),
                **({"room": room} if k == 0 else {}),  # once: it is most of a record beside its pictures
            },
        )


def _objects(walk: Walk, k: int) -> list[ObjectDraft]:
    """What a frame shows clearly, each with its instance's id; things that look alike are told apart by their place."""
    home, seen, whole = walk.home, walk.frames.seen[k], walk.frames.whole[k]
    camera, drafts, others = home.cameras[k], [], []
    for number, index in enumerate(home.instances):
        if not seen[index]:
            continue
        body, mask = home.bodies[index], walk.frames.owner[k] == index
        share = min(1.0, float(seen[index] / whole[index]))
        if seen[index] < LEAST_PIXELS or share < LEAST_VISIBLE:
            rows, columns = np.nonzero(mask)
            others.append((body.kind, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))
            continue
        rotation, extent = axes_of(camera.rotation, body)
        middle = body.turn @ ((body.low + body.high) / 2) + body.position
        drafts.append(
            ObjectDraft(
                name=body.kind,
                caption=body.kind,
                mask=mask,
                visible_fraction=share,
                mask_sigma=0.0,
                center=camera.to_camera(middle[None])[0],
                extent=extent,
                rotation=rotation,
                provenance={
                    **{"box": "rendered", "mask": "rendered", "caption": "rendered", "measures": "closed form"},
                    "instance": number,
                },
            )
        )
    return name_apart(drafts, camera.width, others)
