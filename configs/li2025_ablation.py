"""Li 2025's Table 2: the six data types added one after another, three seeds each.

    python -m launch.sweep --config=configs/li2025_ablation.py --workdir=runs/li2025_ablation \
        --config.model.path=Qwen2.5-VL-7B-Instruct --config.data.paths='("DIR",)'
    python -m launch.sweep --config=configs/li2025_ablation.py:quickstart --workdir=runs/ablation \
        --config.model.path=configs/quickstart_policy --config.data.paths='("runs/quickstart/questions",)'

The paper's four columns need evaluations of the members:
    --then='-m spatial_jax.evaluate --model={workdir}/export --workdir={workdir} --benchmarks=cv_bench,vsi_bench,blink
    --data=/data'

The dataset must hold all families (`python -m data_prep.synthesize --families=all`); each member reads its part of
them. The table's first row, the base model, is the policy itself: evaluate it without training.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import grid, li2025_qwen2_5_vl_7b, quickstart

TABLE = "li2025_ablation"  # its columns are printed from the members' evaluations (--then of launch.sweep)
# The table's rows in order, as families of data_prep.synthesize.
DATA_TYPES = {
    "object localisation": ("box", "bearing"),
    "spatial relation": ("relation", "listing", "direction"),
    "relative depth": ("depth_order2", "depth_order"),
    "absolute depth": ("abs_depth", "distance", "size"),
    "camera intrinsics": ("intrinsics",),
    "multi-hop": ("multihop",),
}


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: empty for the 7B recipe, or "quickstart" for the tiny policy."""
    if arg == "quickstart":
        return quickstart.get_config("grpo")
    return li2025_qwen2_5_vl_7b.get_config(arg)


def sweep(arg: str = "") -> list[dict[str, Any]]:
    """Cumulative families by three seeds, seed by seed: a sweep cut short still compares all rows. The quickstart's
    questions have no camera intrinsics: that row is left out there.
    """
    kept = [
        families for name, families in DATA_TYPES.items() if not (arg == "quickstart" and name == "camera intrinsics")
    ]
    rows = [tuple(family for families in kept[:n] for family in families) for n in range(1, len(kept) + 1)]
    return grid.product(grid.seeds(3), grid.grid({"data.families": rows}))
