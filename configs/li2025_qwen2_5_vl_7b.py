"""Li 2025, "end-to-end framework for spatial reasoning": Qwen2.5-VL-7B, GRPO on self-built questions (the main recipe).

    python -m spatial_jax.train --config=configs/li2025_qwen2_5_vl_7b.py --workdir=runs/li2025 \
        --config.model.path=Qwen2.5-VL-7B-Instruct --config.data.paths='("DIR",)'

Make the questions with `python -m data_prep.annotate` and `python -m data_prep.synthesize --families=all`. The argument
"entropy" turns the adaptive entropy bonus on, "four" takes four optimizer steps a rollout ("entropy,four": both). Lines
marked "open" are not in the paper; what follows names where the value is from.

The paper states clip-higher (0.20 / 0.25) and not how often a rollout is used. With one update a rollout, as its batch
of 256 and Skywork-OR1's script suggest, the ratio of new to old probability is exactly 1: the clip never acts, and the
clip fraction is 0 whatever happens. With "four" it acts from the second step of each rollout on.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arg: str = "") -> ConfigDict:
    """`arg`: empty, or of "entropy" (Skywork-OR1's adaptive entropy bonus; open in the paper: off) and "four" (four
    optimizer steps of 64 prompts a rollout of 256, so that clip-higher acts), joined by a comma.
    """
    chosen = set(filter(None, arg.split(",")))
    if chosen - {"entropy", "four"}:
        raise ValueError(f"configs/li2025_qwen2_5_vl_7b.py takes no argument, :entropy, :four or both, not {arg!r}")
    return common.base(
        train=dict(
            method="grpo",
            prompts=256,  # the paper's "global batch 256"; open: prompts, not rollouts, as Skywork-OR1's 256 x 16
            # open: one optimizer step a rollout, strictly on-policy (Skywork-OR1), where no clip acts; or four
            update_prompts=64 if "four" in chosen else 256,
            micro_prompts=64,  # ours: memory only, the gradient does not depend on it
            steps=1000,  # open: ours
        ),
        model=dict(
            freeze=(), lora_rank=0, dtype="bfloat16", param_dtype="float32", remat="full"
        ),  # language model and vision encoder both train
        data=dict(
            prompt_mode="think_answer",  # open: Spatial-SSRL's habit of a thought before the answer
            min_pixels=401_408,
            max_pixels=1_003_520,  # open: ours, 512 to 1,280 vision tokens a picture
            prompt_buckets=(768, 1024, 1536, 2048),
        ),
        rollout=dict(
            group_size=16,
            temperature=1.0,
            top_p=0.7,
            max_new_tokens=8192,  # open: how 8,192 divides between prompt and answer
            answer_buckets=(256, 1024, 4096, 8192),
            max_slots=1024,
        ),
        algorithm=dict(
            kind="grpo",
            clip_low=0.20,
            clip_high=0.25,
            dual_clip=None,  # open: off
            kl_coef=0.01,
            kl="k3",  # open: estimator k3 with EasyR1's clamps
            aggregate="token",  # open: mean over all tokens of the global batch (Skywork-OR1, DAPO)
            drop_zero_variance=True,  # the paper's online filter, as Skywork-OR1 does it
        ),
        entropy=dict(
            adaptive="entropy" in chosen, target=0.2, delta=1e-4, low=0.0, high=5e-3
        ),  # open: Skywork-OR1's controller
        reference=dict(
            mode="every_n", n=200, reset_optimizer=False
        ),  # periodic replacement; open: period and optimizer state, ProRL's family
        curriculum=dict(
            enabled=True,
            low=0.1,
            high=0.9,  # open: thresholds, a moving window of pass rates
            offline_low=1 / 16,
            offline_high=15 / 16,  # open: 1 to 15 successes of 16 answers (Skywork-OR1)
            # Easy to hard; open: stages by hops and pass rate are ours.
            stages=(
                dict(max_hops=1, min_pass_rate=0.3, until_step=150, advance_at=0.7),
                dict(max_hops=2, min_pass_rate=0.1, until_step=400, advance_at=0.7),
                dict(max_hops=1000, min_pass_rate=0.0, until_step=None, advance_at=None),
            ),
        ),
        reward=dict(format_weight=0.1),  # open: the paper names no format reward; Spatial-SSRL's 0.9 / 0.1
        optimizer=dict(
            learning_rate=1e-6,
            schedule="constant",
            warmup_steps=0,  # open: schedule and warm-up, as Skywork-OR1
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.01,
            grad_clip=1.0,
        ),  # open: beta2 and clipping, EasyR1
        checkpoint=dict(every=25, keep=3),
    )
