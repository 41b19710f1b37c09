"""The benchmarks by name, and `score_response`, the pure scorer of one response."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from spatial_jax.blocks import strip_end_marks
from spatial_jax.evals.benchmarks.base import Benchmark, Item, ItemError, missing
from spatial_jax.forms import extract_answer, get_form

_NAMES = (
    "cv_bench",
    "vsi_bench",
    "spar_bench",
    "spbench",
    "mmsi_bench",
    "viewspatial",
    "sat_real",
    "blink",
    "srbench_3d",
    "spatial457",
    "spatial_eval",
    "q_spatial",
    "whatsup",
    "embspatial",
    "realworldqa",
    "mindcube",
    "vsr",
    "spatialrgpt_bench",
    "omnispatial",
    "site_bench",
    "vsi_debiased",
    "revsi",
    "mmsi_video",
    "sti_bench",
    "erqa",
    "refspatial",
    "where2place",
    "spatialviz",
    "osi_bench",
    "robospatial_home",
    "pointbench",
    "vsi_super_recall",
    "vsi_super_count",
    "mmbench",
    "mmstar",
    "hallusionbench",
    "ocrbench",
    "docvqa",
    "textvqa",
    "chartqa",
    "mme",
    "ai2d",
    "seed_bench",
    "pope",
    "general_qa",
)
_ALIASES = {
    "3dsrbench": "srbench_3d",
    "viewspatial_bench": "viewspatial",
    "spatialeval": "spatial_eval",
    "qspatial": "q_spatial",
    "sat": "sat_real",
    "embspatial_bench": "embspatial",
    "spatialrgpt": "spatialrgpt_bench",
    "cvbench": "cv_bench",
    "vsibench": "vsi_bench",
    "mmsi": "mmsi_bench",
    "sparbench": "spar_bench",
    "omni_spatial": "omnispatial",
    "site": "site_bench",
    "robospatial": "robospatial_home",
    "hallusion_bench": "hallusionbench",
    "seed": "seed_bench",
    "seedbench": "seed_bench",
    "seedbench2_plus": "seed_bench",
    "sitebench": "site_bench",
    "vsi_bench_debiased": "vsi_debiased",
    "mmsi_video_bench": "mmsi_video",
    "mmsivideobench": "mmsi_video",
    "stibench": "sti_bench",
    "refspatial_bench": "refspatial",
    "spatialviz_bench": "spatialviz",
    "spatial_visualization_benchmark": "spatialviz",
    "osibench": "osi_bench",
    "mindcube_tiny": "mindcube",
}


def benchmark_names() -> tuple[str, ...]:
    """All names that --benchmarks takes."""
    return _NAMES


@functools.cache
def get_benchmark(name: str) -> Benchmark:
    """A benchmark by name. ValueError naming the nearest one for an unknown name."""
    key = name.strip().lower().replace("-", "_")
    key = _ALIASES.get(key, key)
    if key not in _NAMES:
        near = difflib.get_close_matches(key, _NAMES, n=1, cutoff=0.0)
        raise ValueError(f"benchmark {name!r} is not known; the nearest is {near[0]}; all: {', '.join(_NAMES)}")
    return importlib.import_module(f"spatial_jax.evals.benchmarks.{key}").BENCHMARK


class _Registry(Mapping[str, Benchmark]):
    """name -> Benchmark, each loaded on first use."""

    def __getitem__(self, name: str) -> Benchmark:
        if name not in _NAMES:
            raise KeyError(name)
        return get_benchmark(name)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


BENCHMARKS: Mapping[str, Benchmark] = _Registry()


def check_scoring(benchmark: Benchmark, scoring: str) -> None:
    """ValueError when the benchmark has no such scoring."""
    if scoring not in benchmark.scorings:
        raise ValueError(f"{benchmark.name}: no scoring {scoring!r}; it has {', '.join(benchmark.scorings)}")


def check_item(benchmark: Benchmark, item: Item) -> None:
    """ItemError naming the first required field that the item lacks."""
    for field in benchmark.required:
        value = item.get(field)
        if value is None or (isinstance(value, (str, float)) and missing(value)):
            raise ItemError(
                f"{benchmark.name}: item {item.get('id', '?')} lacks {field!r}; it needs"
                f" {', '.join(benchmark.required)}"
            )


def form_answer(response: str, form: str) -> str | None:
    """The answer that a response of a form holds (the whole stripped text for bare and vanilla), None when the form is
    not kept or its answer is empty. ValueError for an unknown form.
    """
    chosen = get_form(form)
    return extract_answer(response, chosen.format) if chosen.tagged else strip_end_marks(response).strip()


def score_response(
    benchmark: str, response: str | None, item: Item, scoring: str = "official", form: str | None = None
) -> dict[str, Any]:
    """{"score": float, "parsed": what the rule read, None when nothing} of one response to one item (its published
    fields).

    form: the name of the response form the policy answers in; what it extracts is read by the scoring second, so
    "<think>...</think><answer>B</answer>" is read as "B" (in the words that the scoring asks for). A response that does
    not keep its form scores 0, also where the scoring would pay for an empty answer. A missing response counts as the
    empty text. ValueError (ItemError) for an item that cannot be scored, ValueError for an unknown name."""
    chosen = get_benchmark(benchmark)
    check_scoring(chosen, scoring)
    check_item(chosen, item)
    text: str | None = "" if response is None else str(response)
    if form is not None:
        text = form_answer(str(text), form)
        if text is None:
            return {"score": 0.0, "parsed": None}
        if chosen.dress and get_form(form).tagged:
            text = chosen.dress(text, item, scoring)
    try:
        score, parsed = chosen.score(str(text), item, scoring)
    except ItemError:
        raise
    except (OverflowError, ValueError, RecursionError):  # numbers or nesting without end: a text that reads as nothing
        return {"score": 0.0, "parsed": None}
    except (KeyError, IndexError, TypeError, ZeroDivisionError) as error:
        raise ItemError(
            f"{chosen.name}: item {item.get('id', '?')} cannot be scored ({type(error).__name__}: {error})"
        ) from error
    return {"score": float(score), "parsed": parsed}
