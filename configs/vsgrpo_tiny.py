"""vsGRPO's comparison at a size that one core trains: a policy of two million weights on walks of eight frames of 84x84
pixels. GRPO in its three forms, SFT and DPO start from one short cold start; the tower, as in the paper, trains in none
of them.

    python -m launch.proofs --video      (all of it, three seeds)
    python -m spatial_jax.train --config=configs/vsgrpo_tiny.py:grpo,think --workdir=runs/think \
        --config.model.path=runs/cold/export --config.data.paths='("runs/walk_questions",)'
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common, vsgrpo_qwen2_vl_2b

SIDE = 84  # pixels of a frame
CLIP: dict[str, Any] = dict(
    system="", frames=8, video_min_pixels=SIDE * SIDE, video_max_pixels=SIDE * SIDE, cache_mib=4096
)
LOG: dict[str, Any] = dict(console_every=5, gallery_every=0, sinks=("jsonl", "console"))
REWARD = ("vsi_*=vsgrpo",)  # the paper's formulas
# Steps of 16 questions. SFT's and DPO's cost less, so they take more: as many tokens pass as in GRPO's vanilla form.
STEPS = {"grpo": 100, "sft": 210, "dpo": 150}
RATES = {"grpo": 4e-4, "sft": 4e-4, "dpo": 3e-5}


def get_config(arg: str = "grpo,vanilla") -> ConfigDict:
    """`arg`: cold (questions in several forms, from random weights) or METHOD[,MODE] as vsgrpo_qwen2_vl_2b takes it."""
    if arg == "cold":
        config = common.base(
            train=dict(method="sft", steps=120, prompts=64, update_prompts=64, micro_prompts=64),
            model=dict(dtype="float32", remat="none"),
            data=dict(CLIP, prompt_mode="vanilla", prompt_buckets=(48, 56, 112), together=8),
            rollout=dict(answer_buckets=(32, 48, 64, 80, 96), max_new_tokens=24),
            optimizer=dict(
                learning_rate=1e-3,
                schedule="cosine",
                final_fraction=0.1,
                beta2=0.98,
                warmup_steps=30,
                weight_decay=0.05,
            ),
            checkpoint=dict(every=1000, keep=1),
            log=LOG,
        )
        return common.on_one_device(config)
    config = vsgrpo_qwen2_vl_2b.get_config(arg)
    method, vanilla = config.train.method, config.data.prompt_mode == "vanilla"
    config.model.update(dict(dtype="float32", remat="none", lora_rank=0))
    config.data.update(dict(CLIP, prompt_buckets=(96,) if vanilla else (112,), feature_cache_gib=1.0))
    config.train.update(dict(prompts=16, update_prompts=16, micro_prompts=16, steps=STEPS[method]))
    config.rollout.update(dict(group_size=8, max_slots=128))  # the paper's 14 would cost three quarters more
    config.rollout.update(
        dict(max_new_tokens=8, answer_buckets=(8,)) if vanilla else dict(max_new_tokens=32, answer_buckets=(20, 32))
    )
    # The reward pays the form by itself; numbers else grow digits without end, and still count as right.
    config.reward.update(dict(by_family=REWARD, format_weight=0.0, truncated_reward=0.0))
    config.optimizer.update(
        dict(learning_rate=RATES[method], schedule="cosine", final_fraction=0.1, warmup_steps=5, weight_decay=0.01)
    )
    config.checkpoint.update(dict(every=1000, keep=1))
    config.log.update(LOG)
    return common.on_one_device(config)
