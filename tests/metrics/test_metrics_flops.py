"""FLOP counts against figures worked out by hand and published parameter counts."""

import math

import pytest

from spatial_jax.metrics import (
    GroupTokens,
    ModelShape,
    forward_flops,
    mfu,
    model_shape,
    peak_flops,
    training_flops,
    vision_flops,
)
from spatial_jax.metrics.flops import causal_pairs, text_flops

QWEN25_7B = {
    "model_type": "qwen2_5_vl",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "fullatt_block_indexes": [7, 15, 23, 31],
        "patch_size": 14,
    },
}


def test_7b_matches_the_published_sizes():
    shape = model_shape(QWEN25_7B)
    assert shape.layer_params / 1e9 == pytest.approx(6.525, abs=1e-3)
    assert shape.head_params / 1e9 == pytest.approx(0.545, abs=1e-3)
    assert (shape.full_blocks, shape.window_blocks) == (4, 28)
    # 4096 patches, 8x8 windows: 5.26 T in the matrices and 0.38 T of attention.
    assert vision_flops(shape, 4096) / 1e12 == pytest.approx(5.26, abs=0.02)
    assert vision_flops(shape, 4096, 4096**2, 64 * 4096) / 1e12 == pytest.approx(5.65, abs=0.02)


def test_qwen3_config_is_nested_and_has_deepstack():
    shape = model_shape(
        {
            "model_type": "qwen3_vl",
            "text_config": {
                "hidden_size": 2560,
                "num_hidden_layers": 36,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
                "head_dim": 128,
                "intermediate_size": 9728,
                "vocab_size": 151936,
            },
            "vision_config": {
                "depth": 24,
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "patch_size": 16,
                "deepstack_visual_indexes": [5, 11, 17],
            },
        }
    )
    assert (shape.head_dim, shape.deepstack, shape.full_blocks, shape.window_blocks) == (128, 3, 24, 0)
    assert shape.vision_params == 24 * (4 * 1024**2 + 2 * 1024 * 4096)


def test_text_by_hand():
    shape = ModelShape(layers=1, d_model=2, heads=1, kv_heads=1, head_dim=2, d_ff=3, vocab=5)
    layer = 2 * 2 * 2 + 2 * 2 * 2 + 3 * 2 * 3
    pairs = (1 + 2 + 3) + (4 + 5) + 4
    assert text_flops(shape, 3, (2, 1)) == 2 * layer * 6 + 2 * 10 * 3 + 4 * 2 * pairs
    assert causal_pairs(3, 5) == 9 and causal_pairs(4, 4) == 0


def test_sharing_saves_what_the_repeated_prompt_costs():
    shape = model_shape(QWEN25_7B)
    group = GroupTokens(prompt=1280, answers=(1024,) * 16, patches=4096, full_squares=4096**2, window_squares=64 * 4096)
    ratio = forward_flops(shape, [group], share_prompt=False) / forward_flops(shape, [group])
    assert ratio == pytest.approx(2.28, abs=0.03)


def test_training_is_three_forwards_and_a_frozen_tower_one():
    shape = model_shape(QWEN25_7B)
    groups = [GroupTokens(prompt=300, answers=(50, 60), patches=1024, full_squares=1024**2, window_squares=64 * 1024)]
    forward, text = forward_flops(shape, groups), forward_flops(shape, groups, vision=False)
    assert training_flops(shape, groups) == pytest.approx(3 * forward)
    assert training_flops(shape, iter(groups), freeze_vision=True) == pytest.approx(3 * text + forward - text)


def test_mfu_and_peaks():
    assert (
        peak_flops("TPU v5p") == 459e12
        and peak_flops("NVIDIA H100 80GB HBM3") == 989e12
        and peak_flops("TPU v5 lite") == 197e12
    )
    assert peak_flops("cpu") is None and math.isnan(mfu(1.0, 1.0, None))
    assert mfu(459e12, 2.0, 459e12, 2) == 0.25
