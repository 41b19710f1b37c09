r"""Sample a policy or a teacher, score its answers by the questions' rewards, and keep some as a dataset to train on.

    # ViLaSR's reflective stage: the cold-started policy's own trajectories, right, well formed, reflective
    python -m spatial_jax.sample --model=runs/vilasr_sft/export --dataset=runs/drawn --samples=8 --keep=reflective \
        --out=runs/reflective
    # a teacher behind an OpenAI-compatible endpoint; --dry_run shows what would be asked and sends nothing
    python -m spatial_jax.sample --endpoint=http://localhost:8000/v1 --endpoint_model=Qwen2.5-VL-72B-Instruct \
        --prompt_mode=drawing --dataset=runs/drawn --samples=4 --keep=cold_start --out=runs/cold_start
    # preference pairs for DPO (best against worst); pass rates for --config.offline_pass_rates
    python -m spatial_jax.sample --model=DIR --dataset=QUESTIONS --samples=8 --keep=pairs --out=runs/pairs
    python -m spatial_jax.sample --model=DIR --dataset=QUESTIONS --samples=16 --keep=pass_rates --out=runs/rates

Rules of --keep, joined by commas: correct, form, score=X and accuracy=X (above X), steps=K, reflective, most=M (of a
question, the most different), rate_min=X, rate_max=X (of the question's pass rate), pairs[=GAP], pass_rates; cold_start
is correct,form,steps=3; reflective is correct,form,reflective; best is correct,form,most=1. Answers are kept in
OUT.answers and a stopped run goes on there; --share=0/4 to 3/4 in four processes answer a quarter each, and the last
one that is done writes the dataset.
"""

from __future__ import annotations

import argparse
import ast
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from spatial_jax.ending import leave
from spatial_jax.logs import log_to_console
from spatial_jax.options import Listed, Parser, list_parts
from spatial_jax.pages import say
from spatial_jax.shipped import shipped_path

OWN = ("samples", "temperature", "top_p", "seed")  # of sampling, as this verb's flags say, whatever --config has


def parser() -> argparse.ArgumentParser:
    p = Parser("python -m spatial_jax.sample", __doc__)
    g = p.add_argument_group("who answers")
    g.add_argument("--model", default="", help="checkpoint directory in Hugging Face layout, or a hub name")
    g.add_argument("--endpoint", default="", help="OpenAI-compatible base URL of a teacher, up to and with /v1")
    g.add_argument("--endpoint_model", default="", help="the teacher's name there")
    g.add_argument("--endpoint_key", default="", metavar="VARIABLE", help="environment variable that holds its key")
    g.add_argument("--endpoint_threads", type=int, default=8, help="questions under way at a time")
    g.add_argument("--endpoint_seconds", type=float, default=120.0, help="most time of one request")
    g.add_argument("--endpoint_tries", type=int, default=4, help="requests until a reply is given up")
    g.add_argument("--dry_run", action="store_true", help="say what would be asked, and ask nothing")
    g = p.add_argument_group("what is asked")
    g.add_argument("--dataset", default="", action=Listed, help="one or more question datasets")
    g.add_argument("--split", default="train", help="of the datasets")
    g.add_argument("--families", default="", action=Listed, help="only these question families")
    g.add_argument("--limit", type=int, default=0, help="at most so many questions, spread evenly; 0: all")
    g.add_argument("--share", default="0/1", metavar="I/N", help="of N processes this is the I-th (from 0)")
    g = p.add_argument_group("how it is asked")
    g.add_argument("--samples", type=int, default=8, help="answers a question")
    g.add_argument("--temperature", type=float, default=1.0, help="above 0 for more than one answer")
    g.add_argument("--top_p", type=float, default=1.0, help="only the likeliest tokens of this mass")
    g.add_argument("--max_new_tokens", type=int, default=0, help="of a reply; 0: as trained, else as evaluations do")
    g.add_argument("--prompt_mode", default="", help="response form; default: as the policy was trained, else vanilla")
    g.add_argument("--seed", type=int, default=0, help="of the draws")
    g.add_argument("--config", default="", help="settings as of an evaluation, e.g. configs/eval_spatial.py:tiny")
    g.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="one setting of --config, e.g."
        " engine.max_slots=64; may be given again (python -m spatial_jax.evaluate --keys lists them)",
    )
    g = p.add_argument_group("what is kept")
    g.add_argument("--keep", default="correct,form", help="the rule, see above")
    g.add_argument("--out", default="", help="the dataset that is written")
    g.add_argument(
        "--answers",
        default="",
        help="folder of the answers; default: OUT.answers. Give one that is there to keep by another rule",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    log_to_console()
    from data_prep.writer import WriterError

    try:
        return run(args)
    except (ValueError, OSError, WriterError) as error:
        say(f"sample: {error}", stream=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """0 when the dataset is written, or when this process's share is done and others are not."""
    from spatial_jax.evals.runner import load_records
    from spatial_jax.forms import get_form
    from spatial_jax.metrics import is_primary
    from spatial_jax.rejection.rules import check_possible, read_rule
    from spatial_jax.rejection.run import Share, ask, check_out, read_answers, settings_of, write
    from spatial_jax.rejection.sources import (
        policy_plan,
        policy_source,
        shown_records,
        teacher_of,
        teacher_plan,
        teacher_source,
    )
    from spatial_jax.rollout.answerer import drawing_asked

    check(args)
    rule, settings = read_rule(args.keep), read_settings(args)
    index, count = read_share(args.share)
    folder = Path(args.answers or f"{args.out.rstrip('/')}.answers")
    sampling = settings.sampling
    if args.endpoint:
        more = {"threads": args.endpoint_threads, "seconds": args.endpoint_seconds, "tries": args.endpoint_tries}
        teacher = teacher_of(endpoint_of(args), settings, folder, **more)
        form, turns = get_form(teacher.settings.style.mode), teacher.settings.turns
    else:
        asking, line = policy_plan(args.model, settings)
        drawing = drawing_asked(asking, 0)
        form, turns = get_form(asking.prompt_mode), drawing.turns if drawing else 1
    check_possible(rule, sampling.samples, form.several_turns, turns)
    records = load_records(list_parts(args.dataset), args.split, list_parts(args.families), args.limit)
    own = len(range(index, len(records), count))
    if args.dry_run and args.endpoint:
        say("\n".join(teacher_plan(teacher, records)))
        return 0
    if args.dry_run:
        say(f"would ask {len(records)} questions, {sampling.samples} answers each; this share {own}")
        say(line)
        return 0
    who = teacher_source(teacher, own) if args.endpoint else policy_source(args.model, settings, own)
    records = shown_records(records, who.shown)
    told = settings_of(who.told, records, dataset=list_parts(args.dataset), split=args.split)
    check_out(args.out, rule, told)
    ask(records, Share(index, count), folder, told, who.answer)
    if not args.endpoint and not is_primary():
        return 0  # of several processes around one policy the first has the answers
    done, rows = read_answers(records, count, folder, told)
    if done < len(records):
        say(f"{done} of {len(records)} questions are answered; run again, or the other shares, to go on")
        return 0 if count > 1 else 2
    tally = write(rows(), rule, who.asked, args.out, told)
    say("\n".join([*tally.lines(), f"written: {args.out}"]))
    return 0


def check(args: argparse.Namespace) -> None:
    """ValueError, one line, for options that are missing or contradict one another."""
    if not args.dataset or not args.out:
        raise ValueError("--dataset and --out are needed")
    if bool(args.model) == bool(args.endpoint):
        raise ValueError("give --model=DIR or --endpoint=URL, one of the two")
    known = parser()
    for name in ("model", "key", "threads", "seconds", "tries"):
        if args.model and getattr(args, f"endpoint_{name}") != known.get_default(f"endpoint_{name}"):
            raise ValueError(f"--endpoint_{name} does nothing with --model; leave it out, or give --endpoint")
    if args.endpoint and not args.endpoint_model:
        raise ValueError("--endpoint needs --endpoint_model=NAME, the teacher's name there")
    for name in ("samples", "endpoint_threads", "endpoint_tries"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}={getattr(args, name)}: 1 or more")
    if args.limit < 0:
        raise ValueError(f"--limit={args.limit}: 0 for all questions, or how many")
    if not 0 < args.endpoint_seconds < float("inf"):
        raise ValueError(f"--endpoint_seconds={args.endpoint_seconds:g}: a number of seconds above 0")


def endpoint_of(args: argparse.Namespace) -> Any:
    """The teacher's endpoint. ValueError where it, or its key, is none."""
    from spatial_jax.endpoints import ChatEndpoint

    if args.endpoint_key and args.endpoint_key not in os.environ and args.endpoint_key.isupper():
        raise ValueError(f"--endpoint_key: the environment variable {args.endpoint_key} is not set")
    return ChatEndpoint(args.endpoint, args.endpoint_model, args.endpoint_key, "teacher")


def read_share(text: str) -> tuple[int, int]:
    """(index, count) of --share. ValueError for what is none."""
    index, sign, count = text.partition("/")
    if not (sign and index.isdigit() and count.isdigit() and int(index) < int(count)):
        raise ValueError(f"--share={text}: I/N, the I-th of N processes, from 0: 0/4, 1/4, 2/4, 3/4")
    return int(index), int(count)


def read_settings(args: argparse.Namespace) -> Any:
    """EvalSettings of --config and --set, with the options that name single settings put in. ConfigError, one line."""
    from spatial_jax.config import editable, strict_as
    from spatial_jax.evals.settings import PUBLISHED, EvalSettings

    config = recipe(args.config) if args.config else editable(EvalSettings())
    stated = config.to_dict()
    for given in args.set:
        key, sign, value = given.partition("=")
        section, _, name = key.partition(".")
        if not sign or not isinstance(stated.get(section), dict):
            raise ValueError(f"--set {given!r}: SECTION.KEY=VALUE with one of {', '.join(stated)}")
        if section == "sampling" and name in OWN:
            raise ValueError(f"--set {given!r}: give --{name}={value}")
        stated[section][name] = literal(value)
    stated["sampling"] |= {name: getattr(args, name) for name in OWN}
    if args.max_new_tokens:
        stated["sampling"]["max_new_tokens"] = args.max_new_tokens
    if args.prompt_mode:
        stated["policy"]["prompt_mode"] = args.prompt_mode
    settings = strict_as(EvalSettings, stated)
    settings.check()
    if settings.policy.prompt_mode == PUBLISHED:
        raise ValueError("prompt_mode published is of public benchmarks; questions of --dataset are asked in a form")
    return settings


def recipe(text: str) -> Any:
    """The ConfigDict of a recipe FILE[:ARGUMENT]. ValueError, one line, where there is none, or it raises anything."""
    from spatial_jax.command_line import check_config_file, parse_problem

    file, _, argument = text.partition(":")
    path = shipped_path(file)
    check_config_file(str(path))
    try:
        make = runpy.run_path(str(path))["get_config"]
        return make(argument) if argument else make()
    except (Exception, SystemExit) as error:  # a recipe is code
        raise ValueError(f"--config={text}: {parse_problem(error)}") from None


def literal(text: str) -> Any:
    """A Python value, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


if __name__ == "__main__":
    leave(main, "sample", goes_on=True)
