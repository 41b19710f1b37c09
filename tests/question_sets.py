"""Small question datasets on disk, written as data_prep writes them (TFDS-format ArrayRecord + manifest.json), for the
data tests.
"""

import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from array_record.python import array_record_module
from PIL import Image
from tensorflow_datasets.core import dataset_info, example_serializer, file_adapters, naming

from spatial_jax.data.records import QuestionRecord, coordinate, question_features, to_example
from spatial_jax.models.configs import published_config
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.processing import train_tokenizer

TEXTS = [
    "Which is closer, the red box or the blue cup?",
    "Give the box of the lamp as [x1, y1, x2, y2].",
    "How far is it in metres? 2.4",
    "Answer with the letter of the right option. A. left B. right",
    "<think>From the picture, the answer is 3.</think>",
]


def png(seed: int, width: int, height: int, kind: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).resize((width, height)).save(out, kind)
    return out.getvalue()


def record(i: int, family: str = "closer", width: int = 120, height: int = 80, **changes) -> QuestionRecord:
    base = QuestionRecord(
        question_id=f"{family}/{i:05d}",
        source="test",
        split="train",
        scene_id=f"s{i}",
        images=(png(i, width, height),),
        widths=(width,),
        heights=(height,),
        question=f"Which is closer to {coordinate('x', 60)},{coordinate('y', 40)} in scene {i}?",
        question_type="word",
        answer="cup",
        reward='{"kind": "choice"}',
        options=("cup", "box"),
        family=family,
        meta='{"sentence": "The cup is closer."}',
    )
    return dataclasses.replace(base, **changes)


def write(directory: Path, records: list[QuestionRecord], shard: int = 10, split: str = "train") -> Path:
    """Writes a dataset with `shard` records a shard."""
    directory.mkdir(parents=True, exist_ok=True)
    features = question_features()
    serializer = example_serializer.ExampleSerializer(features.get_serialized_info())
    lengths, shards = [], []
    for start in range(0, len(records), shard):
        part = records[start : start + shard]
        path = directory / f"questions-{split}.array_record-{start // shard:05d}"
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for item in part:
            writer.write(serializer.serialize_example(features.encode_example(to_example(item))))
        writer.close()
        lengths.append(len(part))
        data = path.read_bytes()
        shards.append(
            {"file": path.name, "records": len(part), "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        )
    identity = dataset_info.DatasetIdentity(
        name="questions", version=tfds.core.Version("1.0.0"), data_dir=str(directory), module_name=""
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, description="test")
    info.set_file_format(file_adapters.FileFormat.ARRAY_RECORD)
    template = naming.ShardedFileTemplate(
        dataset_name="questions",
        data_dir=directory,
        split=split,
        filetype_suffix="array_record",
        template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_INDEX}",
    )
    info.set_splits(
        tfds.core.SplitDict(
            [tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=1, filename_template=template)]
        )
    )
    info.write_to_directory(str(directory))
    (directory / "manifest.json").write_text(
        json.dumps({"splits": {split: {"records": len(records), "shards": shards}}})
    )
    return directory


def make_policy_folder(directory: Path, size: str = "qwen2_5_vl_3b") -> Path:
    """Processor files and config.json of a fresh policy."""
    config = published_config(size)
    directory.mkdir(parents=True, exist_ok=True)
    ids = train_tokenizer(TEXTS * 30, 400, directory, family=config.family, max_pixels=200 * 28 * 28)
    (directory / "config.json").write_text(json.dumps({**config_to_hf(config), **ids}))
    return directory
