"""What can be answered without looking: the best constant and a word model a family, against chance, on questions about
rendered scenes.

    python -m benchmarks.answer_priors --scenes=2400    # five minutes; writes benchmarks/results/answer_priors.json

The two profiles are the product's own verbs (`data_prep.annotate`, `data_prep.synthesize`) with their defaults; the
rows are those of the dataset's own report, training split (the held-out tenth is too small to say anything to five
points).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from data_prep import synthesize
from data_prep.annotate.__main__ import main as annotate

PROFILES = {"full": ("rich", ()), "plain": ("plain", ("--wordings=1", "--per_scene=9"))}


def main() -> int:
    """Prints the table and writes the JSON; exit code 1 when a family with options is more than five points above
    chance.
    """
    parser = argparse.ArgumentParser(
        "python -m benchmarks.answer_priors", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=2400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", default="benchmarks/results/answer_priors.json")
    options = parser.parse_args()
    table, worst = {}, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for profile, (preset, more) in PROFILES.items():
            scenes, questions = f"{folder}/{preset}_scenes", f"{folder}/{profile}_questions"
            if annotate(
                [
                    "--source=rendered",
                    f"--preset={preset}",
                    f"--count={options.scenes}",
                    "--seed=11",
                    f"--workers={options.workers}",
                    f"--out={scenes}",
                ]
            ):
                return 2
            if synthesize.main(
                [f"--scenes={scenes}", f"--out={questions}", f"--profile={profile}", "--seed=11", *more]
            ):
                return 2
            rows = json.loads((Path(questions) / "report.json").read_text())["rows"]
            table[profile] = [
                {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items() if k != "answers"}
                for row in rows
                if row["split"] == "train"
            ]
    for rows in table.values():
        worst = max(
            [
                worst,
                *(max(row["constant"], row["words"] or 0) - row["chance"] for row in rows if row["chance"] is not None),
            ]
        )
    print(f"largest distance of a baseline above chance: {100 * worst:.1f} points")
    Path(options.out).write_text(
        json.dumps(
            {
                "command": f"python -m benchmarks.answer_priors --scenes={options.scenes}",
                "seed": 11,
                "most_above_chance": round(worst, 4),
                "profiles": table,
            },
            indent=1,
        )
        + "\n"
    )
    return int(worst > 0.05)


if __name__ == "__main__":
    raise SystemExit(main())
