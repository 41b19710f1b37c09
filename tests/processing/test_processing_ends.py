"""What ends an answer and what fills places: targets end as the template closes turns, all stated ids stop, one padding
id everywhere.
"""

import json

import numpy as np
import pytest
import tiny_checkpoints as tiny

from spatial_jax.models import config_from_hf, config_to_hf, load_pretrained, published_config
from spatial_jax.models.end_ids import pad_id
from spatial_jax.processing import Processor
from spatial_jax.processing.fresh import train_tokenizer


@pytest.fixture
def folder(tmp_path):
    ids = train_tokenizer(["How far is the chair?"] * 20, 400, tmp_path)
    config = config_to_hf(published_config("qwen2_5_vl_3b")) | {"vocab_size": ids.pop("vocab_size")}
    (tmp_path / "config.json").write_text(json.dumps({**config, **ids}))
    return tmp_path


def change(folder, name, **fields):
    stated = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({k: v for k, v in {**stated, **fields}.items() if v != "gone"}))


def ids_of(folder, *texts):
    tokenizer = Processor.from_pretrained(folder).tokenizer
    return [tokenizer.token_id(f"<|{text}|>") for text in texts]


def test_a_target_ends_as_the_template_closes_turns_whatever_is_stated_first(folder):
    end, text, box = ids_of(folder, "im_end", "endoftext", "box_end")
    for stated in ([text, end], [end, text], text, [text], [box, text], "gone"):
        change(folder, "generation_config.json", eos_token_id=stated)
        eos = Processor.from_pretrained(folder).eos_ids
        named = [end] if stated == "gone" else stated if isinstance(stated, list) else [stated]
        assert eos[0] == end and set(eos) == {end, *named} and len(eos) == len(set(eos))


def test_a_template_that_closes_otherwise_gives_its_own_token(folder):
    end, box = ids_of(folder, "im_end", "box_end")
    template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|box_end|>\n{% endfor %}"
    change(folder, "chat_template.json", chat_template=template)
    eos = Processor.from_pretrained(folder).eos_ids
    assert eos[0] == box and end in eos
    change(folder, "chat_template.json", chat_template="{% for m in messages %}{{ m.content }}\n{% endfor %}")
    assert Processor.from_pretrained(folder).eos_ids[0] == end  # closes with no token: the usual one


def test_templates_of_other_tastes_are_asked_in_their_way(folder):
    (end,) = ids_of(folder, "im_end")
    parts = "{% for p in m.content if p.type == 'text' %}{{ p.text }}{% endfor %}"
    turns = "{% for m in messages %}<|im_start|>{{ m.role }}\n" + parts + "<|im_end|>\n{% endfor %}"
    strict = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}" + turns
    for template in (turns, strict):
        change(folder, "chat_template.json", chat_template=template)
        change(folder, "generation_config.json", eos_token_id=3)
        assert Processor.from_pretrained(folder).eos_ids == (end, 3)
    change(folder, "chat_template.json", chat_template="{{ raise_exception('never') }}")
    with pytest.raises(ValueError, match="chat template: never"):
        Processor.from_pretrained(folder)


def test_the_padding_id_is_read_the_same_way_everywhere(folder):
    start, text = ids_of(folder, "box_start", "endoftext")
    for generation, config, expected in ((start, 5, start), ("gone", 5, 5), ("gone", "gone", text), (None, None, text)):
        change(folder, "generation_config.json", pad_token_id=generation)
        change(folder, "config.json", pad_token_id=config)
        read = config_from_hf(json.loads((folder / "config.json").read_text()))
        assert Processor.from_pretrained(folder).pad_id == pad_id(folder, read) == expected
    change(folder, "tokenizer_config.json", added_tokens_decoder="gone", pad_token="<|box_start|>")
    assert Processor.from_pretrained(folder).pad_id == pad_id(folder, read) == start


def test_greedy_fills_with_the_id_of_generation_config(tmp_path):
    model = tiny.make(tmp_path, "qwen2_vl")
    inputs = tiny.make_inputs(model.config, tiny.CASES["text"])
    policy = load_pretrained(tmp_path)
    stop = int(policy.greedy(**inputs, max_new_tokens=3)[0, 0])
    for stated in (7, 9):
        (tmp_path / "generation_config.json").write_text(json.dumps({"pad_token_id": stated}))
        filled = policy.greedy(**inputs, max_new_tokens=3, eos_ids=[stop])
        np.testing.assert_array_equal(filled, [[stop, stated, stated]])
