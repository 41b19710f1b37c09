"""The rules are the one table of axes, and a config can move one."""

import ast
import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from spatial_jax import config as run_config
from spatial_jax.models.configs import ModelConfig
from spatial_jax.models.qwen_vl import abstract_model
from spatial_jax.models.sharding import model_shardings, tensor_ways
from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.parallel import MESH_AXES, batch_parts, changed_rules, make_mesh, use_rules
from spatial_jax.training.abstract import abstract_setup
from spatial_jax.training.settings import RunConfig
from spatial_jax.training.update import group_axis, place

ROOT = Path(__file__).parents[2]
TINY = ModelConfig(
    "qwen2_5_vl",
    TextConfig(512, 64, 96, 2, 8, 8, 8, 1e-6, 1e6, (2, 1, 1)),
    VisionConfig("qwen2_5_vl", 2, 32, 64, 8, 64, "silu", 14, window_size=112, full_attention_blocks=(1,)),
)


def specs(rules):
    mesh = make_mesh({"data": 2, "fsdp": 4})
    with use_rules(changed_rules(rules)):
        _, params = abstract_model(TINY, "float32", "float32")
        shardings = model_shardings(TINY, params, mesh)
        batch = place({"tokens": np.zeros((8, 4), np.int32)}, mesh, group_axis)
        return shardings, batch["tokens"].sharding.spec, batch_parts(mesh)


def test_a_config_moves_an_axis():
    plain, batch, parts = specs(())
    assert plain["text"]["embed"]["embedding"].spec == jax.P(None, "fsdp")  # a tensor axis of one device cuts nothing
    assert batch == jax.P(("data", "fsdp")) and parts == 8
    moved, batch, parts = specs(("vocab=fsdp", "embed=", "batch=data", "patches=data"))
    assert moved["text"]["embed"]["embedding"].spec == jax.P("fsdp", None)
    assert batch == jax.P("data") and parts == 2


def test_a_run_is_laid_out_by_its_own_rules():
    run = run_config.strict({"mesh": {"rules": ("embed=data",), "data": 8, "fsdp": 1}})
    with use_rules(changed_rules(run.mesh.rules)):
        setup = abstract_setup(dataclasses.replace(run), TINY, make_mesh(run.mesh.sizes))
    embedding = setup.start.params["text"]["embed"]["embedding"]
    assert "data" in jax.tree.leaves(tuple(embedding.sharding.spec))


def test_what_the_model_divides_over_follows_the_rules():
    assert tensor_ways(TINY) == 8
    with use_rules(changed_rules(("kv_heads=", "heads=", "vision_heads=", "vocab=", "vision_mlp="))):
        assert tensor_ways(TINY) == 96  # the text's hidden units alone


@pytest.mark.parametrize(
    ("rule", "words"),
    [("vocabulary=fsdp", "must be AXIS=MESH_AXIS with one of batch"), ("vocab=pipeline", "'pipeline' is no axis")],
)
def test_a_rule_that_names_nothing_is_one_line(rule, words):
    with pytest.raises(ValueError, match=f"config.mesh.rules: .*{words}") as error:
        run_config.strict({"mesh": {"rules": (rule,)}})
    assert "\n" not in str(error.value)


def test_no_other_file_writes_down_how_arrays_are_cut():
    """PartitionSpecs that name mesh axes stand in parallel/ alone."""
    found = []
    for path in (ROOT / "spatial_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())) if path.parent.name != "parallel" else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "PartitionSpec":
                words = {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}
                found += [f"{path.name}:{node.lineno}"] if words & {*MESH_AXES} else []
            if isinstance(node, ast.Tuple) and [getattr(item, "value", "") for item in node.elts] == ["data", "fsdp"]:
                found.append(f"{path.name}:{node.lineno}")
    assert not found


def test_settings_and_mesh_have_the_same_axes():
    assert tuple(RunConfig().mesh.sizes) == MESH_AXES
