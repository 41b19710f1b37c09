"""Qwen2.5-VL-3B on one GPU of 24 GB or more: LoRA, short answers, twenty steps.

    XLA_PYTHON_CLIENT_MEM_FRACTION=0.92 python -m spatial_jax.train --config=configs/debug_gpu.py \
        --workdir=runs/debug_gpu --config.model.path=Qwen2.5-VL-3B-Instruct --config.data.paths='("DIR",)'

The rules of Li 2025's recipe at a size one device holds: bfloat16 weights, adapters in place of the full update.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: grpo, sft or dpo."""
    if arg not in ("grpo", "sft", "dpo"):
        raise ValueError(f"configs/debug_gpu.py takes :grpo, :sft or :dpo, not {arg!r}")
    return common.on_one_device(
        common.base(
            train=dict(method=arg, steps=20, prompts=16, update_prompts=16, micro_prompts=4),
            # remat: what repeats least of all that fits 24 GB (launch/plan.py --least_recomputation)
            model=dict(lora_rank=32, param_dtype="bfloat16", freeze=("vision", "merger"), remat="attention"),
            data=dict(max_pixels=401_408, prompt_buckets=(512, 768, 1024)),
            rollout=dict(group_size=8, max_new_tokens=512, answer_buckets=(64, 256, 512), max_slots=128),
            optimizer=dict(learning_rate=1e-5, warmup_steps=2),
            log=dict(gallery_every=5),
            checkpoint=dict(every=10, keep=2),
        )
    )
