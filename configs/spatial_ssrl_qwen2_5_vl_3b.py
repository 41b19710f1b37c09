"""Spatial-SSRL on Qwen2.5-VL-3B: the paper gives both sizes one recipe.

    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen2_5_vl_3b.py:sft --workdir=runs/ssrl3_sft \
        --config.model.path=Qwen2.5-VL-3B-Instruct --config.data.paths='("COLD_START_DIR",)'
    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen2_5_vl_3b.py --workdir=runs/ssrl3 \
        --config.model.path=runs/ssrl3_sft/export --config.data.paths='("DIR",)'
"""

from ml_collections import ConfigDict

from configs import spatial_ssrl_qwen2_5_vl_7b


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft (cold start) or grpo."""
    return spatial_ssrl_qwen2_5_vl_7b.get_config(arg)
