"""Spatial-SSRL's way at a tiny size: a policy of two million weights learns the five tasks, and keeps what it knew.

    python -m launch.proofs --selfsup      (all of it)
    python -m data_prep.selfsup --photos=runs/scenes --profile=plain --wordings=1 --regions --out=runs/regions
    python -m spatial_jax.train --config=configs/selfsup_tiny.py:align --workdir=runs/align \
        --config.model.path=configs/drawing_policy --config.data.paths='("runs/regions",)'

The answers alone teach it nothing: 1,100 steps of them left four tasks at chance. So the tower first learns every mark
and patch by its word, the pieces that fit a hole before all else, then beside the things that it knows (align, twice);
then many short questions on each picture ask for what an answer is made of, over a tower that stays as it is (parts);
then it learns too, slowly (cold). What alignment took of the rest comes back when it is half of the questions and more
(settle, keep).
"""

from ml_collections import ConfigDict

from configs import common, quickstart

# steps, learning rate, warm-up, schedule, does the tower learn
SUPERVISED = {
    "parts": (900, 4e-4, 30, "cosine", False),  # what the tasks' answers are made of, and the tasks
    "cold": (1000, 1.5e-4, 30, "cosine", True),  # goes on with the same: the cold start
    "settle": (1000, 2e-4, 30, "cosine", True),  # as many questions again, half of them on what it knew before
    "keep": (800, 1.5e-4, 30, "cosine", True),  # goes on with more of colours, names, counts and words
    "families": (3700, 1.5e-4, 30, "cosine", True),  # as many as these four, on Li's families, whose words it knows
}


def get_config(arg: str = "grpo") -> ConfigDict:
    """`arg`: align (of the puzzles' regions, see data_prep.selfsup --regions), parts (after it; --parts), cold, settle
    and keep (each after the one before), families (in the place of all of them), or grpo (after keep or families).
    """
    if arg == "align":
        config = quickstart.get_config("align")
        config.train.update({"steps": 1200, "prompts": 24, "update_prompts": 24, "micro_prompts": 24})
        config.optimizer.learning_rate = 8e-4
        config.data.update({"prompt_buckets": (96,), "patch_buckets": (1792, 2048, 2304, 3072, 9216)})
    elif arg in SUPERVISED:
        steps, rate, warmup, schedule, tower = SUPERVISED[arg]
        config = quickstart.get_config("sft")
        config.train.update({"steps": steps, "prompts": 64, "update_prompts": 64, "micro_prompts": 64})
        config.optimizer.update(
            {"learning_rate": rate, "warmup_steps": warmup, "schedule": schedule, "final_fraction": 0.05}
        )
        config.data.update({"together": 4, "prompt_buckets": (20, 24, 32, 48)})
        config.rollout.update({"answer_buckets": (8, 12, 16, 24, 32), "max_new_tokens": 8})
        if not tower:
            config.model.freeze = ("vision", "merger")
            config.data.feature_cache_gib = 1.5
    elif arg == "grpo":
        config = quickstart.get_config("grpo")
        # Steps of 32 x 8 answers cost the tasks 2 to 10 points at this rate, 64 x 16 do not.
        config.train.steps = 120
        config.rollout.max_new_tokens = 12
        config.data.prompt_buckets = (32, 48, 64)
        config.optimizer.learning_rate = 1e-4
        config.algorithm.kl_coef = 0.01  # Spatial-SSRL's, with the policy it starts from
        config.reference.mode = "none"
    else:
        raise ValueError(
            f"configs/selfsup_tiny.py takes :align, :parts, :cold, :settle, :keep, :families or :grpo, not {arg!r}"
        )
    config.data.max_pixels = 2 * 112 * 112  # the cropped picture has its candidates beside it
    return common.on_one_device(config)
