"""Evaluation: public spatial benchmarks with their official scoring, and any data_prep dataset as a benchmark. Names
load on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

_FILES = {
    "registry": ("BENCHMARKS", "benchmark_names", "get_benchmark", "score_response"),
    "heldout": ("blind_priors", "evaluate_heldout", "perfect_response"),
    "results": ("ScoredItem", "compare", "compare_table", "read_result", "result_table", "summarise", "write_result"),
    "responses": ("ResponseLog", "read_responses"),
    "scoring": ("evaluate_responses",),
    "runner": ("Sampler", "run_benchmark", "run_heldout"),
    "tables": ("TABLES", "build_table"),
    "page": ("write_page",),
    "leakage": ("find_leaks",),
}
_HOME = {name: file for file, names in _FILES.items() for name in names}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
