"""Datasets and photos on gs://: the same bytes as locally, and another machine goes on where the first was lost."""

import functools
import io
import json

import fsspec
import numpy as np
import pytest
from etils import epath
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from data_prep.annotate import build_pipeline
from data_prep.runner import run
from data_prep.verify import verify
from data_prep.writer import DatasetWriter
from spatial_jax.data.records import scene_features


class _Bucket(MemoryFileSystem):
    """An object store in memory under gs://."""

    protocol = ("gs", "gcs")
    store: dict = {}
    pseudo_dirs = [""]

    def __init__(self, *unused, **options):
        super().__init__()

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("gs://").strip("/") if str(path).strip("/") else ""


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    fsspec.register_implementation("gcs", _Bucket, clobber=True)
    _Bucket.store.clear()
    _Bucket.pseudo_dirs[:] = [""]
    fsspec.filesystem("gcs").mkdir("/bucket")
    monkeypatch.setenv("SPATIAL_JAX_WORK", str(tmp_path / "machine_one"))
    yield epath.Path("gs://bucket")
    fsspec.register_implementation("gcs", "gcsfs.GCSFileSystem", clobber=True)


SPEC = {"source": "rendered", "preset": "plain", "count": 20, "seed": 2}


def _writer(out):
    return DatasetWriter(out, "scenes", scene_features(), build_pipeline(SPEC).config(), shard_records=6)


def test_a_run_lost_with_its_machine_is_finished_by_another_with_the_same_bytes(bucket, tmp_path, monkeypatch):
    pipeline = build_pipeline(SPEC)
    with _writer(str(tmp_path / "local")) as local:
        run(functools.partial(build_pipeline, SPEC), local, 20, say=lambda _: None)
    with _writer("gs://bucket/scenes") as first:
        for index in range(15):
            first.append(pipeline(index))
    assert not (bucket / "scenes/manifest.json").exists()
    monkeypatch.setenv("SPATIAL_JAX_WORK", str(tmp_path / "machine_two"))
    with _writer("gs://bucket/scenes") as second:
        assert 0 < second.next_index <= 15, "what was shared with the bucket is not done again"
        run(functools.partial(build_pipeline, SPEC), second, 20, say=lambda _: None)
    names = {p.name for p in (bucket / "scenes").iterdir()}
    assert names == {p.name for p in (tmp_path / "local").iterdir()} and "_work" not in names
    for path in (tmp_path / "local").iterdir():
        assert (bucket / "scenes" / path.name).read_bytes() == path.read_bytes(), path.name
    assert verify("gs://bucket/scenes") == []
    shard = bucket / "scenes" / "scenes-train.array_record-00000"
    shard.write_bytes(shard.read_bytes()[:100])
    assert "is 100 bytes" in verify("gs://bucket/scenes")[0]


def test_photos_are_read_from_a_bucket(bucket):
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 60, 3), np.uint8)).save(out, "PNG")
    (bucket / "photos/deep").mkdir(parents=True)
    (bucket / "photos/deep/a.png").write_bytes(out.getvalue())
    (bucket / "photos/b.jpg").write_text("no picture")
    pipeline = build_pipeline({"source": "folder", "path": "gs://bucket/photos"})
    outcomes = pipeline.outcomes([0, 1])
    assert [(o.item_id, o.kind) for o in outcomes] == [("b.jpg", "failed"), ("deep/a.png", "record")]
    assert json.dumps(pipeline.config())
