"""Questions on rendered walks, all eight topics by both definitions, against an oracle that knows what was drawn; and
how many walks a core makes a minute.

    python -m benchmarks.walk_truth --each=1000 --out=benchmarks/results/walk_truth.json
    python -m benchmarks.walk_truth --topics=room_size_estimation --each=10000 --out=rooms.json

Walks are drawn until every topic has `--each` questions of each definition, or `--walks` are done; Ctrl-C ends it and
keeps what was checked. A topic that has enough is not asked any more; a walk has one size of its rooms to ask for at
most. Times are CPU seconds of this process (other load on the machine does not count); "a walk" is 32 frames of
224x224 with depth, masks and poses, "annotated" adds its scene records on disk.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.walk_oracle import Oracle, agrees
from data_prep.annotate.__main__ import main as annotate
from data_prep.sources.walks.source import Walks
from data_prep.sources.walks.truth import frame_record, room_record
from data_prep.synthesis.importers.frames import spread
from data_prep.synthesis.vsi import DEFINITIONS, HELDOUT_TOPICS, TOPICS, Settings, room_questions
from data_prep.synthesis.vsi.walks import walk_room
from spatial_jax.data import SceneRecord

TARGET = 20.0  # walks a core-minute
ALL = (*TOPICS, *HELDOUT_TOPICS)


def speed(walks: int) -> dict[str, Any]:
    """CPU seconds of a walk of 32 frames, and of one annotated and written."""
    source = Walks(walks, seed=3, frames=32)
    source.draw(0)  # imports and tiles
    started = time.process_time()
    for number in range(walks):
        source.draw(number)
    drawn = (time.process_time() - started) / walks
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        code = annotate(["--source=walk", f"--count={walks}", "--seed=3", "--workers=1", f"--out={folder}/walks"])
        written = (time.process_time() - started) / walks
    assert code == 0
    return {
        "walks": walks,
        "seconds_a_walk": round(drawn, 3),
        "walks_a_core_minute": round(60 / drawn, 1),
        "annotated_seconds_a_walk": round(written, 3),
        "annotated_walks_a_core_minute": round(60 / written, 1),
        "target": TARGET,
    }


def check(
    source: Walks, number: int, shown: int, counts: dict, wrong: list[str], each: int, topics: Sequence[str] = ALL
) -> None:
    """Asks and checks one walk; adds to `counts` and `wrong`."""
    walk = source.draw(number, colours=False)
    chosen = spread(source.frames, shown)
    metas = [json.loads(json.dumps(frame_record(walk.home, walk.frames, k))) for k in chosen]
    frames = [
        SceneRecord("", "", "", b"", c.width, c.height, "", intrinsics=(c.fx, c.fy, c.cx, c.cy))
        for c in (walk.home.cameras[k] for k in chosen)
    ]
    room = walk_room(source.walk_id(number), json.loads(json.dumps(room_record(walk.home))), frames, metas)
    oracle = Oracle(walk, chosen)
    for definitions in DEFINITIONS:
        lacking = [t for t in topics if counts[definitions, t]["asked"] < each]
        for topic in lacking:
            for question in room_questions(room, Settings(definitions), topics=(topic,)):
                row = counts[definitions, topic]
                if row["asked"] >= each:
                    break
                row["asked"] += 1
                if not agrees(question, topic, oracle, definitions == "vsi100k"):
                    row["wrong"] += 1
                    wrong.append(f"{question.question_id}: {question.question!r} -> {question.answer}")


def truth(
    each: int, walks: int, frames: int, shown: int, size: int, seed: int, topics: Sequence[str] = ALL
) -> dict[str, Any]:
    """The table of topics."""
    source = Walks(walks, seed=seed, frames=frames, width=size, height=size)
    counts: dict[tuple[str, str], collections.Counter] = collections.defaultdict(collections.Counter)
    wrong: list[str] = []
    started, done = time.process_time(), 0
    for number in range(walks):
        try:
            check(source, number, shown, counts, wrong, each, topics)
        except KeyboardInterrupt:  # what was checked stays: the walk that was cut short is not among `walks`
            print("stopped", flush=True)
            break
        done += 1
        least = min(counts[d, t]["asked"] for d in DEFINITIONS for t in topics)
        if done % 20 == 0:
            rate = done / (time.process_time() - started)
            print(
                f"{done} walks, {rate:.2f} a CPU second, least topic {least} of {each}, {len(wrong)} wrong", flush=True
            )
        if least >= each:
            break
    rows = {d: {t: dict(counts[d, t]) for t in topics} for d in DEFINITIONS}
    setting = {"frames": frames, "frames_shown": shown, "size": size, "seed": seed}
    return {"walks": done, **setting, "topics": rows, "wrong": len(wrong), "examples_of_wrong": wrong[:10]}


def main() -> int:
    parser = argparse.ArgumentParser(
        "python -m benchmarks.walk_truth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--each", type=int, default=10000, help="questions a topic and definition")
    parser.add_argument("--walks", type=int, default=20000, help="walks at most")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--shown", type=int, default=16, help="frames that a question shows")
    parser.add_argument("--size", type=int, default=112, help="pixels a side")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--topics", default=",".join(ALL), help="some of them: a walk gives few questions of the rarer")
    parser.add_argument("--speed_walks", type=int, default=10)
    parser.add_argument("--out", default="benchmarks/results/walk_truth.json")
    args = parser.parse_args()
    topics = args.topics.split(",")
    if unknown := sorted(set(topics) - set(ALL)):
        parser.error(f"--topics: {', '.join(unknown)} is none of {', '.join(ALL)}")
    result: dict[str, Any] = {
        "command": f"python -m benchmarks.walk_truth {' '.join(sys.argv[1:])}".strip(),
        "speed": speed(args.speed_walks),
        "truth": truth(args.each, args.walks, args.frames, args.shown, args.size, args.seed, topics),
    }
    print(json.dumps(result, indent=1))
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if result["truth"]["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
