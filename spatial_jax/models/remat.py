"""Named rematerialisation policies of the layer scan: what the forward pass keeps for the backward pass."""

from __future__ import annotations

from collections.abc import Callable

import jax

from spatial_jax.ops.kept import KEPT

ATTENTION_NAMES = ("q", "k", "v", KEPT)
POLICIES = ("none", "full", "dots", "attention", "offload")


def remat(body: Callable, policy: str) -> Callable:
    """The scan body under a policy.

    none: keep everything; full: keep only each layer's input; dots: keep the outputs of weight matmuls; attention: keep
    q, k, v and the attention's output (the backward pass repeats the MLP, not the attention); offload: keep what
    "attention" keeps in host memory.
    """
    policies = jax.checkpoint_policies
    if policy == "none":
        return body
    if policy == "full":
        return jax.checkpoint(body, prevent_cse=False)
    if policy == "dots":
        return jax.checkpoint(body, prevent_cse=False, policy=policies.dots_with_no_batch_dims_saveable)
    if policy == "attention":
        return jax.checkpoint(body, prevent_cse=False, policy=policies.save_only_these_names(*ATTENTION_NAMES))
    if policy == "offload":
        return jax.checkpoint(
            body,
            prevent_cse=False,
            policy=policies.save_and_offload_only_these_names(
                names_which_can_be_saved=[],
                names_which_can_be_offloaded=list(ATTENTION_NAMES),
                offload_src="device",
                offload_dst="pinned_host",
            ),
        )
    raise ValueError(f"remat: policy {policy!r} is unknown; use one of {', '.join(POLICIES)}")
