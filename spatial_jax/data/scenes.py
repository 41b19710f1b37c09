"""Scene datasets as training data for the vision tower: pictures, and what stands at each of their visual tokens."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spatial_jax.data.integrity import DatasetError, check_shards, content_digest
from spatial_jax.data.records import SceneObject, SceneRecord, check_schema, from_example
from spatial_jax.dataset_folder import open_dataset_folder
from spatial_jax.media import open_image
from spatial_jax.processing import EncodedPrompt, Processor
from spatial_jax.processing.user_text import as_text

log = logging.getLogger(__name__)

COVERED = 0.15  # share of a token's area that an object must cover to name it
NAMES = 8  # tokens of objects' names in the text after the picture, at most


@dataclasses.dataclass(frozen=True, eq=False)
class SceneLabels:
    """An encoded picture, followed by a text that names its objects, with what is true of its visual tokens and of the
    named objects.

    words int32 [visual tokens, w]: ids of the covering object's caption (last w words), -1 where nothing stands;
    places int32 [visual tokens, 3]: ids of left or right, of top or bottom (of the covering object's middle, else of
    the token's own) and of the digit of whole metres to the object; -1 where that is not known; name_at int32 [NAMES]:
    where in the prompt the tokens of names are, -1 fills up; name_places int32 [NAMES, 3]: the place of the named.
    """

    prompt: EncodedPrompt
    words: np.ndarray
    places: np.ndarray
    name_at: np.ndarray
    name_places: np.ndarray
    record_id: str = ""  # of the scene

    @property
    def nbytes(self) -> int:
        """Memory in bytes."""
        return (
            self.prompt.nbytes + self.words.nbytes + self.places.nbytes + self.name_at.nbytes + self.name_places.nbytes
        )


def open_scenes(directory: str | Path, split: str = "train"):
    """Random access to the SceneRecords of a split. Raises DatasetError where there is no such dataset."""
    import tensorflow_datasets as tfds

    if not (Path(directory) / "dataset_info.json").is_file():
        raise DatasetError(
            f"{directory}: no dataset here (dataset_info.json is missing); give a folder that data_prep.annotate"
            " finished"
        )
    try:
        builder = open_dataset_folder(directory)
        told = check_schema(builder.info, SceneRecord)
    except ValueError as error:
        raise DatasetError(" ".join(str(error).split())[:400]) from None
    if told:
        log.warning("%s: %s", directory, told)
    return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def scenes_digest(directory: str | Path, split: str = "train") -> str:
    """Of the content of a split of scenes (see `integrity.content_digest`)."""
    info = open_dataset_folder(directory).info.splits[split]
    names = [Path(file).name for file in info.filenames]
    return content_digest(check_shards(Path(directory), sorted(zip(names, info.shard_lengths)), split))


def label_scene(scene: SceneRecord, processor: Processor, rng: np.random.Generator, words: int = 2) -> SceneLabels:
    """Names each visual token of the scene's picture by the object whose mask covers most of it, where it covers at
    least COVERED, says where in the picture and how far away it is, and asks after the objects by their captions, in
    random order.
    """
    asked = [scene.objects[i] for i in rng.permutation(len(scene.objects))]
    prompt, at = _prompt_of_names([item.caption for item in asked], scene.image, processor)
    merge = processor.config.vision.spatial_merge_size
    rows, cols = (int(n) // merge for n in prompt.grid_thw[0][1:])
    best = np.zeros((rows, cols))
    labels = np.full((rows, cols, words), -1, np.int32)
    places = np.array(
        [[place_ids(processor, (c + 0.5) / cols, (r + 0.5) / rows) for c in range(cols)] for r in range(rows)], np.int32
    )
    for item in scene.objects:
        if not item.mask_png:
            continue
        # 16 samples a side of each token's cell: the share that a mask covers, not whether it touches.
        mask = np.asarray(open_image(item.mask_png).convert("L").resize((cols * 16, rows * 16))) > 127
        share = mask.reshape(rows, 16, cols, 16).mean((1, 3))
        # Masks may overlap: the cell is the object's that covers most of it, whatever their order.
        wins = (share >= COVERED) & (share > best)
        labels[wins] = caption_ids(item.caption, processor, words)
        places[wins] = object_place(scene, item, processor)
        best = np.where(wins, share, best)
    named = [(place, object_place(scene, item, processor)) for item, span in zip(asked, at) for place in span][:NAMES]
    # A fixed number of names, so that batches have one shape; -1 takes no part in the loss.
    named += [(-1, [-1] * 3)] * (NAMES - len(named))
    return SceneLabels(
        prompt,
        labels.reshape(-1, words),
        places.reshape(-1, 3),
        np.array([n[0] for n in named], np.int32),
        np.array([n[1] for n in named], np.int32),
        scene.scene_id,
    )


def _prompt_of_names(captions: Sequence[str], image: bytes, processor: Processor) -> tuple[EncodedPrompt, list[range]]:
    """(prompt that shows the picture and then says "the red ball, the blue box", where the tokens of each caption are
    in it).
    """
    captions = [as_text(caption) for caption in captions]
    parts = [f" the {caption}" for caption in captions]
    content = [{"type": "image"}, {"type": "text", "text": ",".join(parts)}]
    prompt = processor.encode([{"role": "user", "content": content}], [image], normalise=False)
    start = int(np.flatnonzero(prompt.type_ids)[-1]) + 2  # the picture's last token, its end mark, then the text
    ends = [start + len(processor.tokenizer.encode(",".join(parts[: i + 1]))) for i in range(len(parts))]
    sizes = [len(processor.tokenizer.encode(f" {caption}")) for caption in captions]
    return prompt, [range(end - size, end) for end, size in zip(ends, sizes)]


def object_place(scene: SceneRecord, item: SceneObject, processor: Processor) -> Sequence[int]:
    """`place_ids` of an object: of its box's middle, and of its distance where that is metric."""
    x1, y1, x2, y2 = item.box
    depth = item.depth_median if scene.depth_flag == "metric" else math.nan
    return place_ids(processor, (x1 + x2) / 2 / scene.width, (y1 + y2) / 2 / scene.height, depth)


def caption_ids(caption: str, processor: Processor, words: int) -> Sequence[int]:
    """First token ids of the caption's last `words` words, as they stand inside a sentence; -1 fills up a short one."""
    ids = [_first_id(processor, word) for word in caption.split()[-words:]]
    return [-1] * (words - len(ids)) + ids


def _first_id(processor: Processor, word: str) -> int:
    """A word's first token inside a sentence, without the space where that is a token of its own (before a number)."""
    first, *rest = (int(token) for token in processor.tokenizer.encode_text(" " + word))
    return rest[0] if rest and [first] == list(processor.tokenizer.encode_text(" ")) else first


def place_ids(processor: Processor, x: float, y: float, depth: float = math.nan) -> Sequence[int]:
    """Token ids of "left" or "right" and "top" or "bottom" for a place given as shares of the picture, and of the digit
    of whole metres; -1 for a depth that is unknown or has two digits.
    """
    encode = processor.tokenizer.encode
    metres = math.floor(round(depth, 1)) if 0 < depth < 9.9 else -1
    return [
        int(encode(" left" if x < 0.5 else " right")[0]),
        int(encode(" top" if y < 0.5 else " bottom")[0]),
        int(encode(str(metres))[0]) if metres >= 0 else -1,
    ]


def scene_at(source, index: int) -> SceneRecord:
    """One record."""
    return from_example(SceneRecord, source[index])
