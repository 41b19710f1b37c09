"""Log-probabilities of a batch's answers under other parameters: the reference's, or the sampling policy's own before an update."""
from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import nnx

from spatial_jax.models.group import group_logprobs
from spatial_jax.parallel.rules import use_mesh
from spatial_jax.training.batches import GroupBatch
from spatial_jax.training.setup import Setup
from spatial_jax.training.update import group_axis, place


class LogProbs:
    """Forward passes only, jitted once a bucket shape."""

    def __init__(self, setup: Setup, *, temperature: float = 1.0, banned_ids: tuple[int, ...] = ()):
        self._mesh = setup.mesh
        graphdef = setup.graphdef

        def score(params, prompts, answers):
            with use_mesh(self._mesh):
                return group_logprobs(nnx.merge(graphdef, params), prompts, answers, temperature=temperature, banned_ids=banned_ids)[0]

        self._score = jax.jit(score)

    def __call__(self, params: Any, batch: GroupBatch) -> np.ndarray:
        """[b, g, t] float32."""
        prompts, answers = place((batch.prompts, batch.answers), self._mesh, group_axis)
        return np.asarray(self._score(params, prompts, answers))

    def with_logps(self, batch: GroupBatch, name: str, params: Any) -> GroupBatch:
        """The batch with `name` ("old_logp" or "ref_logp") of its policy filled in."""
        values: dict[str, Any] = {name: self(params, batch)}
        assert batch.policy is not None
        return dataclasses.replace(batch, policy=dataclasses.replace(batch.policy, **values))
