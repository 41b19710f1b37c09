"""The gallery and the pass-rate map on disk."""

import io
import json

import numpy as np
from PIL import Image

from spatial_jax.metrics import read_gallery, read_pass_rate_history, write_gallery, write_pass_rates
from spatial_jax.metrics.report.trajectory import trajectory


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


def test_a_trajectory_is_shown_turn_by_turn(tmp_path):
    """Before and after of each turn, and what a correction moved."""
    paths = []
    for number in range(3):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (40, 30), (80 * number, 0, 0)).save(paths[-1])
    call = "<think>I <b>look</b></think> Action: x\n```json\n"
    call += '[{{"index": {0}, "bbox_2d": [1, 2, {1}, 9], "label": "cup"}}]\n```'
    shown = "<|im_end|>\n<|im_start|>user\n\nThe index of the given image is {0} (width: 40, height: 30).\n<|im_end|>\n"
    text = call.format(1, 20) + shown.format(2) + "<|im_start|>assistant\n" + call.format(2, 30) + shown.format(3)
    text += "<|im_start|>assistant\n<think>so</think> Action: Answer\n<answer>3</answer>"
    html = str(trajectory(text, paths[:1], paths[1:]))
    assert html.count('alt="before"') == html.count('alt="drawn by the policy"') == 2 and "turn 3" in html
    assert html.count("corrected") == 1 and "cup: [1, 2, 20, 9] → [1, 2, 30, 9]" in html and "<b>look" not in html
    assert str(trajectory("", [], [])) and str(trajectory("<|im_start|>user" * 9, paths, []))
