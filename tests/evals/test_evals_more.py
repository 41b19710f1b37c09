"""The newer spatial benchmarks and the general ones: files of the published shape, scorer
cases, tagged answers, aggregation.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from spatial_jax.evals import evaluate_responses, get_benchmark, score_response
from spatial_jax.evals.benchmarks import mmsi_video, osi_bench
from spatial_jax.evals.benchmarks.erqa import insert_marks
from spatial_jax.evals.intervals import Cell
from spatial_jax.evals.points import mask_of
from tests.evals.cases_general import CASES_GENERAL
from tests.evals.cases_more import CASES_MORE, OSI_N, POINT, SITE, STI
from tests.evals.layouts_general import WRITERS_GENERAL
from tests.evals.layouts_more import WRITERS_MORE, as_mask, base64_text, encoded, parquet, tsv

CASES = CASES_MORE + CASES_GENERAL
WRITERS = {**WRITERS_MORE, **WRITERS_GENERAL}


@pytest.mark.parametrize("name,scoring,item,response,score", CASES)
def test_scores_as_the_authors_code(name, scoring, item, response, score):
    got = score_response(name, response, {"id": "x", **item}, scoring)["score"]
    assert got == pytest.approx(score, abs=1e-9)


def has_no_plain_answer(name, scoring, item):
    """Items without one right and one wrong answer: truths of 0, grey masks, judged items, too few people's answers."""
    if "mask" in item and name != "pointbench":
        return item["mask"].max() < 255 or (name == "where2place" and item["mask"].shape != (480, 640))
    if name == "site_bench" and isinstance(item["options"], str):
        return scoring != "vlmevalkit"
    if name == "pointbench" or ("answers" in item and "answer" in item):
        return item.get("category") == "counting" or "split" in item
    few = name == "textvqa" and max(map(item["answers"].count, item["answers"])) < 4
    return few or item.get("answer") in ("0", "0.0", 0.0) or "judge" in item


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_files_as_published_are_read(name, tmp_path):
    WRITERS[name](tmp_path)
    benchmark = get_benchmark(name)
    items = benchmark.load(tmp_path)
    assert items and len({i["id"] for i in items}) == len(items)
    for item in items:
        for scoring in benchmark.scorings:
            assert benchmark.prompt(item, scoring).strip()
            assert score_response(name, benchmark.oracle(item, scoring), item, scoring)["score"] == 1.0, scoring
        assert item["images"] or item["video"]
        assert all(isinstance(i, bytes) or Path(i).exists() for i in item["images"])
    rows = {i["id"]: {"responses": [benchmark.oracle(i, "official")]} for i in items}
    result = evaluate_responses(name, items, rows)
    assert result["n"] == len(items)
    assert result["metrics"]["overall"] == (1 / 14 if name == "mme" else 1.0)  # MME: one of fourteen tasks


def test_site_is_chance_adjusted_over_pooled_items():
    items, rows = [], {}
    for number, (options, answer) in enumerate(((2, "A"), (2, "B"), (4, "A"), (4, "A"))):
        item = {**SITE, "id": str(number), "options": list("wxyz")[:options], "answer": "A"}
        items.append({**item, "category": "a" if number < 3 else "b"})
        rows[str(number)] = {"responses": [answer]}
    metrics = evaluate_responses("site_bench", items, rows)["metrics"]
    expected = (3 - 2 / 2 - 2 / 4) / (2 * 0.5 + 2 * 0.75)
    assert metrics["overall"] == pytest.approx(expected) and metrics["accuracy"] == 0.75
    assert metrics["a"] == pytest.approx((2 - 1.25) / 1.75) and metrics["b"] == 1.0
    wrong = evaluate_responses("site_bench", items, {k: {"responses": ["Z"]} for k in rows})["metrics"]
    assert wrong["overall"] == pytest.approx(-1.5 / 2.5)  # worse than a guesser


def test_site_tsv_files_bring_their_own_pictures(tmp_path):
    row = {"index": 4, "question": "q", "options": "['one', 'two']", "answer": "B", "category": "c"}
    picture = json.dumps([base64_text(encoded(0, (200, 200)))])
    tsv(tmp_path / "SiteBenchImage.tsv", [{**row, "image": picture, "image_path": "['a.jpg']"}])
    item = get_benchmark("site_bench").load(tmp_path)[0]
    assert item["images"] == [encoded(0, (200, 200))] and item["options"] == ["one", "two"] and not item["video"]


def test_prompts_of_pictures_and_videos():
    site = get_benchmark("site_bench")
    assert site.prompt({**SITE, "images": [b"", b""]}, "official") == (
        "<image><image>\nQuestion: q\nOptions:\nA: a cup\nB: two cups\nC: three\n"
        "Give me the answer letter directly. The best answer is:"
    )
    assert site.prompt({**SITE, "question": "In <image>?"}, "official").startswith("Question: In <image>?")
    assert site.prompt({**SITE, "video": "v.mp4"}, "official").startswith("Select the best answer to the following")
    assert get_benchmark("sti_bench").prompt(STI, "official") == (
        "From 0 s to 2.5 s. q\n(A) x\n(B) y\n(C) z\n(D) v\n(E) w\nPlease output only the option letter!"
    )
    assert get_benchmark("refspatial").prompt(POINT, "official") == "Point at the cup. As tuples."
    assert (
        get_benchmark("osi_bench")
        .prompt({**OSI_N, "video_length": 3.456}, "official")
        .startswith(
            "The video is 3.46 seconds long. The following 32 frames are uniformly sampled from it in"
            " chronological order:\nThese are frames of a video.\n"
        )
    )
    assert (
        insert_marks("ab cd", [3, 0], 2) == "<image>ab <image>cd"
        and insert_marks("ab", [0, 0], 2) == "<image><image>ab"
    )
    assert insert_marks("ab", [1], 2) == "<image><image>ab"


def test_clips_share_fifty_frames_and_stand_at_their_marks(tmp_path):
    assert mmsi_video.sample_frames([10, 20]) == [list(range(10)), list(range(20))]
    picked = mmsi_video.sample_frames([1000, 1, 200])
    assert picked[0][0] == 0 and picked[2][-1] == 199 and picked[1] == [0]
    assert sum(map(len, picked)) in (50, 51)
    WRITERS_MORE["mmsi_video"](tmp_path)
    item = get_benchmark("mmsi_video").load(tmp_path)[0]
    assert [Path(i).name for i in item["images"]] == ["0.jpg", "1.jpg", "r.png", "0.jpg"]
    text = get_benchmark("mmsi_video").prompt(item, "official")
    assert text == "You see videos.\nTask. First <image><image> then <image> and <image>. One letter."
    result = evaluate_responses("mmsi_video", [item], {"1": {"responses": ["F"]}})
    assert result["metrics"]["Easy2hard: level_1"] == 1.0 and "Robot" not in result["metrics"]


def test_revsi_reads_one_config_and_refuses_a_mix(tmp_path):
    WRITERS_MORE["revsi"](tmp_path)
    items = get_benchmark("revsi").load(tmp_path)
    assert len(items) == 2 and items[0]["show_frames"] == 32 and "32_frame/s0.mp4" in items[0]["video"]
    wide = get_benchmark("revsi").load(tmp_path / "64_frame")
    assert len(wide) == 1 and wide[0]["show_frames"] == 64
    parquet(tmp_path / "mix" / "16_frame" / "a.parquet", [{"scene_id": "s"}])
    parquet(tmp_path / "mix" / "64_frame" / "a.parquet", [{"scene_id": "s"}])
    with pytest.raises(ValueError, match="16_frame, 64_frame"):
        get_benchmark("revsi").load(tmp_path / "mix")
    cells = {
        "object_rel_direction_forward_easy": Cell(1.0, 1.0),
        "object_rel_direction_backward_hard": Cell(0.0, 3.0),
        "route_planning": Cell(1.0, 2.0),
    }
    metrics = get_benchmark("revsi").aggregate(cells, "official")
    assert metrics["rel_direction"] == 0.5 and metrics["overall"] == 0.5


def test_only_the_debiased_rows_are_read(tmp_path):
    WRITERS_MORE["vsi_debiased"](tmp_path)
    assert [i["id"] for i in get_benchmark("vsi_debiased").load(tmp_path)] == ["7"]


def test_masks_of_every_published_form(tmp_path):
    data = as_mask()
    (tmp_path / "m.png").write_bytes(data)
    forms = [data, {"bytes": data}, {"path": str(tmp_path / "m.png")}, str(tmp_path / "m.png"), base64_text(data)]
    for form in [*forms, np.asarray(mask_of(data)), (mask_of(data) > 0).tolist()]:
        assert mask_of(form).shape == (30, 40) and mask_of(form)[0, 39] == 255 and mask_of(form)[0, 0] == 0
    with pytest.raises(ValueError, match="no file and no encoded"):
        mask_of("nothing.png")
    with pytest.raises(ValueError, match="cannot be decoded"):
        mask_of(b"nonsense")


def test_a_box_without_end_is_summed_not_listed():
    item = {"id": "x", **POINT}
    for scoring in get_benchmark("refspatial").scorings:
        for text in ("(0, 0, 99999999, 99999999)", "(-9999999, -9999999, 9999999, 9999999)", "(5, 5, 1, 1)"):
            assert 0.0 <= score_response("refspatial", text, item, scoring)["score"] <= 1.0


def test_osi_motion_thresholds():
    assert osi_bench.relative(2.4, 0, "trajectory_length") == pytest.approx(0.7)
    assert osi_bench.relative(0.2, 0, "absolute_distance") == 0.0


def test_blink_files_of_both_layouts(tmp_path):
    tsv(
        tmp_path / "BLINK.tsv",
        [
            {
                "index": 3,
                "question": "Which?",
                "A": "one",
                "B": "two",
                "C": "",
                "answer": "B",
                "category": "jigsaw",
                "image": json.dumps([base64_text(encoded(s, (200, 200))) for s in range(2)]),
            }
        ],
    )
    blink = get_benchmark("blink")
    item = blink.load(tmp_path)[0]
    assert blink.category(item) == "Jigsaw" and item["choices"] == ["one", "two"] and len(item["images"]) == 2
    assert blink.prompt(item, "official").startswith("Disclaimer: ") and "(B) two" in blink.prompt(item, "official")
    assert list(blink.guesses(item)) == ["A", "B"]


@pytest.mark.parametrize(
    "text,letter",
    [
        ("E", "E"),
        ("(C)", "C"),
        ("(A) is wrong since ..\n\n(B)", "B"),
        ("(A) looks near.\n\n(A) and (B)", "A"),
        ("(A).", "A"),
        ("(Z)", None),
    ],
)
def test_blink_reads_by_the_official_rule_first(text, letter):
    item = {"id": "val_Counting_1", "answer": "(A)", "choices": ["1", "2", "3", "4"]}
    assert score_response("blink", text, item)["parsed"] == letter


def test_blink_saved_outputs_are_scored_as_published(tmp_path):
    from benchmarks.blink_published import measure

    answers = {f"val_{task}_{i}": "(A)" for task in ("Counting", "Jigsaw") for i in range(2)}
    (tmp_path / "saved_val_predictions").mkdir()
    (tmp_path / "val_answers.json").write_text(json.dumps(answers))
    readings = {"val_Counting_0": "(A)", "val_Counting_1": "(A)", "val_Jigsaw_0": "(A)", "val_Jigsaw_1": "(B) two"}
    (tmp_path / "saved_val_predictions" / "M.json").write_text(json.dumps(readings))
    texts = [{"idx": "val_Jigsaw_0", "answer": "(A)", "full_prediction": "(A) one", "prediction": "(A)"}]
    (tmp_path / "saved_outputs" / "M").mkdir(parents=True)
    (tmp_path / "saved_outputs" / "M" / "Jigsaw.json").write_text(json.dumps({"val": texts}))
    from spatial_jax.evals.benchmarks import blink

    row = measure(tmp_path, subtasks=("Counting", "Jigsaw"))["M"]
    assert row["ours"] == 75.0 and row["subtasks"] == {"Counting": 100.0, "Jigsaw": 50.0}
    assert row["texts"]["as_judge"] == 1.0 and sum(n for n, _ in blink.SUBTASKS.values()) == 1901
