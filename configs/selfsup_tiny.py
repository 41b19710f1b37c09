"""Spatial-SSRL's way at a tiny size: does a policy of two million weights learn the five tasks, and keep what it knew?

    python -m launch.proofs --selfsup      (all of it, three seeds)
    python -m spatial_jax.train --config=configs/selfsup_tiny.py:cold --workdir=runs/cold \
        --config.model.path=configs/quickstart_policy --config.data.paths='("runs/selfsup",)'
"""

from ml_collections import ConfigDict

from configs import common, quickstart

# steps, learning rate, warm-up, questions on one picture that are packed behind it
SUPERVISED = {
    "base": (600, 3e-4, 20, 8),  # colours, names, counts, words and Li's families: what may be gained or lost
    "cold": (2000, 5e-4, 100, 1),  # a puzzle has a picture of its own
    "families": (2000, 5e-4, 100, 8),  # as many steps on Li's families
}


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: base (from the quickstart's policy), cold (after it), families (in cold's place), or grpo (after
    either).
    """
    if arg in SUPERVISED:
        steps, rate, warmup, together = SUPERVISED[arg]
        config = quickstart.get_config("sft")
        config.train.steps = steps
        config.optimizer.update(
            {"learning_rate": rate, "schedule": "cosine", "final_fraction": 0.05, "warmup_steps": warmup}
        )
        config.data.together = together
        if together == 1:
            config.data.prompt_buckets = (48, 64)
            config.rollout.update({"answer_buckets": (8, 16), "max_new_tokens": 12})
    elif arg == "grpo":
        config = quickstart.get_config("grpo")
        config.train.steps = 60
        config.data.prompt_buckets = (48, 64)
        config.optimizer.learning_rate = 2e-4
        config.algorithm.kl_coef = 0.01  # Spatial-SSRL's, with the policy it starts from
        config.reference.mode = "none"
    else:
        raise ValueError(f"configs/selfsup_tiny.py takes :base, :cold, :families or :grpo, not {arg!r}")
    return common.on_one_device(config)
