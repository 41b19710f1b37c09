"""Aggregation rules, intervals, pass@k, paired comparison, blind priors, tables, the responses file."""

import json

import numpy as np
import pytest

from spatial_jax.data.records import QuestionRecord
from spatial_jax.evals import (
    compare,
    compare_table,
    evaluate_heldout,
    evaluate_responses,
    get_benchmark,
    read_responses,
    read_result,
    result_table,
    write_result,
)
from spatial_jax.evals.intervals import (
    Cell,
    best_at_k,
    build_cells,
    macro,
    mean_interval,
    paired_difference,
    pass_at_k,
    pool,
    powers_of_two,
)
from spatial_jax.evals.responses import ResponseLog


def cells(**values):
    return {name: Cell(float(sum(v)), float(len(v))) for name, v in values.items()}


def test_pass_at_k_is_unbiased():
    rng = np.random.default_rng(0)
    for right, n, k in ((3, 8, 2), (1, 8, 4), (0, 5, 3), (5, 5, 2)):
        flags = np.array([1] * right + [0] * (n - right))
        drawn = np.mean([flags[rng.permutation(n)[:k]].any() for _ in range(4000)])
        assert pass_at_k(right, n, k) == pytest.approx(drawn, abs=0.03)
        assert best_at_k(flags, k) == pytest.approx(pass_at_k(right, n, k))
    assert best_at_k([0.2, 0.8], 1) == pytest.approx(0.5) and best_at_k([0.2, 0.8], 2) == 0.8
    assert powers_of_two(8) == [1, 2, 4, 8] and powers_of_two(6) == [1, 2, 4, 6]
    with pytest.raises(ValueError, match="take more samples"):
        pass_at_k(1, 4, 5)


def test_intervals_resample_scenes():
    rng = np.random.default_rng(1)
    scene_means = rng.random(50)
    values, scenes = np.repeat(scene_means, 20), [f"s{i}" for i in range(50) for _ in range(20)]
    low, high = mean_interval(values, scenes)
    apart = mean_interval(values, [str(i) for i in range(1000)])
    assert high - low > 3 * (apart[1] - apart[0])  # twenty equal items of a scene are one observation
    assert low < values.mean() < high
    assert (high - low) / 2 == pytest.approx(1.96 * scene_means.std() / 50**0.5, rel=0.25)
    assert np.isnan(mean_interval(np.array([np.nan]), ["a"])).all()


def test_interval_covers_the_truth_about_95_percent_of_the_time():
    rng, covered = np.random.default_rng(2), 0
    for _ in range(200):
        values = (rng.random(60) < 0.6).astype(float)
        low, high = mean_interval(values, [str(i) for i in range(60)], replicates=400)
        covered += low <= 0.6 <= high
    assert 0.88 < covered / 200 <= 1.0


def test_paired_difference():
    rng = np.random.default_rng(3)
    base = rng.random(300)
    scenes = [str(i // 3) for i in range(300)]
    same = paired_difference(base, base, scenes)
    assert same["difference"] == 0 and same["p"] == 1.0
    better = paired_difference(base, base + 0.05 + 0.01 * rng.standard_normal(300), scenes)
    assert better["low"] > 0.04 and better["p"] < 0.01 and better["scenes"] == 100
    noise = paired_difference(base, base + 0.2 * rng.standard_normal(300), scenes)
    assert noise["low"] < 0 < noise["high"] and noise["p"] > 0.01


def test_cells_average():
    built = build_cells(np.array([1.0, 0.0, np.nan, 1.0]), ["a", "a", "a", "b"])
    assert (
        built["a"].mean == 0.5
        and pool(list(built.values())).mean == pytest.approx(2 / 3)
        and macro([0.5, 1.0, np.nan]) == 0.75
    )


def aggregate(name, scoring="official", **values):
    return {k: float(v) for k, v in get_benchmark(name).aggregate(cells(**values), scoring).items()}


def test_cv_bench_weights_its_sources():
    values = {"Count|ADE20K": [1, 1, 1, 1], "Relation|COCO": [0, 0], "Depth|Omni3D": [1, 0], "Distance|Omni3D": [1, 0]}
    assert aggregate("cv_bench", **values)["overall"] == pytest.approx(0.5 * ((1 + 0) / 2 + 0.5))
    assert aggregate("cv_bench", "lmms_eval", **values)["overall"] == pytest.approx(6 / 10)
    harness = aggregate("cv_bench", "vlmevalkit", **values)
    assert harness["2D"] == 0.5 and harness["3D"] == 0.5 and "overall" not in harness


def test_vsi_bench_directions_are_one_of_eight():
    types = {
        "object_counting": [1],
        "object_abs_distance": [1],
        "object_size_estimation": [1],
        "room_size_estimation": [1],
        "object_rel_distance": [0],
        "route_planning": [0],
        "obj_appearance_order": [0],
        "object_rel_direction_easy": [1, 1, 1, 1],
        "object_rel_direction_medium": [0],
        "object_rel_direction_hard": [0],
    }
    out = aggregate("vsi_bench", **types)
    assert out["object_rel_direction"] == pytest.approx(1 / 3) and out["overall"] == pytest.approx((4 + 1 / 3) / 8)
    assert aggregate("vsi_bench", "vilasr", **types)["object_rel_direction"] == pytest.approx(4 / 6)
    assert aggregate("vsi_bench", "vlmevalkit", **types)["overall"] == pytest.approx((4 + 4 / 6) / 8)
    ladder = {k: v for k, v in types.items() if not k.endswith("hard")}
    assert aggregate("vsi_bench", "spatialladder", **types)["overall"] == pytest.approx((4 + 1 / 3) / 8)
    assert aggregate("vsi_bench", "spatialladder", **ladder)["overall"] == pytest.approx(4 / 8)


def test_spar_bench_middle_leaves_view_change_out():
    values = {
        "view_change_infer": [0],
        "position_matching": [1],
        "camera_motion_infer": [1],
        "depth_prediction_oc": [0.5],
    }
    assert aggregate("spar_bench", **values)["Middle"] == 1.0 and aggregate("spar_bench", "vlmevalkit", **values)[
        "Middle"
    ] == pytest.approx(2 / 3)
    assert aggregate("spar_bench", **values)["overall"] == pytest.approx(2.5 / 4)


def test_other_aggregations():
    assert aggregate("blink", Relative_Depth=[1, 1, 1], Spatial_Relation=[0])["overall"] == 0.5
    assert aggregate("blink", "lmms_eval", Relative_Depth=[1, 1, 1], Spatial_Relation=[0])["overall"] == 0.75
    cube = {"around|around": [1], "translation|other": [0, 0, 0], "among|among": [1]}
    assert (
        aggregate("mindcube", **cube)["overall"] == 1.0 and aggregate("mindcube", "lmms_eval", **cube)["overall"] == 0.4
    )
    assert aggregate("omnispatial", **{"t|s": [1, 1]})["overall"] == pytest.approx(2 / (2 + 1e-6), abs=1e-12)
    assert aggregate("whatsup", controlled_images=[1, 1, 1], coco_qa_one_obj=[0])["overall"] == 0.5


def run(name, pairs, scoring="official", **fields):
    items = [{"id": str(i), **item} for i, (item, _) in enumerate(pairs)]
    rows = {
        str(i): {"responses": answers if isinstance(answers, list) else [answers]}
        for i, (_, answers) in enumerate(pairs)
    }
    return evaluate_responses(name, items, rows, scoring=scoring, **fields)


def test_3dsrbench_groups():
    base = {"A": "yes", "B": "no", "category": "height_higher", "question": "q"}
    names = ["VIN6MS3J", "VIN6MS3J-1", "VIN6MS3J-flip", "VIN6MS3J-flip-1", "AAAAAAAA", "AAAAAAAA-flip"]
    items = [{**base, "qid": n, "id": n, "answer": "A"} for n in names]
    rows = {n: {"responses": ["B" if n == "VIN6MS3J-flip-1" else "A"]} for n in names}
    metrics = evaluate_responses("srbench_3d", items, rows)["metrics"]
    assert metrics["overall"] == pytest.approx(5 / 6)
    assert (
        metrics["flip"] == pytest.approx(2 / 3)
        and metrics["circular"] == pytest.approx(3 / 4)
        and metrics["flip_circular"] == pytest.approx(1 / 2)
    )


def test_whatsup_pairs_and_sets():
    pairs = []
    for relation, answer in (("left_of", "A"), ("right_of", "A"), ("on", "A"), ("under", "B")):
        pairs.append(
            (
                {
                    "image_path": f"data/x/mug_{relation}_table.jpeg",
                    "caption_options": ["a", "b", "c", "d"],
                    "subset": "controlled_images",
                },
                answer,
            )
        )
    metrics = run("whatsup", pairs)["metrics"]
    assert (
        metrics["overall"] == 0.75
        and metrics["pair_controlled_images"] == 0.5
        and metrics["set_controlled_images"] == 0.0
    )


def test_vsr_precision_and_recall():
    metrics = run("vsr", [({"label": 1}, "yes"), ({"label": 1}, "well"), ({"label": 0}, "yes"), ({"label": 0}, "no")])[
        "metrics"
    ]
    assert (
        metrics["overall"] == 0.5 and metrics["precision"] == 0.5 and metrics["recall"] == 0.5 and metrics["f1"] == 0.5
    )


def test_spatialrgpt_errors():
    item = {"qa_info": {"type": "quantitative", "category": "width_data"}, "answer": "1 meter"}
    metrics = run("spatialrgpt_bench", [(item, "1.5 m"), (item, "1 m"), (item, "no idea")], "rules")["metrics"]
    assert metrics["Quan_overall"] == pytest.approx(1 / 3) and metrics["Quan_width_absrel"] == 0.25


MCA = {"question_type": "object_rel_distance", "ground_truth": "B", "options": ["A. x", "B. y"]}
NUM = {"question_type": "object_abs_distance", "options": None}


def test_result_of_a_benchmark(caplog):
    pairs = [({**MCA, "scene": f"s{i // 4}"}, ["B", "A"] if i % 2 else ["B", "B"]) for i in range(20)]
    pairs += [({**NUM, "ground_truth": str(1 + i % 3), "scene": f"s{i}"}, ["2", "2"]) for i in range(9)]
    pairs += [({**NUM, "ground_truth": "0"}, ["1", "1"]), ({**NUM, "ground_truth": None}, ["1", "1"])]
    result = run("vsi_bench", pairs, extra={"model": "m"})
    assert result["n"] == 29 and result["left_out"] == 2 and result["samples"] == 2
    row = result["families"]["object_rel_distance"]
    assert row["reward"] == 0.75 and row["pass@1"] == 0.75 and row["pass@2"] == 1.0 and row["pass_gap"] == 0.25
    assert row["prior_constant"] == 1.0 and row["prior_answer"] == "B" and result["prior"]["overall"] > 0.5
    assert result["intervals"]["overall"][0] < result["metrics"]["overall"] < result["intervals"]["overall"][1]
    text = result_table(result)
    assert "scoring official" in text and "blind prior" in text and "[" in text


def test_items_without_pictures_score_zero_and_missing_ids_are_counted():
    items = [
        {"id": "a", "task": "spatial_imagination_oc", "answer": "B"},
        {"id": "b", "task": "spatial_imagination_oc", "answer": "B"},
    ]
    result = evaluate_responses(
        "spar_bench", items, {"a": {"responses": [], "error": "no picture"}, "x": {"responses": ["B"]}}
    )
    assert result["metrics"]["overall"] == 0.0 and result["unanswered"] == 1  # although an empty answer would be right
    with pytest.raises(ValueError, match="nothing to score"):
        evaluate_responses("spar_bench", items, {"x": {"responses": ["B"]}})


def test_rotation_robustness():
    from spatial_jax.evals.scoring import rotated_items

    items = rotated_items(
        "embspatial",
        [
            {"id": str(i), "answer": i % 4, "answer_options": list("wxyz"), "relation": "left", "data_source": "mp3d"}
            for i in range(8)
        ],
        4,
    )
    assert len(items) == 32 and items[1]["id"] == "0@r1"
    always_a = evaluate_responses("embspatial", items, {i["id"]: {"responses": ["A"]} for i in items})
    assert (
        always_a["n"] == 8
        and always_a["rotation"]["circular"] == 0.0
        and always_a["rotation"]["any"] == 1.0
        and always_a["rotation"]["changed"] == 1.0
    )
    oracle = evaluate_responses("embspatial", items, {i["id"]: {"responses": ["ABCD"[i["answer"]]]} for i in items})
    assert oracle["rotation"]["circular"] == 1.0
    with pytest.raises(ValueError, match="cannot be rotated"):
        rotated_items("vsr", [{"id": "0"}], 2)


def test_compare_results(tmp_path):
    pairs = [({**MCA, "scene": f"s{i}"}, "A" if i % 2 else "B") for i in range(40)]
    a = run("vsi_bench", pairs, extra={"model": "a"})
    b = run("vsi_bench", [(item, "B") for item, _ in pairs], extra={"model": "b"})
    write_result(tmp_path / "a.json", a)
    write_result(tmp_path / "b.json", b)
    outcome = compare(tmp_path / "a.json", tmp_path / "b.json")
    assert (
        outcome["overall"]["score"]["difference"] == 0.5
        and outcome["overall"]["score"]["p"] < 0.01
        and outcome["n"] == 40
    )
    assert "+50.0" in compare_table(outcome) and read_result(tmp_path / "a.json")["metrics"] == pytest.approx(
        a["metrics"]
    )
    with pytest.raises(ValueError, match="one benchmark and one scoring"):
        compare(a, {**b, "scoring": "lmms_eval"})
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(ValueError, match="not an evaluation result"):
        read_result(tmp_path / "c.json")


def record(i, split, kind="height"):
    if kind == "height":
        thing, height = [("chair", 0.9), ("table", 0.75), ("lamp", 1.6)][i % 3]
        return QuestionRecord(
            f"{split}/{kind}/{i}",
            "s",
            split,
            f"scene{i // 4}",
            (),
            (),
            (),
            f"How tall is the {thing} in metres?",
            "number",
            f"{height * (1 + i % 5 / 50):.2f}",
            unit="m",
            reward='{"kind": "mra"}',
            family=kind,
        )
    return QuestionRecord(
        f"{split}/{kind}/{i}",
        "s",
        split,
        f"scene{i // 4}",
        (),
        (),
        (),
        "Which is closer?",
        "mcq",
        "A" if i % 4 else "B",
        options=("cup", "box"),
        reward='{"kind": "choice", "format": "answer_tag", "format_weight": 0.1}',
        family=kind,
    )


def test_heldout_families_priors_and_compare():
    train = [record(i, "train", kind) for i in range(60) for kind in ("height", "closer")]
    held = [record(i, "heldout", kind) for i in range(24) for kind in ("height", "closer")]
    right = evaluate_heldout(
        "toy",
        held,
        [{"responses": [r.answer if r.family == "height" else f"<answer>{r.answer}</answer>"] * 4} for r in held],
        train,
        extra={"model": "oracle"},
    )
    assert (
        right["metrics"]["overall"] == pytest.approx(1.0)
        and right["metrics"]["pass@4"] == 1.0
        and right["metrics"]["unparsed"] == 0.0
    )
    assert right["families"]["closer"]["prior_constant"] == pytest.approx(
        0.75 * 0.9 + 0.1
    )  # the letter that is right three times of four, in the asked form
    assert right["families"]["height"]["prior_words"] > right["families"]["height"]["prior_constant"] > 0.2
    assert right["families"]["closer"]["prior_accuracy_constant"] == 0.75
    mute = evaluate_heldout("toy", held, [{"responses": ["hm"]} for _ in held], extra={"model": "mute"})
    assert mute["metrics"]["overall"] == 0.0 and mute["metrics"]["unparsed"] == 1.0 and "prior" not in mute
    assert compare(mute, right)["overall"]["correct"]["difference"] == 1.0
    with pytest.raises(ValueError, match="lists of responses"):
        evaluate_heldout("toy", held, [{"responses": ["x"]}])


def test_response_log_resumes_and_refuses_other_settings(tmp_path):
    path = tmp_path / "r.jsonl"
    log = ResponseLog(path, {"model": "m", "samples": 2})
    log.add({"id": "a", "responses": ["x", "y"]})
    log.add({"id": "b", "responses": ["\ud800 odd", "ü"]})
    log.close()
    with open(path, "ab") as file:
        file.write(b'{"id": "c", "respon')  # killed in the middle of a line
    log = ResponseLog(path, {"model": "m", "samples": 2})
    assert set(log.rows) == {"a", "b"}
    log.add({"id": "c", "responses": ["z", "z"]})
    log.close()
    assert read_responses(path)["c"]["responses"] == ["z", "z"] and len(path.read_text().splitlines()) == 4
    with pytest.raises(ValueError, match="samples: 2 there, 4 here"):
        ResponseLog(path, {"model": "m", "samples": 4})


def test_any_models_responses_are_read(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text(
        '{"idx": 3, "full_prediction": "text", "prediction": "(A)"}\n{"idx": 3, "response": "b"}\n\n{"question_id":'
        ' "q", "output": null}\n'
    )
    rows = read_responses(path)
    assert rows["3"]["responses"] == ["text", "b"] and rows["3"]["judge"] == "(A)" and rows["q"]["responses"] == [""]
    path.write_text(json.dumps([{"id": "a", "text": "x"}]))
    assert read_responses(path)["a"]["responses"] == ["x"]
    for content, words in (
        ('{"response": "x"}\n', "no id"),
        ('{"id": 1}\n', "no response"),
        ("x\n{}\n", "line 1"),
        ("[1, 2", "not JSON"),
        ("3\n\n", "not an object"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=words):
            read_responses(path)
