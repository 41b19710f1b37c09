"""Log-probabilities of a batch's answers under other parameters: the reference's, or the sampling policy's own before
an update.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from spatial_jax.models.group import group_logprobs
from spatial_jax.parallel.rules import use_mesh
from spatial_jax.rl import kl_estimate
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
                return group_logprobs(
                    nnx.merge(graphdef, params), prompts, answers, temperature=temperature, banned_ids=banned_ids
                )[0]

        # Whole on every device: each process reads all of them, wherever their rows were computed.
        self.jitted = jax.jit(
            score, out_shardings=None if setup.mesh is None else NamedSharding(setup.mesh, PartitionSpec())
        )

    def __call__(self, params: Any, batch: GroupBatch) -> np.ndarray:
        """[b, g, t] float32."""
        prompts, answers = place((batch.prompts, batch.answers), self._mesh, group_axis)
        return np.asarray(self.jitted(params, prompts, answers))

    def with_logps(self, batch: GroupBatch, name: str, params: Any) -> GroupBatch:
        """The batch with `name` ("old_logp" or "ref_logp") of its policy filled in."""
        values: dict[str, Any] = {name: self(params, batch)}
        assert batch.policy is not None
        return dataclasses.replace(batch, policy=dataclasses.replace(batch.policy, **values))

    def kl_of_rollout(self, batches: Sequence[GroupBatch], params: Any) -> float:
        """Mean k3 estimate, in nats a token, of the KL of the policy that sampled these batches to the one with
        `params`.
        """
        total = count = 0.0
        for batch in batches:
            assert batch.policy is not None and batch.policy.rollout_logp is not None
            mask = np.asarray(batch.policy.mask, bool)
            kl = np.asarray(kl_estimate(jnp.asarray(batch.policy.rollout_logp), jnp.asarray(self(params, batch)), "k3"))
            total, count = total + float(kl[mask].sum()), count + float(mask.sum())
        return total / max(count, 1.0)
