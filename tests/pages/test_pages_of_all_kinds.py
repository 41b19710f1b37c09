"""Every page that the verbs write, in a real browser at two widths and in two schemes: no error, filters filter."""

import importlib
import json

import pytest

from launch.sweep_results import write_results
from spatial_jax.evals.comparison import compare
from spatial_jax.evals.page import write_page
from spatial_jax.metrics import MetricsWriter
from spatial_jax.metrics.report import build_report, load_run
from tests.browser import Browser
from tests.data_prep import test_inspect_pages as inspecting
from tests.evals import test_evals_page as evaluating
from tests.metrics import test_metrics_report as reporting

pytestmark = [pytest.mark.proof, pytest.mark.browser]
KINDS = ("report", "several", "scenes", "questions", "evaluation", "sweep")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """One page a kind, from fabricated runs and datasets."""
    root = tmp_path_factory.mktemp("pages")
    run, other = (reporting.made_run(root / name) for name in ("run", "other"))
    config = json.loads((other / "grpo" / "config.json").read_text())
    (other / "grpo" / "config.json").write_text(json.dumps(config | {"data": {"paths": ["a", "b"]}}))
    scenes = [inspecting.scene(), inspecting.scene("blue box", split="heldout")]
    asked = [inspecting.question(), inspecting.question("blue box", question_type="number", answer="2.5")]
    folders = {
        "scenes": inspecting.write(root / "scenes", "scenes", scenes, inspecting.scene_features()),
        "questions": inspecting.write(root / "questions", "questions", asked, inspecting.question_features()),
    }
    found = {
        "report": build_report([load_run(run)], compare=compare).write(root / "report.html"),
        "several": build_report([load_run(run), load_run(other)], compare=compare).write(root / "several.html"),
        "sweep": sweep(root),
    }
    for kind, folder in folders.items():
        assert importlib.import_module("data_prep.inspect.__main__").main([str(folder)]) == 0
        found[kind] = folder / "inspect.html"
    result, views = evaluating.result(root)
    picture = inspecting.question().images[0]
    found["evaluation"] = write_page(result, root / "eval.html", items=[v | {"images": [picture]} for v in views])
    return found


def sweep(root):
    """The page of two settings with two seeds each."""
    runs = []
    for rate in (1e-4, 1e-3):
        for seed in (0, 1):
            runs.append(({"optimizer.learning_rate": rate, "train.seed": seed}, root / "sweep" / f"{rate}_{seed}"))
            with MetricsWriter(runs[-1][1], ("jsonl",)) as writer:
                for step in range(12):
                    writer.write(step, {"reward/mean": rate * step + 0.01 * seed, "loss": 1.0 / (step + 1)})
    write_results(root / "sweep", runs, ("reward/mean", "loss"))
    return root / "sweep" / "sweep.html"


@pytest.fixture(scope="module")
def browser():
    with Browser() as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", KINDS)
def test_no_error_no_request_and_nothing_wider_than_the_window(browser, pages, kind, width, dark):
    browser.open(pages[kind], width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(e => { e.open = true; })")
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.problems == [] and browser.requests == [pages[kind].resolve().as_uri()]
    broken = "[...document.images].filter(i => i.complete && i.src && !i.naturalWidth).length"
    assert browser.run(broken) == 0


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "sweep"])
def test_filters_filter(browser, pages, kind):
    browser.open(pages[kind])
    browser.run("window.root = document.querySelector('.searchable')")
    shown = "[...root.querySelectorAll('.item')].filter(e => !e.classList.contains('off')).length"
    before = browser.run(shown)
    browser.run(
        "{const i = root.querySelector('input'); i.value = 'no such word'; i.dispatchEvent(new Event('input'))}"
    )
    assert browser.run(shown) == 0 < before
    browser.run("{const i = root.querySelector('input'); i.value = ''; i.dispatchEvent(new Event('input'))}")
    assert browser.run(shown) == before


def test_the_verdict_of_an_evaluation_narrows_it(browser, pages):
    browser.open(pages["evaluation"])
    browser.run("document.querySelector('[data-value=wrong]').click()")
    assert browser.run("document.querySelector('.count').textContent") == "8 of 24 shown"


def test_runs_beside_one_another_sort_by_a_column(browser, pages):
    browser.open(pages["several"])
    head = "document.querySelector('#side-by-side th button')"
    first = "document.querySelector('#side-by-side tbody td').textContent"
    assert browser.run(first) == "run"
    browser.run(f"{head}.focus()")
    browser.press("Enter")
    assert browser.run(first) == "other"
