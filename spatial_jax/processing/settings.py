"""A checkpoint folder's preprocessing files, in all the spellings transformers has used, as one frozen record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from spatial_jax.models.configs import FAMILIES, ModelConfig, published
from spatial_jax.models.hf_config import config_from_hf
from spatial_jax.processing.image import ImageSettings
from spatial_jax.processing.tokenizer import ChatTokenizer, read_json
from spatial_jax.processing.video import VideoSettings

_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_FACTOR2, _FACTOR3 = 28 * 28, 32 * 32


def read_image_settings(directory: Path, family: str) -> ImageSettings:
    """From processor_config.json's image_processor or preprocessor_config.json, missing fields as the processor classes
    have them.
    """
    stated = read_json(directory / "processor_config.json").get("image_processor") or read_json(
        directory / "preprocessor_config.json"
    )
    if not stated:
        raise FileNotFoundError(
            f"{directory}: no preprocessor_config.json; copy the checkpoint's processor files there"
        )
    if family == "qwen3_vl":
        return _image_settings(stated, 16, (0.5,) * 3, (0.5,) * 3, (56 * 56, 28 * 28 * 1280))
    return _image_settings(stated, 14, _CLIP_MEAN, _CLIP_STD, (56 * 56, 28 * 28 * 1280))


def read_video_settings(directory: Path, family: str) -> VideoSettings:
    """From processor_config.json's video_processor, video_preprocessor_config.json or (older folders)
    preprocessor_config.json.
    """
    stated = (
        read_json(directory / "processor_config.json").get("video_processor")
        or read_json(directory / "video_preprocessor_config.json")
        or read_json(directory / "preprocessor_config.json")
    )
    qwen3 = family == "qwen3_vl"
    if qwen3:
        image = _image_settings(stated, 16, (0.5,) * 3, (0.5,) * 3, (128 * _FACTOR3, 768 * _FACTOR3))
    else:
        image = _image_settings(stated, 14, _CLIP_MEAN, _CLIP_STD, (128 * _FACTOR2, 768 * _FACTOR2))
    sample = stated.get("do_sample_frames")
    return VideoSettings(
        image,
        whole_clip=qwen3,
        sample=qwen3 if sample is None else bool(sample),
        fps=stated.get("fps") or 2.0,
        min_frames=stated.get("min_frames") or 4,
        max_frames=stated.get("max_frames") or 768,
        frame_count=stated.get("num_frames"),
    )


def _image_settings(stated: dict[str, Any], patch: int, mean: Any, std: Any, limits: tuple[int, int]) -> ImageSettings:
    size = stated.get("size") or {}
    low = stated.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels") or limits[0]
    high = stated.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels") or limits[1]
    return ImageSettings(
        patch_size=stated.get("patch_size") or patch,
        temporal_patch_size=stated.get("temporal_patch_size") or 2,
        merge_size=stated.get("merge_size") or 2,
        mean=tuple(stated.get("image_mean") or mean),
        std=tuple(stated.get("image_std") or std),
        min_pixels=int(low),
        max_pixels=int(high),
    )


def with_limits(settings: ImageSettings, min_pixels: int | None, max_pixels: int | None) -> ImageSettings:
    """The settings with other limits; a single given limit moves the other one where they would cross. ValueError when
    both cross.
    """
    low = settings.min_pixels if min_pixels is None else int(min_pixels)
    high = settings.max_pixels if max_pixels is None else int(max_pixels)
    if min_pixels is not None and max_pixels is not None and low > high:
        raise ValueError(f"min_pixels {low} is above max_pixels {high}; exchange them")
    low, high = (min(low, high), high) if min_pixels is None else (low, max(low, high))
    if high < settings.factor**2:
        raise ValueError(f"max_pixels {high} is below one token's {settings.factor**2} pixels; raise it")
    return dataclasses.replace(settings, min_pixels=low, max_pixels=high)


def read_model_config(directory: Path, tokenizer: ChatTokenizer, position_rule: str) -> ModelConfig:
    """config.json; for a folder that holds processor files only, the published configuration of the family with this
    tokenizer's ids.
    """
    stated = read_json(directory / "config.json")
    if stated:
        return config_from_hf(stated, position_rule)
    files = [read_json(directory / name) for name in ("processor_config.json", "preprocessor_config.json")]
    spelled = " ".join(
        str(f.get("processor_class", "")) + str(f.get("image_processor_type", "")) for f in files
    ).lower()
    spelled += " " + str(tokenizer.config.get("processor_class", "")).lower()
    names = {"qwen3": "qwen3_vl_2b", "qwen2_5": "qwen2_5_vl_3b", "qwen2vlprocessor": "qwen2_vl_2b"}
    found = next((size for mark, size in names.items() if mark in spelled), None)
    if found is None:
        raise FileNotFoundError(
            f"{directory}: no config.json, and the processor files do not name one of {', '.join(FAMILIES)}; add"
            " config.json"
        )
    ids: dict[str, Any] = {
        f"{name}_token_id": tokenizer.token_id(f"<|{text}|>")
        for name, text in (
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        )
    }
    base = published(found)
    text = dataclasses.replace(base.text, vocab_size=len(tokenizer))
    return dataclasses.replace(
        base, text=text, position_rule=position_rule, **{k: v for k, v in ids.items() if v is not None}
    )
