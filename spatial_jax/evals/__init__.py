"""Evaluation: public spatial benchmarks with their official scoring, and any data_prep dataset as a benchmark. Names
load on first use.
"""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.evals.comparison import compare, compare_table
    from spatial_jax.evals.heldout import blind_priors, evaluate_heldout, perfect_response
    from spatial_jax.evals.leakage import find_leaks
    from spatial_jax.evals.page import write_page
    from spatial_jax.evals.registry import BENCHMARKS, benchmark_names, get_benchmark, score_response
    from spatial_jax.evals.responses import ResponseLog, read_responses
    from spatial_jax.evals.results import (
        ScoredItem,
        read_result,
        result_table,
        summarise,
        write_result,
    )
    from spatial_jax.evals.runner import Sampler, run_benchmark, run_heldout
    from spatial_jax.evals.scoring import evaluate_responses
    from spatial_jax.evals.tables import TABLES, build_table

__getattr__, __all__ = lazy_names(__name__, __file__)
