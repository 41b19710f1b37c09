"""Every parameter of a policy in one table: its place in the tree, shape, logical axes, checkpoint name and
initialisation.

Import, export, sharding, LoRA and initialisation all read this table. Stacked parameters carry a leading axis "layers".
Checkpoint names here are canonical: "visual.*", "text.*", "lm_head.weight"; hf_weights.py maps the published spellings
onto them.
"""

from __future__ import annotations

import dataclasses
import math

from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.families import FAMILIES
from spatial_jax.models.sizes import TextConfig, VisionConfig


@dataclasses.dataclass(frozen=True)
class ParamSpec:
    """One parameter. `shape`, `axes` and `hf_shape` leave the stack axis out; `stack` is its length or 0.

    in_axes > 0 marks a linear kernel: shape is (inputs..., outputs...) where the checkpoint stores [outputs, inputs].
    `hf_name` holds "{i}" for the stack index.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    hf_name: str
    hf_shape: tuple[int, ...]
    in_axes: int = 0
    stack: int = 0
    init: str = "normal"

    @property
    def full_shape(self) -> tuple[int, ...]:
        return (self.stack, *self.shape) if self.stack else self.shape

    @property
    def full_axes(self) -> tuple[str | None, ...]:
        return ("layers", *self.axes) if self.stack else self.axes


class _Table:
    """Collects specs under a prefix."""

    def __init__(self, path: tuple[str, ...], hf: str, stack: int = 0):
        self.path, self.hf, self.stack = path, hf, stack
        self.specs: list[ParamSpec] = []

    def add(
        self, name: str, leaf: str, shape, axes, hf_name: str, hf_shape=None, in_axes: int = 0, init: str = "normal"
    ):
        path = (*self.path, name, leaf) if name else (*self.path, leaf)
        self.specs.append(
            ParamSpec(
                path, tuple(shape), tuple(axes), self.hf + hf_name, tuple(hf_shape or shape), in_axes, self.stack, init
            )
        )

    def linear(
        self, name: str, inputs: dict[str, int], outputs: dict[str | None, int], hf_name: str, bias: bool, hf_shape=None
    ):
        """A kernel (inputs..., outputs...) and, if wanted, its bias; the dicts give axis names and sizes."""
        shape, axes = (*inputs.values(), *outputs.values()), (*inputs, *outputs)
        flat_in, flat_out = math.prod(inputs.values()), math.prod(outputs.values())
        self.add(name, "kernel", shape, axes, f"{hf_name}.weight", hf_shape or (flat_out, flat_in), in_axes=len(inputs))
        if bias:
            self.add(
                name, "bias", tuple(outputs.values()), tuple(outputs), f"{hf_name}.bias", (flat_out,), init="zeros"
            )

    def norm(self, name: str, size: int, axis: str | None, hf_name: str, bias: bool = False):
        self.add(name, "scale", (size,), (axis,), f"{hf_name}.weight", init="ones")
        if bias:
            self.add(name, "bias", (size,), (axis,), f"{hf_name}.bias", init="zeros")


def _text_specs(text: TextConfig, tied: bool) -> list[ParamSpec]:
    d, f, h, k, hd, v = (
        text.hidden_size,
        text.intermediate_size,
        text.num_heads,
        text.num_kv_heads,
        text.head_dim,
        text.vocab_size,
    )
    top = _Table(("text",), "text.")
    top.add("embed", "embedding", (v, d), ("vocab", "embed"), "embed_tokens.weight")
    top.norm("norm", d, "norm", "norm")
    layers = _Table(("text", "layers"), "text.layers.{i}.", text.num_layers)
    layers.norm("input_norm", d, "norm", "input_layernorm")
    layers.linear("q_proj", {"embed": d}, {"heads": h, "head_dim": hd}, "self_attn.q_proj", text.qkv_bias)
    layers.linear("k_proj", {"embed": d}, {"kv_heads": k, "head_dim": hd}, "self_attn.k_proj", text.qkv_bias)
    layers.linear("v_proj", {"embed": d}, {"kv_heads": k, "head_dim": hd}, "self_attn.v_proj", text.qkv_bias)
    layers.linear("o_proj", {"heads": h, "head_dim": hd}, {"embed": d}, "self_attn.o_proj", False)
    if text.qk_norm:
        layers.norm("q_norm", hd, "head_dim", "self_attn.q_norm")
        layers.norm("k_norm", hd, "head_dim", "self_attn.k_norm")
    layers.norm("post_norm", d, "norm", "post_attention_layernorm")
    layers.linear("gate_proj", {"embed": d}, {"mlp": f}, "mlp.gate_proj", False)
    layers.linear("up_proj", {"embed": d}, {"mlp": f}, "mlp.up_proj", False)
    layers.linear("down_proj", {"mlp": f}, {"embed": d}, "mlp.down_proj", False)
    head = _Table(("text",), "")
    if not tied:
        head.linear("head", {"embed": d}, {"vocab": v}, "lm_head", False)
    return top.specs + layers.specs + head.specs


def _merger(table: _Table, names: tuple[str, str, str], vision: VisionConfig, norm_size: int, norm_bias: bool):
    wide = vision.hidden_size * vision.merge_unit
    table.norm("norm", norm_size, "norm", names[0], norm_bias)
    table.linear("fc1", {"vision_embed": wide}, {"vision_mlp": wide}, names[1], True)
    table.linear("fc2", {"vision_mlp": wide}, {"embed": vision.out_hidden_size}, names[2], True)


def _vision_specs(vision: VisionConfig) -> list[ParamSpec]:
    d, f, h, hd = vision.hidden_size, vision.intermediate_size, vision.num_heads, vision.head_dim
    tower = FAMILIES[vision.family].tower
    norm_bias = not tower.rms_norm
    top = _Table(("vision",), "visual.")
    conv = (d, vision.in_channels, vision.temporal_patch_size, vision.patch_size, vision.patch_size)
    top.linear(
        "patch_embed", {"patch": vision.patch_dim}, {"vision_embed": d}, "patch_embed.proj", tower.patch_bias, conv
    )
    if vision.num_position_embeddings:
        top.add(
            "pos_embed", "embedding", (vision.num_position_embeddings, d), (None, "vision_embed"), "pos_embed.weight"
        )
    blocks = _Table(("vision", "blocks"), "visual.blocks.{i}.", vision.depth)
    blocks.norm("norm1", d, "norm", "norm1", norm_bias)
    blocks.linear("qkv", {"vision_embed": d}, {"qkv": 3, "vision_heads": h, "head_dim": hd}, "attn.qkv", True)
    blocks.linear("proj", {"vision_heads": h, "head_dim": hd}, {"vision_embed": d}, "attn.proj", True)
    blocks.norm("norm2", d, "norm", "norm2", norm_bias)
    *inward, outward = zip(("gate_proj", "up_proj", "down_proj") if tower.gated else ("fc1", "fc2"), tower.mlp_names)
    for name, hf_name in inward:
        blocks.linear(name, {"vision_embed": d}, {"vision_mlp": f}, hf_name, True)
    blocks.linear(outward[0], {"vision_mlp": f}, {"vision_embed": d}, outward[1], True)
    merger = _Table(("vision", "merger"), "visual.merger.")
    _merger(merger, tower.merger_names, vision, d, norm_bias)
    deepstack = _Table(("vision", "deepstack"), "visual.deepstack_merger_list.{i}.", len(vision.deepstack_blocks))
    if vision.deepstack_blocks:
        _merger(deepstack, tower.merger_names, vision, d * vision.merge_unit, True)
    return top.specs + blocks.specs + merger.specs + deepstack.specs


def param_specs(config: ModelConfig) -> list[ParamSpec]:
    """All parameters of the policy, in a fixed order."""
    return _text_specs(config.text, config.tie_word_embeddings) + _vision_specs(config.vision)


def count_params(config: ModelConfig) -> int:
    """Number of parameters (a tied head counts once)."""
    return sum(math.prod(spec.full_shape) for spec in param_specs(config))
