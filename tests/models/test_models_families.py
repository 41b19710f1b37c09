"""A family is one record: nothing outside models/families compares its name, and a new one is one file and one line."""

import ast
import dataclasses
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spatial_jax.metrics.flops import model_shape
from spatial_jax.models import ModelConfig, load_pretrained, published_config, published_names
from spatial_jax.models.families import FAMILIES, Size
from spatial_jax.models.families.qwen2_5_vl import QWEN2_5_VL
from spatial_jax.models.hf_config import config_from_hf, config_to_hf
from spatial_jax.models.layout import param_specs
from spatial_jax.models.positions import row_positions

ROOT = Path(__file__).parents[2]


def _tiny() -> Size:
    size = QWEN2_5_VL.sizes["3b"]
    text = dataclasses.replace(
        size.text,
        vocab_size=280,
        hidden_size=32,
        intermediate_size=48,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        mrope_section=(2, 1, 1),
    )
    vision = dataclasses.replace(
        size.vision,
        family="toy_vl",
        depth=2,
        hidden_size=16,
        intermediate_size=24,
        num_heads=2,
        out_hidden_size=32,
        full_attention_blocks=(1,),
    )
    return Size(text, vision, True)


# What a newcomer's file would hold: Qwen2.5-VL's decisions with its own names, a bias, times in words, boxes otherwise.
TOY = dataclasses.replace(
    QWEN2_5_VL,
    name="toy_vl",
    architecture="ToyVLForConditionalGeneration",
    processor_class="ToyVLProcessor",
    processor_mark="toyvlprocessor",
    sizes={"1m": _tiny()},
    tower=dataclasses.replace(
        QWEN2_5_VL.tower, rms_norm=False, patch_bias=True, mlp_names=("mlp.up", "mlp.down"), hidden_act="gelu"
    ),
    timed_steps=True,
    seconds_in_positions=False,
    box_units="thousandths",
)


@pytest.fixture
def toy(monkeypatch):
    """The one line: the family stands in the table."""
    monkeypatch.setitem(FAMILIES, "toy_vl", TOY)
    return published_config("toy_vl_1m")


def test_a_family_of_ones_own_is_trained_from_nothing_shown_a_picture_and_written_back(toy, tmp_path):
    from flax import nnx

    from spatial_jax.models.policy import read_config, save_pretrained
    from spatial_jax.models.qwen_vl import QwenVL, split_model
    from spatial_jax.processing import Processor
    from spatial_jax.processing.fresh import train_tokenizer

    ids = train_tokenizer(["where is the cup"] * 4, 280, tmp_path / "new", family="toy_vl", max_pixels=56 * 56)
    vocabulary = ids.pop("vocab_size")
    config = dataclasses.replace(toy, text=dataclasses.replace(toy.text, vocab_size=vocabulary), **ids)
    params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))[1]
    save_pretrained((config, params), tmp_path / "new", processor_files_from=tmp_path / "new", dtype="float32")
    written = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (written["model_type"], written["architectures"]) == ("toy_vl", ["ToyVLForConditionalGeneration"])
    assert read_config(tmp_path / "new") == config
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "where is the cup"}]}]
    inputs = Processor.from_pretrained(tmp_path / "new")(message, [np.full((56, 56, 3), 99, np.uint8)])
    inputs.pop("mm_token_type_ids")
    logits = load_pretrained(tmp_path / "new", dtype="float32").logits(**inputs)
    assert logits.shape == (*inputs["input_ids"].shape, vocabulary) and np.isfinite(logits).all()


def test_its_decisions_are_the_records(toy):
    specs = {spec.hf_name: spec for spec in param_specs(toy)}
    assert "visual.patch_embed.proj.bias" in specs and "visual.blocks.{i}.norm1.bias" in specs
    assert "visual.blocks.{i}.mlp.up.weight" in specs and "visual.blocks.{i}.mlp.gate_proj.weight" not in specs
    assert model_shape(config_to_hf(toy)).vision_params == 2 * (4 * 16 * 16 + 2 * 16 * 24)
    types = np.array([2] * 4 + [0] + [2] * 4, np.uint8)
    timed, _ = row_positions(types, [(2, 4, 4)], toy, [3.0])
    assert timed[0].tolist() == [0] * 4 + [2] + [3] * 4  # a run a time step, and no seconds in it
    assert toy.traits.box_units == "thousandths" and "toy_vl_1m" in published_names()
    assert config_from_hf({**config_to_hf(toy)}) == toy


def test_an_unknown_family_is_one_line_with_the_names():
    size = QWEN2_5_VL.sizes["3b"]
    with pytest.raises(ValueError, match="'qwen9' is unknown; use one of qwen2_vl, qwen2_5_vl, qwen3_vl"):
        ModelConfig("qwen9", size.text, size.vision)


def test_no_family_is_compared_by_its_name_outside_its_folder():
    found = []
    for name in subprocess.run(
        ["git", "ls-files", "spatial_jax/*.py", "launch/*.py", "data_prep/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split():
        if name.startswith("spatial_jax/models/families/"):
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8"))):
            parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            parts += [key for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
            found += [
                f"{name}:{node.lineno}"
                for part in parts
                for inner in ast.walk(part)
                if isinstance(inner, ast.Constant) and str(inner.value).startswith("qwen") and inner.value != "qwen"
            ]
    assert not found, f"models/families holds what a family decides; ask its record at {found}"
