"""Sizes of a policy's decoder and of its vision tower: frozen dataclasses that know no family's decisions."""

from __future__ import annotations

import dataclasses


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
