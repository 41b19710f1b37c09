"""Loaders on small files in the published layouts; the verb's score_only, compare, table and leakage; pages; frames."""

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from spatial_jax.evals import evaluate_responses, get_benchmark, score_response, write_page
from spatial_jax.evals.frames import frame_places, read_frames
from spatial_jax.evals.leakage import find_leaks, leak_text, perceptual_hash
from spatial_jax.evals.sources import SourceError, as_list, locate, picture, read_rows
from tests.evals.layouts_general import WRITERS_GENERAL
from tests.evals.layouts_more import WRITERS_MORE


def encoded(seed=0, size=(40, 30), kind="PNG"):
    """A picture of coarse coloured patches."""
    patches = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(patches).resize(size, Image.Resampling.BILINEAR).save(out, kind)
    return out.getvalue()


def as_picture(seed=0):
    return {"bytes": encoded(seed), "path": None}


def parquet(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def tsv(path, rows, delimiter="\t"):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_cv_bench(root):
    row = {
        "idx": 0,
        "type": "2D",
        "task": "Count",
        "image": as_picture(),
        "question": "How many?",
        "choices": ["3", "2"],
        "answer": "(B)",
        "prompt": "How many? Select from the following choices.\n(A) 3\n(B) 2",
        "source": "ADE20K",
        "source_filename": "a.jpg",
    }
    parquet(root / "test_2d.parquet", [row])
    parquet(root / "test_3d.parquet", [{**row, "type": "3D", "task": "Depth", "source": "Omni3D"}])


def write_vsi_bench(root):
    parquet(
        root / "test-00000-of-00001.parquet",
        [
            {
                "id": 0,
                "dataset": "scannet",
                "scene_name": "scene0011_00",
                "question_type": "object_counting",
                "question": "q",
                "ground_truth": "4",
                "options": None,
            },
            {
                "id": 1,
                "dataset": "scannet",
                "scene_name": "scene0011_00",
                "question_type": "route_planning",
                "question": "q",
                "ground_truth": "A",
                "options": ["A. left", "B. right"],
            },
        ],
    )


def write_spar_bench(root):
    base = {"image": [as_picture(), as_picture(1)], "question": "q", "img_type": "multi_view"}
    parquet(
        root / "data" / "test-00000.parquet",
        [
            {"id": "1", "answer": "A", "task": "position_matching", **base},
            {"id": "2", "answer": "1.5", "task": "depth_prediction_oc_mv", **base},
        ],
    )


def write_spbench(root):
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(encoded())
    parquet(
        root / "SPBench-SI.parquet",
        [
            {
                "id": 0,
                "dataset": "scannet",
                "scene_name": "s",
                "images": ["a.png"],
                "question": "q",
                "question_type": "object_counting",
                "options": None,
                "ground_truth": "3",
            }
        ],
    )


def write_mmsi_bench(root):
    parquet(
        root / "MMSI_Bench.parquet",
        [
            {
                "id": 0,
                "images": [encoded(), encoded(1)],
                "question_type": "Motion",
                "question": "q Options: A: x, B: y, C: z, D: w",
                "answer": "C",
                "thought": "",
            }
        ],
    )


def write_viewspatial(root):
    (root / "scannetv2_val").mkdir()
    (root / "scannetv2_val" / "0.png").write_bytes(encoded())
    (root / "ViewSpatial-Bench.json").write_text(
        json.dumps(
            [
                {
                    "question_type": "Camera perspective - Relative Direction",
                    "image_path": ["ViewSpatial-Bench/scannetv2_val/0.png"],
                    "question": "Where?",
                    "choices": "A. right\nB. left",
                    "answer": "B. left",
                }
            ]
        )
    )


def write_sat_real(root):
    parquet(
        root / "SAT_test.parquet",
        [
            {
                "image_bytes": [encoded(), encoded(1)],
                "question": "q",
                "answers": ["left", "right"],
                "question_type": "pers",
                "correct_answer": "right",
            }
        ],
    )


def write_blink(root):
    parquet(
        root / "Relative_Depth" / "val-00000.parquet",
        [
            {
                "idx": "val_Relative_Depth_1",
                "sub_task": "Relative_Depth",
                "question": "q",
                "prompt": "p\n(A) A is closer\n(B) B is closer",
                "image_1": as_picture(),
                "image_2": None,
                "image_3": None,
                "image_4": None,
                "choices": ["A is closer", "B is closer"],
                "answer": "(B)",
                "explanation": "",
            }
        ],
    )


def write_srbench_3d(root):
    row = {
        "index": 0,
        "qid": "VIN6MS3J",
        "question": "q",
        "A": "yes",
        "B": "no",
        "C": "",
        "D": "",
        "answer": "A",
        "category": "height_higher",
        "image": base64.b64encode(encoded(0, (300, 200))).decode(),
    }
    tsv(
        root / "3dsrbench_v1_vlmevalkit_circular.tsv",
        [row, {**row, "index": 1, "qid": "VIN6MS3J-1", "A": "no", "B": "yes", "answer": "B"}],
    )


def write_spatial457(root):
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(encoded())
    (root / "questions").mkdir()
    (root / "questions" / "L1_single.json").write_text(
        json.dumps(
            {"questions": [{"image_filename": "a.png", "question_index": 100001, "question": "q", "answer": "suv"}]}
        )
    )


def write_spatial_eval(root):
    parquet(
        root / "vqa" / "test-00000.parquet",
        [
            {
                "id": "spatialmap.vqa.0.2",
                "image": as_picture(),
                "text": "t",
                "oracle_answer": "2",
                "oracle_option": "B",
                "oracle_full_answer": "B. 2",
            }
        ],
    )


def write_q_spatial(root):
    parquet(
        root / "data" / "QSpatial_plus-00000.parquet",
        [
            {
                "question": "q",
                "answer_value": 96.0,
                "answer_unit": "centimeters",
                "question_type": "horizontal",
                "image_path": "x.jpg",
                "image": as_picture(),
            }
        ],
    )


def write_whatsup(root):
    (root / "controlled_images").mkdir()
    (root / "controlled_images" / "mug_left_of_table.jpeg").write_bytes(encoded(0, kind="JPEG"))
    (root / "controlled_images_dataset.json").write_text(
        json.dumps(
            [
                {
                    "image_path": "data/controlled_images/mug_left_of_table.jpeg",
                    "caption_options": ["A mug to the left", "b", "c", "d"],
                }
            ]
        )
    )
    (root / "coco_qa_two_obj.json").write_text(json.dumps([[397133, "A bed above a cat", "A bed below a cat"]]))


def write_embspatial(root):
    jsonl(
        root / "embspatial_bench.json".replace(".json", ".jsonl"),
        [
            {
                "question_id": "mp3d_0",
                "data_source": "mp3d",
                "scene_id": "s",
                "question": "q",
                "relation": "above",
                "image": base64.b64encode(encoded(0, (200, 150))).decode(),
                "answer_options": ["w", "x", "y", "z"],
                "answer": 2,
            }
        ],
    )


def write_realworldqa(root):
    parquet(
        root / "data" / "test-00000.parquet", [{"image": as_picture(), "question": "Which? A. x B. y", "answer": "B"}]
    )


def write_mindcube(root):
    (root / "other_all_image").mkdir()
    (root / "other_all_image" / "a.png").write_bytes(encoded())
    jsonl(
        root / "MindCube_tinybench.jsonl",
        [
            {
                "id": "around_0a_q1",
                "category": [],
                "type": "t",
                "meta_info": [],
                "question": "q <image>",
                "images": ["other_all_image/a.png"],
                "gt_answer": "A",
                "input_prompt": "Look <image> q",
            }
        ],
    )


def write_vsr(root):
    jsonl(
        root / "zeroshot_test.jsonl",
        [
            {
                "image": "000000000001.jpg",
                "caption": "The cat is on the mat.",
                "label": 1,
                "relation": "on",
                "subj": "cat",
                "obj": "mat",
            }
        ],
    )


def write_spatialrgpt_bench(root):
    parquet(
        root / "val.parquet",
        [
            {
                "id": "0",
                "image_info": json.dumps({"file_path": "a.jpg"}),
                "text_q": "How wide?",
                "qa_info": json.dumps({"type": "quantitative", "category": "width_data"}),
                "conversations": json.dumps([{"from": "human", "value": "q"}, {"from": "gpt", "value": "1.0 meter"}]),
                "image": as_picture(),
            }
        ],
    )


def write_omnispatial(root):
    (root / "Complex_Logic").mkdir()
    (root / "Complex_Logic" / "3.png").write_bytes(encoded())
    (root / "data.json").write_text(
        json.dumps(
            [
                {
                    "id": "3_1",
                    "question": "q",
                    "options": ["x", "y"],
                    "answer": 1,
                    "task_type": "Complex_Logic",
                    "sub_task_type": "Pattern",
                }
            ]
        )
    )


def write_general_qa(root):
    (root / "a.png").write_bytes(encoded())
    jsonl(
        root / "items.jsonl",
        [
            {"image": "a.png", "question": "q", "answer": ["two", "2"]},
            {"image": "a.png", "question": "q", "choices": ["cat", "dog"], "answer": "dog"},
        ],
    )


WRITERS = {
    name.removeprefix("write_"): function
    for name, function in list(globals().items())
    if name.startswith("write_") and name != "write_page"
}


def test_every_benchmark_has_a_layout_here():
    from spatial_jax.evals import benchmark_names

    assert set(WRITERS) | set(WRITERS_MORE) | set(WRITERS_GENERAL) == set(benchmark_names())


@pytest.mark.parametrize("name", list(WRITERS))
def test_published_layout(name, tmp_path):
    WRITERS[name](tmp_path)
    benchmark = get_benchmark(name)
    items = benchmark.load(locate(str(tmp_path), benchmark.hub))
    assert items and len({item["id"] for item in items}) == len(items)
    for item in items:
        scoring = "rules" if name == "spatialrgpt_bench" else "official"
        assert score_response(name, benchmark.oracle(item, scoring), item, scoring)["score"] == 1.0
        assert (
            isinstance(benchmark.prompt(item, benchmark.scorings[0]), str)
            and benchmark.category(item)
            and benchmark.scene(item)
        )
        if name not in ("vsi_bench", "vsr"):
            assert item["images"] and (
                name == "whatsup" or all(isinstance(i, bytes) or Path(i).exists() for i in item["images"])
            )
    result = evaluate_responses(
        name, items, {i["id"]: {"responses": [benchmark.oracle(i, scoring)]} for i in items}, scoring=scoring
    )
    assert result["n"] == len(items) and result["families"]


def test_sources(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        locate(str(tmp_path / "none"))
    with pytest.raises(SourceError, match="not on the hub"):
        locate("")
    with pytest.raises(SourceError, match="named like"):
        read_rows(tmp_path)
    (tmp_path / "x.jsonl").write_text('{"a": 1}\nnonsense\n')
    with pytest.raises(SourceError, match="line 2"):
        read_rows(tmp_path)
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(SourceError, match="no items"):
        read_rows(tmp_path)
    assert (
        as_list("['a', 'b']") == ["a", "b"]
        and as_list(None) == []
        and as_list("a") == ["a"]
        and as_list(("a",)) == ["a"]
    )
    assert (
        picture({"bytes": b"x"}, "r") == b"x"
        and picture("none.png", "r") == "r/none.png"
        and picture(None, "r") is None
    )


def test_leaks_are_found(tmp_path):
    image = Image.open(io.BytesIO(encoded(3, (320, 240))))
    smaller = io.BytesIO()
    image.resize((200, 150)).save(smaller, "JPEG", quality=60)
    assert bin(perceptual_hash(image) ^ perceptual_hash(Image.open(smaller))).count("1") <= 6
    items = [
        {"id": "same", "images": [encoded(3, (320, 240))]},
        {"id": "other", "images": [encoded(4, (320, 240))], "scene": "room7"},
        {"id": "gone", "images": ["/none.png"]},
    ]
    training = [
        ("r0", "s0", encoded(3, (320, 240))),
        ("r1", "s1", smaller.getvalue()),
        ("r2", "room7", encoded(9, (320, 240))),
        ("r3", "s3", b"broken"),
    ]
    leaks = find_leaks(training, items)
    assert leaks["exact"] == [{"item": "same", "record": "r0", "bits": 0}] and [
        leak["item"] for leak in leaks["near"]
    ] == ["same"]
    assert leaks["scenes"][0]["record"] == "r2" and leaks["unreadable"] == 2 and leaks["training"] == 3
    assert "1 identical, 1 near" in leak_text("toy", leaks)
    # That nothing was found where nothing was compared read like a clean bill.
    clips = [{"id": "clip", "video": "a.mp4"}, items[2]]
    with pytest.raises(ValueError, match=r"none of 2 items has a picture that can be read.*1 pictures unreadable"):
        find_leaks(training, clips)
    with pytest.raises(ValueError, match=r"no picture of the training set can be read .1 tried"):
        find_leaks(training[3:], items)
    rooms = find_leaks(training, [{**clips[0], "scene": "room7"}])
    assert len(rooms["scenes"]) == 1 and "scenes' ids alone were compared" in leak_text("toy", rooms)


def test_frames_are_spread_and_recorded(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i in range(20):
            for packet in stream.encode(
                av.VideoFrame.from_ndarray(np.full((32, 32, 3), i * 12, np.uint8), format="rgb24")
            ):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    clip = read_frames(path, 4)
    assert clip.frame_indices == (0, 6, 12, 19) and len(clip.frames) == 4 and clip.total == 20 and clip.fps == 10
    assert frame_places(3, 8) == [0, 1, 2] and frame_places(100, 2) == [0, 99]
    with pytest.raises(ValueError, match="no such video"):
        read_frames(tmp_path / "none.mp4", 4)
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(ValueError, match="not a readable video"):
        read_frames(tmp_path / "bad.mp4", 4)


def test_page_shows_pictures_and_escapes_responses(tmp_path):
    write_cv_bench(tmp_path)
    benchmark = get_benchmark("cv_bench")
    items = benchmark.load(tmp_path)
    jsonl(tmp_path / "r.jsonl", [{"id": i["id"], "response": "<script>alert(1)</script> B"} for i in items])
    rows = {i["id"]: {"responses": ["B"]} for i in items}
    result = evaluate_responses("cv_bench", items, rows, extra={"model": "m", "responses": str(tmp_path / "r.jsonl")})
    text = write_page(result, tmp_path / "page.html", items=items).read_text()
    assert (
        "data:image" in text
        and "<script>alert" not in text
        and "&lt;script&gt;alert(1)" in text
        and "best blind guess" in text
    )


def verb(capsys, *args, code=None):
    """What the verb prints, run in this process."""
    from absl import flags

    from spatial_jax import evaluate

    flags.FLAGS.unparse_flags()
    rest = flags.FLAGS(["evaluate", *args])
    try:
        if code is None:
            evaluate.run(rest)
        else:
            with pytest.raises(SystemExit) as stop:
                evaluate.run(rest)
            assert stop.value.code == code
    finally:
        for flag in flags.FLAGS.get_key_flags_for_module("spatial_jax.evals.flags"):
            if flag.name != "config":
                flag.unparse()
    captured = capsys.readouterr()
    return captured.out if code is None else captured.err


def test_verb_scores_compares_and_tabulates(tmp_path, capsys):
    data = tmp_path / "data"
    data.mkdir()
    write_cv_bench(data)
    ids = [i["id"] for i in get_benchmark("cv_bench").load(data)]
    for name, answer in (("a", "A"), ("b", "The answer is B")):
        jsonl(tmp_path / f"{name}.jsonl", [{"id": i, "response": answer} for i in ids])
        text = verb(
            capsys,
            f"--score_only={tmp_path}/{name}.jsonl",
            "--benchmark=cv_bench",
            f"--data={data}",
            f"--out={tmp_path}/{name}.json",
        )
        assert "scoring official" in text and (tmp_path / f"{name}.html").exists()
    assert "+100.0" in verb(capsys, "--compare", f"{tmp_path}/a.json", f"{tmp_path}/b.json")
    assert "Li 2025 (published)" in verb(capsys, "--table=li2025", f"{tmp_path}/a.json", f"{tmp_path}/b.json")
    jsonl(tmp_path / "carried.jsonl", [{"id": "x", "response": "yes", "item": {"label": 1}}])
    assert "vsr: 1 items" in verb(capsys, f"--score_only={tmp_path}/carried.jsonl", "--benchmark=vsr")
    error = verb(capsys, f"--score_only={tmp_path}/a.jsonl", "--benchmark=cv_bench", f"--data={tmp_path}/none", code=2)
    assert error.startswith("evaluate: ") and "no such file" in error and error.count("\n") == 1
    assert "--score_only needs --benchmark" in verb(capsys, f"--score_only={tmp_path}/a.jsonl", code=2)
    assert "nothing to do" in verb(capsys, code=2)
