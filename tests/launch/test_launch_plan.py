"""Plans without a TPU: counts against the compiler's own, collectives from text, and a whole plan of a tiny run."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import li2025_qwen2_5_vl_7b
from launch.planning import chips, counting, hlo, proofs, runs, search
from launch.planning.chips import Topology
from launch.planning.measure import Measured, held_bytes, measure
from launch.planning.report import mesh_advice, plan_facts, plan_record, plan_text
from launch.planning.search import alternatives, as_flags
from spatial_jax.config import strict
from spatial_jax.models import ModelConfig, TextConfig, VisionConfig
from spatial_jax.ops.attention import reference_attention
from spatial_jax.ops.block_kernel import block_attention
from spatial_jax.parallel import make_mesh
from spatial_jax.training.abstract import Work, abstract_setup, rollout_programs, training_programs

TINY = ModelConfig(
    "qwen2_5_vl",
    TextConfig(128, 64, 96, 2, 4, 2, 16, 1e-6, 1e6, (2, 3, 3)),
    VisionConfig("qwen2_5_vl", 2, 64, 96, 4, 64, "silu", 4, window_size=16, full_attention_blocks=(1,)),
    image_token_id=1,
    video_token_id=2,
)
HLO = """HloModule m
%body (p: f32[]) -> f32[] {
  %g = bf16[1024,64]{1,0} all-gather(%x), replica_groups=[2,4]<=[8], dimensions={0}
}
%cond (p: f32[]) -> pred[] {
}
%counted (p: s32[]) -> pred[] {
  %c = s32[]{:T(128)} constant(5)
  ROOT %lt = pred[] compare(%p, %c), direction=LT
}
%until (p: s32[]) -> pred[] {
  %c = s32[]{:T(128)} constant(64)
  %lt = pred[] compare(%p, %c), direction=LT
  ROOT %and = pred[] and(%lt, %p)
}
%token (p: f32[]) -> f32[] {
  %t = f32[48]{0} all-gather(%x), replica_groups=mesh['axis_0'=4,'axis_1'=2], \
device_ids=([2,4]T(1,0)) {'axis_0'}, dimensions={0}
}
%all-reduce-scatter.1 (p: f32[]) -> f32[] {
  %sum = f32[64]{0} all-reduce(%x), channel_id=3, replica_groups={{0,1,2,3}}, to_apply=%cond
}
%piece (p: f32[]) -> f32[] {
  %part = bf16[32]{0} all-gather(%x), channel_id=4, replica_groups={{0,1,2,3}}, dimensions={0}
}
%layer (p: f32[]) -> f32[] {
  %kernel = f32[8] custom-call(%r), custom_call_target="other", metadata={
}}, more={}
  %f = f32[16] fusion(%r), kind=kCustom, calls=%all-reduce-scatter.1
  %g1 = bf16[32] fusion(%r), kind=kCustom, calls=%piece
  %again = bf16[32]{0} all-gather(%x), channel_id=4, replica_groups={{0,1,2,3}}, dimensions={0}
}
%offloaded (p: f32[24], t: token[]) -> f32[96] {
  %psum4 = f32[20]{0} all-reduce(%c), channel_id=1, replica_groups={{0,1,2,3}}, metadata={op_name="b"}, to_apply=%cond
  ROOT %t = f32[96]{0} all-gather(%p), channel_id=5, replica_groups={{0,1,2,3}}, dimensions={0}
}, execution_thread="sparsecore"

ENTRY %main (a: f32[]) -> f32[] {
  %psum0 = f32[20]{0} all-reduce(%a), channel_id=1, replica_groups={{0,1,2,3}}, metadata={op_name="a"}, to_apply=%cond
  %psum1 = f32[12]{0} all-reduce(%a), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%cond
  %psum2 = f32[12]{0} all-reduce(%b), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%cond
  %psum3 = f32[20]{0} all-reduce(%c), channel_id=1, replica_groups={{0,1,2,3}}, to_apply=%cond
  %sc = ((f32[24]{0}, token[]), f32[96]{0}) call-start(%a, %ready), async_execution_thread="sparsecore", \
to_apply=%offloaded
  %w = f32[] while(%a), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"28"}}
  %s = (f32[8,4]{1,0}, f32[32,4]{1,0}) all-gather-start(%w), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_0'}
  %w2 = f32[] while(%a), condition=%counted, body=%layer
  %w3 = f32[] while(%a), condition=%until, body=%token
  %r = (f32[16]{0}, f32[8]{0}) all-reduce(%s), replica_groups={{0,1,2,3,4,5,6,7}}, to_apply=%cond
  %k = f32[8] custom-call(%r), custom_call_target="tpu_custom_call"
}
"""


def test_collectives_are_counted_as_often_as_their_loop_runs():
    found = hlo.collectives(HLO)
    assert sorted((c.kind, c.shape, c.group, c.times) for c in found) == sorted(
        [
            *[("all-reduce", "f32[12]", 4, 1)] * 2,
            *[("all-reduce", "f32[20]", 4, 1)] * 3,
            ("all-gather", "bf16[1024,64]", 4, 28),
            ("all-gather", "f32[32,4]", 2, 1),
            ("all-reduce", "f32[16]", 8, 1),
            ("all-gather", "f32[48]", 4, 1),
            ("all-gather", "f32[96]", 4, 1),
            ("reduce-scatter", "f32[64]", 4, 5),
            ("all-gather", "bf16[32]", 4, 5),
        ]
    )
    axes = hlo.by_axis(found, {"data": 2, "fsdp": 4, "tensor": 1})
    assert axes == {
        "all-gather": {"fsdp": 28 * 1024 * 64 * 2.0 + 5 * 64.0 + 192.0 + 384.0, "data": 512.0},
        "all-reduce": {"data+fsdp": 96.0, "fsdp": 4 * (2 * 12 + 3 * 20.0)},
        "reduce-scatter": {"fsdp": 5 * 64.0},
    }
    assert hlo.kernel_calls(HLO) == 1


def scanned(w, x):
    def body(x, w):
        return jnp.tanh(x @ w), None

    return jnp.sum(jax.lax.scan(jax.checkpoint(body), x, w)[0])


def unscanned(w, x):
    for i in range(4):
        x = jax.checkpoint(lambda x, w: jnp.tanh(x @ w))(x, w[i])
    return jnp.sum(x)


def test_flops_of_loops_are_those_of_the_program_without_loops():
    """The compiler counts a scan's body once; the count here must be its count of the same program unrolled."""
    w, x = jnp.ones((4, 64, 64)), jnp.ones((32, 64))
    ours = counting.count(jax.jit(jax.grad(scanned, (0, 1))).trace(w, x).jaxpr, lambda *_: 0.0).flops
    plain = counting.count(jax.jit(jax.grad(unscanned, (0, 1))).trace(w, x).jaxpr, lambda *_: 0.0).flops
    assert (
        ours == plain == 4 * 4 * 2 * 32 * 64 * 64
    )  # forward, again, and two products backward, in each of four layers
    forward = jax.jit(unscanned).lower(w, x).compile().cost_analysis()["flops"]
    assert counting.count(jax.jit(scanned).trace(w, x).jaxpr, lambda *_: 0.0).flops == pytest.approx(forward, rel=0.02)


def test_windows_count_the_same_with_and_without_their_kernel():
    """Forward exactly; backward the kernel makes the scores once more, which a backward pass of plain attention has."""
    heads, valid = [jax.ShapeDtypeStruct((6, 16, 4, 80), jnp.float32)] * 3, jax.ShapeDtypeStruct((6, 16), bool)

    def plain(q, k, v, valid):
        return reference_attention(q, k, v, valid[:, None])

    def flops(attention, derive):
        value = jax.grad(lambda *a: attention(*a).sum(), (0, 1, 2)) if derive else attention
        work = counting.count(jax.jit(value).trace(*heads, valid).jaxpr, lambda *_: 0.0)
        return work.flops + work.kernel_flops

    product = 2 * 6 * 4 * 16 * 16 * 80
    assert flops(block_attention, False) == flops(plain, False) == 2 * product
    assert flops(block_attention, True) == 2 * product + 5 * product == flops(plain, True) + product


def tiny_config(**run):
    config = li2025_qwen2_5_vl_7b.get_config()
    config.train.update(dict(prompts=4, update_prompts=4, micro_prompts=2) | run)
    config.rollout.update(dict(group_size=4, max_new_tokens=16, answer_buckets=(16,), max_slots=8))
    config.data.prompt_buckets = (256,)
    return config


def tiny_run(**run):
    return strict(tiny_config(**run))


def test_a_plan_may_be_made_in_parts(monkeypatch):
    """Programs of an earlier plan are kept where it is of the same run, and nothing is said of the step before all are
    there.
    """
    monkeypatch.setattr(runs, "architecture", lambda request: ("tiny", TINY))
    request = runs.Request(
        tiny_config(method="sft"), "tiny.py", Topology.parse("cpu:1"), pixels=32 * 32, answer_tokens=16
    )
    part = runs.plan(dataclasses.replace(request, programs=("apply",)))
    assert list(part["programs"]) == ["apply"] and not part["complete"]
    assert part["missing"] == ["update"]
    both = runs.plan(dataclasses.replace(request, programs=("update",)), earlier=json.loads(json.dumps(part)))
    assert list(both["programs"]) == ["update", "apply"] and both["complete"] and not both["missing"]
    for other in (dict(micro_prompts=4), dict(lora_rank=8)):
        config = tiny_config(method="sft")
        config["model" if "lora_rank" in other else "train"].update(other)
        assert list(
            runs.plan(dataclasses.replace(request, config=config, programs=("apply",)), earlier=both)["programs"]
        ) == ["apply"]
    saved = []
    runs.plan(request, save=saved.append)
    assert [record["missing"] for record in saved] == [["apply"], []]  # an interrupted plan leaves what it has
    with pytest.raises(ValueError, match="this recipe has update, apply, not decode"):
        runs.plan(dataclasses.replace(request, programs=("decode",)))


def test_proofs_go_on_where_they_were_interrupted(monkeypatch, tmp_path):
    """Complete plans stay, of one in part only what is missing is compiled, --force makes all again."""
    asked = []

    def compile(command, check):
        options = dict(option.removeprefix("--").split("=", 1) for option in command[2:])
        asked.append((options["config"], options["programs"]))
        Path(options["out"]).write_text(
            json.dumps({"complete": options["config"] != "b.py", "missing": ["decode"], "fits": True})
        )

    monkeypatch.setattr(proofs, "RESULTS", tmp_path)
    monkeypatch.setattr(proofs, "PROOFS", (("a.py", "v5e:2x2", ()), ("b.py", "v5e:2x2", ())))
    monkeypatch.setattr(proofs.subprocess, "run", compile)
    monkeypatch.setattr(proofs, "table", lambda records: "")
    assert proofs.remake(force=False) == 1 and asked == [("a.py", ""), ("b.py", "")]
    assert proofs.remake(force=False) == 1 and asked[2:] == [("b.py", "decode")]
    proofs.remake(force=True)
    assert asked[3:] == [("a.py", ""), ("b.py", "")]
    frames = proofs.result_file("a.py:sft", "v5e:2x2", ("--config.data.frames=64", "--pictures=1"))
    assert frames.name == "a_sft_64_frames_v5e_2x2.json"  # plans of one recipe differ by their clips


def test_a_tiny_run_is_planned_from_the_trainers_own_programs():
    setup = abstract_setup(tiny_run(micro_answers=2), TINY, None)
    topology, work = Topology.parse("cpu:1"), Work(32 * 32, 16)
    programs = training_programs(setup, work) + rollout_programs(setup, work)
    assert [(p.name, p.calls) for p in programs] == [
        ("update", 4),
        ("apply", 1),
        ("logprobs", 2),
        ("prefill", 2),
        ("decode", 32),
    ]
    assert programs[0].row == (256, 2, 15) and programs[2].row == (
        256,
        4,
        15,
    )  # the update takes two answers a pass, the reference all
    measured = [measure(p, setup, topology, work) for p in programs if p.name in ("apply", "logprobs")]
    assert measured[1].flops > 0 and measured[1].arguments_gib > 0
    params = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(setup.start.params))
    assert measured[1].resident_gib * 2**30 == pytest.approx(
        3 * 4 * params, rel=0.01
    )  # two moments and the policy beside the reference
    for program, found in zip(programs[1:3], measured):  # told without compiling, too
        held = found.arguments_gib + found.resident_gib
        assert held_bytes(program, setup) / 2**30 == pytest.approx(held, rel=0.01)
    record = plan_record(plan_facts("tiny.py", "tiny", topology, setup, work), topology, setup, work, measured, 1.0)
    assert record["fits"] is None and "step" not in record  # nothing is claimed of a chip whose rates are not known
    assert "logprobs" in plan_text(record)


def test_supervised_methods_are_planned_from_theirs():
    work = Work(32 * 32, 16)
    for method, expected, answers in (
        ("sft", [("update", 2), ("apply", 1)], 1),
        ("dpo", [("update", 2), ("apply", 1), ("logprobs", 2)], 2),
    ):
        setup = abstract_setup(tiny_run(method=method), TINY, None)
        programs = training_programs(setup, work)
        assert [(p.name, p.calls) for p in programs] == expected and programs[0].row == (256, answers, 15)
        update = measure(programs[0], setup, Topology.parse("cpu:1"), work)
        params = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(setup.start.params))
        assert update.resident_gib * 2**30 == pytest.approx(
            (3 if setup.method.keeps_reference else 2) * 4 * params, rel=0.01
        )  # moments, and DPO's reference
        assert 1.0 < update.model_ratio < 3.0


def test_rooflines_verdict_and_cost_come_from_the_chips_rates():
    setup = abstract_setup(tiny_run(), TINY, None)
    topology, work = Topology.parse("v5e:4x4"), Work(32 * 32, 16)
    one = measure(training_programs(setup, work)[1], setup, Topology.parse("cpu:1"), work)
    slow = dataclasses.replace(
        one, seconds={"compute": 2.0, "memory": 1.0, "links": 0.5}, calls_a_step=3, total_gib=20.0
    )
    record = plan_record(plan_facts("tiny.py", "tiny", topology, setup, work), topology, setup, work, [slow], price=1.2)
    assert record["step"]["seconds_at_least"] == 6.0 and record["fits"] is False
    assert record["step"]["cost_of_1000_steps_at_half_rate"] == pytest.approx(1000 * 12 / 3600 * 16 * 1.2)
    assert "DOES NOT FIT: apply needs 20.00 of 15.75 GiB" in plan_text(record)


def test_alternatives_start_with_what_costs_least():
    @dataclasses.dataclass
    class Asked:
        config = li2025_qwen2_5_vl_7b.get_config()
        topology = Topology.parse("v5e:4x4")

    first, *_, last = list(alternatives(Asked(), "update"))
    assert as_flags(first) == "--config.train.micro_prompts=16" and last["optimizer__moments"] == "int8"
    first, second, *_ = alternatives(Asked(), "decode")
    assert as_flags(first) == "--config.rollout.max_slots=512" and as_flags(second) == "--config.rollout.max_slots=256"
    strict_settings = li2025_qwen2_5_vl_7b.get_config()
    for key in last:
        section, field = key.split("__")
        assert field in strict_settings[section]


def test_what_does_not_fit_is_tried_again_alone(monkeypatch):
    request = runs.Request(
        li2025_qwen2_5_vl_7b.get_config(), "configs/li2025_qwen2_5_vl_7b.py", Topology.parse("v5e:4x4")
    )
    tried = []

    def plan(asked, say=None):
        tried.append(asked)
        if len(tried) == 1:
            raise runs.DoesNotFit("update", "update does not fit: Used 20G of 15.75G hbm")
        return {"fits": len(tried) == 3}

    monkeypatch.setattr(search, "plan", plan)
    assert search.nearest(request, "update").startswith(
        "nearest configuration that fits: --config.train.micro_prompts=16 --config.train.micro_answers="
    )
    assert all(asked.programs == ("update",) for asked in tried)
    monkeypatch.setattr(search, "plan", lambda asked: {"fits": False})
    assert "no configuration" in search.nearest(request, "update")


def test_where_the_state_alone_does_not_fit_nothing_is_compiled(monkeypatch):
    """Minutes of compiling cannot help then; moments of a byte can."""
    monkeypatch.setattr(runs, "architecture", lambda request: ("tiny", TINY))
    request = runs.Request(tiny_config(method="sft"), "t.py", Topology.parse("cpu:1"), pixels=32 * 32, answer_tokens=16)
    compiled: list[str] = []

    def measure(program, setup, topology, work):
        compiled.append(setup.run.optimizer.moments)
        return Measured(program.name, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, {}, "", {}, {}, 0)

    monkeypatch.setattr(runs, "measure", measure)
    _, setup, work = runs.setup_of(request)
    held = held_bytes(training_programs(setup, work)[0], setup)
    assert runs.plan(request)["missing"] == [] and compiled == ["float32"] * 2
    monkeypatch.setitem(chips.CHIPS, "cpu", chips.Chip(1e9, 0.8 * held, 1e9, 1e9))
    with pytest.raises(runs.DoesNotFit, match=r"update is given 0.0 of 0.0 GiB before it begins"):
        runs.plan(request)
    assert len(compiled) == 2
    line = search.nearest(request, "update")
    assert line.startswith("nearest configuration that fits: ") and line.endswith("--config.optimizer.moments=int8")
    assert compiled[2:] == ["int8"]
    monkeypatch.setitem(chips.CHIPS, "cpu", chips.Chip(1e9, 1.0, 1e9, 1e9))
    assert "no configuration" in search.nearest(request, "update") and len(compiled) == 3


def test_a_search_ranks_what_fits_by_time(monkeypatch):
    """Least seconds first, parts of a plan are said to be that, what does not fit or compile comes last with its
    reason.
    """
    request = runs.Request(li2025_qwen2_5_vl_7b.get_config(), "li.py", Topology.parse("v5e:4x4"), programs=("update",))
    tried, said, policies = list(search.candidates(request)), [], []
    assert {
        "mesh__data": 2,
        "mesh__fsdp": 4,
        "mesh__tensor": 2,
        "train__micro_prompts": 8,
        "train__micro_answers": 4,
    } in tried
    assert all(s["mesh__data"] * s["mesh__fsdp"] * s["mesh__tensor"] == 16 for s in tried)

    def plan(asked, say=None, earlier=None):
        tensor, data = asked.config.mesh.tensor, asked.config.mesh.data
        policies.append(asked.config.model.remat)
        if data == 8:
            raise runs.DoesNotFit("update", "update does not fit: Used 20G of 15.75G hbm")
        measured = {"seconds": {"compute": 10.0 * data, "links": 1.0}, "calls_a_step": tensor}
        return {
            "programs": {"update": measured},
            "complete": False,
            "missing": [],
            "fits": data != 4 and asked.config.model.remat not in ("none", "dots"),
            "largest_gib": 9.0,
            "largest_program": "update",
        }

    monkeypatch.setattr(search, "plan", plan)
    lines = search.ranking(request, said.append).splitlines()
    assert len(lines) == len(tried) == len(said) and said[0].startswith(f"[1/{len(tried)}]") and "min left" in said[-1]
    assert (
        "data=1 --config.mesh.fsdp=16 --config.mesh.tensor=1" in lines[0]
        and "--config.model.remat=attention: at least 10 s a step of update, 9.0 GiB" in lines[0]
    )
    assert policies[:4] == ["full", "none", "dots", "attention"]  # the least that fits, once it is known that one does
    assert "does not fit" in lines[-1] and "does not fit" not in lines[len(lines) // 2 - 1]


def test_meshes_that_break_tiles_are_named():
    devices = jax.devices()
    whole = mesh_advice(abstract_setup(tiny_run(micro_prompts=4), TINY, make_mesh({"data": 2, "fsdp": 4}, devices)))
    assert whole == ""
    broken = mesh_advice(abstract_setup(tiny_run(micro_prompts=4), TINY, make_mesh({"fsdp": 8}, devices)))
    assert "width 64 over fsdp 8 leaves shards of 8 rows" in broken and "--config.mesh.data=2" in broken


def test_a_text_without_an_entry_is_told_in_one_line():
    with pytest.raises(RuntimeError, match="no ENTRY computation"):
        hlo.collectives("HloModule sparse_core\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v9:2x2", "use one of v4, v5e"),
        ("v5e:axb", "2 sizes of 1 or more, at most 256 chips together, e.g. v5e:8x8"),
        ("v5e:0x2", "e.g. v5e:8x8"),
        ("v5e:64x64", "at most 256 chips"),
        ("v5e:4x4x4", "2 sizes"),
        ("v5p", "3 sizes of 1 or more, at most 8,960 chips together, e.g. v5p:4x4x4"),
        ("v5p:8", "3 sizes"),
        ("v6e:-2x-2", "e.g. v6e:8x8"),
        ("tpu7x:9" + "9" * 5000, "e.g. tpu7x:4x4x4"),
        ("h100:0", "the number of cards of one host, 1 to 8, e.g. h100:8"),
        ("h100:2x2", "1 to 8, e.g. h100:8"),
        ("rtx4090:-1", "e.g. rtx4090:8"),
        ("cpu:0", "a number of devices, 1 to 1,024, e.g. cpu:8"),
        ("cpu:2x4", "e.g. cpu:8"),
        ("cpu:100000", "1 to 1,024"),
        ("gpu:-1", "e.g. gpu:8"),
    ],
)
def test_a_wrong_topology_is_told_with_what_its_kind_allows(text, words):
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        Topology.parse(text)
    assert str(raised.value).startswith(f"--topology={text}: ") and "\n" not in str(raised.value)


def test_the_process_is_prepared_for_the_topology_however_it_is_given():
    """--topology cpu:8 left the process one device, and the plan said that there are not enough. In a process of its
    own: the verb's flags are those of other verbs, too.
    """
    ways = [["--topology=cpu:3"], ["--topology", "cpu:3"], ["--topology=v5e:2x2", "-topology=cpu:3"]]
    code = (
        "import os; from launch.plan import prepare\n"
        f"for given in {ways}:\n"
        "    os.environ.pop('XLA_FLAGS', None); prepare(['--config=a.py', *given]); print(os.environ['XLA_FLAGS'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("device_count=3") == len(ways)


@pytest.mark.parametrize(
    ("recipe", "given", "name"),
    [
        ("configs/debug_cpu.py", "", "quickstart_policy"),
        ("configs/debug_gpu.py", "", "qwen2_5_vl_3b"),
        ("configs/debug_gpu.py", "configs/quickstart_policy", "quickstart_policy"),
        ("configs/li2025_qwen2_5_vl_7b.py", "configs/quickstart_policy", "qwen2_5_vl_7b"),
    ],
)
def test_a_recipe_is_planned_for_the_model_it_is_meant_for(recipe, given, name):
    config = ConfigDict({"model": {"path": given}})
    assert runs.architecture(runs.Request(config, recipe, Topology.parse("cpu:1")))[0] == name
