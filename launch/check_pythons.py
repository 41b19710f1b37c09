"""Does the package install, import, train and evaluate on every Python that setup.py allows?

    python launch/check_pythons.py                 # 3.11, 3.12 and 3.13
    python launch/check_pythons.py 3.12 --root=runs/pythons

Builds the wheel, installs it with constraints.txt into a virtual environment for each Python (reused when it is there),
and runs the first commands of a newcomer in an empty folder: scenes, questions, three steps of training, an evaluation.
Then it says which pinned packages the registry lacks for that Python. Exit code 1 when one of them fails.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
VERSIONS = ("3.11", "3.12", "3.13")
IMPORTS = "import spatial_jax.models, spatial_jax.rl, spatial_jax.rewards, spatial_jax.evals, data_prep.geometry"
SMOKE = (
    ("python", "-c", IMPORTS),
    ("spatial-jax", "annotate", "--source=rendered", "--count=30", "--seed=2", "--workers=1", "--out=scenes"),
    ("spatial-jax", "synthesize", "--scenes=scenes", "--out=questions", "--profile=plain"),
    (
        *("spatial-jax", "train", "--config=configs/debug_cpu.py:sft", "--workdir=run"),
        *("--config.model.path=configs/quickstart_policy", "--config.data.paths=('questions',)"),
    ),
    (
        *("spatial-jax", "evaluate", "--config=configs/eval_spatial.py:tiny", "--model=run/export"),
        *("--dataset=questions", "--limit=4", "--out=eval.json"),
    ),
)


def interpreter(version: str) -> str | None:
    """A Python of that version: on the path, or one of pyenv's."""
    pyenv = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    for candidate in (f"python{version}", *map(str, pyenv)):
        probe = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            if subprocess.run(probe, capture_output=True, text=True).stdout.strip() == version:
                return candidate
        except OSError:
            continue
    return None


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout; built in a copy, so that nothing is left here."""
    copy = folder / "source"
    copy.mkdir()
    for room in ("spatial_jax", "data_prep", "configs", "launch"):
        shutil.copytree(HERE / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("setup.py", "README.md"):
        shutil.copy(HERE / file, copy)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", str(folder), str(copy)], check=True
    )
    return next(folder.glob("*.whl"))


def lacking(python: Path) -> list[str]:
    """Pins of constraints.txt for which the registry has no wheel that this Python takes."""
    missing = []
    for name, version in re.findall(r"^([\w.-]+)==([\w.+]+)", (HERE / "constraints.txt").read_text(), re.M):
        command = [str(python), "-m", "pip", "index", "versions", name, "--only-binary", ":all:"]
        told = subprocess.run(command, capture_output=True, text=True).stdout
        if version not in re.split(r"[\s,()]+", told.partition("Available versions:")[2]):
            missing.append(f"{name}=={version}")
    return missing


def check(version: str, root: Path, wheel: Path) -> str:
    """What went wrong, in a line; "" when all went well."""
    base = interpreter(version)
    if base is None:
        return "there is no such Python on this machine"
    python = root / version / "bin" / "python"
    if not python.exists():
        subprocess.run([base, "-m", "venv", str(root / version)], check=True)
    steps: list[tuple[str, ...]] = [
        ("python", "-m", "pip", "install", "-q", "-c", str(HERE / "constraints.txt"), str(wheel)),
        ("python", "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", str(wheel)),
        *SMOKE,
    ]
    quiet = {**os.environ, "JAX_PLATFORMS": "cpu", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory() as empty:
        for arguments in steps:
            command = [str(python.with_name(arguments[0])), *arguments[1:]]
            done = subprocess.run(command, cwd=empty, capture_output=True, text=True, env=quiet)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                return f"{' '.join(arguments[:4])} ... : {last}"
        return "" if Path(empty, "eval.json").is_file() else "the evaluation left no result"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("versions", nargs="*", default=VERSIONS, help="default: all that setup.py allows")
    parser.add_argument("--root", type=Path, default=Path("runs/pythons"), help="where the environments are kept")
    args = parser.parse_args(arguments)
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        wheel = build_wheel(Path(folder))
        for version in args.versions:
            problem = check(version, args.root.resolve(), wheel)
            failed |= bool(problem)
            print(f"Python {version}: {problem or 'installs, imports, trains and evaluates'}", flush=True)
            python = args.root / version / "bin" / "python"
            if python.exists() and (missing := lacking(python.absolute())):
                print(f"Python {version}: the registry has no wheel of {', '.join(missing)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
