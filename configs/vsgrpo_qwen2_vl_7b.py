"""vsGRPO (arXiv 2504.00883) on Qwen2-VL-7B; arguments as in vsgrpo_qwen2_vl_2b.

    python -m spatial_jax.train --config=configs/vsgrpo_qwen2_vl_7b.py:grpo,vanilla --workdir=runs/vsgrpo7 \
        --config.model.path=Qwen2-VL-7B-Instruct --config.data.paths='("DIR",)'
"""

from ml_collections import ConfigDict

from configs import vsgrpo_qwen2_vl_2b


def get_config(arg: str = "grpo,vanilla") -> ConfigDict:
    """`arg`: METHOD[,MODE] with method grpo, sft or dpo and mode vanilla (default), think or observe."""
    return vsgrpo_qwen2_vl_2b.recipe(arg, learning_rate=5e-6, file="vsgrpo_qwen2_vl_7b")
