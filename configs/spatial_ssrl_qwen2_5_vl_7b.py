"""Spatial-SSRL (arXiv 2510.27606): five self-supervised tasks, Qwen2.5-VL-7B; a small cold start, then GRPO.

    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen2_5_vl_7b.py:sft --workdir=runs/ssrl_sft \
        --config.model.path=Qwen2.5-VL-7B-Instruct --config.data.paths='("COLD_START_DIR",)'
    python -m spatial_jax.train --config=configs/spatial_ssrl_qwen2_5_vl_7b.py --workdir=runs/ssrl \
        --config.model.path=runs/ssrl_sft/export --config.data.paths='("DIR",)'

Questions: the released ones, or made here of the paper's sources. The cold start has thoughts either way.

    python -m data_prep.synthesize --import=alpaca --path=SFT-coldstart.json --images=IMAGES --out=COLD_START_DIR
    python -m data_prep.synthesize --import=ssrl --path=spatialssrl.parquet --images=IMAGES --out=DIR
    python -m data_prep.selfsup --photos=COCO,DIODE,MEGADEPTH --mixture=published --count=3600 --seed=1 \
        --out=COLD_START_DIR
    python -m data_prep.selfsup --photos=COCO,DIODE,MEGADEPTH --mixture=published --out=DIR

Values are the released scripts' unless a line says "paper" or "open".
"""

from ml_collections import ConfigDict

from configs import common

SHARED = dict(
    min_pixels=262_144, prompt_buckets=(512, 1024, 2048, 4096), prompt_mode="think_boxed"
)  # prompts of at most 4,096 tokens


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft (cold start) or grpo."""
    if arg == "sft":
        return common.base(
            train=dict(
                method="sft",
                prompts=32,
                update_prompts=32,
                micro_prompts=32,  # 4 x 8 accumulation on one device; open: how many devices
                steps=565,
            ),  # 5 epochs of about 3,600 examples
            model=dict(
                lora_rank=128, lora_alpha=256.0
            ),  # all linear layers; open: alpha, twice the rank (LLaMA-Factory's default)
            data=dict(SHARED, min_pixels=None, max_pixels=262_144),
            rollout=dict(answer_buckets=(256, 1024, 2048, 4096), max_new_tokens=2048),  # cut-off 4,096
            optimizer=dict(
                learning_rate=1e-5, schedule="cosine", warmup_steps=56, weight_decay=0.0, beta2=0.999
            ),  # warm-up 10 %
            log=dict(gallery_every=0),
        )
    if arg == "grpo":
        return common.base(
            train=dict(
                method="grpo", prompts=256, update_prompts=128, micro_prompts=64, steps=360
            ),  # two optimizer steps a rollout; paper: 360 steps
            model=dict(freeze=(), lora_rank=0),
            data=dict(SHARED, max_pixels=4_194_304),
            rollout=dict(
                group_size=5, temperature=1.0, top_p=1.0, max_new_tokens=2048, answer_buckets=(256, 512, 1024, 2048)
            ),
            algorithm=dict(
                kind="grpo",
                clip_low=0.2,
                clip_high=0.3,
                dual_clip=3.0,
                kl_coef=0.01,
                kl="k3",
                aggregate="token",
                drop_zero_variance=False,
                refill_rounds=1,
            ),  # dynamic sampling is off
            reference=dict(mode="none"),  # the cold-started policy, never replaced
            curriculum=dict(enabled=False),
            reward=dict(format_weight=0.1),  # for questions whose reward is not "ssrl", which has 0.9 / 0.1 by itself
            optimizer=dict(
                learning_rate=1e-6,
                schedule="constant",
                warmup_steps=0,
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.01,
                grad_clip=1.0,
            ),
            checkpoint=dict(every=20, keep=3),
        )
    raise ValueError(f"configs/spatial_ssrl_qwen2_5_vl_7b.py takes :sft or :grpo, not {arg!r}")
