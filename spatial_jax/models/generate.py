"""Greedy decoding with one row a sequence: the plain loop that parity tests and the benchmark use. Sampling for
training is rollout's.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from spatial_jax.models.batch import PromptBatch
from spatial_jax.models.qwen_vl import QwenVL
from spatial_jax.ops.attention import attention, reference_attention


def prompt_hidden(model: QwenVL, batch: PromptBatch, attend: Any = None, remat: str = "none") -> tuple[jax.Array, Any]:
    """Hidden states [b, p, d] of padded prompts (either side) and what `attend` keeps; plain causal attention by
    default.
    """

    def causal(q, k, v, _):
        return attention(q, k, v, causal=True, kv_valid=batch.valid), None

    features = None if batch.vision is None else model.encode_vision(batch.vision, remat)
    x = model.embed(batch.tokens, batch.feature_index, features)
    return model.run_layers(
        x, batch.positions, attend or causal, None, model.deepstack(batch.feature_index, features), remat
    )


def greedy(
    model: QwenVL, batch: PromptBatch, max_new_tokens: int, banned: jax.Array | None, eos: jax.Array | None, pad_id: int
) -> jax.Array:
    """[b, max_new_tokens] most likely tokens. banned, eos: int32 ids or None; after an EOS a row holds pad_id."""

    def keep(q, k, v, _):
        return attention(q, k, v, causal=True, kv_valid=batch.valid), (k, v)

    rows, length = batch.tokens.shape
    hidden, prompt_kv = prompt_hidden(model, batch, keep)
    last = length - 1 - jnp.argmax(batch.valid[:, ::-1], axis=1)
    head = model.head().astype(model.dtype)

    def choose(hidden, done):
        logits = jnp.dot(hidden, head)
        if banned is not None:
            logits = logits.at[:, banned].set(jnp.finfo(logits.dtype).min)
        token = jnp.where(done, pad_id, jnp.argmax(logits, axis=-1).astype(jnp.int32))
        return token, done if eos is None else done | (token[:, None] == eos[None]).any(axis=1)

    # [L, b, p + t, kv, hd]: the prompt's keys and values, then one column a step.
    caches = jax.tree.map(lambda a: jnp.pad(a, ((0, 0), (0, 0), (0, max_new_tokens), (0, 0), (0, 0))), prompt_kv)
    columns = jnp.arange(length + max_new_tokens)
    prompt_valid = jnp.pad(batch.valid, ((0, 0), (0, max_new_tokens)))

    def step(t, state):
        tokens, done, caches = state
        previous = jax.lax.dynamic_index_in_dim(tokens, t - 1, 1, keepdims=True)
        visible = (prompt_valid | ((columns >= length) & (columns < length + t - 1))[None])[:, None]
        visible = jnp.concatenate([visible, jnp.ones((rows, 1, 1), bool)], axis=-1)

        def attend(q, k, v, cache):
            # The layer only returns its new column; writing it once for all layers spares a copy of the whole cache a
            # step.
            keys, values = (jnp.concatenate([old, new], axis=1) for old, new in zip(cache, (k, v)))
            return reference_attention(q, keys, values, visible), (k, v)

        positions = jnp.broadcast_to(batch.next_position[None, :, None] + t - 1, (3, rows, 1))
        hidden, columns_new = model.run_layers(model.embed(previous), positions, attend, caches)
        caches = jax.tree.map(
            lambda whole, new: jax.lax.dynamic_update_slice_in_dim(whole, new, length + t - 1, 2), caches, columns_new
        )
        token, done = choose(hidden[:, 0], done)
        return tokens.at[:, t].set(token), done, caches

    first, done = choose(hidden[jnp.arange(rows), last], jnp.zeros(rows, bool))
    tokens = jnp.full((rows, max_new_tokens), pad_id, jnp.int32).at[:, 0].set(first)
    return jax.lax.fori_loop(1, max_new_tokens, step, (tokens, done, caches))[0]
