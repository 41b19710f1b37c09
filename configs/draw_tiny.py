"""ViLaSR's three stages for the quickstart's tiny policy, whose tokenizer has the protocol's phrases, on rendered
scenes; and the same questions without drawing. Sized for one core; launch/proofs.py --drawing runs them.

    python -m spatial_jax.convert --from=configs/quickstart_policy --to_hf=runs/draw/policy \
        --phrases=runs/draw/questions
    python -m spatial_jax.train --config=configs/draw_tiny.py:sft --workdir=runs/draw/sft \
        --config.model.path=runs/draw/policy --config.data.paths='("runs/draw/questions",)'
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common
from configs.quickstart import TINY

DRAWING: dict[str, Any] = dict(
    model=TINY["model"],
    data={**TINY["data"], "prompt_mode": "drawing", "prompt_buckets": (64, 96), "together": 1},
)
ROLLOUT: dict[str, Any] = dict(
    turns=4,
    max_pictures=4,
    max_new_tokens=80,
    max_tokens=256,
    answer_buckets=(64, 96, 128, 192, 256),
    top_p=1.0,
)
STEPS = {"sft": 300, "plain": 300, "reflect": 50}


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: sft (cold start on demonstrations), plain (the same questions, answers alone), reflect (what the
    cold-started policy itself drew, right and reflective) or grpo.
    """
    if arg in STEPS:
        config = common.base(
            train=dict(method="sft", steps=STEPS[arg], prompts=16, update_prompts=16, micro_prompts=16),
            rollout=ROLLOUT if arg != "plain" else dict(answer_buckets=(28, 48, 96), max_new_tokens=20),
            optimizer=dict(
                learning_rate=7e-4 if arg != "reflect" else 3e-4,
                schedule="cosine",
                final_fraction=0.1,
                beta2=0.98,
                warmup_steps=20,
                weight_decay=0.05,
            ),
            checkpoint=dict(every=100, keep=2),
            log=dict(console_every=20, gallery_every=0),
            **(DRAWING if arg != "plain" else {**DRAWING, "data": {**TINY["data"], "together": 1}}),
        )
    elif arg == "grpo":
        config = common.base(
            train=dict(method="grpo", steps=20, prompts=16, update_prompts=16, micro_prompts=16),
            rollout={**ROLLOUT, "group_size": 8, "max_slots": 128, "answer_buckets": (128, 256)},
            algorithm=dict(kind="grpo", clip_low=0.2, clip_high=0.3, kl_coef=0.0),
            reward=dict(format_weight=0.5, gate=0.0),
            optimizer=dict(
                learning_rate=3e-4, schedule="cosine", final_fraction=0.1, warmup_steps=3, weight_decay=0.01
            ),
            log=dict(console_every=2, gallery_every=20, gallery_groups=4),
            checkpoint=dict(every=20, keep=2),
            **DRAWING,
        )
    else:
        raise ValueError(f"configs/draw_tiny.py takes :sft, :plain, :reflect or :grpo, not {arg!r}")
    config.data.system = ""
    return common.on_one_device(config)
