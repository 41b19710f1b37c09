"""The gallery and the pass-rate map on disk."""

import io
import json

import numpy as np
from PIL import Image

from spatial_jax.metrics import read_gallery, read_pass_rate_history, write_gallery, write_pass_rates


def png(size=(40, 30), color=(200, 10, 10)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, "PNG")
    return buffer.getvalue()


def entry(**changes):
    return {
        "record": {
            "question_id": "q1",
            "question": "Where?",
            "answer": "A",
            "images": (png(),),
            "meta": {"margin": np.float32(0.5)},
        },
        "answers": [
            {"text": "A", "reward": np.float32(1), "advantage": float("nan"), "correct": np.bool_(True), "length": 3}
        ],
        "phase": "grpo",
        **changes,
    }


def test_round_trip_stores_equal_pictures_once(tmp_path):
    path = write_gallery(tmp_path, 7, [entry(), entry()])
    assert path.name == "step_000007.jsonl" and len(list(path.parent.glob("*.png"))) == 1
    line = json.loads(path.read_text().splitlines()[0])
    assert (
        line["record"]["images"] == []
        and line["images"][0].startswith("gallery/")
        and line["answers"][0]["correct"] is True
    )
    first = read_gallery(tmp_path)[0]
    assert first["step"] == 7 and Image.open(first["images"][0]).size == (40, 30)


def test_arrays_and_large_photos(tmp_path):
    write_gallery(tmp_path, 0, [entry(images=[np.zeros((1000, 2000, 3), np.uint8)])])
    assert Image.open(read_gallery(tmp_path)[0]["images"][0]).size == (640, 320)


def test_other_processes_write_nothing(tmp_path):
    assert write_gallery(tmp_path, 0, [entry()], primary=False) is None and not (tmp_path / "gallery").exists()


def test_reader_leaves_out_damage_and_paths_outside_the_run(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png())
    run = tmp_path / "run"
    write_gallery(run, 1, [entry()])
    lines = [
        "rubbish",
        json.dumps({"record": {}, "answers": [], "images": ["../secret.png", str(secret), "gallery/none.png"]}),
    ]
    (run / "gallery" / "step_000002.jsonl").write_text("\n".join(lines))
    entries = read_gallery(run)
    assert [e["step"] for e in entries] == [1, 2] and entries[1]["images"] == []


def test_pass_rates_round_trip(tmp_path):
    write_pass_rates(
        tmp_path,
        10,
        [{"id": "q", "family": "depth", "hops": 1, "rate": 0.25, "n": 8, "state": "active", "extra": object()}],
    )
    (tmp_path / "pass_rates" / "step_000020.jsonl").write_text('rubbish\n{"id": "q", "rate": 1}\n')
    rates = read_pass_rate_history(tmp_path)
    assert rates[10][0]["rate"] == 0.25 and rates[20] == [{"id": "q", "rate": 1.0, "family": ""}]
