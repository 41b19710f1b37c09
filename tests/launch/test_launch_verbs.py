"""Every verb's --help is laid out alike, and the installed command finds them all."""

import os
import runpy
import subprocess
import sys

import pytest

from launch import cli

MODULES = [module for verbs in cli.VERBS.values() for module, _ in verbs.values()]
ABSL = ("spatial_jax.train", "spatial_jax.evaluate", "spatial_jax.chat", "launch.plan")


def help_of(module, capsys, monkeypatch):
    if module in ABSL:  # each defines flags for the whole process
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "COLUMNS": "100"},
        )
        return done.returncode, done.stdout, done.stderr
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    told = capsys.readouterr()
    return left.value.code, told.out, told.err


@pytest.mark.parametrize("module", [*MODULES, "launch.tpu_run", "launch.worker", "launch.quickstart"])
def test_help_is_laid_out_alike(module, capsys, monkeypatch):
    code, out, err = help_of(module, capsys, monkeypatch)
    assert (code, err) == (0, "")
    assert out.startswith("usage: python ") and "options]" in out.splitlines()[0]
    assert "\noptions:\n  -h, --help" in out and f"{module.replace('launch.tpu_run', 'launch/tpu_run.py')}" in out
    assert "--alsologtostderr" not in out and "--helpfull" not in out
    # An example whose line goes on keeps its backslash, so that it can be copied.
    assert not [line for line in out.splitlines() if line.strip().startswith("python") and "         --" in line]


def test_every_flag_of_an_absl_verb_is_in_its_help():
    done = subprocess.run([sys.executable, "-m", "spatial_jax.chat", "--help"], capture_output=True, text=True)
    for flag in ("model", "image", "video", "question", "temperature", "box_units"):
        assert f"--{flag} " in done.stdout


def test_the_installed_command_lists_its_verbs(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["spatial-jax", "--help"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    told = capsys.readouterr().out
    assert left.value.code == 0 and all(module in told for module in MODULES)


def test_the_installed_command_runs_a_verb_and_names_the_nearest(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["spatial-jax", "report", str(tmp_path / "nothing")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2 and capsys.readouterr().err.startswith("report: ")
    monkeypatch.setattr(sys, "argv", ["spatial-jax", "trian"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2 and capsys.readouterr().err == "spatial-jax: 'trian' is no verb; did you mean train?\n"
