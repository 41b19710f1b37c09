"""The proof that a policy learns to draw: its plan of commands, and what it reads off their results."""

import json
import math
import sys

import pytest

from configs import draw_tiny
from launch import drawing_proof, proofs, quickstart, selfsup_proof, video_proof
from spatial_jax import config as run_config
from spatial_jax.evals.results import ScoredItem, summarise, write_result


def flag(step, name):
    return next((arg.split("=", 1)[1] for arg in step.args if arg.startswith(f"--{name}=")), "")


def test_every_step_uses_what_an_earlier_one_makes(tmp_path):
    plan = drawing_proof.question_steps(tmp_path, 30) + drawing_proof.localiser_steps(tmp_path, str(tmp_path / "ship"))
    plan += [drawing_proof.policy_step(tmp_path), *drawing_proof.start_steps(tmp_path, {})]
    plan += drawing_proof.seed_steps(tmp_path, 2, {"grpo": 7})
    assert len({step.name for step in plan}) == len(plan)
    made = {drawing_proof.COLD_START, drawing_proof.LOCALISER}
    for step in plan:
        used = [flag(step, name) for name in ("scenes", "phrases", "config.model.path", "model", "dataset", "from")]
        used += flag(step, "config.data.paths").strip("()").replace("'", "").split(",")
        assert {u for u in used if u} <= made, step.name
        made |= {flag(step, "out"), flag(step, "to_hf"), flag(step, "workdir") + "/export"}
        if stage := flag(step, "config").partition("draw_tiny.py:")[2]:
            run = run_config.strict(draw_tiny.get_config(stage))
            if stage in drawing_proof.SEEING:
                continue
            assert (run.data.prompt_mode == "drawing") == (stage != "plain")
            assert (run.rollout.turns > 1) == (stage not in ("plain", "call"))
            assert flag(step, "config.train.seed") == ("1" if stage in drawing_proof.SHARED else "2")
            assert (flag(step, "config.train.steps") == "7") == (stage == "grpo")
    evaluated = [step.args[step.args.index("-m") + 1] for step in plan].count("spatial_jax.evaluate")
    assert evaluated == 1 + len(drawing_proof.STAGES)
    # The same start and questions with drawing and without, as many of them, at the same rate.
    call, sft, plain = (run_config.strict(draw_tiny.get_config(arg)) for arg in ("call", "sft", "plain"))
    asked = [run.train.steps * run.train.prompts for run in (call, sft, plain)]
    assert sum(asked[:2]) <= asked[2] <= 1.01 * sum(asked[:2])
    assert call.optimizer == plain.optimizer and call.model == plain.model


def result(folder, name, right, reflective=None, iou=None):
    """Two questions of two scenes with four answers each, of which `right` are right."""
    items = [
        ScoredItem(f"q{i}", "count", f"s{i}", (float(n > j) for j in range(4)), tuple(float(n > j) for j in range(4)))
        for i, n in enumerate(right)
    ]
    items = [ScoredItem(i.id, i.family, i.scene, i.correct, i.correct, ("1",) * 4) for i in items]
    drawing = None
    if iou is not None:
        per_item = {f"q{i}": {"reflective": r, "box_iou": b} for i, (r, b) in enumerate(zip(reflective, iou))}
        drawing = {"answers": 8, "box_iou": sum(iou) / 2, "box_iou_constant": 0.125, "items": per_item}
    made = summarise("heldout", items, scoring="reward", extra={"drawing": drawing})
    made["metrics"] |= {"pass@1": made["metrics"]["accuracy"], "pass@8": 1.0}
    (folder / "eval").mkdir(parents=True, exist_ok=True)
    write_result(folder / "eval" / f"{name}.json", made)


def test_the_table_says_what_the_results_say(tmp_path):
    result(tmp_path, "sft", (2, 2), (0.25, 0.25), (0.25, 0.5))
    for seed, right in ((1, (4, 4)), (2, (4, 2))):
        out = tmp_path / f"seed{seed}"
        result(out, "plain", (1, 1))
        result(out, "reflect", (2, 2), (1.0, 0.5), (0.5, 0.5))
        result(out, "grpo", right, (1.0, 1.0), (0.75, 0.75))
        for name in ("call", "plain", "sft", "reflect", "grpo"):
            place = tmp_path if name in drawing_proof.SHARED else out
            (place / name).mkdir(exist_ok=True)
            rows = [{"step": 1, "loss": 2.0, "reward/mean": 0.5}, {"note": "x"}, {"step": 2, "loss": 1.0}]
            (place / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = drawing_proof.table(tmp_path, [1, 2], "make proofs", "cpu")
    over = made["over_seeds"]
    # seed 1: 1.0 against 0.25; seed 2: 0.75 against 0.25; Student's t of two runs is Cauchy's
    drawing = over["accuracy of drawing (grpo) minus plain, count"]
    assert drawing["mean"] == pytest.approx(0.625)
    half = math.tan(0.475 * math.pi) * 0.125
    assert drawing["interval"] == pytest.approx([0.625 - half, 0.625 + half])
    assert over["sampled reward, GRPO minus its start"]["mean"] == pytest.approx(0.375)
    assert over["reflection rate, reflective stage minus cold start"]["mean"] == pytest.approx(0.5)
    assert over["IoU, grpo"]["mean"] == 0.75 and over["IoU of the best constant box"]["mean"] == 0.125
    assert over["pass@8 minus pass@1, sft"]["mean"] == pytest.approx(0.5)
    row = made["rows"][0]
    assert row["changes"]["box_iou"]["sft_to_grpo"]["difference"] == pytest.approx(0.375)
    assert row["curves"]["sft"] == {"step": [1, 2], "loss": [2.0, 1.0]}
    assert row["stages"]["plain"]["drawing"] is None and "items" not in row["stages"]["sft"]["drawing"]
    assert drawing_proof.table(tmp_path, [1], "make proofs", "cpu")["over_seeds"]["IoU, sft"]["interval"] is None
    assert "IoU, grpo: +0.750" in drawing_proof.told(made)
    json.dumps(made, allow_nan=False)
    # Stopped before GRPO of the second seed: what there is, and how many seeds show it.
    (tmp_path / "seed2" / "eval" / "grpo.json").unlink()
    some = drawing_proof.table(tmp_path, [1, 2], "make proofs", "cpu")["over_seeds"]
    assert some["sampled reward, GRPO minus its start"]["seeds"] == 1
    assert some["reflection rate, reflective stage minus cold start"]["seeds"] == 2
    assert some["accuracy of drawing (reflect) minus plain, count"]["mean"] == pytest.approx(0.25)


def test_drawing_is_asked_for_by_a_flag(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(proofs, "run_seeds", lambda root, plans, at_once: asked.append(plans) or 3)
    monkeypatch.setattr(proofs.StepRunner, "run", lambda self: 0)
    monkeypatch.setattr(sys, "argv", ["proofs", "--drawing", "--seeds=4", f"--root={tmp_path}"])
    assert proofs.main() == 3 and [step.name for step in asked[0][4]][:2] == ["sample_4", "reflect_4"]
    monkeypatch.setattr(sys, "argv", ["proofs", "--selfsup", "--cold_start", f"--root={tmp_path}"])
    with pytest.raises(SystemExit):
        proofs.main()


def test_help_states_what_the_proofs_do(monkeypatch, capsys):
    told = {drawing_proof: "SCENES ITEMS", selfsup_proof: "SCENES ITEMS", video_proof: "WALKS ITEMS"}
    told |= {proofs: "SCENES ITEMS GRPO_STEPS", quickstart: "SCENES SCRATCH_SCENES"}
    names = [(module, name) for module, listed in told.items() for name in listed.split()]
    for number, (module, name) in enumerate(names):
        monkeypatch.setattr(module, name, 4001 + number)
    for main in (proofs.main, quickstart.main):
        monkeypatch.setattr(sys, "argv", ["prog", "--help"])
        with pytest.raises(SystemExit):
            main()
    printed = capsys.readouterr().out
    assert [name for number, name in enumerate(names) if f"{4001 + number:,}" not in printed] == []
