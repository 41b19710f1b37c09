"""The dataset opens with plain TFDS, has the same bytes however often it was killed and whoever computed it, and damage
is found.
"""

import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep.annotate import build_pipeline
from data_prep.annotate.__main__ import main
from data_prep.runner import Workers, run
from data_prep.verify import verify
from data_prep.writer import DatasetWriter, WriterError
from spatial_jax.data.records import SceneRecord, from_example, scene_features

COUNT = 26
SPEC = {"source": "rendered", "preset": "plain", "count": COUNT, "seed": 11}


def _make(out, spec=SPEC, **options):
    pipeline = build_pipeline(spec)
    with DatasetWriter(str(out), "scenes", scene_features(), pipeline.config(), shard_records=8) as writer:
        run(functools.partial(build_pipeline, spec), writer, len(pipeline.source), say=lambda _: None, **options)
    return out


def _bytes(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return _make(tmp_path_factory.mktemp("whole"))


def test_plain_tfds_opens_it_without_our_code_and_records_survive(whole):
    builder = tfds.builder_from_directory(whole)
    lengths = {name: len(builder.as_data_source(name)) for name in builder.info.splits}
    manifest = json.loads((whole / "manifest.json").read_text())
    assert lengths == {k: v["records"] for k, v in manifest["splits"].items()} and sum(lengths.values()) == COUNT
    example = builder.as_data_source("train")[0]
    assert example["image"].shape == (112, 112, 3)
    pipeline = build_pipeline(SPEC)
    stored = {}
    for name in lengths:
        for raw in builder.as_data_source(name, decoders={"image": tfds.decode.SkipDecoding()}):
            record = from_example(SceneRecord, raw)
            assert record.split == name
            stored[record.scene_id] = record
    for index in range(COUNT):
        made, read = pipeline.record(index), stored[pipeline.source.item_id(index)]
        assert read.image == made.image and read.depth_png == made.depth_png and read.meta == made.meta
        for a, b in zip(made.objects, read.objects, strict=True):
            assert (a.caption, a.mask_png, a.points, a.uncertainty) == (b.caption, b.mask_png, b.points, b.uncertainty)
            np.testing.assert_allclose(a.center + a.extent + a.rotation, b.center + b.extent + b.rotation, rtol=1e-6)
            assert 0 < a.depth_q20 <= a.depth_median <= a.depth_q80


@pytest.mark.parametrize("workers", [Workers(2, batch=3), Workers(1, batch=1)])
def test_bytes_do_not_depend_on_workers_or_batches(whole, tmp_path, workers):
    assert _bytes(_make(tmp_path / "again", workers=workers)) == _bytes(whole)


def test_bytes_from_ray_are_the_same(whole, tmp_path):
    import ray

    try:
        assert _bytes(_make(tmp_path / "ray", workers=Workers(1, "ray"))) == _bytes(whole)
    finally:
        ray.shutdown()


def test_kill_9_anywhere_and_resume_gives_the_same_bytes(tmp_path):
    count = 90
    arguments = ["--source=rendered", f"--count={count}", "--seed=4", "--shard_records=16", "--workers=1"]
    assert main([*arguments, f"--out={tmp_path}/whole"]) == 0
    command = [sys.executable, "-m", "data_prep.annotate", *arguments, f"--out={tmp_path}/killed"]
    log = tmp_path / "killed" / "_work" / "log.jsonl"
    chance, kills = random.Random(0), 0
    for target in (chance.randrange(3, 30), chance.randrange(40, 70)):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.getcwd()}
        )
        while process.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < target):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 1 and not (tmp_path / "killed" / "manifest.json").exists()
    assert main([*arguments, f"--out={tmp_path}/killed"]) == 0
    assert _bytes(tmp_path / "killed") == _bytes(tmp_path / "whole")


class _Stop(Exception):
    pass


@pytest.mark.parametrize("cut", ["log", "journal"])
def test_a_torn_write_is_cut_off_and_done_again(whole, tmp_path, cut):
    pipeline = build_pipeline(SPEC)
    with DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), pipeline.config(), shard_records=8) as writer:
        for index in range(13):
            writer.append(pipeline(index))
        splits = dict(writer.counts)
    work = tmp_path / "d" / "_work"
    journal = next(p for p in sorted(work.glob("train-*.journal")))
    if cut == "log":
        log = work / "log.jsonl"
        log.write_bytes(log.read_bytes()[:-9])
    else:  # killed after the record and before its line in the log
        with journal.open("ab") as file:
            file.write(b"\x10\x00\x00\x00half a reco")
    assert splits["train"] > 8
    assert _bytes(_make(tmp_path / "d")) == _bytes(whole)


def test_a_killed_sealing_of_a_shard_is_done_again(whole, tmp_path, monkeypatch):
    pipeline = build_pipeline(SPEC)
    writer = DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), pipeline.config(), shard_records=8)

    def stop(*_):
        raise _Stop

    monkeypatch.setattr(writer.folder, "publish", stop)
    with pytest.raises(_Stop):
        for index in range(COUNT):
            writer.append(pipeline(index))
    writer.close()
    assert not list((tmp_path / "d").glob("scenes-*"))
    assert _bytes(_make(tmp_path / "d")) == _bytes(whole)


def test_other_settings_and_a_second_writer_are_refused(whole, tmp_path):
    with pytest.raises(WriterError, match=r"seed was 11, is 12"):
        _make(whole, {**SPEC, "seed": 12})
    config = build_pipeline(SPEC).config()
    with (
        DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), config),
        pytest.raises(WriterError, match="another process"),
    ):
        DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), config)


def test_a_complete_dataset_is_left_alone(whole, capsys):
    before = _bytes(whole)
    _make(whole)
    assert _bytes(whole) == before


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda p: p.write_bytes(p.read_bytes()[:5000]), "is 5000 bytes"),
        (lambda p: p.unlink(), "is missing"),
        (lambda p: p.write_bytes(b""), "is 0 bytes"),
        (
            lambda p: p.write_bytes(p.read_bytes()[:700] + b"\xff" + p.read_bytes()[701:]),
            "other bytes than were written",
        ),
    ],
)
def test_a_damaged_shard_is_found_by_the_manifest_and_named(tmp_path, damage, words):
    out = _make(tmp_path / "d", {**SPEC, "count": 9})
    assert verify(str(out)) == []
    damage(out / "scenes-train.array_record-00000")
    problems = verify(str(out))
    assert len(problems) == 1 and "scenes-train.array_record-00000" in problems[0] and words in problems[0]
