"""The outer loop: data, method, update, log, checkpoint, export. Read `train` from top to bottom."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path

import jax

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, Preempted, PreemptionGuard
from spatial_jax.metrics import (
    AlarmWatch,
    Console,
    MetricsWriter,
    PhaseTimer,
    Tracked,
    check_trackers,
    is_primary,
    write_gallery,
)
from spatial_jax.parallel.rules import changed_rules, use_rules
from spatial_jax.rewards.user_process import stop_workers
from spatial_jax.training.flops import step_flops
from spatial_jax.training.folder import RunFolder, changes_at_a_glance, claim_folder, compare_run
from spatial_jax.training.identity import settings_of
from spatial_jax.training.optimizer import learning_rate
from spatial_jax.training.preflight import announce, check_programs, check_reward_settings
from spatial_jax.training.profile import Profile
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.setup import check_inputs, make_setup
from spatial_jax.training.state import init_optimizer
from spatial_jax.training.trainer import Trainer, make_trainer
from spatial_jax.training.update import Updater
from spatial_jax.training.validation import Validation

log = logging.getLogger(__name__)


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
    check_trackers(run.log.sinks)
    with PreemptionGuard() as guard:
        try:
            guard.at_once = True
            rules = use_rules(changed_rules(run.mesh.rules))
            with rules, claim_folder(run, workdir, guard, resume=resume) as folder:
                return _train(run, folder, guard, allow_changes, any_processes)
        except Preempted:
            print(f"asked to stop: nothing of {workdir} is lost; the same command goes on", file=sys.stderr, flush=True)
            return EXIT_PREEMPTED
        finally:
            stop_workers()  # of a user's reward: this process may live on, as a notebook's does


def _train(run: RunConfig, folder: RunFolder, guard: PreemptionGuard, allow_changes: bool, any_processes: bool) -> int:
    root, workdir = folder.root, folder.local
    keep_programs(root)
    with CheckpointManager(root, keep=run.checkpoint.keep) as manager:
        changes_at_a_glance(manager, run, root, allowed=allow_changes)
        setup = make_setup(run, workdir)
        trainer = make_trainer(setup)
        method = trainer.method
        updater = Updater(setup.graphdef, setup.optimizer, method.loss, setup.mesh, run.model.remat)
        validation = Validation(setup, method.answerer, method.answers) if run.validation.every else None
        with contextlib.closing(trainer.pipeline):
            if manager.latest() is not None:
                device, host = manager.restore(like=trainer.device_state(), fallback=True, any_processes=any_processes)
                trainer.restore(device, host, compare_run(run, trainer.inputs, host, root, allowed=allow_changes))
                log.info("resumed %s at step %d", root, trainer.step)
            folder.keep_config(run)
            announce(setup, trainer)
            check_programs(setup, trainer)
            writer = MetricsWriter(
                workdir,
                run.log.sinks,
                console=Console(
                    total_steps=run.train.steps,
                    table_every=run.log.table_every,
                    steady=trainer.facts.steady,
                    format_=run.log.console_format,
                ),
                tracked=Tracked(run.log.project, run.log.title, settings_of(run)),
                resume_step=trainer.step,
            )
            with writer:
                code = _steps(trainer, updater, validation, manager, guard, writer, folder)
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
    updater: Updater,
    validation: Validation | None,
    manager: CheckpointManager,
    guard: PreemptionGuard,
    writer: MetricsWriter,
    folder: RunFolder,
) -> int:
    run = trainer.setup.run
    timer, watch = PhaseTimer(limit=run.log.watchdog_s), AlarmWatch(facts=trainer.facts)
    profile = Profile(trainer.setup.workdir, run.log.profile_steps)
    schedule = learning_rate(run.optimizer, trainer.setup.optimizer_steps)
    if validation is not None and trainer.step == 0:
        writer.write(0, validate(trainer, validation, timer) | timer.flush())
    while trainer.step < run.train.steps:
        with profile.step(trainer.step + 1):
            _, metrics, gallery = trainer.method.step(trainer, updater, timer)
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
        metrics |= step_flops(metrics)
        if validated or trainer.step % run.log.console_every == 0 or trainer.step in (1, run.train.steps):
            writer.write(trainer.step, metrics)
            for alarm in watch.update({"step": trainer.step, **metrics}):
                writer.note(alarm.line())
        if gallery:
            write_gallery(trainer.setup.workdir, trainer.step, gallery)
        stop = guard.should_stop()
        if stop or trainer.step == run.train.steps or trainer.step % run.checkpoint.every == 0:
            manager.save(trainer.step, trainer.device_state(), trainer.host_state(), wait=stop)
            trainer.method.on_save(trainer)
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
