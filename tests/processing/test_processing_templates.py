"""Chat templates: rendered as transformers renders them, from where it takes them; hostile ones are one line."""

import datetime
import json
import pickle
import shutil
import threading
import time

import numpy as np
import pytest
import tiny_checkpoints  # noqa: F401  lets transformers import torchvision
from PIL import Image
from transformers import AutoProcessor
from transformers.utils.chat_template_utils import render_jinja_template

from spatial_jax.models import config_to_hf, published_config
from spatial_jax.processing import Processor
from spatial_jax.processing.chat_template import ChatTemplate
from spatial_jax.processing.fresh import CHAT_TEMPLATE, PLAIN_CHAT_TEMPLATE, train_tokenizer

CHAT = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "image", "image": "x.png"}, {"type": "text", "text": "Wie groß?\n"}]},
    {"role": "assistant", "content": "2 m", "reasoning_content": "I see"},
    {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "<b>&'\" {{ 1 }}"}]},
]
TEMPLATES = {
    "qwen2": CHAT_TEMPLATE,
    "qwen3": PLAIN_CHAT_TEMPLATE,
    "generation": "{% for m in messages %}{{ m.role }}{% generation %}{{ m.content }}{% set x = 1 %}{% endgeneration %}"
    "{{ x is defined }}{% endfor %}",
    "date": "{{ strftime_now('%Y') }}",
    "tojson": "{% for m in messages %}{{ m | tojson }}{{ m | tojson(indent=2, sort_keys=true) }}{% endfor %}",
    "namespace": "{% set n = namespace(i=0) %}{% for m in messages %}{% set n.i = n.i + 1 %}{% endfor %}{{ n.i }}",
    "dict": "{{ dict(a=1) }}{{ dict.fromkeys(['b'], 2) }}",
    "tools": "{{ tools is none }}{{ tools is defined }}{{ documents is none }}{% if tools %}T{% endif %}",
    "controls": "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ loop.index }}{{ loop.last }}"
    "{% if loop.index == 3 %}{% break %}{% endif %}{% endfor %}",
    "filtered": "{% for m in messages if m.role == 'user' %}{{ loop.index0 }}{{ loop.length }}{% else %}no{% endfor %}",
    "macro": "{% macro f(m, n) %}{{ m.role ~ n ~ caller() }}{% endmacro %}{% for m in messages %}"
    "{% call f(m, loop.index) %}!{% endcall %}{% endfor %}",
    "text": "{{ 'a' * 3 }}{{ '%s-%03d' % ('b', 7) }}{{ 'x'.center(9) | trim }}{{ [1, 2] | join(', ') }}"
    "{{ '{:>5}'.format('y') }}{{ 1003520 | default(5) }}{{ zz | default(1003520) }}{{ 2 ** 10 }}{{ 'q' ~ none ~ 1.5 }}",
    "thinking": "{% for m in messages %}{{ m.thinking }}{{ m.reasoning_content }}{% endfor %}",
    "spaces": "  {% if true %}  \n  a\n  {%- endif %}\n\n{# no #}\n{{ add_generation_prompt }}\n",
    "recursive": "{% for m in [[1, [2]], [3]] recursive %}{% if m is iterable %}({{ loop(m) }}){% else %}{{ m }}"
    "{% endif %}{% endfor %}",
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("prompt", [True, False])
def test_templates_render_as_in_transformers(name, prompt):
    variables = {"eos_token": "<|im_end|>", "enable_thinking": False}
    theirs, _ = render_jinja_template([CHAT], chat_template=TEMPLATES[name], add_generation_prompt=prompt, **variables)
    assert ChatTemplate(TEMPLATES[name]).render(CHAT, prompt, **variables) == theirs[0]


def test_the_year_is_todays():
    assert ChatTemplate(TEMPLATES["date"]).render(CHAT, True) == str(datetime.date.today().year)


HOSTILE = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "tests": "{% for i in range(99999) %}{% for j in range(99999) if j < 0 %}{% endfor %}{% endfor %}",
    "macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "tree": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "repeat": "{{ 'a' * 10000000000 }}",
    "power": "{{ 9 ** 9 ** 9 }}",
    "center": "{{ 'x' | center(10000000000) }}",
    "ljust": "{{ 'x'.ljust(10000000000) }}",
    "percent": "{{ '%1000000000d' % 1 }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "doubling": "{% set n = namespace(x='aaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "adding": "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "many": "{{ range(100000) | map('center', 100000) | list | length }}",
    "slices": "{{ [1] | slice(1000000000) | list }}",
    "output": "{% for i in range(99999) %}{{ 'a' * 1000000 }}{% endfor %}",
    "deep": "{% if a %}" * 3000 + "{% endif %}" * 3000,
    "brackets": "{{ " + "(" * 100000 + "1" + ")" * 100000 + " }}",
    "syntax": "{% for %}",
    "unknown tag": "{% import_os %}",
    "division": "{{ 1 / 0 }}",
    "type": "{{ 'a' + 1 }}",
    "missing": "{{ messages[0].a.b.c }}",
    "refusal": "{{ raise_exception('only\nuser') }}",
    "escape": "{{ ''.__class__.__mro__ }}",
    "namespace": "{% set n = namespace(__init__=1) %}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_template_that_fails_or_never_ends_is_one_line(name):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"^chat template") as error:
        ChatTemplate(HOSTILE[name]).render(CHAT, True)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert time.perf_counter() - start < 60


def test_a_template_gets_no_hold_of_objects(tmp_path):
    """A picture has a method that writes files; to a template it is a word."""
    picture = Image.new("RGB", (2, 2))
    chat = [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "image", "image": np.ones(2)}]}]
    template = "{% for part in messages[0].content %}{{ part.image }}{{ 'image' in part }}{% endfor %}"
    theirs, _ = render_jinja_template([chat], chat_template=template)
    assert ChatTemplate(template).render(chat, True) == theirs[0] == "<Image>True<ndarray>True"
    target = tmp_path / "written.png"
    with pytest.raises(ValueError, match="chat template"):
        ChatTemplate(f"{{{{ messages[0].content[0].image.save('{target}') }}}}").render(chat, True)
    assert not target.exists() and chat[0]["content"][0]["image"] is picture


def test_threads_count_their_own_steps():
    template = ChatTemplate(
        "{% for i in range(99999) %}{% if i == 99998 %}{{ messages[0].role }}{% endif %}{% endfor %}"
    )
    told: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: told.append(template.render([{"role": str(n)}], True))) for n in range(4)
    ]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert sorted(told) == ["0", "1", "2", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    ids = train_tokenizer(["How far is the chair?"] * 20, 400, folder)
    config = config_to_hf(published_config("qwen2_5_vl_3b")) | {"vocab_size": ids.pop("vocab_size")}
    (folder / "config.json").write_text(json.dumps({**config, **ids}))
    for name in ("chat_template.json", "tokenizer_config.json"):
        stated = json.loads((folder / name).read_text())
        stated.pop("chat_template")
        (folder / name).write_text(json.dumps(stated))
    (folder / "chat_template.json").unlink()
    return folder


def put(folder, where, template):
    """The template into one of the places."""
    if where.endswith(".jinja"):
        (folder / where).write_text(template)
        return
    stated = json.loads((folder / where).read_text()) if (folder / where).exists() else {}
    if where == "processor_config.json":
        stated["processor_class"] = "Qwen2_5_VLProcessor"
    (folder / where).write_text(json.dumps({**stated, "chat_template": template}))


def test_the_template_is_taken_from_where_transformers_takes_it(folder, tmp_path, caplog):
    places = ("processor_config.json", "chat_template.json", "chat_template.jinja", "tokenizer_config.json")
    for held in (places, places[1:], places[2:], places[:1] + places[2:], places[1:3]):
        target = tmp_path / "-".join(held)
        shutil.copytree(folder, target)
        for place in held:
            put(target, place, f"from {place}")
        theirs = AutoProcessor.from_pretrained(target).apply_chat_template(CHAT, tokenize=False)
        caplog.clear()
        assert Processor.from_pretrained(target).tokenizer.apply_chat_template(CHAT) == theirs == f"from {held[0]}"
        beside = [place for place in held[1:] if place != "tokenizer_config.json"]
        assert (f"{held[0]} is used" in caplog.text) == bool(beside)  # a processor's other template, which is said
    shutil.copytree(folder, tmp_path / "alone")
    put(
        tmp_path / "alone",
        "tokenizer_config.json",
        [{"name": "default", "template": "D"}, {"name": "rag", "template": "R"}],
    )
    assert Processor.from_pretrained(tmp_path / "alone").tokenizer.apply_chat_template(CHAT) == "D"


def test_named_tokens_are_those_of_transformers(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "tokens")
    put(tmp_path / "tokens", "chat_template.jinja", "{{ eos_token }}|{{ pad_token }}|{{ unk_token }}|{{ bos_token }}")
    path = tmp_path / "tokens" / "tokenizer_config.json"
    stated = json.loads(path.read_text())
    for change in (
        {},
        {"eos_token": {"__type": "AddedToken", "content": "<|im_start|>"}},
        {"unk_token": "<|box_end|>"},
    ):
        path.write_text(json.dumps({**stated, **change}))
        theirs = AutoProcessor.from_pretrained(tmp_path / "tokens").apply_chat_template(CHAT, tokenize=False)
        assert Processor.from_pretrained(tmp_path / "tokens").tokenizer.apply_chat_template(CHAT) == theirs
    path.write_text(json.dumps({k: v for k, v in stated.items() if k not in ("eos_token", "pad_token", "unk_token")}))
    theirs = AutoProcessor.from_pretrained(tmp_path / "tokens").apply_chat_template(CHAT, tokenize=False)
    assert Processor.from_pretrained(tmp_path / "tokens").tokenizer.apply_chat_template(CHAT) == theirs


def test_a_folder_without_a_template_is_refused_in_one_line(folder):
    with pytest.raises(ValueError, match="no chat template") as error:
        Processor.from_pretrained(folder)
    assert str(folder) in str(error.value) and "\n" not in str(error.value)


def test_a_compiled_template_goes_to_other_processes(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "p")
    put(tmp_path / "p", "chat_template.jinja", CHAT_TEMPLATE)
    tokenizer = Processor.from_pretrained(tmp_path / "p").tokenizer
    text = tokenizer.apply_chat_template(CHAT)
    assert pickle.loads(pickle.dumps(tokenizer)).apply_chat_template(CHAT) == text
