"""The rules of docs/draw_video.md for what a policy may write, one case each: nothing crashes, every ending has a
reason.
"""

import json

import pytest
from PIL import Image

from spatial_jax.drawing import Album, follow, parse, render_entry
from spatial_jax.forms import matches_format
from spatial_jax.processing import smart_resize

FINAL = "<think>t</think> Action: Answer\n<answer>3</answer>"
BETWEEN = "<|im_end|>\n<|im_start|>user\nshown<|im_end|>\n<|im_start|>assistant\n"


def box(**changes):
    return {"index": 1, "bbox_2d": [10, 20, 60, 70], "label": "cup", **changes}


def call(content):
    text = content if isinstance(content, str) else json.dumps(content)
    return f"<think>t</think> Action: Object Mapper\n```json\n{text}\n```"


@pytest.mark.parametrize(
    "content, boxes, ended",
    [
        ("not json", 0, "no_operation"),
        (box(), 0, "no_operation"),  # an object in place of the list
        ([[box()]], 0, "no_operation"),  # nested
        ([[box()], box()], 1, "answer"),
        ([box(bbox_2d=["10", "20", "60", "70"])], 0, "no_operation"),  # numbers as text
        ([box(bbox_2d=["10", 20, 60, 70]), box(label="lamp")], 1, "answer"),
        ([box(bbox_2d=[60, 70, 10, 20])], 1, "answer"),  # corners swapped
        ([box(bbox_2d=[-900, -900, 9e5, 9e5])], 1, "answer"),  # out of the picture
        ([box(index=0)], 0, "no_picture"),
        ([box(index=-1)], 0, "no_picture"),
        ([box(index=2)], 0, "no_picture"),
        ([box(label="<b onclick=x>{{}}\n\u4f60" * 40)], 1, "answer"),  # markup in a label
        ([box(bbox_2d=[i % 90, i % 70, 100, 80], label=f"l{i}") for i in range(1000)], 1000, "answer"),
        ([box(label="x" * 60) for _ in range(2000)], 0, "no_operation"),  # more than 100,000 characters
        ([box(bbox_2d=[1e300, 0, 1, 1])], 0, "no_operation"),
        ("[" * 50_000, 0, "no_operation"),
        ("[{'index': 1, 'bbox_2d': [1, 2, 30, 40], 'label': \"child's cup\"}]", 1, "answer"),
        ("__import__('os').abort()", 0, "no_operation"),
    ],
    ids=str,
)
def test_each_rule(content, boxes, ended):
    found = follow(BETWEEN.join([call(content), FINAL]), [(112, 84)])
    assert (found.count("box"), found.ended) == (boxes, ended)
    if boxes:
        album = Album([(112, 84)])
        (place,) = album.draw(parse(call(content)), 9)
        drawn = render_entry(Image.new("RGB", (112, 84), "white"), album.entries[place], album.labels)
        assert drawn.size == (112, 84)


def test_a_cut_that_is_too_thin_to_be_shown_ends_the_sample():
    cut = call([{"index": 1, "crop_2d": [10, 0, 14, 1000], "label": "edge"}])

    def fit(size):
        height, width = smart_resize(size[1], size[0], 28, 784, 1_003_520)
        return width, height

    found = follow(BETWEEN.join([cut, FINAL]), [(1008, 1008)], tools=("crop",), fit=fit)
    assert (found.count("crop"), found.ended) == (0, "nothing_seen")


def test_an_object_in_place_of_the_list_is_not_of_the_form():
    assert matches_format(BETWEEN.join([call([box()]), FINAL]), "drawing")
    assert not matches_format(BETWEEN.join([call(box()), FINAL]), "drawing")
