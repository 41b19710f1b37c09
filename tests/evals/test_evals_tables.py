"""The papers' tables from canned results: columns, published rows, pass@k, forms, what is missing and what differs."""

import json

import pytest

from launch.sweep_results import paper_table
from spatial_jax.evals import build_table
from spatial_jax.evals.paper_tables import TABLES
from spatial_jax.evals.results import read_results
from spatial_jax.evals.suites import SUITES, suite_text
from spatial_jax.evals.tables import table_text


def result(name, families=None, metrics=None, scoring="official", model="m", **more):
    return {
        "benchmark": name,
        "scoring": scoring,
        "model": model,
        "n": 10,
        "metrics": metrics or {"overall": 0.5},
        "items": [],
        "families": {f: {"reward": v, "n": n} for f, (v, n) in (families or {}).items()},
        **more,
    }


def test_li_table_and_the_others():
    cv = result("cv_bench", {"Relation": (0.8, 10), "Depth": (0.6, 10), "Distance": (0.5, 10), "Count": (0.1, 10)})
    vsi = result(
        "vsi_bench",
        {
            "object_rel_direction_easy": (0.5, 30),
            "object_rel_direction_hard": (0.3, 10),
            "object_abs_distance": (0.2, 5),
            "object_rel_distance": (0.4, 5),
        },
        {"overall": 0.4, "object_counting": 0.3},
    )
    table = build_table("li2025", [cv, vsi, result("toy", {"abs_depth": (0.7, 3)}, scoring="reward")])
    row = table["rows"]["m"]
    assert row["Relation"]["macro"] == pytest.approx(100 * (0.8 + 0.4) / 2) and row["Relation"][
        "micro"
    ] == pytest.approx(100 * (8 + 15 + 3) / 50)
    assert row["Distance"]["macro"] == pytest.approx(100 * (0.5 + 0.2 + 0.4) / 3) and row["Abs. depth"][
        "macro"
    ] == pytest.approx(70.0)
    text = table_text(table)
    assert (
        "cv_bench: official" in text
        and "Li 2025 (published)" in text
        and "not there for m" in text
        and "mapping is ours" in text
    )
    assert build_table("vsgrpo", [vsi])["rows"]["m [vanilla]"]["Count"]["macro"] == pytest.approx(30.0)
    assert "Avg" in table_text(build_table("spatial_ssrl", [vsi])) and "Maze" in table_text(
        build_table("vilasr", [vsi])
    )
    with pytest.raises(ValueError, match="li2025"):
        build_table("li", [cv])
    with pytest.raises(ValueError, match="none of the results"):
        build_table("vsgrpo", [cv])


def line_of(text, start):
    return next(line for line in text.splitlines() if line.strip().startswith(start))


def test_published_rows_are_whole():
    for name, table in TABLES.items():
        for model, values in table.published.items():
            assert len(values) == len(table.columns), (name, model)
    assert len(TABLES["li2025"].published) == 6 and len(TABLES["li2025_ablation"].published) == 7
    for suite in SUITES.values():
        assert all(len(values) == len(suite.members) for values in suite.published.values())


def test_vsgrpo_compares_three_forms():
    scores = {"overall": 0.3, "object_counting": 0.5}
    results = [result("vsi_bench", metrics=scores, form=form) for form in ("think_answer", "published")]
    table = build_table("vsgrpo", results)
    assert set(table["rows"]) == {"m [think]", "m [vanilla]"}
    text = table_text(table)
    assert "m was not asked: observe (--prompt_mode=observe_answer)" in text
    assert line_of(text, "vsGRPO-7B [vanilla] (published)").split()[3:] == [
        "40.7",
        "59.9",
        "29.6",
        "50.8",
        "48.3",
        "35.4",
        "35.6",
        "34.0",
        "31.5",
    ]
    assert "not there for m [think]: vsi_bench: object_abs_distance" in text


def test_questions_on_own_rooms_stand_beside_vsgrpos_rows():
    own = result("walks", {"vsi_object_counting": (0.5, 4), "vsi_route_planning": (0.1, 2)}, scoring="reward")
    other = result("vsi_bench", metrics={"overall": 0.3, "object_counting": 0.4}, form="vanilla")
    greedy = {**own, "rule": {"format": "think_answer"}}
    sampled = {**own, "rule": {"format": "none"}, "sampling": {"temperature": 1.0}}
    rows = build_table("vsgrpo", [greedy, sampled, other])["rows"]
    assert set(rows) == {"m [vanilla]", "m [think], own rooms", "m [vanilla, sampled], own rooms"}
    assert rows["m [vanilla]"]["Count"]["macro"] == pytest.approx(40.0)
    shown = rows["m [think], own rooms"]
    assert shown["Count"]["macro"] == pytest.approx(50.0) and shown["Route"]["macro"] == pytest.approx(10.0)
    assert shown["Avg"]["macro"] == pytest.approx(30.0) and not shown["AbsDist"]["n"]
    # Two sets of rooms are two rows, and a form that was asked of own rooms is not called missing.
    table = build_table("vsgrpo", [greedy, sampled, {**greedy, "benchmark": "flats"}])
    assert "m [think], own rooms (flats)" in table["rows"]
    assert table["forms"] == {"m": ["observe (--prompt_mode=observe_answer)"]}


def test_vilasr_shows_pass_at_k_with_and_without_drawing():
    sampled = {"overall": 0.4, "pass@1": 0.4, "pass@2": 0.5, "pass@8": 0.6}
    told = {"form": "drawing", "sampling": {"temperature": 0.75, "top_p": 0.9}, "asked": {"frames": 16}}
    drawn = result("vsi_bench", metrics=sampled, scoring="vilasr", policy={"max_pixels": 351232}, **told)
    plain = result("vsi_bench", metrics={"overall": 0.3}, form="published", asked={"frames": 32})
    text = table_text(build_table("vilasr", [drawn, plain]))
    assert line_of(text, "m [with drawing] pass@8").split()[-3] == "60.0" and line_of(text, "m [with drawing]  ")
    assert "m [without drawing]: vsi_bench: scoring official (paper: vilasr)" in text
    assert "m [without drawing]: vsi_bench: frames 32 (paper: 16)" in text
    assert "m [without drawing]: vsi_bench: temperature not known (paper: 0.75)" in text
    assert "m [with drawing]: vsi_bench" not in text and "was not asked" not in text


def test_spatial_ssrl_has_a_mean_of_the_seven_and_general_ability():
    seven = ("spatial457", "srbench_3d", "spatial_eval", "q_spatial", "whatsup", "viewspatial", "vsi_bench")
    general = ("mmbench", "blink", "hallusionbench", "realworldqa", "ocrbench", "chartqa", "seed_bench")
    results = [result(name, metrics={"overall": (i + 1) / 10}) for i, name in enumerate(seven)]
    results += [result(name, metrics={"overall": 0.8}) for name in general]
    results += [result("vsi_bench", metrics={"overall": 0.1}, scoring="spatial_ssrl", asked={"frames": 128})]
    results += [result("vsi_bench", metrics={"overall": 0.9}, scoring="lmms_eval")]
    text = table_text(build_table("spatial_ssrl", results))
    row = line_of(text, "m  ").split()
    assert row[1:8] == ["10.0", "20.0", "30.0", "40.0", "50.0", "60.0", "10.0"] and row[-1] == "31.4"
    assert "80.0 (80.0)" in text and line_of(text, "Spatial-SSRL-7B (published)").endswith("56.6")
    assert "vsi_bench: scoring" not in text and "whatsup: scoring official (paper: spatial_ssrl)" in text


def test_spatial_ssrl_with_and_without_thought_before_and_after():
    def scored(model, right, **more):
        items = [
            {"id": str(i), "family": "f", "scene": str(i), "score": float(i < right), "correct": float(i < right)}
            for i in range(10)
        ]
        told = {"metrics": {"overall": right / 10}, "scoring": "spatial_ssrl", **more}
        return {**result("whatsup", model=model, **told), "items": items}

    cot = {"scoring": "spatial_ssrl_cot"}
    results = [scored("b", 2), scored("b", 4, **cot), scored("a", 7), scored("a", 5, **cot)]
    results.append(result("q_spatial", model="a", metrics={"overall": 0.3}, scoring="vlmevalkit", form="think_boxed"))
    table = build_table("spatial_ssrl", results)
    assert list(table["rows"]) == ["b", "b [with thought]", "a", "a [with thought]"]
    assert table["rows"]["a [with thought]"]["QSp+"]["macro"] == pytest.approx(30)
    text = table_text(table)
    assert "+50.0" in line_of(text, "a - b ").split() and line_of(text, "a - b ").split()[3] == "-"
    assert "+10.0" in line_of(text, "a [with thought] - b [with thought]")
    assert "  a - b: whatsup: +50.0, 95 % +" in text and "whatsup: scoring" not in text
    without = build_table("spatial_ssrl", [scored("b", 2), {**scored("a", 3), "items": []}])
    assert "a - b: whatsup: not paired" in table_text(without)


def test_no_difference_is_told_of_results_that_were_not_asked_alike():
    def of(model, name, score, n=10, scoring="vlmevalkit", **more):
        return result(name, model=model, metrics={"overall": score}, scoring=scoring, **more) | {"n": n}

    frames = [{"asked": {"frames": n}, "sampling": {"temperature": 0.0, "seed": n}} for n in (16, 128)]
    before = [
        of("b", "spatial457", 0.1, weights="x"),
        of("b", "srbench_3d", 0.3),
        of("b", "q_spatial", 0.2),
        of("b", "vsi_bench", 0.2, scoring="spatial_ssrl", **frames[0]),
        *(of("b", name, 0.9) for name in ("mmbench", "blink")),
        of("b", "ocrbench", 0.5),
    ]
    after = [
        of("a", "spatial457", 0.1, weights="x"),
        of("a", "srbench_3d", 0.5, n=4),
        of("a", "q_spatial", 0.4, scoring="official"),
        of("a", "vsi_bench", 0.3, scoring="spatial_ssrl", **frames[1]),
        of("a", "mmbench", 0.1),
        of("a", "ocrbench", 0.7, sampling={"seed": 3}),
    ]
    table = build_table("spatial_ssrl", [*before, *after])
    change, text = table["deltas"]["a"], table_text(table)
    assert [c for c, value in change["columns"].items() if value is not None] == ["OCR/chart"]
    assert change["columns"]["OCR/chart"] == pytest.approx(20)
    for what, why in {
        "spatial457": "both are of the same weights",
        "srbench_3d": "items 10 and 4",
        "q_spatial": "scoring vlmevalkit and official",
        "vsi_bench": "frames 16 and 128",
        "VQA": "only one of them has blink",
    }.items():
        assert f"a - b: {what}: no difference is told: {why}" in text, what


def test_two_results_in_one_cell_are_said():
    again = result("whatsup", metrics={"overall": 0.9}, scoring="spatial_ssrl", weights="y") | {"n": 7}
    first = result("whatsup", scoring="spatial_ssrl", weights="x")
    text = table_text(build_table("spatial_ssrl", [first, again]))
    assert "m: whatsup: two results under one model's name, of other weights (10 and 7 items): the last" in text
    assert "under one" not in table_text(build_table("spatial_ssrl", [first, first]))
    easi = [result("mmsi_bench", scoring="vlmevalkit") | {"n": n} for n in (10, 7)]
    assert "mmsi_bench: two results under one model's name (10 and 7 items)" in suite_text("easi8", easi)
    text = table_text(build_table("spatial_ssrl", [first, result("whatsup")]))
    assert "m: whatsup: scored by official, too; by spatial_ssrl is shown" in text


def test_what_is_not_complete_is_said_in_tables():
    files = {"why": ["2 of 9 items lack a video"]}
    text = table_text(build_table("vsgrpo", [result("vsi_bench", complete=False, files=files)]))
    assert "m [vanilla]: vsi_bench: not complete: 2 of 9 items lack a video" in text
    assert "m was not asked: think (--prompt_mode=think_answer); observe" in text


def test_the_leaderboard_stands_beside_easi8():
    text = suite_text("easi8", [result("mmsi_bench", {"x": (0.5, 10)}, scoring="vlmevalkit")])
    assert line_of(text, "Qwen2.5-VL-7B (published)").split()[2:6] == ["33.70", "26.80", "-", "36.85"]


def write(folder, *results):
    folder.mkdir(parents=True)
    for place, one in enumerate(results):
        (folder / f"{one['benchmark']}{place}.json").write_text(json.dumps(one))


def test_a_sweep_prints_lis_columns_with_a_mean_over_seeds(tmp_path):
    runs = []
    for seed, score in ((1, 0.4), (2, 0.6)):
        for families in (("box",), ("box", "relation")):
            root = tmp_path / f"{'+'.join(families)}{seed}"
            write(root / "eval", result("cv_bench", {"Relation": (score, 10)}, model=str(root)))
            runs.append(({"train.seed": seed, "data.seed": seed, "data.families": families}, root))
    runs.append(({"train.seed": 1, "data.families": ("none",)}, tmp_path / "empty"))
    text = paper_table("li2025_ablation", runs)
    assert line_of(text, "families box (2 seeds)").split()[-4:] == ["50.0", "-", "-", "-"]
    assert line_of(text, "+ relation (2 seeds)").split()[-4:] == ["50.0", "-", "-", "-"]
    assert line_of(text, "+ multi-hop (published)").split()[-4:] == ["67.8", "58.3", "53.7", "55.8"]
    assert "give --then=" in paper_table("li2025_ablation", runs[-1:])
    assert "none of the results is of its benchmarks" in paper_table("vsgrpo", runs)


def test_results_are_read_from_folders(tmp_path, caplog):
    write(tmp_path / "a" / "eval", result("cv_bench"), result("blink"))
    (tmp_path / "a" / "eval" / "easi_results.json").write_text("{}")
    assert len(read_results([tmp_path / "a"])) == 2 and not caplog.messages
    whole = json.dumps(result("whatsup"))
    (tmp_path / "a" / "eval" / "cut.json").write_text(whole[:40])
    (tmp_path / "a" / "eval" / "odd.json").write_text(whole.replace('"n": 10', '"n": "ten"'))
    assert len(read_results([tmp_path / "a"])) == 2
    assert ["cut.json: not JSON" in caplog.text, "odd.json: damaged: its 'n' is no int" in caplog.text] == [True] * 2
    with pytest.raises(ValueError, match="holds no evaluation result"):
        read_results([tmp_path / "a" / "eval" / "easi_results.json"])
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match="not an evaluation result"):
        read_results([tmp_path / "x.json"])
