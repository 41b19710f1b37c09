"""The self-supervised proof: its plan, and what its table makes of evaluations."""

import json

import numpy as np
import pytest

from launch import selfsup_proof


def test_the_plan_trains_on_what_it_says_and_measures_every_stage(tmp_path):
    plan = {step.name: step for step in selfsup_proof.plan(tmp_path, 100, [1, 2], 50, 0, 7, list(selfsup_proof.ARMS))}
    assert len(plan) == len({step.command for step in plan.values()}) == 10 + 3 + 14 + 9
    for name in ("parts", "cold", "settle", "keep", "families", "grpo_selfsup_1", "grpo_spatial_2"):
        step = plan[name]
        paths = next(a for a in step.args if "data.paths" in a).split("=")[1]
        weights = next(a for a in step.args if "data.weights" in a).split("=")[1]
        assert len(eval(paths)) == len(eval(weights)) and sum(eval(weights)) == pytest.approx(1)
        assert ("patches" in paths) == (name in ("parts", "cold", "settle", "keep", "grpo_selfsup_1"))
        assert ("general" in paths) == (not name.startswith("grpo"))
        assert name in ("parts", "cold", "settle") or f"--model={tmp_path}/{name}/export" in plan[f"eval_{name}"].args
    assert f"--config.model.path={tmp_path}/align/export" in plan["parts"].args
    assert f"--config.model.path={tmp_path}/start" in plan["families"].args
    assert f"--config.model.path={tmp_path}/pieces/export" in plan["align"].args
    assert any("regions" in a and "crops" in a and "scenes" in a for a in plan["align"].args)
    assert "--regions" in plan["regions"].args and "--regions" in plan["crops"].args
    families = next(a for a in plan["grpo_selfsup_1"].args if "data.families" in a)
    assert eval(families.split("=")[1]) == selfsup_proof.TASKS  # the tasks themselves, not their parts
    trained = [a for step in plan.values() if "spatial_jax.train" in step.args for a in step.args]
    assert any("spatial" in a for a in trained) and not any("unseen" in a for a in trained)
    assert "--config.train.steps=7" in plan["grpo_selfsup_1"].args
    assert "--signs" in plan["scenes"].args and f"--families={selfsup_proof.GENERAL}" in plan["general"].args
    alone = [step.name for step in selfsup_proof.plan(tmp_path, 100, [1], 50, 0, 7, ["selfsup"])]
    assert "keep" in alone and "families" not in alone


def test_wilson_intervals_paired_differences_and_photos_apart():
    def result(scores):
        rooms = [("ssrl_flip", f"rendered-{i}", s) for i, s in enumerate(scores)]
        rest = [("ssrl_flip", "camera", 1.0), ("colour", "rendered-0", 0.5), ("relation", "rendered-1", 1.0)]
        items = [*rooms, *rest]
        return {"items": [{"id": str(i), "family": f, "scene": s, "score": v} for i, (f, s, v) in enumerate(items)]}

    before, after = result([0.0] * 30 + [1.0] * 10), result([1.0] * 20 + [0.0] * 10 + [1.0] * 10)
    measured = selfsup_proof.measure(after)
    assert measured["ssrl_flip of photos"]["n"] == 1 and measured["ssrl_flip"]["n"] == 40
    flip, z = measured["ssrl_flip"], 1.959964
    for bound in (flip["low"], flip["high"]):  # where the normal test of a share just does not reject
        assert (flip["score"] - bound) ** 2 == pytest.approx(z * z * bound * (1 - bound) / 40)
    change = selfsup_proof.differences(before, after)
    assert change["ssrl_flip"]["difference"] == pytest.approx(0.5) and change["ssrl_flip"]["low"] > 0.3
    assert change["general"]["difference"] == 0 == change["spatial"]["difference"]


def test_curves_are_thinned(tmp_path):
    rows = [{"step": i, "loss": 1 / (i + 1)} for i in range(400)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = selfsup_proof.main_curve(tmp_path)
    assert len(found["step"]) == 40 and found["loss"][0] == 1.0 and np.all(np.diff(found["loss"]) <= 0)


def test_the_table_holds_every_stage_and_seed(tmp_path, monkeypatch):
    def write(name, right):
        items = [
            {"id": str(i), "family": "ssrl_crop", "scene": f"rendered-{i}", "score": float(i < right)}
            for i in range(20)
        ]
        (tmp_path / "eval").mkdir(exist_ok=True)
        families = {"ssrl_crop": {"prior_words": 0.25, "n": 20}}
        result = {"benchmark": "b", "n": 20, "metrics": {}, "items": items, "families": families}
        (tmp_path / "eval" / f"{name}.json").write_text(json.dumps(result))
        apart = [item | {"id": f"u{item['id']}", "family": "listing"} for item in items]
        unseen = result | {"items": apart, "families": {"listing": {"prior_words": 0.0, "n": 20}}}
        (tmp_path / "eval" / f"{name}_unseen.json").write_text(json.dumps(unseen))
        (tmp_path / name).mkdir()
        row = {"step": 1, "reward/mean": 0.5} if name.startswith("grpo") else {"step": 1, "loss": 2.0}
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps(row))

    monkeypatch.setattr(selfsup_proof, "chances", lambda root, result: {"ssrl_crop": 0.25})
    names = ["start", "keep", "families", *(f"grpo_{arm}_{seed}" for arm in selfsup_proof.ARMS for seed in (1, 2))]
    for right, name in enumerate(names, 3):
        write(name, right)
    for name in ("pieces", "align", "parts", "cold", "settle"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 9.0}))
    made = selfsup_proof.table(tmp_path, list(selfsup_proof.ARMS), [1, 2], "cpu", "command")
    seeds = made["arms"]["selfsup"]["seeds"]
    assert list(made["arms"]) == ["selfsup", "spatial"] and list(seeds) == ["1", "2"]
    assert made["start"]["ssrl_crop"]["score"] == pytest.approx(3 / 20)
    assert seeds["2"]["after_minus_cold"]["ssrl_crop"]["difference"] == pytest.approx(3 / 20)
    over = made["arms"]["spatial"]["over_seeds"]["ssrl_crop"]
    assert over["mean"] == pytest.approx(8.5 / 20) and over["interval"][0] < 8 / 20 < 9 / 20 < over["interval"][1]
    assert made["curves"]["grpo_spatial_2"] == {"step": [1], "reward/mean": [0.5]}
    assert seeds["2"]["after_minus_cold"]["unseen"]["difference"] == pytest.approx(3 / 20)
    assert made["blind"] == {"ssrl_crop": {"prior_words": 0.25}, "listing": {"prior_words": 0.0}}
    assert set(made["curves"]) == {"pieces", "align", "parts", "cold", "settle", *names[1:]}
