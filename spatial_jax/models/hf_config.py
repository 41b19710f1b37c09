"""config.json of Hugging Face checkpoints, in the flat (v4) or the nested (v5) style, to ModelConfig and back."""

from __future__ import annotations

from typing import Any

from spatial_jax.models.configs import DEFAULT_POSITION_RULE, ModelConfig
from spatial_jax.models.families import FAMILIES, Decoder, Family
from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.reading import Fields

_TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
ACTIVATIONS = ("silu", "gelu", "gelu_pytorch_tanh", "quick_gelu")
MAX_VOCABULARY = 2**24  # a hundred times the published one; ids beyond the tokenizer are listed one by one


def _rope(text: Fields, decoder: Decoder) -> tuple[float, tuple[int, ...]]:
    """(base, M-RoPE sections). rope_scaling, the older spelling, goes before rope_parameters, as in transformers."""
    rope = text.section("rope_scaling")
    rope = rope if rope.values else text.section("rope_parameters")
    kind = rope.text("rope_type") or rope.text("type") or "default"
    if kind not in ("default", "mrope"):
        raise ValueError(
            f"{rope.where}: rope type {kind!r} is not supported; only the plain M-RoPE of the published checkpoints is"
        )
    theta = rope.number("rope_theta", text.number("rope_theta", decoder.rope_theta))
    return theta, rope.integers("mrope_section", decoder.mrope_section)


def _text_config(config: Fields, decoder: Decoder) -> TextConfig:
    text = config.section("text_config") if config.values.get("text_config") else config
    theta, section = _rope(text, decoder)
    if text.flag("use_sliding_window"):
        raise ValueError(
            f"{text.where}: use_sliding_window is true, which no published checkpoint uses and this model lacks; set it"
            " to false"
        )
    if text.text("hidden_act", "silu") != "silu":
        raise ValueError(f"{text.where}: hidden_act {text.values['hidden_act']!r} is not supported; only silu is")
    heads, width = text.integer("num_attention_heads"), text.integer("hidden_size")
    if len(section) != 3:
        raise ValueError(f"{text.where}: mrope_section {list(section)} must be three numbers: time, height and width")
    return TextConfig(
        vocab_size=text.integer("vocab_size", high=MAX_VOCABULARY),
        hidden_size=width,
        intermediate_size=text.integer("intermediate_size"),
        num_layers=text.integer("num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=text.integer("num_key_value_heads", heads),
        head_dim=text.integer("head_dim", decoder.head_dim or max(width // heads, 1)),
        rms_norm_eps=text.number("rms_norm_eps", decoder.rms_norm_eps),
        rope_theta=theta,
        mrope_section=section,
        mrope_interleaved=decoder.mrope_interleaved,
        qkv_bias=text.flag("attention_bias") if decoder.qkv_bias is None else decoder.qkv_bias,
        qk_norm=decoder.qk_norm,
        max_position_embeddings=text.integer("max_position_embeddings", 32768),
        initializer_range=text.number("initializer_range", 0.02, low=-1e-300),
    )


def _vision_config(vision: Fields, family: Family, width: int) -> VisionConfig:
    common: dict[str, Any] = {
        "family": family.name,
        "temporal_patch_size": vision.integer("temporal_patch_size", 2, high=64),
        "spatial_merge_size": vision.integer("spatial_merge_size", 2, high=64),
        "in_channels": vision.integer("in_channels", vision.integer("in_chans", 3, high=64), high=64),
        "num_heads": vision.integer("num_heads", 16),
        "patch_size": vision.integer("patch_size", family.pictures.patch_size, high=1024),
        "depth": vision.integer("depth", family.tower.depth),
        "hidden_act": vision.text("hidden_act", family.tower.hidden_act),
        "initializer_range": vision.number("initializer_range", 0.02, low=-1e-300),
    }
    if common["hidden_act"] not in ACTIVATIONS:
        raise ValueError(
            f"{vision.where}: hidden_act {common['hidden_act']!r} is not supported; use one of {', '.join(ACTIVATIONS)}"
        )
    return VisionConfig(**common, **family.tower.read(vision, width))


def config_from_hf(
    config: dict[str, Any], position_rule: str = DEFAULT_POSITION_RULE, where: str = "config.json"
) -> ModelConfig:
    """ModelConfig of a parsed config.json, flat or nested; ValueError names the file (`where`) and the field that is
    missing, of another type or unsupported. `tie_word_embeddings` is what the file says; whether the head is tied the
    weights decide (`hf_weights.settle_head`).
    """
    root = Fields(config, where)
    family = FAMILIES.get(root.text("model_type"))
    if family is None:
        named = root.text("model_type") or None
        raise ValueError(f"{where}: model_type {named!r} is not supported; use a checkpoint of {', '.join(FAMILIES)}")
    text, nested = _text_config(root, family.decoder), root.section("text_config")
    vision = _vision_config(root.section("vision_config"), family, text.hidden_size)

    # The root's token ids go before the decoder's; null means that there is none.
    ids = Fields({"eos_token_id": 151645, "bos_token_id": 151643, **nested.values, **config}, where)
    eos = ids.token_ids("eos_token_id")
    try:
        return ModelConfig(
            family.name,
            text,
            vision,
            tie_word_embeddings=root.flag("tie_word_embeddings") or nested.flag("tie_word_embeddings"),
            bos_token_id=ids.token_id("bos_token_id"),
            eos_token_id=eos if eos is None or isinstance(ids.values["eos_token_id"], list) else eos[0],
            pad_token_id=ids.token_id("pad_token_id"),
            position_rule=position_rule,
            **{key: root.integer(key, low=0) for key in _TOKEN_IDS if root.has(key)},
        )
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def config_to_hf(config: ModelConfig, dtype: str = "bfloat16") -> dict[str, Any]:
    """config.json in the spelling that both transformers 4.57 and 5.x read: flat or nested as the family's published
    files are, old rope fields.
    """
    family, text, vision, eos = config.traits, config.text, config.vision, config.eos_token_id
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
        **family.tower.write(vision),
    }
    ids = {key: getattr(config, key) for key in _TOKEN_IDS}
    root = {
        "architectures": [family.architecture],
        "model_type": config.family,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype,
        **ids,
    }
    if family.nested_config:
        decoder |= {
            "model_type": f"{config.family}_text",
            "head_dim": text.head_dim,
            "attention_bias": text.qkv_bias,
            "dtype": dtype,
            "tie_word_embeddings": config.tie_word_embeddings,
            "rope_scaling": {
                "mrope_interleaved": text.mrope_interleaved,
                "mrope_section": list(text.mrope_section),
                "rope_type": "default",
            },
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
    return {**root, **decoder, "vision_config": tower}
