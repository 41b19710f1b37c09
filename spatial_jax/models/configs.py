"""Architecture of a policy: a frozen dataclass over its decoder and its tower, and the published sizes by name."""

from __future__ import annotations

import dataclasses

from spatial_jax.models.families import FAMILIES, find_family
from spatial_jax.models.families.base import Family, Size
from spatial_jax.models.sizes import TextConfig, VisionConfig

POSITION_RULES = ("qwen", "4.57", "hf5")
DEFAULT_POSITION_RULE = "qwen"


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
        find_family(self.family, "ModelConfig.family:")
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

    @property
    def traits(self) -> Family:
        """What the family decides: models/families/."""
        return FAMILIES[self.family]


def _sizes() -> dict[str, tuple[Family, Size]]:
    """Every published size by its full name, "qwen2_5_vl_7b"."""
    return {f"{f.name}_{name}": (f, size) for f in FAMILIES.values() for name, size in f.sizes.items()}


def published_names() -> tuple[str, ...]:
    """Names that `published_config` knows."""
    return tuple(_sizes())


def published_config(name: str) -> ModelConfig:
    """The configuration of a published checkpoint, e.g. "qwen2_5_vl_7b"; ValueError lists the names."""
    sizes = _sizes()
    if name not in sizes:
        raise ValueError(f"published: no model named {name!r}; use one of {', '.join(sizes)}")
    family, size = sizes[name]
    return ModelConfig(family.name, size.text, size.vision, size.tied)
