"""The notebooks: their outputs are in, small and without faults; pages are made of them; the proof runs them again."""

import importlib
import json
import re
import sys

import pytest

from tests.docs.blocks import HERE

BOOKS = sorted((HERE / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture
def notebooks(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE / "docs"))
    yield importlib.import_module("run_notebooks")
    sys.modules.pop("run_notebooks", None)


def test_every_notebook_is_run_and_in_the_navigation(notebooks):
    assert sorted(notebooks.ORDER) == [book.stem for book in BOOKS]
    pages = re.findall(r"notebooks/(\w+)\.md", (HERE / "docs" / "mkdocs.yml").read_text())
    assert tuple(pages) == notebooks.ORDER


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_a_notebook_holds_its_outputs(book):
    text = book.read_text()
    assert len(text) < 300_000 and not re.search(r"/(work|tmp|home|root)/", text)
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs and not [o for o in outputs if o["output_type"] == "error"]
    assert all(cell["execution_count"] for cell in cells)
    assert not re.search(r"Traceback|exit code [1-9]", text)


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_links_of_a_notebook_lead_somewhere(book):
    for target in re.findall(
        r"\]\(([^)#]+)\)", "".join(s for c in json.loads(book.read_text())["cells"] for s in c["source"])
    ):
        assert (book.parent / target).exists(), target


def test_a_page_is_made_of_a_notebook(notebooks, tmp_path):
    text = notebooks.page("questions", tmp_path).read_text()
    assert text.startswith("# Questions from a picture") and "```python" in text and "(reward_and_run.md)" in text
    pictures = re.findall(r"!\[[^]]*\]\((questions_\d+\.png)\)", text)
    assert len(pictures) == 2 and all((tmp_path / name).stat().st_size > 500 for name in pictures)


def test_outputs_are_kept_without_times_colours_and_overwritten_lines(notebooks):
    texts = ("1 of 2\r", "2 of 2\r\n", "\x1b[31mred\x1b[0m  \n")
    pieces = [{"output_type": "stream", "name": "stdout", "text": text} for text in texts]
    cell = {"cell_type": "code", "metadata": {"execution": {"t": 1}}, "source": [], "outputs": pieces}
    book = notebooks.tidy({"metadata": {"kernelspec": {"name": "mine"}}, "cells": [cell]})
    assert book["cells"][0]["outputs"][0]["text"] == ["2 of 2\n", "red\n"] and book["cells"][0]["metadata"] == {}
    assert book["metadata"]["kernelspec"]["name"] == "python3"


@pytest.mark.proof
def test_the_notebooks_run(notebooks, tmp_path):
    for name in notebooks.ORDER:
        book = notebooks.run(name, tmp_path)  # raises where a cell fails
        text = json.dumps(book)
        assert not re.search(r"Traceback|exit code [1-9]", text), name
