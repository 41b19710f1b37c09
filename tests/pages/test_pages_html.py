"""Nothing that comes from data becomes markup, and a page asks nobody for anything."""

import base64
import hashlib
import io
import json
import math
import re
import unicodedata
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spatial_jax.pages import (
    Html,
    Page,
    callout,
    chip,
    command,
    details,
    escape,
    join,
    number_cards,
    one_line,
    picture,
    plain,
    say,
    searchable,
    table,
    tabs,
    tag,
    with_deviation,
)

EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;"


class Reader(HTMLParser):
    """Collects tags, attributes and text as a browser would see them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        self.tags.append(name)
        self.attributes += [(name, key, value) for key, value in attributes]

    def handle_data(self, data):
        self.text += data


def test_text_and_attributes_are_escaped():
    seen = Reader(tag("p", EVIL, title=EVIL, class_=EVIL))
    assert seen.tags == ["p"] and seen.text == EVIL
    assert [value for _, _, value in seen.attributes] == [EVIL, EVIL]


def test_every_component_escapes():
    parts = [
        chip(EVIL, EVIL),
        command(EVIL),
        details(EVIL, EVIL),
        callout(EVIL, EVIL, EVIL),
        number_cards([(EVIL, EVIL, EVIL)]),
        table([EVIL], [[EVIL]], caption=EVIL),
        tabs([(EVIL, EVIL), (EVIL, EVIL)]),
        searchable([(EVIL, EVIL, EVIL)], groups=[EVIL], placeholder=EVIL),
    ]
    seen = Reader(join(parts))
    assert not {"script", "img"} & set(seen.tags)
    assert not [key for _, key, _ in seen.attributes if key.startswith("on")]


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_comes_back_as_it_was(text):
    shown = Reader("<p>" + escape(text) + "</p>")
    turning = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")  # what turns text round, by Unicode's own

    def fit(c):
        steers = unicodedata.category(c) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(c) in turning
        return c in "\n\t" or not (steers or c in "\u200e\u200f\u061c\ufeff")

    clean = "".join(c if fit(c) else "\ufffd" for c in text)
    assert shown.text.replace("\r", "\n") == clean and shown.tags == ["p"]
    assert tag("p", title=text).encode()


def test_html_passes_and_nothing_is_nothing():
    assert tag("b", Html("<i>x</i>"), None, False, 0) == "<b><i>x</i>0</b>"
    assert tag("a", data_x=1, open_=True, hidden=None) == '<a data-x="1" open></a>'
    assert tag("img", src="data:,") == '<img src="data:,">' and tag("line", x1=0) == '<line x1="0"/>'


def page():
    built = Page(EVIL, EVIL, kicker=EVIL, facts=EVIL)
    built.section(EVIL, EVIL, lead=EVIL)
    built.section("Results", tag("p", "x"))
    built.section("Results", tag("p", "y"))
    return built


def test_page_holds_one_script_its_own_and_no_address():
    text = page().html()
    seen = Reader(text)
    assert seen.tags.count("script") == 1 and "img" not in seen.tags
    assert not re.search(r"(src|href)=\"(?!#|data:)", text) and "url(" not in text and "@import" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not [key for _, key, _ in seen.attributes if key.startswith("on")]
    anchors = [value for _, key, value in seen.attributes if key == "id"]
    assert len(anchors) == len(set(anchors)) and {"results", "results-2"} <= set(anchors)


def test_policy_allows_only_the_pages_script():
    text = page().html()
    policy = next(v for _, k, v in Reader(text).attributes if k == "content" and v and "default-src" in v)
    script = re.search(r"<script>(.*?)</script>", text, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy and "default-src 'none'" in policy and "script-src 'unsafe" not in policy


def test_writing_is_atomic_and_makes_the_folder(tmp_path):
    path = page().write(tmp_path / "a" / "page.html")
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>") and [
        p.name for p in path.parent.iterdir()
    ] == ["page.html"]


def test_text_from_data_steers_no_terminal_and_needs_no_encoding(capsys):
    hostile = "a\x1b[31mred\x9b31m \u202egnp.exe\u2069 \ud800 \r\u2028b\x07"
    assert plain(hostile) == "a\ufffd[31mred\ufffd31m \ufffdgnp.exe\ufffd \ufffd \ufffd\ufffdb\ufffd"
    assert plain("Größe 距離 👩‍👧 \n\t") == "Größe 距離 👩‍👧 \n\t"
    say(hostile, 3)
    assert capsys.readouterr().out == plain(hostile) + " 3\n"
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    say("距離", stream=narrow)
    assert narrow.buffer.getvalue() == b"??\n"
    assert one_line("a\nb " * 400, 20) == "a b a b a b a b a b" + "…"


def test_what_items_can_be_narrowed_to():
    items = [("a", "a", "box"), ("b", "b", {"family": "depth", "object": ["lamp", "tv"]})]
    facets = {"family": ["box", "depth"], "object": [f"o{k}" for k in range(13)], "none": []}
    seen = Reader(searchable(items, facets=facets))
    assert [value for _, key, value in seen.attributes if key == "data-value"] == ["box", "depth"]
    assert seen.tags.count("select") == 1 and seen.tags.count("option") == 14
    of = [json.loads(value) for _, key, value in seen.attributes if key == "data-facets"]
    assert of == [{"": ["box"]}, {"family": ["depth"], "object": ["lamp", "tv"]}]


def test_many_pictures_stand_once_at_the_pages_end():
    rng = np.random.default_rng(0)
    noise = [Image.fromarray(rng.integers(0, 255, (300, 300, 3), dtype=np.uint8)) for _ in range(2)]
    light, heavy = Page("light"), Page("heavy")
    light.section("Pictures", picture(noise[0]))
    heavy.section("Pictures", [picture(noise[k % 2]) for k in range(20)])
    text = heavy.html()
    assert 'src="data:image' in light.html() and 'src="data:image' not in text
    (store,) = re.findall(r'<script type="application/json" class="kept">(.*?)</script>', text)
    assert len(json.loads(store)) == 2 and text.count('data-picture="1"') == 10


def test_a_table_is_sorted_where_there_is_an_order():
    assert "sortable" in table(["a"], [["1"], ["2"]]) and "sortable" not in table(["a"], [["1"]])
    text = table(["a"], [["all"], ["1"]], totals=1)
    assert '<tr class="total"><td>all' in text and "sortable" not in text


@pytest.mark.parametrize(
    ("value", "deviation", "told"),
    [
        (0.0557, 0.0374, "0.06 ± 0.04"),
        (0.0557, 0.0123, "0.056 ± 0.012"),
        (5.2, 0.0097, "5.200 ± 0.010"),
        (4.34123, 0.00029, "4.3412 ± 0.0003"),
        (4.34123, 3e-7, "4.3412 ± 3e-7"),
        (1234.0, 26.0, "1230 ± 30"),
        (12.0, 0.0, "12"),
        (12.0, math.nan, "12"),
        (math.nan, 1.0, "–"),
    ],
)
def test_a_number_is_no_finer_than_it_is_known(value, deviation, told):
    assert with_deviation(value, deviation) == told
