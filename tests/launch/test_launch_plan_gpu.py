"""Plans for GPUs without a GPU: kernels read from text, faults in one line, and true programs compiled for a card."""

import importlib.metadata
import json
import os
import subprocess
import sys

import pytest

from launch.planning import gpus, kernels, traffic
from launch.planning.chips import CHIPS, Topology

HLO = """HloModule m
%fused_slice (p: bf16[4,8,16], i: s32[]) -> bf16[8,16] {
  %p = bf16[4,8,16]{2,1,0} parameter(0)
  %i = s32[] parameter(1)
  %zero = s32[] constant(0)
  %less = pred[] compare(%i, %zero), direction=LT
  %cut = bf16[1,8,16]{2,1,0} dynamic-slice(%p, %i, %zero, %zero), dynamic_slice_sizes={1,8,16}
  ROOT %b = bf16[8,16]{1,0} bitcast(%cut)
}
%fused_add (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %a = f32[8]{0} add(%p, %p)
}
%inner (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  ROOT %one = f32[8]{0} fusion(%p), kind=kLoop, calls=%fused_add
}
%cond (p: f32[8]) -> pred[] {
  ROOT %t = pred[] constant(true)
}
%body (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %w = bf16[8,16]{1,0} fusion(%p), kind=kLoop, calls=%fused_slice
  %mm = f32[8]{0} custom-call(%w), custom_call_target="__cublas$gemm"
  ROOT %loop = f32[8]{0} while(%mm), condition=%cond, body=%inner, backend_config={"known_trip_count":{"n":"5"}}
}
%recorded (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %c = f32[8]{0} copy(%p)
  ROOT %one = f32[8]{0} fusion(%c), kind=kLoop, calls=%fused_add
}
ENTRY %main (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  %w = f32[8]{0} while(%a), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %r = f32[8]{0} call(%w), to_apply=%recorded
  ROOT %until = f32[8]{0} while(%r), condition=%cond, body=%inner
}
"""


def test_kernels_are_counted_as_often_as_they_are_launched():
    """A loop of three rounds with a slice, a product and five rounds of one kernel; a call of two; a loop without a
    known end once.
    """
    found = kernels.launches(HLO)
    assert found.kernels == 3 * (2 + 5) + 2 + 1
    loops = [(loop.depth, loop.turns, loop.kernels, loop.moved) for loop in found.loops]
    assert found.decoding == found.loops[-1]
    assert loops == [(0, 3, 7, 8 * 16 * 2), (1, 5, 1, 0), (0, None, 1, 0)]
    assert found.moved == 3 * 8 * 16 * 2 + 8 * 4  # the slice of a stacked weight and the copy; the sum is work
    assert found.largest[0][1:] == ("bf16[8,16]", 3)
    with pytest.raises(RuntimeError, match="no ENTRY"):
        kernels.launches("HloModule m\n")


BYTES = """HloModule m
%update (cache: bf16[4,64,8], new: f32[4,1,8], at: s32[]) -> bf16[4,64,8] {
  %cache = bf16[4,64,8]{2,1,0} parameter(0)
  %new = f32[4,1,8]{2,1,0} parameter(1)
  %half = bf16[4,1,8]{2,1,0} convert(%new)
  %at = s32[] parameter(2)
  %zero = s32[] constant(0)
  ROOT %put = bf16[4,64,8]{2,1,0} dynamic-update-slice(%cache, %half, %zero, %at, %zero)
}
%rows (table: bf16[1000,8], ids: s32[4]) -> (bf16[4,8], f32[4]) {
  %table = bf16[1000,8]{1,0} parameter(0)
  %ids = s32[4]{0} parameter(1)
  %taken = bf16[4,8]{1,0} gather(%table, %ids), offset_dims={1}
  %same = f32[4]{0} convert(%ids)
  ROOT %both = (bf16[4,8]{1,0}, f32[4]{0}) tuple(%taken, %same)
}
ENTRY %main (c: bf16[4,64,8], n: f32[4,1,8], i: s32[], t: bf16[1000,8], ids: s32[4]) -> bf16[4,8] {
  %c = bf16[4,64,8]{2,1,0} parameter(0)
  %n = f32[4,1,8]{2,1,0} parameter(1)
  %i = s32[] parameter(2)
  %t = bf16[1000,8]{1,0} parameter(3)
  %ids = s32[4]{0} parameter(4)
  %put = bf16[4,64,8]{2,1,0} fusion(%c, %n, %i), kind=kLoop, calls=%update, metadata={op_name="a/layer/x"}
  %got = (bf16[4,8]{1,0}, f32[4]{0}) fusion(%t, %ids), kind=kLoop, calls=%rows, metadata={op_name="a/y"}
  %g = bf16[4,8]{1,0} get-tuple-element(%got), index=0
  ROOT %mm = (bf16[4,8]{1,0}, s8[33554432]{0}) custom-call(%g, %g), custom_call_target="__cublas$lt$matmul"
}
"""


def test_bytes_of_kernels_are_those_that_they_touch():
    """A column written into a cache, rows taken from a table, a product of one array with itself and its scratch
    space."""
    bodies, entry = kernels.computations(BYTES)
    around = traffic.instructions(bodies[entry])
    put, got, product = (traffic.kernel_bytes(around[name], around, bodies) for name in ("put", "got", "mm"))
    assert put == 4 * 8 * 4 + 4 + 4 * 8 * 2  # new values, the place, the column
    assert got == 4 * 8 * 2 + 4 * 4 + (4 * 8 * 2 + 4 * 4)
    assert product == 2 * 4 * 8 * 2


def test_every_card_has_its_rates():
    assert set(gpus.CARDS) <= set(CHIPS)
    for name, card in gpus.CARDS.items():
        topology = Topology.parse(f"{name}:1")
        assert (topology.platform, topology.lowering, topology.is_tpu) == ("gpu", ("cuda",), False)
        assert CHIPS[name].hbm < card.memory and CHIPS[name].hbm_rate == pytest.approx(card.bandwidth, rel=0.05)


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({}, r"plans for GPUs need jax-cuda12-plugin, jax-cuda12-pjrt, nvidia.*plan-gpu\]"),
        ({"jax-cuda12-plugin": "0.9.1"}, r"jax-cuda12-plugin 0.9.1 beside jaxlib .*plan-gpu\]"),
    ],
)
def test_a_missing_or_other_plugin_is_told_in_one_line(monkeypatch, versions, told):
    jaxlib = importlib.metadata.version("jaxlib")
    if versions:
        versions = dict.fromkeys(gpus.PACKAGES, jaxlib) | versions
    monkeypatch.setattr(gpus, "versions", lambda: versions)
    with pytest.raises(RuntimeError, match=told):
        gpus.devices("h100", 1)


def test_the_compilers_own_lines_stay_off_the_console():
    """Set before jax is imported, which has a default of its own; what the user set stands."""
    code = "import os; from launch.plan import prepare; prepare([]); print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    for given, told in (({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")):
        env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | given
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
        assert done.stdout.split() == [told]


def require_compiler():
    missing = [name for name in gpus.PACKAGES if name not in gpus.versions()]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: {gpus.INSTALL}")


def plan(tmp_path, *arguments):
    """(stdout, record) of a plan in a process of its own, since the compiler for GPUs stays registered."""
    require_compiler()
    command = [sys.executable, "launch/plan.py", f"--out={tmp_path}/plan.json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "XLA_FLAGS": ""})
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(("compiles ", "  ")) for line in done.stderr.splitlines()), done.stderr
    return done.stdout, json.loads((tmp_path / "plan.json").read_text())


@pytest.mark.proof
def test_a_tiny_run_is_planned_for_a_card_that_is_not_there(tmp_path):
    recipe = ("--config=configs/debug_cpu.py", "--model=configs/quickstart_policy", "--layers=1")
    text, record = plan(tmp_path, *recipe, "--topology=h200:1", "--programs=apply,logprobs")
    assert "  apply: " in text and "  logprobs: " in text and "FITS (of apply, logprobs alone)" in text
    assert record["versions"]["jax-cuda12-plugin"] == record["versions"]["jaxlib"]


def test_a_token_costs_a_gpu_few_kernels_no_copy_and_the_bytes_of_weights_and_caches(tmp_path):
    """Two layers of the 3B, nucleus sampling, 8 prompts of 1,536 by 16 answers of 1,024: at most 12 kernels a layer and
    40 for all else, nothing of a weight's or a cache's size is copied or converted at a token, the bytes of all 36
    layers and the rest within 1.2 of the least, and the caches are held once: no more stays beside the arguments than
    the loop's own copy of two layers and the logits.
    """
    recipe = ("--config=configs/debug_gpu.py", "--layers=2", "--config.train.prompts=8", "--config.rollout.top_p=0.95")
    sizes = ("--config.train.update_prompts=8", "--config.rollout.group_size=16", "--answer_tokens=1024")
    buckets = ("--config.data.prompt_buckets=(1536,)", "--config.rollout.answer_buckets=(1024,)")
    text, record = plan(tmp_path, *recipe, *sizes, *buckets, "--topology=h200:1", "--programs=decode")
    found = record["programs"]["decode"]
    ((depth, turns, kernels, moved),) = found["loops"]
    token = found["token"]
    assert (depth, turns) == (0, None) and kernels == token["kernels"]
    assert token["layers_kernels"] <= 2 * 12 and kernels - token["layers_kernels"] <= 40
    assert moved < 8 / 1024  # GiB; one layer's smallest projection is 10 MiB

    caches = 4 * 8 * 2 * 128 * (1536 + 16 * 1024)  # of a layer: keys and values, bfloat16
    layer = 2 * (2048 * 128 * (16 + 2 + 2) + 16 * 128 * 2048 + 3 * 2048 * 11008) + caches
    head = 2 * 151936 * 2048
    assert token["least_bytes"] == pytest.approx(2 * layer + head, rel=1e-3)  # biases and norms are left out here
    whole = token["bytes"] - token["layers_bytes"] + 18 * token["layers_bytes"]
    assert whole <= 1.2 * (36 * layer + head), whole / (36 * layer + head)
    logits = 4 * 128 * 151936
    assert found["temporaries_gib"] * 2**30 < 2 * (layer - caches) + 3 * logits
    assert "by 23 kernels in 2 layers and 39 for all else" in text  # 11 each, and once what positions turn keys by


UPDATE = """
import os
from launch.xla_flags import compile_only_card
os.environ.update(compile_only_card(os.environ))
import dataclasses, jax, jax.numpy as jnp
from flax import nnx
from launch.planning import gpus
from launch.planning.kernels import launches
from spatial_jax.models import AnswerBatch, PromptBatch, abstract_model, published_config
from spatial_jax.models.group import group_logprobs
from spatial_jax.ops.attention import target_platform
from spatial_jax.ops.block_kernel import block_attention
from spatial_jax.ops.shared_prefix import group_attention
b, p, g, t, h, kv, d = 2, 512, 16, 256, 16, 2, 128
card = gpus.devices("h200", 1)[0]
shape = jax.ShapeDtypeStruct

def compiled(value, wrt, *shapes):
    with target_platform("gpu"):
        traced = jax.jit(jax.grad(value, wrt)).trace(*gpus.place_on(shapes, card))
        return traced.lower(lowering_platforms=("cuda",)).compile()

heads = [shape((b, p + g * (t - 1), n, d), jnp.bfloat16) for n in (h, kv, kv)]
alone = lambda *a: jnp.sum(group_attention(*a, prompt=p, answers=(g, t - 1)).astype(jnp.float32) ** 2)
program = compiled(alone, (0, 1, 2), *heads, shape(heads[0].shape[:2], bool))
rows = heads[0].size * 2
print(launches(program.as_text()).kernels, program.memory_analysis().temp_size_in_bytes / rows)

windows = [shape((256, 64, 16, 80), jnp.bfloat16)] * 3
inside = lambda *a: jnp.sum(block_attention(*a).astype(jnp.float32) ** 2)
print(launches(compiled(inside, (0, 1, 2), *windows, shape((256, 64), bool)).as_text()).kernels)

config = published_config("qwen2_5_vl_3b")
config = dataclasses.replace(config, text=dataclasses.replace(config.text, num_layers=2))
graphdef, params = abstract_model(config, "bfloat16", "bfloat16")
ids = lambda *sizes: shape(sizes, jnp.int32)
prompts = PromptBatch(ids(b, p), shape((b, p), bool), ids(3, b, p), ids(b, p), ids(b))
yes = shape((b, g, t), bool)
answers = AnswerBatch(ids(b, g, t), yes, ids(3, b, g, t), ids(b, g, t), yes)
value = lambda params, *batch: group_logprobs(nnx.merge(graphdef, params), *batch, remat="full")[0].sum()
layers = [loop for loop in launches(compiled(value, 0, params, prompts, answers).as_text()).loops if loop.turns == 2]
print(*(loop.kernels for loop in layers))
"""


def test_a_layer_of_the_update_is_few_kernels_and_no_scores_in_memory():
    """Attention of a group of sixteen answers with its gradients: at most 12 kernels, temporary memory of a few rows of
    queries, where scores alone would be hundreds of them. A picture's windows: one forward, one backward, one between.
    A whole layer of the 3B on an H200: at most 21 kernels forward, and 48 backward with all that is repeated of them.
    """
    require_compiler()
    done = subprocess.run([sys.executable, "-c", UPDATE], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    kernels, rows, windows, forward, backward = map(float, done.stdout.split()[-5:])
    assert kernels <= 12 and rows < 6 and windows <= 3
    assert forward <= 21 and backward <= 48
