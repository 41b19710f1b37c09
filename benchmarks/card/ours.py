"""spatial_jax's side: parameters drawn on the device, the engine's and the update's own programs."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.card import Work
from launch.planning.chips import CHIPS
from spatial_jax.metrics.flops import GroupTokens, forward_flops, mfu, model_shape, peak_flops, training_flops
from spatial_jax.models import abstract_model, config_to_hf
from spatial_jax.models.generate import prompt_hidden
from spatial_jax.models.group import group_logprobs
from spatial_jax.processing import EncodedPrompt, collate_answers, collate_prompts
from spatial_jax.rollout import Engine, SamplingParams


class Policy:
    """Random weights of the model in bfloat16, its prompts, and what a device's peak is."""

    def __init__(self, work: Work):
        self.work, self.config = work, work.config
        self.graphdef, shapes = abstract_model(self.config, "bfloat16", "bfloat16")
        leaves, tree = jax.tree_util.tree_flatten(shapes)
        draw = jax.jit(lambda key, shape, dtype: jax.random.normal(key, shape, dtype) * 0.02, static_argnums=(1, 2))
        drawn = [draw(jax.random.key(i), leaf.shape, leaf.dtype) for i, leaf in enumerate(leaves)]
        self.params = jax.tree_util.tree_unflatten(tree, drawn)
        self.prompts = work.made(self.config)
        self.shape = model_shape(config_to_hf(self.config))

    def tokens(self, answers: tuple[int, ...] = ()) -> GroupTokens:
        """A group's tokens and patches, for counting FLOPs."""
        patches = self.work.grid[0] * self.work.grid[1]
        window = self.config.vision.window_tokens**2 * self.config.vision.merge_unit
        return GroupTokens(self.work.prompt, answers, patches, patches * patches, patches * window)

    def collated(self, prompts: list[EncodedPrompt]) -> Any:
        length = self.work.prompt
        return jax.device_put(
            collate_prompts(prompts, self.config.vision, prompt_bucket=length, patch_bucket=None, pad_id=0)
        )

    def answers(self, tokens: list[np.ndarray]) -> Any:
        """One group of answers to the first prompt."""
        following, length = [self.prompts[0].next_position], len(tokens[0])
        return jax.device_put(collate_answers([tokens], following, answer_bucket=length, pad_id=0))

    def about(self, flops: float, seconds: float) -> dict[str, Any]:
        """Share of the device's peak (None where that is not known) and its memory so far."""
        device = jax.devices()[0]
        peak, stats = peak_flops(device.device_kind), device.memory_stats() or {}
        return {
            "mfu": round(mfu(flops, seconds, peak), 3) if peak else None,
            "peak_gib": round(stats.get("peak_bytes_in_use", 0) / 2**30, 2),
            "device": device.device_kind,
            "jax": jax.__version__,
        }


def prefill(work: Work) -> dict[str, Any]:
    """All prompts at once through the tower and the decoder."""
    policy = Policy(work)

    @jax.jit
    def last_logits(params, batch):
        model = nnx.merge(policy.graphdef, params)
        return model.logits(prompt_hidden(model, batch)[0][:, -1:])

    batch = policy.collated(policy.prompts)
    rates = work.rates(work.prompts * work.prompt, lambda: jax.block_until_ready(last_logits(policy.params, batch)))
    flops = forward_flops(policy.shape, [policy.tokens() for _ in policy.prompts])
    return rates | policy.about(flops, rates["seconds"])


def rollout(work: Work) -> dict[str, Any]:
    """Prompts and answers together. `read_gb`: what a token step must read at least, the decoder's weights, its head
    and half-filled caches; `bandwidth`: bytes a second of the card, None where that is not known; `gap`: mean
    difference of the sampler's log-probabilities of the first group from the update's, in nats.
    """
    policy, slots = Policy(work), work.prompts * work.group
    text = policy.config.text
    engine = Engine(
        policy.graphdef,
        policy.config,
        max_slots=slots,
        prompt_buckets=(work.prompt,),
        answer_buckets=(work.rolled,),
        pad_id=0,
    )
    kept: list[Any] = []

    def generate() -> None:
        kept[:] = engine.generate(policy.params, policy.prompts, work.group, SamplingParams(work.rolled))

    rates = work.rates(slots * work.rolled, generate, 2)
    cached = work.prompts * work.prompt + slots * work.rolled / 2
    caches = 2 * 2 * text.num_layers * text.num_kv_heads * text.head_dim * cached
    about = policy.about(0.0, 1.0)
    kind = about["device"].lower().replace(" ", "")
    chip = next((chip for name, chip in CHIPS.items() if name in kind), None)
    return rates | {
        "read_gb": round((decoder_bytes(policy) + caches) / 1e9, 6),
        "bandwidth": chip.hbm_rate if chip else None,
        "gap": gap(policy, kept[0]),
        "peak_gib": about["peak_gib"],
    }


def decoder_bytes(policy: Policy) -> int:
    """Of what a token reads of the decoder: a table of embeddings that is not the head, too, is left out."""
    text = dict(policy.params["text"])
    if not policy.config.tie_word_embeddings:
        text.pop("embed")
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(text))


def gap(policy: Policy, group: list[Any]) -> float | None:
    """See `rollout`; None where no answer is whole."""
    whole = [sample for sample in group if len(sample) == policy.work.rolled]
    if not whole:
        return None
    compute = jax.jit(lambda params, p, a: group_logprobs(nnx.merge(policy.graphdef, params), p, a)[0])
    answers = policy.answers([sample.tokens for sample in whole])
    logp = compute(policy.params, policy.collated(policy.prompts[:1]), answers)
    return round(float(np.abs(np.asarray(logp)[0] - np.stack([s.full_logp for s in whole])).mean()), 6)


def update(work: Work) -> dict[str, Any]:
    """Forward and backward over one group, every layer recomputed."""
    policy = Policy(work)
    answers, prompt = policy.answers(work.drawn()), policy.collated(policy.prompts[:1])

    @functools.partial(jax.jit, donate_argnums=1)
    def gradient(params, old, prompt, answers):
        def loss(params):
            return -group_logprobs(nnx.merge(policy.graphdef, params), prompt, answers, remat="full")[0].mean()

        return jax.grad(loss)(params)

    kept = [jax.tree.map(jnp.zeros_like, policy.params)]

    def step() -> None:
        kept[0] = jax.block_until_ready(gradient(policy.params, kept[0], prompt, answers))

    rates = work.rates(work.group * work.updated, step)
    flops = training_flops(policy.shape, [policy.tokens((work.updated,) * work.group)])
    answered = {"answers_per_s": round(work.group / rates["seconds"], 2)}
    return rates | answered | policy.about(flops, rates["seconds"])
