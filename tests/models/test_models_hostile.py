"""Checkpoints from strangers: JSON of another type, without end or with impossible numbers is one line; configs in all
layouts mean what they mean to transformers.
"""

import copy
import json
import random
import shutil
import time

import pytest
import tiny_checkpoints as tiny
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig

from spatial_jax.convert import main
from spatial_jax.models import config_from_hf, config_to_hf, load_pretrained, published_config
from spatial_jax.processing import Processor
from spatial_jax.processing.fresh import train_tokenizer

DEEP = "[" * 100_000 + "]" * 100_000
DEEP_OBJECT = '{"a":' * 100_000 + "1" + "}" * 100_000
FOREIGN = (DEEP, DEEP_OBJECT, "[]", "3", '"text"', "null", "NaN", "", "{", "\ufeff{}", '{"a": ' + "9" * 5000 + "}")
FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "processor_config.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "chat_template.json",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    ids = train_tokenizer(["How far is the chair?"] * 20, 400, folder)
    config = config_to_hf(published_config("qwen2_5_vl_3b")) | {"vocab_size": ids.pop("vocab_size")}
    (folder / "config.json").write_text(json.dumps({**config, **ids}))
    return folder


def refused(folder):
    """The one line with which a processor is refused, or None."""
    try:
        Processor.from_pretrained(folder)
    except (ValueError, OSError) as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        return str(error)
    return None


@pytest.mark.parametrize("name", FILES)
def test_json_of_another_kind_or_without_end_is_one_line_that_names_the_file(folder, tmp_path, name):
    shutil.copytree(folder, tmp_path / "p")
    for text in FOREIGN:
        (tmp_path / "p" / name).write_text(text)
        line = refused(tmp_path / "p")
        assert line and name in line, (text[:20], line)
    (tmp_path / "p" / name).write_bytes(b'{"a": "\xff"}')
    assert name in (refused(tmp_path / "p") or "")


VALUES = ("x", -1, 0, 1.5, True, [], [1], {}, {"a": 1}, 10**30, 1e400, "9" * 300)


@pytest.mark.parametrize("name", [name for name in FILES if name != "tokenizer.json"])
def test_fields_of_wrong_types_are_one_line_or_harmless(folder, tmp_path, name):
    """Each field of each file, one after the other, of each other type."""
    shutil.copytree(folder, tmp_path / "p")
    path = tmp_path / "p" / name
    stated = json.loads(path.read_text()) if path.exists() else {"image_processor": {"patch_size": 14}}
    places = [(key,) for key in stated]
    places += [(k, i) for k, v in stated.items() if isinstance(v, dict) for i in list(v)[:20]]
    for place in places:
        for value in VALUES:
            changed = copy.deepcopy(stated)
            section = changed if len(place) == 1 else changed[place[0]]
            section[place[-1]] = value
            path.write_text(json.dumps(changed))
            refused(tmp_path / "p")


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_sizes_of_wrong_types_are_one_line_or_harmless(tmp_path, family):
    """Each field of config.json against the files it comes with."""
    tiny.make(tmp_path, family)
    stated = json.loads((tmp_path / "config.json").read_text())
    places = [(section, key) for section in ("text_config", "vision_config") for key in stated[section]]
    rng = random.Random(family)
    for section, key in [*places, ("text_config", "rope_scaling")]:
        for value in rng.sample([*VALUES, 10**9, 10**6, None, 7], 5):
            changed = copy.deepcopy(stated)
            changed[section][key] = value
            (tmp_path / "config.json").write_text(json.dumps(changed))
            try:
                load_pretrained(tmp_path)
            except ValueError as error:
                assert "\n" not in str(error) and len(str(error)) < 6000, (key, value)


@pytest.mark.parametrize(
    "key, value, message",
    [
        (
            "num_hidden_layers",
            10**9,
            r"the files hold 3 of text\.layers\.\*, config\.json's num_hidden_layers says 10{9}",
        ),
        ("num_hidden_layers", 4, "num_hidden_layers says 4"),
        ("vocab_size", 10**12, "vocab_size is 1000000000000, need a whole number"),
        ("hidden_size", "64", "hidden_size is '64', need a whole number"),
        ("num_attention_heads", 0, "num_attention_heads is 0"),
        ("num_key_value_heads", True, "num_key_value_heads is True"),
        ("rms_norm_eps", [1e-6], r"rms_norm_eps is \[1e-06\], need a finite number"),
        ("rope_parameters", [1], r"rope_parameters is \[1\], need an object"),
        ("intermediate_size", 10**8, "has shape"),
    ],
)
def test_a_config_that_does_not_fit_the_files_is_refused_at_once(tmp_path, capsys, key, value, message):
    tiny.make(tmp_path, "qwen2_5_vl")
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"][key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as error:
        load_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value) and "\n" not in str(error.value)
    assert main(["--from", str(tmp_path), "--to_hf", str(tmp_path / "out")]) == 2
    assert time.perf_counter() - start < 20 and capsys.readouterr().err.count("convert: ") == 1


def test_depths_of_the_tower_are_compared_with_the_files_too(tmp_path):
    tiny.make(tmp_path, "qwen3_vl")
    stated = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"depth": 10**9}, "vision_config.depth says 10"),
        ({"deepstack_visual_indexes": [0, 1, 2]}, "deepstack_visual_indexes says 3"),
        ({"deepstack_visual_indexes": [0, 7]}, "must lie below the depth 4"),
        ({"hidden_act": 3}, "hidden_act is 3, need a string"),
    ):
        config = copy.deepcopy(stated)
        config["vision_config"].update(change)
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=message):
            load_pretrained(tmp_path)


ROPE = st.fixed_dictionaries(
    {},
    optional={
        "rope_theta": st.sampled_from([1e4, 5e5, 1e6]),
        "rope_scaling": st.sampled_from(
            [
                {"type": "mrope", "mrope_section": [2, 3, 3]},
                {"type": "mrope", "mrope_section": [4, 2, 2], "rope_theta": 3e4},
                {"rope_type": "default", "mrope_section": [1, 1, 6]},
            ]
        ),
        "rope_parameters": st.sampled_from(
            [
                {"rope_type": "default", "rope_theta": 2e5, "mrope_section": [3, 3, 2]},
                {"rope_type": "default", "mrope_section": [6, 1, 1]},
            ]
        ),
        "tie_word_embeddings": st.booleans(),
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    family=st.sampled_from(tiny.FAMILIES),
    inner=ROPE.filter(lambda rope: "rope_scaling" in rope or "rope_parameters" in rope),
    outer=ROPE,
    flat=st.booleans(),
    dtype=st.sampled_from(["torch_dtype", "dtype"]),
)
def test_configs_of_all_layouts_mean_what_they_mean_to_transformers(tmp_path, family, inner, outer, flat, dtype):
    stated = tiny.hf_config(family).to_dict()
    for section in (stated, stated["text_config"]):
        for key in ("rope_parameters", "tie_word_embeddings", "dtype"):
            section.pop(key, None)
    stated["text_config"] |= inner
    if family == "qwen3_vl":
        stated["text_config"]["head_dim"] = 16
    stated |= {dtype: "bfloat16"}
    if flat and family != "qwen3_vl":
        text = stated.pop("text_config")
        stated = {**{k: v for k, v in text.items() if k != "model_type"}, **stated}
    else:
        stated |= outer  # what stands at the root beside a nested decoder
    (tmp_path / "config.json").write_text(json.dumps(stated))
    theirs = AutoConfig.from_pretrained(tmp_path)
    ours = config_from_hf(stated)
    rope = theirs.text_config.rope_parameters
    assert (ours.text.rope_theta, list(ours.text.mrope_section)) == (rope["rope_theta"], rope["mrope_section"])
    nested_tie = family == "qwen3_vl" and stated["text_config"].get("tie_word_embeddings", False)
    assert ours.tie_word_embeddings == (theirs.tie_word_embeddings or nested_tie)
    assert ours.text.num_layers == theirs.text_config.num_hidden_layers
    (tmp_path / "config.json").write_text(json.dumps(config_to_hf(ours)))
    again = AutoConfig.from_pretrained(tmp_path)
    assert again.text_config.rope_parameters["rope_theta"] == rope["rope_theta"]
    assert again.text_config.rope_parameters["mrope_section"] == rope["mrope_section"]
    assert again.tie_word_embeddings == ours.tie_word_embeddings
    assert str(again.dtype) == "torch.bfloat16"
