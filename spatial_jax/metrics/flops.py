"""Useful FLOPs of a forward or a training step of a Qwen-VL policy, and what share of the hardware's peak they are.

Counted: matrix products of the text layers for every token that is passed (a shared prompt once a group), the
vocabulary projection for answer tokens only, causal attention, and the vision tower. Not counted: recomputation, norms,
softmax. So sharing a prompt lowers the FLOPs instead of raising MFU; compare speed across systems by answers a second.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from spatial_jax.models.families import FAMILIES

# Dense bf16 peaks a device, FLOP/s (matched in order, case-insensitive, inside jax.Device.device_kind).
PEAK_FLOPS: tuple[tuple[str, float], ...] = (
    ("v6 lite", 918e12),
    ("v6e", 918e12),
    ("v5p", 459e12),
    ("v5 lite", 197e12),
    ("v5e", 197e12),
    ("v5", 459e12),
    ("v4", 275e12),
    ("v3", 123e12),
    ("gb200", 2.5e15),
    ("b200", 2.25e15),
    ("h200", 989e12),
    ("h100", 989e12),
    ("a100", 312e12),
    ("l40s", 362e12),
    ("l4", 121e12),
)


@dataclasses.dataclass(frozen=True)
class ModelShape:
    """Sizes that decide the FLOPs. `full_blocks` and `window_blocks` count vision layers by kind of attention;
    `vision_params` is the number of weights in the matrices of all vision layers (patch embedding and mergers apart);
    `deepstack` counts extra mergers.
    """

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int
    vision_d: int = 0
    vision_params: int = 0
    full_blocks: int = 0
    window_blocks: int = 0
    patch: int = 14
    temporal_patch: int = 2
    deepstack: int = 0

    @property
    def layer_params(self) -> int:
        """Weights in the matrices of all text layers."""
        attention = 2 * self.d_model * self.heads * self.head_dim + 2 * self.d_model * self.kv_heads * self.head_dim
        return self.layers * (attention + 3 * self.d_model * self.d_ff)

    @property
    def head_params(self) -> int:
        return self.d_model * self.vocab


@dataclasses.dataclass(frozen=True)
class GroupTokens:
    """One group's true lengths (padding does not count): its prompt once, each answer, and the vision tower's work.

    `patches` are all patches of its pictures; `full_squares` the sum over frames of patches squared (full attention),
    `window_squares` the sum over attention windows of patches squared.
    """

    prompt: int
    answers: tuple[int, ...]
    patches: int = 0
    full_squares: int = 0
    window_squares: int = 0


def model_shape(config: Mapping[str, Any]) -> ModelShape:
    """From a Hugging Face config.json of Qwen2-VL, Qwen2.5-VL or Qwen3-VL (flat or with text_config)."""
    text = {**config, **config.get("text_config", {})}
    vision = config.get("vision_config", {})
    heads, d_model = int(text["num_attention_heads"]), int(text["hidden_size"])
    family = FAMILIES.get(str(config.get("model_type", "")))
    depth = int(vision.get("depth", 0))
    # Qwen2-VL names the tower's width embed_dim and its feed-forward by a ratio; the later two name both.
    width = int(vision.get("embed_dim", 0) or vision.get("hidden_size", 0))
    d_ff = int(vision.get("intermediate_size", 0) or width * vision.get("mlp_ratio", 4))
    matrices = 3 if family is not None and family.tower.gated else 2
    full = len(vision.get("fullatt_block_indexes", range(depth)))
    return ModelShape(
        layers=int(text["num_hidden_layers"]),
        d_model=d_model,
        heads=heads,
        kv_heads=int(text["num_key_value_heads"]),
        head_dim=int(text.get("head_dim") or d_model // heads),
        d_ff=int(text["intermediate_size"]),
        vocab=int(text["vocab_size"]),
        vision_d=width,
        vision_params=depth * (4 * width * width + matrices * width * d_ff),
        full_blocks=full,
        window_blocks=depth - full,
        patch=int(vision.get("patch_size") or vision.get("spatial_patch_size") or 14),
        temporal_patch=int(vision.get("temporal_patch_size", 2)),
        deepstack=len(vision.get("deepstack_visual_indexes", ())),
    )


def causal_pairs(start: int, stop: int) -> int:
    """Sum of s for s = start + 1 .. stop: keys seen by the queries at positions start .. stop - 1."""
    return (stop * (stop + 1) - start * (start + 1)) // 2


def vision_flops(shape: ModelShape, patches: int, full_squares: int = 0, window_squares: int = 0) -> float:
    """Forward FLOPs of the tower over `patches` patches, merger (and deepstack mergers) included."""
    if not patches or not shape.vision_d:
        return 0.0
    embed = 3 * shape.temporal_patch * shape.patch**2 * shape.vision_d
    merge = (1 + shape.deepstack) * (16 * shape.vision_d**2 + 4 * shape.vision_d * shape.d_model)
    attention = 4 * shape.vision_d * (shape.full_blocks * full_squares + shape.window_blocks * window_squares)
    return 2.0 * patches * (shape.vision_params + embed) + patches / 2 * merge + attention


def text_flops(shape: ModelShape, prompt: int, answers: Sequence[int], *, share_prompt: bool = True) -> float:
    """Forward FLOPs of the text layers over a prompt and its answers; with `share_prompt` the prompt is passed once."""
    repeats = 1 if share_prompt else max(1, len(answers))
    tokens = repeats * prompt + sum(answers)
    pairs = repeats * causal_pairs(0, prompt) + sum(causal_pairs(prompt, prompt + answer) for answer in answers)
    return (
        2.0 * shape.layer_params * tokens
        + 2.0 * shape.head_params * sum(answers)
        + 4.0 * shape.heads * shape.head_dim * shape.layers * pairs
    )


def forward_flops(
    shape: ModelShape, groups: Iterable[GroupTokens], *, share_prompt: bool = True, vision: bool = True
) -> float:
    """Useful forward FLOPs of a batch of groups. `share_prompt=False` is the cost of the same batch with prompt and
    pictures repeated.
    """
    total = 0.0
    for group in groups:
        total += text_flops(shape, group.prompt, group.answers, share_prompt=share_prompt)
        if vision:
            repeats = 1 if share_prompt else max(1, len(group.answers))
            total += repeats * vision_flops(shape, group.patches, group.full_squares, group.window_squares)
    return total


def training_flops(
    shape: ModelShape, groups: Iterable[GroupTokens], *, freeze_vision: bool = False, share_prompt: bool = True
) -> float:
    """Useful FLOPs of forward and backward: three forwards, of a frozen tower one."""
    groups = list(groups)
    text = forward_flops(shape, groups, share_prompt=share_prompt, vision=False)
    tower = forward_flops(shape, groups, share_prompt=share_prompt) - text
    return 3 * text + (1 if freeze_vision else 3) * tower


def peak_flops(device_kind: str) -> float | None:
    """Dense bf16 peak of one device by its `device_kind`; None for an unknown one (a CPU has no sensible MFU)."""
    kind = device_kind.lower()
    return next((peak for name, peak in PEAK_FLOPS if name in kind), None)


def mfu(flops: float, seconds: float, peak: float | None, devices: int = 1) -> float:
    """Share of `devices` peaks that `flops` in `seconds` are; NaN when the peak is unknown."""
    return flops / (seconds * peak * devices) if peak and seconds > 0 else float("nan")
