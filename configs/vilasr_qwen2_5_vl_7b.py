"""ViLaSR (arXiv 2506.09965) on Qwen2.5-VL-7B: reasoning that draws on the pictures, over up to ten turns, learned in
three stages: a cold start on demonstrations, the policy's own trajectories that are right, well formed and reflective,
and GRPO.

    python -m data_prep.synthesize --scenes=DIR --demonstrations --two_pictures --out=runs/drawn
    python -m spatial_jax.train --config=configs/vilasr_qwen2_5_vl_7b.py:sft --workdir=runs/vilasr_sft \
        --config.model.path=Qwen2.5-VL-7B-Instruct --config.data.paths='("runs/drawn",)'
    python -m spatial_jax.sample --model=runs/vilasr_sft/export --dataset=runs/drawn --samples=8 --keep=reflective \
        --out=runs/reflective
    python -m spatial_jax.train --config=configs/vilasr_qwen2_5_vl_7b.py:reflect --workdir=runs/vilasr_reflect \
        --config.model.path=runs/vilasr_sft/export --config.data.paths='("runs/reflective",)'
    python -m spatial_jax.train --config=configs/vilasr_qwen2_5_vl_7b.py:grpo --workdir=runs/vilasr \
        --config.model.path=runs/vilasr_reflect/export --config.data.paths='("runs/drawn",)'

The paper's demonstrations come from a 72B model, filtered (spatial_jax.sample --endpoint); ours are drawn from known
boxes, and the released rows import too (data_prep.synthesize --import=vilasr_sft). Frames of a video go in as pictures,
as there. "open" marks what the paper leaves open, "released" what its code does and the paper does not say.
"""

from ml_collections import ConfigDict

from configs import common


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft, reflect or grpo."""
    if arg == "sft":
        return _supervised(3100)  # 3 epochs of 33,000
    if arg == "reflect":
        return _supervised(730)  # 3 epochs of 7,800
    if arg == "grpo":
        return _grpo()
    raise ValueError(f"configs/vilasr_qwen2_5_vl_7b.py takes :sft, :reflect or :grpo, not {arg!r}")


def _supervised(steps: int) -> ConfigDict:
    """Both supervised stages, released alike: the loss is on the policy's own turns, end of turn included."""
    config = common.base(
        train=dict(method="sft", prompts=32, update_prompts=32, micro_prompts=4, steps=steps),  # 32 GPUs, one each
        model=dict(freeze=("vision", "merger")),
        data=dict(prompt_mode="drawing", max_pixels=1_003_520, prompt_buckets=(2048, 4096, 8192)),
        rollout=dict(
            turns=20,  # released: a maze takes up to so many, everything else ten
            max_pictures=45,
            group_size=8,
            temperature=1.0,
            top_p=1.0,
            max_new_tokens=1024,
            max_tokens=12_288,  # cut off at 18,432 in all
            answer_buckets=(1024, 2048, 4096, 8192, 12_288),
        ),
        optimizer=dict(learning_rate=1e-5, schedule="cosine", warmup_steps=steps // 10, weight_decay=0.0),
        curriculum=dict(enabled=False),
        reference=dict(mode="none"),
    )
    config.log.gallery_every = 0
    return config


def _grpo() -> ConfigDict:
    return common.base(
        train=dict(
            prompts=32, update_prompts=16, micro_prompts=4, micro_answers=2, steps=1250
        ),  # open: one epoch of 40,000
        data=dict(prompt_mode="drawing", max_pixels=200_704, prompt_buckets=(1024, 2048, 5120)),
        rollout=dict(
            turns=10,
            max_pictures=42,
            group_size=8,
            temperature=1.0,
            top_p=1.0,
            max_new_tokens=1024,
            max_tokens=13_312,
            max_slots=256,
            answer_buckets=(1024, 2048, 4096, 8192, 13_312),
            repeat_px=0.0,  # near-repeats do not end a sample; a turn of nothing new does (paper)
        ),
        algorithm=dict(
            kind="grpo",
            clip_low=0.2,
            clip_high=0.3,
            dual_clip=3.0,  # released; the paper has one epsilon
            kl_coef=0.0,
            aggregate="sequence",  # a path's mean over the tokens that its policy wrote: what was shown has no loss
            drop_zero_variance=False,
        ),
        curriculum=dict(enabled=False),
        reference=dict(mode="none"),
        reward=dict(format_weight=0.5, gate=0.0),  # gate: the threshold beta; nothing for a wrong answer
        optimizer=dict(learning_rate=1e-6, schedule="constant", weight_decay=0.01, grad_clip=1.0),
        checkpoint=dict(every=50, keep=3),
    )
