"""What is written can be read again, survives a kill, and resumes without a step twice."""

import io
import json
import math
from time import sleep

import numpy as np
import pytest

from spatial_jax.metrics import Console, MetricsWriter, PhaseTimer, Progress, read_metrics
from spatial_jax.metrics.console import sparkline, step_lines, table
from spatial_jax.metrics.figures import duration, format_value
from spatial_jax.metrics.logged import below, ordered_keys, value_of
from spatial_jax.metrics.names import canonical


def rows(tmp_path):
    return [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]


def test_each_row_is_on_disk_at_once(tmp_path):
    writer = MetricsWriter(tmp_path, ("jsonl",), clock=lambda: 5.0)
    writer.write(0, {"loss": np.float32(0.5), "pass_rate/depth": 1, "phase": "grpo", "map": {"a": np.arange(2)}})
    assert rows(tmp_path) == [
        {"step": 0, "time": 5.0, "loss": 0.5, "pass_rate/depth": 1, "phase": "grpo", "map": {"a": [0, 1]}}
    ]
    writer.write(1, {"loss": 0.25})
    assert len(rows(tmp_path)) == 2
    writer.close()


def test_jax_scalars(tmp_path):
    jnp = pytest.importorskip("jax.numpy")
    with MetricsWriter(tmp_path, ("jsonl",)) as writer:
        writer.write(0, {"loss": jnp.float32(0.5)})
    assert rows(tmp_path)[0]["loss"] == 0.5


def test_non_finite_numbers_stay_visible_in_strict_json(tmp_path):
    with MetricsWriter(tmp_path, ("jsonl",)) as writer:
        writer.write(0, {"loss": float("nan"), "grad_norm": float("-inf")})
    line = (tmp_path / "metrics.jsonl").read_text()
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    row = read_metrics(tmp_path)[0]
    assert math.isnan(row["loss"]) and row["grad_norm"] == -math.inf


def test_resume_cuts_later_steps_and_a_torn_line(tmp_path):
    with MetricsWriter(tmp_path, ("jsonl",)) as writer:
        for step in range(6):
            writer.write(step, {"loss": step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')
    with MetricsWriter(tmp_path, ("jsonl",), resume_step=3) as writer:
        writer.write(4, {"loss": 40})
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 40)]


def test_append_without_resume_step_keeps_all_complete_rows(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "time": 1}\n{"step": 1, "ti')
    with MetricsWriter(tmp_path, ("jsonl",)) as writer:
        writer.write(1, {})
    assert [row["step"] for row in rows(tmp_path)] == [0, 1]


def test_reader_takes_damaged_lines_and_repeated_steps(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"step": 0, "loss": 1}\nrubbish\n[1]\n{"step": 0, "loss": 2}\n{"step": 1, "loss"\xff'
    )
    assert read_metrics(tmp_path) == [{"step": 0, "loss": 2}]
    assert read_metrics(tmp_path / "nothing") == []


def test_other_processes_write_nothing(tmp_path):
    with MetricsWriter(tmp_path / "run", primary=False) as writer:
        writer.write(0, {"loss": 1})
    assert not (tmp_path / "run").exists()


def test_unknown_sink_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="unknown sink 'tensorbord'"):
        MetricsWriter(tmp_path, ("tensorbord",))


def test_tensorboard_gets_the_numbers(tmp_path):
    pytest.importorskip("tensorboardX")
    with MetricsWriter(tmp_path, ("tensorboard",)) as writer:
        writer.write(0, {"loss": 0.5, "phase": "sft"})
    assert any(b"loss" in path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())


def test_console_prints_two_lines_a_step_and_a_table(tmp_path):
    stream = io.StringIO()
    with MetricsWriter(tmp_path, ("console",), console=Console(total_steps=8, table_every=4, stream=stream)) as writer:
        for step in range(5):
            writer.write(step, {"reward/mean": 0.1 * step, "pass_rate": 0.5, "time/step": 2.0, "time/rollout": 1.5})
    text = stream.getvalue()
    assert "step 3/8" in text and "pass 50%" in text and "(rollout 1.5 s)" in text
    assert "Mean reward" in text and "last 4 steps" in text
    assert len(text.splitlines()) == 5 * 2 + 3 + 1 + 3


def test_console_without_utf8_loses_marks_not_the_run():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")

    console = Console(table_every=1, stream=stream)
    console.row({"step": 0, "loss": 1.0})
    console.row({"step": 1, "loss": 2.0})
    console.note("entropy collapse – now")


def test_a_missing_number_is_told_on_the_console():
    assert "loss NOT FINITE" in step_lines({"step": 1, "loss": math.nan})[0]
    assert "Loss" not in table([{"step": 0, "loss": math.nan}] * 2, 2)


def test_phase_timer_adds_up():
    now = iter([0.0, 1.0, 3.0, 4.0, 4.5, 10.0])
    timer = PhaseTimer(clock=lambda: next(now))
    with timer("rollout"):
        pass
    with timer("rollout"):
        pass
    assert timer.flush() == {"time/rollout": 2.5, "time/step": 10.0}


def test_phase_timer_counts_a_phase_that_fails():
    timer = PhaseTimer()
    with pytest.raises(RuntimeError), timer("update"):
        raise RuntimeError
    assert "time/update" in timer.flush() and "time/update" not in timer.flush()


def test_progress_forgets_the_slow_first_step():
    now = [0.0]
    progress = Progress(12, clock=lambda: now[0])
    assert progress.seconds_left == math.inf
    for done, time in [(1, 60.0), (2, 61.0), (3, 62.0)]:
        now[0] = time
        progress.update(done)
    assert progress.rate == pytest.approx(1.0) and progress.seconds_left == pytest.approx(9.0)
    assert progress.line("steps") == "steps 3 of 12 (25 %), 1.0 s each, 9.0 s left"


def test_names_and_values_for_people():
    assert canonical("kl") == "kl/reference" and value_of({"kl_ref": 0.5}, "kl/reference") == 0.5
    assert math.isnan(value_of({"kl": True}, "kl/reference")) and math.isnan(value_of({}, "anything"))
    assert below({"time/step": 3.0, "time/rollout": 1.0, "phase": "x"}, "time") == {"rollout": 1.0}
    assert ordered_keys([{"step": 1, "zebra": 1, "lr": 2, "reward": 3}]) == ["reward/mean", "learning_rate", "zebra"]
    assert [format_value(v, "%") for v in (0.5, 0.004, 1.0, 0.0)] == ["50%", "0.4%", "100%", "0%"]
    assert [format_value(v) for v in (3e-6, 0.1234, 123.4, math.nan, math.inf)] == ["3e-6", "0.123", "123", "–", "∞"]
    assert format_value(12345, "tokens/s") == "12.3k"
    assert [duration(s) for s in (0.25, 5, 48, 720, 11100, 187200)] == [
        "0.25 s",
        "5.0 s",
        "48 s",
        "12 min",
        "3 h 05 min",
        "2 d 04 h",
    ]


def test_sparkline():
    assert sparkline([0, 1, 2, 3]) == "▁▃▆█" and sparkline([1, 1]) == "▁▁" and sparkline([math.nan]) == ""
    assert len(sparkline(range(100))) == 24


def test_a_phase_that_does_not_end_is_named_once(caplog):
    timer = PhaseTimer(limit=0.05)
    with timer("quick"):
        pass
    with timer("rollout"):
        sleep(0.2)
    assert [r.getMessage().split(";")[0] for r in caplog.records] == [
        "phase 'rollout' has not ended after 0 s (config.log.watchdog_s)"
    ]
    assert "test_a_phase_that_does_not_end_is_named_once" in caplog.text  # where the thread stands
