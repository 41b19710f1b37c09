"""Qwen2.5-VL: the decoder and pictures of Qwen2-VL; a tower with windows, RMSNorm and a gated feed-forward; videos
whose time ids follow the seconds; boxes in pixels.
"""

from __future__ import annotations

from typing import Any

from spatial_jax.models.families.base import Family, Size, Tower
from spatial_jax.models.families.qwen2_vl import DECODER, PICTURES, text_size
from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.reading import Fields

NAME = "qwen2_5_vl"
FULL_BLOCKS = (7, 15, 23, 31)  # see the whole frame; the others their window


def _read(vision: Fields, width: int) -> dict[str, Any]:
    return {
        "hidden_size": vision.integer("hidden_size", 3584),
        "intermediate_size": vision.integer("intermediate_size", 3420),
        "out_hidden_size": vision.integer("out_hidden_size", 3584),
        "window_size": vision.integer("window_size", 112),
        "full_attention_blocks": vision.integers("fullatt_block_indexes", FULL_BLOCKS),
        "tokens_per_second": vision.number("tokens_per_second", 4.0),
    }


def _write(vision: VisionConfig) -> dict[str, Any]:
    rate = vision.tokens_per_second
    return {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "out_hidden_size": vision.out_hidden_size,
        "window_size": vision.window_size,
        "fullatt_block_indexes": list(vision.full_attention_blocks),
        "tokens_per_second": int(rate) if rate == int(rate) else rate,
    }


def _size(text: TextConfig, tied: bool, vision_ffn: int) -> Size:
    vision = VisionConfig(
        NAME,
        depth=32,
        hidden_size=1280,
        intermediate_size=vision_ffn,
        num_heads=16,
        out_hidden_size=text.hidden_size,
        hidden_act="silu",
        patch_size=PICTURES.patch_size,
        window_size=112,
        full_attention_blocks=FULL_BLOCKS,
        tokens_per_second=2.0,
    )
    return Size(text, vision, tied)


QWEN2_5_VL = Family(
    name=NAME,
    architecture="Qwen2_5_VLForConditionalGeneration",
    processor_class="Qwen2_5_VLProcessor",
    processor_mark="qwen2_5",
    sizes={
        "3b": _size(text_size(151936, 2048, 11008, 36, 16, 2, 128000), True, 3420),
        "7b": _size(text_size(152064, 3584, 18944, 28, 28, 4, 128000), False, 3420),
        "32b": _size(text_size(152064, 5120, 27648, 64, 40, 8, 128000), False, 3456),
        "72b": _size(text_size(152064, 8192, 29568, 80, 64, 8, 128000), False, 3456),
    },
    decoder=DECODER,
    tower=Tower(
        rms_norm=True,
        patch_bias=False,
        mlp_names=("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
        merger_names=("ln_q", "mlp.0", "mlp.2"),
        depth=32,
        hidden_act="silu",
        read=_read,
        write=_write,
    ),
    pictures=PICTURES,
    nested_config=False,
    weight_style="v4",
    transformers_reads_v4=True,
    timed_steps=False,
    seconds_in_positions=True,
    system_turn=True,
    box_units="pixels",
)
