"""The policy network: Qwen2-VL, Qwen2.5-VL and Qwen3-VL in Flax NNX, from and to Hugging Face checkpoints."""

from typing import TYPE_CHECKING

from spatial_jax.lazy import lazy_names

if TYPE_CHECKING:
    from spatial_jax.models.batch import AnswerBatch, BlockLayout, PromptBatch, VisionArrays, VisionFeatures
    from spatial_jax.models.configs import ModelConfig, published_config, published_names
    from spatial_jax.models.hf_config import config_from_hf, config_to_hf
    from spatial_jax.models.hub import checkpoint_directory
    from spatial_jax.models.layout import count_params, param_specs
    from spatial_jax.models.lora import LoraConfig, add_lora, merge_lora, save_lora
    from spatial_jax.models.policy import (
        ASKING_FILE,
        Policy,
        default_dtype,
        load_pretrained,
        read_config,
        save_pretrained,
    )
    from spatial_jax.models.positions import batch_positions, row_positions, token_types
    from spatial_jax.models.qwen_vl import QwenVL, abstract_model, split_model
    from spatial_jax.models.sharding import model_shardings, param_axes
    from spatial_jax.models.sizes import TextConfig, VisionConfig
    from spatial_jax.models.trainable import join_params, split_params, trainable_mask
    from spatial_jax.models.trees import leaf_paths, nest
    from spatial_jax.models.vision_plan import plan_vision

__getattr__, __all__ = lazy_names(__name__, __file__)
