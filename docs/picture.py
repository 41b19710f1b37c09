r"""README's picture: a held-out question, its picture with boxes, sixteen answers with rewards before and after GRPO.

    python -m spatial_jax.evaluate --config=configs/eval_spatial.py:tiny --model=configs/quickstart_policy \
        --dataset=runs/questions --samples=16 --temperature=1.0 --limit=60 --out=runs/picture/before.json
    python -m spatial_jax.evaluate --config=configs/eval_spatial.py:tiny --model=runs/grpo/export \
        --dataset=runs/questions --samples=16 --temperature=1.0 --limit=60 --out=runs/picture/after.json
    python docs/picture.py runs/picture/before.json runs/picture/after.json \
        --questions=runs/questions --scenes=runs/scenes

The question is the one whose gain is at --rank among all questions (0.95: most of them gain less); the
means over all of them stand below it.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WIDTH, MARGIN, SIDE, ROW = 1180, 24, 420, 24
INK, SOFT, RIGHT, WRONG, PAPER = "#1b1f24", "#5b6470", "#1a7f4b", "#b3402e", "#ffffff"
BOXES = ("#e6194b", "#4363d8", "#f58231", "#911eb4", "#3cb44b", "#42d4f4")


def responses(path: Path) -> dict[str, list[str]]:
    """Answers by question, from the lines beside a result."""
    rows = [json.loads(line) for line in path.with_suffix(".responses.jsonl").read_text().splitlines()]
    return {row["id"]: row["responses"] for row in rows if "id" in row}


def rewards_of(record: Any, answers: list[str]) -> list[float]:
    from spatial_jax.rewards import score

    plain = record.as_dict()
    return [float(score(plain["reward"], answer, plain)) for answer in answers]


def choose(records: dict[str, Any], before: dict[str, list[str]], after: dict[str, list[str]], rank: float) -> Any:
    """(record, rewards before, rewards after, mean before, mean after) of the question at `rank` by gain."""
    told = []
    for name in before.keys() & after.keys() & records.keys():
        old, new = rewards_of(records[name], before[name]), rewards_of(records[name], after[name])
        told.append((sum(new) / len(new) - sum(old) / len(old), name, old, new))
    told.sort(key=lambda row: row[:2])
    _, name, old, new = told[min(int(rank * len(told)), len(told) - 1)]
    means = [sum(sum(row[place]) / len(row[place]) for row in told) / len(told) for place in (2, 3)]
    return records[name], old, new, *means


def draw_objects(record: Any, scenes: str) -> Image.Image:
    """The question's picture, enlarged, its named objects in boxes."""
    from data_prep.synthesis.dataset import SceneDataset

    image = Image.open(io.BytesIO(record.images[0])).convert("RGB")
    scale = SIDE / image.width
    image = image.resize((SIDE, round(image.height * scale)), Image.Resampling.LANCZOS)
    draw, taken = ImageDraw.Draw(image), list[tuple[float, ...]]()
    scene = next((s for s in SceneDataset(scenes) if s.scene_id == record.scene_id), None) if scenes else None
    for number, item in enumerate(scene.objects if scene else ()):
        left, top, right, bottom = (float(v) * scale for v in item.box)
        color = BOXES[number % len(BOXES)]
        draw.rectangle((left, top, right, bottom), outline=color, width=3)
        label(draw, left, top, item.caption or item.name, color, taken)
    return image


def label(
    draw: ImageDraw.ImageDraw, left: float, top: float, text: str, color: str, taken: list[tuple[float, ...]]
) -> None:
    """A box's name on paper above it, moved down until it covers no other name."""
    font = ImageFont.load_default(size=15)
    width, height = draw.textlength(text, font=font) + 8, 20
    x, y = min(max(left, 0.0), SIDE - width), max(0.0, top - height)
    while any(
        x < right and first < x + width and y < below and above < y + height for first, above, right, below in taken
    ):
        y += height
    taken.append((x, y, x + width, y + height))
    draw.rectangle((x, y, x + width, y + height), fill=PAPER)
    draw.text((x + 4, y + 1), text, fill=color, font=font)


def column(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], title: str, answers: list[str], rewards: list[float]
) -> None:
    """Answers below one another, each with its reward."""
    x, y = at
    mean = sum(rewards) / len(rewards)
    draw.text((x, y), f"{title}: mean reward {mean:.2f}", fill=INK, font=ImageFont.load_default(size=17))
    small = ImageFont.load_default(size=15)
    for number, (answer, reward) in enumerate(zip(answers, rewards, strict=True)):
        top = y + 32 + number * ROW
        color = RIGHT if reward > 0.5 else WRONG
        draw.rounded_rectangle((x, top, x + 46, top + ROW - 5), 5, fill=color)
        draw.text((x + 9, top + 1), f"{reward:.2f}", fill=PAPER, font=small)
        text = " ".join(answer.split()) or "(nothing)"
        draw.text((x + 58, top + 1), text[:30] + ("…" if len(text) > 30 else ""), fill=INK, font=small)


def page(
    record: Any, picture: Image.Image, columns: list[tuple[str, list[str], list[float]]], note: str
) -> Image.Image:
    height = 96 + max(picture.height, 40 + 16 * ROW) + 56
    canvas = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text(
        (MARGIN, 20), record.question.replace("<image>", "").strip(), fill=INK, font=ImageFont.load_default(size=24)
    )
    draw.text((MARGIN, 56), f"true answer: {record.answer}", fill=SOFT, font=ImageFont.load_default(size=17))
    canvas.paste(picture, (MARGIN, 96))
    for number, (title, answers, rewards) in enumerate(columns):
        column(draw, (MARGIN + SIDE + 36 + number * 350, 96), title, answers, rewards)
    draw.text((MARGIN, height - 36), note, fill=SOFT, font=ImageFont.load_default(size=15))
    return canvas


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="result of an evaluation with --samples=16")
    parser.add_argument("after", type=Path, help="the same of the trained policy")
    parser.add_argument("--questions", required=True, help="the dataset that was asked")
    parser.add_argument("--scenes", default="", help="its scenes, for the boxes")
    parser.add_argument("--rank", type=float, default=0.95, help="which question, by its gain among all: 0 to 1")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("before_after.png"))
    args = parser.parse_args()
    from spatial_jax.data.records import in_stored_pixels
    from spatial_jax.evals.runner import load_records

    records = {record.question_id: record for record in load_records([args.questions], "heldout")}
    before, after = responses(args.before), responses(args.after)
    record, old, new, mean_old, mean_new = choose(records, before, after, args.rank)
    record = in_stored_pixels(record)
    name = record.question_id
    note = (
        f"Chosen for its gain among {len(before)} held-out questions, sixteen answers each; mean reward of all of them:"
        f" {mean_old:.2f} before, {mean_new:.2f} after."
    )
    columns = [("before GRPO", before[name], old), ("after GRPO", after[name], new)]
    page(record, draw_objects(record, args.scenes), columns, note).save(args.out, optimize=True)
    print(f"{args.out}: {record.question!r} ({name})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
