"""Scene datasets as training data for the vision tower: pictures, and what stands at each of their visual tokens."""
from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spatial_jax.data.integrity import DatasetError
from spatial_jax.data.records import SceneRecord, from_example
from spatial_jax.processing.processor import Processor
from spatial_jax.processing.prompt import EncodedPrompt

COVERED = 0.15              # share of a token's area that an object must cover to name it


@dataclasses.dataclass(frozen=True, eq=False)
class TokenLabels:
    """An encoded picture with, for each visual token, the token ids of the words that name what stands there.

    words int32 [visual tokens, w]: ids of the covering object's caption (last w words), -1 where nothing stands."""

    prompt: EncodedPrompt
    words: np.ndarray


def open_scenes(directory: str | Path, split: str = "train"):
    """Random access to the SceneRecords of a split. Raises DatasetError where there is no such dataset."""
    import tensorflow_datasets as tfds

    if not (Path(directory) / "dataset_info.json").is_file():
        raise DatasetError(f"{directory}: no dataset here (dataset_info.json is missing); give a folder that data_prep.annotate finished")
    return tfds.builder_from_directory(str(directory)).as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})


def label_tokens(scene: SceneRecord, processor: Processor, words: int = 2) -> TokenLabels:
    """Names each visual token of the scene's picture by the object whose mask covers most of it, where it covers at least COVERED."""
    prompt = processor.encode([{"role": "user", "content": [{"type": "image"}]}], [scene.image], normalise=False)
    merge = processor.config.vision.spatial_merge_size
    rows, cols = (int(n) // merge for n in prompt.grid_thw[0][1:])
    best = np.zeros((rows, cols))
    labels = np.full((rows, cols, words), -1, np.int32)
    for item in scene.objects:
        if not item.mask_png:
            continue
        mask = np.asarray(Image.open(io.BytesIO(item.mask_png)).convert("L").resize((cols * 16, rows * 16))) > 127
        share = mask.reshape(rows, 16, cols, 16).mean((1, 3))
        wins = (share >= COVERED) & (share > best)
        labels[wins] = caption_ids(item.caption, processor, words)
        best = np.where(wins, share, best)
    return TokenLabels(prompt, labels.reshape(-1, words))


def caption_ids(caption: str, processor: Processor, words: int) -> Sequence[int]:
    """First token ids of the caption's last `words` words, as they stand inside a sentence; -1 fills up a short one."""
    ids = [int(processor.tokenizer.encode(" " + word)[0]) for word in caption.split()[-words:]]
    return [-1] * (words - len(ids)) + ids


def scene_at(source, index: int) -> SceneRecord:
    """One record."""
    return from_example(SceneRecord, source[index])
