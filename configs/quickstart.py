"""The quickstart's trainings of a tiny policy on rendered scenes, sized for two cores.

    python -m spatial_jax.train --config=configs/quickstart.py:grpo --workdir=runs/quickstart/grpo \
        --config.model.path=configs/quickstart_policy --config.data.paths='("runs/quickstart/questions",)'
    python -m spatial_jax.train --config=configs/quickstart.py:sft --workdir=runs/sft \
        --config.model.path=configs/quickstart_policy --config.data.paths='("runs/quickstart/questions",)'
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common

TINY: dict[str, Any] = dict(
    model=dict(dtype="float32", remat="none"),
    data=dict(
        prompt_mode="bare",
        system="",
        max_pixels=112 * 112,
        min_pixels=28 * 28,
        prompt_buckets=(32, 56, 96),
        together=8,
        cache_mib=2048,
    ),
)


SFT: dict[str, Any] = dict(
    rollout=dict(answer_buckets=(28, 32, 36, 48, 64, 96), max_new_tokens=20),
    checkpoint=dict(every=100, keep=2),
    log=dict(console_every=20, gallery_every=0),
)


# Supervised trainings: steps, learning rate, warm-up, schedule. Above 3e-4 what alignment taught is lost before
# questions can use it.
SUPERVISED = {
    "sft": (150, 1e-4, 20, "constant"),
    "sft_scratch": (1500, 3e-4, 200, "constant"),
    "sft_cold": (2000, 3e-4, 300, "constant"),
    "sft_clear": (1100, 3e-4, 50, "cosine"),  # stopped while sampled answers still err: the rest is left to GRPO
}


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: align (a fresh policy learns words for what it sees and where), sft (a little more supervised training of
    the shipped cold start), sft_scratch (after align, what the time allows), sft_cold (after align) and sft_clear
    (after that: the shipped cold start itself), or grpo.
    """
    if arg == "align":
        config = common.base(
            train=dict(method="align", steps=700, prompts=32, update_prompts=32, micro_prompts=32),
            optimizer=dict(learning_rate=1e-3, beta2=0.98, warmup_steps=50, weight_decay=0.05),
            **SFT,
            **TINY,
        )
    elif arg in SUPERVISED:
        steps, rate, warmup, schedule = SUPERVISED[arg]
        config = common.base(
            train=dict(method="sft", steps=steps, prompts=32, update_prompts=32, micro_prompts=32),
            optimizer=dict(
                learning_rate=rate,
                schedule=schedule,
                final_fraction=0.1,
                beta2=0.98,
                warmup_steps=warmup,
                weight_decay=0.05,
            ),
            **SFT,
            **TINY,
        )
        config.data.together = 4 if arg == "sft_clear" else config.data.together  # more pictures a step
    elif arg == "grpo":
        config = common.base(
            train=dict(method="grpo", steps=200, prompts=64, update_prompts=64, micro_prompts=16),
            rollout=dict(group_size=16, top_p=1.0, max_new_tokens=16, answer_buckets=(4, 8, 16), max_slots=1024),
            algorithm=dict(kind="grpo", clip_low=0.20, clip_high=0.25, kl_coef=0.0),
            reward=dict(
                format_weight=0.0, truncated_reward=0.0
            ),  # else numbers grow digits without end: they still count as right
            optimizer=dict(
                learning_rate=3e-4, schedule="cosine", final_fraction=0.1, warmup_steps=5, weight_decay=0.01
            ),
            log=dict(console_every=5, gallery_every=25, gallery_groups=6),
            checkpoint=dict(every=25, keep=2),
            **TINY,
        )
    else:
        raise ValueError(
            f"configs/quickstart.py takes :align, :sft, :sft_scratch, :sft_cold, :sft_clear or :grpo, not {arg!r}"
        )
    return common.on_one_device(config)
