"""The recipes of CONTRIBUTING, followed: a toy of each kind by the files and the one line that the recipe names."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path

import pytest

from spatial_jax.rewards.kinds import KINDS

ROOT = Path(__file__).parents[2]
REWARD = '''
"""1 for an answer with as many letters as the true one."""
from spatial_jax.rewards.base import answer_kind

def _check(record, spec):
    if not record["answer"]:
        raise ValueError("answer '' has no length")

def accuracy(answer, record, spec, context):
    return float(abs(len(answer.strip()) - len(record["answer"])) <= spec["off"])

KIND = answer_kind("as_long", {"off": 0}, accuracy, _check)
'''
FAMILY = '''
"""What stands highest in the picture."""
from data_prep.synthesis.draft import Draft, Form, name_facts
from data_prep.synthesis.registry import family

HIGHEST = Form("highest", 0, ("Which object is the highest in the picture?",), ())

@family("highest", example="Which object is the highest in the picture? -> red ball")
def highest(view, rng, options):
    things = sorted(view.things, key=lambda thing: thing.v)
    if len(things) < 2 or things[1].v - things[0].v < 4:
        return
    template, wording = HIGHEST.pick(rng, options)
    yield Draft("highest", HIGHEST, template, wording, "word", things[0].caption, {"kind": "word"},
                things[1].v - things[0].v, (things[0],), {"v": [thing.v for thing in things]},
                facts=tuple(name_facts(("highest",), [(things[0], True)], 2)))
'''
BENCHMARK = '''
"""Lines of question<TAB>answer."""
from spatial_jax.evals.benchmarks.base import Benchmark, correct

def load(root):
    rows = (line.split("\\t") for line in (root / "toy.tsv").read_text().splitlines())
    return [{"id": str(n), "question": q, "answer": a, "images": []} for n, (q, a) in enumerate(rows)]

BENCHMARK = Benchmark(
    name="toy_bench", title="Toy", hub="", required=("answer",), load=load,
    prompt=lambda item, scoring: item["question"],
    score=lambda response, item, scoring: correct(response.strip() == item["answer"], response.strip()),
    category=lambda item: "all", oracle=lambda item, scoring: item["answer"], scorings=("official",),
)
'''


@pytest.fixture
def add_file(tmp_path, monkeypatch):
    """add_file(package, name, text): the module that a new file of that name in the package would be."""

    def add(package: str, name: str, text: str):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(f"{package}.{name}", tmp_path / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        return module

    return add


def test_a_reward(add_file, monkeypatch):
    from spatial_jax.rewards import score
    from spatial_jax.rewards.lint import lint_case

    monkeypatch.setitem(KINDS, "as_long", add_file("spatial_jax.rewards.kinds", "as_long", REWARD).KIND)
    record = {"question": "Which?", "answer": "left", "question_type": "word", "options": (), "meta": {}}
    record["question_id"] = "toy"
    assert score({"kind": "as_long"}, "upon", record) == 1.0 and score({"kind": "as_long"}, "up", record) == 0.0
    spec = {"kind": "as_long", "off": 2, "format": "think_answer", "format_weight": 0.5}
    assert score(spec, "<think>it is</think><answer>up</answer>", record) == 1.0
    with pytest.raises(ValueError, match="did you mean 'off'"):
        score({"kind": "as_long", "of": 2}, "up", record)
    assert lint_case("as_long", spec, record, long=False)


def test_a_question_family(add_file, monkeypatch):
    from data_prep.synthesis import FAMILIES, Generator, Options, choose_families
    from spatial_jax.rewards import score

    sys.path.insert(0, str(ROOT / "tests" / "data_prep"))
    from synthesis_world import scene

    monkeypatch.setitem(FAMILIES, "highest", add_file("data_prep.synthesis.families", "highest", FAMILY).highest)
    make = Generator(choose_families("highest"), Options(), per_scene=2)
    records = [record for index in range(12) for record in make(scene(index))]
    assert records and {record.family for record in records} == {"highest"}
    shown = records[0].as_dict()
    assert score(shown["reward"], records[0].answer, shown) == 1.0


def test_a_benchmark(add_file, monkeypatch, tmp_path):
    from spatial_jax.evals import get_benchmark, registry, score_response

    add_file("spatial_jax.evals.benchmarks", "toy_bench", BENCHMARK)
    monkeypatch.setattr(registry, "_NAMES", (*registry._NAMES, "toy_bench"))
    (tmp_path / "toy.tsv").write_text("Left or right?\tleft\nUp or down?\tup\n")
    try:
        bench = get_benchmark("toy-bench")
        items = bench.load(tmp_path)
        scores = [score_response("toy_bench", "left", item)["score"] for item in items]
        assert scores == [1.0, 0.0] and "toy_bench" in registry.BENCHMARKS
    finally:
        get_benchmark.cache_clear()


def test_the_files_that_contributing_names_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = [name for name in re.findall(r"`([\w./]+)`", text) if "/" in name]
    assert len(named) > 12 and [name for name in named if not (ROOT / name).exists()] == []
    drawn = re.findall(r"^    (spatial_jax/[\w/]+|data_prep/[\w/]+)  ", text, re.M)
    assert len(drawn) > 12
    assert [name for name in drawn if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []
