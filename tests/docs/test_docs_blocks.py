"""What README and docs tell to type exists: modules, files, flags, config keys, recipes, their arguments; every block
is run by the proof or says why not.
"""

import ast
import functools
import importlib
import importlib.util
import os
import re
import runpy
import subprocess
import sys

import pytest

from launch import quickstart
from launch.cli import VERBS
from spatial_jax.config_keys import keys_of
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.metrics.alarms import RULES
from spatial_jax.training.settings import RunConfig
from tests.docs.blocks import HERE, PAGES, blocks_of, inline_commands

BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = [(block.name, command) for block in BLOCKS for command in block.commands] + [
    (page.name, command) for page in PAGES for command in inline_commands(page)
]
ABSL = {"spatial_jax.train": RunConfig, "spatial_jax.evaluate": EvalSettings, "launch.plan": RunConfig}
PASSES_ON = ("launch.sweep", "launch.tpu_run", "launch.worker")  # their --config.KEY are a training's
FORMS = {"...", "FILE", "QUESTIONS"}


@functools.cache
def flags_of(module):
    """Names of a verb's flags, by its --help."""
    if module in ABSL or module == "spatial_jax.chat":
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        text = done.stdout
    else:
        text = help_in_process(module)
    return set(re.findall(r"--(?:\[no\])?([a-z_A-Z]\w*)", text)) | {"help"}


def help_in_process(module):
    import contextlib
    import io

    out = io.StringIO()
    before = sys.argv
    sys.argv = [module, "--help"]
    try:
        with contextlib.redirect_stdout(out), pytest.raises(SystemExit):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    return out.getvalue()


def module_of(command):
    """(module, arguments) of a command that Python runs."""
    if command[0] == "spatial-jax":
        modules = {verb: module for verbs in VERBS.values() for verb, (module, _) in verbs.items()}
        return (modules[command[1]], command[2:]) if command[1:] and command[1] in modules else ("", ())
    if command[1] == "-m":
        return command[2], command[3:]
    return command[1].removesuffix(".py").replace("/", "."), command[2:]


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_command_names_exists(name, command):
    if command[0] == "make":
        targets = re.findall(r"^([\w-]+):", (HERE / "Makefile").read_text(), re.M)
        assert command[1] in targets, name
    elif command[0] == "pip":
        extras = re.findall(r'^    "(\w+)": \[', (HERE / "setup.py").read_text(), re.M)
        for asked in re.findall(r"\[([\w,]+)\]", " ".join(command)):
            assert set(asked.split(",")) <= set(extras), name
    elif command[0] in ("python", "spatial-jax"):
        check_python(name, *module_of(command))


def check_python(name, module, arguments):
    if not module or module == "MODULE":
        return
    assert importlib.util.find_spec(module) is not None, f"{name}: no module {module}"
    if module.startswith(("benchmarks.", "docs.")):
        return
    keys = {key.name for key in keys_of(EvalSettings if module == "spatial_jax.evaluate" else RunConfig)}
    for word in arguments:
        flag, _, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or word == "--":
            continue
        if flag.startswith("config."):
            assert flag in keys, f"{name}: {flag} is no key"
            assert module in ABSL or module in PASSES_ON, name
        elif flag != "keys" or module not in ABSL:
            found = flags_of(module)
            assert flag in found or flag.removeprefix("no") in found, f"{name}: {module} has no --{flag}"
        if flag == "config" and value not in FORMS:
            check_recipe(name, value)


def check_recipe(name, value):
    file, _, argument = value.partition(":")
    assert (HERE / file).is_file(), f"{name}: there is no {file}"
    recipe = importlib.import_module(file.removesuffix(".py").replace("/", "."))
    recipe.get_config(argument) if argument else recipe.get_config()


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_every_block_is_run_or_says_why_not(block):
    only_make = all(command[0] == "make" for command in block.commands)  # CI runs these
    assert block.run or block.why_not or only_make, f"{block.name}: mark it <!-- run: NAME --> or <!-- not run: WHY -->"


def test_readme_is_short_and_its_links_lead_somewhere():
    lines = (HERE / "README.md").read_text().splitlines()
    assert len(lines) < 150
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_python_example_parses_and_imports():
    for page in PAGES:
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
            for node in ast.walk(ast.parse(code)):
                if isinstance(node, ast.ImportFrom):
                    module = importlib.import_module(node.module)
                    assert all(hasattr(module, alias.name) for alias in node.names), f"{page.name}: {node.module}"


def test_the_laptop_section_has_the_quickstarts_settings(tmp_path):
    """What decides what is learned: the scenes, the questions, the recipes, how it is evaluated."""
    (laptop,) = (block for block in BLOCKS if block.run == "laptop")
    quick = {step.name: set(step.args) for step in quickstart.steps(tmp_path, "", False, 1500, 1)}
    told = [set(command[1:]) for command in laptop.commands]
    kept = ("--preset", "--count", "--seed", "--families", "--per_scene", "--profile", "--wordings", "--config=")
    kept += ("--split", "--samples", "--temperature", "--greedy_too")
    for name in ("scenes", "questions", "grpo", "eval_after_grpo"):
        wanted = {word for word in quick[name] if word.startswith(kept)}
        assert any(wanted <= words for words in told), f"{name}: {wanted}"


def test_every_alarm_is_in_the_page_about_watching():
    page = (HERE / "docs" / "watch.md").read_text()
    for rule in RULES:
        name = rule.__name__.replace("_", " ").replace("gap out", "sampler gap out")
        assert f"| {name} |" in page


def test_the_sites_made_parts_are_made():
    sys.path.insert(0, str(HERE / "docs"))
    build = importlib.import_module("build")
    sys.path.pop(0)
    for maker in ("api", "keys", "metrics"):
        text = build.MAKERS[maker]()
        assert len(text.splitlines()) > 20
    assert "| `config.train.steps` |" in build.MAKERS["keys"]() and "policy_loss(new_logp" in build.MAKERS["api"]()
    marks = {mark for page in PAGES for mark in build.MARK.findall(page.read_text())}
    assert marks == set(build.MAKERS)
