"""Which settings make a run, and what a change of them is called."""

import dataclasses
import fnmatch
import json

import numpy as np
import pytest

from spatial_jax.models.digest import checkpoint_digest
from spatial_jax.models.safetensors_io import write_safetensors
from spatial_jax.training import identity
from spatial_jax.training.identity import NOTHING, changed_inputs, changed_settings, settings_of
from spatial_jax.training.settings import RunConfig


def told(**parts):
    """RunConfig with the fields of its parts replaced."""
    run = RunConfig()
    return dataclasses.replace(
        run, **{name: dataclasses.replace(getattr(run, name), **fields) for name, fields in parts.items()}
    )


@pytest.mark.parametrize(
    "parts, line",
    [
        ({"rollout": {"group_size": 4}}, "rollout.group_size 16 -> 4"),
        ({"train": {"seed": 7}}, "train.seed 0 -> 7"),
        ({"data": {"seed": 7}}, "data.seed 0 -> 7"),
        ({"optimizer": {"learning_rate": 5e-5}}, "optimizer.learning_rate 1e-06 -> 5e-05"),
        ({"data": {"max_pixels": 501760}}, "data.max_pixels 1003520 -> 501760"),
        ({"data": {"system": "You see."}}, "data.system null -> You see."),
        ({"model": {"freeze": ("vision",)}}, 'model.freeze [] -> ["vision"]'),
        ({"curriculum": {"enabled": True}}, "curriculum.enabled false -> true"),
    ],
)
def test_what_makes_the_run_is_refused_with_old_and_new(parts, line):
    changes = changed_settings(settings_of(RunConfig()), told(**parts))
    assert changes.breaking == (line,) and not changes.harmless
    with pytest.raises(ValueError, match="--allow_changes") as error:
        changes.refuse("runs/x")
    assert line in str(error.value) and "\n" not in str(error.value)


def test_how_a_run_is_carried_out_is_only_said():
    run = told(
        train={"steps": 5, "micro_prompts": 8},
        log={"console_every": 9, "sinks": ("jsonl",)},
        checkpoint={"every": 2, "keep": 9},
        data={"workers": 3},
    )
    changes = changed_settings(settings_of(RunConfig()), run)
    assert not changes.breaking and len(changes.harmless) == 7 and "train.steps 1000 -> 5" in changes.harmless
    cosine = dataclasses.replace(run, optimizer=dataclasses.replace(run.optimizer, schedule="cosine"))
    before = settings_of(dataclasses.replace(cosine, train=dataclasses.replace(run.train, steps=6)))
    assert changed_settings(before, cosine).harmless == ("train.steps 6 -> 5 (the cosine schedule ends there)",)


def test_a_setting_that_older_code_had_not_counts_as_its_default():
    older = settings_of(RunConfig())
    del older["rollout"]["overlap"], older["dpo"]
    older["rollout"]["gone"] = 1
    assert changed_settings(older, RunConfig()) == NOTHING
    assert changed_settings(older, told(rollout={"overlap": True})).breaking == ("rollout.overlap false -> true",)
    assert changed_settings([1], RunConfig()) == NOTHING and changed_settings(None, RunConfig()) == NOTHING


def test_every_harmless_setting_and_place_exists():
    names = set(identity.flatten(settings_of(RunConfig())))
    assert names.issuperset(identity._PLACES)
    assert all(fnmatch.filter(names, pattern) for pattern in identity._HARMLESS)


def test_places_are_compared_by_what_is_there():
    run = told(model={"path": "b"}, data={"paths": ("d",)})
    before = settings_of(told(model={"path": "a"}, data={"paths": ("d",)}))
    old = {"model.path": "1", "data.paths": ["2"], "reward.user_file": "", "offline_pass_rates": ""}
    moved = changed_inputs(old, before, old, run)
    assert moved.harmless == ("model.path a -> b (the same content)",) and not moved.breaking
    other = changed_inputs(old, before, {**old, "model.path": "3", "data.paths": ["4"]}, run)
    assert other.breaking == ("model.path a -> b (other content)", 'data.paths (its content has changed: ["d"])')
    assert changed_inputs(None, before, old, run) == NOTHING


def test_a_checkpoint_with_other_weights_has_another_digest(tmp_path):
    def write(folder, values):
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({}))
        write_safetensors(folder / "model.safetensors", [("w", (200, 100), np.dtype(np.float32))], iter([values]))
        return checkpoint_digest(folder)

    values = np.random.default_rng(0).normal(size=(200, 100)).astype(np.float32)
    assert write(tmp_path / "a", values) == write(tmp_path / "b", values)
    assert write(tmp_path / "a", values) != write(tmp_path / "b", values * np.float32(1.001))
    (tmp_path / "b" / "config.json").write_text("{} ")
    assert write(tmp_path / "a", values) != checkpoint_digest(tmp_path / "b")
