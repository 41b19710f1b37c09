"""Files that other programs read: the workflow, the issue template, the Dockerfiles, the site's settings."""

import importlib
import re
import sys
import types

import pytest
import yaml
from PIL import Image

from spatial_jax.metrics import Alarm
from tests.docs.blocks import HERE

DOCKERFILES = sorted((HERE / "docker").glob("Dockerfile.*"))
INSTRUCTIONS = {"FROM", "ENV", "WORKDIR", "COPY", "RUN", "ENTRYPOINT", "CMD"}


def test_there_is_an_image_for_each_kind_of_machine():
    assert [file.name for file in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.cuda", "Dockerfile.tpu"]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_names_what_exists(file):
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("FROM python:3.11") and {line.split()[0] for line in lines} <= INSTRUCTIONS
    for line in lines:
        if line.startswith("COPY"):
            assert all((HERE / name).exists() for name in line.split()[1:-1]), line
    extras = re.findall(r'^    "(\w+)": \[', (HERE / "setup.py").read_text(), re.M)
    for asked in re.findall(r'"\.\[([\w,]+)\]"', file.read_text()):
        assert set(asked.split(",")) <= set(extras)
    pins = (HERE / "constraints.txt").read_text()
    for pin in re.findall(r"[\w-]+==[\w.]+", file.read_text()):
        assert re.search(rf"^{re.escape(pin)}$", pins, re.M), pin


def test_the_workflow_runs_targets_that_exist():
    flow = yaml.safe_load((HERE / ".github/workflows/test.yml").read_text())
    targets = re.findall(r"^([\w-]+):", (HERE / "Makefile").read_text(), re.M)
    commands = flow["jobs"]["test"]["strategy"]["matrix"]["command"]
    assert {"make test", "make quickstart", "make docs"} == set(commands)
    assert {command.split()[1] for command in commands} <= set(targets)
    kinds = flow["jobs"]["images"]["strategy"]["matrix"]["kind"]
    assert [f"Dockerfile.{kind}" for kind in kinds] == [file.name for file in DOCKERFILES]


def test_the_workflow_tries_the_pythons_that_set_up_allows():
    from launch.check_pythons import VERSIONS

    flow = yaml.safe_load((HERE / ".github/workflows/test.yml").read_text())
    assert flow["jobs"]["pythons"]["strategy"]["matrix"]["python"] == list(VERSIONS)
    assert 'python_requires=">=3.11,<3.14"' in (HERE / "setup.py").read_text()


def test_an_issue_asks_for_config_and_alarms():
    form = yaml.safe_load((HERE / ".github/ISSUE_TEMPLATE/run.yml").read_text())
    asked = {part["id"]: part.get("validations", {}).get("required") for part in form["body"]}
    assert asked["config"] and asked["alarms"] and asked["command"]
    text = (HERE / ".github/ISSUE_TEMPLATE/run.yml").read_text()
    assert "its manifest.json" in text  # as data_prep writes it
    assert Alarm("x", 1, 1.0, 1.0, "m", "a").line().startswith("ALARM") and "begin with ALARM" in text


def test_every_page_is_in_the_sites_navigation():
    text = (HERE / "docs" / "mkdocs.yml").read_text()
    assert {page.name for page in (HERE / "docs").glob("*.md")} == set(re.findall(r" (\w+\.md)", text))


def test_readmes_picture_takes_the_question_at_its_rank(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE / "docs"))
    picture = importlib.import_module("picture")
    monkeypatch.delitem(sys.modules, "picture")
    spec = {"reward": {"kind": "word"}, "answer": "left", "question": "Left or right?"}
    record = types.SimpleNamespace(question="Left or right?", answer="left", as_dict=lambda: spec)
    before = {"a": ["right"] * 16, "b": ["left"] * 16}
    after = {"a": ["left"] * 16, "b": ["left"] * 16, "c": ["left"] * 16}
    chosen, old, new, *means = picture.choose({"a": record, "b": record}, before, after, 1.0)
    assert (old, new, means) == ([0.0] * 16, [1.0] * 16, [0.5, 1.0])
    columns = [("before GRPO", before["a"], old), ("after GRPO", after["a"], new)]
    page = picture.page(chosen, Image.new("RGB", (420, 420)), columns, "a note")
    assert page.size[0] == picture.WIDTH and len(set(page.getdata())) > 10
