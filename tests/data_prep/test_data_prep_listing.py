"""Folders as people have them: links in circles and into nothing, pipes, names of other encodings."""

import os

import numpy as np
from PIL import Image

from data_prep.annotate.__main__ import main
from data_prep.sources import open_source
from data_prep.sources.listing import left_out_text, walk


def _pictures(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (40, 50, 3), np.uint8)).save(folder / name)


def test_five_pictures_stay_five_records(tmp_path, capsys):
    photos = tmp_path / "all" / "photos"
    _pictures(photos, [f"{k}.jpg" for k in (1, 2, 10, 11, 100)])
    _pictures(tmp_path / "elsewhere", ["far.jpg"])
    (photos / "sub").mkdir()
    (photos / "parent").symlink_to(photos)
    (photos / "sub" / "up").symlink_to(tmp_path / "all")
    (photos / "a").symlink_to(photos / "b")
    (photos / "b").symlink_to(photos / "a")
    (photos / "loop.jpg").symlink_to(photos / "loop.jpg")
    (photos / "gone.jpg").symlink_to(photos / "nothing.jpg")
    os.mkfifo(photos / "pipe.jpg")
    (photos / "null.png").symlink_to("/dev/zero")
    with open(os.fsencode(photos) + b"/caf\xe9.jpg", "wb") as file:
        file.write((photos / "1.jpg").read_bytes())
    os.mkdir(os.fsencode(photos) + b"/d\xe9r")
    source = open_source({"source": "folder", "path": str(photos)})
    assert [source.item_id(i) for i in range(len(source))] == ["1.jpg", "2.jpg", "10.jpg", "11.jpg", "100.jpg"]
    text = left_out_text(source.left_out)
    assert len(source.left_out) == 8 and text.startswith("left out 8 ") and "and 3 more" in text
    assert any("gone.jpg: a link that leads nowhere" in line for line in source.left_out)
    assert any("pipe.jpg: a pipe" in line for line in source.left_out)
    assert any("caf\\xe9.jpg" in line for line in source.left_out)
    text.encode()
    (photos / "more").symlink_to(tmp_path / "elsewhere")
    assert len(open_source({"source": "folder", "path": str(photos)})) == 6, "a linked folder elsewhere counts once"
    assert main(["--source=folder", f"--path={photos}", f"--out={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "6 records" in printed and "left out 8" in printed


def test_a_folder_listed_by_its_link_and_its_name_counts_once(tmp_path):
    _pictures(tmp_path / "real", ["1.png"])
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    assert [name for name, _ in walk(tmp_path, (".png",))] == ["real/1.png"]
