"""A checkpoint folder's preprocessing files, in all the spellings transformers has used, as one frozen record."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from spatial_jax.models import ModelConfig, config_from_hf, published_config
from spatial_jax.models.families import FAMILIES, Pictures
from spatial_jax.models.hub import checkpoint_json
from spatial_jax.processing.image import ImageSettings
from spatial_jax.processing.tokenizer import ChatTokenizer
from spatial_jax.processing.video import VideoSettings
from spatial_jax.reading import Fields

IMAGE_LIMITS = (56 * 56, 28 * 28 * 1280)  # the image processor class's own, where the file states none
MAX_FRAMES = 2**20
MAX_MIN_PIXELS = 2**27  # to which every picture is enlarged: eight times the largest that a published model takes


def _first_object(directory: Path, *places: tuple[str, str | None]) -> Fields:
    """The first object that is there and not empty, of (file, field or None for the whole file)."""
    found = Fields({}, str(directory))
    for name, key in places:
        found = Fields(checkpoint_json(directory / name), str(directory / name))
        found = found.section(key) if key else found
        if found.values:
            break
    return found


def read_image_settings(directory: Path, pictures: Pictures) -> ImageSettings:
    """From processor_config.json's image_processor or preprocessor_config.json, missing fields as the processor classes
    have them. FileNotFoundError without either; ValueError names a field of another type.
    """
    stated = _first_object(directory, ("processor_config.json", "image_processor"), ("preprocessor_config.json", None))
    if not stated.values:
        raise FileNotFoundError(
            f"{directory}: no preprocessor_config.json; copy the checkpoint's processor files there"
        )
    return _image_settings(stated, pictures, IMAGE_LIMITS)


def read_video_settings(directory: Path, pictures: Pictures) -> VideoSettings:
    """From processor_config.json's video_processor, video_preprocessor_config.json or (older folders)
    preprocessor_config.json. ValueError names a field of another type.
    """
    stated = _first_object(
        directory,
        ("processor_config.json", "video_processor"),
        ("video_preprocessor_config.json", None),
        ("preprocessor_config.json", None),
    )
    return VideoSettings(
        _image_settings(stated, pictures, pictures.video_limits),
        whole_clip=pictures.whole_clip,
        sample=stated.flag("do_sample_frames", pictures.whole_clip),
        fps=stated.number("fps", 2.0),
        min_frames=stated.integer("min_frames", 4, low=0, high=MAX_FRAMES) or 4,
        max_frames=stated.integer("max_frames", 768, low=0) or 768,
        frame_count=stated.integer("num_frames", high=MAX_FRAMES) if stated.has("num_frames") else None,
    )


def _image_settings(stated: Fields, pictures: Pictures, limits: tuple[int, int]) -> ImageSettings:
    size = stated.section("size")

    def area(name: str, edge: str, default: int, high: int) -> int:
        for fields, key in ((stated, name), (size, edge), (size, name)):
            if fields.values.get(key):  # 0 has stood for "none" in such files
                return fields.integer(key, high=high)
        return default

    means, deviations = stated.numbers("image_mean", pictures.mean, 3), stated.numbers("image_std", pictures.std, 3)
    if not all(deviations):
        raise ValueError(f"{stated.where}: image_std {list(deviations)} has a zero, by which nothing can be divided")
    return ImageSettings(
        patch_size=stated.integer("patch_size", pictures.patch_size, high=1024),
        temporal_patch_size=stated.integer("temporal_patch_size", 2, high=64),
        merge_size=stated.integer("merge_size", 2, high=64),
        mean=(means[0], means[1], means[2]),
        std=(deviations[0], deviations[1], deviations[2]),
        min_pixels=area("min_pixels", "shortest_edge", limits[0], MAX_MIN_PIXELS),
        max_pixels=area("max_pixels", "longest_edge", limits[1], 2**62),
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
    path = directory / "config.json"
    if path.is_file():
        return config_from_hf(checkpoint_json(path), position_rule, str(path))
    files = [checkpoint_json(directory / name) for name in ("processor_config.json", "preprocessor_config.json")]
    spelled = " ".join(
        str(f.get("processor_class", "")) + str(f.get("image_processor_type", "")) for f in files
    ).lower()
    spelled += " " + str(tokenizer.config.get("processor_class", "")).lower()
    found = next((family for family in FAMILIES.values() if family.processor_mark in spelled), None)
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
    # Any size will do: a processor needs the family's tokens and patches, which its sizes share.
    base = published_config(f"{found.name}_{next(iter(found.sizes))}")
    text = dataclasses.replace(base.text, vocab_size=len(tokenizer))
    return dataclasses.replace(
        base, text=text, position_rule=position_rule, **{k: v for k, v in ids.items() if v is not None}
    )
