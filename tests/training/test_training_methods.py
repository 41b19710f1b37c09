"""A method is one file and a line of the table; an objective likewise: toys of both are added as CONTRIBUTING says."""

import ast
import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from configs import quickstart
from spatial_jax import config as run_config
from spatial_jax.config_keys import keys_of
from spatial_jax.metrics import read_metrics
from spatial_jax.rl import group_advantages, policy_loss
from spatial_jax.rl.surrogates import OBJECTIVES, Objective, centre, own_ratio
from spatial_jax.training.loop import train
from spatial_jax.training.methods import METHODS
from spatial_jax.training.sft import Sft
from tests.tiny_worlds import make_world

ROOT = Path(__file__).parents[2]
ROOMS = ("spatial_jax", "launch", "configs", "benchmarks", "data_prep", "tests")


def named_method(node):
    name = getattr(node, "attr", getattr(node, "id", ""))
    return name == "method"


def is_word(node):
    return (isinstance(node, ast.Constant) and isinstance(node.value, str)) or (
        isinstance(node, (ast.Tuple, ast.List, ast.Set)) and any(is_word(item) for item in node.elts)
    )


def test_nothing_compares_a_method_with_a_string():
    found = []
    for path in (file for room in ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            if any(map(named_method, sides)) and any(map(is_word, sides)):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found


class Last(Sft):
    """A toy: only the last token of an answer is taught."""

    turns = False

    @classmethod
    def check(cls, run):
        if run.rollout.group_size == 7:
            raise ValueError("config.rollout.group_size = 7 is not for this method")

    def loss(self, model, batch, coefficients):
        mask = batch.answers.loss_mask
        later = jnp.pad(mask[..., 1:], [(0, 0)] * (mask.ndim - 1) + [(0, 1)])
        answers = dataclasses.replace(batch.answers, loss_mask=mask & ~later)
        return super().loss(model, dataclasses.replace(batch, answers=answers), coefficients)


def test_a_method_is_added_by_one_file_and_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "last", Last)
    world = make_world(tmp_path / "world", scenes=8, families="bearing", seed=1)
    config = quickstart.get_config("sft")
    config.model.path, config.data.paths = str(world / "policy"), (str(world / "questions"),)
    config.log.sinks, config.data.prompt_buckets = ("jsonl",), (72,)
    config.train.update(dict(method="last", steps=1, prompts=2, update_prompts=2, micro_prompts=2))
    assert train(run_config.strict(config), tmp_path / "run") == 0
    (row,) = read_metrics(tmp_path / "run")
    assert row["answer_tokens"] == 2  # one of each question

    settings = run_config.strict(config)
    assert "last" in next(key.kind for key in keys_of(type(settings)) if key.name == "config.train.method")
    config.rollout.group_size = 7
    with pytest.raises(ValueError, match="is not for this method"):
        run_config.strict(config)
    config.rollout.update(dict(group_size=4, turns=2))
    config.data.prompt_mode = "drawing"
    with pytest.raises(ValueError, match="a method that can teach turns"):
        run_config.strict(config)


def test_a_method_that_no_table_names_is_refused():
    with pytest.raises(ValueError, match=r"config\.train\.method = 'last'; it must be one of 'align', 'sft'"):
        run_config.strict({"train": {"method": "last"}})


def test_an_objective_is_added_by_one_file_and_one_line(monkeypatch):
    plain = Objective(centre, own_ratio, lambda ratio, logp, advantage, clip: -advantage * ratio, ("constant",))
    monkeypatch.setitem(OBJECTIVES, "plain", plain)
    advantages = group_advantages(np.array([[1.0, 0.0, 0.0, 1.0]]), kind="plain")
    np.testing.assert_allclose(advantages, [[0.5, -0.5, -0.5, 0.5]])
    new, old = jnp.log(jnp.full((4, 3), 0.6)), jnp.log(jnp.full((4, 3), 0.2))
    loss, _ = policy_loss(new, old, advantages[0], jnp.ones((4, 3)), kind="plain", aggregate="constant")
    assert loss == pytest.approx(0.0, abs=1e-6)  # half up and half down, unclipped
    loss, _ = policy_loss(new[:1], old[:1], advantages[0, :1], jnp.ones((1, 3)), kind="plain", aggregate="constant")
    assert loss == pytest.approx(-1.5, rel=1e-5)
    assert run_config.strict({"algorithm": {"kind": "plain", "aggregate": "constant"}}).algorithm.kind == "plain"
    with pytest.raises(ValueError, match=r"'plain' is not defined with aggregate 'token'; set .* to 'constant'"):
        run_config.strict({"algorithm": {"kind": "plain"}})


@pytest.mark.parametrize("kind", ["gspo", "rloo"])
def test_an_objective_of_whole_answers_is_not_averaged_over_tokens(kind):
    with pytest.raises(ValueError, match=f"config.algorithm.kind = '{kind}' is not defined with aggregate 'token'"):
        run_config.strict({"algorithm": {"kind": kind}})
    assert run_config.strict({"algorithm": {"kind": kind, "aggregate": "sequence"}})
