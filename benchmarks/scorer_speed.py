"""Responses a CPU second through every rule-based scorer: python -m benchmarks.scorer_speed [--out FILE]"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from spatial_jax.evals import score_response

LETTER = {
    "question": "Which is closer?",
    "answer": "B",
    "ground_truth": "B",
    "gt_answer": "B",
    "options": ["A. cup", "B. book", "C. lamp", "D. door"],
    "choices": ["cup", "book", "lamp", "door"],
    "question_type": "object_rel_distance",
    "task": "Relation",
    "id": "rotation_1",
}
NUMBER = {
    "question": "How far, in metres?",
    "answer": "3.5",
    "ground_truth": "3.5",
    "options": None,
    "question_type": "object_abs_distance",
    "task": "depth_prediction_oc",
    "id": "1",
    "answer_value": 3.5,
    "answer_unit": "m",
}
RESPONSES = (
    "B",
    "(B) book",
    "The answer is B.",
    "3.5",
    "It is about 3.5 metres away.",
    "<think>far</think><answer>B</answer>",
)
CASES = (
    ("cv_bench", "official", LETTER),
    ("cv_bench", "lmms_eval", LETTER),
    ("vsi_bench", "official", LETTER),
    ("vsi_bench", "official", NUMBER),
    ("vsi_bench", "lmms_eval", NUMBER),
    ("vsi_bench", "vlmevalkit", NUMBER),
    ("mmsi_bench", "official", LETTER),
    ("viewspatial", "official", LETTER),
    ("mindcube", "official", LETTER),
    ("blink", "lmms_eval", LETTER),
    ("spbench", "official", LETTER),
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scorer_speed", description=__doc__)
    parser.add_argument("--count", type=int, default=3000, help="responses a scorer")
    parser.add_argument("--out", default="benchmarks/results/scorer_speed.json")
    args = parser.parse_args()
    rows = []
    for benchmark, scoring, item in CASES:
        kind = "number" if item is NUMBER else "choice"
        score_response(benchmark, RESPONSES[0], item, scoring=scoring)
        begun = time.process_time()
        for i in range(args.count):
            score_response(benchmark, RESPONSES[i % len(RESPONSES)], item, scoring=scoring)
        rows.append(
            {
                "benchmark": benchmark,
                "scoring": scoring,
                "kind": kind,
                "per_cpu_second": round(args.count / (time.process_time() - begun)),
            }
        )
        print(f"{benchmark:<14}{scoring:<12}{kind:<8}{rows[-1]['per_cpu_second']:>10,} a CPU second", flush=True)
    Path(args.out).write_text(
        json.dumps({"command": "python -m benchmarks.scorer_speed", "count": args.count, "rows": rows}, indent=1) + "\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
