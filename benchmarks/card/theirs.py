"""transformers' side, on CUDA where it is there: scaled-dot-product attention, generate, and an update that passes the
prompt with every answer, as trl does, and makes logits for the answers alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.card import Work
from benchmarks.policies import prepare_torchvision

prepare_torchvision()

import torch  # noqa: E402
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration  # noqa: E402

from spatial_jax.models import config_to_hf  # noqa: E402
from spatial_jax.processing import EncodedPrompt  # noqa: E402


class Policy:
    """Random weights of the model in bfloat16, and its prompts."""

    def __init__(self, work: Work):
        self.config = work.config
        plain = config_to_hf(self.config, "bfloat16")
        self.where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.bfloat16)
        with self.where:
            self.model = Qwen2_5_VLForConditionalGeneration(
                Qwen2_5_VLConfig(**{k: v for k, v in plain.items() if k not in ("architectures", "model_type")})
            )
        torch.set_default_dtype(before)
        self.model.to(self.where).eval()  # type: ignore[arg-type]
        self.prompts = work.made(self.config)

    def inputs(self, prompts: list[EncodedPrompt], answers: list[np.ndarray]) -> dict[str, Any]:
        """Rows of a prompt each, the answers behind them where there are any."""
        rows = [np.concatenate([p.input_ids, *answers[i : i + 1]]) for i, p in enumerate(prompts)]
        ids = torch.tensor(np.stack(rows), device=self.where).long()
        pixels, grids = (np.concatenate([getattr(p, name) for p in prompts]) for name in ("pixel_values", "grid_thw"))
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "mm_token_type_ids": (ids == self.config.image_token_id).int(),
            "pixel_values": torch.tensor(pixels, device=self.where, dtype=torch.bfloat16),
            "image_grid_thw": torch.tensor(grids, device=self.where).long(),
        }

    def wait(self) -> None:
        if self.where.type == "cuda":
            torch.cuda.synchronize()

    def about(self) -> dict[str, Any]:
        return {
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if self.where.type == "cuda" else 0.0,
            "torch": torch.__version__,
            "attention": self.model.config._attn_implementation,
        }


def prefill(work: Work) -> dict[str, Any]:
    """All prompts at once, the last token's logits."""
    policy = Policy(work)
    batch = policy.inputs(policy.prompts, [])

    @torch.no_grad()
    def forward() -> None:
        policy.model(**batch, logits_to_keep=1)
        policy.wait()

    return work.rates(work.prompts * work.prompt, forward) | policy.about()


def rollout(work: Work) -> dict[str, Any]:
    """generate() with num_return_sequences, all prompts at once."""
    policy = Policy(work)
    batch = policy.inputs(policy.prompts, [])

    @torch.no_grad()
    def generate() -> None:
        policy.model.generate(
            **batch,
            max_new_tokens=work.rolled,
            min_new_tokens=work.rolled,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            num_return_sequences=work.group,
            eos_token_id=None,
            pad_token_id=0,
        )
        policy.wait()

    return work.rates(work.prompts * work.group * work.rolled, generate, 1) | policy.about()


def update(work: Work) -> dict[str, Any]:
    """Forward and backward over one group, `work.rows` answers at a time, every layer recomputed."""
    policy, drawn = Policy(work), work.drawn()
    policy.model.train()
    policy.model.gradient_checkpointing_enable()
    starts = range(0, work.group, work.rows)
    batches = [policy.inputs([policy.prompts[0]] * work.rows, drawn[start : start + work.rows]) for start in starts]

    def step() -> None:
        policy.model.zero_grad(set_to_none=False)
        for batch in batches:
            logits = policy.model(**batch, logits_to_keep=work.updated + 1, use_cache=False).logits[:, :-1]
            targets = batch["input_ids"][:, -work.updated :, None]
            chosen = torch.log_softmax(logits.float(), -1).gather(-1, targets)
            (-chosen.mean() * work.rows / work.group).backward()
        policy.wait()

    rates = work.rates(work.group * work.updated, step)
    return rates | {"answers_per_s": round(work.group / rates["seconds"], 2)} | policy.about()
