"""vsGRPO's KL ablation: without a KL term training collapses, 1e-4 is enough (arXiv 2504.00883); three coefficients by
three seeds.

    python -m launch.sweep --config=configs/kl_ablation.py --workdir=runs/kl_ablation \
        --config.model.path=configs/quickstart_policy --config.data.paths='("runs/quickstart/questions",)'
    python -m launch.sweep --config=configs/kl_ablation.py:vsgrpo --workdir=runs/kl_vsgrpo \
        --config.model.path=Qwen2-VL-2B-Instruct --config.data.paths='("DIR",)'
"""

from typing import Any

from ml_collections import ConfigDict

from configs import grid, quickstart, vsgrpo_qwen2_vl_2b


def get_config(arg: str = "quickstart") -> ConfigDict:
    """`arg`: "quickstart" (the tiny policy), or "vsgrpo" for the paper's setting, in the mode whose format reward broke
    down.
    """
    if arg not in ("quickstart", "vsgrpo"):
        raise ValueError(f"configs/kl_ablation.py takes :quickstart or :vsgrpo, not {arg!r}")
    config = quickstart.get_config("grpo") if arg == "quickstart" else vsgrpo_qwen2_vl_2b.get_config("grpo,think")
    config.reference.mode = "none"  # a replaced reference would hide the drift that the coefficient is to hold
    return config


def sweep(arg: str = "quickstart") -> list[dict[str, Any]]:
    """Three coefficients by three seeds, seed by seed: a sweep cut short still compares all coefficients."""
    return grid.product(grid.seeds(3), grid.grid({"algorithm.kl_coef": [0.0, 1e-4, 1e-2]}))
