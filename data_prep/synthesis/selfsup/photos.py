"""The photos that self-supervised tasks are made of: the scenes of some datasets by position, what is known of each
without decoding it, and which stand in training and held-out photos alike.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from data_prep.filters.duplicates import DuplicateSettings
from data_prep.filters.hashes import Print, Prints, fingerprint
from data_prep.synthesis.dataset import SceneDataset
from data_prep.synthesis.selfsup.build import NEEDS_DEPTH, PUBLISHED_SOURCES, load
from data_prep.synthesis.selfsup.puzzle import Picture, Unsuitable
from spatial_jax.data.records import SceneRecord
from spatial_jax.media import open_image
from spatial_jax.pages import say
from spatial_jax.reading import parse_object

SHOWN = 5  # photos of a kind that are named
Tied = dict[str, set[int]]  # task -> positions of the photos that it is made of


class Photos:
    """The scenes of one or more datasets by position; remembers the last few decoded."""

    def __init__(self, directories: Sequence[str]):
        self._sets = [SceneDataset(d) for d in directories]
        self.directories = tuple(directories)
        self.digest = [dataset.digest for dataset in self._sets]
        self.decoded = functools.lru_cache(maxsize=16)(self._decode)

    def __len__(self) -> int:
        return sum(map(len, self._sets))

    def scene(self, index: int) -> SceneRecord:
        """The scene at a position; raises Unsuitable when its record is damaged."""
        for dataset in self._sets:
            if index < len(dataset):
                scene = dataset.get(index)
                if isinstance(scene, str):
                    raise Unsuitable(f"damaged scene record: {scene}")
                return scene
            index -= len(dataset)
        raise IndexError(index)

    def _decode(self, index: int, depth: bool) -> tuple[SceneRecord, Picture]:
        scene = self.scene(index)
        return scene, load(scene, depth)

    def of(self, directory: str) -> range:
        """The positions of one dataset's photos."""
        at = [same_place(d) for d in self.directories].index(same_place(directory))
        first = sum(map(len, self._sets[:at]))
        return range(first, first + len(self._sets[at]))


def same_place(directory: str) -> str:
    """One name of a folder, however it is written."""
    return directory.rstrip("/") if "://" in directory else str(Path(directory).expanduser().resolve())


class Known:
    """What is known of each photo: `names`, `has_depth`, `sources`; `left_out`: position -> why it is not used."""

    def __init__(self, photos: Photos):
        self.names, self.has_depth, self.sources = list[str](), list[bool](), list[str]()
        self.left_out: dict[int, str] = {}
        splits, prints, copies = list[str](), list[list[Print]](), collections.defaultdict[str, list[str]](list)
        for index in range(len(photos)):
            try:
                scene = photos.scene(index)
            except Unsuitable as error:
                say(f"skipped {error}")
                scene = None
                self.left_out[index] = "damaged scene record"
            self.names.append(scene.scene_id if scene else f"photo {index}")
            self.has_depth.append(bool(scene and scene.depth_png))
            self.sources.append(_source_of(scene) if scene else "")
            splits.append(scene.split if scene else "")
            prints.append(_prints_of(scene) if scene else [])
            if scene and scene.content_hash:
                copies[f"{scene.split} {scene.content_hash}"].append(scene.scene_id)
        self._find_duplicates(splits, prints)
        twice = [" = ".join(names) for names in copies.values() if len(names) > 1]
        if twice:
            more = f"; and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
            say(f"note: {len(twice)} photos are there more than once, and weigh so: {'; '.join(twice[:SHOWN])}{more}")

    def _find_duplicates(self, splits: Sequence[str], prints: Sequence[Sequence[Print]]) -> None:
        """Leaves out the training photos that nearly equal a held-out one or its mirror image: what is measured was not
        seen.
        """
        held, limits, twins = Prints(), DuplicateSettings(), list[str]()
        for index, (split, both) in enumerate(zip(splits, prints)):
            for one, how in zip(both if split == "heldout" else (), ("", ", mirrored")):
                held.add(f"{self.names[index]}{how}", one)
        for index, (split, both) in enumerate(zip(splits, prints)):
            like = held.nearest(both[0], limits.most_bits, limits.most_color)[0] if split == "train" and both else ""
            if like:
                self.left_out[index] = "training photo that is held out too"
                twins.append(f"{self.names[index]} (held out as {like})")
        if twins:
            more = f"; and {len(twins) - SHOWN} more" if len(twins) > SHOWN else ""
            say(f"left out {len(twins)} training photos that are held out too: {'; '.join(twins[:SHOWN])}{more}")

    def __len__(self) -> int:
        return len(self.names)


def _source_of(scene: SceneRecord) -> str:
    """The data set that a scene's depth is of, as its convention names it, else where the scene comes from."""
    said = parse_object(scene.provenance).get("depth")
    return said if isinstance(said, str) else scene.source


def _prints_of(scene: SceneRecord) -> list[Print]:
    """Of the picture and, where it is held out, of its mirror image; [] for one that cannot be decoded, which is said
    where it is used.
    """
    try:
        image = open_image(scene.image)
        image.draft("RGB", (64, 64))  # a JPEG is decoded small
        small = np.asarray(image.convert("RGB").reduce(max(1, min(image.size) // 256)))
        mirrored = [fingerprint(np.ascontiguousarray(small[:, ::-1]))] if scene.split == "heldout" else []
        return [fingerprint(small), *mirrored]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return []


def published_ties(tasks: Sequence[str], known: Known, tied: Tied) -> tuple[Tied, list[str]]:
    """(photos of each task as Spatial-SSRL-81k chose them, what is otherwise): a task that is tied already keeps its
    own; one whose data set is not among the photos takes all that suit it.
    """
    out, notes = dict(tied), []
    plain = {i for i, depth in enumerate(known.has_depth) if not depth}
    for task in tasks:
        if task in out:
            continue
        source = PUBLISHED_SOURCES[task]
        chosen = {i for i, name in enumerate(known.sources) if name == source} if source else plain
        if chosen:
            out[task] = chosen
        else:
            what = f"{source} scene" if source else "photo without depth (the paper's are COCO's)"
            rest = "all photos with depth" if task in NEEDS_DEPTH else "all photos"
            notes.append(f"note: {task} is made of {rest}, for --photos holds no {what}")
    return out, notes
