"""Pictures through a tower that does not train, once: prompts get its features in the place of their pixels, so that
every later pass (prefill, reference, old log-probabilities, update) only reads them.

A picture (a video is one) is known by its pixels and its grid. Features are kept on the host as long as their prompts
live; with room for it also longer, in memory or in a folder, and then a picture is encoded once a run.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from spatial_jax.models import VisionConfig, VisionFeatures, plan_vision
from spatial_jax.parallel.rules import Rules, batch_parts, use_mesh
from spatial_jax.processing import EncodedPrompt
from spatial_jax.processing.collate import SHARE
from spatial_jax.processing.prompt import concatenate_features, picture_key
from spatial_jax.rollout.feature_files import FeatureFiles


@dataclasses.dataclass
class Counts:
    """Patches that went through the tower, and patches of pictures whose features were there already."""

    encoded: int = 0
    reused: int = 0


class FeatureStore:
    """Features of prompts' pictures. patch_buckets: sizes of a pack; cache_bytes: how much is kept beyond the prompts
    that hold it, the least recently used goes first (0: nothing); files: a folder's features, likewise bounded by
    itself. `counts` since `take_counts`.
    """

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        vision: VisionConfig,
        patch_buckets: Sequence[int],
        *,
        cache_bytes: int = 0,
        files: FeatureFiles | None = None,
        mesh: Mesh | None = None,
        rules: Rules | None = None,
    ):
        self.vision, self.buckets, self.parts = vision, tuple(sorted(patch_buckets)), batch_parts(mesh, rules)
        self.cache_bytes, self.files, self.counts = cache_bytes, files, Counts()
        self._kept: collections.OrderedDict[bytes, VisionFeatures] = collections.OrderedDict()
        self._held = 0

        def encode(params: Any, vision: Any) -> VisionFeatures:
            with use_mesh(mesh, rules):
                return nnx.merge(graphdef, params).encode_vision(vision)

        # Every process reads all features: they leave the devices whole.
        whole = None if mesh is None else NamedSharding(mesh, PartitionSpec())
        self.encode = jax.jit(encode, out_shardings=whole)

    def __call__(self, params: Any, prompts: Sequence[EncodedPrompt]) -> list[EncodedPrompt]:
        """The prompts with features in the place of pixels; those without pictures, or with features, as they are."""
        asked: dict[bytes, tuple[np.ndarray, Any]] = {}
        found: dict[bytes, VisionFeatures] = {}
        for prompt in prompts:
            for key, pixels, grid in pictures(prompt):
                there = key in asked or self._look_up(key, found)
                self.counts.reused += len(pixels) if there else 0
                if not there:
                    asked[key] = pixels, grid
        for pack in self._packs(asked):
            found.update(self._encode(params, [(key, *asked[key]) for part in pack for key in part], pack))
        out = []
        for prompt in prompts:
            keys = [key for key, _, _ in pictures(prompt)]
            features = concatenate_features([found[key] for key in keys]) if keys else None
            out.append(dataclasses.replace(prompt, pixel_values=None, features=features) if keys else prompt)
        return out

    def take_counts(self) -> Counts:
        """What was counted since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def _look_up(self, key: bytes, found: dict[bytes, VisionFeatures]) -> bool:
        if key not in found:
            features = self._kept.get(key)
            if features is not None:
                self._kept.move_to_end(key)
            elif self.files is not None and (features := self.files.read(key)) is not None:
                self._keep(key, features)
            if features is None:
                return False
            found[key] = features
        return True

    def _keep(self, key: bytes, features: VisionFeatures) -> None:
        size = _bytes(features)
        if size > self.cache_bytes:
            return
        self._kept[key] = features
        self._held += size
        while self._held > self.cache_bytes:
            self._held -= _bytes(self._kept.popitem(last=False)[1])

    def _packs(self, asked: dict[bytes, tuple[np.ndarray, Any]]) -> list[list[list[bytes]]]:
        """The pictures as packs of `parts` parts (of one, for a picture that a part cannot hold); no pack is larger
        than the largest bucket.
        """
        room = self.buckets[-1] // self.parts // SHARE * SHARE
        packs: list[list[list[bytes]]] = []
        open_parts: list[list[bytes]] = [[] for _ in range(self.parts)]
        filled = [0] * self.parts
        # The largest first, each into the emptiest part.
        for key, (pixels, _) in sorted(asked.items(), key=lambda item: -len(item[1][0])):
            # What a part cannot hold is a pack of its own, which has the whole bucket.
            if len(pixels) > room:
                packs.append([[key]])
                continue
            part = int(np.argmin(filled))
            if filled[part] + len(pixels) > room:
                packs.append(open_parts)
                open_parts, filled, part = [[] for _ in range(self.parts)], [0] * self.parts, 0
            open_parts[part].append(key)
            filled[part] += len(pixels)
        return packs + ([open_parts] if any(filled) else [])

    def _encode(
        self, params: Any, given: Sequence[tuple[bytes, np.ndarray, Any]], pack: Sequence[Sequence[bytes]]
    ) -> dict[bytes, VisionFeatures]:
        """Features of one pack's pictures, `given` in the order of its parts."""
        parts, sizes = len(pack), {key: len(pixels) for key, pixels, _ in given}
        fullest = max(sum(sizes[key] for key in part) for part in pack)
        shares = [bucket // parts // SHARE * SHARE for bucket in self.buckets]
        fitting = [share for share in shares if share >= fullest]
        if not fitting:
            raise ValueError(
                f"a picture or video has {fullest} patches, more than the largest of patch_buckets {self.buckets[-1]};"
                " add a larger one, or lower max_pixels (of a video: video_max_pixels, or its frames)"
            )
        share = min(fitting)
        arrays = plan_vision(
            np.concatenate([pixels for _, pixels, _ in given]),
            np.stack([grid for _, _, grid in given]),
            self.vision,
            bucket=share * parts,
            pictures=[len(part) for part in pack],
        )
        # To the host, where many more pictures are kept than would fit beside the weights.
        rows = jax.device_get(self.encode(params, arrays))
        unit, out = self.vision.merge_unit, {}
        for number, part in enumerate(pack):
            at = number * share // unit
            for key in part:
                where = slice(at, at + sizes[key] // unit)
                # A copy: a view of `rows` would keep the whole pack alive as long as any one of its pictures.
                deepstack = None if rows.deepstack is None else rows.deepstack[:, where].copy()
                out[key] = VisionFeatures(rows.features[where].copy(), deepstack)
                at = where.stop
                self._keep(key, out[key])
                if self.files is not None:
                    self.files.write(key, out[key])
        self.counts.encoded += sum(sizes.values())
        return out


def pictures(prompt: EncodedPrompt) -> list[tuple[bytes, np.ndarray, np.ndarray]]:
    """(key, pixels [n, k], grid [3]) of each of a prompt's pictures that still has pixels."""
    if prompt.pixel_values is None:
        return []
    sizes = np.prod(prompt.grid_thw, axis=1)
    pixels = np.split(prompt.pixel_values, np.cumsum(sizes)[:-1])
    keys = prompt.keys or tuple(picture_key(part, grid) for part, grid in zip(pixels, prompt.grid_thw))
    return list(zip(keys, pixels, prompt.grid_thw))


def _bytes(features: VisionFeatures) -> int:
    return sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(features))
