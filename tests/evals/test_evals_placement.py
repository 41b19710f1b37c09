"""How boxes lie on what they name, against boxes whose overlap is known in closed form."""

import json

import numpy as np
import pytest

from spatial_jax.data.records import QuestionRecord, coordinate
from spatial_jax.drawing import follow
from spatial_jax.evals.placement import constant_iou, placement, right_boxes

NEXT = "<|im_end|>\n<|im_start|>user\nshown<|im_end|>\n<|im_start|>assistant\n"
FINAL = "<think>t</think> Action: Answer\n<answer>2</answer>"


def call(*boxes, write=lambda axis, value: value):
    items = [
        f'{{"index": {index}, "bbox_2d": [{", ".join(str(write("xy"[i % 2], v)) for i, v in enumerate(box))}],'
        f' "label": "{label}"}}'
        for index, label, box in boxes
    ]
    return f"<think> t </think> Action: Object Mapper\n```json\n[{', '.join(items)}]\n```"


def record(*turns):
    return QuestionRecord(
        "q", "s", "heldout", "scene", (b"",), (200,), (100,), "?", "number", "2", meta=json.dumps({"turns": turns})
    )


CUP, PEN = (20, 20, 60, 40), (100, 50, 120, 70)


def test_the_last_box_of_a_label_counts_and_a_missing_one_is_nothing():
    stored = (
        call((1, "cup", (0, 0, 9, 9)), write=coordinate),
        call((2, "cup", CUP), (2, "pen", PEN), write=coordinate),
    )
    right = right_boxes(record(*stored), [(100, 50)])  # the model sees half the size
    assert right == {(0, "cup"): (10, 10, 30, 20), (0, "pen"): (50, 25, 60, 35)}
    said = [call((1, "cup", (90, 40, 99, 49))), call((2, "cup", (30, 20, 20, 10)), (2, "other", (0, 0, 9, 9))), FINAL]
    drawn = follow(NEXT.join(said), [(100, 50)])
    # half of the cup's box, drawn corner by corner the other way round: 100 of 200; the pen is not boxed
    assert placement(drawn, right, [(100, 50)]) == {"box_iou": pytest.approx(0.25), "boxed": 0.5}
    assert placement(drawn, {}, [(100, 50)]) == {}


def test_several_things_of_one_label_are_left_out_and_what_cannot_be_drawn_ends_the_reading():
    twice = call((1, "cup", (0, 0, 9, 9)), (1, "cup", CUP), (1, "pen", PEN), write=coordinate)
    broken = call((7, "lid", (0, 0, 9, 9)), write=coordinate)
    assert set(right_boxes(record(twice, broken), [(200, 100)])) == {(0, "pen")}
    assert right_boxes(record(), [(200, 100)]) == {}


def test_the_best_constant_box_of_equal_boxes_is_that_box_and_of_two_halves_the_one_that_shares():
    assert constant_iou([(25, 25, 75, 75), (50, 50, 150, 150)], [(100, 100), (200, 200)]) == pytest.approx(1.0)
    # the left and the right half of the picture: half of either overlaps 1/3 + 1/3, one half alone 1 + 0
    halves = [(0, 0, 50, 100), (50, 0, 100, 100)]
    assert constant_iou(halves, [(100, 100)] * 2) == pytest.approx(0.5)


def test_the_best_constant_box_beats_random_ones():
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 60, (40, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (40, 2))], 1)
    found = constant_iou(boxes, [(100, 100)] * 40)

    def mean_iou(box):
        both = np.prod(np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None), 1)
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1) + np.prod(box[2:] - box[:2])
        return float(np.mean(both / (areas - both)))

    tries = rng.uniform(0, 100, (3000, 2, 2))
    assert found >= max(mean_iou(np.concatenate([t.min(0), t.max(0)])) for t in tries) - 1e-9
