"""Qwen2-VL: a tower with full attention and LayerNorm, its feed-forward given by a ratio; videos counted in steps."""

from __future__ import annotations

from typing import Any

from spatial_jax.models.families.base import Decoder, Family, Pictures, Size, Tower
from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.reading import Fields

NAME = "qwen2_vl"
PIXELS = 28 * 28  # of a merged token

DECODER = Decoder(rope_theta=1e6, mrope_section=(16, 24, 24), rms_norm_eps=1e-5)
PICTURES = Pictures(
    patch_size=14,
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    video_limits=(128 * PIXELS, 768 * PIXELS),
    whole_clip=False,
    written_limits=(3136, 12845056),
    written_video_limits=(128 * PIXELS, 768 * PIXELS),
    spells_min_pixels=True,
    video_processor="Qwen2VLVideoProcessor",
)


def _read(vision: Fields, width: int) -> dict[str, Any]:
    hidden = vision.integer("embed_dim", 1280)
    return {
        "hidden_size": hidden,
        "intermediate_size": hidden * vision.integer("mlp_ratio", 4),
        "out_hidden_size": vision.integer("hidden_size", width),
    }


def _write(vision: VisionConfig) -> dict[str, Any]:
    return {
        "embed_dim": vision.hidden_size,
        "hidden_size": vision.out_hidden_size,
        "mlp_ratio": vision.intermediate_size // vision.hidden_size,
    }


def text_size(vocab: int, width: int, ffn: int, layers: int, heads: int, kv_heads: int, positions: int) -> TextConfig:
    """A decoder of Qwen2, which Qwen2.5-VL has too."""
    return TextConfig(
        vocab,
        width,
        ffn,
        layers,
        heads,
        kv_heads,
        head_dim=128,
        rms_norm_eps=1e-6,
        rope_theta=DECODER.rope_theta,
        mrope_section=DECODER.mrope_section,
        max_position_embeddings=positions,
    )


def _size(text: TextConfig, tied: bool) -> Size:
    vision = VisionConfig(
        NAME,
        depth=32,
        hidden_size=1280,
        intermediate_size=5120,
        num_heads=16,
        out_hidden_size=text.hidden_size,
        hidden_act="quick_gelu",
        patch_size=PICTURES.patch_size,
    )
    return Size(text, vision, tied)


QWEN2_VL = Family(
    name=NAME,
    architecture="Qwen2VLForConditionalGeneration",
    processor_class="Qwen2VLProcessor",
    processor_mark="qwen2vlprocessor",
    sizes={
        "2b": _size(text_size(151936, 1536, 8960, 28, 12, 2, 32768), True),
        "7b": _size(text_size(152064, 3584, 18944, 28, 28, 4, 32768), False),
        "72b": _size(text_size(152064, 8192, 29568, 80, 64, 8, 32768), False),
    },
    decoder=DECODER,
    tower=Tower(
        rms_norm=False,
        patch_bias=False,
        mlp_names=("mlp.fc1", "mlp.fc2"),
        merger_names=("ln_q", "mlp.0", "mlp.2"),
        depth=32,
        hidden_act="quick_gelu",
        read=_read,
        write=_write,
    ),
    pictures=PICTURES,
    nested_config=False,
    weight_style="v4",
    transformers_reads_v4=True,
    timed_steps=False,
    seconds_in_positions=False,
    system_turn=True,
)
