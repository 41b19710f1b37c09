"""Mistakes on the command line are one line that names the nearest; help and the list of keys come without a run."""

import os
import subprocess
import sys

import pytest
from absl import flags

from spatial_jax import config as run_config
from spatial_jax.command_line import check_config_arguments, parse_problem
from spatial_jax.config_keys import field_comments, keys_of, keys_text
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.training.settings import RolloutSettings, RunConfig


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--config.train.stpes=3"],
            "config.train.stpes is not a key of the configuration; the nearest is config.train.steps",
        ),
        (["--config.learning_rate=3"], "the nearest is config.optimizer.learning_rate"),
        (["--config.train.steps.x=3"], "config.train.steps.x is not a key"),
        (["--config.rollot.top_p", "0.5"], "the nearest is config.rollout.top_p"),
        (["--config.train=3"], "config.train is a section; set a key of it"),
        (
            ["--config=configs/debug_cp.py"],
            "there is no file 'configs/debug_cp.py'; the nearest is configs/debug_cpu.py",
        ),
        (["--config", "configs/quikstart.py:grpo"], "the nearest is configs/quickstart.py"),
        (["--config=confgs/quickstart.py"], "the nearest is configs/quickstart.py"),
    ],
)
def test_a_typo_names_the_nearest(arguments, words):
    with pytest.raises(ValueError) as error:
        check_config_arguments(arguments, RunConfig)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_what_is_right_passes():
    names = [f"--{key.name}={key.default}" for key in keys_of(RunConfig)]
    check_config_arguments(["--config=configs/quickstart.py:grpo", "--workdir=x", *names], RunConfig)
    check_config_arguments(["--config.sampling.top_p=1", "--config.curriculum.stages[0].max_hops=2"], EvalSettings)


def test_problems_of_the_parser_are_one_line():
    unknown = flags.UnrecognizedFlagError("confg", "", ["config"])
    assert parse_problem(ValueError("a\nTraceback\n  ValueError: configs/x.py takes :a")) == "configs/x.py takes :a"
    assert parse_problem(unknown).startswith("--confg is not an option; the nearest is --")
    assert parse_problem(KeyError("x")) == "KeyError: 'x'"
    number = flags.IllegalFlagValueError("flag --config.train.steps=ten: invalid literal for int() with base 10: 'ten'")
    assert parse_problem(number) == "--config.train.steps=ten: a whole number is wanted"


@pytest.mark.parametrize("kind", [RunConfig, EvalSettings])
def test_every_key_is_listed_with_its_default(kind):
    text = keys_text(kind)
    found = {key.name: key for key in keys_of(kind)}
    config = run_config.editable(kind())
    for name in found:
        place = config
        for part in name.split(".")[1:]:
            place = place[part]  # there is no key that does not exist
        assert f"  --{name}=" in text
    assert text.count("\n  --config.") == len(found)


def test_comments_beside_below_and_above_belong_to_their_key():
    comments = field_comments(RolloutSettings)
    assert comments["turns"].endswith("and SFT teaches the turns that records demonstrate")
    assert comments["overlap"].startswith("Sample the next step's answers")
    assert comments["tensor"].startswith("On a mesh") and comments["kv_dtype"].startswith("of the key-value")
    assert comments["max_pictures"] == "a sample may come to, those of the question included"
    (every,) = (k for k in keys_of(RunConfig) if k.name == "config.checkpoint.every")
    assert (every.kind, every.default) == ("int, at least 1", "50")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "--workdir WORKDIR    directory of the run"),
        (["--keys"], 0, "--config.optimizer.learning_rate=1e-06  (float, at least 0)"),
        (["--confg=configs/debug_cpu.py"], 2, "--confg is not an option; the nearest is --config\n"),
        (["--config=configs/debug_cpu.py", "--workdir={out}"], 2, "train: config.model.path is not set"),
        (["--config=configs/debug_cpu.py:grp", "--workdir={out}"], 2, "takes :grpo, :sft or :dpo, not 'grp'"),
        (["--config=configs/debug_cpu.py"], 2, "train: --workdir is missing"),
    ],
)
def test_the_verb_itself(tmp_path, arguments, code, words):
    command = [sys.executable, "-m", "spatial_jax.train", *(a.format(out=tmp_path / "run") for a in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    assert done.returncode == code, done.stderr
    assert words in (done.stderr if code else done.stdout)
    assert not code or done.stderr.count("\n") == 1, done.stderr
