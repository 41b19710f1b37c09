"""Ids, positions and pixels against transformers' own processors, on a tokenizer trained here."""

import json
from types import MethodType, SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision_shim  # noqa: F401  (before transformers' processors)
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLModel
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLModel

from spatial_jax.models.configs import published_config
from spatial_jax.models.hf_config import config_to_hf
from spatial_jax.processing import Processor, Video, train_tokenizer
from spatial_jax.processing import image as pictures
from spatial_jax.processing.image import normalise

MODELS = {"qwen2_vl": Qwen2VLModel, "qwen2_5_vl": Qwen2_5_VLModel, "qwen3_vl": Qwen3VLModel}
SIZES = {"qwen2_vl": "qwen2_vl_2b", "qwen2_5_vl": "qwen2_5_vl_3b", "qwen3_vl": "qwen3_vl_2b"}
TEXTS = [
    "Which is closer, the cup or the book?",
    "The box is [12, 40, 133, 97].",
    "How far is the lamp? 3.25 m",
    "Answer with A, B, C or D.",
]
RNG = np.random.default_rng(0)


def picture(width, height):
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([127 + 90 * np.sin(x / 17 + y / 31), 255 * x / width, 255 * y / height], -1)
    return Image.fromarray((smooth + RNG.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made = {}
    for family, size in SIZES.items():
        folder = tmp_path_factory.mktemp(family)
        ids = train_tokenizer(TEXTS * 40, 400, folder, family=family, max_pixels=400 * 28 * 28)
        config = config_to_hf(published_config(size))
        target = config.get("text_config", config)
        target["vocab_size"] = ids.pop("vocab_size")
        (folder / "config.json").write_text(json.dumps({**config, **ids}))
        made[family] = folder
    return made


@pytest.fixture(scope="module")
def references(folders):
    return {family: AutoProcessor.from_pretrained(folder) for family, folder in folders.items()}


def conversation(*kinds, text="Which is closer?"):
    return [{"role": "user", "content": [{"type": kind} for kind in kinds] + [{"type": "text", "text": text}]}]


def hf_arrays(processor, conversations, padding_side="left", **media):
    texts = [processor.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
    media = {k: v for k, v in media.items() if v}
    processor.tokenizer.padding_side = padding_side
    return processor(text=texts, padding=True, return_tensors="pt", **media)


def hf_positions(family, folder, arrays):
    config = json.loads((folder / "config.json").read_text())
    stub = SimpleNamespace(
        config=SimpleNamespace(
            image_token_id=config["image_token_id"],
            video_token_id=config["video_token_id"],
            vision_start_token_id=config["vision_start_token_id"],
            vision_config=SimpleNamespace(spatial_merge_size=2, tokens_per_second=2),
        )
    )
    stub.get_vision_position_ids = MethodType(MODELS[family].get_vision_position_ids, stub)
    keys = ("input_ids", "mm_token_type_ids", "image_grid_thw", "video_grid_thw", "attention_mask")
    given = {k: arrays[k] for k in keys if k in arrays}
    if family == "qwen2_5_vl" and "second_per_grid_ts" in arrays:
        given["second_per_grid_ts"] = torch.as_tensor(arrays["second_per_grid_ts"])
    return MODELS[family].get_rope_index(stub, **given)[0].numpy()


def same_arrays(ours, theirs, levels=0.0, share=0.02):
    for name in ("input_ids", "attention_mask", "mm_token_type_ids", "image_grid_thw", "video_grid_thw"):
        assert (name in ours) == (name in theirs), name
        if name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name].numpy(), err_msg=name)
    for name in ("pixel_values", "pixel_values_videos"):
        assert (name in ours) == (name in theirs), name
        if name in ours:
            difference = np.abs(ours[name] - theirs[name].numpy())
            assert difference.max() <= levels / 255 / 0.25 + 3e-7, (name, difference.max())
            assert (difference > 1e-6).mean() <= share


@pytest.mark.parametrize("family", list(SIZES))
def test_tokenizer_gives_transformers_ids(folders, family):
    reference = AutoTokenizer.from_pretrained(folders[family])
    ours = Processor.from_pretrained(folders[family]).tokenizer
    texts = [
        *TEXTS,
        "",
        "  two  spaces\n\n\nlines\r\n tab\t.",
        "Größe Ünïcødé e\u0301 日本語 🙂 1234567",
        "<|im_start|>x<|im_end|><|image_pad|> <tool_call>",
        "I'll we'RE it's",
        "a" * 300,
        " ... [1,2]{x}\\boxed{B}",
    ]
    for text in texts:
        ids = ours.encode(text)
        assert ids == reference.encode(text), text
        for skip in (True, False):
            assert ours.decode(ids, skip) == reference.decode(ids, skip_special_tokens=skip)
    assert len(ours) == len(reference)


@pytest.mark.parametrize("family", list(SIZES))
def test_one_image_several_images_and_text(folders, references, family):
    ours = Processor.from_pretrained(folders[family], position_rule="hf5")
    cases = [
        ([conversation()], []),
        ([conversation("image")], [picture(280, 224)]),
        ([conversation("image", "image")], [picture(336, 448), picture(448, 224)]),
        (
            [conversation("image"), conversation(), conversation("image", "image", text="Is it?")],
            [picture(448, 448), picture(224, 672), picture(336, 336)],
        ),
    ]
    for side in ("left", "right"):
        for conversations, images in cases:
            if family == "qwen3_vl":
                images = [image.resize((image.width // 28 * 32, image.height // 28 * 32)) for image in images]
            theirs = hf_arrays(references[family], conversations, side, images=images)
            arrays = ours(conversations, images, padding_side=side)
            same_arrays(arrays, theirs)
            if images:
                from spatial_jax.models import batch_positions

                positions, _ = batch_positions(
                    arrays["input_ids"], ours.config, arrays["attention_mask"], arrays.get("image_grid_thw")
                )
                expected = hf_positions(family, folders[family], theirs)
                np.testing.assert_array_equal(positions, expected[-3:])


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_resized_pictures(folders, references, family):
    ours = Processor.from_pretrained(folders[family])
    slow = Qwen2VLImageProcessorPil.from_pretrained(folders[family])
    for width, height in ((640, 480), (300, 200), (97, 61), (31, 500), (1000, 900)):
        image = picture(width, height)
        arrays = ours(conversation("image"), [image])
        # To the bit where torch has its fixed-point path too (AVX2); elsewhere within 2 levels.
        fixed_point = torch.backends.cpu.get_cpu_capability().startswith("AVX")
        same_arrays(
            arrays,
            hf_arrays(references[family], [conversation("image")], images=[image]),
            *(() if fixed_point else (2, 0.02)),
        )
        new_width, new_height = ours.model_size(width, height)
        if not (new_width > width and new_height < height):  # PIL takes columns first then
            plain = slow(images=[image], return_tensors="pt")
            same_arrays({"pixel_values": arrays["pixel_values"]}, {"pixel_values": plain["pixel_values"]}, 2, 0.01)
        prepared = ours.prepare_image(image)
        side = ours.image_settings.patch_size
        assert prepared.size == (arrays["image_grid_thw"][0, 2] * side, arrays["image_grid_thw"][0, 1] * side)
        assert ours.model_size(width, height) == prepared.size


def test_grey_and_transparent_pictures(folders, references):
    ours = Processor.from_pretrained(folders["qwen2_5_vl"])
    for mode in ("L", "RGBA", "P", "LA"):
        image = picture(280, 280).convert(mode)
        if mode in ("RGBA", "LA"):
            image.putalpha(Image.fromarray(RNG.integers(0, 255, (280, 280), dtype=np.uint8)))
        same_arrays(
            ours(conversation("image"), [image]),
            hf_arrays(references["qwen2_5_vl"], [conversation("image")], images=[image]),
        )


@pytest.mark.parametrize("family", list(SIZES))
@pytest.mark.parametrize("frames", [4, 7, 60])
def test_video_ids_pixels_and_positions(folders, references, family, frames):
    ours = Processor.from_pretrained(folders[family], position_rule="hf5")
    clip = np.stack([np.asarray(picture(160, 96)) for _ in range(frames)])
    theirs = hf_arrays(
        references[family],
        [conversation("image", "video")],
        images=[picture(320, 320)],
        videos=[torch.from_numpy(clip).permute(0, 3, 1, 2)],
    )
    arrays = ours(conversation("image", "video"), [picture(320, 320)], [clip])
    same_arrays(
        {k: v for k, v in arrays.items() if k != "pixel_values"},
        {k: v for k, v in theirs.items() if k != "pixel_values"},
        levels=4,
    )
    assert ("second_per_grid_ts" in arrays) == (family == "qwen2_5_vl")
    prompt = ours.encode(conversation("image", "video"), [picture(320, 320)], [clip])
    np.testing.assert_array_equal(prompt.positions, hf_positions(family, folders[family], theirs)[-3:, 0])
    np.testing.assert_array_equal(prompt.input_ids, arrays["input_ids"][0])
    assert prompt.grid_thw.tolist() == [*arrays["image_grid_thw"].tolist(), *arrays["video_grid_thw"].tolist()]
    later = Processor.from_pretrained(folders[family]).encode(
        conversation("image", "video"), [picture(320, 320)], [clip]
    )
    assert later.next_position == later.positions.max() + 1  # what transformers 4.57 generates from


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"])
def test_video_with_a_rate_follows_transformers_metadata(folders, references, family):
    ours = Processor.from_pretrained(folders[family], position_rule="hf5")
    clip = np.stack([np.asarray(picture(128, 96)) for _ in range(48)])
    chosen = list(range(0, 48, 6))
    metadata = {"total_num_frames": 48, "fps": 12.0, "frames_indices": chosen}
    theirs = references[family](
        text=[
            references[family].apply_chat_template(conversation("video"), tokenize=False, add_generation_prompt=True)
        ],
        videos=[torch.from_numpy(clip[chosen]).permute(0, 3, 1, 2)],
        video_metadata=[metadata],
        do_sample_frames=False,
        return_tensors="pt",
    )
    arrays = ours(conversation("video"), videos=[Video(list(clip[chosen]), fps=12.0, indices=tuple(chosen), total=48)])
    same_arrays(arrays, theirs, levels=4)
    if family == "qwen2_5_vl":
        np.testing.assert_allclose(arrays["second_per_grid_ts"], np.asarray(theirs["second_per_grid_ts"]))
        sampled = references[family](
            text=["<|video_pad|>"],
            videos=[torch.from_numpy(clip).permute(0, 3, 1, 2)],
            video_metadata=[{"total_num_frames": 48, "fps": 12.0}],
            do_sample_frames=True,
            fps=2,
            return_tensors="pt",
        )
        from spatial_jax.processing.video import choose_frames

        assert len(choose_frames(48, 12.0, ours.video_settings)) == int(sampled["video_grid_thw"][0, 0]) * 2


def test_timestamps_in_the_training_form(folders):
    """transformers 4.57 (the form of training) has no outer marks; 5.23 keeps them: two tokens more a video."""
    clip = np.stack([np.asarray(picture(128, 96)) for _ in range(48)])
    video = Video(list(clip[::12]), fps=24.0, indices=(0, 12, 24, 36), total=48)
    trained, strict = (Processor.from_pretrained(folders["qwen3_vl"], position_rule=rule) for rule in ("qwen", "hf5"))
    short, long = (p.encode(conversation("video"), videos=[video]) for p in (trained, strict))
    assert len(long) == len(short) + 2
    text = trained.decode(short.input_ids, skip_special_tokens=False).replace("<|video_pad|>", "")
    assert "user\n<0.2 seconds><|vision_start|><|vision_end|><1.2 seconds><|vision_start|><|vision_end|>Which" in text


def test_chat_template_is_the_published_one(folders):
    tokenizer = Processor.from_pretrained(folders["qwen2_5_vl"]).tokenizer
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "a"}]},
        {"role": "assistant", "content": "b"},
    ]
    body = (
        "<|im_start|>user\n{}<|vision_start|><|image_pad|><|vision_end|>{}<|vision_start|><|video_pad|>"
        "<|vision_end|>a<|im_end|>\n"
        "<|im_start|>assistant\nb<|im_end|>\n"
    )
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    assert tokenizer.apply_chat_template(messages, False) == system + body.format("", "")
    numbered = tokenizer.apply_chat_template(messages, True, add_vision_id=True)
    assert numbered == system + body.format("Picture 1: ", "Video 1: ") + "<|im_start|>assistant\n"
    own = [{"role": "system", "content": "S"}, *messages]
    assert tokenizer.apply_chat_template(own, False) == "<|im_start|>system\nS<|im_end|>\n" + body.format("", "")
    assert Processor.from_pretrained(folders["qwen3_vl"]).tokenizer.apply_chat_template(messages, False) == body.format(
        "", ""
    )


def test_folders_as_transformers_saves_them(folders, references, tmp_path):
    for family in SIZES:
        folder = tmp_path / family
        references[family].save_pretrained(folder)
        ours, again = (
            Processor.from_pretrained(folders[family]),
            Processor.from_pretrained(folder),
        )  # processor_config.json, no config.json
        assert (again.image_settings, again.video_settings) == (ours.image_settings, ours.video_settings)
        image = picture(200, 130)
        before, after = ours.encode(conversation("image"), [image]), again.encode(conversation("image"), [image])
        np.testing.assert_array_equal(before.input_ids, after.input_ids)
        np.testing.assert_array_equal(before.positions, after.positions)
        np.testing.assert_array_equal(before.pixel_values, after.pixel_values)


def test_uint8_prompts_normalise_later(folders):
    ours = Processor.from_pretrained(folders["qwen2_5_vl"])
    now = ours.encode(conversation("image"), [picture(100, 100)])
    image = ours.prepare_image(picture(100, 100))
    later = ours.encode(conversation("image"), [image], normalise=False)
    assert later.pixel_values.dtype == np.uint8 and later.nbytes < now.nbytes / 3
    np.testing.assert_array_equal(ours.normalise(later).pixel_values, normalise(image.patches, ours.image_settings))


@pytest.mark.parametrize("size", [(84, 56), (700, 56), (56, 700), (512, 84)])
def test_where_the_resizer_has_no_wheel_pil_does_nearly_the_same(monkeypatch, size):
    photo = picture(512, 512)
    usual = pictures.resize_pixels(photo, *size)
    monkeypatch.setattr(pictures, "fixed_point", None)
    other = pictures.resize_pixels(photo, *size)
    off = np.abs(usual.astype(int) - other)
    assert off.max() <= 2 and (off > 0).mean() < 0.02
