"""A checkpoint by hub name: downloaded once into the hub's cache, weights as safetensors alone; offline it is one line
that says what to do.
"""

import huggingface_hub
import numpy as np
import pytest
import tiny_checkpoints as tiny

from spatial_jax.models import checkpoint_directory, load_pretrained, read_config


def test_a_hub_name_loads_like_its_folder(tmp_path, monkeypatch):
    model = tiny.make(tmp_path, "qwen2_5_vl")
    asked = []

    def download(name, allow_patterns):
        asked.append((name, tuple(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    inputs = tiny.make_inputs(model.config, tiny.CASES["text"])
    np.testing.assert_array_equal(
        load_pretrained("owner/name").logits(**inputs), load_pretrained(tmp_path).logits(**inputs)
    )
    assert asked and all(name == "owner/name" and "*.bin" not in patterns for name, patterns in asked)
    assert read_config("owner/name").family == "qwen2_5_vl"


def test_names_that_lead_nowhere_are_one_line(tmp_path):
    for name, words in (
        (tmp_path / "none", "no such folder"),
        ("owner/never-made-repository", "neither a local folder"),
    ):
        with pytest.raises(FileNotFoundError, match=words) as caught:
            checkpoint_directory(name)
        assert "\n" not in str(caught.value)
