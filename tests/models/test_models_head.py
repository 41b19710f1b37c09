"""The head as transformers decides it: what config.json ties, at the root or in text_config, and what the files
hold.
"""

import itertools
import json

import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from safetensors.torch import load_file, save_file

from spatial_jax.models import load_pretrained, save_pretrained

STATED = (None, False, True)


def write(folder, family, root, nested, head, embeddings=True):
    """A checkpoint whose config.json ties at the root and in text_config as stated (None: not at all), with a head of
    its own ("own"), a copy of the embeddings ("copy") or none (None).
    """
    tiny.make(folder, family, tied=False)
    config = json.loads((folder / "config.json").read_text())
    for section, stated in ((config, root), (config["text_config"], nested)):
        section.pop("tie_word_embeddings", None)
        if stated is not None:
            section["tie_word_embeddings"] = stated
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    table = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    if head == "copy":
        tensors["lm_head.weight"] = tensors[table].clone()
    if head is None:
        del tensors["lm_head.weight"]
    if not embeddings:
        del tensors[table]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def weights(model):
    """(embeddings [v, d], head [v, d]) of a policy or of a torch model."""
    if isinstance(model, torch.nn.Module):
        return [m.weight.detach().numpy() for m in (model.get_input_embeddings(), model.get_output_embeddings())]
    return [np.asarray(model.params["text"]["embed"]["embedding"]), np.asarray(model.model.head()).T]


@pytest.mark.parametrize("family", tiny.FAMILIES)
@pytest.mark.parametrize("head", ["own", "copy", None])
def test_the_head_is_the_one_that_transformers_uses(tmp_path, family, head):
    for root, nested in itertools.product(STATED, STATED):
        tied = root or (nested and family != "qwen3_vl")
        if head is None and not tied:
            continue  # transformers would make a random head; ours is the case below
        folder = tmp_path / f"{root}-{nested}"
        write(folder, family, root, nested, head)
        theirs = weights(tiny.hf_class(family).from_pretrained(folder))
        policy = load_pretrained(folder)
        assert all((a == b).all() for a, b in zip(weights(policy), theirs)), (root, nested)
        assert policy.config.tie_word_embeddings == bool((root or nested) and head != "own")
        save_pretrained(policy, folder / "out")
        again = weights(tiny.hf_class(family).from_pretrained(folder / "out"))
        assert all((a == b).all() for a, b in zip(again, theirs)), (root, nested, "exported")
        assert (
            "lm_head.weight" in load_file(folder / "out" / "model.safetensors")
        ) != policy.config.tie_word_embeddings


def test_a_head_that_is_used_against_config_json_is_said_in_one_line(tmp_path, caplog):
    write(tmp_path, "qwen2_vl", True, None, "own")
    load_pretrained(tmp_path)
    (line,) = [record.getMessage() for record in caplog.records if "head" in record.getMessage()]
    assert str(tmp_path) in line and "lm_head.weight differs" in line and "\n" not in line


def test_a_missing_half_of_a_tied_pair_is_the_other_half(tmp_path):
    write(tmp_path, "qwen2_5_vl", True, None, "own", embeddings=False)
    theirs = weights(tiny.hf_class("qwen2_5_vl").from_pretrained(tmp_path))
    assert all((a == b).all() for a, b in zip(weights(load_pretrained(tmp_path)), theirs))


def test_an_untied_head_that_is_missing_is_refused(tmp_path):
    write(tmp_path, "qwen2_5_vl", False, None, None)
    with pytest.raises(ValueError, match=r"missing lm_head\.weight"):
        load_pretrained(tmp_path)
