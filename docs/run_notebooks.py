"""The notebooks of docs/notebooks: run them with their outputs in, and make a page of each.

python docs/run_notebooks.py                     # runs them in order in runs/notebooks_run and keeps their outputs
python docs/run_notebooks.py --only=read_a_run   # one, on what is there
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
NOTEBOOKS = HERE / "notebooks"
ORDER = ("questions", "reward_and_run", "read_a_run")  # each goes on with what the one before it left
LIMIT_S = 1800  # of one cell
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def run(name: str, folder: Path) -> dict[str, Any]:
    """The notebook with its outputs, run in `folder` by this Python. Raises nbclient's CellExecutionError."""
    import nbformat
    from nbclient import NotebookClient

    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # what !python means
    os.environ["PYTHONPATH"] = str(HERE.parent)
    os.environ["COLUMNS"] = "110"
    book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    NotebookClient(
        book, timeout=LIMIT_S, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return tidy(json.loads(nbformat.writes(book)))


def tidy(book: dict[str, Any]) -> dict[str, Any]:
    """Without times, colours and lines that were overwritten; neighbouring pieces of one stream as one."""
    book["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in book["cells"]:
        cell["metadata"] = {}
        if "outputs" in cell:
            cell["outputs"] = _tidy_outputs(cell["outputs"])
    return book


def _tidy_outputs(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []
    for output in found:
        if output["output_type"] == "stream":
            text = "".join(output["text"])
            if outputs and outputs[-1].get("name") == output["name"]:
                text = outputs.pop()["text"] + text
            output["text"] = text
        elif "image/png" in output.get("data", {}):
            output["data"].pop("image/jpeg", None)  # the same picture twice
        output.get("metadata", {}).clear()
        outputs.append(output)
    for output in outputs:
        if output["output_type"] == "stream":
            lines = _COLOUR.sub("", output["text"]).replace("\r\n", "\n").split("\n")
            kept = "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines)
            output["text"] = kept.splitlines(keepends=True)
    return outputs


def page(name: str, target: Path) -> Path:
    """Writes NAME.md with the notebook's text, code and outputs to `target`, its pictures beside it."""
    book = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    target.mkdir(parents=True, exist_ok=True)
    parts: list[str] = []
    for number, cell in enumerate(book["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source.replace(".ipynb)", ".md)"))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                file = f"{name}_{number}.png"
                (target / file).write_bytes(base64.b64decode("".join(data["image/png"])))
                parts.append(f"![Output of the cell above]({file})")
            elif text := "".join(output.get("text") or data.get("text/plain") or ()).rstrip():
                parts.append(f"```text\n{text}\n```")
    head, rest = parts[0], parts[1:]
    told = f"A notebook: [`docs/notebooks/{name}.ipynb`]({name}.ipynb), with its outputs as they were seen."
    shutil.copy(NOTEBOOKS / f"{name}.ipynb", target)
    (target / f"{name}.md").write_text("\n\n".join([head, told, *rest]) + "\n")
    return target / f"{name}.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=str(HERE.parent / "runs" / "notebooks_run"), help="where they run")
    parser.add_argument("--only", default="", choices=("", *ORDER), help="one of them, on what the others left there")
    args = parser.parse_args()
    folder = Path(args.folder)
    if not args.only:
        shutil.rmtree(folder, ignore_errors=True)
    for name in [args.only] if args.only else ORDER:
        text = json.dumps(run(name, folder), indent=1, ensure_ascii=False) + "\n"
        (NOTEBOOKS / f"{name}.ipynb").write_text(text)
        print(f"{name}: {len(text) / 1e3:.0f} kB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
