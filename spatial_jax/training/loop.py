"""The outer loop: data, method, update, log, checkpoint, export. Read `train` from top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, Preempted, PreemptionGuard
from spatial_jax.data.encode import QuestionEncoder
from spatial_jax.data.pipeline import PipelineSettings, QuestionPipeline
from spatial_jax.data.plan import plan_questions
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.data.source import open_mixture
from spatial_jax.metrics import (
    AlarmWatch,
    MetricsWriter,
    PhaseTimer,
    is_primary,
    run_facts,
    write_gallery,
    write_pass_rates,
)
from spatial_jax.models.digest import checkpoint_digest
from spatial_jax.rl.curriculum import Curriculum
from spatial_jax.rl.entropy import EntropyController
from spatial_jax.rl.pass_rates import read_pass_rates
from spatial_jax.rl.refill import Refill
from spatial_jax.training.align import Align, SceneStream
from spatial_jax.training.answers import AnswerScorer, Sampled
from spatial_jax.training.demonstrations import demonstration_check
from spatial_jax.training.dpo import Dpo
from spatial_jax.training.flops import step_flops
from spatial_jax.training.folder import RunFolder, changes_at_a_glance, claimed, compared
from spatial_jax.training.grpo import Grpo, Rollout
from spatial_jax.training.identity import NOTHING, Changes, file_digest, settings_of
from spatial_jax.training.optimizer import learning_rate
from spatial_jax.training.pairs import Pairs
from spatial_jax.training.preflight import (
    announce,
    check_programs,
    check_reward_settings,
    check_rewards,
    lint_sources,
    truth_check,
)
from spatial_jax.training.reference import Reference
from spatial_jax.training.settings import LogSettings, RunConfig
from spatial_jax.training.setup import Setup, check_inputs, make_setup
from spatial_jax.training.sft import Sft
from spatial_jax.training.skipped import keep_skipped
from spatial_jax.training.state import TrainState, init_optimizer
from spatial_jax.training.update import Updater, add_sums, step_sums
from spatial_jax.training.validation import Validation

log = logging.getLogger(__name__)


def make_pipeline(setup: Setup, scorer: AnswerScorer | None = None, pairs: Pairs | None = None) -> QuestionPipeline:
    """The run's question stream. Every process draws the same questions: a batch is global, and devices take their
    parts of it. Where `scorer` is given, each question must pay its own answer; where `pairs`, each must have a wrong
    one.
    """
    data = setup.run.data
    sources = open_mixture(data.paths, data.split, data.families)
    encoder = QuestionEncoder(
        setup.processor, PromptStyle(data.prompt_mode, data.system), cache_bytes=data.cache_mib << 20
    )
    seen: dict[str, list[dict[str, Any]]] = {}
    if pairs is not None:
        pairs.learn(sources)
    if data.check:
        prompt, answer = max(data.prompt_buckets), max(setup.run.rollout.answer_buckets)
        # In SFT a prompt's last token goes with the answer; GRPO has no use for the written one.
        longest = {"sft": (prompt + 1, answer - 1), "dpo": (prompt, answer)}.get(setup.run.train.method, (prompt, None))
        check = None if scorer is None else truth_check(scorer, seen)
        if setup.run.train.method == "sft" and setup.run.rollout.turns > 1:
            check = demonstration_check(encoder, setup.run.rollout, answer - 1)
        if pairs is not None:
            check = pairs.check(encoder, answer)
        plans = [
            plan_questions(
                source,
                encoder,
                max_prompt_tokens=longest[0],
                max_target_tokens=longest[1],
                max_patches=max(data.patch_buckets),
                check=check,
            )
            for source in sources
        ]
        for plan in plans:
            plan.report()
        sources = [plan.usable() for plan in plans]
    if scorer is not None:
        check_rewards(sources, scorer, seen)
        if data.check:
            lint_sources(sources, scorer)
    settings = PipelineSettings(
        seed=data.seed, workers=data.workers, together=data.together if setup.run.train.method == "sft" else 1
    )
    return QuestionPipeline(sources, encoder, settings, data.weights)


@dataclasses.dataclass
class Trainer:
    """What changes while training, and how it is saved: one object so that a resume forgets nothing."""

    setup: Setup
    state: TrainState
    pipeline: Any  # QuestionPipeline, or SceneStream for alignment
    reference: Reference
    curriculum: Curriculum
    entropy: EntropyController
    refill: Refill
    scorer: AnswerScorer | None = None
    initial: Any = None  # parameters the run began with, where the KL to them is logged
    ahead: Sampled | None = None  # the next step's answers, where rollouts overlap
    step: int = 0

    inputs: dict[str, Any] = dataclasses.field(init=False)  # digests of what the run reads, by setting

    def __post_init__(self) -> None:
        run = self.setup.run
        self.inputs = {
            "model.path": checkpoint_digest(self.setup.policy.directory or run.model.path),
            "data.paths": self.pipeline.digests,
            "reward.user_file": file_digest(run.reward.user_file),
            "offline_pass_rates": file_digest(run.offline_pass_rates),
        }

    def device_state(self) -> dict[str, Any]:
        return {"train": self.state, "reference": self.reference.params}

    def host_state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "run": {"settings": settings_of(self.setup.run), "inputs": self.inputs},
            "data": self.pipeline.get_state(),
            "reference": self.reference.controller.state_dict(),
            "curriculum": self.curriculum.state_dict(),
            "entropy": self.entropy.state_dict(),
            "ahead": None if self.ahead is None else self.ahead.state_dict(),
        }

    def restore(self, device: dict[str, Any], host: dict[str, Any], changes: Changes = NOTHING) -> None:
        """Continues where `device_state` and `host_state` were taken, as far as `changes` leave that sense. ValueError
        where `host` is no such state.
        """
        try:
            self.state, self.reference.params = device["train"], device["reference"]
            self.reference.controller.load_state_dict(host["reference"])
            self.curriculum.load_state_dict(host["curriculum"])
            self.entropy.load_state_dict(host["entropy"])
            self.pipeline.set_state(host["data"], changed=bool(changes.breaking))
            self.step = int(host["step"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint's host state is not one of this code ({type(error).__name__}: {error}); go on with the"
                " code that wrote it, or give --noresume"
            ) from error
        # Answers that were asked for under other settings are asked for again.
        ahead = None if changes.breaking else host.get("ahead")
        if ahead is not None and self.scorer is not None and self.setup.run.rollout.overlap:
            self.ahead = Sampled.restored(ahead, self.pipeline, self.scorer)


def make_trainer(setup: Setup, scorer: AnswerScorer | None = None, pairs: Pairs | None = None) -> Trainer:
    """A trainer at step 0; `scorer` and `pairs` as `make_pipeline` takes them."""
    run = setup.run
    curriculum = Curriculum(run.curriculum)
    if run.offline_pass_rates:
        curriculum.import_offline(read_pass_rates(run.offline_pass_rates))
    pipeline: Any = SceneStream(setup) if run.train.method == "align" else make_pipeline(setup, scorer, pairs)
    if run.train.method == "grpo":
        pipeline.accept = curriculum.accept
    refill: Refill = Refill(run.train.prompts, max(run.algorithm.refill_rounds, 1))
    initial = (
        jax.tree.map(jnp.copy, setup.start.params) if run.log.initial_kl_every and run.train.method == "grpo" else None
    )
    return Trainer(
        setup,
        setup.start,
        pipeline,
        Reference(run.reference, run.needs_reference, setup.start.params),
        curriculum,
        EntropyController(run.entropy),
        refill,
        scorer,
        initial,
    )


def train(
    run: RunConfig,
    workdir: str | Path,
    *,
    resume: bool = True,
    allow_changes: bool = False,
    any_processes: bool = False,
) -> int:
    """Runs or resumes a training in `workdir` (a folder, or gs://); exit code 0 when it is finished, EXIT_PREEMPTED
    when it was asked to stop and has saved, or had nothing to save yet.

    resume=False begins anew: an older run there is moved aside. allow_changes: go on although settings or data differ
    from those of the checkpoint. any_processes: go on with another number of processes than it was saved by.
    """
    if jax.process_count() > 1 and not jax.distributed.is_initialized():
        raise ValueError(
            f"{jax.process_count()} processes see one another but have not joined jax.distributed, which checkpoints"
            " need; start each one by python -m launch.worker --platform=tpu spatial_jax.train ..."
        )
    check_inputs(run)
    check_reward_settings(run.reward)
    with PreemptionGuard() as guard:
        try:
            guard.at_once = True
            with claimed(run, workdir, guard, resume=resume) as folder:
                return _train(run, folder, guard, allow_changes, any_processes)
        except Preempted:
            print(f"asked to stop: nothing of {workdir} is lost; the same command goes on", file=sys.stderr, flush=True)
            return EXIT_PREEMPTED


def _train(run: RunConfig, folder: RunFolder, guard: PreemptionGuard, allow_changes: bool, any_processes: bool) -> int:
    root, workdir = folder.root, folder.local
    keep_programs(root)
    with CheckpointManager(root, keep=run.checkpoint.keep) as manager:
        changes_at_a_glance(manager, run, root, allowed=allow_changes)
        setup = make_setup(run, workdir)
        kinds: dict[str, Any] = {"align": Align, "sft": Sft, "dpo": Dpo, "grpo": Grpo}
        method = kinds[run.train.method](setup)
        trainer = make_trainer(setup, getattr(method, "answers", None), getattr(method, "pairs", None))
        updater = Updater(setup.graphdef, setup.optimizer, method.loss, setup.mesh)
        validation = (
            Validation(setup, getattr(method, "engine", None), getattr(method, "answers", None))
            if run.validation.every
            else None
        )
        with contextlib.closing(trainer.pipeline):
            if manager.latest() is not None:
                device, host = manager.restore(like=trainer.device_state(), fallback=True, any_processes=any_processes)
                trainer.restore(device, host, compared(run, trainer.inputs, host, root, allowed=allow_changes))
                log.info("resumed %s at step %d", root, trainer.step)
            folder.keep_config(run)
            announce(setup, trainer)
            check_programs(setup, trainer)
            facts = run_facts(dataclasses.asdict(run))
            writer = MetricsWriter(
                workdir,
                run.log.sinks,
                total_steps=run.train.steps,
                table_every=run.log.table_every,
                steady=facts.steady,
                resume_step=trainer.step,
            )
            with writer:
                code = _steps(trainer, method, updater, validation, manager, guard, writer, folder)
            manager.wait()
        if code == 0:
            guard.at_once = True
            folder.check()
            setup.export(trainer.state.params, workdir / "export")
    if code == 0:
        folder.finish()
        if is_primary():
            print(f"finished {trainer.step} steps; the policy is in {root}/export (Hugging Face layout)", flush=True)
    else:
        folder.push()
    return code


def keep_programs(root: str) -> None:
    """On accelerators compiled programs stay with the run, unless JAX was given a place: a run that resumes need not
    compile again.
    """
    if jax.default_backend() != "cpu" and not jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", f"{root}/compiled")


def _steps(
    trainer: Trainer,
    method: Any,
    updater: Updater,
    validation: Validation | None,
    manager: CheckpointManager,
    guard: PreemptionGuard,
    writer: MetricsWriter,
    folder: RunFolder,
) -> int:
    run, timer, watch = (
        trainer.setup.run,
        PhaseTimer(limit=trainer.setup.run.log.watchdog_s),
        AlarmWatch(facts=run_facts(dataclasses.asdict(trainer.setup.run))),
    )
    schedule = learning_rate(run.optimizer, trainer.setup.optimizer_steps)
    if validation is not None and trainer.step == 0:
        writer.write(0, validate(trainer, validation, timer) | timer.flush())
    while trainer.step < run.train.steps:
        questions, metrics, gallery = (grpo_step if isinstance(method, Grpo) else supervised_step)(
            trainer, method, updater, timer
        )
        trainer.step += 1
        guard.at_once = False  # from now on there is something to save
        folder.check()
        validated = validation is not None and (
            trainer.step % run.validation.every == 0 or trainer.step == run.train.steps
        )
        if validation is not None and validated:
            metrics |= validate(trainer, validation, timer)
        if trainer.reference.after_step(trainer.step, trainer.state.params, metrics) and run.reference.reset_optimizer:
            trainer.state = dataclasses.replace(
                trainer.state, opt_state=init_optimizer(trainer.state.params, trainer.setup.optimizer)
            )
        metrics |= trainer.reference.metrics(trainer.step)
        metrics |= {
            "learning_rate": float(schedule(int(trainer.state.step))),
            "programs": float(updater.programs),
            **timer.flush(),
        }
        metrics |= step_flops(trainer.setup, questions, metrics)
        if validated or trainer.step % run.log.console_every == 0 or trainer.step in (1, run.train.steps):
            writer.write(trainer.step, metrics)
            for alarm in watch.update({"step": trainer.step, **metrics}):
                writer.note(alarm.line())
        if gallery:
            write_gallery(trainer.setup.workdir, trainer.step, gallery)
        stop = guard.should_stop()
        if stop or trainer.step == run.train.steps or trainer.step % run.checkpoint.every == 0:
            manager.save(trainer.step, trainer.device_state(), trainer.host_state(), wait=stop)
            if rates := trainer.curriculum.pass_rate_rows():
                write_pass_rates(trainer.setup.workdir, trainer.step, rates)
            folder.push()
        if stop:
            print(
                f"asked to stop: saved step {trainer.step} in {manager.directory}; the same command goes on from there",
                file=sys.stderr,
                flush=True,
            )
            return EXIT_PREEMPTED
    return 0


def validate(trainer: Trainer, validation: Validation, timer: PhaseTimer) -> dict[str, float]:
    """The held-out questions answered by the newest parameters; a reference that waits for a stalled validation hears
    of it.
    """
    with timer("validation"):
        metrics = validation(trainer.setup.params(trainer.state.params))
    if "eval/reward" in metrics:
        trainer.reference.controller.observe_validation(metrics["eval/reward"])
    return metrics


Taken = tuple[list[Any], dict[str, float], list[dict[str, Any]]]  # questions, metrics, gallery entries


def grpo_step(trainer: Trainer, method: Grpo, updater: Updater, timer: PhaseTimer) -> Taken:
    """Rolls out until the batch is full of groups with a gradient (one round unless refill is on), then updates on it.
    With overlap the first round was sampled a step ago, and the next step's is sampled before this one's scores are
    waited for: the device works while judges and rules do. One thread gives out all device work, so processes cannot
    get out of order.
    """
    setup, run = trainer.setup, trainer.setup.run
    params = setup.params(trainer.state.params)
    trainer.curriculum.advance(trainer.step)

    def sample(count: int, step: int, first: int) -> Sampled:
        with timer("data"):
            questions = trainer.pipeline.take(count)
        return method.sample(questions, params, step, first, timer)

    sampled, trainer.ahead = trainer.ahead, None
    stale = sampled is not None
    rounds: list[Rollout] = []
    while (need := trainer.refill.need()) and (not rounds or run.algorithm.refill_rounds > 1):
        sampled = sampled or sample(need, trainer.step, sum(len(r.questions) for r in rounds))
        if run.rollout.overlap and not rounds and trainer.step + 1 < run.train.steps:
            trainer.ahead = sample(run.train.prompts, trainer.step + 1, 0)
        rounds.append(method.collect(sampled, timer, stale=stale and not rounds))
        trainer.refill.add([(rounds[-1], i) for i in range(len(rounds[-1].questions))], rounds[-1].reasons)
        for asked, row, reason in zip(rounds[-1].questions, rounds[-1].outcomes, rounds[-1].reasons):
            trainer.curriculum.observe(asked.record, [o.correct for o in row], dropped=reason, source=asked.dataset)
        sampled = None
    kept, counts = trainer.refill.take()
    if run.curriculum.mixture_strength:
        names = [source.name for source in trainer.pipeline.sources]
        base = run.data.weights or [float(len(source)) for source in trainer.pipeline.sources]
        trainer.pipeline.weights = trainer.curriculum.mixture_weights(names, base)
    rollout = Rollout.joined(rounds) if run.algorithm.refill_rounds <= 1 or not kept else Rollout.chosen(kept)
    reference = None if trainer.reference.params is None else setup.params(trainer.reference.params)
    taken: list[dict[str, Any]] = []
    extra: dict[str, float] = {}
    for batches, count in method.minibatches(rollout, params, reference, timer):
        if trainer.initial is not None and (trainer.step + 1) % run.log.initial_kl_every == 0 and not extra:
            with timer("initial_kl"):
                extra = {"kl/initial": method.scorer.kl_of_rollout(batches, setup.params(trainer.initial))}
        with timer("update"):
            trainer.state, sums = updater(
                trainer.state, setup.frozen, batches, count, {"entropy": np.float32(trainer.entropy.active)}
            )
            taken.append(jax.device_get(sums))
            keep_skipped(setup.workdir, trainer.step + 1, batches, taken[-1], [q.record_id for q in rollout.questions])
    metrics = extra | method.metrics(rollout, functools.reduce(add_sums, taken) if taken else None)
    metrics |= counts.metrics() | (trainer.curriculum.metrics() if run.curriculum.enabled else {})
    if "entropy" in metrics:
        metrics["entropy/coef"] = trainer.entropy.update(metrics["entropy"])
    return (
        rollout.questions,
        metrics | step_sums(taken),
        rollout.gallery(gallery_groups(run.log, trainer.step + 1), setup),
    )


def gallery_groups(settings: LogSettings, step: int) -> int:
    """How many groups of a step go to the gallery."""
    return (
        settings.gallery_groups if settings.gallery_every and (step % settings.gallery_every == 0 or step == 1) else 0
    )


def supervised_step(trainer: Trainer, method: Any, updater: Updater, timer: PhaseTimer) -> Taken:
    """One batch of SFT or DPO."""
    with timer("data"):
        questions = trainer.pipeline.take(trainer.setup.run.train.prompts)
    with timer("batch"):
        minibatches = method.minibatches(questions)
    taken = []
    for batches, count in minibatches:
        with timer("update"):
            trainer.state, sums = updater(trainer.state, trainer.setup.frozen, batches, count)
            taken.append(jax.device_get(sums))
        keep_skipped(
            trainer.setup.workdir,
            trainer.step + 1,
            batches,
            taken[-1],
            [getattr(q, "record_id", "") for q in questions],
        )
    return questions, method.metrics(questions, functools.reduce(add_sums, taken)) | step_sums(taken), []
