"""The command blocks of README and docs/ run, in one folder, on tiny data: sizes are cut, nothing else is changed."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.docs.blocks import HERE, PAGES, blocks_of

ORDER = ("laptop", "walk", "photos", "photos_depth", "questions", "reward", "sample", "evaluate", "resume", "rehearsal")
SMALLER = (
    (r"^--count=\d+$", "--count=80"),
    (r"^--per_photo=\d+$", "--per_photo=6"),
    (r"^--image=PICTURE$", "--image=photo.png"),
)
SHORT = ("steps=2", "prompts=8", "update_prompts=8", "micro_prompts=8")
RUNS = [block for name in ORDER for page in PAGES for block in blocks_of(page) if block.run == name]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What a reader has: photos, a question file, a reward."""
    from skimage import data

    root = tmp_path_factory.mktemp("reader")
    (root / "my_photos").mkdir()
    for name in ("astronaut", "coffee", "chelsea", "rocket"):
        picture = Image.fromarray(getattr(data, name)())
        picture.thumbnail((320, 320))
        picture.save(root / "my_photos" / f"{name}.png")
    Image.open(root / "my_photos" / "coffee.png").save(root / "photo.png")
    (root / "my_rgbd").mkdir()
    exif = Image.Exif()
    exif[0x8769] = {0xA405: 28, 0xA002: 640, 0xA003: 480}
    for name in ("astronaut", "coffee"):
        picture = Image.fromarray(getattr(data, name)()).resize((640, 480))
        picture.save(root / "my_rgbd" / f"{name}.jpg", exif=exif)
        depth = np.broadcast_to(np.linspace(1500, 5000, 640), (480, 640)).astype(np.uint16)
        Image.fromarray(depth).save(root / "my_rgbd" / f"{name}_depth.png")
    rows = [
        {"images": [f"my_photos/{name}.png"], "problem": f"<image>How many {what} are there?", "answer": str(count)}
        for name, what, count in (("astronaut", "people", 1), ("coffee", "cups", 1), ("chelsea", "eyes", 2))
        for _ in range(4)
    ]
    for number, row in enumerate(rows):
        row["problem"] = row["problem"].replace("?", "?" * (1 + number % 4))
    (root / "my_questions.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (root / "my_reward.py").write_text(
        "def reward(response, record):\n    return float(record['answer'] in response)\n"
    )
    return root


def shortened(command):
    words = []
    for word in command:
        for pattern, other in SMALLER:
            word = re.sub(pattern, other, word)
        words.append(word)
    if "--source=walk" in words:
        words[words.index("--count=80")] = "--count=3"
    if "--config=configs/quickstart.py" in " ".join(words):
        given = [word.partition("=")[0] for word in words]
        words += [f"--config.train.{key}" for key in SHORT if f"--config.train.{key.partition('=')[0]}" not in given]
    if "spatial_jax.evaluate" in words and "--samples=8" in words:
        words.append("--limit=12")
    return words


@pytest.mark.proof
@pytest.mark.parametrize("block", RUNS, ids=lambda block: f"{block.run}-{block.name}")
def test_the_block_runs(block, folder):
    env = {**os.environ, "PYTHONPATH": str(HERE), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    for command in block.commands:
        words = shortened(command)
        assert words[0] == "python"
        if words[1].startswith("launch/"):
            words[1] = str(HERE / words[1])
        done = subprocess.run([sys.executable, *words[1:]], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-1000:]}\n{done.stderr[-2000:]}"


@pytest.mark.proof
def test_the_python_example_runs(folder):
    (code,) = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.S)
    env = {**os.environ, "PYTHONPATH": str(HERE), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "0.866" in done.stdout
