"""Eight devices in several mesh shapes give the logits and gradients of one."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
from flax import nnx

from launch.planning.hlo import collectives
from spatial_jax.models import (
    ModelConfig,
    QwenVL,
    TextConfig,
    VisionConfig,
    load_pretrained,
    model_shardings,
    param_axes,
    plan_vision,
    split_model,
)
from spatial_jax.models.batch import PromptBatch
from spatial_jax.models.generate import prompt_hidden
from spatial_jax.models.group import group_logprobs
from spatial_jax.parallel import DEFAULT_RULES, make_mesh, partition_spec, shard_params, use_mesh
from spatial_jax.parallel.rules import batch_parts, constrain, sum_parts
from spatial_jax.processing.collate import choose_pack, collate_answers, collate_prompts
from spatial_jax.processing.prompt import EncodedPrompt
from spatial_jax.training.update import group_axis, place


@pytest.fixture(scope="module")
def case():
    """A policy whose heads (8 / 4) and widths divide by every mesh below, and a batch of 8 rows with a picture each."""
    text = TextConfig(128, 64, 96, 2, 8, 4, 16, 1e-6, 1e6, (2, 3, 3))
    vision = VisionConfig("qwen2_5_vl", 2, 64, 96, 4, 64, "silu", 4, window_size=16, full_attention_blocks=(1,))
    config = ModelConfig("qwen2_5_vl", text, vision, image_token_id=1, video_token_id=2)
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    params = jax.tree.map(lambda a: a * 6 if a.ndim > 2 else a, params)
    rng = np.random.default_rng(0)
    rows, length = 8, 12
    tokens = rng.integers(3, 128, (rows, length)).astype(np.int32)
    tokens[:, 2:6] = 1
    index = np.full(tokens.shape, -1, np.int32)
    index[:, 2:6] = np.arange(rows * 4).reshape(rows, 4)
    plan = plan_vision(
        rng.standard_normal((rows * 16, vision.patch_dim)).astype(np.float32),
        np.array([(1, 4, 4)] * rows),
        vision,
        bucket=128,
    )
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), (3, rows, length)).copy()
    batch = PromptBatch(tokens, np.ones(tokens.shape, bool), positions, index, np.full(rows, length, np.int32), plan)
    return config, graphdef, params, batch


@pytest.mark.parametrize("family, tied", [("qwen2_5_vl", True), ("qwen2_vl", False), ("qwen3_vl", True)])
def test_every_family_and_a_tied_head_on_eight_devices(tmp_path, family, tied):
    model = tiny.make(tmp_path, family, tied)
    inputs = tiny.make_inputs(model.config, tiny.CASES["mixed"])
    mask = inputs["attention_mask"].astype(bool)
    alone = load_pretrained(tmp_path, position_rule="hf5").logits(**inputs)
    spread = load_pretrained(tmp_path, mesh=make_mesh({"fsdp": 4, "tensor": 2}), position_rule="hf5").logits(**inputs)
    np.testing.assert_allclose(spread[mask], alone[mask], atol=1e-4)


def step(graphdef, mesh):
    """Loss, logits and gradients; the mesh is fixed inside, so that each mesh traces its own program."""

    def run(params, batch):
        def loss(params):
            model = nnx.merge(graphdef, params)
            logits = model.logits(prompt_hidden(model, batch, remat="full")[0])
            logp = jnp.take_along_axis(jax.nn.log_softmax(logits[:, :-1]), batch.tokens[:, 1:, None], -1)
            return -logp.mean(), logits

        with use_mesh(mesh):
            return jax.value_and_grad(loss, has_aux=True)(params)

    return jax.jit(run)


@pytest.fixture(scope="module")
def single(case):
    _, graphdef, params, batch = case
    return step(graphdef, None)(params, batch)


@pytest.mark.parametrize("axes", [{"fsdp": 8}, {"fsdp": 2, "tensor": 4}, {"data": 2, "fsdp": 2, "tensor": 2}], ids=str)
def test_eight_devices_equal_one(case, single, axes):
    config, graphdef, params, batch = case
    mesh = make_mesh(axes)
    placed = shard_params(params, param_axes(config), mesh)
    kernel = placed["text"]["layers"]["gate_proj"]["kernel"]
    assert kernel.addressable_shards[0].data.size == kernel.size // (mesh.shape["fsdp"] * mesh.shape["tensor"])
    rows = jax.NamedSharding(mesh, jax.P(("data", "fsdp")))
    batch = batch.replace(tokens=jax.device_put(batch.tokens, rows), valid=jax.device_put(batch.valid, rows))
    (loss, logits), gradients = step(graphdef, mesh)(placed, batch)
    np.testing.assert_allclose(loss, single[0][0], rtol=1e-6)
    np.testing.assert_allclose(logits, single[0][1], atol=5e-5)
    for (path, ours), expected in zip(jax.tree_util.tree_leaves_with_path(gradients), jax.tree.leaves(single[1])):
        np.testing.assert_allclose(
            ours, expected, atol=1e-5 * max(1e-2, float(jnp.abs(expected).max())) + 1e-7, err_msg=str(path)
        )


@pytest.fixture(scope="module")
def pictures(case):
    """Eight prompts with pictures of three sizes, whose windows are not all full; one prompt has none, one has two."""
    vision = case[0].vision
    rng, prompts = np.random.default_rng(1), []
    for grids in (
        [(1, 6, 8)],
        [(1, 4, 4)],
        [],
        [(1, 6, 8), (1, 4, 4)],
        [(1, 6, 6)],
        [(1, 4, 4)],
        [(1, 6, 8)],
        [(1, 6, 6)],
    ):
        grid = np.array(grids, np.int64).reshape(-1, 3)
        patches = int(grid.prod(axis=1).sum())
        kinds = np.zeros(28, np.uint8)
        kinds[2 : 2 + patches // 4] = 1
        tokens = np.where(kinds, 1, rng.integers(3, 128, 28)).astype(np.int32)
        values = rng.standard_normal((patches, vision.patch_dim)).astype(np.float32) if patches else None
        prompts.append(
            EncodedPrompt(tokens, np.broadcast_to(np.arange(28, dtype=np.int32), (3, 28)), 28, kinds, values, grid, [])
        )
    return prompts


def test_pictures_in_parts_equal_one_pack_and_stay_on_their_devices(case, pictures):
    config, graphdef, params, _ = case
    mesh = make_mesh({"fsdp": 8})
    answers = collate_answers([[np.arange(3, 9), np.arange(5, 8)]] * 8, [28] * 8, answer_bucket=8, pad_id=0)
    packs = {}
    for parts in (1, 8):
        bucket, chosen = choose_pack(pictures, (544, 1088), parts, "patches")
        assert chosen == parts
        packs[parts] = collate_prompts(
            pictures, config.vision, prompt_bucket=32, patch_bucket=bucket, pad_id=0, parts=parts
        )

    def gradients(where):
        def loss(params, prompts, answers):
            logp, entropy = group_logprobs(nnx.merge(graphdef, params), prompts, answers, remat="full")
            return (logp * answers.valid).sum() + 0.1 * (entropy * answers.valid).sum()

        def run(*arguments):
            with use_mesh(where):
                return jax.value_and_grad(loss)(*arguments)

        return jax.jit(run)

    alone = gradients(None)(params, packs[1], answers)
    placed = shard_params(params, param_axes(config), mesh)
    compiled = (
        gradients(mesh).lower(placed, place(packs[8], mesh, group_axis), place(answers, mesh, group_axis)).compile()
    )
    spread = compiled(placed, place(packs[8], mesh, group_axis), place(answers, mesh, group_axis))
    np.testing.assert_allclose(spread[0], alone[0], rtol=1e-5)
    for (path, ours), expected in zip(jax.tree_util.tree_leaves_with_path(spread[1]), jax.tree.leaves(alone[1])):
        np.testing.assert_allclose(
            ours, expected, atol=2e-5 * max(1e-2, float(jnp.abs(expected).max())) + 1e-6, err_msg=str(path)
        )
    # Weights and their gradients travel, patches do not: nothing has their number of rows.
    rows = {packs[8].vision.patches.shape[0], packs[8].vision.patches.shape[0] // 4}
    shapes = {tuple(int(n) for n in re.findall(r"\d+", c.shape.split("[")[1])) for c in collectives(compiled.as_text())}
    assert not [shape for shape in shapes if rows & {*shape, math.prod(shape[:2])}], shapes


def test_pictures_too_uneven_for_parts_are_one_pack(pictures):
    assert choose_pack(pictures, (512,), 8, "patches") == (512, 8)
    assert choose_pack(pictures, (300,), 8, "patches") == (300, 1)
    assert choose_pack(pictures, (512,), 3, "patches")[1] == 1
    with pytest.raises(ValueError, match="patches"):
        choose_pack(pictures, (64,), 8, "patches")


@pytest.mark.parametrize(
    "axes", [{"fsdp": 8}, {"data": 8}, {"data": 2, "fsdp": 2, "tensor": 2}, {"data": 2, "fsdp": 4}]
)
@pytest.mark.parametrize(
    "logical, shape",
    [(("vocab", "embed"), (10, 16)), (("embed", "vocab"), (16, 10)), (("norm",), (5,)), (("embed",), (6,))],
)
def test_the_devices_parts_of_a_sum_meet_scattered(axes, logical, shape):
    """Also where the whole is not sharded or does not divide; where it is, each device gets its slice by a
    reduce-scatter.
    """
    mesh = make_mesh(axes)
    parts = np.random.default_rng(0).standard_normal((batch_parts(mesh), *shape)).astype(np.float32)
    with use_mesh(mesh):
        meet = jax.jit(lambda x: sum_parts(constrain(x, ("batch",) + (None,) * len(shape)), logical))
        whole, text = meet(parts), meet.lower(parts).compile().as_text()
    np.testing.assert_allclose(whole, parts.sum(0), rtol=1e-5, atol=1e-5)
    spec = partition_spec(logical, shape, mesh, strict=False)
    assert whole.sharding.is_equivalent_to(jax.NamedSharding(mesh, spec), len(shape))
    assert ("reduce-scatter" in text) == ("fsdp" in spec)


def test_shapes_that_do_not_divide_and_axes_used_twice_are_refused(case):
    config, _, params, _ = case
    with pytest.raises(
        ValueError,
        match=r"text\.layers\.k_proj\.bias: dimension 'kv_heads' of size 4 does not divide over \('tensor',\) = 8",
    ):
        model_shardings(config, params, make_mesh({"tensor": 8}))
    mesh = make_mesh({"fsdp": 4, "tensor": 2})
    with pytest.raises(ValueError, match="mesh axis 'tensor' is used twice"):
        partition_spec(("mlp", "vocab"), (8, 8), mesh, name="w")
    with pytest.raises(ValueError, match="no rule for logical axis 'depth'"):
        partition_spec(("depth",), (8,), mesh)
    with pytest.raises(ValueError, match="names mesh axis 'expert'"):
        partition_spec(("mlp",), (8,), mesh, {**DEFAULT_RULES, "mlp": "expert"})
    with pytest.raises(ValueError, match="there are 8 devices"):
        make_mesh({"fsdp": 3})
    assert partition_spec(("batch", None), (8, 3), mesh) == jax.P("fsdp", None)
    assert partition_spec(("mlp",), (7,), mesh, strict=False) == jax.P(None)


def test_only_the_data_axis_crosses_between_slices():
    """Two v5e slices of four chips, compiled by the TPU compiler: each row of the mesh is one slice, and a sum over
    fsdp stays inside it.
    """
    from jax.experimental import topologies
    from jax.sharding import NamedSharding, PartitionSpec

    devices = list(topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2", num_slices=2).devices)
    mesh = make_mesh({"data": 2, "fsdp": -1}, devices)
    assert dict(mesh.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    assert [{device.slice_index for device in row.flat} for row in mesh.devices] == [{0}, {1}]
    shape = jax.ShapeDtypeStruct((8, 128), jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(("data", "fsdp"))))
    assert (
        jax.jit(lambda x: x.sum(0), out_shardings=NamedSharding(mesh, PartitionSpec())).lower(shape).compile()
        is not None
    )
    with pytest.raises(ValueError, match="multiple of 2"):
        make_mesh({"fsdp": 8}, devices)
