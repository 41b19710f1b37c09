"""A dataset's folder: killed at any rename it is finished by the same command, a command that gives nothing leaves no
trace, and other data under the same names are told.
"""

import functools
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep.annotate import build_pipeline
from data_prep.annotate.__main__ import main as annotate
from data_prep.pipeline import Outcome
from data_prep.remote import WorkFolder
from data_prep.runner import run
from data_prep.selfsup import main as selfsup
from data_prep.synthesis.dataset import write_questions
from data_prep.synthesize import main as synthesize
from data_prep.writer import DatasetWriter, WriterError, is_complete
from spatial_jax.data.records import QuestionRecord, question_features, scene_features

SPEC = {"source": "rendered", "preset": "plain", "count": 13, "seed": 11}


class Killed(BaseException):
    pass


def make(out, config=None):
    pipeline = build_pipeline(SPEC)
    with DatasetWriter(str(out), "scenes", scene_features(), config or pipeline.config(), shard_records=4) as writer:
        run(functools.partial(build_pipeline, SPEC), writer, len(pipeline.source), say=lambda _: None)
    return out


def contents(folder):
    return {p.name: p.read_bytes() for p in Path(folder).iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return contents(make(tmp_path_factory.mktemp("whole") / "d"))


def photos(folder, count=3, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        picture = Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize(
            (160, 120), Image.Resampling.NEAREST
        )
        picture.save(folder / f"{i}.bmp")  # the same length whatever it shows
    return folder


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_rename_and_run_again_gives_the_same_bytes(whole, tmp_path, monkeypatch, when):
    publish = WorkFolder.publish
    renames = 0
    for at in range(40):
        out, calls = tmp_path / f"{at}", []

        def cut(self, local, target, calls=calls, at=at):
            calls.append(target)
            if len(calls) == at + 1 and when == "before":
                raise Killed
            publish(self, local, target)
            if len(calls) == at + 1:
                raise Killed

        monkeypatch.setattr(WorkFolder, "publish", cut)
        try:
            make(out)
        except Killed:
            renames += 1
        else:
            break
        monkeypatch.setattr(WorkFolder, "publish", publish)
        assert contents(make(out)) == whole
    assert renames >= 8  # four shards and more, two info files, skipped items, the manifest


def test_killed_before_the_journal_is_removed_or_in_the_clean_up(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(WorkFolder, "sync", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        make(tmp_path / "a")
    monkeypatch.undo()
    assert contents(make(tmp_path / "a")) == whole
    monkeypatch.setattr(WorkFolder, "remove_work", lambda self: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        make(tmp_path / "b")
    monkeypatch.undo()
    assert contents(make(tmp_path / "b")) == whole


def test_a_lost_journal_is_one_line(tmp_path):
    pipeline = build_pipeline(SPEC)
    with DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), pipeline.config()) as writer:
        writer.append(pipeline(0))
    for journal in (tmp_path / "d" / "_work").glob("*.journal"):
        journal.unlink()
    with pytest.raises(WriterError, match="the unfinished shard is gone; delete"):
        DatasetWriter(str(tmp_path / "d"), "scenes", scene_features(), pipeline.config())


def test_nothing_came_out_is_an_error_and_gives_the_folder_back(tmp_path, capsys):
    config = {"a": 1}
    with DatasetWriter(str(tmp_path / "d"), "questions", question_features(), config) as writer:
        writer.append(Outcome(0, "x", "dropped", stage="filter", reason="too dark"))
        with pytest.raises(WriterError, match=r"nothing came out.*1 x filter: dropped: too dark"):
            writer.finish()
    assert not (tmp_path / "d").exists()
    folder = photos(tmp_path / "photos")
    drop = ["--filters=quality", "--set=quality.least_luma=1.1", "--workers=1"]
    assert annotate(["--source=folder", f"--path={folder}", f"--out={tmp_path}/s", *drop]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "nothing came out" in error and "3 x quality" in error and not (tmp_path / "s").exists()
    assert annotate(["--source=folder", f"--path={folder}", f"--out={tmp_path}/s", "--workers=1"]) == 0


def test_plain_photos_without_an_object_name_the_way_without_models(tmp_path, capsys):
    out = str(tmp_path / "s")
    assert annotate(["--source=folder", f"--path={photos(tmp_path / 'photos')}", f"--out={out}", "--workers=1"]) == 0
    capsys.readouterr()
    assert synthesize([f"--scenes={out}", f"--out={tmp_path}/q"]) == 2
    error = capsys.readouterr().err.strip()
    assert error.count("\n") == 0 and all(w in error for w in ("--proposals", "--depth", "data_prep.selfsup --photos="))
    assert selfsup([f"--photos={out}", f"--out={tmp_path}/q", "--tasks=depth_order"]) == 2
    assert "need depth" in capsys.readouterr().err
    assert selfsup([f"--photos={out}", f"--out={tmp_path}/q", "--tasks=flip", "--tasks=shuffle"]) == 0


@pytest.mark.parametrize(
    "verb, wrong, words",
    [
        (synthesize, ["--scenes=SCENES", "--families=cuont"], "cuont"),
        (synthesize, ["--scenes=SCENES", "--per_scene=0"], "--per_scene=0"),
        (synthesize, ["--scenes=NOWHERE"], "no finished scene dataset"),
        (synthesize, ["--rooms=NOWHERE"], "NOWHERE"),
        (synthesize, ["--import=jsonl"], "needs --path"),
        (synthesize, ["--rooms=NOWHERE", "--limit=3"], "--limit is read with --scenes, not with --rooms"),
        (synthesize, ["--rooms=NOWHERE", "--families=count"], "--families is read with --scenes, not with --rooms"),
        (synthesize, ["--scenes=SCENES", "--quota=vsi100k"], "--quota is read with --rooms, not with --scenes"),
        (synthesize, ["--path=NOWHERE", "--demonstrations"], "read with --scenes and --rooms, not with --path"),
        (selfsup, ["--photos=SCENES", "--tasks=flipp"], "did you mean 'flip'?"),
        (selfsup, ["--photos=SCENES", "--workers=0"], "--workers=0"),
        (annotate, ["--source=rendered", "--filters=qualty"], "qualty"),
        (annotate, ["--source=rendered", "--filters=quality", "--set=quality.leest=1"], "leest"),
        (annotate, ["--source=rendered", "--set=quality.least_luma=1"], "no --filters=quality"),
        (annotate, ["--source=rendered", "--batch=0"], "--batch=0"),
        (annotate, ["--source=walk", "--limit=5"], "--limit does nothing with --source=walk; it is of folder"),
        (annotate, ["--source=rendered", "--shake=2"], "--shake does nothing with --source=rendered; it is of walk"),
        (annotate, ["--source=scannet", "--path=SCENES", "--max_side=640"], "does nothing with --source=scannet"),
        (annotate, ["--source=rendered", "--shard_records=0"], "--shard_records=0"),
        (annotate, ["--source=rendered", "--heldout_percent=200"], "--heldout_percent=200"),
    ],
)
def test_a_typo_claims_nothing(tmp_path, capsys, scenes, verb, wrong, words):
    arguments = [a.replace("SCENES", str(scenes)).replace("NOWHERE", str(tmp_path / "nowhere")) for a in wrong]
    assert verb([*arguments, f"--out={tmp_path / 'out'}"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error.replace(str(tmp_path), "NOWHERE") and error.count("\n") == 0
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return make(tmp_path_factory.mktemp("scenes") / "d")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--source=foldr"], "'foldr' is unknown; did you mean 'folder'?"),
        (["--source=rendered", "--sede=3"], "--sede is no option; did you mean '--seed'?"),
        (["--source=rendered", "--count=many"], "invalid int value"),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_the_nearest(tmp_path, capsys, arguments, words):
    with pytest.raises(SystemExit) as left:
        annotate([*arguments, f"--out={tmp_path / 'out'}"])
    error = capsys.readouterr().err.strip()
    assert left.value.code == 2 and words in error and error.count("\n") == 0


def record(number, answer="1"):
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (number, 0, 0)).save(out, "PNG")
    return QuestionRecord(
        f"q{number}",
        "t",
        "train",
        "s",
        (out.getvalue(),),
        (8,),
        (8,),
        "Which?",
        "word",
        answer,
        reward='{"kind": "word"}',
    )


def test_other_data_under_the_same_names_are_not_mixed_in(tmp_path, capsys):
    folder, out = photos(tmp_path / "photos", 12), str(tmp_path / "s")
    base = ["--source=folder", f"--path={folder}", f"--out={out}", "--workers=1"]
    pipeline = build_pipeline({"source": "folder", "path": str(folder)})
    config = {**pipeline.config(), "items": 12}
    with DatasetWriter(out, "scenes", scene_features(), config) as writer:
        for index in range(5):
            writer.append(pipeline(index))
    assert not is_complete(out, "scenes", config)
    before = pipeline.config()
    photos(folder, 12, seed=1)  # other pictures, same names and lengths
    assert build_pipeline({"source": "folder", "path": str(folder)}).config() != before
    assert annotate(base) == 2
    assert "holds a dataset of other settings (config.source.files" in capsys.readouterr().err
    photos(folder, 12, seed=0)
    assert annotate(base) == 0

    for name in ("a", "b"):
        rows = [{"question": f"{name}{i}", "answer": "yes"} for i in range(9)]
        (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
        assert synthesize([f"--path={tmp_path}/q.jsonl", f"--out={tmp_path}/q"]) == (0 if name == "a" else 2)
    assert re.search(r"other settings \(config.inputs was", capsys.readouterr().err)
    for answer in ("1", "2"):
        write_questions(str(tmp_path / answer), {}, [record(i, answer) for i in range(3)])


def test_a_folder_with_a_name_that_can_be_guessed_must_be_ones_own(tmp_path, monkeypatch):
    monkeypatch.delenv("SPATIAL_JAX_WORK", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    folder = WorkFolder("gs://bucket/d")
    folder.work.parent.mkdir(mode=0o777)
    folder.work.parent.chmod(0o777)
    with pytest.raises(PermissionError, match="set SPATIAL_JAX_WORK"):
        folder._own_root()
    folder.work.parent.rmdir()
    folder.work.parent.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        folder._own_root()
    folder.work.parent.unlink()
    folder._own_root()
    assert folder.work.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("meta", [[], None, 3, {"object_bbox": {"chair": 3}}, {"object_bbox": {"chair": [3]}}])
def test_one_bad_room_is_named_and_the_rest_goes_on(tmp_path, meta):
    from data_prep.synthesis.vsi import MetadataError, load_rooms

    good = {"object_bbox": {}, "object_counts": {"chair": 2}, "room_size": 12.0}
    path = tmp_path / "rooms.json"
    path.write_text(json.dumps({"bad": meta, "none": {**good, "room_size": None}, "good": good}))
    rooms, problems = load_rooms(str(path))
    assert [r.scene_id for r in rooms] == ["good"] and len(problems) == 2 and "bad" in problems[0]
    path.write_text("[" * 100_000)
    with pytest.raises(MetadataError, match="nested too deep"):
        load_rooms(str(path))
