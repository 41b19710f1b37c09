"""Programs compiled for TPUs by the real compiler: kernels stay in, nothing of full size is gathered, memory does not
grow unnoticed.
"""

import functools
import math
import re

import jax
import pytest

from configs import li2025_qwen2_5_vl_7b
from launch.planning.chips import Topology
from launch.planning.measure import measure
from spatial_jax.config import strict
from spatial_jax.models import ModelConfig, TextConfig, VisionConfig
from spatial_jax.ops.attention import target_platform
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.training.abstract import Work, abstract_setup, rollout_programs, training_programs

VOCABULARY = 8192
SMALL = ModelConfig(
    "qwen2_5_vl",
    TextConfig(VOCABULARY, 512, 1024, 2, 4, 2, 128, 1e-6, 1e6, (16, 24, 24)),
    VisionConfig("qwen2_5_vl", 2, 320, 640, 4, 512, "silu", 14, window_size=112, full_attention_blocks=(1,)),
    image_token_id=1,
    video_token_id=2,
)
# GiB a device, arguments and results included, and MB that a call sends by collectives, as compiled when this was
# written.
MEMORY = {"update": 0.1425, "logprobs": 0.0728, "reshard": 0.0846, "decode": 0.0831}
SENT = {"update": 70.6, "logprobs": 26.3, "reshard": 27.4, "decode": 0.043}
# Bytes that one layer and all else of a token touch over those of their weights and caches, likewise.
BYTES = 4.25
# The update alone takes a core most of a minute.
NAMES = [pytest.param(name, marks=pytest.mark.proof if name == "update" else ()) for name in MEMORY]


@pytest.fixture(scope="module")
def plan():
    """(setup, programs by name, what is measured of one: an update, a forward pass, bringing weights to the sampler, or
    decoding) on four chips of v5e. Each is compiled when it is first asked for.
    """
    patch = pytest.MonkeyPatch()
    for name, value in (
        ("ALLOW_MULTIPLE_LIBTPU_LOAD", "1"),
        ("TPU_ACCELERATOR_TYPE", "v5litepod-4"),
        ("TPU_WORKER_HOSTNAMES", "localhost"),
        ("TPU_SKIP_MDS_QUERY", "1"),
    ):
        patch.setenv(name, value)
    config = li2025_qwen2_5_vl_7b.get_config()
    config.train.update(dict(prompts=8, update_prompts=8, micro_prompts=4))
    config.rollout.update(dict(group_size=4, max_new_tokens=256, answer_buckets=(256,), max_slots=16))
    config.data.prompt_buckets = (256,)
    topology, work = Topology.parse("v5e:2x2"), Work(112 * 112, 256)
    setup = abstract_setup(strict(config), SMALL, make_mesh({"fsdp": -1}, topology.devices()))
    with target_platform("tpu"):
        programs = {p.name: p for p in training_programs(setup, work) + rollout_programs(setup, work)}
        config.rollout.weights, config.algorithm.is_cap = "int8", 2.0
        int8 = abstract_setup(strict(config), SMALL, setup.mesh)
        programs |= {f"{p.name} int8": p for p in rollout_programs(int8, work)}

    @functools.cache
    def measured(name):
        with target_platform("tpu"), jax.default_matmul_precision("default"):  # as in a run: kernels take no other
            return measure(programs[name], int8 if name.endswith("int8") else setup, topology, work)

    yield setup, programs, measured
    patch.undo()


def test_kernels_are_in_the_program(plan):
    assert any("splash" in name for name in plan[2]("logprobs").kernels)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_full_size_is_gathered(plan, name):
    setup, _, measured = plan
    largest = measured(name).largest_collective
    size = math.prod(int(n) for n in re.findall(r"\d+", largest.split("[")[1]))
    whole = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(setup.start.params))
    assert size <= SMALL.text.hidden_size * VOCABULARY < whole / 2, (
        largest
    )  # the head is the largest thing that ever travels at once


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow(plan, name):
    assert plan[2](name).total_gib <= 1.1 * MEMORY[name]


@pytest.mark.parametrize("name", NAMES)
def test_collectives_do_not_grow(plan, name):
    by_axes = plan[2](name).collective_bytes
    assert sum(sum(axes.values()) for axes in by_axes.values()) <= 1.1e6 * SENT[name], by_axes


def test_decoding_gathers_no_weights(plan):
    """A copy of the weights lies around two chips: what crosses for a token is activations."""
    sizes = dict(plan[1]["decode"].mesh.shape)
    layers = sum(leaf.size for leaf in jax.tree.leaves(plan[0].start.params["text"]["layers"]))
    assert sizes["tensor"] == 2 and 1e6 * SENT["decode"] < layers / 100


def test_a_token_touches_little_besides_weights_and_caches(plan):
    """At these small widths activations weigh more than in a policy of use."""
    token = plan[2]("decode").token
    assert token["bytes"] <= 1.1 * BYTES * token["least_bytes"], token


@pytest.mark.proof
def test_int8_weights_take_fewer_bytes_a_token(plan):
    token, int8 = plan[2]("decode").token, plan[2]("decode int8").token
    assert int8["least_bytes"] < token["least_bytes"] and int8["bytes"] < token["bytes"], int8


@pytest.mark.proof
def test_an_updates_flops_are_its_forward_passes(plan):
    """Backward twice the forward, and one forward recomputed: 4 / 3, and padding."""
    assert 4 / 3 <= plan[2]("update").model_ratio < 1.45


def test_forward_flops_are_the_models_own(plan):
    """Padding of the prompt and of the last block is all there is above them."""
    assert 1.0 <= plan[2]("logprobs").model_ratio < 1.45
