"""Log-probabilities of a group's answers with the prompt passed through the network once.

A row is [prompt | answer 1 | ... | answer g]: p + g * (t - 1) tokens instead of g * (p + t). The value and the gradient
are those of the plain layout (one row an answer) to rounding; `plain_logprobs` is that layout, kept as the reference of
tests and benchmarks.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from spatial_jax.models.batch import AnswerBatch, PromptBatch, VisionArrays, VisionFeatures
from spatial_jax.models.qwen_vl import QwenVL
from spatial_jax.ops.logprob import token_logprobs
from spatial_jax.ops.shared_prefix import causal_attention, group_attention, packed_padding


def encode_pictures(
    model: QwenVL, prompts: PromptBatch, answers: AnswerBatch | None = None, remat: str = "none"
) -> VisionFeatures | None:
    """Features of the prompts' pictures followed by those of the answers' later turns; None when there are none."""
    parts = [
        model.encode_vision(batch.vision, remat)
        for batch in (prompts, answers)
        if batch is not None and batch.vision is not None
    ]
    if len(parts) < 2:
        return parts[0] if parts else None
    deepstack = None if parts[0].deepstack is None else jnp.concatenate([p.deepstack for p in parts], axis=1)
    # Later turns are packed as one part, so rows are looked up in the whole.
    return VisionFeatures(jnp.concatenate([p.features for p in parts]), deepstack)


def vision_rows(vision: VisionArrays | VisionFeatures, merge_unit: int) -> int:
    """Rows of features that a pack has."""
    return len(vision.features) if isinstance(vision, VisionFeatures) else vision.patches.shape[0] // merge_unit


def feature_rows(model: QwenVL, prompts: PromptBatch, answers: AnswerBatch) -> tuple[Array, Array]:
    """Feature indices of prompts [b, p] and answers [b, g, t] into `encode_pictures`' concatenation."""
    if prompts.vision is None or answers.vision is None:
        return prompts.feature_index, answers.feature_index
    offset = vision_rows(prompts.vision, model.config.vision.merge_unit)
    return prompts.feature_index, jnp.where(answers.feature_index >= 0, answers.feature_index + offset, -1)


def group_logprobs(
    model: QwenVL,
    prompts: PromptBatch,
    answers: AnswerBatch,
    *,
    temperature: Float[Array, ""] | float = 1.0,
    banned_ids: tuple[int, ...] = (),
    remat: str = "none",
    chunk: int = 1024,
) -> tuple[Float[Array, "b g t"], Float[Array, "b g t"]]:
    """(log-probability, entropy) of every answer token, float32 [b, g, t]; padding holds finite numbers to be masked.

    The prompt and its pictures pass once a group; answers see the prompt and themselves. remat: a policy of
    models/remat.py for the decoder and the tower. g = 1 serves SFT and DPO.
    """
    b, p = prompts.tokens.shape
    g, t = answers.tokens.shape[1:]
    t_in = max(t - 1, 1)  # the last token is only ever a target
    features = encode_pictures(model, prompts, answers, remat)
    prompt_rows, answer_rows = feature_rows(model, prompts, answers)
    padding = packed_padding(p + g * t_in, model.config.text.head_dim, model.compute.dtype)

    def packed(prompt_part, answer_part, fill=0):
        """[..., b, p] and [..., b, g, t] -> [..., b, p + g * t_in + padding]."""
        row = jnp.concatenate([prompt_part, answer_part[..., :t_in].reshape(*prompt_part.shape[:-1], -1)], axis=-1)
        return jnp.pad(row, ((0, 0),) * (row.ndim - 1) + ((0, padding),), constant_values=fill)

    tokens, positions = packed(prompts.tokens, answers.tokens), packed(prompts.positions, answers.positions)
    rows, valid = packed(prompt_rows, answer_rows, -1), packed(prompts.valid, answers.valid, False)

    def attend(q, k, v, cache):
        return group_attention(q, k, v, valid, prompt=p, answers=(g, t_in)), cache

    hidden, _ = model.run_layers(
        model.embed(tokens, rows, features), positions, attend, None, model.deepstack(rows, features), remat
    )
    own = hidden[:, p : p + g * t_in].reshape(b, g, t_in, -1)[:, :, : t - 1]
    first = jnp.broadcast_to(
        hidden[:, p - 1, None, None], (b, g, 1, hidden.shape[-1])
    )  # left padding puts every prompt's end at p - 1
    predictors = jnp.concatenate([first, own], axis=2)
    logp, entropy = token_logprobs(
        predictors.reshape(b * g * t, -1),
        model.head(),
        answers.tokens.reshape(-1),
        temperature=temperature,
        banned_ids=banned_ids,
        chunk=chunk,
    )
    return logp.reshape(b, g, t), entropy.reshape(b, g, t)


def plain_logprobs(
    model: QwenVL,
    prompts: PromptBatch,
    answers: AnswerBatch,
    *,
    temperature: Float[Array, ""] | float = 1.0,
    banned_ids: tuple[int, ...] = (),
    remat: str = "none",
    chunk: int = 1024,
) -> tuple[Float[Array, "b g t"], Float[Array, "b g t"]]:
    """The same from rows [prompt | answer], one an answer: every prompt passes g times."""
    b, p = prompts.tokens.shape
    g, t = answers.tokens.shape[1:]
    features = encode_pictures(model, prompts, answers, remat)
    prompt_rows, answer_rows = feature_rows(model, prompts, answers)

    def per_answer(prompt_part, answer_part):
        """[..., b, p] and [..., b, g, t] -> [..., b * g, p + t]."""
        lead = prompt_part.shape[:-2]
        repeated = jnp.repeat(prompt_part, g, axis=-2)
        return jnp.concatenate([repeated, answer_part.reshape(*lead, b * g, t)], axis=-1)

    tokens, rows = per_answer(prompts.tokens, answers.tokens), per_answer(prompt_rows, answer_rows)
    positions, valid = per_answer(prompts.positions, answers.positions), per_answer(prompts.valid, answers.valid)

    def attend(q, k, v, cache):
        return causal_attention(q, k, v, valid), cache

    hidden, _ = model.run_layers(
        model.embed(tokens, rows, features), positions, attend, None, model.deepstack(rows, features), remat
    )
    predictors = hidden[:, p - 1 : p + t - 1].reshape(b * g * t, -1)
    logp, entropy = token_logprobs(
        predictors,
        model.head(),
        answers.tokens.reshape(-1),
        temperature=temperature,
        banned_ids=banned_ids,
        chunk=chunk,
    )
    return logp.reshape(b, g, t), entropy.reshape(b, g, t)
