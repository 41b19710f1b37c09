"""The held-out score under `evaluate` is the validation score in training, to the digit, for any answers."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from question_sets import record

from spatial_jax.data.asked import Asking, read_asking, settle, write_asking
from spatial_jax.evals.heldout import evaluate_heldout
from spatial_jax.evals.runner import asked_rule
from spatial_jax.rollout.types import Trajectory
from spatial_jax.training.answers import AnswerScorer
from spatial_jax.training.settings import DataSettings, RewardSettings, RunConfig

TEXTS = (
    "A",
    "left",
    "<think>nearer</think><answer>A</answer>",
    "<think>nearer</think><answer>B</answer>",
    "<answer>A</answer>",
    "<observe>a room</observe><answer>A</answer>",
    "<think>nearer</think>\\boxed{A}",
    "<think>nearer</think> Action: Answer\n<answer>A</answer>",
    "<think></think><answer>A</answer>",
    "",
)
REWARDS = (
    {"kind": "choice"},
    {"kind": "choice", "format": "answer_tag", "format_weight": 0.3},
    {"kind": "choice", "overlong": {"max_length": 6, "buffer": 4}},
    {"kind": "ssrl"},
    {"kind": "vsgrpo", "mode": "think"},
    {"kind": "vilasr"},
)


def trained(prompt_mode, **reward):
    """A run's scorer whose trajectories say TEXTS[token], and the asking that its export remembers."""
    run = RunConfig(data=DataSettings(prompt_mode=prompt_mode), reward=RewardSettings(**reward))
    processor = SimpleNamespace(decode=lambda tokens: TEXTS[int(tokens[0])])
    told = run.reward
    paid = {"format": told.format or None, "format_weight": told.format_weight}
    return AnswerScorer(SimpleNamespace(run=run, processor=processor)), Asking(
        prompt_mode, **paid, truncated_reward=told.truncated_reward
    )


def trajectory(token, reason):
    tokens = np.array([token, *[0] * (token % 7), 0], np.int32)
    zeros = np.zeros(len(tokens), np.float32)
    return Trajectory(tokens, zeros, zeros, reason, 0, 0, np.ones(len(tokens), bool), [])


@pytest.mark.parametrize("truncated", [None, -0.25])
@pytest.mark.parametrize("mode", ["bare", "vanilla", "answer_tag", "think_answer", "think_boxed", "drawing"])
def test_heldout_scores_are_validation_scores(mode, truncated):
    scorer, asking = trained(mode, format_weight=0.37, truncated_reward=truncated)
    for number, reward in enumerate(REWARDS):
        asked = record(number, reward=json.dumps(reward))
        group = [trajectory(i, "length" if i % 4 == 3 else "stop") for i in range(len(TEXTS))]
        question = SimpleNamespace(record=asked, prompt=SimpleNamespace(model_sizes=((120, 80),)))
        scored = scorer(question, group)
        row = {
            "responses": scored.texts,
            "lengths": [len(t) for t in group],
            "finish": [t.finish_reason for t in group],
            "model_sizes": ((120, 80),),
        }
        result = evaluate_heldout("x", [asked], [row], rule=asked_rule(asking))
        assert result["metrics"]["overall"] == float(np.mean([o.reward for o in scored.outcomes]))
        assert result["metrics"]["accuracy"] == float(np.mean([bool(o.correct) for o in scored.outcomes]))


def test_a_bare_word_under_think_answer_earns_nothing_in_both():
    scorer, asking = trained("think_answer")
    asked = record(0, reward='{"kind": "choice"}')
    result = evaluate_heldout("x", [asked], [{"responses": ["A"]}], rule=asked_rule(asking))
    assert scorer.spec(asked.as_dict())["format"] == "think_answer"
    assert result["metrics"]["overall"] == result["metrics"]["accuracy"] == 0


def test_an_export_remembers_how_answers_were_paid(tmp_path, monkeypatch):
    from spatial_jax.data import asked as module

    asking = Asking("think_answer", format_weight=0.25, truncated_reward=-1.0, user_function="mine")
    limits = dict.fromkeys(("min_pixels", "max_pixels", "video_min_pixels", "video_max_pixels"), 784)
    monkeypatch.setattr(module, "limits_of", lambda processor: limits)
    write_asking(tmp_path, asking, None)
    stated = json.loads((tmp_path / module.ASKING_FILE).read_text())
    assert stated["format_weight"] == 0.25 and stated["truncated_reward"] == -1.0 and stated["user_function"] == "mine"
    pictures = SimpleNamespace(min_pixels=784, max_pixels=784)
    monkeypatch.setattr(module, "checkpoint_directory", lambda directory: tmp_path)
    monkeypatch.setattr(module, "read_config", lambda folder: SimpleNamespace(traits=SimpleNamespace(pictures="qwen")))
    monkeypatch.setattr(module, "read_image_settings", lambda *a: pictures)
    monkeypatch.setattr(module, "read_video_settings", lambda *a: SimpleNamespace(image=pictures))
    assert dataclasses.replace(read_asking(tmp_path), **dict.fromkeys(limits)) == asking
    assert settle(tmp_path, {"prompt_mode": "bare"})[0].format is None
    for name, value in (("format_weight", 2), ("format_weight", "x"), ("truncated_reward", True), ("format", "xml")):
        (tmp_path / module.ASKING_FILE).write_text(json.dumps({**stated, name: value}))
        with pytest.raises(ValueError, match=name):
            read_asking(tmp_path)
