"""Architecture of a policy: frozen dataclasses, and the published sizes by name."""

from __future__ import annotations

import dataclasses
from typing import Any

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
POSITION_RULES = ("qwen", "4.57", "hf5")
DEFAULT_POSITION_RULE = "qwen"


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The decoder. Sizes in elements; `mrope_section` counts frequencies of (time, height, width) and sums to head_dim
    / 2.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    mrope_section: tuple[int, int, int]
    mrope_interleaved: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False
    max_position_embeddings: int = 32768
    initializer_range: float = 0.02


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The vision tower. `window_size` is in pixels (0: no windows); `full_attention_blocks` lists the blocks that see a
    whole frame.
    """

    family: str
    depth: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    out_hidden_size: int
    hidden_act: str
    patch_size: int
    temporal_patch_size: int = 2
    spatial_merge_size: int = 2
    in_channels: int = 3
    window_size: int = 0
    full_attention_blocks: tuple[int, ...] = ()
    tokens_per_second: float = 1.0
    num_position_embeddings: int = 0
    deepstack_blocks: tuple[int, ...] = ()
    initializer_range: float = 0.02

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def patch_dim(self) -> int:
        """Elements of one flattened patch: channels * temporal * patch * patch."""
        return self.in_channels * self.temporal_patch_size * self.patch_size**2

    @property
    def merge_unit(self) -> int:
        """Patches that become one token."""
        return self.spatial_merge_size**2

    @property
    def window_tokens(self) -> int:
        """Side of an attention window in merged tokens; 0 without windows."""
        return self.window_size // self.patch_size // self.spatial_merge_size

    @property
    def rms_norm(self) -> bool:
        """Qwen2.5-VL's tower has RMSNorm, the other two LayerNorm."""
        return self.family == "qwen2_5_vl"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A whole policy. `position_rule`: the M-RoPE positions of videos and of the text after them (models/positions.py):
    "qwen" (Qwen's published training code), "4.57" (transformers 4.57.3) or "hf5" (transformers 5.23).
    """

    family: str
    text: TextConfig
    vision: VisionConfig
    tie_word_embeddings: bool = False
    image_token_id: int = 151655
    video_token_id: int = 151656
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653
    bos_token_id: int | None = 151643
    eos_token_id: int | tuple[int, ...] | None = 151645
    pad_token_id: int | None = None
    position_rule: str = DEFAULT_POSITION_RULE

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise ValueError(f"ModelConfig.family: {self.family!r} is not supported; use one of {', '.join(FAMILIES)}")
        if self.position_rule not in POSITION_RULES:
            raise ValueError(
                f"ModelConfig.position_rule: {self.position_rule!r} is unknown; use one of {', '.join(POSITION_RULES)}"
            )
        text, vision = self.text, self.vision
        if max(vision.deepstack_blocks, default=0) >= vision.depth:
            raise ValueError(
                f"VisionConfig: deepstack_blocks {vision.deepstack_blocks} must lie below the depth {vision.depth}"
            )
        if text.num_heads % text.num_kv_heads:
            raise ValueError(
                f"TextConfig: num_heads {text.num_heads} is not a multiple of num_kv_heads {text.num_kv_heads}"
            )
        if sum(text.mrope_section) * 2 != text.head_dim:
            raise ValueError(
                f"TextConfig: mrope_section {text.mrope_section} must sum to head_dim / 2 = {text.head_dim // 2}"
            )
        if vision.out_hidden_size != text.hidden_size:
            raise ValueError(
                f"VisionConfig: out_hidden_size {vision.out_hidden_size} differs from the decoder's width"
                f" {text.hidden_size}"
            )
        if vision.hidden_size % vision.num_heads or vision.head_dim % 4:
            raise ValueError(
                f"VisionConfig: hidden_size {vision.hidden_size} must give num_heads {vision.num_heads} heads of a"
                " multiple of 4"
            )


def _qwen2(
    family: str,
    width: int,
    ffn: int,
    layers: int,
    heads: int,
    kv: int,
    vocab: int,
    tie: bool,
    positions: int,
    vision_ffn: int,
) -> ModelConfig:
    text = TextConfig(
        vocab, width, ffn, layers, heads, kv, 128, 1e-6, 1e6, (16, 24, 24), max_position_embeddings=positions
    )
    common: dict[str, Any] = {
        "depth": 32,
        "hidden_size": 1280,
        "num_heads": 16,
        "out_hidden_size": width,
        "patch_size": 14,
    }
    if family == "qwen2_vl":
        vision = VisionConfig(family, intermediate_size=5120, hidden_act="quick_gelu", **common)
    else:
        vision = VisionConfig(
            family,
            intermediate_size=vision_ffn,
            hidden_act="silu",
            window_size=112,
            full_attention_blocks=(7, 15, 23, 31),
            tokens_per_second=2.0,
            **common,
        )
    return ModelConfig(family, text, vision, tie)


def _qwen3(width: int, ffn: int, layers: int, heads: int, tie: bool, large_tower: bool) -> ModelConfig:
    text = TextConfig(
        151936,
        width,
        ffn,
        layers,
        heads,
        8,
        128,
        1e-6,
        5e6,
        (24, 20, 20),
        mrope_interleaved=True,
        qkv_bias=False,
        qk_norm=True,
        max_position_embeddings=262144,
    )
    depth, hidden, vision_ffn, taps = (27, 1152, 4304, (8, 16, 24)) if large_tower else (24, 1024, 4096, (5, 11, 17))
    vision = VisionConfig(
        "qwen3_vl",
        depth,
        hidden,
        vision_ffn,
        16,
        width,
        "gelu_pytorch_tanh",
        16,
        num_position_embeddings=2304,
        deepstack_blocks=taps,
    )
    return ModelConfig("qwen3_vl", text, vision, tie)


_PUBLISHED = {
    "qwen2_vl_2b": lambda: _qwen2("qwen2_vl", 1536, 8960, 28, 12, 2, 151936, True, 32768, 0),
    "qwen2_vl_7b": lambda: _qwen2("qwen2_vl", 3584, 18944, 28, 28, 4, 152064, False, 32768, 0),
    "qwen2_vl_72b": lambda: _qwen2("qwen2_vl", 8192, 29568, 80, 64, 8, 152064, False, 32768, 0),
    "qwen2_5_vl_3b": lambda: _qwen2("qwen2_5_vl", 2048, 11008, 36, 16, 2, 151936, True, 128000, 3420),
    "qwen2_5_vl_7b": lambda: _qwen2("qwen2_5_vl", 3584, 18944, 28, 28, 4, 152064, False, 128000, 3420),
    "qwen2_5_vl_32b": lambda: _qwen2("qwen2_5_vl", 5120, 27648, 64, 40, 8, 152064, False, 128000, 3456),
    "qwen2_5_vl_72b": lambda: _qwen2("qwen2_5_vl", 8192, 29568, 80, 64, 8, 152064, False, 128000, 3456),
    "qwen3_vl_2b": lambda: _qwen3(2048, 6144, 28, 16, True, False),
    "qwen3_vl_4b": lambda: _qwen3(2560, 9728, 36, 32, True, False),
    "qwen3_vl_8b": lambda: _qwen3(4096, 12288, 36, 32, False, True),
    "qwen3_vl_32b": lambda: _qwen3(5120, 25600, 64, 64, False, True),
}


def published_names() -> tuple[str, ...]:
    """Names that `published` knows."""
    return tuple(_PUBLISHED)


def published(name: str) -> ModelConfig:
    """The configuration of a published checkpoint, e.g. "qwen2_5_vl_7b"; ValueError lists the names."""
    if name not in _PUBLISHED:
        raise ValueError(f"published: no model named {name!r}; use one of {', '.join(_PUBLISHED)}")
    return _PUBLISHED[name]()
