"""The ablation's figures of drawing, of a result and as a table by benchmark."""

from types import SimpleNamespace

from spatial_jax.evals.drawing import drawing_text, figures_of
from spatial_jax.rollout.answerer import Drawing

CALL = '<think>t</think> Action: x\n```json\n[{{"index": {0}, "bbox_2d": [1, 2, {1}, 40], "label": "cup"}}]\n```'
NEXT = "<|im_end|>\n<|im_start|>user\nshown<|im_end|>\n<|im_start|>assistant\n"
FINAL = "<think>t</think> Action: Answer\n<answer>3</answer>"


def sampler(drawing):
    processor = SimpleNamespace(model_size=lambda width, height: (width, height))
    return SimpleNamespace(answerer=SimpleNamespace(drawing=drawing), processor=processor)


def test_figures_and_their_table():
    rows = [
        {"responses": [NEXT.join([CALL.format(1, 30), CALL.format(2, 50), FINAL]), FINAL], "finish": ["stop"] * 2},
        {"responses": [NEXT.join([CALL.format(1, 30), "and"])], "finish": ["length"]},
        {"responses": [], "error": "no picture"},
    ]
    rows = [{**row, "model_sizes": [[112, 84]]} for row in rows]
    found = figures_of(sampler(Drawing(10, 45, 4096, ("box", "path"))), rows)
    assert found["answers"] == 3 and found["box"] == 1 and found["turns"] == 2
    assert found["reflective"] == found["ended_length"] == 1 / 3 and found["ended_answer"] == 2 / 3
    assert figures_of(sampler(None), rows) is None
    text = drawing_text([{"benchmark": "vsr", "drawing": found}, {"benchmark": "mmsi_bench", "drawing": None}])
    assert "vsr" in text and "mmsi" not in text and "33.3" in text and drawing_text([{"benchmark": "x"}]) == ""
    # One set before and after a stage: the rows say whose they are.
    stages = [{"benchmark": "vsr", "model": f"runs/{stage}", "drawing": found} for stage in ("sft", "reflect")]
    lines = drawing_text(stages).splitlines()
    assert lines[2].startswith("vsr: runs/sft ") and lines[3].startswith("vsr: runs/reflect ")
