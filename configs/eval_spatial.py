"""Evaluation of a policy on public spatial benchmarks or on self-built questions.

    python -m spatial_jax.evaluate --config=configs/eval_spatial.py --model=runs/li2025/export \
        --benchmarks=cv_bench,vsi_bench --data=cv_bench=/data/CV-Bench,vsi_bench=/data/VSI-Bench --workdir=runs/li2025
    python -m spatial_jax.evaluate --config=configs/eval_spatial.py:tiny --model=runs/quickstart/grpo/export \
        --dataset=runs/quickstart/questions --split=heldout --samples=8 --temperature=1.0 --workdir=runs/quickstart/grpo

A policy that was trained here is asked as it was trained; other checkpoints see up to a million pixels and plain
questions. Argument: full, vilasr (16 frames, 351,232 pixels, ten turns, 45
pictures, its sampling), tiny (the quickstart's policy on one device), draw_tiny (the same policy when it draws),
walk_tiny (the policies of configs/vsgrpo_tiny.py, by VSI-Bench's measures).
"""

from ml_collections import ConfigDict

from spatial_jax.config import editable
from spatial_jax.evals.settings import EvalSettings


def get_config(arg: str = "full") -> ConfigDict:
    """`arg`: full, vilasr, tiny, draw_tiny or walk_tiny."""
    config = editable(EvalSettings())
    if arg == "vilasr":
        config.policy.update({"max_pixels": 351232, "video_max_pixels": 351232})
        config.sampling.update({"frames": 16, "temperature": 0.75, "top_p": 0.9, "turns": 10, "max_pictures": 45})
        config.engine.update({"answer_buckets": (512, 2048, 8192, 16_384), "prompt_buckets": (1024, 4096, 8192)})
    elif arg == "tiny":
        config.policy.dtype = "float32"
        config.sampling.max_new_tokens = 20
        config.engine.update(
            {"prompt_buckets": (72, 128), "answer_buckets": (20,), "max_slots": 512, "data": 1, "tensor": 1}
        )
    elif arg == "draw_tiny":
        config.policy.dtype = "float32"
        config.sampling.max_new_tokens = 64
        config.engine.update(
            {"prompt_buckets": (64, 96), "answer_buckets": (256,), "max_slots": 256, "data": 1, "tensor": 1}
        )
    elif arg == "walk_tiny":
        # Trained by vsGRPO's reward, measured by the questions' own: mean relative accuracy, right and wrong.
        options = ("vsi_object_rel_*", "vsi_route_planning", "vsi_obj_appearance_order")
        config.policy.update({"dtype": "float32", "by_family": (*(f"{o}=choice" for o in options), "vsi_*=mra")})
        config.sampling.max_new_tokens = 32
        config.engine.update(
            {"prompt_buckets": (112, 288), "answer_buckets": (32,), "max_slots": 512, "data": 1, "tensor": 1}
        )
    elif arg != "full":
        raise ValueError(f"configs/eval_spatial.py takes :full, :vilasr, :tiny, :draw_tiny or :walk_tiny, not {arg!r}")
    return config
