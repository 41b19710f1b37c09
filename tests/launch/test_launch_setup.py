"""What a newcomer's machine brings: another Python, a torchvision of another build, an empty folder and a wheel."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launch.check_pythons import build_wheel, interpreter
from spatial_jax.pages.page import SCRIPTS

HERE = Path(__file__).resolve().parents[2]


def pick(tmp_path, versions, *given):
    """launch/pick_python.sh with Pythons of these versions on the path; the name of the chosen one."""
    for name, version in versions.items():
        found = f'import sys; sys.version_info = {version}; exec(sys.argv[2] if sys.argv[1] == "-c" else "")'
        stub = tmp_path / name
        stub.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{found}' \"$@\"\n")
        stub.chmod(0o755)
    env = {"PATH": f"{tmp_path}", "HOME": str(tmp_path)}
    script = ["/bin/sh", str(HERE / "launch/pick_python.sh"), *given]
    return subprocess.run(script, capture_output=True, text=True, env=env)


@pytest.mark.parametrize(
    ("versions", "given", "name", "words"),
    [
        ({"python3": (3, 12, 1), "python3.11": (3, 11, 7)}, (), "python3", ""),
        ({"python3": (3, 9, 2), "python3.11": (3, 11, 7)}, (), "python3.11", "python3 is Python 3.9, and Python 3.11"),
        ({"python3": (3, 14, 0), "python3.13": (3, 13, 0), "python3.11": (3, 11, 7)}, (), "python3.13", "Python 3.14"),
        ({"python3": (3, 9, 2)}, (), "", "python3 is Python 3.9, and Python 3.11, 3.12 or 3.13 is needed: install one"),
        ({"python3": (3, 12, 1), "mine": (3, 8, 0)}, ("mine",), "", "mine is Python 3.8"),
        ({}, (), "", "python3 is no Python"),
    ],
)
def test_the_set_up_takes_a_python_that_fits(tmp_path, versions, given, name, words):
    done = pick(tmp_path, versions, *given)
    assert Path(done.stdout.strip()).name == name and done.returncode == (0 if name else 2)
    assert words in done.stderr and done.stderr.count("\n") == bool(words)


FAKE = """
from . import extension
import torch

extension._assert_has_ops()
torch.library.register_fake("torchvision::nms", lambda dets, scores, iou_threshold: scores)
"""
EXTENSION = """
import torch


def _assert_has_ops():
    if not hasattr(torch.ops.torchvision, "roi_align"):
        raise RuntimeError("Couldn't load custom C++ ops")
"""
USED = """
import torch
import torchvision

boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.1], [9.0, 9.0, 10.0, 10.0]])
print(torch.ops.torchvision.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist())
"""


def test_a_torchvision_of_another_build_is_made_to_import(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(FAKE)
    (package / "extension.py").write_text(EXTENSION)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    fit = [sys.executable, str(HERE / "launch/fit_torchvision.py")]
    assert subprocess.run([sys.executable, "-c", USED], env=env, capture_output=True).returncode == 1
    told = [subprocess.run(fit, env=env, capture_output=True, text=True, check=True).stdout for _ in range(2)]
    assert told == ["torchvision is built for another PyTorch: its two operators now come as plain tensors\n", ""]
    done = subprocess.run([sys.executable, "-c", USED], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 2]\n"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The wheel's content."""
    folder = tmp_path_factory.mktemp("wheel")
    with zipfile.ZipFile(build_wheel(folder)) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def test_the_wheel_holds_what_the_commands_name_and_nothing_else_at_its_top(unpacked):
    assert {p.name for p in unpacked.iterdir() if not p.name.endswith(".dist-info")} == {
        *("spatial_jax", "data_prep", "configs", "launch")
    }
    for room in ("spatial_jax", "data_prep", "configs", "launch"):
        missing = {p.relative_to(HERE) for p in (HERE / room).rglob("*.py")} - {
            p.relative_to(unpacked) for p in (unpacked / room).rglob("*.py")
        }
        assert not missing, f"a folder without __init__.py is no package: {missing}"
    for policy in ("quickstart_policy", "drawing_policy"):
        packed, ours = ({p.name for p in (place / "configs" / policy).iterdir()} for place in (unpacked, HERE))
        assert packed == ours
    assert {p.name for p in HERE.glob("configs/*.py")} <= {p.name for p in unpacked.glob("configs/*.py")}
    for name in ("page.css", *SCRIPTS):
        assert (unpacked / "spatial_jax/pages" / name).is_file()
    (entry,) = unpacked.glob("*.dist-info/entry_points.txt")
    assert "spatial-jax = launch.cli:main" in entry.read_text()


def test_an_installed_recipe_and_policy_are_found_from_an_empty_folder(unpacked, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(unpacked), "JAX_PLATFORMS": "cpu"}
    verb = [sys.executable, "-m", "launch.cli", "train", "--config=configs/debug_cpu.py:sft", "--workdir=run"]
    done = subprocess.run(verb, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("train: config.model.path is not set"), done.stderr
    code = "from spatial_jax.models import checkpoint_directory as f; print(f('configs/quickstart_policy'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stdout.strip() == str(unpacked / "configs/quickstart_policy"), done.stderr


def test_a_python_of_a_version_that_is_not_there_is_none():
    assert interpreter("3.99") is None
    assert interpreter(f"{sys.version_info[0]}.{sys.version_info[1]}")
