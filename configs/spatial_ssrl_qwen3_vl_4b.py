"""Spatial-SSRL on Qwen3-VL-4B.

    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen3_vl_4b.py:sft --workdir=runs/ssrl4_sft \
        --config.model.path=Qwen3-VL-4B-Instruct --config.data.paths='("COLD_START_DIR",)'
    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen3_vl_4b.py --workdir=runs/ssrl4 \
        --config.model.path=runs/ssrl4_sft/export --config.data.paths='("DIR",)'

Open: the paper reports this model's results, its script is not released; the recipe is the one of Qwen2.5-VL. Its
vision tower has patches of 16 pixels, so the same picture gives a quarter fewer tokens.
"""

from ml_collections import ConfigDict

from configs import spatial_ssrl_qwen2_5_vl_7b


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft (cold start) or grpo."""
    return spatial_ssrl_qwen2_5_vl_7b.get_config(arg)
