"""Which files of a folder are its weights, as transformers takes them; stale ones, adapters, damaged weights."""

import json
import shutil

import ml_dtypes
import numpy as np
import pytest
import tiny_checkpoints as tiny
from safetensors.torch import load_file, save_file

from spatial_jax.models import load_pretrained, save_pretrained
from spatial_jax.models.hf_weights import _is_finite, save_params
from spatial_jax.models.safetensors_io import Checkpoint

FAMILY = "qwen2_vl"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """(an old checkpoint in several shards with an index, a new one in one file)."""
    base = tmp_path_factory.mktemp("files")
    tiny.make(base / "whole", FAMILY, seed=1)
    tiny.make(base / "other", FAMILY, seed=2)
    policy = load_pretrained(base / "other")
    save_pretrained(policy, base / "shards")
    assert len(save_params(base / "shards", policy.config, policy.params, shard_bytes=200_000)) > 1
    return base / "shards", base / "whole"


def together(folders, target):
    """Both in one folder."""
    for folder in folders:
        shutil.copytree(folder, target, dirs_exist_ok=True)
    return target


def same(folder):
    """Whether our embeddings and norms are those of transformers' from_pretrained on the folder."""
    theirs = tiny.hf_class(FAMILY).from_pretrained(folder).model.language_model
    ours = load_pretrained(folder).params["text"]
    return all(
        (np.asarray(a) == b.detach().numpy()).all()
        for a, b in (
            (ours["embed"]["embedding"], theirs.embed_tokens.weight),
            (ours["norm"]["scale"], theirs.norm.weight),
        )
    )


def test_one_file_goes_before_an_old_index_and_its_shards_gone_or_not(folders, tmp_path, caplog):
    folder = together(folders, tmp_path / "both")
    assert same(folder) and "model.safetensors is used" in caplog.text
    for path in folder.glob("model-*"):
        path.unlink()
    assert same(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"model-00001-of-.* not there"):
        load_pretrained(folder)


def test_shards_alone_and_the_file_that_config_json_names(folders, tmp_path):
    assert same(folders[0])
    folder = together(folders, tmp_path / "named")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "model.safetensors.index.json"}))
    assert same(folder)
    for name in ("../model.safetensors", 3, "pytorch_model.bin"):
        (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": name}))
        with pytest.raises(ValueError, match="transformers_weights"):
            load_pretrained(folder)


def test_a_tensor_in_two_files_that_are_both_used_is_refused(folders, tmp_path):
    folder = tmp_path / "twice"
    shutil.copytree(folders[0], folder)
    first, second = sorted(folder.glob("model-*"))[:2]
    stolen = load_file(first)
    name = next(iter(stolen))
    save_file({**load_file(second), name: stolen[name] + 1}, second)
    with pytest.raises(ValueError, match=rf"tensor {name} stands in {first.name} and in {second.name}"):
        load_pretrained(folder)
    (folder / "model.safetensors.index.json").unlink()  # neither is it a matter of the later name without an index
    with pytest.raises(ValueError, match=rf"tensor {name} stands in"):
        load_pretrained(folder)


def test_one_tensor_in_two_spellings_is_refused(folders, tmp_path):
    tensors = load_file(folders[1] / "model.safetensors")
    shutil.copytree(folders[1], tmp_path / "spelled")
    tensors["model.language_model.norm.weight"] = tensors["model.norm.weight"] + 1
    save_file(tensors, tmp_path / "spelled" / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\..*norm\.weight and model\..*norm\.weight are the same tensor"):
        load_pretrained(tmp_path / "spelled")


def test_adapters_beside_the_weights_are_named_and_alone_are_no_checkpoint(folders, tmp_path, caplog):
    folder = tmp_path / "adapter"
    shutil.copytree(folders[1], folder)
    save_file({"base_model.model.q.lora_A.weight": load_file(folder / "model.safetensors")["model.norm.weight"]},
              folder / "adapter_model.safetensors")  # fmt: skip
    (folder / "adapter_config.json").write_text("{}")
    Checkpoint(folder)
    assert "adapter_model.safetensors and adapter_config.json beside the weights" in caplog.text
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"adapter_model\.safetensors.*merge the adapter"):
        load_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.1.mlp.up_proj.weight"])
def test_weights_that_are_no_numbers_are_named(folders, tmp_path, value, name):
    tensors = load_file(folders[1] / "model.safetensors")
    tensors[name].reshape(-1)[-1] = value
    shutil.copytree(folders[1], tmp_path / "nan")
    save_file(tensors, tmp_path / "nan" / "model.safetensors")
    with pytest.raises(ValueError, match=rf"1 of \d+ weights of {name} are NaN or infinite"):
        load_pretrained(tmp_path / "nan", dtype="bfloat16")


def test_weights_too_large_for_the_wanted_type_are_named(folders, tmp_path):
    tensors = load_file(folders[1] / "model.safetensors")
    tensors["model.norm.weight"][0] = 1e6
    shutil.copytree(folders[1], tmp_path / "large")
    save_file(tensors, tmp_path / "large" / "model.safetensors")
    load_pretrained(tmp_path / "large", dtype="bfloat16")
    with pytest.raises(ValueError, match=r"model\.norm\.weight .* as float16 \(stored as float32"):
        load_pretrained(tmp_path / "large", dtype="float16")


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_finite_is_told_from_the_bits(dtype):
    rng, kinds = np.random.default_rng(0), [np.nan, -np.nan, np.inf, -np.inf]
    extreme = float(ml_dtypes.finfo(dtype).max)
    for values in ([0.0, -0.0], [extreme, -extreme], [float(ml_dtypes.finfo(dtype).smallest_subnormal)], [], [-1.0]):
        assert _is_finite(np.array(values, dtype))
        for kind in kinds:
            spoilt = [*values, kind]
            rng.shuffle(spoilt)
            assert not _is_finite(np.array(spoilt, dtype))
    assert not _is_finite(np.array([[1, np.nan], [2, 3]], dtype).T)
