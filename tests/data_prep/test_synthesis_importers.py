"""Importers: each published form to records, and rows that cannot be used, one reason each."""

import io
import json

import pytest
from PIL import Image

import data_prep.synthesis.importers.frames as frames_module
from data_prep.synthesis.importers import KINDS, BadRow, Import, import_records
from spatial_jax.data.records import resolve
from tests.vsgrpo_recipe import check_asked_by_vsgrpo


def png(size=(32, 24), mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, size).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def images(tmp_path):
    (tmp_path / "img" / "crop").mkdir(parents=True)
    (tmp_path / "img" / "scene7").mkdir()
    for i in range(6):
        (tmp_path / "img" / "crop" / f"{i}.png").write_bytes(png())
    for i in range(20):
        (tmp_path / "img" / "scene7" / f"{i:03d}.png").write_bytes(png())
    (tmp_path / "img" / "bad.png").write_bytes(b"no picture")
    (tmp_path / "secret.png").write_bytes(png())
    return str(tmp_path / "img")


def read(tmp_path, kind, rows, images, name="data.jsonl", **kwargs):
    path = tmp_path / name
    path.write_text(
        json.dumps(rows)
        if name.endswith(".json")
        else "\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows)
    )
    out = list(import_records(kind, str(path), images, **kwargs))
    return [r for r in out if not isinstance(r, BadRow)], [r.args[-1] for r in out if isinstance(r, BadRow)]


# (answer, its picture's path, pictures) -> the task: folders further up say nothing
SSRL = {
    ("0-1", "/data/crop_experiments/flip/1.png", 1): "flip",
    ("3-1-2", "/depth/shuffle_study/images/1.png", 1): "depth_order",
    ("2-0-1", "position/1.png", 1): "shuffle",
    ("1-3-0-2", None, 1): "shuffle",
    ("A", "my_crops/1.png", 1): "position3d",
    ("D", None, 5): "crop",
    ("[2, 0, 1]", "images/Shuffle/1.png", 1): "shuffle",
    ("near", "crop_of_depth/1.png", 1): "ssrl",
}


def test_synthesis_import_ssrl_parquet(tmp_path, images):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "s.parquet"
    marks = "<image>" * 5
    rows = [
        {"problem": marks + "Which?", "answer": "B", "images": [f"crop/{i}.png" for i in range(5)]},
        {"problem": "<image>Order?", "answer": "1-3-0-2", "images": ["crop/5.png"]},
        {"problem": "<image>Order?", "answer": "1-3-0-2", "images": ["crop/0.png", "crop/1.png"]},
        {"problem": "<image>Order?", "answer": "0-1", "images": ["../secret.png"]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    out = list(import_records("ssrl", str(path), images))
    assert [r.family for r in out[:2]] == ["ssrl_crop", "ssrl_shuffle"] and [r.question_type for r in out[:2]] == [
        "mcq",
        "free",
    ]
    assert json.loads(out[0].reward) == {"kind": "ssrl"} and len(out[0].images) == 5 and out[0].widths == (32,) * 5
    assert (
        out[2].args[-1].startswith("number of <image> marks")
        and out[3].args[-1] == "picture path leaves the folder of pictures"
    )
    pq.write_table(
        pa.Table.from_pylist(
            [
                {"problem": "<image>" * many + "?", "answer": answer, "images": [{"bytes": png(), "path": at}] * many}
                for answer, at, many in SSRL
            ]
        ),
        path,
    )
    rows = Import("ssrl", str(path))
    made = list(rows.records(rows.survey(0)))
    assert [r.family.removeprefix("ssrl_") for r in made] == list(SSRL.values())
    assert sum(rows.found.remarks.values()) == 2 and "not told" in "".join(rows.found.lines())


def test_synthesis_import_vsi100k(tmp_path, images):
    rows = [
        {"scene_id": "scene7", "question": "How many chairs?", "answer": "4"},
        {"scene_id": "scene9", "question": "Left or right?", "answer": "left"},
        {"scene_id": "scene7", "question": "", "answer": "4"},
    ]
    records, bad = read(tmp_path, "vsi100k", rows, images, "object_counting.json")
    assert [r.family for r in records] == ["vsi_object_counting"] * 2 and [len(r.images) for r in records] == [16, 0]
    assert [json.loads(r.reward)["kind"] for r in records] == ["mra", "word"] and "video" in json.loads(records[0].meta)
    assert bad == ["field question is missing"]
    check_asked_by_vsgrpo(records)


def test_synthesis_import_vilasr(tmp_path, images):
    rows = [
        {
            "question": "Which?\nA. left\nB. right",
            "answer": "<answer>B</answer>",
            "image_path": ["crop/0.png"],
            "data_type": "vqa",
            "question_type": "multiple choice",
        },
        {
            "question": "How far?",
            "answer": "3.5",
            "image_path": ["crop/0.png", "crop/1.png"],
            "data_type": "video",
            "question_type": "numerical",
        },
        {"question": "How far?", "answer": "far", "image_path": [], "question_type": "regression"},
        {"question": "How far?", "answer": "1", "image_path": [], "question_type": "riddle"},
    ]
    records, bad = read(tmp_path, "vilasr_rl", rows, images)
    assert records[0].options == ("left", "right") and records[0].answer == "B" and records[0].question_type == "mcq"
    assert (
        records[1].question_type == "number"
        and records[1].tags == ("video",)
        and json.loads(records[1].reward)["kind"] == "vilasr"
    )
    assert bad == ["answer is not a number", "question_type 'riddle' is unknown"]


DRAWN = """<think> I box the {0}. </think> Action: Object Mapper
```json
[{{'index': {1}, 'bbox_2d': [{2}, 4, 8, 16], 'label': "{0}"}}]
```"""


def test_synthesis_import_vilasr_demonstrations(tmp_path, images):
    """Both released forms give turns in the stored pictures' pixels, whatever size the teacher saw."""
    line = "\nThe index of the given image is {} (width: {}, height: {}).\n"
    sizes = ((64, 64), (16, 16))  # of pictures that are stored as 32 x 24
    asked = "".join("<image>" + line.format(k + 1, *sizes[k]) for k in range(2)) + "Where?\nA. left\nB. right"
    said = [
        DRAWN.format("child's bed", 2, 2),
        DRAWN.format("lamp", 3, 2),
        DRAWN.format("lamp", 3, 2),
        DRAWN.format("mug", 1, 4).removesuffix("\n```") + "```",
        "<think>t</think> Action: Answer\n<answer>B</answer>",
    ]
    roles = {"from": ("human", "gpt", "value"), "role": ("user", "assistant", "content")}
    for key, (user, policy, text) in roles.items():
        talk = [{key: "system", text: "You draw."}, {key: user, text: asked}]
        for reply in said[:-1]:
            talk += [{key: policy, text: reply}, {key: user, text: "<image>" + line.format(9, 16, 16) + "Go on."}]
        talk.append({key: policy, text: said[-1]})
        paths = [f"crop/{i % 2}.png" for i in range(6)]
        rows = [{"conversations" if key == "from" else "messages": talk, "images": paths}]
        rows += [
            {"conversations": talk[:4] + talk[-1:], "images": paths[:3]},
            {"conversations": talk, "images": paths[:1]},
            {"conversations": [talk[1], talk[-1]], "images": paths[:2]},
            {"conversations": talk[:3], "images": paths[:2]},
            {"conversations": [talk[1], {key: policy, text: DRAWN.format("x", 7, 1)}, *talk[3:]], "images": paths},
        ]
        records, bad = read(tmp_path, "vilasr_sft", rows, images, "x.json")
        assert [len(json.loads(r.meta)["turns"]) for r in records] == [4, 1, 0]
        first = records[0]
        assert len(first.images) == 2 and (first.answer, first.question_type, first.options) == (
            "B",
            "mcq",
            ("left", "right"),
        )
        assert "index of" not in first.question and first.question.count("<image>") == 2
        shown = json.loads(resolve(first, [(32, 32), (28, 56)]).meta)["turns"]
        turns = [json.loads(t.split("```json")[1].split("```")[0])[0] for t in shown]
        # 16 x 16 seen, 32 x 24 stored, 28 x 56 shown; the third picture is a drawn second one
        assert turns[0] == {"index": 2, "bbox_2d": [4, 14, 14, 56], "label": "child's bed"}
        assert turns[1] == turns[2] == {"index": 3, "bbox_2d": [4, 14, 14, 56], "label": "lamp"}
        assert turns[3] == {"index": 1, "bbox_2d": [2, 2, 4, 8], "label": "mug"}
        assert bad == [
            "number of <image> marks and of pictures differ",
            "last turn holds no <answer>",
            "a drawing turn cannot be carried out (there is no picture N; there are N)",
        ]


def test_synthesis_import_jsonl_and_bad_rows(tmp_path, images):
    rows = [
        {
            "question": "Which?",
            "answer": "left",
            "options": ["left", "right"],
            "images": ["crop/0.png"],
            "family": "mine",
        },
        "{broken",
        "[1]",
        {"question": "Which?", "answer": "up", "options": ["left", "right"]},
        {"question": "q", "answer": "a", "images": ["bad.png"]},
        {"question": "q", "answer": "a", "images": ["none.png"]},
        {"question": "q {x:3}", "answer": "a"},
        {"question": "q", "answer": "a", "images": 7},
        {"question": "q", "answer": "3", "reward": "mra"},
        {"question": "q", "answer": "3", "question_type": "poem"},
        {"question": "q", "answer": "3", "reward": {"kind": "user", "file": "x.py", "function": "reward"}},
    ]
    records, bad = read(tmp_path, "jsonl", rows, images)
    assert [r.family for r in records] == ["mine", "poem"]  # a type that is no kind of answer is a family
    assert json.loads(records[0].reward) == {"kind": "choice"}
    assert bad == [
        "line is not JSON",
        "row is not an object",
        "answer is none of the options",
        "picture cannot be decoded",
        "picture file is missing",
        "text holds what reads as a coordinate placeholder",
        "picture is neither path nor bytes",
        "reward is not an object with a kind",
        "reward names code (kind user): give the file to train, --config.reward.user_file=FILE",
    ]


def test_synthesis_import_split_by_scene_and_verb(tmp_path, images, capsys):
    rows = [
        {"question": f"q{i}", "answer": "a", "scene_id": f"s{i % 20}", "images": ["crop/0.png"]} for i in range(100)
    ]  # scenes that share a picture are one
    records, _ = read(tmp_path, "jsonl", rows, images, heldout_percent=30)
    assert not {r.scene_id for r in records if r.split == "train"} & {
        r.scene_id for r in records if r.split == "heldout"
    }
    from data_prep.synthesize import main

    assert (
        main(["--import=jsonl", f"--path={tmp_path / 'data.jsonl'}", f"--images={images}", f"--out={tmp_path / 'o'}"])
        == 0
    )
    assert "train 100" in capsys.readouterr().out
    assert main(["--import=jsonl", f"--path={tmp_path / 'none.jsonl'}", f"--out={tmp_path / 'o2'}"]) == 2
    assert set(KINDS) == {"questions", "jsonl", "alpaca", "sharegpt", "ssrl", "vsi100k", "vilasr_rl", "vilasr_sft"}


def test_scenes_of_one_name_do_not_share_frames(tmp_path):
    for place, shade in (("a/0", 10), ("b/0", 20), ("flat/0", 30)):
        (tmp_path / place).mkdir(parents=True)
        Image.new("RGB", (32, 24), (shade,) * 3).save(tmp_path / place / "1.png")
    rows = [{"video": f"{scene}/0.mp4", "question": "How many chairs?", "answer": "4"} for scene in "ab"]
    records, bad = read(tmp_path, "vsi100k", rows, str(tmp_path), "object_counting.json")
    shades = [Image.open(io.BytesIO(r.images[0])).getpixel((0, 0))[0] for r in records]
    assert shades == [10, 20] and not bad
    records, bad = read(tmp_path, "vsi100k", rows, str(tmp_path / "flat"), "object_counting.json")
    assert len(records) == 1 and "could be of a/0 or of b/0" in bad[0]
    row = {"scene_id": "scene_1.5", "question": "How many chairs?", "answer": "4"}
    records, _ = read(tmp_path, "vsi100k", [row], str(tmp_path), "object_counting.json")
    assert records[0].scene_id == "scene_1.5", "a dot is no ending"


def test_the_rate_of_a_scenes_frames_is_told_or_said(tmp_path, images, capsys):
    rows = [{"scene_id": "scene7", "question": "How many chairs?", "answer": "4"}]
    path = tmp_path / "object_counting.json"
    path.write_text(json.dumps(rows))
    made = Import("vsi100k", str(path), images, fps=10.0)
    record = next(made.records(made.survey(0)))
    video = json.loads(record.meta)["video"]
    assert video["fps"] == 10.0 and video["total"] == 20 and video["indices"][0] == 0 and video["indices"][-1] == 19
    frames_module._told.clear()
    assert frames_module.frames_of(images, "scene7").video == {}
    assert "24 a second; --fps=RATE" in capsys.readouterr().out
