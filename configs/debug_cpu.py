"""Three steps on a laptop: does my data, my reward, my checkout work? Minutes, no accelerator.

    python -m spatial_jax.convert --fresh=tiny --texts=DIR --out=runs/tiny
    JAX_PLATFORMS=cpu python -m spatial_jax.train --config=configs/debug_cpu.py --workdir=runs/debug \
        --config.model.path=runs/tiny --config.data.paths='("DIR",)'
"""

from ml_collections import ConfigDict

from configs import common, quickstart


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: grpo, sft or dpo."""
    if arg not in ("grpo", "sft", "dpo"):
        raise ValueError(f"configs/debug_cpu.py takes :grpo, :sft or :dpo, not {arg!r}")
    config = common.base(
        train=dict(method=arg, steps=3, prompts=4, update_prompts=4, micro_prompts=4),
        rollout=dict(group_size=4, top_p=1.0, max_new_tokens=16, answer_buckets=(16, 96), max_slots=16),
        optimizer=dict(learning_rate=1e-4),
        reward=dict(format_weight=0.0),
        log=dict(sinks=("jsonl", "console"), gallery_every=1, gallery_groups=2),
        checkpoint=dict(every=2, keep=2),
        **quickstart.TINY,
    )
    config.data.together = 1
    config.data.prompt_buckets = (32, 56, 96, 192, 384, 768)  # questions of any make, several pictures
    return common.on_one_device(config)
