"""config.json of Hugging Face checkpoints, in the flat (v4) or the nested (v5) style, to ModelConfig and back."""

from __future__ import annotations

from typing import Any

from spatial_jax.models.configs import FAMILIES, ModelConfig, TextConfig, VisionConfig

_TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "quick_gelu")
_ARCHITECTURES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}


def _need(source: dict[str, Any], key: str, where: str) -> Any:
    if source.get(key) is None:
        raise ValueError(f"config.json: {where}.{key} is missing; it cannot be guessed, add it")
    return source[key]


def _text_config(config: dict[str, Any], family: str) -> TextConfig:
    text = config.get("text_config") or config
    where = "text_config" if config.get("text_config") else "(root)"
    rope = text.get("rope_parameters") or config.get("rope_parameters") or {}
    scaling = text.get("rope_scaling") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", text.get("rope_theta", config.get("rope_theta")))
    section = rope.get("mrope_section", scaling.get("mrope_section"))
    kind = rope.get("rope_type") or scaling.get("rope_type") or scaling.get("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(
            f"config.json: rope type {kind!r} is not supported; only the plain M-RoPE of the published checkpoints is"
        )
    if text.get("use_sliding_window"):
        raise ValueError(
            "config.json: use_sliding_window is true, which no published checkpoint uses and this model lacks; set it"
            " to false"
        )
    if text.get("hidden_act", "silu") != "silu":
        raise ValueError(f"config.json: text hidden_act {text['hidden_act']!r} is not supported; only silu is")
    heads, width = _need(text, "num_attention_heads", where), _need(text, "hidden_size", where)
    qwen3 = family == "qwen3_vl"
    head_dim = text.get("head_dim") or (128 if qwen3 else width // heads)
    if section is None:
        section = (24, 20, 20) if qwen3 else (16, 24, 24)
    return TextConfig(
        vocab_size=_need(text, "vocab_size", where),
        hidden_size=width,
        intermediate_size=_need(text, "intermediate_size", where),
        num_layers=_need(text, "num_hidden_layers", where),
        num_heads=heads,
        num_kv_heads=text.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        rms_norm_eps=float(text.get("rms_norm_eps", 1e-6 if qwen3 else 1e-5)),
        rope_theta=float(theta if theta is not None else (5e5 if qwen3 else 1e6)),
        mrope_section=tuple(section),
        mrope_interleaved=qwen3,
        qkv_bias=bool(text.get("attention_bias", False)) if qwen3 else True,
        qk_norm=qwen3,
        max_position_embeddings=text.get("max_position_embeddings", 32768),
        initializer_range=text.get("initializer_range", 0.02),
    )


def _vision_config(config: dict[str, Any], family: str, width: int) -> VisionConfig:
    vision = dict(config.get("vision_config") or {})
    common = {
        "family": family,
        "temporal_patch_size": vision.get("temporal_patch_size", 2),
        "spatial_merge_size": vision.get("spatial_merge_size", 2),
        "in_channels": vision.get("in_channels", vision.get("in_chans", 3)),
        "num_heads": vision.get("num_heads", 16),
        "initializer_range": vision.get("initializer_range", 0.02),
    }
    if family == "qwen2_vl":
        hidden = vision.get("embed_dim", 1280)
        act = vision.get("hidden_act", "quick_gelu")
        parsed = VisionConfig(
            depth=vision.get("depth", 32),
            hidden_size=hidden,
            intermediate_size=int(hidden * vision.get("mlp_ratio", 4)),
            out_hidden_size=vision.get("hidden_size", width),
            hidden_act=act,
            patch_size=vision.get("patch_size", 14),
            **common,
        )
    elif family == "qwen2_5_vl":
        parsed = VisionConfig(
            depth=vision.get("depth", 32),
            hidden_size=vision.get("hidden_size", 3584),
            intermediate_size=vision.get("intermediate_size", 3420),
            out_hidden_size=vision.get("out_hidden_size", 3584),
            hidden_act=vision.get("hidden_act", "silu"),
            patch_size=vision.get("patch_size", 14),
            window_size=vision.get("window_size", 112),
            full_attention_blocks=tuple(vision.get("fullatt_block_indexes", (7, 15, 23, 31))),
            tokens_per_second=float(vision.get("tokens_per_second", 4)),
            **common,
        )
    else:
        parsed = VisionConfig(
            depth=vision.get("depth", 27),
            hidden_size=vision.get("hidden_size", 1152),
            intermediate_size=vision.get("intermediate_size", 4304),
            out_hidden_size=vision.get("out_hidden_size", 3584),
            hidden_act=vision.get("hidden_act", "gelu_pytorch_tanh"),
            patch_size=vision.get("patch_size", 16),
            num_position_embeddings=vision.get("num_position_embeddings", 2304),
            deepstack_blocks=tuple(vision.get("deepstack_visual_indexes", (8, 16, 24))),
            **common,
        )
    if parsed.hidden_act not in ACTIVATIONS:
        raise ValueError(
            f"config.json: vision hidden_act {parsed.hidden_act!r} is not supported; use one of"
            f" {', '.join(ACTIVATIONS)}"
        )
    return parsed


def config_from_hf(config: dict[str, Any], position_rule: str = "4.57") -> ModelConfig:
    """ModelConfig of a parsed config.json, flat or nested; ValueError names the field that is missing or
    unsupported.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ValueError(
            f"config.json: model_type {family!r} is not supported; use a checkpoint of {', '.join(FAMILIES)}"
        )
    text = _text_config(config, family)
    nested = config.get("text_config") or {}
    eos = config.get("eos_token_id", nested.get("eos_token_id", 151645))
    ids = {key: config[key] for key in _TOKEN_IDS if config.get(key) is not None}
    return ModelConfig(
        family,
        text,
        _vision_config(config, family, text.hidden_size),
        tie_word_embeddings=bool(config.get("tie_word_embeddings", False) or nested.get("tie_word_embeddings", False)),
        bos_token_id=config.get("bos_token_id", nested.get("bos_token_id", 151643)),
        eos_token_id=tuple(eos) if isinstance(eos, list) else eos,
        pad_token_id=config.get("pad_token_id", nested.get("pad_token_id")),
        position_rule=position_rule,
        **ids,
    )


def config_to_hf(config: ModelConfig, dtype: str = "bfloat16") -> dict[str, Any]:
    """config.json in the spelling that both transformers 4.57 and 5.x read: flat for Qwen2 and 2.5, nested for Qwen3,
    old rope fields.
    """
    text, vision, eos = config.text, config.vision, config.eos_token_id
    rate = vision.tokens_per_second
    decoder: dict[str, Any] = {
        "vocab_size": text.vocab_size,
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_layers,
        "num_attention_heads": text.num_heads,
        "num_key_value_heads": text.num_kv_heads,
        "hidden_act": "silu",
        "max_position_embeddings": text.max_position_embeddings,
        "initializer_range": text.initializer_range,
        "rms_norm_eps": text.rms_norm_eps,
        "use_cache": True,
        "attention_dropout": 0.0,
        "rope_theta": text.rope_theta,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": list(eos) if isinstance(eos, tuple) else eos,
    }
    if config.pad_token_id is not None:
        decoder["pad_token_id"] = config.pad_token_id
    tower: dict[str, Any] = {
        "model_type": config.family,
        "depth": vision.depth,
        "num_heads": vision.num_heads,
        "patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "spatial_merge_size": vision.spatial_merge_size,
        "in_channels": vision.in_channels,
        "in_chans": vision.in_channels,
        "hidden_act": vision.hidden_act,
        "initializer_range": vision.initializer_range,
    }
    ids = {key: getattr(config, key) for key in _TOKEN_IDS}
    root = {
        "architectures": [_ARCHITECTURES[config.family]],
        "model_type": config.family,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype,
        **ids,
    }
    if config.family == "qwen3_vl":
        decoder |= {
            "model_type": "qwen3_vl_text",
            "head_dim": text.head_dim,
            "attention_bias": text.qkv_bias,
            "dtype": dtype,
            "tie_word_embeddings": config.tie_word_embeddings,
            "rope_scaling": {
                "mrope_interleaved": True,
                "mrope_section": list(text.mrope_section),
                "rope_type": "default",
            },
        }
        tower |= {
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "out_hidden_size": vision.out_hidden_size,
            "num_position_embeddings": vision.num_position_embeddings,
            "deepstack_visual_indexes": list(vision.deepstack_blocks),
        }
        return {**root, "text_config": decoder, "vision_config": tower}
    decoder |= {
        "use_sliding_window": False,
        "sliding_window": 32768,
        "max_window_layers": text.num_layers,
        "rope_scaling": {"type": "mrope", "mrope_section": list(text.mrope_section)},
    }
    if text.head_dim * text.num_heads != text.hidden_size:
        raise ValueError(
            f"config_to_hf: {config.family} needs head_dim * num_heads == hidden_size, "
            f"got {text.head_dim} * {text.num_heads} != {text.hidden_size}"
        )
    if config.family == "qwen2_vl":
        tower |= {
            "embed_dim": vision.hidden_size,
            "hidden_size": vision.out_hidden_size,
            "mlp_ratio": vision.intermediate_size // vision.hidden_size,
        }
    else:
        tower |= {
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "out_hidden_size": vision.out_hidden_size,
            "window_size": vision.window_size,
            "fullatt_block_indexes": list(vision.full_attention_blocks),
            "tokens_per_second": int(rate) if rate == int(rate) else rate,
        }
    return {**root, **decoder, "vision_config": tower}
