"""Li 2025's recipe on Qwen2.5-VL-3B: the same numbers on a policy that fits smaller pods.

    python -m spatial_jax.train --config=configs/li2025_qwen2_5_vl_3b.py --workdir=runs/li2025_3b \
        --config.model.path=Qwen2.5-VL-3B-Instruct --config.data.paths='("DIR",)'

The paper trains the 7B model only; nothing is retuned here.
"""

from ml_collections import ConfigDict

from configs import li2025_qwen2_5_vl_7b


def get_config(arg: str = "") -> ConfigDict:
    """`arg` as in li2025_qwen2_5_vl_7b."""
    return li2025_qwen2_5_vl_7b.get_config(arg)
