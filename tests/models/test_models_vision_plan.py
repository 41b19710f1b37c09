"""Packed vision: padding, packing and the choice of blocks never change a picture's features."""

import dataclasses

import jax
import numpy as np
import pytest
import tiny_checkpoints as tiny
from flax import nnx

from spatial_jax.models import QwenVL, config_from_hf, plan_vision, split_model
from spatial_jax.models.vision_plan import round_size

GRIDS = np.array([(1, 6, 10), (2, 8, 8), (1, 2, 2)])


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def tower(request):
    config = config_from_hf(tiny.hf_config(request.param).to_dict())
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    params = jax.tree.map(lambda a: a * 8 if a.ndim > 2 else a, params)
    encode = jax.jit(lambda params, vision: nnx.merge(graphdef, params).encode_vision(vision))
    return config.vision, lambda vision: encode(params, vision)


def pixels(vision, grids):
    return (
        np.random.default_rng(0).standard_normal((int(grids.prod(axis=1).sum()), vision.patch_dim)).astype(np.float32)
    )


def test_buckets_and_dense_masks_give_the_features_of_single_pictures(tower):
    vision, encode = tower
    values = pixels(vision, GRIDS)
    ends = np.cumsum(GRIDS.prod(axis=1))
    alone = np.concatenate(
        [
            encode(plan_vision(values[e - n : e], g[None], vision)).features
            for g, e, n in zip(GRIDS, ends, GRIDS.prod(axis=1))
        ]
    )
    packed = plan_vision(values, GRIDS, vision)
    bucketed = plan_vision(values, GRIDS, vision, bucket=256)
    assert bucketed.patches.shape[0] == 256
    dense = dataclasses.replace(bucketed, frames=None)
    for plan in (packed, bucketed, dense):
        features = np.asarray(encode(plan).features)
        np.testing.assert_allclose(features[: len(alone)], alone, atol=2e-5)
        assert np.isfinite(features).all()


@pytest.mark.parametrize("pictures", [(1, 2), (2, 0, 1, 0)])
def test_parts_of_a_pack_give_the_features_of_single_pictures(tower, pictures):
    vision, encode = tower
    values = pixels(vision, GRIDS)
    alone = np.asarray(encode(plan_vision(values, GRIDS, vision)).features)
    sizes, part = GRIDS.prod(axis=1) // vision.merge_unit, 256
    plan = plan_vision(values, GRIDS, vision, bucket=part * len(pictures), pictures=pictures)
    for layout in (plan, dataclasses.replace(plan, frames=None)):
        features = np.asarray(encode(layout).features).reshape(len(pictures), part // vision.merge_unit, -1)
        assert np.isfinite(features).all()
        used = [features[i, : sum(sizes[sum(pictures[:i]) : sum(pictures[: i + 1])])] for i in range(len(pictures))]
        np.testing.assert_allclose(np.concatenate(used), alone[: sizes.sum()], atol=2e-5)


def test_equal_full_blocks_need_no_gather():
    config = config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict()).vision
    grids = np.array([(1, 8, 8), (1, 8, 8)])
    for bucket in (None, 256):
        plan = plan_vision(pixels(config, grids), grids, config, bucket=bucket)
        assert plan.frames.index is None and plan.windows.index is None
        assert (plan.frames.valid is None) == (bucket is None)


def test_shapes_of_a_bucket_are_few():
    config = config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict()).vision
    shapes = set()
    grids_seen = 0
    for h in range(2, 17, 2):
        for w in range(2, h + 1, 2):
            grids_seen += 1
            grids = np.array([(1, h, w)])
            plan = plan_vision(pixels(config, grids), grids, config, bucket=256)
            shapes.add(str(jax.tree.map(np.shape, plan)))
    assert grids_seen == 36 and len(shapes) <= 18
    assert [round_size(n) for n in (1, 2, 3, 5, 7, 9, 13, 100)] == [1, 2, 3, 6, 8, 12, 16, 128]


def test_plans_that_cannot_be_are_refused():
    config = config_from_hf(tiny.hf_config("qwen2_vl").to_dict()).vision
    values = pixels(config, GRIDS)
    with pytest.raises(ValueError, match="do not match grids"):
        plan_vision(values[1:], GRIDS, config)
    with pytest.raises(ValueError, match="bucket 128"):
        plan_vision(values, GRIDS, config, bucket=128)
    with pytest.raises(ValueError, match="hold 564 patches"):
        plan_vision(values, GRIDS, config, bucket=252, pictures=(2, 0, 1))
    with pytest.raises(ValueError, match="need a bucket and 2 grids"):
        plan_vision(values, GRIDS, config, bucket=512, pictures=(1, 1))
    with pytest.raises(ValueError, match="multiples of 2"):
        plan_vision(values[:3], np.array([(1, 1, 3)]), config)
