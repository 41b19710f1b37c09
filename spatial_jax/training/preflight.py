"""Before step 0: every record's plan and truth, the rewards on real records, the memory of the state and of the
programs, a line each.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from spatial_jax.data import QuestionEncoder, QuestionRecord, QuestionSource
from spatial_jax.data.frames import choose_record_frames
from spatial_jax.data.records import in_stored_pixels
from spatial_jax.metrics import is_primary, steady_lines
from spatial_jax.rewards.base import Context
from spatial_jax.rewards.by_family import check_by_family, parse_by_family
from spatial_jax.rewards.lint import lint_records
from spatial_jax.rewards.probe import probe_reward
from spatial_jax.rewards.rule import own_record
from spatial_jax.rewards.scoring import check_record
from spatial_jax.training.answers import AnswerScorer, judge_config
from spatial_jax.training.settings import RewardSettings
from spatial_jax.training.setup import Setup
from spatial_jax.training.state import parameter_table

if TYPE_CHECKING:
    from spatial_jax.training.trainer import Trainer

LINTED = 16  # records a dataset
JUDGED = 2  # of them, where a judge grades every answer
LINT_SECONDS = 60.0  # for all that the judge is asked before step 0
TELL_SECONDS = 5.0
LOOKED_AT = 32  # records a dataset, for the kinds of reward that it needs
PROBED = 4  # records that a reward is tried on
SHOWN = 5
SMALLER = (
    "lower config.train.micro_prompts, train.micro_answers, rollout.max_slots or data.max_pixels, set model.remat=full,"
    " or use more devices"
)
log = logging.getLogger(__name__)


def record_in_pixels(record: QuestionRecord) -> dict[str, Any]:
    """The record as rewards take it, in pixels of its stored pictures."""
    return in_stored_pixels(record).as_dict()


def truth_check(
    scorer: AnswerScorer, seen: dict[str, list[dict[str, Any]]] | None = None
) -> Callable[[QuestionRecord], None]:
    """For `plan_questions`: raises ValueError for a record that the run's reward cannot score. `seen` gets the first
    PROBED records of each reward kind.
    """

    def check(record: QuestionRecord) -> None:
        values = record_in_pixels(record)
        spec = scorer.spec(values)
        check_record(spec, values)
        _note(seen, spec, values)

    return check


def use_check(
    scorer: AnswerScorer, encoder: QuestionEncoder, seen: dict[str, list[dict[str, Any]]]
) -> Callable[[QuestionRecord], None]:
    """`truth_check`, and of a policy that draws: raises ValueError for a record whose own pictures are as many as a
    sample may come to, so that nothing could be drawn.
    """
    rollout, scored = scorer.run.rollout, truth_check(scorer, seen)

    def check(record: QuestionRecord) -> None:
        scored(record)
        shown = len(choose_record_frames(record, encoder.style, encoder.processor.video_settings).images)
        if rollout.turns > 1 and shown >= rollout.max_pictures:
            raise ValueError(
                f"{shown} pictures leave none of config.rollout.max_pictures = {rollout.max_pictures} to draw; raise"
                " it, or show fewer frames (config.data.frames)"
            )

    return check


def _note(seen: dict[str, list[dict[str, Any]]] | None, spec: dict[str, Any], values: dict[str, Any]) -> None:
    if seen is not None and len(found := seen.setdefault(spec["kind"], [])) < PROBED:
        found.append(values)


def check_reward_settings(settings: RewardSettings) -> None:
    """ValueError for settings under which no reward can come, before anything is loaded or written: a file that is not
    there, a judge half described, a key in a wrong place.
    """
    if settings.user_file and not Path(settings.user_file).is_file():
        raise ValueError(f"config.reward.user_file = {settings.user_file!r}: no such file")
    if settings.user_file and settings.by_family:
        raise ValueError("config.reward.user_file scores every question, so config.reward.by_family would do nothing")
    parse_by_family(settings.by_family)
    judge_config(settings)


def check_rewards(
    sources: Sequence[QuestionSource], scorer: AnswerScorer, seen: dict[str, list[dict[str, Any]]] | None = None
) -> None:
    """Tries the rewards that wait for something (a user's function, a judge) on real questions. ValueError, one line,
    where one never works: the run would train on nothing. `seen`: records by kind, as `truth_check` fills it.
    """
    seen = {} if seen is None else seen
    if scorer.rule.by_family:
        check_by_family(scorer.rule.by_family, {str(f) for source in sources for f in source.column("family")})
    for source in sources:
        for i in np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(int):
            record = source[int(i)]
            if isinstance(record, QuestionRecord):
                with contextlib.suppress(ValueError):  # such records were left out, or are met one by one
                    values = record_in_pixels(record)
                    _note(seen, scorer.spec(values), values)
    if "judge" in seen and scorer.judge is None:
        raise ValueError(
            f"question {seen['judge'][0]['question_id']!r} and others are scored by a judge, and there is none: set"
            " config.reward.judge_endpoint and judge_model, or choose other families (config.data.families)"
        )
    for kind in {"user", "judge"} & set(seen):
        records = seen[kind] if kind == "user" else seen[kind][:1]
        log.info("trying the %s reward on %d questions", kind, len(records))
        probe_reward(scorer.spec(records[0]), [own_record(r) for r in records], Context(judge=scorer.judge))
    if scorer.run.reward.user_file:
        log.info(
            "%s runs in processes of its own, each with %s GiB of memory at most (config.reward.user_memory_gib)",
            scorer.run.reward.user_file,
            f"{scorer.run.reward.user_memory_gib:g}" if scorer.run.reward.user_memory_gib else "unlimited",
        )


def lint_sources(sources: Sequence[QuestionSource], scorer: AnswerScorer) -> list[str]:
    """Degenerate and adversarial answers to some records of each source, scored as the run would; logs one line a
    source and returns the faults. A judge is asked about JUDGED records a source, for LINT_SECONDS at most over all.
    User functions are left out: they may be slow, and `python -m spatial_jax.rewards.lint --user` is there for them.
    """
    faults: list[str] = []
    judge, until = None if scorer.judge is None else Told(scorer.judge), time.monotonic() + LINT_SECONDS
    for source in sources:
        count = min(LINTED, len(source))
        # Spread over the whole source: its beginning may hold a single scene, or one family.
        records = [source[i * len(source) // count] for i in range(count)]
        values = [record_in_pixels(r) for r in records if isinstance(r, QuestionRecord)]
        values = [v | {"reward": spec} for v in values if (spec := scorer.spec(v))["kind"] != "user"]
        ruled = [v for v in values if v["reward"]["kind"] != "judge"]
        # Few, and asked last: a judge costs a request for each answer, and a slow one must not hold up the start.
        judged = [v for v in values if v["reward"]["kind"] == "judge"][:JUDGED]
        rows = lint_records(ruled)
        if judged and judge is not None:
            log.info("the judge is asked about answers to %d questions, %.0f s at most", len(judged), LINT_SECONDS)
            rows += lint_records(judged, context=Context(judge=judge, until=until))
            if time.monotonic() >= until:
                log.warning("rewards of %s: the judge's lint was cut off after %.0f s", source.name, LINT_SECONDS)
        found = collections.Counter(f"{row.label}: {row.attack.name}: {row.fault}" for row in rows if row.fault)
        log.info(
            "rewards of %s: %d answers to %d records linted, %d faults%s",
            source.name,
            len(rows),
            len(ruled) + len(judged),
            sum(found.values()),
            "" if values else " (user functions are linted by python -m spatial_jax.rewards.lint --user)",
        )
        for fault, times in found.most_common(SHOWN):
            log.warning("  %s (%d times)", fault, times)
        faults += list(found)
    return faults


class Told:
    """A judge that says every few seconds how far it is."""

    def __init__(self, judge: Any):
        self._judge, self._asked, self._last = judge, 0, time.monotonic()

    def correct(self, question: str, options: list[str], truth: str, answer: str, timeout: float | None = None) -> bool:
        self._asked += 1
        if time.monotonic() - self._last > TELL_SECONDS:
            self._last = time.monotonic()
            log.info("  %d answers shown to the judge", self._asked)
        return self._judge.correct(question, options, truth, answer, timeout)


def state_bytes(*trees: Any) -> int:
    """Bytes of the trees' arrays on this process's first device."""
    device = jax.local_devices()[0]
    return sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(trees)
        if isinstance(leaf, jax.Array)
        for shard in leaf.addressable_shards
        if shard.device == device
    )


def device_limit() -> int | None:
    """Bytes that this process may have on its first device; None where the device does not tell (a CPU)."""
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def memory_line(used: int, limit: int | None) -> str:
    """Bytes of parameters, optimizer state and reference against what the device has. Raises ValueError when they
    cannot fit: what the programs need comes on top.
    """
    kind = jax.local_devices()[0].device_kind
    if limit is None:
        return f"memory: {used / 2**30:.2f} GiB of state on {kind} (it does not tell its size)"
    if used > limit:
        raise ValueError(
            f"{used / 2**30:.1f} GiB of state on a device of {limit / 2**30:.1f} GiB: use more devices, LoRA or"
            " bfloat16 parameters"
        )
    return (
        f"memory: {used / 2**30:.2f} GiB of state of {limit / 2**30:.2f} GiB on {kind}; {(limit - used) / 2**30:.2f}"
        " GiB for programs"
    )


def program_bytes(setup: Setup) -> dict[str, int]:
    """Bytes on a device that each program of the run needs beside the state, at the longest prompt and answer the run
    allows: compiled from shapes alone. The run compiles its own ones beside these; a resumed run finds both in its
    cache.
    """
    from spatial_jax.training.abstract import (
        Work,
        abstract_setup,
        most_pixels,
        pictures_of,
        rollout_programs,
        training_programs,
    )

    run = setup.run
    shapes = abstract_setup(run, setup.policy.config, setup.mesh)
    pictures = pictures_of(run)
    work = Work(most_pixels(run, setup.policy.config.vision, pictures), run.rollout.total_tokens, pictures)
    programs = training_programs(shapes, work)
    if setup.method.samples:
        programs += rollout_programs(shapes, work)
    needed, known = {}, state_bytes(setup.start.params, setup.frozen)  # known: arguments that the state counts already
    for program in programs:
        if program.name == "apply":  # element by element, its arguments given away
            continue
        memory = program.function.lower(*program.arguments).compile().memory_analysis()
        held = 0 if program.own_weights else known
        needed[program.name] = (
            max(memory.argument_size_in_bytes - held, 0)
            + memory.temp_size_in_bytes
            + max(memory.output_size_in_bytes - memory.alias_size_in_bytes, 0)
        )
    return needed


def programs_line(needed: dict[str, int], free: int) -> str:
    """What each program needs of the memory that the state leaves. Raises ValueError when the largest cannot have
    it.
    """
    name = max(needed, key=lambda n: needed[n])
    if needed[name] > free:
        raise ValueError(
            f"the {name} program needs {needed[name] / 2**30:.1f} GiB and the state leaves {free / 2**30:.1f}:"
            f" {SMALLER}"
        )
    return (
        "programs: "
        + ", ".join(f"{n} {size / 2**30:.2f} GiB" for n, size in needed.items())
        + f" of {free / 2**30:.2f} GiB"
    )


def check_programs(setup: Setup, trainer: Trainer) -> None:
    """Where the device tells its memory: whether the run's largest programs fit beside the state, before the first
    step. ValueError if not.
    """
    limit = device_limit()
    if limit is None or not setup.method.planned:
        return
    try:
        needed = program_bytes(setup)
    except Exception as error:  # what cannot be told beforehand must not end a run that may fit
        if "RESOURCE_EXHAUSTED" in str(error):
            raise ValueError(
                f"a program of this run does not fit the device: {' '.join(str(error).split())[:200]}; {SMALLER}"
            ) from None
        log.warning("memory of the programs is not known before the first step: %s", " ".join(str(error).split())[:200])
        return
    line = programs_line(needed, limit - held_bytes(setup, trainer))
    if is_primary():
        print(f"  {line}", flush=True)


def held_bytes(setup: Setup, trainer: Trainer) -> int:
    """Bytes of a device that parameters, optimizer and references take."""
    own = setup.start.params if setup.method.keeps_reference else None  # another copy of what trains
    return state_bytes(trainer.state, trainer.reference.params, setup.frozen, own)


def announce(setup: Setup, trainer: Trainer) -> None:
    """What is about to run, on process 0."""
    if not is_primary():
        return
    run = setup.run
    sizes = ", ".join(f"{s.name} {len(s):,}" for s in trainer.pipeline.sources)
    if trainer.step >= run.train.steps:
        print(
            f"the run is at step {trainer.step} and config.train.steps is {run.train.steps}: nothing to train, the"
            " policy is exported as it is",
            flush=True,
        )
        return
    print(
        f"{run.train.method} from step {trainer.step} to {run.train.steps}: {run.train.prompts} questions a step of"
        f" {sizes}; {len(jax.devices())} {jax.devices()[0].platform} device(s), mesh"
        f" {dict(setup.mesh.shape) if setup.mesh else 'none'}",
        flush=True,
    )
    print(f"  {memory_line(held_bytes(setup, trainer), device_limit())}", flush=True)
    for part, trainable, total in parameter_table(trainer.state.params, setup.frozen):
        print(f"  {part:<16} {trainable:>15,} of {total:,} parameters train", flush=True)
    for line in steady_lines(trainer.facts, ("clip/fraction", "ratio/mean", "kl/old")):
        print(f"  {line}", flush=True)
