"""A checkpoint written over an older one, killed anywhere: the old one whole or the new one whole, never a mixture."""

import hashlib
import json
import os

import numpy as np
import pytest
from flax import nnx

from spatial_jax.data.fresh import tiny_qwen2_5_vl
from spatial_jax.models import load_pretrained, save_pretrained, whole_folder
from spatial_jax.models.hf_weights import save_params
from spatial_jax.models.qwen_vl import QwenVL, split_model
from tests.kills import killed_at

CONFIG = tiny_qwen2_5_vl(64)


@pytest.fixture(scope="module")
def params():
    return [split_model(QwenVL(CONFIG, rngs=nnx.Rngs(seed)))[1] for seed in (0, 1)]


@pytest.fixture
def older(tmp_path, params):
    """An export in several shards, with a tokenizer, and a file that is not the export's."""
    folder, source = tmp_path / "export", tmp_path / "source"
    save_pretrained((CONFIG, params[0]), folder)
    save_params(folder, CONFIG, params[0], shard_bytes=2_000_000)
    (folder / "chat_template.json").write_text("old")
    (folder / "notes.txt").write_text("mine")
    source.mkdir()
    (source / "tokenizer_config.json").write_text("new")
    return folder, source


def contents(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "notes.txt"
    }


def test_a_kill_at_every_file_operation_leaves_one_whole(older, params):
    folder, source = older
    old = contents(folder)
    killed = at = 0
    while True:
        with killed_at(folder.parent, at) as kill:
            save_pretrained((CONFIG, params[1]), folder, processor_files_from=source)
        now = contents(folder)
        assert (folder / "notes.txt").read_text() == "mine"
        if now != old:  # the exchange has been: what follows is tidying
            assert json.loads((folder / "config.json").read_text()) and "chat_template.json" not in now
            assert set(now) == {"config.json", "model.safetensors", "tokenizer_config.json"}
            break
        killed, at = killed + kill.dead, at + 1
    assert killed > 5 and at < 60
    save_pretrained((CONFIG, params[1]), folder, processor_files_from=source)
    assert contents(folder) == now and not list(folder.parent.glob(".export.*"))
    embedding = load_pretrained(folder).params["text"]["embed"]["embedding"]
    assert np.array_equal(embedding, params[1]["text"]["embed"]["embedding"])


def test_where_names_cannot_be_exchanged_a_kill_leaves_a_folder_that_is_refused(older, params, monkeypatch):
    folder, source = older
    old = contents(folder)
    monkeypatch.setattr(whole_folder, "_exchange", lambda one, other: False)
    refused = at = 0
    while True:
        with killed_at(folder.parent, at) as kill:
            save_pretrained((CONFIG, params[1]), folder, processor_files_from=source)
        if not kill.dead:
            break
        if not (folder / "config.json").exists():
            refused += 1
            with pytest.raises((ValueError, OSError), match=r"config|not there; download"):
                load_pretrained(folder)
        else:
            assert contents(folder) == old or set(contents(folder)) == {
                "config.json",
                "model.safetensors",
                "tokenizer_config.json",
            }
        at += 1
    assert refused and (folder / "notes.txt").read_text() == "mine" and "chat_template.json" not in contents(folder)


def test_a_failure_leaves_the_old_one_and_nothing_beside(older, params, monkeypatch):
    folder, source = older
    old = contents(folder)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spatial_jax.models.policy.config_to_hf", full)
    with pytest.raises(OSError, match="No space left"):
        save_pretrained((CONFIG, params[1]), folder, processor_files_from=source)
    assert contents(folder) == old and not list(folder.parent.glob(".export.*"))


def test_a_linked_folder_stays_linked_and_may_be_its_own_source(tmp_path, params):
    real = tmp_path / "disk" / "real"
    real.mkdir(parents=True)
    (real / "tokenizer.json").write_text("words")
    (tmp_path / "export").symlink_to(real)
    for _ in range(2):
        save_pretrained((CONFIG, params[0]), tmp_path / "export", processor_files_from=real)
    assert (tmp_path / "export").is_symlink() and os.listdir(tmp_path / "disk") == ["real"]
    assert (real / "tokenizer.json").read_text() == "words" and (real / "model.safetensors").is_file()
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        save_pretrained((CONFIG, params[0]), tmp_path / "file")
