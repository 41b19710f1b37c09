"""Processor files for a policy that starts from nothing: a Qwen-style tokenizer trained on given texts, in the Hugging
Face layout.

The files load in transformers (AutoTokenizer, Qwen2_5_VLProcessor) with the same ids. Special tokens come last in the
vocabulary, so their ids differ from the published ones: `train_tokenizer` returns them under config.json's names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from spatial_jax.models.families import Family, find_family
from spatial_jax.processing.tokenizer import byte_level

# Qwen2.5-VL's added tokens in their order; True: skipped when decoding.
SPECIAL_TOKENS = tuple(
    (f"<|{name}|>", True)
    for name in (
        "endoftext",
        "im_start",
        "im_end",
        "object_ref_start",
        "object_ref_end",
        "box_start",
        "box_end",
        "quad_start",
        "quad_end",
        "vision_start",
        "vision_end",
        "vision_pad",
        "image_pad",
        "video_pad",
    )
) + (
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
)

_SYSTEM = """\
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
"""
_TURNS = """\
{%- set seen = namespace(images=0, videos=0) %}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' }}
    {%- if message['content'] is string %}
        {{- message['content'] }}
    {%- else %}
        {%- for part in message['content'] %}
            {%- if part['type'] == 'image' or 'image' in part or 'image_url' in part %}
                {%- set seen.images = seen.images + 1 %}
                {{- 'Picture ' ~ seen.images ~ ': ' if add_vision_id }}
                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}
            {%- elif part['type'] == 'video' or 'video' in part %}
                {%- set seen.videos = seen.videos + 1 %}
                {{- 'Video ' ~ seen.videos ~ ': ' if add_vision_id }}
                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}
            {%- elif 'text' in part %}
                {{- part['text'] }}
            {%- endif %}
        {%- endfor %}
    {%- endif %}
    {{- '<|im_end|>\\n' }}
{%- endfor %}
{{- '<|im_start|>assistant\\n' if add_generation_prompt }}"""
# With and without a system turn before a conversation that has none; which of them the family decides.
CHAT_TEMPLATE, PLAIN_CHAT_TEMPLATE = _SYSTEM + _TURNS, _TURNS


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    directory: str | Path,
    *,
    family: str = "qwen2_5_vl",
    min_pixels: int | None = None,
    max_pixels: int | None = None,
) -> dict[str, Any]:
    """Trains a byte-level BPE of at most `vocab_size` tokens (special ones included) on `texts` and writes all
    processor files.

    Returns the fields of config.json that follow from it: vocab_size, image_token_id, video_token_id,
    vision_start_token_id, vision_end_token_id, bos_token_id, eos_token_id, pad_token_id. The same texts give the same
    files. ValueError when `vocab_size` cannot hold the 256 bytes and the special tokens, or the family is unknown.
    """
    traits = find_family(family, "family")
    special = SPECIAL_TOKENS + traits.more_tokens
    if vocab_size < 256 + len(special):
        raise ValueError(
            f"vocab_size {vocab_size} is too small; 256 bytes and {len(special)} special tokens need"
            f" {256 + len(special)}"
        )
    tokenizer = byte_level(BPE())
    tokenizer.train_from_iterator(
        texts,
        BpeTrainer(
            vocab_size=vocab_size - len(special),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    for text, skipped in special:
        (tokenizer.add_special_tokens if skipped else tokenizer.add_tokens)(
            [AddedToken(text, special=skipped, normalized=False)]
        )
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path / "tokenizer.json"))
    ids = {text: int(tokenizer.token_to_id(text) or 0) for text, _ in special}  # 0 never happens: bytes come first
    template = CHAT_TEMPLATE if traits.system_turn else PLAIN_CHAT_TEMPLATE
    _write(path / "tokenizer_config.json", {**_tokenizer_config(traits, special, ids), "chat_template": template})
    _write(path / "chat_template.json", {"chat_template": template})  # where transformers' processors look
    write_processor_files(path, traits, min_pixels=min_pixels, max_pixels=max_pixels)
    eos, pad = ids["<|im_end|>"], ids["<|endoftext|>"]
    _write(
        path / "generation_config.json",
        {
            "bos_token_id": pad,
            "do_sample": True,
            "eos_token_id": [eos, pad],
            "pad_token_id": pad,
            "temperature": 1.0,
            "top_k": 0,
            "top_p": 1.0,
            "repetition_penalty": 1.0,
        },
    )
    return {
        "vocab_size": tokenizer.get_vocab_size(with_added_tokens=True),
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "bos_token_id": pad,
        "eos_token_id": eos,
        "pad_token_id": pad,
    }


def write_processor_files(
    directory: Path, family: Family, *, min_pixels: int | None = None, max_pixels: int | None = None
) -> None:
    """preprocessor_config.json and video_preprocessor_config.json of a family, with the published limits unless others
    are given.
    """
    pictures = family.pictures
    low, high = pictures.written_limits
    common = {
        "processor_class": family.processor_class,
        "patch_size": pictures.patch_size,
        "temporal_patch_size": 2,
        "merge_size": 2,
        "image_mean": list(pictures.mean),
        "image_std": list(pictures.std),
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "do_convert_rgb": True,
        "resample": 3,
        "rescale_factor": 1 / 255,
    }
    image = {
        **common,
        "image_processor_type": "Qwen2VLImageProcessor",
        "size": {"shortest_edge": min_pixels or low, "longest_edge": max_pixels or high},
    }
    if pictures.spells_min_pixels:
        image |= {"min_pixels": min_pixels or low, "max_pixels": max_pixels or high}
    clip = pictures.written_video_limits
    video = {
        **common,
        "video_processor_type": pictures.video_processor,
        "do_sample_frames": pictures.whole_clip,
        "fps": 2.0,
        "min_frames": 4,
        "max_frames": 768,
        "size": {"shortest_edge": clip[0], "longest_edge": clip[1]},
    }
    if not pictures.whole_clip:  # then nothing samples frames, and the published files state no rate
        video.pop("fps")
    _write(directory / "preprocessor_config.json", image)
    _write(directory / "video_preprocessor_config.json", video)


def _tokenizer_config(family: Family, special: tuple[tuple[str, bool], ...], ids: dict[str, int]) -> dict[str, Any]:
    flags = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "processor_class": family.processor_class,
        "added_tokens_decoder": {
            str(ids[text]): {"content": text, **flags, "special": skipped} for text, skipped in special
        },
        "additional_special_tokens": [text for text, skipped in special[1:] if skipped],
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "add_bos_token": False,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": 131072,
        "split_special_tokens": False,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
