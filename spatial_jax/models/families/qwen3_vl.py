"""Qwen3-VL: norms on queries and keys, interleaved M-RoPE, a tower with learned positions whose middle blocks also feed
the decoder's first layers, and videos with their times in words.
"""

from __future__ import annotations

from typing import Any

from spatial_jax.models.families.base import Decoder, Family, Pictures, Size, Tower
from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.reading import Fields

NAME = "qwen3_vl"
PIXELS = 32 * 32  # of a merged token


def _read(vision: Fields, width: int) -> dict[str, Any]:
    return {
        "hidden_size": vision.integer("hidden_size", 1152),
        "intermediate_size": vision.integer("intermediate_size", 4304),
        "out_hidden_size": vision.integer("out_hidden_size", 3584),
        "num_position_embeddings": vision.integer("num_position_embeddings", 2304),
        "deepstack_blocks": vision.integers("deepstack_visual_indexes", (8, 16, 24)),
    }


def _write(vision: VisionConfig) -> dict[str, Any]:
    return {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "out_hidden_size": vision.out_hidden_size,
        "num_position_embeddings": vision.num_position_embeddings,
        "deepstack_visual_indexes": list(vision.deepstack_blocks),
    }


def _size(width: int, ffn: int, layers: int, heads: int, tied: bool, large_tower: bool) -> Size:
    text = TextConfig(
        151936,
        width,
        ffn,
        layers,
        heads,
        num_kv_heads=8,
        head_dim=128,
        rms_norm_eps=1e-6,
        rope_theta=5e6,
        mrope_section=(24, 20, 20),
        mrope_interleaved=True,
        qkv_bias=False,
        qk_norm=True,
        max_position_embeddings=262144,
    )
    depth, hidden, vision_ffn, taps = (27, 1152, 4304, (8, 16, 24)) if large_tower else (24, 1024, 4096, (5, 11, 17))
    vision = VisionConfig(
        NAME,
        depth,
        hidden,
        vision_ffn,
        num_heads=16,
        out_hidden_size=width,
        hidden_act="gelu_pytorch_tanh",
        patch_size=16,
        num_position_embeddings=2304,
        deepstack_blocks=taps,
    )
    return Size(text, vision, tied)


QWEN3_VL = Family(
    name=NAME,
    architecture="Qwen3VLForConditionalGeneration",
    processor_class="Qwen3VLProcessor",
    processor_mark="qwen3",
    sizes={
        "2b": _size(2048, 6144, 28, 16, True, False),
        "4b": _size(2560, 9728, 36, 32, True, False),
        "8b": _size(4096, 12288, 36, 32, False, True),
        "32b": _size(5120, 25600, 64, 64, False, True),
    },
    decoder=Decoder(
        rope_theta=5e5,
        mrope_section=(24, 20, 20),
        rms_norm_eps=1e-6,
        head_dim=128,
        mrope_interleaved=True,
        qk_norm=True,
        qkv_bias=None,
    ),
    tower=Tower(
        rms_norm=False,
        patch_bias=True,
        mlp_names=("mlp.linear_fc1", "mlp.linear_fc2"),
        merger_names=("norm", "linear_fc1", "linear_fc2"),
        depth=27,
        hidden_act="gelu_pytorch_tanh",
        read=_read,
        write=_write,
    ),
    pictures=Pictures(
        patch_size=16,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        video_limits=(128 * PIXELS, 768 * PIXELS),
        whole_clip=True,
        written_limits=(65536, 16777216),
        written_video_limits=(4096, 25165824),
        spells_min_pixels=False,
        video_processor="Qwen3VLVideoProcessor",
    ),
    nested_config=True,
    weight_style="v5",
    transformers_reads_v4=False,
    timed_steps=True,
    seconds_in_positions=False,
    system_turn=False,
    more_tokens=(("<tool_response>", False), ("</tool_response>", False), ("<think>", False), ("</think>", False)),
)
