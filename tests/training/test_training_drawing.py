"""Runs of several turns in small: demonstrations are taught, and a policy that draws is sampled, scored and updated on
all of its turns.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
from flax import nnx

from configs import vilasr_qwen2_5_vl_7b
from spatial_jax import config as run_config
from spatial_jax.data import DatasetError
from spatial_jax.drawing import Operation, environment
from spatial_jax.metrics import read_gallery, read_metrics
from spatial_jax.models import load_pretrained
from spatial_jax.models.group import group_logprobs
from spatial_jax.processing import Processor
from spatial_jax.training.batches import turns_batch
from spatial_jax.training.demonstrations import demonstration
from spatial_jax.training.loop import train
from spatial_jax.training.preflight import program_bytes
from spatial_jax.training.setup import make_setup
from tests.tiny_worlds import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(
        tmp_path_factory.mktemp("drawing"),
        scenes=24,
        families="bearing,depth_order2,count",
        seed=5,
        options=("--demonstrations",),
    )


def settings(arg, world, policy, **changes):
    config = vilasr_qwen2_5_vl_7b.get_config(arg)
    config.model.update({"path": str(policy), "freeze": (), "dtype": "float32"})
    config.data.update(
        {
            "paths": (str(world / "questions"),),
            "min_pixels": 28 * 28,
            "max_pixels": 56 * 56,
            "prompt_buckets": (192,),
            "cache_mib": 16,
            "system": "",
        }
    )
    config.train.update({"steps": 2, "prompts": 2, "update_prompts": 2, "micro_prompts": 2})
    config.rollout.update(
        {
            "group_size": 4,
            "turns": 3,
            "max_new_tokens": 8,
            "max_tokens": 448,
            "answer_buckets": (64, 448),
            "max_slots": 16,
        }
    )
    config.mesh.fsdp = 1
    config.log.update({"sinks": ("jsonl",), "gallery_every": 1})
    if arg == "sft":
        config.rollout.update({"turns": 7, "max_tokens": 896, "answer_buckets": (896,)})
    for key, value in changes.items():
        section, field = key.split("__")
        config[section][field] = value
    return run_config.strict(config)


@pytest.fixture(scope="module")
def demonstrated(world):
    """(setup, samples) of a supervised run."""
    setup = make_setup(settings("sft", world, world / "policy"), world)
    pipeline = setup.method(setup).stream()
    samples = pipeline.take(12)
    pipeline.close()
    return setup, samples


def test_questions_demonstrate_boxes_in_the_models_pixels(demonstrated):
    setup, samples = demonstrated
    whole = [demonstration(s, setup) for s in samples]
    assert all(3 <= environment.replies(t) == environment.drawn_pictures(t) + 1 <= 6 for t in whole)
    for sample, trajectory in zip(samples, whole):
        width, height = sample.prompt.model_sizes[0]
        for turn in trajectory.turns[:-1:2]:
            said = environment.turn_text(turn, setup.processor)
            for item in json.loads(said.split("```json")[1].split("```")[0]):
                xs = [*item.get("bbox_2d", ())[0::2], *(item[k][0] for k in item if k.endswith("point_2d"))]
                ys = [*item.get("bbox_2d", ())[1::2], *(item[k][1] for k in item if k.endswith("point_2d"))]
                assert xs and all(0 <= x <= width for x in xs) and all(0 <= y <= height for y in ys)
        assert not np.array_equal(trajectory.turns[1].observation.pixel_values, sample.prompt.pixel_values)


def test_records_that_leave_no_picture_to_draw_are_refused_before_step_0(world):
    setup = make_setup(settings("grpo", world, world / "policy", rollout__max_pictures=1), world)
    with pytest.raises(DatasetError, match=r"the first: .*: 1 pictures leave none of config.rollout.max_pictures = 1 "):
        setup.method(setup).stream()


def test_the_loss_is_that_of_the_whole_conversation(world, demonstrated):
    """One row behind its prompt gives each turn the log-probabilities that the policy gives to the conversation as one
    prompt.
    """
    setup, samples = demonstrated[0], demonstrated[1][:2]
    answers = [demonstration(s, setup) for s in samples]
    batch = turns_batch([s.prompt for s in samples], answers, setup.buckets)
    policy = load_pretrained(world / "policy")
    logp, _ = group_logprobs(nnx.merge(policy.graphdef, policy.params), batch.prompts, batch.answers)
    for i, (sample, answer) in enumerate(zip(samples, answers)):
        *earlier, last = answer.turns
        seen, expected_at = sample.prompt, []
        for said, shown in zip(earlier[::2], earlier[1::2]):
            expected_at += range(len(seen), len(seen) + len(said.tokens))
            seen = seen.followed_by(said.tokens, shown.observation)
        ids = np.concatenate([seen.input_ids, last.tokens])
        rows = policy.logits(ids[None], np.ones((1, len(ids)), np.int32), seen.pixel_values, seen.grid_thw)[0]
        rows = np.asarray(jax.nn.log_softmax(np.asarray(rows, np.float32)))
        expected = [rows[t - 1, ids[t]] for t in (*expected_at, *range(len(seen), len(ids)))]
        np.testing.assert_allclose(np.asarray(logp[i, 0])[batch.answers.loss_mask[i, 0]], expected, atol=2e-4)


@pytest.mark.parametrize(
    "method, programs", [("sft", {"update"}), ("grpo", {"update", "prefill", "decode", "see", "append"})]
)
def test_programs_are_known_before_the_run(world, method, programs):
    run = settings(method, world, world / "policy")
    needed = program_bytes(make_setup(run, world))
    assert set(needed) == programs and min(needed.values()) > 0


@pytest.fixture
def restless(monkeypatch):
    """Any policy draws: every third token ends a reply, and every reply asks for a box, each for another."""
    monkeypatch.setattr(
        environment, "parse", lambda text, tools: [Operation("box", 1, "it", (1, 1, 30, 1 + sum(map(ord, text)) % 40))]
    )
    monkeypatch.setattr(environment.DrawingEnvironment, "closed", lambda self, trajectory: True)
    monkeypatch.setattr(
        Processor, "eos_ids", property(lambda self: tuple(range(0, 256, 3)), lambda self, ids: None), raising=False
    )


def test_a_policy_is_taught_then_draws_and_learns(world, restless):
    assert train(settings("sft", world, world / "policy"), world / "sft") == 0
    taught = read_metrics(world / "sft")
    assert len(taught) == 2 and all(np.isfinite(row["loss"]) for row in taught)
    run = settings("grpo", world, world / "sft" / "export", validation__every=2, validation__questions=2)
    assert train(run, world / "grpo") == 0
    rows = [row for row in read_metrics(world / "grpo") if "reward/mean" in row]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert row["turns/mean"] > 1 and row["turns/drawn"] >= row["turns/mean"] - 1
        assert (
            sum(row[k] for k in row if k.startswith("turns/ended_")) == pytest.approx(1) and "turns/reflective" in row
        )
        assert 0.8 < row["turns/passed"] < 1.0  # every token once, but the last of each answer
        assert row["gap/max"] < 1e-3  # sampler and trainer agree on every turn
    answers = [answer for entry in read_gallery(world / "grpo") for answer in entry["answers"]]
    assert all(
        answer["text"].count("index of the given image is") == len(answer["drawn"]) for answer in answers
    ) and any(a["drawn"] for a in answers)


@pytest.mark.proof
def test_eight_devices_and_parts_of_groups_draw_and_learn_as_one(world, restless):
    rows = {}
    for devices, part in ((1, 2), (8, 0)):
        one = settings(
            "grpo",
            world,
            world / "policy",
            mesh__fsdp=devices,
            train__steps=1,
            train__prompts=8,
            train__update_prompts=8,
            train__micro_prompts=8,
            train__micro_answers=part,
            rollout__max_slots=32,
            algorithm__aggregate="token",
            reward__truncated_reward=0.0,
        )
        # Rewards that differ, so that there is something to learn.
        one = dataclasses.replace(one, reward=dataclasses.replace(one.reward, user_file=str(user_reward(world))))
        assert train(one, world / f"devices{devices}") == 0
        rows[devices] = read_metrics(world / f"devices{devices}")[-1]
    for key in ("turns/mean", "turns/drawn", "reward/mean", "loss", "grad_norm", "entropy"):
        assert rows[8][key] == pytest.approx(rows[1][key], rel=2e-3, abs=1e-6), key
    assert rows[8]["gap/max"] < 1e-3 and rows[1]["grad_norm"] > 0


def user_reward(folder):
    path = folder / "length_reward.py"
    path.write_text("def reward(response, record):\n    return (len(response) % 7) / 7\n")
    return path
