"""The rollout engine: greedy like transformers, the same answers in every layout, log-probabilities the trainer agrees
with.
"""

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups
import torch

from spatial_jax.models import load_pretrained
from spatial_jax.models.lora import LoraConfig, add_lora
from spatial_jax.models.quantize import quantize_layers, quantized_graph
from spatial_jax.models.sharding import model_shardings
from spatial_jax.ops import decode_kernel
from spatial_jax.ops.attention import target_platform
from spatial_jax.parallel import make_mesh, sampler_mesh
from spatial_jax.rollout import Engine, SamplingParams, run_turns, trajectory_batch, weight_mover
from spatial_jax.rollout.device import static_part
from spatial_jax.rollout.state import Draw
from spatial_jax.rollout.stream import Stream

PROMPTS, ANSWERS, PATCHES = (48,), (4, 8, 16), (64, 256)
SAMPLING = SamplingParams(12, stop_ids=tuple(range(2, 24)), banned_ids=tiny_groups.BANNED, seed=3)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(torch model, policy, prompts): a random Qwen2.5-VL and four prompts with none to two pictures."""
    directory = tmp_path_factory.mktemp("policy")
    model = tiny.make(directory, "qwen2_5_vl")
    policy = load_pretrained(directory, position_rule="hf5")
    return model, policy, tiny_groups.prompts(policy.config, model.config)


def make_engine(policy, **options):
    options = {
        "max_slots": 16,
        "prompt_buckets": PROMPTS,
        "answer_buckets": ANSWERS,
        "patch_buckets": PATCHES,
        "pad_id": tiny.PAD,
        **options,
    }
    return Engine(policy.graphdef, policy.config, **options)


@pytest.fixture(scope="module")
def engine(world):
    return make_engine(world[1])


@pytest.fixture(scope="module")
def answers(world, engine):
    return engine.generate(world[1].params, world[2], 4, SAMPLING, step=7)


def ids(groups):
    return [[sample.tokens.tolist() for sample in group] for group in groups]


def test_greedy_equals_transformers(world, engine):
    model, policy, prompts = world
    groups = engine.generate(
        policy.params, prompts, 1, SamplingParams(12, temperature=0.0, banned_ids=tiny_groups.BANNED)
    )
    for i, (prompt, group) in enumerate(zip(prompts, groups)):
        inputs = tiny.to_torch(tiny.make_inputs(model.config, [tiny_groups.PIECES[i]], seed=i))
        with torch.no_grad():
            theirs = model.generate(
                **inputs,
                max_new_tokens=12,
                min_new_tokens=12,
                do_sample=False,
                suppress_tokens=list(tiny_groups.BANNED),
                eos_token_id=None,
                pad_token_id=tiny.PAD,
            )
        assert group[0].tokens.tolist() == theirs[0, len(prompt) :].tolist()
        assert group[0].finish_reason == "length" and len(group[0].full_logp) == 12


@pytest.mark.parametrize(
    ("slots", "axes", "lora", "kv"),
    [
        (2, None, 4, None),
        pytest.param(16, None, 0, jnp.int8, marks=pytest.mark.proof),
        pytest.param(16, {"data": 4, "tensor": 2}, 0, None, marks=pytest.mark.proof),
        pytest.param(16, {"data": 2, "fsdp": 2, "tensor": 2}, 0, None, marks=pytest.mark.proof),
    ],
)
def test_a_gpus_loop_gives_the_same_answers(world, monkeypatch, slots, axes, lora, kv):
    """Weights and caches layer by layer, projections joined (each shard's beside one another), adapters added,
    attention by the kernel (interpreted); where every token gathers the trainer's shards, the stacked loop.
    """
    _, policy, prompts = world
    monkeypatch.setattr(decode_kernel, "decode_attention", partial(decode_kernel.decode_attention, interpret=True))
    params = policy.params
    if lora:
        graphdef, params = add_lora(policy.config, policy.graphdef, params, LoraConfig(lora))
        policy = dataclasses.replace(policy, graphdef=graphdef)
        params = jax.tree.map(lambda x: x + 0.02 * jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(x.dtype), params)
    mesh = make_mesh(axes) if axes else None
    if mesh is not None:
        params = jax.device_put(params, model_shardings(policy.config, params, mesh))
    options = dict(max_slots=slots, slots_per_prompt=min(slots, 4), answer_buckets=(16,), mesh=mesh, kv_dtype=kv)
    plain = make_engine(policy, **options).generate(params, prompts, 4, SAMPLING, step=7)
    with target_platform("gpu"):
        ours = make_engine(policy, **options).generate(params, prompts, 4, SAMPLING, step=7)
    assert ids(ours) == ids(plain)
    for a, b in zip(ours[0], plain[0]):
        np.testing.assert_allclose(a.full_logp, b.full_logp, atol=1e-4)


def test_a_gpus_stream_is_its_answer(world, monkeypatch):
    """Who reads along is given what `generate` gives, on caches by layer too."""
    _, policy, prompts = world
    monkeypatch.setattr(decode_kernel, "decode_attention", partial(decode_kernel.decode_attention, interpret=True))
    told = dataclasses.replace(SAMPLING, temperature=0.0, max_new_tokens=8)
    with target_platform("gpu"):
        engine = make_engine(policy, max_slots=1, slots_per_prompt=1, answer_buckets=(16,))
        ((answer,),) = engine.generate(policy.params, prompts[:1], 1, told)
        streamed = [token for chunk in Stream(engine, policy.params, told).begin(prompts[0]) for token in chunk]
    assert streamed == answer.tokens.tolist()


def test_stops_reasons_and_bans(answers):
    samples = [sample for group in answers for sample in group]
    assert {sample.finish_reason for sample in samples} == {"stop", "length"}
    for sample in samples:
        assert not set(sample.tokens.tolist()) & set(tiny_groups.BANNED)
        inside, last = set(sample.tokens[:-1].tolist()), int(sample.tokens[-1])
        assert not inside & set(SAMPLING.stop_ids)
        assert (last in SAMPLING.stop_ids) if sample.finish_reason == "stop" else len(sample) == 12
    assert len({tuple(sample.tokens) for sample in samples}) > 12  # samples of a group draw different noise


def test_same_answers_whatever_the_layout(world, answers):
    """Two slots a prompt and one row at a time: samples and prompts are refilled, the ring grows from 4 to 16
    columns.
    """
    _, policy, prompts = world
    narrow = make_engine(policy, max_slots=2, slots_per_prompt=2)
    seen = []
    groups = narrow.generate(
        policy.params, prompts, 4, SAMPLING, step=7, on_finish=lambda index, group: seen.append((index, len(group)))
    )
    assert ids(groups) == ids(answers) and sorted(seen) == [(i, 4) for i in range(4)]
    for ours, theirs in zip(groups[0], answers[0]):
        np.testing.assert_allclose(ours.full_logp, theirs.full_logp, atol=1e-4)
    kinds = [program.split("(")[0] for program in narrow.programs.seen]
    assert kinds.count("decode") <= len(ANSWERS) and kinds.count("admit") <= 2 * len(PATCHES) + 1
    before = len(narrow.programs)
    part = narrow.generate(policy.params, prompts[2:3], 4, SAMPLING, step=7, prompt_ids=[2])
    assert ids(part) == ids(answers[2:3]) and len(narrow.programs) <= before + 1


def test_pictures_that_have_no_bucket_together_are_admitted_apart(world, answers):
    _, policy, prompts = world
    largest = -(-max(prompt.patches for prompt in prompts) // 16) * 16
    assert sum(prompt.patches for prompt in prompts) > largest
    groups = make_engine(policy, patch_buckets=(largest,)).generate(policy.params, prompts, 4, SAMPLING, step=7)
    assert ids(groups) == ids(answers)


@pytest.mark.parametrize(
    ("slots", "prompts", "rows"),
    [(204 * 5, 256, 200), (3 * 5, 256, 8), (1024, 1, 8), (1024, 60, 64), (80 * 5, 100, 80)],
)
def test_rows_divide_over_the_devices(world, slots, prompts, rows):
    """204 rows on eight devices would all be decoded by each of them."""
    shape = make_engine(world[1], mesh=make_mesh({"fsdp": 8}), max_slots=slots).shape(prompts, 5, 48, 16)
    assert shape.rows == rows and shape.slots == 5
    assert make_engine(world[1], max_slots=slots).shape(prompts, 5, 48, 16).rows <= max(slots // 5, 1)


def test_same_answers_on_eight_devices(world, answers):
    _, policy, prompts = world
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    params = jax.device_put(policy.params, model_shardings(policy.config, policy.params, mesh))
    assert any(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(params))
    groups = make_engine(policy, mesh=mesh).generate(params, prompts, 4, SAMPLING, step=7)
    assert ids(groups) == ids(answers)


def test_same_answers_with_weights_of_the_samplers_own_layout(world, answers):
    """Weights trained over fsdp 8 are sampled with in four copies, each on two devices; decoding then gathers none of
    them.
    """
    _, policy, prompts = world
    mesh = make_mesh({"fsdp": 8})
    params = jax.device_put(policy.params, model_shardings(policy.config, policy.params, mesh))
    own, between = sampler_mesh(mesh, 2), sampler_mesh(mesh, 2, sharded=True)
    assert dict(own.shape) == {"data": 4, "fsdp": 1, "tensor": 2} and dict(between.shape) == {
        "data": 1,
        "fsdp": 4,
        "tensor": 2,
    }
    assert list(own.devices.flat) == list(between.devices.flat) == list(mesh.devices.flat)
    *through, shardings = (model_shardings(policy.config, params, m) for m in (mesh, between, own))
    mover = weight_mover(shardings, through=through)
    engine = make_engine(policy, mesh=own, place=mover)
    assert ids(engine.generate(params, prompts, 4, SAMPLING, step=7)) == ids(answers)
    assert params["text"]["embed"]["embedding"].sharding.mesh.shape["fsdp"] == 8  # the trainer's stay where they are

    shape = engine.shape(4, 4, 48, 16)
    placed = engine.place(params)
    whole = re.compile(r"f32\[3,64,96\]|f32\[3,96,64\]")  # a stacked matrix on one device, on the way
    text = mover.lower(params).compile().as_text()
    assert "all-to-all" in text and not whole.search(text)
    state = engine.device.empty(placed, shape, 16)
    draw = Draw(jnp.int32(12), jnp.float32(1), jnp.uint32(0), jnp.uint32(0))
    text = engine.device.decode.lower(placed, state, draw, np.int32(4), None, static_part(SAMPLING)).compile().as_text()
    assert not re.search(rf"\[(\d+,)*{policy.config.text.hidden_size}(,\d+)*\](\{{[\d,]+\}})? all-gather", text)
    with pytest.raises(ValueError, match=r"config\.rollout\.tensor = 3 does not divide the mesh's 8 devices"):
        sampler_mesh(mesh, 3)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_a_copy_in_the_activations_type_changes_no_digit(family, tmp_path):
    """Float32 weights under a bfloat16 forward pass: matrices are cast to it anyway, norms are not (LayerNorm reads
    float32).
    """
    model = tiny.make(tmp_path, family)
    policy = load_pretrained(tmp_path, dtype="bfloat16", param_dtype="float32", position_rule="hf5")
    noise = jax.tree.map(lambda x: x + 0.01 * jax.random.normal(jax.random.key(x.size), x.shape), policy.params)
    prompts = tiny_groups.prompts(policy.config, model.config)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(weight_mover(dtype="bfloat16")(noise))}
    assert kinds == {np.dtype("float32"), np.dtype("bfloat16")}
    ours, theirs = (
        make_engine(policy, place=place).generate(noise, prompts, 2, SAMPLING)
        for place in (weight_mover(dtype="bfloat16"), None)
    )
    assert ids(ours) == ids(theirs)
    for a, b in zip(ours, theirs):
        assert all((x.full_logp == y.full_logp).all() for x, y in zip(a, b))


def gather(policy, groups, prompts, **options):
    return trajectory_batch(
        groups,
        [prompt.next_position for prompt in prompts],
        policy.config.vision,
        answer_buckets=(16, 64),
        patch_buckets=PATCHES,
        pad_id=tiny.PAD,
        **options,
    )


def test_trainer_agrees_with_the_sampler(world, answers):
    _, policy, prompts = world
    batch = gather(policy, answers, prompts)
    gap = np.abs(tiny_groups.trainer_logp(policy, prompts, batch) - batch.full_logp)[batch.answers.loss_mask]
    assert gap.max() < 1e-4
    np.testing.assert_array_equal(batch.full_logp, batch.sampler_logp)  # nothing was truncated


def test_truncation_and_smaller_caches(world, answers):
    _, policy, prompts = world
    nucleus = dataclasses.replace(SAMPLING, top_p=0.5)
    groups = make_engine(policy, kv_dtype="int8").generate(policy.params, prompts, 4, nucleus, step=7)
    samples = [sample for group in groups for sample in group]
    for sample in samples:
        assert (sample.sampler_logp >= sample.full_logp).all()
        assert (sample.sampler_logp - sample.full_logp <= np.log(2) + 1e-4).all()  # at least half of the mass is kept
    batch = gather(policy, groups, prompts)
    gap = np.abs(tiny_groups.trainer_logp(policy, prompts, batch) - batch.full_logp)[batch.answers.loss_mask]
    assert 1e-4 < gap.mean() < 0.1  # int8 costs something, not much


def test_int8_weights_answer_nearly_as_the_policy(world):
    """Every matrix of a layer within half a step of its output's scale; the answers are whole, and what the trainer
    says of their tokens is near to what the sampler said: a gap that importance weights can mend.
    """
    _, policy, prompts = world
    quantized = quantize_layers(policy.config, policy.params)
    name = ("text", "layers", "o_proj")
    ours, plain = (tree[name[0]][name[1]][name[2]] for tree in (quantized, policy.params))
    scale = np.asarray(ours["kernel_scale"])[:, None, None]
    kernel = np.asarray(plain["kernel"])
    assert ours["kernel"].dtype == jnp.int8
    np.testing.assert_allclose(scale[:, 0, 0], np.abs(kernel).max((1, 2)) / 127, rtol=1e-6)
    assert (np.abs(np.asarray(ours["kernel"]) * scale - kernel) <= scale / 2 + 1e-7).all()

    graph = quantized_graph(policy.config, policy.graphdef, policy.params)
    small = dataclasses.replace(policy, graphdef=graph)
    engine = make_engine(small, place=weight_mover(convert=partial(quantize_layers, policy.config)))
    groups = engine.generate(policy.params, prompts, 4, SAMPLING, step=7)
    for sample in (sample for group in groups for sample in group):
        assert (sample.tokens[-1] in SAMPLING.stop_ids) if sample.finish_reason == "stop" else len(sample) == 12
    batch = gather(policy, groups, prompts)
    gap = np.abs(tiny_groups.trainer_logp(policy, prompts, batch) - batch.full_logp)[batch.answers.loss_mask]
    assert 1e-4 < gap.mean() < 0.1, gap.mean()
    same = dataclasses.replace(policy, graphdef=graph, params=quantized)
    assert (
        np.abs(tiny_groups.trainer_logp(same, prompts, batch) - batch.full_logp)[batch.answers.loss_mask].max() < 1e-4
    )


def test_second_turn_with_a_picture(world, engine, answers):
    """Some samples see a picture after their first turn; the trainer, in one group pass, agrees with the sampler about
    both turns.
    """
    model, policy, prompts = world
    prompts = prompts[:2]
    shown = tiny_groups.encoded(policy.config, model.config, [2, ("image", (1, 4, 8)), 3], seed=9)
    calls = []

    def environment(sample):
        calls.append((sample.prompt_index, sample.sample_index))
        return shown if sample.sample_index % 2 == 0 and len(sample.turns) == 1 else None

    wide = make_engine(policy, answer_buckets=(16, 32))
    groups = run_turns(wide, policy.params, prompts, 4, SAMPLING, environment, max_turns=2, max_tokens=60, step=7)
    first = [[sample.tokens.tolist() for sample in group] for group in answers[:2]]
    longer = 0
    for i, group in enumerate(groups):
        for j, sample in enumerate(group):
            assert sample.tokens[: len(first[i][j])].tolist() == first[i][j]  # append-only
            if len(sample.turns) == 3:
                longer += 1
                middle = slice(len(first[i][j]), len(first[i][j]) + len(shown))
                assert sample.tokens[middle].tolist() == shown.input_ids.tolist() and not sample.loss_mask[middle].any()
                assert sample.loss_mask.sum() == len(sample) - len(shown)
    assert longer >= 2 and len(calls) > longer  # asked about every sample that stopped by itself
    batch = gather(policy, groups, prompts)
    gap = np.abs(tiny_groups.trainer_logp(policy, prompts, batch) - batch.full_logp)[batch.answers.loss_mask]
    assert gap.max() < 1e-4


def test_errors_say_what_to_do(world, engine):
    _, policy, prompts = world
    with pytest.raises(ValueError, match="max_new_tokens 99 is above the largest bucket 16"):
        engine.generate(policy.params, prompts, 1, SamplingParams(99))
    with pytest.raises(ValueError, match="top_p"):
        SamplingParams(4, top_p=0.0)
