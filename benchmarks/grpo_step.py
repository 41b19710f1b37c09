"""A whole GRPO step against trl's GRPOTrainer: the same tiny Qwen2.5-VL, pictures, questions, group size and lengths,
on this CPU.

    python -m benchmarks.grpo_step               # about four minutes; writes benchmarks/results/grpo_step.json

A step is: pictures and text to model inputs, 16 sampled answers to each of 4 questions, a reward function, advantages,
one AdamW update. Both sides are strictly on-policy, without a reference. Answers are cut at a fixed length, so both
make the same number of tokens.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from PIL import Image

from benchmarks.policies import describe, prepare_torchvision, tiny_config, write_result
from spatial_jax.models import QwenVL, read_config, save_pretrained, split_model
from spatial_jax.models.group import group_logprobs
from spatial_jax.processing import Processor, collate_prompts, train_tokenizer
from spatial_jax.rl import ObjectiveConfig, PolicyBatch, group_advantages, objective
from spatial_jax.rollout import Engine, SamplingParams, trajectory_batch

PROMPTS, GROUP, ANSWER, SIDE, STEPS = 4, 16, 32, 448, 3
QUESTION = "Which of the two boxes is closer to the camera, the red one or the blue one?"


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)) for _ in range(PROMPTS)]


def messages() -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": QUESTION}]}]


def make_policy(directory: str):
    """A random policy of about 3.5 M parameters with a tokenizer, saved in Hugging Face layout."""
    ids = train_tokenizer([QUESTION] * 20, 512, directory, max_pixels=SIDE * SIDE)
    config = tiny_config(256, 768, 4, 4, 2, ids["vocab_size"])
    config = dataclasses.replace(config, **{key: value for key, value in ids.items() if key != "vocab_size"})
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    save_pretrained((config, params), directory)
    return read_config(directory), graphdef, params


def reward(text: str) -> float:
    return text.count("e") / 10


class Clock:
    """Wall and CPU seconds of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def start(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.steps.append(
            {"wall_s": round(time.perf_counter() - self._wall, 3), "cpu_s": round(time.process_time() - self._cpu, 3)}
        )


def our_steps(directory: str) -> list[dict[str, float]]:
    """The time of each step; the first compiles."""
    config, graphdef, params = make_policy(directory)
    processor = Processor.from_pretrained(directory)
    engine = Engine(
        graphdef,
        config,
        max_slots=PROMPTS * GROUP,
        prompt_buckets=(336,),
        answer_buckets=(ANSWER,),
        pad_id=processor.pad_id,
    )
    sampling = SamplingParams(ANSWER, banned_ids=processor.banned_ids)
    optimizer, cfg = optax.adamw(1e-6), ObjectiveConfig("dapo")
    state, images = optimizer.init(params), pictures()

    @jax.jit
    def update(params, state, prompts, answers, batch):
        def loss(params):
            logp, entropy = group_logprobs(
                nnx.merge(graphdef, params), prompts, answers, banned_ids=processor.banned_ids, remat="full"
            )
            sums = objective(logp, entropy, batch, cfg)
            return sums["loss"] / sums["count"]

        changes, state = optimizer.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, changes), state

    clock = Clock()
    for step in range(STEPS):
        clock.start()
        prompts = [processor.encode(messages(), images=[image]) for image in images]
        groups = engine.generate(params, prompts, GROUP, sampling, step=step)
        rewards = [[reward(processor.decode(sample.tokens)) for sample in group] for group in groups]
        packed = trajectory_batch(
            groups,
            [prompt.next_position for prompt in prompts],
            config.vision,
            answer_buckets=(ANSWER,),
            patch_buckets=(),
            pad_id=processor.pad_id,
        )
        batch = PolicyBatch(jnp.asarray(group_advantages(rewards)), packed.answers.loss_mask)
        device = collate_prompts(prompts, config.vision, prompt_bucket=336, patch_bucket=None, pad_id=processor.pad_id)
        params, state = jax.block_until_ready(update(params, state, device, packed.answers, batch))
        clock.stop()
    return clock.steps


def trl_steps(directory: str) -> list[dict[str, float]]:
    """The same through trl.GRPOTrainer, its defaults except for what the comparison fixes."""
    prepare_torchvision()
    import transformers
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    clock = Clock()

    class Timing(transformers.TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            clock.start()

        def on_step_end(self, *args, **kwargs):
            clock.stop()

    questions = Dataset.from_list(
        [{"prompt": [{"role": "user", "content": QUESTION}], "image": image} for image in pictures()]
    )
    args = GRPOConfig(
        output_dir=str(Path(directory) / "trl"),
        use_cpu=True,
        per_device_train_batch_size=PROMPTS * GROUP,
        num_generations=GROUP,
        max_completion_length=ANSWER,
        max_steps=STEPS,
        learning_rate=1e-6,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        gradient_checkpointing=False,
        bf16=False,
        generation_kwargs={"min_new_tokens": ANSWER},
    )
    model = transformers.Qwen2_5_VLForConditionalGeneration.from_pretrained(directory)

    def score_all(completions: list[Any], **_: Any) -> list[float | None]:
        return [reward(completion[0]["content"]) for completion in completions]

    trainer = GRPOTrainer(
        model,
        reward_funcs=score_all,
        args=args,
        train_dataset=questions,
        processing_class=transformers.AutoProcessor.from_pretrained(directory, use_fast=True),
        callbacks=[Timing()],
    )
    trainer.train()
    return clock.steps


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        ours = our_steps(directory)
        config = json.loads((Path(directory) / "config.json").read_text())
        jax.clear_caches()
        theirs = trl_steps(directory)
        result = {
            "prompts": PROMPTS,
            "group": GROUP,
            "answer_tokens": ANSWER,
            "picture": [SIDE, SIDE],
            "model_type": config["model_type"],
            "model": describe(read_config(directory)),
            "spatial_jax_steps": ours,
            "trl_steps": theirs,
        }
        for key in ("wall_s", "cpu_s"):  # the first step compiles, or warms up
            least = [min(step[key] for step in steps[1:]) for steps in (theirs, ours)]
            result[f"trl_over_spatial_jax_{key}"] = round(least[0] / least[1], 2)
    write_result("grpo_step", "python -m benchmarks.grpo_step", result)


if __name__ == "__main__":
    main()
