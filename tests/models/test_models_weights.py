"""Import and export: both key spellings, both config styles, bit-exact round trips, errors that say everything at
once.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import psutil
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file

from spatial_jax.models import (
    ModelConfig,
    TextConfig,
    VisionConfig,
    abstract_model,
    config_from_hf,
    config_to_hf,
    count_params,
    hf_weights,
    load_pretrained,
    model_shardings,
    published_config,
    published_names,
    save_pretrained,
)
from spatial_jax.models.hf_weights import load_params, save_params
from spatial_jax.models.safetensors_io import Checkpoint, SafetensorsFile
from spatial_jax.parallel import make_mesh

TOTALS = {
    "qwen2_vl_2b": 2.209,
    "qwen2_vl_7b": 8.291,
    "qwen2_5_vl_3b": 3.755,
    "qwen2_5_vl_7b": 8.292,
    "qwen2_5_vl_32b": 33.453,
    "qwen2_5_vl_72b": 73.411,
    "qwen3_vl_2b": 2.128,
    "qwen3_vl_4b": 4.438,
    "qwen3_vl_8b": 8.767,
    "qwen3_vl_32b": 33.357,
}


@pytest.mark.parametrize("name", published_names())
def test_published_sizes_have_the_published_totals_and_survive_config_json(name):
    config = published_config(name)
    if name in TOTALS:
        assert round(count_params(config) / 1e9, 3) == pytest.approx(TOTALS[name], abs=1.1e-3)
    again = config_from_hf(json.loads(json.dumps(config_to_hf(config))))
    assert again == config


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_flat_and_nested_configs_mean_the_same(family):
    nested = tiny.hf_config(family, tied=True).to_dict()
    config = config_from_hf(nested)
    assert config.tie_word_embeddings and config.text.rope_theta == (5e6 if family == "qwen3_vl" else 1e6)
    assert config_from_hf(config_to_hf(config)) == config


def test_configs_that_cannot_be_served_are_refused_with_the_field():
    good = config_to_hf(published_config("qwen2_5_vl_3b"))
    for change, message in (
        ({"model_type": "llava"}, "model_type 'llava'"),
        ({"num_attention_heads": None}, "num_attention_heads is missing"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rope_scaling": {"type": "yarn"}}, "rope type 'yarn'"),
    ):
        with pytest.raises(ValueError, match=message):
            config_from_hf({**good, **change})


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
def test_import_then_export_is_bit_exact_and_transformers_reads_it(tmp_path, family, tied):
    tiny.make(tmp_path / "in", family, tied).bfloat16().save_pretrained(tmp_path / "in")
    model = tiny.hf_class(family).from_pretrained(tmp_path / "in", dtype=torch.bfloat16).eval()
    policy = load_pretrained(tmp_path / "in", dtype="bfloat16")
    original = load_file(tmp_path / "in" / "model.safetensors")
    save_pretrained(policy, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert set(written) == set(original) - ({"lm_head.weight"} if tied else set())
    assert all(torch.equal(written[name].view(torch.int16), original[name].view(torch.int16)) for name in written)
    inputs = tiny.to_torch(tiny.make_inputs(model.config, tiny.CASES["two_images"]))
    for style in ("v4", "v5"):
        save_pretrained(policy, tmp_path / style, style=style)
        if family != "qwen3_vl" or style == "v5":  # transformers knows one spelling of Qwen3-VL; we read both
            again = tiny.hf_class(family).from_pretrained(tmp_path / style, dtype=torch.bfloat16).eval()
            with torch.no_grad():
                assert torch.equal(again(**inputs).logits, model(**inputs).logits)
        for path, leaf in jax.tree_util.tree_leaves_with_path(
            load_pretrained(tmp_path / style, dtype="bfloat16").params
        ):
            expected = policy.params
            for key in path:
                expected = expected[key.key]
            np.testing.assert_array_equal(np.asarray(leaf).view(np.int16), np.asarray(expected).view(np.int16))


def test_several_shards_with_an_index(tmp_path):
    tiny.make(tmp_path / "in", "qwen2_5_vl")
    policy = load_pretrained(tmp_path / "in")
    files = save_params(tmp_path / "out", policy.config, policy.params, shard_bytes=200_000)
    assert len(files) > 2
    again = load_params(Checkpoint(tmp_path / "out"), policy.config)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), again, policy.params))
    files[1].unlink()
    with pytest.raises(FileNotFoundError, match=files[1].name):
        Checkpoint(tmp_path / "out")


def test_one_error_lists_missing_unexpected_and_misshaped_tensors(tmp_path):
    tiny.make(tmp_path, "qwen2_5_vl")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    tensors["model.extra.weight"] = torch.zeros(2)
    tensors["visual.merger.mlp.0.bias"] = torch.zeros(3)
    save_file(tensors, path)
    with pytest.raises(ValueError) as error:
        load_pretrained(tmp_path)
    for words in (
        "3 tensors",
        "missing text.norm.weight",
        "unexpected model.extra.weight",
        "visual.merger.mlp.0.bias has shape (3,)",
    ):
        assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_and_corrupt_files_are_named(tmp_path):
    tiny.make(tmp_path, "qwen2_vl")
    path = tmp_path / "model.safetensors"
    data = path.read_bytes()
    for damaged in (data[:-1], data[:100], b"", data + b"x", data[:8] + b"?" + data[9:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors"):
            SafetensorsFile(path)
    for header in (
        b"[1, 2]",
        b'{"a": 3}',
        b'{"a": {}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"a": {"dtype": 7, "shape": [1], "data_offsets": [0, 4]}}',
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"0000")
        with pytest.raises(ValueError, match=r"model\.safetensors: its safetensors header is corrupt"):
            SafetensorsFile(path)
    for entries in (
        {"a": [0, 4], "b": [0, 4]},  # one tensor's bytes are no other's: a small file would fill the memory
        {"a": [0, 4], "b": [8, 12]},
    ):
        header = json.dumps({n: {"dtype": "F32", "shape": [1], "data_offsets": o} for n, o in entries.items()}).encode()
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"0" * max(o[1] for o in entries.values()))
        with pytest.raises(ValueError, match="tensor b begins at byte"):
            SafetensorsFile(path)
    for index in (
        "",
        "[]",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": "../b.safetensors"}}',
        '{"weight_map": {"a"',
    ):
        (tmp_path / "model.safetensors.index.json").write_text(index)
        with pytest.raises(ValueError, match=r"model\.safetensors\.index\.json: "):
            Checkpoint(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no \*\.safetensors"):
        path.unlink()
        load_pretrained(tmp_path)


def test_one_device_is_filled_layer_by_layer_too(tmp_path):
    tiny.make(tmp_path, "qwen2_5_vl")
    policy = load_pretrained(tmp_path)
    device = jax.sharding.SingleDeviceSharding(jax.devices()[3])
    streamed = load_params(
        Checkpoint(tmp_path), policy.config, "float32", jax.tree.map(lambda _: device, policy.params)
    )
    assert jax.tree.all(
        jax.tree.map(
            lambda a, b: a.sharding == device and bool((np.asarray(a) == np.asarray(b)).all()), streamed, policy.params
        )
    )


def test_streamed_import_holds_one_tensor_at_a_time(tmp_path, monkeypatch):
    """What the host holds beyond the devices' arrays stays below a few tensors, though the checkpoint is far larger."""
    text = TextConfig(512, 512, 2048, 24, 8, 2, 64, 1e-6, 1e6, (8, 12, 12))
    vision = VisionConfig("qwen2_5_vl", 2, 64, 128, 2, 512, "silu", 4, window_size=16, full_attention_blocks=(1,))
    config = ModelConfig("qwen2_5_vl", text, vision)
    _, shapes = abstract_model(config)
    save_pretrained((config, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)), tmp_path)
    largest = 2048 * 512 * 4
    process, peaks = psutil.Process(), []
    original = hf_weights._read

    def watched(*args):
        tensor = original(*args)
        peaks.append(process.memory_info().rss - sum(a.nbytes for a in jax.live_arrays()))
        return tensor

    monkeypatch.setattr(hf_weights, "_read", watched)
    mesh = make_mesh({"fsdp": 8})
    policy = load_pretrained(tmp_path, mesh=mesh)
    kernel = policy.params["text"]["layers"]["up_proj"]["kernel"]
    assert kernel.addressable_shards[0].data.shape == (24, 64, 2048)
    assert jax.tree.all(
        jax.tree.map(lambda a, s: a.sharding == s, policy.params, model_shardings(config, shapes, mesh))
    )
    # 24 layers of 14 MB pass; the growth may be a handful of tensors and what compiling takes.
    assert max(peaks) - peaks[0] < 8 * largest + 96 * 2**20
