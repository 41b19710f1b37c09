"""Sections that had another name: refused with the new one where somebody writes them, read where a run saved them."""

import json
import subprocess
import sys

import pytest

from spatial_jax import config as run_config
from spatial_jax.command_line import check_config_arguments, parse_problem
from spatial_jax.metrics.report.runs import load_run
from spatial_jax.training.identity import changed_settings, settings_of
from spatial_jax.training.settings import RunConfig

WORDS = "config.run.steps is named config.train.steps now; write config.train.steps"


def saved_by_older_code(run):
    settings = settings_of(run)
    return {"run": settings.pop("train"), **settings}


def test_an_old_key_on_the_command_line_is_refused_with_the_new_one():
    with pytest.raises(ValueError) as error:
        check_config_arguments(["--config.run.steps=3"], RunConfig)
    assert str(error.value) == WORDS


def test_an_old_key_in_a_recipe_is_refused_with_the_new_one():
    with pytest.raises(run_config.ConfigError, match=r"config\.run is named config.train now"):
        run_config.strict({"run": {"steps": 3}})
    with pytest.raises(Exception) as error:
        run_config.default().run.steps = 3
    assert "config.run is named config.train now" in parse_problem(error.value)


def test_a_recipe_that_edits_an_old_section_ends_in_one_line(tmp_path):
    recipe = tmp_path / "old.py"
    recipe.write_text(
        "from configs import common\n\ndef get_config(arg=''):\n    return common.base(run=dict(steps=3))\n"
    )
    command = [sys.executable, "-m", "spatial_jax.train", f"--config={recipe}", f"--workdir={tmp_path / 'run'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "config.run is named config.train now" in done.stderr


def test_settings_that_older_code_saved_are_the_same_run():
    run = RunConfig()
    assert changed_settings(saved_by_older_code(run), run).breaking == ()
    assert changed_settings(saved_by_older_code(run), run).harmless == ()


def test_a_report_reads_an_older_run(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(saved_by_older_code(RunConfig())))
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    config = load_run(tmp_path).phases[0].config
    assert config["train"]["method"] == "grpo" and "run" not in config
