"""ViLaSR's three stages for a tiny policy that has learned where things are and whose tokenizer has the protocol's
phrases, on rendered scenes; and the same questions without drawing. Sized for one core; launch/proofs.py --drawing
runs them.

    python -m spatial_jax.convert --from=configs/drawing_policy --to_hf=runs/draw/policy \
        --phrases=runs/draw/questions
    python -m spatial_jax.train --config=configs/draw_tiny.py:sft --workdir=runs/draw/sft \
        --config.model.path=runs/draw/policy --config.data.paths='("runs/draw/questions",)'
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common, quickstart
from configs.quickstart import TINY

DRAWING: dict[str, Any] = dict(
    model=TINY["model"],
    data={**TINY["data"], "prompt_mode": "drawing", "prompt_buckets": (64, 96), "together": 1},
)
ROLLOUT: dict[str, Any] = dict(
    turns=4,
    max_pictures=4,
    max_new_tokens=64,
    max_tokens=256,
    answer_buckets=(128, 192, 256),
    top_p=1.0,
)
# What makes the shipped policy, in this order: steps, learning rate, does the tower learn. What alignment taught the
# tower, a rate of 3e-4 takes from it again; held, it makes the decoder read what is there.
SEEING = {
    "boxes": (2400, 3e-4, True),
    "names": (800, 5e-4, False),
    "kinds": (900, 4e-4, False),
    "settle": (2700, 1.5e-4, True),
}
HELD: dict[str, Any] = {**TINY["model"], "freeze": ("vision", "merger")}  # the tower stays as it is
# Supervised trainings: steps and learning rate
SUPERVISED = {"sft": (1600, 3e-4), "reflect": (40, 1e-4)}
# Many questions a picture, which passes once; the tower, which sees where things are, stays as it is
DENSE = {"call": (700, (56, 72, 96)), "plain": (1100, (28, 32, 48, 96))}


def _optimizer(rate: float, warmup: int) -> dict[str, Any]:
    """Of a supervised training."""
    return dict(
        learning_rate=rate,
        schedule="cosine",
        final_fraction=0.1,
        beta2=0.98,
        warmup_steps=warmup,
        weight_decay=0.05,
    )


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`, of the shipped configs/drawing_policy in this order: boxes (where things are, from the quickstart's policy
    with tokens for pixels), align (every visual token picks the words for what it shows: a box is found by its colour
    alone), names (the decoder reads them), kinds and settle (boxes among questions that want to know what things are,
    the tower held and then not). Of a proof: call (the first turn of demonstrations), sft (whole ones: the cold start),
    plain (the same questions, answers alone), reflect (what the cold-started policy itself drew, right and reflective)
    or grpo.
    """
    if arg in SEEING:
        steps, rate, tower = SEEING[arg]
        config = common.base(
            train=dict(method="sft", steps=steps, prompts=64, update_prompts=64, micro_prompts=64),
            rollout=dict(answer_buckets=(26, 32, 48, 96), max_new_tokens=20),
            optimizer=_optimizer(rate, 50),
            checkpoint=dict(every=200, keep=2),
            log=dict(console_every=20, gallery_every=0),
            model=TINY["model"] if tower else HELD,
            data={**TINY["data"], "together": 4, "prompt_buckets": (24, 32, 56, 96)},
        )
        config.data.feature_cache_gib = 0.0 if tower else 1.0
    elif arg == "align":
        config = quickstart.get_config("align")
        config.train.steps = 850
        config.optimizer.update({"learning_rate": 8e-4, "schedule": "cosine"})
        return config
    elif arg in DENSE:
        steps, buckets = DENSE[arg]
        data = {**TINY["data"], "together": 4, "prompt_buckets": (24, 32, 56, 96), "feature_cache_gib": 1.0}
        config = common.base(
            train=dict(method="sft", steps=steps, prompts=64, update_prompts=64, micro_prompts=64),
            rollout=dict(answer_buckets=buckets, max_new_tokens=20 if arg == "plain" else 64),
            optimizer=_optimizer(3e-4, 50),
            checkpoint=dict(every=100, keep=2),
            log=dict(console_every=10, gallery_every=0),
            model=HELD,
            data={**data, "prompt_mode": "bare" if arg == "plain" else "drawing"},
        )
    elif arg in SUPERVISED:
        steps, rate = SUPERVISED[arg]
        config = common.base(
            train=dict(method="sft", steps=steps, prompts=16, update_prompts=16, micro_prompts=16),
            rollout=ROLLOUT,
            optimizer=_optimizer(rate, 10),
            checkpoint=dict(every=100, keep=2),
            log=dict(console_every=10, gallery_every=0),
            model=HELD,
            data={**DRAWING["data"], "feature_cache_gib": 1.0},
        )
    elif arg == "grpo":
        config = common.base(
            train=dict(method="grpo", steps=100, prompts=8, update_prompts=8, micro_prompts=8),
            # At temperature 1 calls of this size of policy break often, and drawing is given up for it.
            rollout={
                **ROLLOUT,
                "temperature": 0.75,
                "group_size": 8,
                "max_slots": 64,
                "answer_buckets": (128, 160, 192, 256),
            },
            algorithm=dict(kind="grpo", clip_low=0.2, clip_high=0.3, kl_coef=0.02, refill_rounds=4),
            reward=dict(format_weight=0.5, gate=0.0),
            optimizer=dict(
                learning_rate=1e-4, schedule="cosine", final_fraction=0.2, warmup_steps=2, weight_decay=0.01
            ),
            log=dict(console_every=1, gallery_every=20, gallery_groups=4),
            checkpoint=dict(every=20, keep=2),
            model=HELD,
            data=DRAWING["data"],
        )
    else:
        seen = ", ".join(f":{name}" for name in ("align", *SEEING))
        raise ValueError(f"configs/draw_tiny.py takes {seen}, :call, :sft, :plain, :reflect or :grpo, not {arg!r}")
    config.data.system = ""
    return common.on_one_device(config)
