"""What an export remembers of how its policy was asked: written, read back, read by transformers, and gone by."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from question_sets import make_policy_folder

import tests.torchvision_shim  # noqa: F401
from spatial_jax.data.asked import TEMPLATE, UNKNOWN, Asking, limits_of, read_asking, settle, write_asking
from spatial_jax.models import ASKING_FILE
from spatial_jax.models.configs import published_config
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.models.policy import PROCESSOR_FILES
from spatial_jax.processing import Processor, train_tokenizer

ASKING = Asking("think_answer", "Look closely.", 300)
LIMITS = (56 * 56, 112 * 112, 84 * 84, 140 * 140)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_policy_folder(tmp_path_factory.mktemp("asked"))


def limited(folder, limits=LIMITS):
    names = ("min_pixels", "max_pixels", "video_min_pixels", "video_max_pixels")
    return Processor.from_pretrained(folder, **dict(zip(names, limits)))


def one_file(folder):
    """As older checkpoints have it: pictures and videos share a file."""
    (folder / "video_preprocessor_config.json").unlink()


def whole_file(folder):
    """As transformers 5 writes it: everything in processor_config.json."""
    parts = {}
    for kind, name in (("image", "preprocessor_config.json"), ("video", "video_preprocessor_config.json")):
        parts[f"{kind}_processor"] = json.loads((folder / name).read_text())
        (folder / name).unlink()
    (folder / "processor_config.json").write_text(json.dumps(parts))


@pytest.mark.parametrize("spelling", [lambda folder: None, one_file, whole_file], ids=["two", "one", "whole"])
def test_what_is_written_is_read_back(folder, tmp_path, spelling):
    copy = shutil.copytree(folder, tmp_path / "export")
    spelling(copy)
    assert read_asking(copy) is None
    write_asking(copy, ASKING, limited(copy))
    trained = read_asking(copy)
    assert trained == Asking("think_answer", "Look closely.", 300, 1, None, "qwen", *LIMITS)
    assert tuple(limits_of(Processor.from_pretrained(copy)).values()) == LIMITS
    write_asking(copy, None, limited(copy, (28 * 28, 56 * 56, 84 * 84, 140 * 140)))  # alignment asks nothing
    assert read_asking(copy).prompt_mode == "think_answer" and read_asking(copy).max_pixels == 56 * 56
    assert ASKING_FILE in PROCESSOR_FILES


@pytest.mark.parametrize("size", ["qwen2_5_vl_3b", "qwen3_vl_2b"])
def test_transformers_resizes_an_export_s_pictures_as_training_did(tmp_path, size):
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    config = published_config(size)
    ids = train_tokenizer(["Which is closer?"] * 30, 400, tmp_path, family=config.family)
    (tmp_path / "config.json").write_text(json.dumps({**config_to_hf(config), **ids}))
    side = 28 if size == "qwen2_5_vl_3b" else 32
    limits = tuple((side * n) ** 2 for n in (3, 6, 8, 11))
    processor = limited(tmp_path, limits)
    write_asking(tmp_path, ASKING, processor)
    pixels = np.random.default_rng(0).integers(0, 255, (8, 480, 640, 3), dtype=np.uint8)
    grid = Qwen2VLImageProcessorPil.from_pretrained(tmp_path)(Image.fromarray(pixels[0]), return_tensors="np")
    assert grid["image_grid_thw"][0].tolist() == list(processor.prepare_image(Image.fromarray(pixels[0])).grid)
    kind = Qwen3VLVideoProcessor if config.family == "qwen3_vl" else Qwen2VLVideoProcessor
    clip = kind.from_pretrained(tmp_path)([pixels], do_sample_frames=False, return_tensors="pt")
    frames = [Image.fromarray(frame) for frame in pixels]
    assert clip["video_grid_thw"][0].tolist() == list(processor.prepare_video(frames).grid)


def test_what_nobody_told_is_as_it_was_trained(folder, tmp_path):
    plain, line = settle(folder, {"prompt_mode": None, "max_pixels": None})
    assert plain == UNKNOWN and "does not say how it was trained" in line and "max_pixels 1,003,520" in line
    copy = shutil.copytree(folder, tmp_path / "export")
    write_asking(copy, ASKING, limited(copy))
    trained = read_asking(copy)
    same, line = settle(copy, {"prompt_mode": None, "system": None, "max_new_tokens": 400})
    assert (same.prompt_mode, same.system, same.max_pixels) == ("think_answer", "Look closely.", 112 * 112)
    assert line.startswith(
        "asked as it was trained: prompt_mode think_answer, system 'Look closely.', min_pixels 3,136"
    )
    other, line = settle(copy, {"prompt_mode": "bare", "system": TEMPLATE, "max_pixels": 84 * 84})
    assert (other.prompt_mode, other.system, other.max_pixels) == ("bare", None, 84 * 84)
    assert line.count("\n") == 0 and line.endswith(
        "trained otherwise: prompt_mode think_answer, system 'Look closely.', max_pixels 12,544"
    )
    assert settle(copy, {"system": ""})[0].system == "" and settle(copy, {})[0] == trained
    assert settle(copy, {"max_new_tokens": 20})[1].endswith("trained otherwise: max_new_tokens 300")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[", "not valid JSON"),
        ('{"prompt_mode": "think"}', "prompt_mode 'think' is not one of"),
        ('{"system": "x"}', "prompt_mode None is not one of"),
        ('{"prompt_mode": "bare", "system": 3}', "system must be a text"),
        ('{"prompt_mode": "bare", "max_new_tokens": -1}', "max_new_tokens must be a whole number above 0"),
        ('{"prompt_mode": "bare", "form": "x"}', "'form' is not known here"),
        ('["bare"]', "an object"),
    ],
)
def test_a_file_that_cannot_be_that_is_one_line(folder, tmp_path, text, words):
    copy = shutil.copytree(folder, tmp_path / "export")
    (copy / ASKING_FILE).write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        read_asking(copy)
    assert ASKING_FILE in str(error.value) and "\n" not in str(error.value)
