"""The comparison that `benchmarks.kill_resume` rests on."""

from benchmarks.kill_resume import difference


def test_difference_names_step_and_metric():
    one, two = (
        [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}],
        [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}],
    )
    assert difference(one, one) == []
    assert difference(one, two) == ["step 2 loss: 0.25 against 0.125"]
    assert difference(one, one[:1])[0].startswith("steps [1, 2] against [1]")
