"""A whole evaluation: items to requests, responses to a result, the result to a file. One function for public
benchmarks, one for self-built sets.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from spatial_jax.data import (
    DatasetError,
    PromptStyle,
    QuestionEncoder,
    QuestionRecord,
    Unusable,
    check_families,
    open_questions,
)
from spatial_jax.data.asked import Asking, limits_of
from spatial_jax.data.prompts import is_video
from spatial_jax.data.records import CODE_REWARDS
from spatial_jax.evals.drawing import figures_of
from spatial_jax.evals.frames import read_frames
from spatial_jax.evals.generation import Request, Sampler
from spatial_jax.evals.heldout import evaluate_heldout
from spatial_jax.evals.judging import Grader
from spatial_jax.evals.protocol import THOUGHT_TOKENS, Protocol, asked_text, choose_protocol, item_messages
from spatial_jax.evals.registry import get_benchmark
from spatial_jax.evals.responses import ResponseLog
from spatial_jax.evals.scoring import evaluate_responses, rotated_items
from spatial_jax.evals.settings import EvalSettings
from spatial_jax.forms import get_form
from spatial_jax.metrics import is_primary
from spatial_jax.processing import EncodedPrompt, Prepared, Video, load_image
from spatial_jax.rewards.by_family import check_by_family, reward_of_family
from spatial_jax.rewards.rule import RewardRule

logger = logging.getLogger(__name__)

HELDOUT_TOKENS = 256
Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class Session:
    """What surrounds an evaluation. `responses`: the file in which answers are kept as they come (an interrupted run
    goes on there); `progress`: told how far it is; `grader`: the judge of what rules cannot read.
    """

    responses: str | Path | None = None
    progress: Progress | None = None
    grader: Grader | None = None


def progress_printer(name: str, every_s: float = 20.0) -> Progress:
    """Prints "name: done of all, n/s, time left" at most every `every_s` seconds, and at the end. The first call says
    what was there before the work began: an earlier run's answers do not count as fast.
    """
    start, last, before = time.monotonic(), [time.monotonic()], [-1]

    def show(done: int, total: int) -> None:
        now = time.monotonic()
        if before[0] < 0:
            before[0] = done
            if done and is_primary():
                print(f"{name}: {done} of {total} were answered before", flush=True)
        elif is_primary() and (now - last[0] >= every_s or done == total):
            last[0] = now
            rate = (done - before[0]) / max(now - start, 1e-9)
            left = f", about {duration((total - done) / rate)} left" if done < total and rate > 0 else ""
            print(f"{name}: {done} of {total} answered, {rate:.1f} items/s{left}", flush=True)

    return show


def duration(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def record_requests(records: Sequence[QuestionRecord], sampler: Sampler, style: PromptStyle) -> list[Request]:
    """Requests that ask records exactly as training does."""
    encoder = QuestionEncoder(sampler.processor, style)

    def clip_of(record: QuestionRecord) -> Any:
        # A picture is too little to share: a call of a shape of its own is compiled for each size of set.
        return (record.scene_id, record.images) if is_video(record) else None

    def encode(record: QuestionRecord) -> tuple[EncodedPrompt, dict[str, Any], Sequence[Any]]:
        sample = encoder.encode(record)
        if isinstance(sample, Unusable):
            raise ValueError(sample.reason)
        return sample.prompt, {}, sample.record.images

    return [
        Request(record.question_id, place, functools.partial(encode, record), clip_of(record), question_digest(record))
        for place, record in enumerate(records)
    ]


def question_digest(record: QuestionRecord) -> str:
    """Short digest of what a record asks: its text, kind, options and pictures."""
    digest = hashlib.sha256(repr((record.question, record.options, record.question_type)).encode())
    for image in record.images:
        digest.update(hashlib.sha256(image).digest())
    return digest.hexdigest()[:16]


def load_records(
    directories: Sequence[str | Path],
    split: str,
    families: Sequence[str] = (),
    limit: int = 0,
    judged: bool = False,
    by_family: Sequence[str] = (),
) -> list[QuestionRecord]:
    """Readable records of a split of all datasets, spread evenly over it when there are more than `limit` (0: all).
    Unreadable ones and repeated ids are left out and counted in the log, so are those that ask a judge, unless `judged`
    says that there is one. `by_family`: rewards in the records' place. ValueError where it names no family of theirs.
    """
    sources, problems = [], []
    for directory in directories:
        try:
            sources.append(open_questions(directory, split, checksums=False))
        except DatasetError as error:  # a handful of photos may all be training photos; the other datasets still count
            problems.append(error)
            logger.warning("left out: %s", error)
    if not sources:
        raise problems[0]
    places = [(source, i) for source in sources for i in range(len(source))]
    if limit and len(places) > limit and not families:
        places = [places[i * len(places) // limit] for i in range(limit)]
    kept: dict[str, QuestionRecord] = {}
    left_out: collections.Counter[str] = collections.Counter()
    for source, i in places:
        record = source[i]
        if isinstance(record, Unusable) or record.question_id in kept:
            left_out["unreadable, or their id is there already"] += 1
        elif (kind := reward_kind(record, by_family)) in CODE_REWARDS:
            left_out["their rewards name code, which records may not"] += 1
        elif not kind:
            left_out["their rewards cannot be read"] += 1
        elif (
            kind == "judge" and not judged
        ):  # its rule pays an equal answer and says nothing of others: every score left would be 1
            left_out["their rewards ask a judge, and there is none (--judge_endpoint=URL --judge_model=NAME)"] += 1
        elif not families or record.family in families:
            kept[record.question_id] = record
    for reason, count in left_out.items():
        logger.warning("%d of %d records of split %s left out: %s", count, len(places), split, reason)
    if left_out and not kept:
        raise ValueError(
            f"{', '.join(map(str, directories))}: no record of split {split} is left ({'; '.join(left_out)})"
        )
    check_families(families, {str(f) for source in sources for f in source.column("family")}, split)
    if by_family:
        check_by_family(by_family, {str(f) for source in sources for f in source.column("family")})
    records = list(kept.values())
    return records if not limit or len(records) <= limit else [records[i * len(records) // limit] for i in range(limit)]


def reward_kind(record: QuestionRecord, by_family: Sequence[str] = ()) -> str:
    """The kind of reward that scores a record: its family's in `by_family`, else its own, "" where that cannot be read
    (told when it is scored).
    """
    if (given := reward_of_family(record.family, by_family)) is not None:
        return str(given["kind"])
    try:
        return str(record.json_field("reward").get("kind", ""))
    except ValueError:
        return ""


def asked_rule(asking: Asking) -> RewardRule:
    """What a policy's training laid over its records' rewards, and evaluation with it."""
    form = asking.format or get_form(asking.prompt_mode).format
    return RewardRule(form, asking.format_weight, asking.truncated_reward, asking.gate, asking.by_family)


def without_pictures(record: QuestionRecord) -> QuestionRecord:
    """The record without its encoded pictures: all that a blind guesser may see, and little memory."""
    return dataclasses.replace(record, images=tuple(b"" for _ in record.images))


def run_heldout(
    sampler: Sampler,
    records: Sequence[QuestionRecord],
    settings: EvalSettings,
    *,
    name: str = "heldout",
    train: Sequence[QuestionRecord] = (),
    rule: RewardRule | None = None,
    session: Session = Session(),
) -> dict[str, Any]:
    """Answers and scores self-built questions. `train`: records of the training split, for the blind priors; `rule`:
    what is laid over the records' rewards, None: what the policy's training laid over them.
    """
    chosen, asking = settings.sampling, sampler.asking
    paid = rule or asked_rule(asking)
    if asking.user_function and paid.user is None:
        logger.warning(
            "%s was trained by a reward of its user's own (%s), which no export carries: these numbers are by the"
            " records' own rewards",
            sampler.name,
            asking.user_function,
        )
    thinks = get_form(asking.prompt_mode).thinks
    tokens = asking.max_new_tokens or (THOUGHT_TOKENS if thinks else HELDOUT_TOKENS)
    tokens = chosen.max_new_tokens or min(tokens, max(sampler.engine.answer_buckets))
    sampling = sampler.sampling_of(chosen, tokens)
    log = open_log(session.responses, _log_settings(sampler, settings, name, "reward")) if session.responses else None
    try:
        rows = sampler.respond(
            record_requests(
                records, sampler, PromptStyle(asking.prompt_mode, asking.system, asking.frames, asking.fps)
            ),
            chosen.samples,
            sampling,
            log,
            session.progress,
        )
    finally:
        if log:
            log.close()
    kept = [rows[r.question_id] for r in records]
    return evaluate_heldout(
        name,
        records,
        [{**row, "responses": row["responses"] or [""] * chosen.samples} for row in kept],
        train,
        extra=_extra(sampler, settings, session.responses, kept, records) | {"rule": dataclasses.asdict(paid)},
        rule=paid,
        grader=session.grader,
    )


def open_log(path: str | Path, settings: Mapping[str, Any]) -> ResponseLog:
    """The log of a run's responses. Of several processes all read it before the first goes on to write: they must agree
    on what is left to ask.
    """
    if jax.process_count() == 1:
        return ResponseLog(path, settings)
    log = None if is_primary() else ResponseLog(path, settings, write=False)
    multihost_utils.sync_global_devices("responses are read")
    log = log or ResponseLog(path, settings)
    counts = multihost_utils.process_allgather(np.array(len(log.rows)))
    if np.unique(counts).size > 1:
        raise ValueError(f"{path}: processes see {counts.tolist()} answers in it; give a folder that all of them share")
    return log


def greedy_settings(settings: EvalSettings) -> EvalSettings:
    """The same settings with one greedy answer an item."""
    return dataclasses.replace(
        settings, sampling=dataclasses.replace(settings.sampling, samples=1, temperature=0.0, top_p=1.0, top_k=0)
    )


def _log_settings(sampler: Sampler, settings: EvalSettings, name: str, scoring: str) -> dict[str, Any]:
    return {
        "model": sampler.name,
        "weights": sampler.weights,
        "benchmark": name,
        "prompt_of": scoring,
        "policy": asked_policy(sampler, settings),
        "sampling": dataclasses.asdict(settings.sampling),
    }


def asked_policy(sampler: Sampler, settings: EvalSettings) -> dict[str, Any]:
    """The policy's settings with how it was asked in all that they leave open."""
    asked = dataclasses.asdict(sampler.asking) | limits_of(sampler.processor)
    policy = dataclasses.asdict(settings.policy)
    return policy | {name: asked[name] for name in policy if name in asked}


def _extra(
    sampler: Sampler,
    settings: EvalSettings,
    responses: str | Path | None,
    rows: Sequence[Mapping[str, Any]],
    records: Sequence[QuestionRecord] = (),
) -> dict[str, Any]:
    """What a result says of the run beside its scores; cut-off answers are told. `records`: of the rows, of a set of
    ours.
    """
    lengths = [n for row in rows for n in row.get("lengths", [])]
    cut = [f == "length" for row in rows for f in row.get("finish", [])]
    if any(cut):
        logger.warning(
            "%d of %d answers were cut off at their limit of tokens; --max_new_tokens gives them more room",
            sum(cut),
            len(cut),
        )
    return {
        "model": sampler.name,
        "weights": sampler.weights,
        "sampling": dataclasses.asdict(settings.sampling),
        "policy": asked_policy(sampler, settings),
        "responses": str(responses) if responses else None,
        "prompt_tokens": dict(sampler.tokens),
        "failed": sum(bool(row.get("error")) for row in rows),
        "mean_tokens": sum(lengths) / len(lengths) if lengths else None,
        "truncated": sum(cut) / len(cut) if cut else None,
        "cut_off": sum(cut),
        "drawing": figures_of(sampler, rows, records),
    }


def item_requests(
    name: str,
    items: Sequence[Mapping[str, Any]],
    sampler: Sampler,
    scoring: str,
    protocol: Protocol,
) -> list[Request]:
    """Requests for a benchmark's items; frames of a video are chosen once and recorded with the responses. A form that
    draws gets the frames as numbered pictures.
    """
    benchmark, form = get_benchmark(name), protocol.table_entry
    draws = form is not None and form.several_turns

    @functools.lru_cache(maxsize=1)  # requests on one clip follow each other
    def clip_of(path: str) -> tuple[Video, Callable[[], Prepared]]:
        clip = read_frames(path, protocol.frames or 32)
        return clip, functools.cache(lambda: sampler.processor.prepare_video(clip))

    def pictures_of(item: Mapping[str, Any]) -> tuple[list[Any], list[Any], dict[str, Any]]:
        extra: dict[str, Any] = {}
        images: list[Any] = list(item.get("images") or [])
        videos: list[Any] = []
        if any(image is None for image in images):
            raise ValueError(f"{name}: the item's picture is missing from the files")
        if item.get("video"):
            clip, prepared = clip_of(str(item["video"]))
            extra["frames"] = list(clip.frame_indices)
            if draws:
                images += clip.frames
            else:
                videos = [prepared()]
        if benchmark.image_size and scoring == "official":
            images = [resize_picture(image, benchmark.image_size) for image in images]
        if draws:
            images = [load_image(image) for image in images]
        return images, videos, extra

    def encode(item: Mapping[str, Any]) -> tuple[EncodedPrompt, dict[str, Any], list[Any]]:
        try:
            text = asked_text(benchmark.prompt(item, scoring), form)
        except KeyError as error:
            raise ValueError(f"{name}: the item lacks the field {error}") from error
        images, videos, extra = pictures_of(item)
        sizes = [sampler.processor.model_size(*image.size) for image in images] if draws else []
        messages = item_messages(text, len(images), len(videos), protocol.system, sizes)
        prompt = sampler.processor.encode(messages, images=images, videos=videos, normalise=False)
        return prompt, extra, images if draws else []

    return [
        Request(str(item["id"]), place, functools.partial(encode, item), item.get("video") and str(item["video"]))
        for place, item in enumerate(items)
    ]


def resize_picture(image: Any, size: tuple[int, int]) -> Any:
    """The picture at (width, height), as a benchmark's official script shows it."""
    from PIL import Image

    return load_image(image).resize(size, Image.Resampling.BICUBIC)


def run_benchmark(
    sampler: Sampler,
    name: str,
    items: Sequence[Mapping[str, Any]],
    settings: EvalSettings,
    *,
    scoring: str = "official",
    rotations: int = 1,
    session: Session = Session(),
) -> dict[str, Any]:
    """Answers and scores a public benchmark's items; rotations > 1 also asks with rotated options."""
    benchmark, chosen = get_benchmark(name), settings.sampling
    protocol = choose_protocol(sampler, benchmark, settings, rotations)
    items = rotated_items(name, items, rotations)
    sampling = sampler.sampling_of(chosen, protocol.max_new_tokens)
    log = None
    if session.responses:
        asked = {"protocol": dataclasses.asdict(protocol)} if protocol.form else {}
        log = open_log(session.responses, _log_settings(sampler, settings, name, scoring) | asked)
    try:
        rows = sampler.respond(
            item_requests(name, items, sampler, scoring, protocol), chosen.samples, sampling, log, session.progress
        )
    finally:
        if log:
            log.close()
    return evaluate_responses(
        name,
        items,
        rows,
        scoring=scoring,
        form=protocol.form,
        extra=_extra(sampler, settings, session.responses, [rows[str(i["id"])] for i in items])
        | {
            "protocol": protocol.describe(scoring, asked_policy(sampler, settings)),
            "asked": dataclasses.asdict(protocol),
        },
        grader=session.grader,
    )
