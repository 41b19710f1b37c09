"""Trackers get every row, go on after a resume, and never end a training; the console in forms that machines read."""

import io
import json
import math
import re
import struct
import sys
import types

import pytest

from spatial_jax.metrics import Console, MetricsWriter, Tracked, check_trackers
from spatial_jax.metrics.trackers import TRACKERS
from spatial_jax.training.profile import Profile
from spatial_jax.training.settings import LogSettings, RunConfig


class Fake(types.ModuleType):
    """A tracker that remembers what it was told."""

    def __init__(self, name):
        super().__init__(name)
        self.begun, self.rows, self.finished, self.broken = [], [], 0, False

    def init(self, **told):
        self.begun.append(told)
        return self

    def define_metric(self, *names, **told):
        pass

    def log(self, values, step=None):
        if self.broken:
            raise ConnectionError("no\nnetwork")
        self.rows.append((step, values))

    def finish(self):
        self.finished += 1


@pytest.fixture(params=TRACKERS)
def tracker(request, monkeypatch):
    fake = Fake(request.param)
    monkeypatch.setitem(sys.modules, request.param, fake)
    return fake


def test_a_tracker_gets_the_finite_numbers_at_their_steps(tracker, tmp_path):
    name = tracker.__name__
    with MetricsWriter(
        tmp_path / "my_run", ("jsonl", name), tracked=Tracked("p", config={"train": {"steps": 3}})
    ) as writer:
        writer.write(1, {"loss": 0.5, "phase": "grpo", "bad": math.nan})
    step, values = tracker.rows[0]
    assert (values["step"] if name == "wandb" else step) == 1 and values["loss"] == 0.5
    assert set(values) <= {"step", "loss"} and tracker.finished == 1
    (told,) = tracker.begun
    assert told["project"] == "p" and told["config"] == {"train": {"steps": 3}} and told["name"].startswith("my_run")


def test_a_resumed_run_goes_on_under_its_id(tracker, tmp_path):
    for folder in ("a", "a", "b"):
        MetricsWriter(tmp_path / folder, (tracker.__name__,)).close()
    ids = [told.get("id", told["name"]) for told in tracker.begun]
    assert ids[0] == ids[1] != ids[2] and all(told["resume"] == "allow" for told in tracker.begun)


def test_what_fails_in_a_tracker_ends_the_tracking_alone(tracker, tmp_path, capsys):
    with MetricsWriter(tmp_path, ("jsonl", tracker.__name__)) as writer:
        tracker.broken = True
        for step in range(3):
            writer.write(step, {"loss": 1.0})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "no network; it gets no more rows" in told


def test_other_processes_have_no_tracker(tracker, tmp_path):
    MetricsWriter(tmp_path, (tracker.__name__,), primary=False).close()
    assert not tracker.begun


def test_a_tracker_that_is_not_there_or_does_not_start_is_one_line(tracker, tmp_path, monkeypatch):
    monkeypatch.setattr("spatial_jax.metrics.trackers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=f"'{tracker.__name__}', which is not installed; pip install"):
        check_trackers(("jsonl", tracker.__name__))
    check_trackers(("jsonl", "console"))
    monkeypatch.setattr(tracker, "init", lambda **told: 1 / 0)
    with pytest.raises(ValueError, match="does not start: division by zero"):
        MetricsWriter(tmp_path, (tracker.__name__,))


ROW = {"loss": 0.25, "phase": "two words", "bad": math.inf, "map": {"a": [1, 2]}, "skipped": True, "pass_rate/x y": 0.5}


def console(tmp_path, form):
    stream = io.StringIO()
    with MetricsWriter(
        tmp_path, ("console",), console=Console(format_=form, stream=stream), clock=lambda: 7.0
    ) as writer:
        writer.write(3, ROW)
        writer.note('entropy "fell"\nto 0.01')
    return stream.getvalue().splitlines()


def test_a_row_is_one_line_of_json(tmp_path):
    row, note = map(json.loads, console(tmp_path, "json"))
    assert row == {"event": "step", "step": 3, "time": 7.0, **ROW, "bad": "Infinity"}
    assert note == {"event": "alarm", "text": 'entropy "fell"\nto 0.01'}


def test_a_row_is_one_line_of_logfmt(tmp_path):
    row, note = console(tmp_path, "logfmt")
    pairs = dict(re.findall(r'(\S[^=]*)=("(?:[^"\\]|\\.)*"|\S*)', row))
    assert pairs["event"] == "step" and pairs["step"] == "3" and float(pairs["loss"]) == 0.25
    assert json.loads(pairs["phase"]) == "two words" and json.loads(json.loads(pairs["map"])) == {"a": [1, 2]}
    assert pairs["skipped"] == "true" and pairs["bad"] == "Infinity"
    assert note.startswith("event=alarm text=") and json.loads(note.partition("text=")[2]).endswith("0.01")


def test_chosen_steps_are_traced(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("jax.profiler.start_trace", lambda folder, **told: calls.append(folder))
    monkeypatch.setattr("jax.profiler.stop_trace", lambda: calls.append("end"))
    profile = Profile(tmp_path, (2, 3))
    for number in range(1, 6):
        with profile.step(number):
            calls.append(number)
    assert calls == [1, str(tmp_path / "profile"), 2, 3, "end", 4, 5]
    calls.clear()
    with Profile(tmp_path, ()).step(1):
        pass
    assert not calls


@pytest.mark.parametrize("steps", [(3,), (4, 2), (1, 2, 3), (0, 1)])
def test_steps_to_trace_are_a_first_and_a_last(steps):
    with pytest.raises(ValueError, match=r"config\.log\.profile_steps"):
        RunConfig(log=LogSettings(profile_steps=steps)).check()


def wandb_records(data):
    """The records of a .wandb file: a log in blocks of 32 KiB after a head of 7 bytes; each part has its checksum, its
    length and whether it is whole (1), a first (2), a middle (3) or a last one (4).
    """
    at, record = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, at + 4)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


@pytest.mark.proof
def test_wandb_itself_keeps_a_run_without_a_network(tmp_path, monkeypatch):
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    with MetricsWriter(tmp_path / "run", ("jsonl", "wandb"), tracked=Tracked(config={"steps": 2})) as writer:
        for step in (1, 2):
            writer.write(step, {"loss": 1.0 / step, "bad": math.nan})
    (kept,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    rows = []
    for data in wandb_records(kept.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            rows.append((items["step"], items["loss"], "bad" in items))
    assert rows == [(1, 1.0, False), (2, 0.5, False)]


@pytest.mark.proof
def test_a_trace_can_be_opened(tmp_path):
    import gzip

    import jax.numpy as jnp

    from spatial_jax.metrics import PhaseTimer

    timer, profile = PhaseTimer(), Profile(tmp_path, (1, 1))
    with profile.step(1), timer("rollout"):
        jnp.ones((64, 64)).dot(jnp.ones((64, 64))).block_until_ready()
    (trace,) = (tmp_path / "profile").rglob("perfetto_trace.json.gz")
    names = {event.get("name") for event in json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]}
    assert {"step", "rollout"} <= names
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
