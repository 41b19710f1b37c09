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
    # answers that only a judge can score; how far it agrees with hand-checked cases
    python -m spatial_jax.evaluate --score_only=responses.jsonl --dataset=QUESTIONS \
        --judge_endpoint=http://localhost:8000/v1 --judge_model=NAME --judge_cases=cases.jsonl
    # b against a on the same items; a paper's table out of results
    python -m spatial_jax.evaluate --compare runs/a/eval/cv_bench.json runs/b/eval/cv_bench.json
    python -m spatial_jax.evaluate --table=li2025 runs/a/eval
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

from spatial_jax.command_line import start
from spatial_jax.evals import benchmark_names
from spatial_jax.evals import flags as opts
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.evaluate_settings import (
    chosen_task,
    datasets,
    families,
    read_settings,
    recipe_rule,
    recipe_told,
    saved_form,
    saved_rule,
)
from spatial_jax.metrics import is_primary
from spatial_jax.options import flag_parts
from spatial_jax.pages import say
from spatial_jax.training.settings import RunConfig

log = logging.getLogger(__name__)

flags.adopt_module_key_flags(opts)


def main(argv: Sequence[str]) -> None:
    rest = list(argv[1:])
    task = chosen_task(rest)
    if task == "compare":
        compare_results([str(opts.COMPARE.value), *rest])
    elif task == "table":
        print_table(str(opts.TABLE.value), rest)
    elif task == "score_only":
        score_saved(str(opts.SCORE_ONLY.value))
    elif task == "leakage":
        search_leaks(str(opts.LEAKAGE.value))
    elif task == "model":
        evaluate_model()
    else:
        chosen_grader(read_settings())


def evaluate_model() -> None:
    """The policy on every named benchmark, then on the datasets."""
    from spatial_jax.evals import run_benchmark
    from spatial_jax.evals.drawing import drawing_text
    from spatial_jax.evals.generation import Sampler
    from spatial_jax.evals.runner import Session, progress_printer

    settings = read_settings()
    grader = chosen_grader(settings)
    work, suite, absent = chosen_work()
    results = []
    sampler = Sampler.from_directory(str(opts.MODEL.value), settings, recipe_told())
    print(sampler.asked, flush=True)
    for loaded in work:
        name, items = loaded.name, loaded.items
        out = result_path(opts.NAME.value or name)
        result = run_benchmark(
            sampler,
            name,
            items,
            settings,
            scoring=chosen_scoring(),
            rotations=opts.ROTATIONS.value,
            session=Session(responses_path(out), progress_printer(name), grader),
        )
        results.append(keep(result, loaded.files, out))
        if is_primary():
            show(results[-1], out, items=items)
    if suite and is_primary():
        show_suite(suite, results, absent)
    if is_primary() and len(results) > 1 and (drawn := drawing_text(results)):
        say(drawn)
    if datasets():
        evaluate_datasets(sampler, settings, grader)


def chosen_work() -> tuple[list[Any], str, dict[str, str]]:
    """(benchmarks with their items, the suite's name or "", benchmark -> why it is absent). What a suite lacks is told
    and the rest is asked; a benchmark named by itself must be there.
    """
    from spatial_jax.evals.loading import load_benchmark, with_media

    names, suite = benchmark_list()
    if len(names) > 1 and (opts.NAME.value or str(opts.OUT.value).endswith(".json")):
        raise ValueError(f"{len(names)} benchmarks cannot share one result; give --out a folder and leave --name out")
    work: list[Any] = []
    absent: dict[str, str] = {}
    for name in names:
        try:
            work.append(with_media(load_benchmark(name, flag_parts(opts.DATA), opts.LIMIT.value)))
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

    suite = expand(flag_parts(opts.BENCHMARKS))[1]
    return SUITES[suite].scoring if suite and not flags.FLAGS["scoring"].present else str(opts.SCORING.value)


def keep(result: dict[str, Any], files: dict[str, Any], out: Path) -> dict[str, Any]:
    """The result with what its files lack, written."""
    from spatial_jax.evals import write_result
    from spatial_jax.evals.loading import completeness, completeness_line

    result = completeness(result, files)
    if is_primary():
        write_result(out, result)
        say(completeness_line(result))
    return result


def show_suite(suite: str, results: Sequence[Mapping[str, Any]], absent: Mapping[str, str]) -> None:
    """The suite's row on the console; the EASI leaderboard's file beside the results."""
    from spatial_jax.evals import write_result
    from spatial_jax.evals.suites import submission, suite_text

    say(suite_text(suite, results, absent))
    if suite == "easi8" and results:
        out = result_path("easi8").with_name("easi_results.json")
        write_result(out, submission(results, str(results[0]["model"])))
        print("leaderboard file:", out)


def evaluate_datasets(sampler: Any, settings: Any, grader: Any) -> None:
    """Self-built questions with their blind priors; sampled, and greedy beside it where asked."""
    from spatial_jax.evals import run_heldout, write_result
    from spatial_jax.evals.heldout import copy_prior
    from spatial_jax.evals.runner import Session, asked_rule, greedy_settings, progress_printer

    name = dataset_name()
    out = result_path(name)
    records = dataset_records(
        opts.SPLIT.value, opts.LIMIT.value, judged=grader is not None, by_family=sampler.asking.by_family
    )
    train = blind_records()
    runs = [(out, settings)] + (
        [(out.with_suffix(".greedy.json"), greedy_settings(settings))] if opts.GREEDY.value else []
    )
    first: dict[str, Any] = {}
    for path, chosen in runs:
        progress = progress_printer(name if path == out else f"{name} (greedy)")
        blind = [] if first else train
        result = run_heldout(
            sampler,
            records,
            chosen,
            name=name,
            train=blind,
            rule=recipe_rule(asked_rule(sampler.asking).format),
            session=Session(responses_path(path), progress, grader),
        )
        copy_prior(first, result)
        result["dataset"] = {"paths": [str(Path(d).resolve()) for d in datasets()], "split": opts.SPLIT.value}
        first = first or result
        if is_primary():
            write_result(path, result)
            show(result, path, records=records)


def show(result: Any, out: Path, **shown: Any) -> None:
    """Console table, and the page beside the result."""
    from spatial_jax.evals import result_table, write_page
    from spatial_jax.evals.drawing import drawing_text

    say(result_table(result))
    if drawn := drawing_text([result]):
        say(drawn)
    print("result:", out)
    if opts.PAGE.value:
        print("page:", write_page(result, out.with_suffix(".html"), **shown), flush=True)


def dataset_name() -> str:
    return opts.NAME.value or "+".join(Path(d).name for d in datasets()) + f"_{opts.SPLIT.value}"


def dataset_records(
    split: str, limit: int, judged: bool, by_family: Sequence[str] = (), paths: Sequence[str] = ()
) -> list[Any]:
    """Records of a split of --dataset, of --families; `judged`: those that ask a judge, too, by their own rewards or
    those of `by_family`.
    """
    from spatial_jax.evals.runner import load_records

    return load_records(paths or datasets(), split, families(), limit, judged, by_family)


def blind_records() -> list[Any]:
    """Training records of --dataset without pictures for the blind priors, at most 20,000; none when that is the split
    that is asked, or when there is no such split.
    """
    from spatial_jax.data import DatasetError
    from spatial_jax.evals.runner import without_pictures

    if opts.SPLIT.value == "train":
        return []
    try:
        return [without_pictures(r) for r in dataset_records("train", 20000, judged=True)]
    except (DatasetError, ValueError) as error:
        log.warning("no blind prior: %s", error)
        return []


def chosen_grader(settings: Any) -> Any:
    """The judge of the settings, None without one; its agreement with --judge_cases is told."""
    from spatial_jax.evals.judging import agreement_text, make_grader, measure_agreement, read_cases
    from spatial_jax.evals.runner import progress_printer

    cases = read_cases(opts.JUDGE_CASES.value) if opts.JUDGE_CASES.value else []
    grader = make_grader(settings.judge, progress_printer)
    if cases:
        if grader is None:
            raise ValueError("--judge_cases needs a judge: --judge_endpoint=URL --judge_model=NAME")
        grader.agreement = measure_agreement(grader, cases)
        say(agreement_text(grader, grader.agreement))
    return grader


def score_saved(path: str) -> None:
    """Scores a responses file of any model, by a benchmark's scoring or by the rewards of --dataset."""
    from spatial_jax.evals import read_responses, result_table, write_result
    from spatial_jax.evals.heldout import evaluate_saved
    from spatial_jax.evals.loading import completeness_line
    from spatial_jax.evals.saved import score_benchmark_file

    settings = read_settings()
    grader, by_family = chosen_grader(settings), settings.policy.by_family
    if datasets():
        name = dataset_name()
        records = dataset_records(opts.SPLIT.value, opts.LIMIT.value, grader is not None, by_family)
        result = evaluate_saved(
            name,
            records,
            read_responses(path),
            blind_records(),
            extra={"model": path, "responses": path},
            rule=saved_rule(by_family),
            grader=grader,
        )
        result["dataset"] = {"paths": [str(Path(d).resolve()) for d in datasets()], "split": opts.SPLIT.value}
        shown: dict[str, Any] = {"records": records}
    elif opts.BENCHMARK.value:
        name = opts.NAME.value or opts.BENCHMARK.value
        result, items = score_benchmark_file(
            path,
            opts.BENCHMARK.value,
            data=flag_parts(opts.DATA),
            limit=opts.LIMIT.value,
            scoring=opts.SCORING.value,
            form=saved_form(),
            grader=grader,
        )
        shown = {"items": items}
        if "files" in result:
            say(completeness_line(result))
    else:
        raise ValueError("--score_only needs --benchmark, or --dataset for questions of your own")
    if not (opts.OUT.value or opts.WORKDIR.value):
        say(result_table(result))
        return
    out = result_path(name)
    write_result(out, result)
    show(result, out, **shown)


def compare_results(paths: Sequence[str]) -> None:
    """Paired comparison of two result files, and a page of where they differ beside the second."""
    from spatial_jax.evals import compare, compare_table, read_result, write_result
    from spatial_jax.evals.comparison_page import write_comparison_page

    if len(paths) != 2:
        raise ValueError("--compare needs two result files: --compare A.json B.json")
    a, b = (read_result(path) for path in paths)
    comparison = compare(a, b)
    say(compare_table(comparison))
    if opts.OUT.value:
        write_result(opts.OUT.value, comparison)
    if opts.PAGE.value:
        out = Path(opts.OUT.value or paths[1])
        page = out.with_suffix(".html") if opts.OUT.value else out.with_name(f"{out.stem}.compared.html")
        print("page:", write_comparison_page(comparison, a, b, page, **questions_of(b)), flush=True)


def questions_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """The questions of a result for a page, from --dataset or --data, else from where the result had them; {} where
    they are not there.
    """
    from spatial_jax.evals.loading import load_benchmark

    asked = result.get("dataset") or {}
    try:
        if result.get("scoring") == "reward" and (paths := datasets() or asked.get("paths")):
            split = opts.SPLIT.value if datasets() else asked["split"]
            return {"records": dataset_records(split, 0, judged=True, paths=paths)}
        folder = (result.get("files") or {}).get("folder", "")
        if flag_parts(opts.DATA) or folder:
            return {"items": load_benchmark(str(result["benchmark"]), flag_parts(opts.DATA) or [folder]).items}
    except (ValueError, OSError) as error:
        log.warning("the page has no questions: %s; name them by --dataset or --data", error)
    return {}


def print_table(name: str, paths: Sequence[str]) -> None:
    """A paper's table from results on disk."""
    from spatial_jax.evals import build_table, write_result
    from spatial_jax.evals.drawing import drawing_text
    from spatial_jax.evals.results import read_results
    from spatial_jax.evals.suites import SUITES, suite_text
    from spatial_jax.evals.tables import table_text

    found = list(paths) or ([str(Path(opts.WORKDIR.value) / "eval")] if opts.WORKDIR.value else [])
    if not found:
        raise ValueError("--table needs result files or folders after it, or --workdir")
    results = read_results(found)
    if opts.OUT.value and (name in SUITES or name == "drawing"):
        raise ValueError(f"--table={name} is printed alone: leave --out={opts.OUT.value} out")
    if name in SUITES:
        say(suite_text(name, results))
        return
    if name == "drawing":
        if not (text := drawing_text(results)):
            raise ValueError("--table=drawing: none of these results is of a policy that draws")
        say(text)
        return
    table = build_table(name, results)
    say(table_text(table))
    if opts.OUT.value:
        write_result(opts.OUT.value, table)


def search_leaks(dataset: str) -> None:
    """Pictures of the benchmarks that a training set holds too. ValueError, after the others, for those of which
    nothing can be compared.
    """
    from spatial_jax.evals import find_leaks
    from spatial_jax.evals.leakage import dataset_pictures, leak_text
    from spatial_jax.evals.loading import load_benchmark

    problems = list[str]()
    for name in benchmark_list()[0]:
        items = load_benchmark(name, flag_parts(opts.DATA), opts.LIMIT.value).items
        try:
            say(leak_text(name, find_leaks(dataset_pictures(dataset, "train"), items)))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("; ".join(problems))


def benchmark_list() -> tuple[list[str], str]:
    """(names of --benchmarks, their suite or ""); each checked before anything is loaded."""
    from spatial_jax.evals import get_benchmark
    from spatial_jax.evals.registry import check_scoring
    from spatial_jax.evals.suites import expand

    if flag_parts(opts.BENCHMARKS) == ["all"]:
        names, suite = list(benchmark_names()), ""
    else:
        names, suite = expand(flag_parts(opts.BENCHMARKS))
    for name in names:
        check_scoring(get_benchmark(name), chosen_scoring())
    return [get_benchmark(name).name for name in names], suite


def result_path(name: str) -> Path:
    """Where a result goes: --out (a .json file, or a folder), else WORKDIR/eval, else evals/MODEL."""
    if opts.OUT.value and opts.OUT.value.endswith(".json"):
        return Path(opts.OUT.value)
    fallback = (
        Path(opts.WORKDIR.value) / "eval"
        if opts.WORKDIR.value
        else Path("evals") / Path(opts.MODEL.value or "saved").name
    )
    folder = Path(opts.OUT.value) if opts.OUT.value else fallback
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
        recipes=RunConfig,
        goes_on=True,
        groups={
            "what is evaluated": "config model benchmarks data dataset split families limit leakage",
            "how it is asked": "samples temperature greedy_too max_new_tokens prompt_mode rotations",
            "saved responses and results": "score_only benchmark scoring compare table",
            "the judge": "judge_endpoint judge_model judge_key_variable judge_cache judge_cases",
            "where it goes": "workdir out name page",
        },
    )
