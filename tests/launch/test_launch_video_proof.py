"""vsGRPO's comparison on walks: its plan, and what its table makes of answers."""

import json

import pytest

from configs import vsgrpo_tiny
from launch import several_forms, video_proof
from launch.video_proof import ARMS, FORMS
from spatial_jax import config as run_config
from spatial_jax.data import QuestionRecord
from spatial_jax.forms import extract_answer, matches_format


def flag(step, name):
    return next((arg.split("=", 1)[1] for arg in step.args if arg.startswith(f"--{name}=")), "")


def question(place, topic="object_rel_distance", answer="desk", options=("desk", "trash bin")):
    asked = "Which of these objects (desk, trash bin) is the closest to the plant?"
    reward = {"kind": "choice"} if options else {"kind": "mra", "comparison": "<"}
    return QuestionRecord(
        f"q{place}", "walk", "heldout", f"walk-{place}", (), (), (), asked, "word" if options else "number", answer,
        options, reward=json.dumps(reward), family=f"vsi_{topic}",
    )  # fmt: skip


def test_every_step_uses_what_an_earlier_one_makes(tmp_path):
    plan = video_proof.data_steps(tmp_path, 20) + video_proof.start_steps(tmp_path, 30)
    plan += [step for _, part in video_proof.rounds(tmp_path, (1, 2), 7, 30) for step in part]
    assert len({step.command for step in plan}) == len({step.name for step in plan}) == len(plan)
    assert len(plan) == 5 + 2 * 3 + 2 * (2 * len(ARMS) + len(video_proof.METHODS + video_proof.FORMED))
    made = set()
    for step in plan:
        used = [flag(step, name) for name in ("rooms", "questions", "texts", "config.model.path", "model", "dataset")]
        used += [flag(step, "config.data.paths").strip("()',")]
        assert {u for u in used if u} <= made, step.name
        made |= {flag(step, "out"), flag(step, "workdir") + "/export"}


def test_arms_start_alike_and_ask_alike(tmp_path):
    trained = [
        step for step in video_proof.seed_steps(tmp_path, 3, tuple(ARMS), 0, 30) if "spatial_jax.train" in step.args
    ]
    runs = {}
    for step, (name, (arg, form, _)) in zip(trained, ARMS.items(), strict=True):
        run = run_config.strict(vsgrpo_tiny.get_config(arg))
        runs[name] = run
        assert run.data.prompt_mode == FORMS[form] and flag(step, "config.train.seed") == "3"
        assert {flag(step, "config.model.path")} == {f"{tmp_path}/cold/export"}
        assert run.model.freeze == ("vision", "merger") and run.reward.by_family == ("vsi_*=vsgrpo",)
    assert {run.data.video_max_pixels for run in runs.values()} == {84 * 84}
    assert runs["vanilla"].algorithm.kl_coef == 1e-4 and len(runs) == 8  # the paper's


@pytest.mark.parametrize("form", ["vanilla", "think_answer", "observe_answer"])
def test_replies_are_of_their_form_and_say_what_is_asked_about(form):
    made = several_forms.in_form(question(1), form, several_forms.thing_names([question(1)]))
    reply = made.json_field("meta")["response"]
    name = "none" if form == "vanilla" else form
    assert matches_format(reply, name) and extract_answer(reply, name) == "desk"
    assert ("<observe>desk, trash bin</observe>" in reply) == (form == "observe_answer")
    assert ("<think>rel distance</think>" in reply) == (form == "think_answer")
    assert ("inside <answer></answer>" in made.question) == (form != "vanilla")


def test_answers_are_measured_by_the_paper_and_by_vsi_bench(tmp_path):
    records = [question(0), question(1, "object_counting", "4", ()), question(2, "route_planning")]
    say = "<observe>a desk</observe>\n<answer>{}</answer>"
    rows = [
        {"id": "q0", "responses": [say.format("desk"), say.format("plant"), "desk", ""]},
        {"id": "q1", "responses": [say.format("5")]},
        {"id": "q2", "responses": [say.format("desk")]},
    ]
    saved = tmp_path / "a.responses.jsonl"
    saved.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = video_proof.read_answers(saved, records, "observe")
    assert read["q0"] | {"words": 0} == {
        "topic": "object_rel_distance", "scene": "walk-0", "right": 0.25, "mra": 0.25, "form": 0.5, "words": 0,
    }  # fmt: skip
    assert read["q1"]["right"] == pytest.approx(1 - 1 / 4)  # 1 less the error over the smaller number
    assert read["q1"]["mra"] == pytest.approx(0.5)  # an error of a quarter passes five of ten thresholds
    shown = video_proof.figures(read)
    assert shown["six topics"] == {"n": 2, "right": 0.5, "mra": 0.375, "form": 0.75, "words": pytest.approx(1.5)}
    assert shown["held-out topics"]["right"] == 1.0 and shown["numeric topics"]["n"] == 1
    other = {key: {**row, "right": row["right"] + 0.25} for key, row in read.items()}
    change = video_proof.differences(read, other)
    assert change["six topics"]["right"]["difference"] == pytest.approx(0.25)
    assert change["held-out topics"]["mra"]["difference"] == 0.0
