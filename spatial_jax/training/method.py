"""What a training method is. A new one is a file with a class like this, and a line in methods.py; nothing else in the
tree asks for a method by its name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import jax
import numpy as np

from spatial_jax.metrics.timing import PhaseTimer
from spatial_jax.processing import EncodedPrompt
from spatial_jax.rollout import Trajectory
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.state import Coefficients
from spatial_jax.training.update import Updater

if TYPE_CHECKING:
    from spatial_jax.training.setup import Setup
    from spatial_jax.training.trainer import Trainer

# What one step took: what was asked (each has a `prompt` and a `record_id`), metrics, entries of the gallery.
Taken = tuple[Sequence[Any], dict[str, float], list[dict[str, Any]]]


class Stream(Protocol):
    """What a method trains on, endless; its place in the data is kept in checkpoints."""

    @property
    def sources(self) -> Sequence[Any]: ...  # each with a name and a length

    @property
    def digests(self) -> Sequence[str]: ...  # of the sources' contents

    def take(self, count: int) -> Sequence[Any]: ...

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: dict[str, Any], *, changed: bool = False) -> None: ...

    def close(self) -> None: ...


@dataclasses.dataclass(frozen=True)
class Typical:
    """What the planner asks a method to collate: a prompt, an answer's tokens int32 [t] and, in runs of several turns,
    the same answer with what is shown between its turns.
    """

    prompt: EncodedPrompt
    answer: np.ndarray
    conversation: Trajectory | None = None


@dataclasses.dataclass(frozen=True)
class Example:
    """A micro-batch on the host, made by the trainer's own collation. `batch` as a pass of log-probabilities takes it,
    `parts` as the update does; `collations`: such batches of one micro-batch of prompts; `passes`: of log-probabilities
    over each; `coefficients`: names of the scalars that the loss takes.
    """

    batch: Any
    parts: Sequence[Any]
    collations: int = 1
    passes: int = 0
    coefficients: tuple[str, ...] = ()


class Method(Protocol):
    """One way to train. Class attributes are facts of the method, known before a model is loaded; an instance holds
    what a run of it needs beside the Trainer.

    samples: the policy answers while it trains: a group of answers a question, a sampler to plan, alarms that apply.
    asks: it trains on questions, so held-out ones can be asked and its export tells how.
    turns: it can teach answers of several turns.
    keeps_reference: it holds a copy of the policy that the run began with.
    planned: `example` says what its programs look like.
    """

    samples: ClassVar[bool] = False
    asks: ClassVar[bool] = True
    turns: ClassVar[bool] = False
    keeps_reference: ClassVar[bool] = False
    planned: ClassVar[bool] = True

    answerer: Any = None  # who answers, where it asks: validation asks through it, too
    answers: Any = None  # the scorer of answers, likewise
    scorer: Any = None  # log-probabilities under other parameters

    def __init__(self, setup: Setup) -> None: ...

    @classmethod
    def check(cls, run: RunConfig) -> None:
        """Raises ValueError, one line, for settings that the method cannot be run with."""
        return

    @classmethod
    def needs_reference(cls, run: RunConfig) -> bool:
        """Whether the trainer keeps a reference that is renewed (config.reference)."""
        return False

    def stream(self) -> Stream:
        """What the run trains on, from its beginning; records that it cannot use are named and left out."""
        ...

    def loss(self, model: Any, batch: Any, coefficients: Coefficients) -> dict[str, jax.Array]:
        """Sums over a micro-batch: "loss", which is minimised, and others by name (maxima where they end in _max)."""
        ...

    def step(self, trainer: Trainer, updater: Updater, timer: PhaseTimer) -> Taken:
        """Takes from the stream, changes `trainer.state`, and tells what came of it. `trainer.step` counts the steps
        before this one.
        """
        ...

    def example(self, typical: Typical) -> Example:
        """The micro-batch that `config.train.micro_prompts` typical questions make; for the planner."""
        raise ValueError(f"{type(self).__name__} is not planned")

    def state_dict(self) -> dict[str, Any]:
        """What the method itself carries from step to step, ready for a checkpoint."""
        return {}

    def load_state_dict(self, state: dict[str, Any], pipeline: Any, *, changed: bool) -> None:
        """Goes on where `state_dict` was taken; `changed`: under other settings, which its answers do not fit."""
        return

    def on_save(self, trainer: Trainer) -> None:
        """Called when a checkpoint is written, for files that belong beside it."""
        return


def method_of(run: RunConfig) -> type[Method]:
    """The class of a run's method."""
    from spatial_jax.training.methods import METHODS  # the methods stand above this file and below the table

    return METHODS[run.train.method]


def answers_per_question(run: RunConfig) -> int:
    """Answers that a question is trained on."""
    return run.rollout.group_size if method_of(run).samples else 1
