"""Every kind of broken picture costs itself one line and nothing else; broken runs cost one line and exit code 2."""

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from data_prep.annotate.__main__ import main
from data_prep.sources import BadItem
from data_prep.sources.pictures import open_picture
from spatial_jax.data.records import SceneRecord, from_example


def _photo(size=(80, 60), mode="RGB"):
    pixels = np.add.outer(np.arange(size[1]), np.arange(size[0]))[..., None] * np.array([1, 2, 3])
    return Image.fromarray((pixels % 256).astype(np.uint8)).convert(mode)


def _bytes(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _half(data):
    return data[: len(data) // 2]


def _bomb():
    """A small PNG file that claims 30,000 x 30,000 pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100000))) + chunk(b"IEND", b"")
    )


def _rotated():
    exif = Image.Exif()
    exif[0x0112] = 6
    return _bytes(_photo(), "JPEG", exif=exif)


REFUSED = {
    "empty.jpg": (b"", "the file is empty"),
    "text.jpg": (b"hello, I am a letter", "not a picture"),
    "dot.png": (_bytes(_photo((1, 1)), "PNG"), "1x1 pixels"),
    "truncated.jpg": (_half(_bytes(_photo((300, 200)), "JPEG")), "truncated"),
    "truncated.png": (_half(_bytes(_photo((300, 200)), "PNG")), "truncated"),
    "bomb.png": (_bomb(), "bomb"),
    "damaged.png": (_bytes(_photo((300, 200)), "PNG")[:100] + b"\0" * 500, "cannot be decoded"),
}
REPAIRED = {
    "cmyk.jpg": (_bytes(_photo(mode="CMYK"), "JPEG"), "CMYK converted to RGB", (60, 80)),
    "deep.png": (
        _bytes(Image.fromarray(np.arange(60 * 80, dtype=np.uint16).reshape(60, 80) * 13), "PNG"),
        "scaled to 8 bits",
        (60, 80),
    ),
    "moving.gif": (
        _bytes(
            _photo(mode="P"), "GIF", save_all=True, append_images=[_photo(mode="P").rotate(9 * k) for k in (1, 2, 3)]
        ),
        "first of 4 frames",
        (60, 80),
    ),
    "turned.jpg": (_rotated(), "turned upright", (80, 60)),
    "glass.png": (
        _bytes(Image.merge("RGBA", [*_photo().split(), Image.new("L", (80, 60), 128)]), "PNG"),
        "transparency",
        (60, 80),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    data, words = REFUSED[name]
    with pytest.raises(BadItem, match=words) as error:
        open_picture(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", REPAIRED)
def test_repaired(name):
    data, words, shape = REPAIRED[name]
    picture = open_picture(data)
    assert picture.rgb.shape == (*shape, 3) and picture.rgb.dtype == np.uint8
    assert any(words in note for note in picture.notes)
    again = np.asarray(Image.open(io.BytesIO(picture.encoded)))
    assert again.shape == picture.rgb.shape and np.abs(again.astype(int) - picture.rgb).mean() < 4


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_plain_pictures_need_no_note(mode):
    picture = open_picture(_bytes(_photo(mode=mode), "PNG"))
    assert picture.notes == [] and picture.rgb.shape == (60, 80, 3)


def test_focal_length_comes_from_exif_or_not_at_all():
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 28
    fx, fy, cx, cy = open_picture(_bytes(_photo(), "JPEG", exif=exif)).exif_intrinsics()
    assert fx == fy == pytest.approx(28 * 100 / 43.2666) and (cx, cy) == (39.5, 29.5)
    exif.get_ifd(0x8769)[0xA405] = 0
    assert open_picture(_bytes(_photo(), "JPEG", exif=exif)).exif_intrinsics() is None


def test_a_folder_of_broken_pictures_gives_the_good_ones_and_names_the_others(tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, (data, *_) in {**REFUSED, **REPAIRED}.items():
        (folder / name).write_bytes(data)
    for k in range(9):
        (folder / f"good{k}.jpg").write_bytes(_bytes(_photo((90 + k, 60)), "JPEG"))
    (folder / "notes.txt").write_text("not looked at")
    out = tmp_path / "out"
    assert main(["--source=folder", f"--path={folder}", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    for name in REFUSED:
        assert sum(line.startswith("failed at load: " + name + ":") for line in printed.splitlines()) == 1
    for name in REPAIRED:
        assert f"repaired: {name}:" in printed
    assert "14 records" in printed and "7 failed, 5 repaired or not trusted" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["items"]["record"] == 14 and manifest["items"]["failed"] == 7
    skipped = [json.loads(line) for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert {s["item"] for s in skipped} == {*REFUSED, *REPAIRED}
    builder = tfds.builder_from_directory(out)
    records = [
        from_example(SceneRecord, e)
        for split in builder.info.splits
        for e in builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    ]
    assert len(records) == 14
    turned = next(r for r in records if r.scene_id == "turned.jpg")
    assert (turned.width, turned.height) == (60, 80)


def test_too_many_failures_stop_the_run_with_the_reason(tmp_path, capsys):
    for k in range(60):
        (tmp_path / f"{k:02d}.jpg").write_text("no picture")
    assert main(["--source=folder", f"--path={tmp_path}", f"--out={tmp_path}/out", "--max_failures=0.3"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert "more than the allowed share 0.3" in error[-1] and "not a picture" in error[-1]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--source=folder", "--path=EMPTY"], "no pictures in"),
        (["--source=folder", "--path=NOWHERE"], "no such folder"),
        (["--source=folder"], "needs --path"),
        (["--source=rgbd", "--path=EMPTY"], "no colour picture with depth"),
        (["--source=video", "--path=EMPTY"], "no videos in"),
        (["--source=tfds", "--name=no_such_dataset"], "cannot be opened"),
        (["--source=folder", "--path=package:numpy"], "no photos known in package"),
        (["--source=rendered", "--count=0"], "--count must be"),
    ],
)
def test_unusable_sources_end_with_one_line_and_code_2(tmp_path, capsys, arguments, words):
    (tmp_path / "EMPTY").mkdir()
    assert main([*(a.replace("EMPTY", str(tmp_path / "EMPTY")) for a in arguments), f"--out={tmp_path}/out"]) == 2
    error = capsys.readouterr().err.strip()
    assert words in error and len(error.splitlines()) == 1


def test_an_output_that_cannot_be_written_ends_with_one_line_and_code_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["--source=rendered", "--count=3", f"--out={tmp_path}/file/out"]) == 2
    error = capsys.readouterr().err.strip()
    assert "cannot write to" in error and len(error.splitlines()) == 1


def test_a_full_disk_ends_with_one_line_and_code_2_and_a_later_run_goes_on(tmp_path):
    """A limit on the size of files stands in for the full disk: writes fail in the middle, as they do there."""
    command = [
        sys.executable,
        "-m",
        "data_prep.annotate",
        "--source=rendered",
        "--count=20",
        "--workers=1",
        f"--out={tmp_path}/out",
    ]
    # Bytecode that meets the limit would stay, cut off, for every later import.
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))

    full = subprocess.run(command, capture_output=True, text=True, preexec_fn=limit, env=environment, check=False)
    assert full.returncode == 2 and "Traceback" not in full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert last.startswith("annotate: ") and "run the same command again" in last
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0 and "going on at item" in again.stdout and "20 records" in again.stdout


def test_annotate_names_the_verb_that_reads_what_it_wrote(tmp_path, capsys):
    """Photos without objects go to selfsup, whose option is --photos; walks are rooms."""
    from data_prep import selfsup, synthesize
    from data_prep.annotate.__main__ import report

    for source, objects, module, option in (
        ("folder", 0, selfsup, "--photos"),
        ("folder", 3, synthesize, "--scenes"),
        ("walk", 3, synthesize, "--rooms"),
    ):
        report(
            {
                "items": {"record": 1, "objects": objects, "dropped": 0, "failed": 0, "notes": 0},
                "splits": {},
                "reasons": {},
                "identity": {"config": {"source": {"source": source}}},
            },
            str(tmp_path),
        )
        words = capsys.readouterr().out.rsplit("python -m ", 1)[1].split()
        assert words[:2] == [module.__name__, f"{option}={tmp_path}"]
        assert module.parser().parse_args(words[1:]).out == f"{tmp_path}_questions"
