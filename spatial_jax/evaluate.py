r"""Evaluate a policy, score saved responses, compare two results, or print a paper's table.

    # a policy on public benchmarks (the published files, locally or by hub name); on self-built questions
    python -m spatial_jax.evaluate --config=configs/eval_spatial.py --model=DIR \
        --benchmarks=cv_bench,vsi_bench --data=vsi_bench=/data/VSI-Bench
    python -m spatial_jax.evaluate --config=configs/eval_spatial.py --model=DIR \
        --dataset=QUESTIONS --split=heldout --samples=8 --temperature=1.0
    # any model's saved responses, lines of {"id", "response"}
    python -m spatial_jax.evaluate --score_only=responses.jsonl --benchmark=vsi_bench \
        --data=/data/VSI-Bench --scoring=lmms_eval
    # the same for questions of your own, by their own rewards
    python -m spatial_jax.evaluate --score_only=responses.jsonl --dataset=QUESTIONS --split=heldout
    # b against a on the same items; a paper's table out of results
    python -m spatial_jax.evaluate --compare runs/a/eval/cv_bench.json runs/b/eval/cv_bench.json
    python -m spatial_jax.evaluate --table=li2025 runs/a/eval/*.json
    # does a training set hold the benchmark's pictures?
    python -m spatial_jax.evaluate --leakage=QUESTIONS --benchmarks=cv_bench --data=/data/CV-Bench

Results go to WORKDIR/eval/NAME.json with responses beside them (NAME.responses.jsonl; an interrupted run goes on there)
and a page NAME.html. Without --workdir: to --out, or evals/MODEL.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from spatial_jax.command_line import start
from spatial_jax.evals.registry import benchmark_names
from spatial_jax.evals.settings import PUBLISHED, EvalSettings
from spatial_jax.options import define_list, listed
from spatial_jax.pages import say

log = logging.getLogger(__name__)

_CONFIG = config_flags.DEFINE_config_file("config", None, "Settings: configs/eval_spatial.py[:full|vilasr|tiny].")
_MODEL = flags.DEFINE_string("model", None, "Checkpoint directory in Hugging Face layout, or a hub name.")


_BENCHMARKS = define_list(
    "benchmarks", f"Public benchmarks: {', '.join(benchmark_names())}; or all; or a suite: easi8 or general."
)
_BENCHMARK = flags.DEFINE_string("benchmark", None, "The benchmark of --score_only.")
_DATA = define_list("data", "Published files: DIR, or NAME=DIR for several benchmarks; empty: the hub.")
_DATASET = define_list("dataset", "One or more data_prep question datasets, as a benchmark of their own families.")
_SPLIT = flags.DEFINE_string("split", "heldout", "Split of --dataset.")
_FAMILIES = define_list("families", "Only these families of --dataset.")
_SCORING = flags.DEFINE_string(
    "scoring", "official", "official, lmms_eval, vlmevalkit, or another that the benchmark has."
)
_SAMPLES = flags.DEFINE_integer("samples", None, "Answers an item (pass@k); replaces the config's.", lower_bound=1)
_TEMPERATURE = flags.DEFINE_float("temperature", None, "Replaces the config's; 0 is greedy.", lower_bound=0.0)
_GREEDY = flags.DEFINE_bool(
    "greedy_too", False, "Beside the sampled answers of --dataset also one greedy answer, in NAME.greedy.json."
)
_TOKENS = flags.DEFINE_integer("max_new_tokens", None, "Replaces the config's.", lower_bound=1)
_PROMPT_MODE = flags.DEFINE_string(
    "prompt_mode",
    None,
    "The response form that questions are asked in; default: as the policy was trained. published: benchmarks without a"
    " form, as their authors ask them. With --score_only: the form of the saved responses.",
)
_SYSTEM = flags.DEFINE_string(
    "system", None, "System text; default: as trained, else the chat template's own (template); replaces the config's."
)
_ROTATIONS = flags.DEFINE_integer(
    "rotations", 1, "Ask multiple-choice items with their options rotated this many ways.", lower_bound=1
)
_LIMIT = flags.DEFINE_integer("limit", 0, "At most this many items, spread evenly; 0: all.", lower_bound=0)
_OUT = flags.DEFINE_string("out", None, "Result file (one benchmark) or folder.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Run directory; results go to WORKDIR/eval.")
_NAME = flags.DEFINE_string(
    "name", None, "Name of the result; default: the benchmark's, or the dataset's folder and split."
)
_SCORE_ONLY = flags.DEFINE_string(
    "score_only",
    None,
    "Score this responses file; needs --dataset, or --benchmark (and --data unless its lines carry their items).",
)
_COMPARE = flags.DEFINE_string("compare", None, "Compare this result (a) with the one named after it (b).")
_TABLE = flags.DEFINE_string(
    "table",
    None,
    "Print li2025, vsgrpo, spatial_ssrl, vilasr, easi8 or general from the result files named after it (or"
    " WORKDIR/eval).",
)
_LEAKAGE = flags.DEFINE_string("leakage", None, "A question dataset to search for the pictures of --benchmarks.")
_PAGE = flags.DEFINE_bool("page", True, "Write an HTML page beside each result.")


def main(argv: Sequence[str]) -> None:
    rest = list(argv[1:])
    if _COMPARE.value:
        compare_results([_COMPARE.value, *rest])
    elif _TABLE.value:
        print_table(_TABLE.value, rest)
    elif _SCORE_ONLY.value:
        score_saved(_SCORE_ONLY.value)
    elif _LEAKAGE.value:
        search_leaks(_LEAKAGE.value)
    elif _MODEL.value and (listed(_BENCHMARKS) or listed(_DATASET)):
        evaluate_model()
    else:
        raise ValueError(
            "nothing to do: give --model with --benchmarks or --dataset, or --score_only, --compare, --table, --leakage"
            " (see --help)"
        )


def evaluate_model() -> None:
    """The policy on every named benchmark, then on the datasets."""
    from spatial_jax.evals.generation import Sampler
    from spatial_jax.evals.runner import progress_printer, run_benchmark

    settings = read_settings()
    work, suite, absent = chosen_work()
    results = []
    sampler = Sampler.from_directory(str(_MODEL.value), settings)
    print(sampler.asked, flush=True)
    for loaded in work:
        name, items = loaded.name, loaded.items
        out = result_path(_NAME.value or name)
        result = run_benchmark(
            sampler,
            name,
            items,
            settings,
            scoring=chosen_scoring(),
            rotations=_ROTATIONS.value,
            responses=responses_path(out),
            progress=progress_printer(name),
        )
        results.append(keep(result, loaded.files, out))
        show(results[-1], out, items=items)
    if suite:
        show_suite(suite, results, absent)
    if listed(_DATASET):
        evaluate_datasets(sampler, settings)


def chosen_work() -> tuple[list[Any], str, dict[str, str]]:
    """(benchmarks with their items, the suite's name or "", benchmark -> why it is absent). What a suite lacks is told
    and the rest is asked; a benchmark named by itself must be there.
    """
    from spatial_jax.evals.loading import load_benchmark, with_media

    names, suite = benchmark_list()
    if len(names) > 1 and (_NAME.value or str(_OUT.value).endswith(".json")):
        raise ValueError(f"{len(names)} benchmarks cannot share one result; give --out a folder and leave --name out")
    work: list[Any] = []
    absent: dict[str, str] = {}
    for name in names:
        try:
            work.append(with_media(load_benchmark(name, listed(_DATA), _LIMIT.value)))
        except (ValueError, OSError) as error:
            if not suite:
                raise
            absent[name] = str(error)
            log.warning("%s is left out: %s", name, error)
    if suite and not work:
        raise ValueError(f"{suite}: none of its benchmarks can be read; the first: {next(iter(absent.values()))}")
    return work, suite, absent


def chosen_scoring() -> str:
    """--scoring where it is given, else the suite's, else official."""
    from spatial_jax.evals.suites import SUITES, expand

    suite = expand(listed(_BENCHMARKS))[1]
    return SUITES[suite].scoring if suite and not flags.FLAGS["scoring"].present else str(_SCORING.value)


def keep(result: dict[str, Any], files: dict[str, Any], out: Path) -> dict[str, Any]:
    """The result with what its files lack, written."""
    from spatial_jax.evals.loading import completeness, completeness_line
    from spatial_jax.evals.results import write_result

    result = completeness(result, files)
    write_result(out, result)
    say(completeness_line(result))
    return result


def show_suite(suite: str, results: Sequence[Mapping[str, Any]], absent: Mapping[str, str]) -> None:
    """The suite's row on the console; the EASI leaderboard's file beside the results."""
    from spatial_jax.evals.results import write_result
    from spatial_jax.evals.suites import submission, suite_text

    say(suite_text(suite, results, absent))
    if suite == "easi8" and results:
        out = result_path("easi8").with_name("easi_results.json")
        write_result(out, submission(results, str(results[0]["model"])))
        print("leaderboard file:", out)


def evaluate_datasets(sampler: Any, settings: Any) -> None:
    """Self-built questions with their blind priors; sampled, and greedy beside it where asked."""
    from spatial_jax.evals.heldout import copy_prior
    from spatial_jax.evals.results import write_result
    from spatial_jax.evals.runner import greedy_settings, load_records, progress_printer, run_heldout, without_pictures

    name = _NAME.value or "+".join(Path(d).name for d in listed(_DATASET)) + f"_{_SPLIT.value}"
    out = result_path(name)
    records = load_records(listed(_DATASET), _SPLIT.value, listed(_FAMILIES), _LIMIT.value)
    train = [] if _SPLIT.value == "train" else [without_pictures(r) for r in train_records()]
    runs = [(out, settings)] + ([(out.with_suffix(".greedy.json"), greedy_settings(settings))] if _GREEDY.value else [])
    first: dict[str, Any] = {}
    for path, chosen in runs:
        progress = progress_printer(name if path == out else f"{name} (greedy)")
        blind = [] if first else train
        result = run_heldout(
            sampler, records, chosen, name=name, train=blind, responses=responses_path(path), progress=progress
        )
        copy_prior(first, result)
        first = first or result
        write_result(path, result)
        show(result, path, records=records)


def show(result: Any, out: Path, **shown: Any) -> None:
    """Console table, and the page beside the result."""
    from spatial_jax.evals.page import write_page
    from spatial_jax.evals.results import result_table

    say(result_table(result))
    print("result:", out)
    if _PAGE.value:
        print("page:", write_page(result, out.with_suffix(".html"), **shown), flush=True)


def train_records() -> list[Any]:
    """Training records of --dataset for the blind priors, at most 20,000; none when there is no such split."""
    from spatial_jax.data import DatasetError
    from spatial_jax.evals.runner import load_records

    try:
        return load_records(listed(_DATASET), "train", listed(_FAMILIES), 20000)
    except (DatasetError, ValueError) as error:
        log.warning("no blind prior: %s", error)
        return []


def score_saved(path: str) -> None:
    """Scores a responses file of any model."""
    from spatial_jax.evals.loading import completeness, completeness_line, load_benchmark
    from spatial_jax.evals.responses import read_responses
    from spatial_jax.evals.results import result_table, write_result
    from spatial_jax.evals.scoring import evaluate_responses

    if listed(_DATASET):
        score_saved_dataset(path)
        return
    if not _BENCHMARK.value:
        raise ValueError("--score_only needs --benchmark, or --dataset for questions of your own")
    rows = read_responses(path)
    if not rows:
        raise ValueError(f"{path}: holds no response")
    items, files = carried_items(rows), None
    if not items:
        loaded = load_benchmark(_BENCHMARK.value, listed(_DATA), _LIMIT.value)
        items, files = loaded.items, loaded.files
    result = evaluate_responses(
        _BENCHMARK.value,
        items,
        rows,
        scoring=_SCORING.value,
        form=saved_form(),
        extra={"model": path, "responses": path},
    )
    if files:
        result = completeness(result, files)
        say(completeness_line(result))
    if not (_OUT.value or _WORKDIR.value):
        say(result_table(result))
        return
    out = result_path(_NAME.value or _BENCHMARK.value)
    write_result(out, result)
    show(result, out, items=items)


def saved_form() -> str | None:
    """The response form of --score_only's responses, None where they are answers as published."""
    from spatial_jax.forms import get_form

    told = _PROMPT_MODE.value
    return None if told in (None, "", PUBLISHED) else get_form(told).name


def carried_items(rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items that a responses file brings itself, without what they name on this machine: such a file comes from anyone,
    and the page would show the files.
    """
    items = []
    for name, row in rows.items():
        if isinstance(row.get("item"), dict):
            shown = row["item"].get("images")
            embedded = [i for i in shown if isinstance(i, bytes)] if isinstance(shown, list) else []
            items.append({**row["item"], "id": name, "images": embedded, "video": None})
    return items


def score_saved_dataset(path: str) -> None:
    """Scores a responses file to questions of --dataset by their own rewards, with their blind priors."""
    from spatial_jax.evals.heldout import evaluate_saved
    from spatial_jax.evals.responses import read_responses
    from spatial_jax.evals.results import result_table, write_result
    from spatial_jax.evals.runner import load_records, without_pictures
    from spatial_jax.forms import get_form
    from spatial_jax.rewards.rule import OWN_REWARD, RewardRule

    records = load_records(listed(_DATASET), _SPLIT.value, listed(_FAMILIES), _LIMIT.value)
    train = [] if _SPLIT.value == "train" else [without_pictures(r) for r in train_records()]
    name = _NAME.value or "+".join(Path(d).name for d in listed(_DATASET)) + f"_{_SPLIT.value}"
    rows = read_responses(path)
    rule = RewardRule(get_form(form).format) if (form := saved_form()) else OWN_REWARD
    result = evaluate_saved(name, records, rows, train, rule=rule, extra={"model": path, "responses": path})
    if not (_OUT.value or _WORKDIR.value):
        say(result_table(result))
        return
    out = result_path(name)
    write_result(out, result)
    show(result, out, records=records)


def compare_results(paths: Sequence[str]) -> None:
    """Paired comparison of two result files."""
    from spatial_jax.evals.results import compare, compare_table, write_result

    if len(paths) != 2:
        raise ValueError("--compare needs two result files: --compare A.json B.json")
    comparison = compare(*paths)
    say(compare_table(comparison))
    if _OUT.value:
        write_result(_OUT.value, comparison)


def print_table(name: str, paths: Sequence[str]) -> None:
    """A paper's table from result files."""
    from spatial_jax.evals.results import read_result, write_result
    from spatial_jax.evals.suites import SUITES, suite_text
    from spatial_jax.evals.tables import build_table, table_text

    found = [Path(p) for p in paths] or (
        sorted((Path(_WORKDIR.value) / "eval").glob("*.json")) if _WORKDIR.value else []
    )
    if not found:
        raise ValueError("--table needs result files after it, or --workdir")
    if name in SUITES:
        say(suite_text(name, [read_result(p) for p in found if p.name != "easi_results.json"]))
        return
    table = build_table(name, [read_result(p) for p in found])
    say(table_text(table))
    if _OUT.value:
        write_result(_OUT.value, table)


def search_leaks(dataset: str) -> None:
    """Pictures of the benchmarks that a training set holds too."""
    from spatial_jax.evals.leakage import dataset_pictures, find_leaks, leak_text
    from spatial_jax.evals.loading import load_benchmark

    for name in benchmark_list()[0]:
        items = load_benchmark(name, listed(_DATA), _LIMIT.value).items
        say(leak_text(name, find_leaks(dataset_pictures(dataset, "train"), items)))


def benchmark_list() -> tuple[list[str], str]:
    """(names of --benchmarks, their suite or ""); each checked before anything is loaded."""
    from spatial_jax.evals.registry import check_scoring, get_benchmark
    from spatial_jax.evals.suites import expand

    if listed(_BENCHMARKS) == ["all"]:
        names, suite = list(benchmark_names()), ""
    else:
        names, suite = expand(listed(_BENCHMARKS))
    for name in names:
        check_scoring(get_benchmark(name), chosen_scoring())
    return [get_benchmark(name).name for name in names], suite


def read_settings() -> Any:
    """EvalSettings of --config, with the flags that replace single settings put in."""
    import dataclasses

    from spatial_jax.config import strict_as
    from spatial_jax.data import PromptStyle

    settings = strict_as(EvalSettings, _CONFIG.value) if _CONFIG.value is not None else EvalSettings()
    given = (("samples", _SAMPLES.value), ("temperature", _TEMPERATURE.value), ("max_new_tokens", _TOKENS.value))
    settings = dataclasses.replace(
        settings, sampling=dataclasses.replace(settings.sampling, **{k: v for k, v in given if v is not None})
    )
    if _PROMPT_MODE.value and _PROMPT_MODE.value != PUBLISHED:
        PromptStyle(_PROMPT_MODE.value)
    asked = (("prompt_mode", _PROMPT_MODE.value or None), ("system", _SYSTEM.value))
    settings = dataclasses.replace(
        settings, policy=dataclasses.replace(settings.policy, **{k: v for k, v in asked if v is not None})
    )
    if settings.policy.prompt_mode == PUBLISHED and listed(_DATASET):
        raise ValueError("prompt_mode published is for --benchmarks; questions of --dataset are asked in a form")
    settings.check()
    return settings


def result_path(name: str) -> Path:
    """Where a result goes: --out (a .json file, or a folder), else WORKDIR/eval, else evals/MODEL."""
    if _OUT.value and _OUT.value.endswith(".json"):
        return Path(_OUT.value)
    fallback = Path(_WORKDIR.value) / "eval" if _WORKDIR.value else Path("evals") / Path(_MODEL.value or "saved").name
    folder = Path(_OUT.value) if _OUT.value else fallback
    suffix = "" if chosen_scoring() == "official" else f".{chosen_scoring()}"
    return folder / f"{name}{suffix}.json"


def responses_path(out: Path) -> Path:
    return out.with_name(out.stem + ".responses.jsonl")


def run(argv: Sequence[str]) -> None:
    """`main` with errors of the user's making as one line."""
    try:
        main(argv)
    except (ValueError, OSError) as error:
        say(f"evaluate: {error}", stream=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    start(
        run,
        __doc__,
        EvalSettings,
        groups={
            "what is evaluated": "config model benchmarks data dataset split families limit leakage",
            "how it is asked": "samples temperature greedy_too max_new_tokens prompt_mode rotations",
            "saved responses and results": "score_only benchmark scoring compare table",
            "where it goes": "workdir out name page",
        },
    )
