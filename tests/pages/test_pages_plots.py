"""Plots and tables: right numbers, any input."""

import json
import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spatial_jax.pages import (
    Band,
    Estimate,
    Series,
    bar_list,
    change_cell,
    heatmap,
    histogram,
    interval_bar,
    line_plot,
    short,
    smooth_values,
    stacked_bars,
)
from spatial_jax.pages.plots import nice_ticks, thin


def test_smoothing_has_no_bias_towards_its_start():
    assert smooth_values([2.0, 2.0, 2.0], 0.9) == pytest.approx([2.0, 2.0, 2.0])
    out = smooth_values([1.0, math.nan, 3.0], 0.5)
    assert out[0] == 1.0 and math.isnan(out[1]) and out[2] == pytest.approx((0.25 * 1 + 0.5 * 3) / 0.75)


def test_ticks_are_round():
    assert nice_ticks(0, 1) == [0, 0.25, 0.5, 0.75, 1] and nice_ticks(3, 3) == [3]
    assert nice_ticks(0, 237, 5) == [0, 50, 100, 150, 200]


def test_thinning_keeps_means():
    x, y = thin(range(1000), [1.0] * 1000, 100)
    assert len(x) == 100 and set(y) == {1.0}


def test_short_numbers():
    assert [short(v) for v in (0.5, 12345, 2.5e6, 3e-6, 123.4, math.nan)] == [
        "0.5",
        "12.3k",
        "2.5M",
        "3e-6",
        "123",
        "–",
    ]
    assert short(0.256, "%") == "25.6%" and short(0.256, "%%") == "26%"


def data_of(text):
    import html

    return json.loads(html.unescape(re.search(r'data-plot="([^"]*)"', text).group(1)))


def test_line_plot_carries_its_values_for_the_pointer():
    text = line_plot(
        [Series("a", [0, 1, 2], [1.0, math.nan, 3.0]), Series("b", [0, 1], [2.0, 2.0], 1)],
        title="T",
        bands=[Band(0, 1, "alarm")],
    )
    data = data_of(text)
    assert [s["y"] for s in data["s"]] == [[1.0, None, 3.0], [2.0, 2.0]] and data["xl"] == "step"
    assert "alarm" in text and text.count("<path") == 2


def test_no_values_is_said():
    assert "no values yet" in line_plot([Series("a", [0], [math.nan])], title="T") and "no values yet" in line_plot(
        [], title="T"
    )


def test_log_axis_only_where_possible():
    assert data_of(line_plot([Series("a", [0, 1], [1e-3, 1e3])], log=True))["log"] is True
    assert data_of(line_plot([Series("a", [0, 1], [0.0, 1e3])], log=True))["log"] is False


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.booleans(), st.sampled_from([0.0, 0.9])
)
@example([-1.634266486238469e308], False, 0.0)  # the margin about it would be infinite
@example([1e280], True, 0.0)  # and so would its powers of ten
@example([5e-324] * 3, True, 0.9)  # smoothing takes these to zero, which has no logarithm
@example([1e-310, 1e308], True, 0.9)
@settings(max_examples=60, deadline=None)
def test_any_values_draw(values, log, smooth):
    text = line_plot([Series("a", range(len(values)), values)], log=log, smooth=smooth)
    assert "nan" not in re.sub(r'data-plot="[^"]*"', "", text).lower().replace("finance", "")


def test_bars_scale_to_the_longest_or_to_full():
    assert "width:100.00%" in bar_list([("a", 2.0), ("b", 1.0)]) and "width:50.00%" in bar_list([("a", 0.25)], full=0.5)
    assert bar_list([]) and stacked_bars(["x"], [("p", [1.0]), ("q", [1.0])]).count("width:50.00%") == 2
    assert histogram([]) == "" and histogram([1.0, 1.0, 2.0], bins=2).count("<rect") == 2
    assert heatmap(["r"], ["a", "b"], [[0.5, math.nan]]).count("cell empty") == 1


def test_interval_bar_shows_value_interval_and_baseline():
    text = interval_bar(
        [("a", Estimate(0.5, 0.4, 0.6), 0), ("b", Estimate(math.nan), 1)], mark=0.25, mark_title="blind"
    )
    assert text.count("<circle") == 1 and "0.400 to 0.600" in text and "blind 0.25" in text


@pytest.mark.parametrize(
    "before,after,kind",
    [
        (Estimate(0.5, 0.4, 0.6), Estimate(0.8, 0.7, 0.9), "good"),
        (Estimate(0.8, 0.7, 0.9), Estimate(0.5, 0.4, 0.6), "bad"),
        (Estimate(0.5, 0.4, 0.6), Estimate(0.6, 0.5, 0.7), "quiet"),
        (Estimate(0.5), Estimate(0.9), "quiet"),
        (Estimate(math.nan), Estimate(0.9), "quiet"),
    ],
)
def test_a_change_is_coloured_only_when_intervals_are_apart(before, after, kind):
    assert kind in change_cell(before, after)
