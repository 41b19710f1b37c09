"""Any TFDS dataset with an image feature, read without TensorFlow (its files must be ArrayRecord)."""

from __future__ import annotations

from typing import Any

import numpy as np

from data_prep.sources.base import BadItem, DepthNoise, Frame, SourceError
from data_prep.sources.conventions import CONVENTIONS
from data_prep.sources.depth_files import distances
from data_prep.sources.folder import stored_pixels
from data_prep.sources.pictures import open_picture
from spatial_jax.dataset_folder import check_prepared_datasets, open_dataset_folder

# Datasets whose depth is metric, and the camera it was taken with.
METRIC = {"nyu_depth_v2": "nyu"}


def _builder(dataset: str, data_dir: str) -> Any:
    """TFDS's builder of a folder, or of a name that was prepared below `data_dir` (TFDS's own folders unless given)."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils.file_utils import list_data_dirs

    if "/" in dataset and dataset.startswith((".", "/", "~", "gs:")):
        return open_dataset_folder(dataset)
    for root in list_data_dirs(data_dir or None):
        check_prepared_datasets(root, dataset)
    return tfds.builder(dataset, data_dir=data_dir or None, file_format="array_record", try_gcs=False)


class TfdsImages:
    """Pictures of a prepared TFDS dataset, by name (`nyu_depth_v2`) or directory; with depth where the dataset has a
    "depth" feature.

    Depth is metric for datasets in METRIC or with `metric=True`, else it is flagged relative. All pictures of one split
    of the dataset that carry the same `group` feature (if named) share a split here.
    """

    name = "tfds"

    def __init__(
        self,
        dataset: str,
        split: str = "train",
        data_dir: str = "",
        metric: bool = False,
        group: str = "",
        count: int = 0,
    ):
        import tensorflow_datasets as tfds

        self.dataset, self.split, self.data_dir, self.group = dataset, split, data_dir, group
        self.metric = metric or dataset.partition("/")[0].partition(":")[0] in METRIC
        try:
            builder = _builder(dataset, data_dir)
            self.features = builder.info.features
            self.image = next(
                (k for k, f in self.features.items() if isinstance(f, tfds.features.Image) and k != "depth"), ""
            )
            self.data = builder.as_data_source(
                split=split, decoders={self.image: tfds.decode.SkipDecoding()} if self.image else None
            )
            try:
                self.data[0]
            except ImportError:  # no encoded bytes to be had (TFDS's mock data): take decoded pixels
                self.data = builder.as_data_source(split=split)
        except Exception as error:
            raise SourceError(
                f"TFDS dataset {dataset} split {split} cannot be opened: {' '.join(str(error).split())[:200]}; prepare"
                f" it first with tfds build {dataset} --file_format=array_record"
            ) from None
        if not self.image:
            raise SourceError(f"TFDS dataset {dataset} has no image feature (it has {', '.join(self.features)})")
        self.size = min(len(self.data), count) if count else len(self.data)

    def __len__(self) -> int:
        return self.size

    def item_id(self, index: int) -> str:
        return f"{self.dataset}/{self.split}/{index:08d}"

    def config(self) -> dict[str, Any]:
        return {
            "source": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "metric": self.metric,
            "group": self.group,
        }

    def load(self, index: int) -> Frame:
        example = self.data[index]
        raw = example[self.image]
        if isinstance(raw, bytes):
            picture = open_picture(raw)
            frame = Frame(
                self.item_id(index),
                self.name,
                stored_pixels(picture.rgb, picture.encoded),
                picture.encoded,
                notes=picture.notes,
            )
            if picture.orientation != 1 and "depth" in example:
                raise BadItem("is turned by its EXIF, and nothing says whether its depth is too: store both upright")
        else:
            pixels = np.asarray(raw)
            pixels = np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else np.ascontiguousarray(pixels[..., :3])
            frame = Frame(self.item_id(index), self.name, pixels)
        if self.group:
            if self.group not in example:
                raise BadItem(f"no feature named {self.group} to split by")
            frame.split_key = f"{self.dataset}/{example[self.group]!r}"
        frame.tags, frame.provenance = ("photo",), {"dataset": self.dataset}
        if "depth" in example:
            self._add_depth(frame, np.squeeze(np.asarray(example["depth"])))
        return frame

    def _add_depth(self, frame: Frame, depth: np.ndarray) -> None:
        if depth.shape != (frame.height, frame.width):
            raise BadItem(f"depth is {depth.shape}, the picture {frame.height}x{frame.width}")
        depth = distances(depth, 1.0, notes=frame.notes)
        if not depth.any():
            raise BadItem("no valid depth")
        frame.depth, frame.depth_flag = depth, "metric" if self.metric else "relative"
        frame.provenance["depth"] = self.dataset
        rule = CONVENTIONS.get(METRIC.get(self.dataset, ""))
        frame.depth_noise = rule.noise if rule else DepthNoise(0.005, 0.0, 0.003, 0.01)
        if rule and rule.intrinsics and rule.size:
            scale = frame.width / rule.size[0]
            frame.intrinsics = tuple(v * scale for v in rule.intrinsics)  # type: ignore[assignment]
            frame.intrinsics_source = "sensor"
