"""The pipeline: the same samples for any number of threads, workers and restarts; damaged shards and records are named
and counted.
"""

import dataclasses
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import question_sets

from spatial_jax.data import (
    PipelineSettings,
    PromptStyle,
    QuestionEncoder,
    QuestionPipeline,
    Unusable,
    open_questions,
    plan_questions,
)
from spatial_jax.data import pipeline as pipeline_module
from spatial_jax.data.integrity import DatasetError
from spatial_jax.processing import Processor

MADE = []


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return Processor.from_pretrained(question_sets.make_policy_folder(tmp_path_factory.mktemp("policy")))


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return (
        question_sets.write(folder / "near", [question_sets.record(i) for i in range(25)]),
        question_sets.write(folder / "far", [question_sets.record(i, "far", 200, 96) for i in range(13)]),
    )


@pytest.fixture(autouse=True)
def closed():
    """Ends the threads and processes of every pipeline a test made."""
    yield
    while MADE:
        MADE.pop().close()


def ids(samples):
    return [sample.record_id for sample in samples]


def same(one, two):
    assert ids(one) == ids(two)
    for a, b in zip(one, two):
        for name in ("input_ids", "positions", "pixel_values", "grid_thw"):
            np.testing.assert_array_equal(getattr(a.prompt, name), getattr(b.prompt, name))
        np.testing.assert_array_equal(a.target_ids, b.target_ids)


def pipeline(datasets, policy, cache=0, style=None, weights=(), **settings):
    sources = [open_questions(folder) for folder in datasets]
    MADE.append(QuestionPipeline(sources, QuestionEncoder(policy, style, cache), PipelineSettings(**settings), weights))
    return MADE[-1]


def test_restore_in_the_middle_of_an_epoch_with_workers(datasets, policy):
    """Exact with worker processes on, whatever their number. Each start of a worker costs seconds."""
    whole = pipeline(datasets[:1], policy, threads=0).take(40)
    first = pipeline(datasets[:1], policy, workers=2, buffer=4)
    same(first.take(17), whole[:17])
    state = json.loads(json.dumps(first.get_state()))
    first.close()
    resumed = pipeline(datasets[:1], policy, workers=1, buffer=4)
    resumed.set_state(state)
    same(resumed.take(12), whole[17:29])
    resumed.close()
    resumed = pipeline(datasets[:1], policy, threads=3)
    resumed.set_state(state)
    same(resumed.take(23), whole[17:40])


def test_restore_of_a_mixture_with_another_layout(datasets, policy):
    whole = pipeline(datasets, policy, threads=0).take(60)
    first = pipeline(datasets, policy, threads=2, buffer=8)
    same(first.take(31), whole[:31])
    state = json.loads(json.dumps(first.get_state()))
    for layout in ({"threads": 3}, {"threads": 0}):
        resumed = pipeline(datasets, policy, **layout)
        resumed.set_state(state)
        same(resumed.take(29), whole[31:60])


def test_an_epoch_shows_every_record_once_in_a_new_order(datasets, policy):
    one = pipeline(datasets[:1], policy, cache=1 << 26)
    first, second = one.take(25), one.take(25)
    assert sorted(ids(first)) == sorted(ids(second)) and len(set(ids(first))) == 25 and ids(first) != ids(second)
    assert one.epochs == [2.0]
    assert one.encoder.cache.hits == 25 or one.encoder.cache.hits > 0
    plain = pipeline(datasets[:1], policy, shuffle=False, threads=0)
    assert ids(plain.take(3)) == ["closer/00000", "closer/00001", "closer/00002"]
    assert ids(pipeline(datasets[:1], policy, seed=1).take(25)) != ids(first)


def test_questions_of_one_scene_stay_together(tmp_path, policy):
    records = [dataclasses.replace(question_sets.record(i), scene_id=f"s{i % 3}") for i in range(11)]
    folder = question_sets.write(tmp_path / "set", records)
    whole = pipeline([folder], policy, threads=0, together=4).take(24)
    scenes = [[s.record.scene_id for s in whole[at : at + 4]] for at in range(0, 24, 4)]
    assert all(len(set(block)) == 1 for block in scenes) and len({block[0] for block in scenes[:3]}) == 3
    assert {s.record_id for s in whole[:12]} == {r.question_id for r in records}
    half = pipeline([folder], policy, together=4)
    half.take(7)
    resumed = pipeline([folder], policy, threads=0, together=4)
    resumed.set_state(half.get_state())
    same(resumed.take(9), whole[7:16])
    half.take(5)
    assert half.epochs == [1.0]


def test_processes_share_an_epoch(datasets, policy):
    parts = [ids(pipeline(datasets[:1], policy, process_index=i, process_count=4).take(6)) for i in range(4)]
    assert len({name for part in parts for name in part}) == 24
    with pytest.raises(DatasetError, match="25 records cannot be shared among 26 processes"):
        pipeline(datasets[:1], policy, process_count=26)


def test_mixture_weights_change_while_running(datasets, policy):
    mixed = pipeline(datasets, policy, weights=(1, 1), cache=1 << 26)
    share = np.mean([s.record.family == "far" for s in mixed.take(200)])
    assert 0.38 < share < 0.62
    mixed.weights = (0.0, 3.0)
    assert {s.record.family for s in mixed.take(30)} == {"far"}
    state = mixed.get_state()
    mixed.weights = (1.0, 0.0)
    assert {s.record.family for s in mixed.take(30)} == {"closer"}
    mixed.set_state(state)
    assert {s.record.family for s in mixed.take(5)} == {"far"} and mixed.weights == (0.0, 1.0)
    for bad in ((1,), (0, 0), (-1, 2), (float("nan"), 1)):
        with pytest.raises(ValueError, match="mixture weights"):
            mixed.weights = bad


def test_a_curriculum_passes_samples_over(datasets, policy):
    one = pipeline(datasets[:1], policy)
    one.accept = lambda record: int(record.question_id[-2:]) % 2 == 0
    assert all(int(name[-2:]) % 2 == 0 for name in ids(one.take(20)))
    assert one.passed_over > 0
    one.accept = lambda record: False
    with pytest.raises(DatasetError, match="the curriculum passed over"):
        next(one)


def test_state_of_other_data_is_refused(datasets, policy):
    state = pipeline(datasets, policy).get_state()
    with pytest.raises(ValueError, match="the checkpoint's data differ: seed was 0, is 3"):
        pipeline(datasets, policy, seed=3).set_state(state)
    with pytest.raises(ValueError, match="the checkpoint's data differ: datasets"):
        pipeline(datasets[:1], policy).set_state(state)


def test_coordinates_follow_the_resized_picture(datasets, policy):
    sample = next(pipeline(datasets[:1], policy, style=PromptStyle("think_answer"), threads=0))
    assert sample.prompt.model_sizes == [(112, 84)] and "to 56,42 in scene" in sample.record.question
    assert sample.target == "<think>The cup is closer.</think>\n<answer>cup</answer>"
    assert sample.target_ids[-1] == policy.eos_ids[0] and policy.decode(sample.target_ids) == sample.target
    assert sample.prompt.pixel_values.dtype == np.float32 and len(sample.prompt.pixel_values) == 8 * 6


def test_damaged_shards_are_named_and_left_out(tmp_path, caplog):
    folder = question_sets.write(tmp_path / "set", [question_sets.record(i) for i in range(40)])
    shards = sorted(folder.glob("*.array_record-*"))
    shards[0].write_bytes(b"")
    shards[1].write_bytes(shards[1].read_bytes()[:-70000])
    shards[2].write_bytes(bytes(len(shards[2].read_bytes())))
    with caplog.at_level(logging.WARNING):
        source = open_questions(folder)
    assert len(source) == 10 and [source[i].question_id for i in range(10)] == [
        f"closer/{i:05d}" for i in range(30, 40)
    ]
    for shard, problem in zip(
        shards, ("is empty", "bytes where manifest.json says", "holds 0 readable records where 10 were written")
    ):
        assert any(shard.name in line and problem in line and "left out" in line for line in caplog.messages), (
            caplog.messages
        )
    shards[3].unlink()
    with pytest.raises(DatasetError, match="no shard of split train can be read"):
        open_questions(folder)
    with pytest.raises(DatasetError, match="no split 'test'; there are train"):
        open_questions(folder, "test")
    with pytest.raises(DatasetError, match="no dataset here"):
        open_questions(tmp_path)


def test_corrupt_records_are_named_skipped_and_counted(tmp_path, policy, caplog):
    records = [question_sets.record(i) for i in range(20)]
    records[3] = dataclasses.replace(records[3], images=(b"\x89PNG\r\n\x1a\n" + bytes(40),))
    records[5] = dataclasses.replace(records[5], widths=(99,))
    records[6] = dataclasses.replace(records[6], question="<image> and <image>?")
    folder = question_sets.write(tmp_path / "set", records)
    shard = folder / "questions-train.array_record-00001"
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 0xFF  # inside one record
    shard.write_bytes(bytes(data))
    with caplog.at_level(logging.WARNING):
        source = open_questions(folder)
        assert any("sha256" in line for line in caplog.messages) and len(source) == 20
        broken = [i for i in range(20) if isinstance(source[i], Unusable)]
        assert len(broken) == 1 and broken[0] >= 10
        running = QuestionPipeline([source], QuestionEncoder(policy), PipelineSettings(threads=2))
        seen = {sample.record_id for sample in running.take(40)}
    assert len(seen) == 16 and running.skipped.total == 4
    text = "\n".join(caplog.messages)
    assert "record 3: closer/00003: picture 1: not a readable picture" in text
    assert "closer/00005: picture 1 has 120x80 pixels where the record says 99x80" in text
    assert "closer/00006: the question has 2 <image> marks but 1 image(s)" in text
    assert f"{shard} record {broken[0] - 10}: cannot be read" in text


def test_plan_names_what_does_not_fit(tmp_path, policy, caplog):
    records = [question_sets.record(i) for i in range(12)]
    records[2] = question_sets.record(2, width=1200, height=900)
    records[4] = dataclasses.replace(records[4], question="far " * 400)
    records[7] = dataclasses.replace(records[7], widths=(0,), heights=(0,))
    source = open_questions(question_sets.write(tmp_path / "set", records))
    encoder = QuestionEncoder(policy)
    with caplog.at_level(logging.INFO):
        plan = plan_questions(source, encoder, max_prompt_tokens=300, max_patches=600, max_target_tokens=32)
        plan.report()
    assert [o.position for o in plan.offenders] == [2, 4, 7]
    assert "more than 600 patches: closer/00002 needs" in caplog.text
    assert (
        "more than 300 prompt tokens" in caplog.text
        and "record 7: closer/00007: a picture of 0x0 pixels" in caplog.text
    )
    usable = plan.usable()
    assert len(usable) == 9
    for position in range(9):
        sample = encoder(usable, position)
        original = int(usable.indices[position])
        planned = (plan.tokens[original], plan.patches[original], plan.targets[original])
        assert (len(sample.prompt), sample.prompt.patches, len(sample.target_ids)) == planned


def test_families_and_several_pictures_and_videos(tmp_path, policy):
    records = [question_sets.record(i, ("a", "b")[i % 2]) for i in range(6)]
    pictures = tuple(question_sets.png(i, 84, 56, "JPEG") for i in range(3))
    several = {"images": pictures, "widths": (84,) * 3, "heights": (56,) * 3}
    records.append(question_sets.record(6, "several", **several, question="Is <image> left of <image> or <image>?"))
    records.append(question_sets.record(7, "clip", **several, question="How far?", meta='{"video": {"fps": 2.0}}'))
    source = open_questions(question_sets.write(tmp_path / "set", records))
    assert [source.of_families(["b"])[i].family for i in range(3)] == ["b"] * 3
    with pytest.raises(DatasetError, match="no record of depth in split train; there are a, b, clip, several"):
        open_questions(source.directory, families=["depth"])
    encoder = QuestionEncoder(policy)
    many, clip = encoder(source, 6), encoder(source, 7)
    assert many.prompt.grid_thw.tolist() == [[1, 4, 6]] * 3 and set(many.prompt.type_ids.tolist()) == {0, 1}
    text = policy.decode(many.prompt.input_ids, skip_special_tokens=False)
    assert (
        text.count("<|vision_start|>") == 3
        and "Is <|vision_start|>" in text
        and text.rstrip().endswith("<|im_start|>assistant")
    )
    assert clip.prompt.grid_thw[0, 0] == 2 and set(clip.prompt.type_ids.tolist()) == {0, 2}
    plan = plan_questions(source, encoder, max_prompt_tokens=10_000)
    assert plan.tokens.tolist() == [len(encoder(source, i).prompt) for i in range(8)] and not plan.offenders


def test_a_worker_process_that_is_gone_is_one_line(monkeypatch):
    """As Grain tells of it; the real one takes seconds to start."""

    def gone():
        raise RuntimeError("Worker process was terminated unexpectedly with exit code -9. Search the logs above.")
        yield

    stream = object.__new__(pipeline_module._Stream)
    stream.source, stream.settings = SimpleNamespace(directory="runs/questions"), PipelineSettings(workers=1)
    stream.consumed, stream._iterator = 0, gone()
    with pytest.raises(
        DatasetError, match=r"a worker process .* exit code -9\), .* fewer config\.data\.workers"
    ) as error:
        stream.next()
    assert "\n" not in str(error.value)
