"""The outer loop: data, method, update, log, checkpoint, export. Read `train` from top to bottom."""
from __future__ import annotations

import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spatial_jax.checkpoints import EXIT_PREEMPTED, CheckpointManager, PreemptionGuard
from spatial_jax.data.encode import Sample, SampleEncoder
from spatial_jax.data.pipeline import PipelineSettings, QuestionPipeline
from spatial_jax.data.prompts import PromptStyle
from spatial_jax.data.source import open_questions
from spatial_jax.metrics import AlarmWatch, MetricsWriter, PhaseTimer, is_primary, write_gallery
from spatial_jax.training.dpo import Dpo
from spatial_jax.training.flops import step_flops
from spatial_jax.training.grpo import Grpo
from spatial_jax.training.optimizer import learning_rate
from spatial_jax.training.reference import Reference
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.setup import Setup, make_setup
from spatial_jax.training.sft import Sft
from spatial_jax.training.state import TrainState
from spatial_jax.training.update import Updater

log = logging.getLogger(__name__)


def make_pipeline(setup: Setup) -> QuestionPipeline:
    """The run's question stream. Every process draws the same questions: a batch is global, and devices take their parts of it."""
    data = setup.run.data
    sources = [open_questions(path, data.split, families=data.families) for path in data.paths]
    encoder = SampleEncoder(setup.processor, PromptStyle(data.prompt_mode, data.system), cache_bytes=data.cache_mib << 20)
    settings = PipelineSettings(seed=data.seed, workers=data.workers, together=data.together if setup.run.run.method == "sft" else 1)
    return QuestionPipeline(sources, encoder, settings, data.weights)


@dataclasses.dataclass
class Trainer:
    """What changes while training, and how it is saved: one object so that a resume forgets nothing."""

    setup: Setup
    state: TrainState
    pipeline: QuestionPipeline
    reference: Reference
    entropy_coef: float = 0.0
    step: int = 0

    def device_state(self) -> dict[str, Any]:
        return {"train": self.state, "reference": self.reference.params}

    def host_state(self) -> dict[str, Any]:
        return {"step": self.step, "data": self.pipeline.get_state(), "reference": self.reference.get_state(), "entropy_coef": self.entropy_coef}

    def restore(self, device: dict[str, Any], host: dict[str, Any]) -> None:
        """Continues where `device_state` and `host_state` were taken."""
        self.state = device["train"]
        self.reference.set_state(device["reference"], host["reference"])
        self.pipeline.set_state(host["data"])
        self.step, self.entropy_coef = int(host["step"]), float(host["entropy_coef"])


def train(run: RunConfig, workdir: str | Path, *, resume: bool = True) -> int:
    """Runs or resumes a training in `workdir`; exit code 0 when it is finished, EXIT_PREEMPTED when it was asked to stop and has saved."""
    workdir = Path(workdir)
    if is_primary():
        workdir.mkdir(parents=True, exist_ok=True)
        (workdir / "config.json").write_text(json.dumps(dataclasses.asdict(run), indent=1))
    setup = make_setup(run, workdir)
    trainer = Trainer(setup, setup.start, make_pipeline(setup), Reference(run.reference, run.needs_reference, setup.start.params))
    method = {"sft": Sft, "dpo": Dpo, "grpo": Grpo}[run.run.method](setup)
    updater = Updater(setup.graphdef, setup.split, setup.optimizer, method.loss, setup.mesh)
    with CheckpointManager(str(workdir / "checkpoints"), keep=run.checkpoint.keep) as manager, PreemptionGuard() as guard:
        if resume and manager.latest() is not None:
            device, host = manager.restore(like=trainer.device_state(), fallback=True)
            trainer.restore(device, host)
            log.info("resumed %s at step %d", workdir, trainer.step)
        announce(setup, trainer)
        writer = MetricsWriter(workdir, run.log.sinks, total_steps=run.run.steps, table_every=0, resume_step=trainer.step or None)
        with writer:
            code = _steps(trainer, method, updater, manager, guard, writer)
        manager.wait()
    trainer.pipeline.close()
    if code == 0:
        setup.export(trainer.state.params, workdir / "export")
        if is_primary():
            print(f"finished {run.run.steps} steps; the policy is in {workdir / 'export'} (Hugging Face layout)", flush=True)
    return code


def _steps(trainer: Trainer, method: Any, updater: Updater, manager: CheckpointManager, guard: PreemptionGuard, writer: MetricsWriter) -> int:
    run, timer, watch = trainer.setup.run, PhaseTimer(), AlarmWatch()
    schedule = learning_rate(run.optimizer, trainer.setup.optimizer_steps)
    while trainer.step < run.run.steps:
        with timer("data"):
            samples = trainer.pipeline.take(run.run.prompts)
        metrics, gallery = take_step(trainer, method, updater, samples, timer)
        trainer.step += 1
        metrics |= trainer.reference.after_step(trainer.step, trainer.state.params, metrics)
        metrics |= {"learning_rate": float(schedule(int(trainer.state.step))), "programs": float(updater.programs), **timer.flush()}
        metrics |= step_flops(trainer.setup, samples, metrics)
        if trainer.step % run.log.console_every == 0 or trainer.step in (1, run.run.steps):
            writer.write(trainer.step, metrics)
            for alarm in watch.update({"step": trainer.step, **metrics}):
                writer.note(alarm.line())
        if gallery and run.log.gallery_every and (trainer.step % run.log.gallery_every == 0 or trainer.step == 1):
            write_gallery(trainer.setup.workdir, trainer.step, gallery)
        stop = guard.should_stop()
        if stop or trainer.step == run.run.steps or trainer.step % run.checkpoint.every == 0:
            manager.save(trainer.step, trainer.device_state(), trainer.host_state(), wait=stop)
        if stop and trainer.step < run.run.steps:
            print(f"asked to stop: saved step {trainer.step} in {manager.directory}; the same command goes on from there", file=sys.stderr, flush=True)
            return EXIT_PREEMPTED
    return 0


def take_step(trainer: Trainer, method: Any, updater: Updater, samples: list[Sample], timer: PhaseTimer) -> tuple[dict[str, float], list[dict]]:
    """One step of the method: (metrics, gallery entries)."""
    setup, run = trainer.setup, trainer.setup.run
    frozen = setup.frozen
    if isinstance(method, Grpo):
        params = setup.params(trainer.state.params)
        rollout = method.collect(samples, params, trainer.step, timer)
        reference = None if trainer.reference.params is None else setup.params(trainer.reference.params)
        sums = None
        for batches, count in method.minibatches(rollout, params, reference, timer):
            with timer("update"):
                trainer.state, sums = updater(trainer.state, frozen, batches, count, {"entropy": np.float32(trainer.entropy_coef)})
                sums = jax.device_get(sums)
        metrics = method.metrics(rollout, sums)
        trainer.entropy_coef = method.next_entropy_coef(trainer.entropy_coef, metrics.get("entropy"))
        gallery = rollout.gallery(run.log.gallery_groups)
    else:
        with timer("batch"):
            minibatches = method.minibatches(samples)
        for batches, count in minibatches:
            with timer("update"):
                trainer.state, sums = updater(trainer.state, frozen, batches, count)
                sums = jax.device_get(sums)
        metrics, gallery = method.metrics(samples, sums), []
    if sums is not None:
        metrics |= {"grad_norm": float(sums["grad_norm"]), "update_skipped": float(sums["update_skipped"])}
    return metrics, gallery


def announce(setup: Setup, trainer: Trainer) -> None:
    """What is about to run, on process 0."""
    if not is_primary():
        return
    run = setup.run
    sizes = ", ".join(f"{s.name} {len(s):,}" for s in trainer.pipeline.sources)
    print(f"{run.run.method} from step {trainer.step} to {run.run.steps}: {run.run.prompts} questions a step of {sizes}; "
          f"{len(jax.devices())} {jax.devices()[0].platform} device(s), mesh {dict(setup.mesh.shape) if setup.mesh else 'none'}", flush=True)
    for part, trainable, total in setup.split.table(setup.policy.params):
        print(f"  {part:<16} {trainable:>15,} of {total:,} parameters train", flush=True)
