"""Filters: photos pass, broken exposures do not, copies and evaluation pictures are found in any disguise, every drop
has a countable reason.
"""

import io
import json

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageEnhance, ImageFilter

from data_prep.annotate.__main__ import main
from data_prep.annotate.chat_models import EndpointSettings
from data_prep.annotate.settings import make, parse_overrides
from data_prep.filters import choose_filters
from data_prep.filters.duplicates import DuplicateSettings, Leakage, LeakageSettings, NearDuplicates
from data_prep.filters.quality import QualitySettings, statistics, verdict
from data_prep.sources import Frame, SourceError

COFFEE, CAT, ROCKET = skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()
NOISE = np.random.default_rng(0)


def _blurred():
    return np.asarray(Image.fromarray(COFFEE).filter(ImageFilter.GaussianBlur(12)))


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (COFFEE, ""),
        (CAT, ""),
        (ROCKET, ""),
        (skimage.data.astronaut(), ""),
        (COFFEE // 12, "too dark"),
        (255 - (255 - CAT) // 16, "too bright"),
        (CAT // 12 + 110, "hardly any contrast"),
        (np.where(COFFEE > 100, 255, 0).astype(np.uint8).max(-1, keepdims=True).repeat(3, -1), "too much clipped"),
        (_blurred(), "blurred"),
        (
            np.array([40, 90, 140, 190], np.uint8)[NOISE.integers(0, 4, (200, 200, 1))].repeat(3, -1),
            "hardly any colours",
        ),
        (COFFEE[:100], "too narrow"),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_quality_bounds(picture, reason):
    found = verdict(statistics(picture), QualitySettings())[0]
    assert found.startswith(reason) and bool(found) == bool(reason)


def test_quality_numbers_are_what_they_say():
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((32, 32))).astype(np.uint8)[..., None].repeat(3, -1) * 255
    found = statistics(board)
    assert found["luma"] == pytest.approx(0.5) and found["contrast"] == pytest.approx(0.5) and found["clipped"] == 1
    assert found["entropy"] == pytest.approx(1.0) and found["aspect"] == 1
    assert statistics(np.full((40, 60, 3), 128, np.uint8)) == pytest.approx(
        {"luma": 128 / 255, "contrast": 0, "clipped": 0, "entropy": 0, "sharpness": 0, "aspect": 1.5}, abs=1e-5
    )


def _frame(rgb):
    return Frame("x", "test", np.ascontiguousarray(rgb))


def _jpeg(rgb, scale=1.0, quality=60, light=1.0):
    image = Image.fromarray(rgb)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    out = io.BytesIO()
    ImageEnhance.Brightness(image).enhance(light).save(out, "JPEG", quality=quality)
    return np.asarray(Image.open(out))


def test_copies_are_found_in_disguise_and_others_stay():
    selector = NearDuplicates(DuplicateSettings())
    pictures = {
        "coffee": COFFEE,
        "cat": CAT,
        "small": _jpeg(COFFEE, 0.4),
        "dim": _jpeg(COFFEE, 1.3, 40, 0.85),
        "rocket": ROCKET,
        "cat2": _jpeg(CAT, 0.7),
        "part": COFFEE[:200, :300],
        "noise": NOISE.integers(0, 255, (64, 64, 3), dtype=np.uint8),
    }
    reasons = dict(
        zip(pictures, selector.choose(list(pictures), [selector.signature(_frame(p)) for p in pictures.values()]))
    )
    assert {k for k, v in reasons.items() if v} == {"small", "dim", "cat2"}
    assert reasons["small"].startswith("near-duplicate | of coffee,") and reasons["cat2"].startswith(
        "near-duplicate | of cat,"
    )


def test_evaluation_pictures_are_found_in_files_and_parquet_even_mirrored(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "deep").mkdir()
    Image.fromarray(np.ascontiguousarray(COFFEE[:, ::-1])).save(tmp_path / "deep" / "mirrored.jpg", quality=70)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    (tmp_path / "broken.parquet").write_bytes(b"no table")
    content = io.BytesIO()
    Image.fromarray(CAT).resize((200, 133)).save(content, "PNG")
    pq.write_table(
        pa.table({"id": [1, 2], "image": [{"bytes": b"", "path": "a"}, {"bytes": content.getvalue(), "path": "b"}]}),
        tmp_path / "eval.parquet",
    )
    selector = Leakage(LeakageSettings(pictures=(str(tmp_path),)))
    reasons = selector.choose(["a", "b", "c"], [selector.signature(_frame(p)) for p in (COFFEE, CAT, ROCKET)])
    assert reasons[0].startswith("an evaluation picture | deep/mirrored.jpg (mirrored)")
    assert reasons[1].startswith("an evaluation picture | eval.parquet#1.image,") and reasons[2] == ""
    with pytest.raises(SourceError, match=r"leakage\.pictures"):
        Leakage(LeakageSettings())


def test_a_folder_through_all_filters_that_need_no_model(tmp_path, capsys):
    photos, evaluation = tmp_path / "photos", tmp_path / "evaluation"
    photos.mkdir()
    evaluation.mkdir()
    for name, rgb in {"a": COFFEE, "b": _jpeg(COFFEE, 0.5), "c": CAT, "d": ROCKET // 20, "e": ROCKET}.items():
        Image.fromarray(rgb).save(photos / f"{name}.png")
    Image.fromarray(CAT).save(evaluation / "question.jpg")
    arguments = [
        "--source=folder",
        f"--path={photos}",
        f"--out={tmp_path / 'out'}",
        "--filters=leakage,quality,duplicates",
        "--workers=1",
        f"--set=leakage.pictures={evaluation}",
        "--set=quality.least_luma=0.05",
    ]
    assert main(arguments) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["reasons"] == {
        "quality": {"dropped: too dark (luma < 0.05)": 1},
        "selection": {"dropped: duplicates: near-duplicate": 1, "dropped: leakage: an evaluation picture": 1},
    }
    lines = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").read_text().splitlines()]
    assert [(line["item"], line["reason"].split(" | ")[1][:8]) for line in lines] == [
        ("b.png", "of a.png"),
        ("c.png", "question"),
        ("d.png", "luma 0.0"),
    ]
    assert "near-duplicate | of a.png" in capsys.readouterr().out


def test_settings_are_strict():
    assert choose_filters("clip, quality") == ("quality", "clip")
    with pytest.raises(SourceError, match="no filter 'blur'"):
        choose_filters("blur")
    with pytest.raises(SourceError, match="nearest is 'least_contrast'"):
        make("quality", {"least_contrst": "1"}, QualitySettings)
    with pytest.raises(SourceError, match="wants a value like 0"):
        make("quality", {"least_luma": "dark"}, QualitySettings)
    with pytest.raises(SourceError, match="nearest is 'masks'"):
        parse_overrides(["mask.most=3"])
    with pytest.raises(SourceError, match=r"GROUP\.KEY=VALUE"):
        parse_overrides(["masks.most"])
    assert make("leakage", {"pictures": "a; b"}, LeakageSettings)[0].pictures == ("a", "b")


def test_a_key_in_a_setting_is_not_shown():
    key = "sk-1234567890abcdefghi"
    for texts in ([f"captions={key}"], [f"caption.max_tokens={key}"], [f"{key}"]):
        with pytest.raises(SourceError) as raised:
            parse_overrides(texts)
        assert key not in str(raised.value)
    with pytest.raises(SourceError, match="wants a value like") as raised:
        make("captions", parse_overrides([f"captions.max_tokens={key}"])["captions"], EndpointSettings)
    assert key not in str(raised.value)
