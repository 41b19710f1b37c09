"""kill -9 in the middle of a whole GRPO run, twice: the finished run equals the untouched one exactly (twenty times: benchmarks.kill_resume)."""
import os

from benchmarks.kill_resume import difference, prove


def test_two_kills_change_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "XLA_FLAGS", "")
    result = prove(tmp_path, steps=8, kills=2, seed=1)
    assert result["equal"], result["differences"]
    assert len(result["losses"]) == 8 and result["kills"] >= 1


def test_difference_names_step_and_metric():
    one, two = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.125}]
    assert difference(one, one) == []
    assert difference(one, two) == ["step 2 loss: 0.25 against 0.125"]
    assert difference(one, one[:1])[0].startswith("steps [1, 2] against [1]")
