"""Builds the site: the pages of docs/, with what is made of the code put in at their marks, strictly.

python docs/build.py                 # runs/site
python docs/build.py --pages_only    # runs/pages, without mkdocs
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

MARK = re.compile(r"<!-- made: (\w+) -->")
PUBLIC = (
    ("spatial_jax.models", "load_pretrained"),
    ("spatial_jax.models", "save_pretrained"),
    ("spatial_jax.models", "Policy.logits"),
    ("spatial_jax.models", "Policy.positions"),
    ("spatial_jax.models", "Policy.greedy"),
    ("spatial_jax.processing", "Processor.from_pretrained"),
    ("spatial_jax.processing", "Processor.__call__"),
    ("spatial_jax.rl", "group_advantages"),
    ("spatial_jax.rl", "policy_loss"),
    ("spatial_jax.rewards", "score"),
    ("spatial_jax.evals", "score_response"),
)


def api() -> str:
    """The stable entry points: signature and docstring."""
    parts = []
    for module, name in PUBLIC:
        thing = importlib.import_module(module)
        for part in name.split("."):
            thing = getattr(thing, part)
        signature = str(inspect.signature(thing)).replace("'", "")
        parts.append(f"## {module}.{name}\n\n```text\n{name}{signature}\n```\n\n{fence(inspect.getdoc(thing) or '')}")
    return "\n\n".join(parts)


def keys() -> str:
    """A table a configuration: every key, its type, default and meaning."""
    from spatial_jax.config_keys import keys_of
    from spatial_jax.evals.settings import EvalSettings
    from spatial_jax.training.settings import RunConfig

    parts = []
    for title, kind in (("Training", RunConfig), ("Evaluation", EvalSettings)):
        rows = [f"## {title}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        for key in keys_of(kind):
            cells = (f"`{key.name}`", key.kind, f"`{key.default}`", key.comment)
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def verbs() -> str:
    """Every verb's --help."""
    from launch.cli import VERBS

    parts = []
    for title, found in VERBS.items():
        parts.append(f"## {title[0].upper()}{title[1:]}")
        for verb, (module, what) in found.items():
            command = [sys.executable, "-m", module, "--help"]
            env = {**os.environ, "COLUMNS": "110", "JAX_PLATFORMS": "cpu"}
            told = subprocess.run(command, capture_output=True, text=True, check=True, env=env, cwd=HERE.parent).stdout
            parts.append(f"### {verb}: {what}\n\n{fence(told)}")
    return "\n\n".join(parts)


def metrics() -> str:
    """What each metric means and which way is better."""
    from spatial_jax.metrics.names import NAMES

    rows = ["| metric | on the console | better | meaning |", "|---|---|---|---|"]
    for entry in NAMES:
        rows.append(f"| `{entry.key}` | {entry.short} | {entry.better or '-'} | {entry.note} |")
    return "\n".join(rows)


def fence(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


MAKERS = {"api": api, "keys": keys, "verbs": verbs, "metrics": metrics}


def write_pages(target: Path) -> None:
    """The pages and pictures of docs/ in `target`, marks filled in."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for page in sorted(HERE.glob("*.md")):
        text = MARK.sub(lambda match: MAKERS[match.group(1)](), page.read_text())
        (target / page.name).write_text(text.replace(".ipynb)", ".md)"))  # a notebook's page
    for picture in HERE.glob("*.png"):
        shutil.copy(picture, target)
    notebooks = importlib.import_module("run_notebooks")  # beside this file
    for name in notebooks.ORDER:
        notebooks.page(name, target / "notebooks")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages_only", action="store_true", help="do not run mkdocs")
    args = parser.parse_args()
    runs = HERE.parent / "runs"
    write_pages(runs / "pages")
    if args.pages_only:
        return 0
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", str(HERE / "mkdocs.yml")]
    code = subprocess.run([*command, "-d", str(runs / "site")]).returncode
    if code == 0:
        print(f"{runs / 'site' / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
