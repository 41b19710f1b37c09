"""What a model family decides, as one record. The rest of the project asks the record and never the family's name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal

from spatial_jax.models.sizes import TextConfig, VisionConfig
from spatial_jax.reading import Fields


@dataclasses.dataclass(frozen=True)
class Size:
    """One published checkpoint's sizes. `tied`: its head is the embedding table."""

    text: TextConfig
    vision: VisionConfig
    tied: bool


@dataclasses.dataclass(frozen=True)
class Decoder:
    """How the decoder is built, and what its config.json may leave unsaid (transformers' defaults)."""

    rope_theta: float
    mrope_section: tuple[int, int, int]
    rms_norm_eps: float
    head_dim: int | None = None  # None: hidden_size / heads, and config.json has no field for another one
    mrope_interleaved: bool = False
    qk_norm: bool = False
    qkv_bias: bool | None = True  # None: as attention_bias of config.json says


@dataclasses.dataclass(frozen=True)
class Tower:
    """How the vision tower is built, and the names of its parameters in checkpoints.

    mlp_names: (fc1, fc2), or (gate, up, down) for a gated feed-forward; merger_names: (norm, fc1, fc2).
    read: VisionConfig's fields beyond the common ones, out of config.json's vision_config and the decoder's width;
    write: the same fields back in config.json's spelling.
    """

    rms_norm: bool  # else LayerNorm
    patch_bias: bool
    mlp_names: tuple[str, ...]
    merger_names: tuple[str, str, str]
    depth: int
    hidden_act: str
    read: Callable[[Fields, int], dict[str, Any]]
    write: Callable[[VisionConfig], dict[str, Any]]

    @property
    def gated(self) -> bool:
        """Whether the feed-forward is gated (three matrices)."""
        return len(self.mlp_names) == 3


@dataclasses.dataclass(frozen=True)
class Pictures:
    """How pictures and clips are cut and normalised where the processor files leave it unsaid, and what those files say
    in a folder written from nothing. Limits are (least, most) pixels.
    """

    patch_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    video_limits: tuple[int, int]
    whole_clip: bool  # the video limits are the clip's, and frames are chosen by the processor; else a frame's
    written_limits: tuple[int, int]
    written_video_limits: tuple[int, int]
    spells_min_pixels: bool  # transformers 4 needs min_pixels and max_pixels beside "size"
    video_processor: str


@dataclasses.dataclass(frozen=True)
class Family:
    """One model family. `name` is config.json's model_type. `sizes` maps "7b" to the published sizes, of which the
    first stands in for a folder that has processor files and no config.json.
    """

    name: str
    architecture: str  # transformers' class
    processor_class: str
    processor_mark: str  # what only this family's processor files have in their class names, in small letters
    sizes: Mapping[str, Size]
    decoder: Decoder
    tower: Tower
    pictures: Pictures
    nested_config: bool  # config.json keeps the decoder under text_config
    weight_style: Literal["v4", "v5"]  # key spelling of the published weights
    transformers_reads_v4: bool  # else its names are mapped for transformers
    timed_steps: bool  # each time step of a video is a run of its own, after its time in words
    seconds_in_positions: bool  # time ids of a video follow its seconds
    system_turn: bool  # the chat template puts a system turn before a conversation without one
    more_tokens: tuple[tuple[str, bool], ...] = ()  # added tokens beyond Qwen2.5-VL's; True: skipped when decoding
    box_units: Literal["pixels", "thousandths"] = "thousandths"  # in which published policies name boxes
