"""The quickstart's two trainings of a tiny policy on rendered scenes and photos, sized for two cores.

    python -m spatial_jax.train --config=configs/quickstart.py:sft --workdir=runs/quickstart/sft \
        --config.model.path=runs/quickstart/policy --config.data.paths='("runs/quickstart/questions",)'
    python -m spatial_jax.train --config=configs/quickstart.py:grpo --workdir=runs/quickstart/grpo \
        --config.model.path=runs/quickstart/sft/export --config.data.paths='("runs/quickstart/questions",)'
"""
from ml_collections import ConfigDict

from configs import common

TINY = dict(
    model=dict(dtype="float32", remat="none"),
    data=dict(prompt_mode="bare", system="", max_pixels=112 * 112, min_pixels=28 * 28, prompt_buckets=(24, 48, 64, 96), together=8, cache_mib=2048),
)


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft (cold start) or grpo."""
    if arg == "sft":
        config = common.base(
            run=dict(method="sft", steps=400, prompts=32, update_prompts=32, micro_prompts=32),
            optimizer=dict(learning_rate=1e-3, beta2=0.98, schedule="cosine", warmup_steps=50, final_fraction=0.05, weight_decay=0.05),
            rollout=dict(answer_buckets=(28, 32, 36, 48, 64, 96), max_new_tokens=20),
            log=dict(console_every=20, gallery_every=0),
            checkpoint=dict(every=200, keep=2),
            **TINY,
        )
    elif arg == "grpo":
        config = common.base(
            run=dict(method="grpo", steps=120, prompts=64, update_prompts=64, micro_prompts=16),
            rollout=dict(group_size=16, top_p=1.0, max_new_tokens=20, answer_buckets=(4, 8, 20), max_slots=1024),
            algorithm=dict(kind="grpo", clip_low=0.20, clip_high=0.25, kl_coef=0.01),
            reference=dict(mode="every_n", n=50),
            reward=dict(format_weight=0.0),
            optimizer=dict(learning_rate=1e-4, warmup_steps=5, weight_decay=0.01),
            log=dict(console_every=5, gallery_every=40, gallery_groups=6),
            checkpoint=dict(every=40, keep=2),
            **TINY,
        )
    else:
        raise ValueError(f"configs/quickstart.py takes :sft or :grpo, not {arg!r}")
    return common.on_one_device(config)
