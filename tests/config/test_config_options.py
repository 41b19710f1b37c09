"""A list flag is the same as `--flag=a,b` and as `--flag=a --flag=b`, in every command that has one."""

import argparse
import shlex
import subprocess
import sys

import pytest
from absl import flags
from hypothesis import given, strategies

from launch import proofs, sweep
from spatial_jax import convert
from spatial_jax.options import Listed, command_text, define_list, flag_parts, list_parts

BOTH = [["--names=a, b,c"], ["--names=a", "--names", "b,c"], ["--names=a,b", "--names=c", "--names=a,"]]


@pytest.mark.parametrize("arguments", BOTH)
def test_both_spellings_of_a_list_are_the_same(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", default="z", action=Listed)
    assert list_parts(parser.parse_args(arguments).names) == ["a", "b", "c"]
    assert list_parts(parser.parse_args([]).names) == ["z"]


@pytest.mark.parametrize("arguments", BOTH)
def test_absl_takes_both_as_well(arguments):
    define_list("names", "names")
    try:
        values = flags.FlagValues()
        values["names"] = flags.FLAGS["names"]
        values(["program", *arguments])
        assert flag_parts(flags.FlagHolder(values, values["names"])) == ["a", "b", "c"]
    finally:
        delattr(flags.FLAGS, "names")


def test_convert_and_the_launchers_take_both(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(convert, "_fresh", lambda size, texts, *rest: asked.append(texts) or 0)
    assert convert.main(["--fresh=tiny", "--texts=a,b", "--texts", "c", "--out", str(tmp_path)]) == 0
    monkeypatch.setattr(proofs, "run_seeds", lambda root, plans, at_once: asked.append([*plans]) or 3)
    monkeypatch.setattr(proofs.StepRunner, "run", lambda self: 0)
    monkeypatch.setattr(sys, "argv", ["proofs", "--seeds=1", "--seeds=2,5", f"--root={tmp_path}"])
    assert proofs.main() == 3
    monkeypatch.setattr(sweep, "members", lambda *rest: [sweep.Member("m", {}, [])])
    monkeypatch.setattr(sweep.Sweep, "run", lambda self: 0)
    monkeypatch.setattr(sweep.Sweep, "record", lambda self, member: {"code": 0})
    monkeypatch.setattr(sweep, "recipe_table", lambda spec: "")
    monkeypatch.setattr(sweep, "write_results", lambda workdir, runs, metrics, table: asked.append(metrics) or "")
    assert sweep.main(["--config=c.py", f"--workdir={tmp_path}", "--metrics=loss", "--metrics", "kl,lr"]) == 0
    assert asked == [["a", "b", "c"], [1, 2, 5], ["loss", "kl", "lr"]]


def test_a_plans_programs_are_a_list_flag():
    code = "from launch import plan; from absl import flags; from spatial_jax.options import flag_parts\n"
    code += "flags.FLAGS(['plan', '--programs=update', '--programs=apply,decode']); print(flag_parts(plan._PROGRAMS))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.stdout.strip() == "['update', 'apply', 'decode']", done.stderr[-400:]


@given(strategies.lists(strategies.text(alphabet="ab=-\"'$`\\! ()\n#é", max_size=12), max_size=4))
def test_a_shown_command_is_what_a_shell_reads(words):
    assert shlex.split(command_text(words)) == words


def test_a_shown_command_is_what_one_would_type():
    words = ["-m", "x", "--config.data.paths=('runs/a',)", '--paths=("runs/a",)', "--title=A run", "--empty="]
    assert command_text(words) == (
        """-m x --config.data.paths="('runs/a',)" --paths='("runs/a",)' --title='A run' --empty="""
    )
