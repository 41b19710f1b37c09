"""VSI-Bench's published answers derived again from its scene metadata by the definitions that the question generator
uses.

    python -m benchmarks.vsi_truth --questions=vsi_bench.json \
        --metadata=scannet_meta_info_val.json,scannetpp_meta_info_val.json,arkitscenes_meta_info_val.json

`--questions`: a JSON list of VSI-Bench items (mp4_path, question_type, question, answer, A to D); `--metadata`: the
benchmark's meta_info files. Prints and writes, a type: items, those the metadata can answer, and the share of equal
answers (absolute distances: within 0.1 m). Appearance order and route planning need the video and are left out.
"""

from __future__ import annotations

import argparse
import collections
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_prep.synthesis.vsi import Room, Settings, distance, floor_area, load_rooms, quadrant, side, side_or_back, turn

BENCH = Settings(definitions="vsibench")
DIRECTIONS: dict[str, Callable[[float], str]] = {"easy": side, "medium": side_or_back, "hard": quadrant}


def _one(room: Room, name: str) -> Any:
    """The category's only instance. KeyError where the metadata has none or several."""
    found = room.objects[name]
    if len(found) != 1:
        raise KeyError(name)
    return found[0]


def _names(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    if match is None:
        raise KeyError(text)
    return match.groups()


def _letter(item: dict[str, Any], said: str) -> str:
    """The letter of the option that says `said`."""
    return next(letter for letter in "ABCD" if item[letter] and item[letter].partition(". ")[2] == said)


def derive(room: Room, item: dict[str, Any]) -> str:
    """The answer in the benchmark's form. KeyError where the metadata does not hold what is asked for."""
    kind, text = item["question_type"], item["question"]
    if kind == "object_counting":
        return str(room.counts[_names(r"How many (.+)\(s\)", text)[0]])
    if kind == "object_size_estimation":
        return str(round(100 * _one(room, _names(r"dimension \(.*?\) of the (.+), measured", text)[0]).longest))
    if kind == "room_size_estimation":
        return str(round(floor_area(room, BENCH), 1))
    if kind == "object_abs_distance":
        a, b = _names(r"distance between the (.+) and the (.+) \(in meters\)", text)
        return str(round(distance(room, a, b, BENCH), 1))
    if kind == "object_rel_distance":
        names, target = _names(r"these objects \((.+?)\) is the closest to the (.+)\?", text)
        return _letter(item, min(names.split(", "), key=lambda name: distance(room, name, target, BENCH)))
    stand, face, target = _names(r"standing by the (.+) and facing the (.+), is the (.+?) to (?:my|the)", text)
    angle = turn(*(_one(room, name).center for name in (stand, face, target)))
    return _letter(item, DIRECTIONS[kind.rpartition("_")[2]](angle))


def main() -> None:
    """Prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.vsi_truth", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--questions", required=True)
    parser.add_argument("--metadata", required=True, help="comma-separated meta_info files")
    parser.add_argument("--out", default="benchmarks/results/vsi_truth.json")
    options = parser.parse_args()
    rooms = {room.scene_id: room for file in options.metadata.split(",") for room in load_rooms(file)[0]}
    tally: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    for item in json.loads(Path(options.questions).read_text()):
        kind = item["question_type"]
        if kind in ("obj_appearance_order", "route_planning"):
            continue
        tally[kind]["items"] += 1
        try:
            found = derive(rooms[Path(item["mp4_path"]).stem], item)
        except KeyError:
            continue
        tally[kind]["answerable"] += 1
        near = kind == "object_abs_distance" and abs(float(found) - float(item["answer"])) < 0.1001
        tally[kind]["equal"] += (
            found == item["answer"] or near or (kind.endswith("estimation") and float(found) == float(item["answer"]))
        )
    rows = {
        kind: {**count, "share": round(count["equal"] / max(count["answerable"], 1), 4)}
        for kind, count in sorted(tally.items())
    }
    for kind, row in rows.items():
        print(f"{kind:<30}{row['items']:>6}{row.get('answerable', 0):>6}{row.get('equal', 0):>6}{row['share']:>8.1%}")
    Path(options.out).write_text(
        json.dumps({"command": "python -m benchmarks.vsi_truth", "types": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
