"""Pictures to an updated policy in small: align, SFT and GRPO through the same loop, and a resume that changes
nothing.
"""

import dataclasses
import json

import jax
import numpy as np
import pytest

from configs import quickstart
from spatial_jax import config as run_config
from spatial_jax.data.asked import read_asking
from spatial_jax.evals.generation import Sampler
from spatial_jax.evals.runner import load_records, run_heldout
from spatial_jax.metrics import read_gallery, read_metrics, read_pass_rate_history
from spatial_jax.models import load_pretrained
from spatial_jax.processing import Processor
from spatial_jax.training import loop, preflight
from spatial_jax.training.answers import run_rule
from spatial_jax.training.evaluated import evaluation_of, recipe_asking
from spatial_jax.training.grpo import Grpo
from spatial_jax.training.loop import train
from spatial_jax.training.methods import METHODS
from spatial_jax.training.mirror import Mirror, mirror_of
from spatial_jax.training.preflight import program_bytes, programs_line
from spatial_jax.training.setup import make_setup
from spatial_jax.training.skipped import keep_skipped
from spatial_jax.training.trainer import make_trainer
from spatial_jax.training.update import Updater
from spatial_jax.training.validation import Validation
from tests.tiny_worlds import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"), scenes=24, families="bearing,depth_order2,box,listing", seed=3)


def settings(arg, world, path, data, **run):
    config = quickstart.get_config(arg)
    config.model.path, config.data.paths = str(path), (str(world / data),)
    config.data.cache_mib, config.log.sinks, config.log.console_every = 16, ("jsonl",), 1
    config.train.update({"prompts": 4, "update_prompts": 4, "micro_prompts": 4, **run})
    config.rollout.update({"group_size": 4, "answer_buckets": (20, 48)})
    config.data.update({"together": 2, "prompt_buckets": (72,)})
    return run_config.strict(config)


@pytest.fixture(scope="module")
def sft(world):
    assert train(settings("sft", world, world / "policy", "questions", steps=3), world / "sft") == 0
    return world / "sft"


def test_align_runs(world):
    assert train(settings("align", world, world / "policy", "scenes", steps=2), world / "align") == 0
    rows = read_metrics(world / "align")
    assert [row["step"] for row in rows] == [1, 2] and np.isfinite(rows[-1]["loss"])


def test_sft_exports_what_it_trained(world, sft):
    before, after = load_pretrained(world / "policy"), load_pretrained(sft / "export")
    assert any(not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params)))
    assert json.loads((sft / "config.json").read_text())["train"]["method"] == "sft"


def test_an_export_remembers_how_its_policy_was_asked_and_a_run_that_asks_otherwise_says_so(world, sft, caplog):
    trained = read_asking(sft / "export")
    assert (trained.prompt_mode, trained.system, trained.max_new_tokens) == ("bare", "", None)
    assert (trained.min_pixels, trained.max_pixels) == (28 * 28, 112 * 112)
    run = settings("grpo", world, sft / "export", "questions", steps=1)
    make_setup(run, world)
    assert "otherwise than this run asks" not in caplog.text
    rates = world / "rates.json"
    rates.write_text(json.dumps({"items": [], "policy": {"prompt_mode": "vanilla", "system": "", "dtype": "auto"}}))
    data = dataclasses.replace(run.data, prompt_mode="think_answer", system=None, max_pixels=84 * 84)
    make_setup(dataclasses.replace(run, data=data, offline_pass_rates=str(rates)), world)
    assert (
        "was trained to be asked otherwise than this run asks: prompt_mode bare (this run: prompt_mode think_answer);"
        " system '' (this run: system the template's own); max_pixels 12,544 (this run: max_pixels 7,056)"
    ) in caplog.text
    assert "rates.json were asked for otherwise than this run asks: prompt_mode vanilla" in caplog.text


def test_what_no_bucket_holds_is_named_before_the_run(world, caplog):
    run = settings("sft", world, world / "policy", "questions", steps=1)
    for method, bucket, left, of in (("sft", 3, 2, "target tokens"), ("dpo", 3, 3, "tokens of its rejected answer")):
        tight = dataclasses.replace(
            run,
            train=dataclasses.replace(run.train, method=method),
            rollout=dataclasses.replace(run.rollout, answer_buckets=(bucket,), max_new_tokens=bucket),
        )
        caplog.clear()
        setup = make_setup(tight, world)
        pipeline = setup.method(setup).stream()
        assert f"more than {left} {of} (add an answer bucket)" in caplog.text
        assert all(len(sample.target_ids) <= left for sample in pipeline.take(20))
        pipeline.close()


def test_resume_gives_the_same_losses(world, sft):
    run = settings("sft", world, world / "policy", "questions", steps=3)
    half = dataclasses.replace(
        run, checkpoint=dataclasses.replace(run.checkpoint, every=1), train=dataclasses.replace(run.train, steps=2)
    )
    # The schedule depends on the number of steps: a constant one keeps the two runs comparable.
    same = dataclasses.replace(half, optimizer=dataclasses.replace(half.optimizer, schedule="constant"))
    whole = dataclasses.replace(same, train=dataclasses.replace(same.train, steps=3))
    assert train(same, world / "resumed") == 0
    assert train(whole, world / "resumed") == 0
    assert train(whole, world / "uninterrupted") == 0
    losses = [[row["loss"] for row in read_metrics(world / name)] for name in ("resumed", "uninterrupted")]
    assert losses[0] == losses[1] and len(losses[0]) == 3


def test_a_run_in_a_bucket_is_mirrored_and_resumes_on_another_machine(world, sft, tmp_path, monkeypatch):
    run = settings("sft", world, world / "policy", "questions", steps=3)
    run = dataclasses.replace(
        run,
        checkpoint=dataclasses.replace(run.checkpoint, every=1),
        optimizer=dataclasses.replace(run.optimizer, schedule="constant"),
    )
    bucket, machines = tmp_path / "bucket", iter((tmp_path / "one", tmp_path / "two"))
    monkeypatch.setattr("spatial_jax.training.folder.mirror_of", lambda workdir: Mirror(workdir, next(machines)))
    assert train(dataclasses.replace(run, train=dataclasses.replace(run.train, steps=2)), bucket) == 0
    first = (bucket / "metrics.jsonl").read_text()
    assert not (tmp_path / "one" / "checkpoints").exists() and (bucket / "checkpoints").is_dir()
    assert train(run, bucket) == 0
    rows = (bucket / "metrics.jsonl").read_text()
    assert rows.startswith(first) and [json.loads(line)["step"] for line in rows.splitlines()] == [1, 2, 3]
    assert (
        load_pretrained(bucket / "export") is not None
        and json.loads((bucket / "config.json").read_text())["train"]["steps"] == 3
    )


@pytest.mark.parametrize(
    "backend, given, kept", [("cpu", None, None), ("gpu", None, "ROOT/compiled"), ("tpu", "/mine", "/mine")]
)
def test_programs_are_kept_with_a_run_on_an_accelerator(monkeypatch, tmp_path, backend, given, kept):
    before = jax.config.jax_compilation_cache_dir
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    try:
        jax.config.update("jax_compilation_cache_dir", given)
        loop.keep_programs(str(tmp_path))
        assert jax.config.jax_compilation_cache_dir == (kept and kept.replace("ROOT", str(tmp_path)))
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_processes_that_have_not_joined_are_told_how(world, monkeypatch, tmp_path):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(ValueError, match=r"joined jax\.distributed"):
        train(settings("sft", world, world / "policy", "questions"), tmp_path)


def test_only_a_bucket_is_mirrored(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert mirror_of("runs/x") is None
    one, other = mirror_of("gs://bucket/a/run"), mirror_of("gs://bucket/b/run")
    assert (
        str(one.remote) == "gs://bucket/a/run"
        and one.local.parent == tmp_path / "spatial_jax" / "runs"
        and one.local != other.local
    )


def test_grpo_step_and_gallery(world, sft):
    run = settings("grpo", world, sft / "export", "questions", steps=2)
    run = dataclasses.replace(
        run,
        algorithm=dataclasses.replace(run.algorithm, refill_rounds=2),
        curriculum=dataclasses.replace(run.curriculum, enabled=True),
    )
    assert train(run, world / "grpo") == 0
    rows = read_metrics(world / "grpo")
    assert len(rows) == 2 and all(row["gap/max"] < 1e-4 for row in rows if "gap/max" in row)
    assert rows[0]["groups/rounds"] <= 2 and 0 <= rows[0]["reward/mean"] <= 1
    entries = read_gallery(world / "grpo")
    assert entries and len(entries[0]["answers"]) == 4
    rates = read_pass_rate_history(world / "grpo")[2]  # what the report draws its map of
    assert rates and all(0 <= r["rate"] <= 1 and r["n"] == 4 for r in rates)


def test_every_optimizer_step_is_held_against_the_policy_that_sampled(world, sft, tmp_path):
    # The first of two optimizer steps gives the sampling policy's memory away: the second must have been scored before
    # it (it once crashed).
    run = settings("grpo", world, sft / "export", "questions", steps=1, update_prompts=2, micro_prompts=2)
    run = dataclasses.replace(
        run,
        algorithm=dataclasses.replace(run.algorithm, refill_rounds=1, drop_zero_variance=False),
        optimizer=dataclasses.replace(run.optimizer, learning_rate=1e-2, schedule="constant", warmup_steps=0),
    )
    assert train(run, tmp_path) == 0
    row = read_metrics(tmp_path)[0]
    assert row["gap/max"] < 1e-4 and row["ratio/max"] > 1.0001
    assert row["answer_tokens"] == row["length/mean"] * 16  # both steps' tokens are in the log


def test_kl_in_the_reward_and_to_the_start(world, sft, tmp_path):
    own = tmp_path / "own.py"
    own.write_text("def reward(response, record):\n    return len(response) % 7 / 7\n")
    run = settings("grpo", world, sft / "export", "questions", steps=3)
    run = dataclasses.replace(
        run,
        reward=dataclasses.replace(run.reward, user_file=str(own)),
        algorithm=dataclasses.replace(run.algorithm, kl_in="reward", kl_coef=0.05),
        log=dataclasses.replace(run.log, initial_kl_every=1),
        optimizer=dataclasses.replace(run.optimizer, learning_rate=1e-3),
    )
    assert train(run, world / "grpo_kl") == 0
    rows = read_metrics(world / "grpo_kl")
    kl = [row["kl/initial"] for row in rows if "kl/initial" in row]
    assert abs(kl[0]) < 1e-6 < kl[-1]
    assert kl[-1] == pytest.approx(
        rows[-1]["kl/reference"], rel=0.5
    )  # the reference has not been replaced: both are the start


def test_a_batch_that_is_not_finite_changes_nothing_and_is_kept(world, sft, tmp_path):
    setup = make_setup(settings("sft", world, sft / "export", "questions", steps=1), tmp_path)
    trainer = make_trainer(setup)
    method = trainer.method
    samples = trainer.pipeline.take(4)
    ((batches, count),) = method.minibatches(samples)
    before = jax.tree.map(np.asarray, trainer.state.params)
    bad = [
        dataclasses.replace(
            b,
            prompts=dataclasses.replace(
                b.prompts, vision=dataclasses.replace(b.prompts.vision, patches=b.prompts.vision.patches * np.nan)
            ),
        )
        for b in batches
    ]
    updater = Updater(setup.graphdef, setup.optimizer, method.loss)
    state, sums = updater(trainer.state, setup.frozen, bad, count)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(state.params)))
    path = keep_skipped(tmp_path, 7, bad, sums, [s.record_id for s in samples])
    kept = np.load(path)
    assert path == tmp_path / "skipped" / "step_000007.npz" and list(kept["record_ids"]) == [
        s.record_id for s in samples
    ]
    assert np.isnan(kept["0/prompts/vision/patches"]).any()
    state, sums = updater(state, setup.frozen, batches, count)
    assert keep_skipped(tmp_path, 8, batches, sums, []) is None


def test_validation_asks_the_same_held_out_questions(world, sft):
    """Without an update (rate 0) nothing changes between validations, and a reference that waits for a stall is
    replaced.
    """
    run = settings("grpo", world, sft / "export", "questions", steps=4)
    run = dataclasses.replace(
        run,
        validation=dataclasses.replace(run.validation, every=1, questions=6),
        optimizer=dataclasses.replace(run.optimizer, learning_rate=0.0),
        algorithm=dataclasses.replace(run.algorithm, kl_coef=0.01),
        reference=dataclasses.replace(run.reference, mode="val_plateau", patience=2),
    )
    assert train(run, world / "validated") == 0
    rows = read_metrics(world / "validated")
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert len({row["eval/reward"] for row in rows}) == 1 and all(0 <= row["eval/accuracy"] <= 1 for row in rows)
    assert [row["reference/age"] for row in rows[1:]] == [1, 0, 1, 0]
    families = {key for key in rows[0] if key.startswith("eval/reward/")}
    assert families and all(key.split("/")[-1] in ("bearing", "depth_order2", "box", "listing") for key in families)


def test_a_thinking_policys_heldout_score_is_its_validation_score(world, sft, monkeypatch):
    """To the digit, from prompt to reward: evaluate with the run's recipe asks, samples and pays as validation does."""
    run = settings("grpo", world, sft / "export", "questions", steps=1)
    data = dataclasses.replace(run.data, prompt_mode="think_answer", system="Think.", prompt_buckets=(160,))
    reward = dataclasses.replace(run.reward, format_weight=0.3, truncated_reward=None)
    run = dataclasses.replace(run, data=data, reward=reward)
    run = dataclasses.replace(run, validation=dataclasses.replace(run.validation, questions=10_000))

    def text(self, tokens, **_):
        total = sum(map(int, tokens))
        answer = f"<answer>{('left', 'A', 'B', '3 m')[total % 4]}</answer>"
        return answer if total % 5 == 0 else f"<think>{total}</think>{answer}"

    monkeypatch.setattr(Processor, "decode", text)
    setup = make_setup(run, world)
    validated = Validation(setup)(setup.params(setup.start.params))
    asked = evaluation_of(run, "heldout")
    sampler = Sampler.from_directory(sft / "export", asked, recipe_asking(run, sft / "export"))
    result = run_heldout(sampler, load_records(run.data.paths, "heldout"), asked, rule=run_rule(run))
    assert sampler.asking.prompt_mode == "think_answer" and 0.05 < validated["eval/reward"] < 1
    assert result["metrics"]["overall"] == validated["eval/reward"]
    assert result["metrics"]["accuracy"] == validated["eval/accuracy"]
    for name, row in result["families"].items():
        assert row["reward"] == validated[f"eval/reward/{name}"]


def test_pass_rates_are_asked_as_rollouts_are_sampled(world, sft):
    run = settings("grpo", world, sft / "export", "questions", steps=1)
    rates = evaluation_of(dataclasses.replace(run, train=dataclasses.replace(run.train, seed=7)), "train")
    kept = dataclasses.asdict(rates.sampling)
    assert (kept["samples"], kept["temperature"], kept["top_p"], kept["seed"]) == (4, 1.0, 1.0, 7)
    assert rates.engine.answer_buckets == run.rollout.answer_buckets and rates.policy.dtype == "float32"
    told = recipe_asking(run, sft / "export")
    assert (told["prompt_mode"], told["system"], told["max_new_tokens"], told["max_pixels"]) == (
        "bare",
        "",
        16,
        112 * 112,
    )
    with pytest.raises(ValueError, match="asks no questions"):
        recipe_asking(settings("align", world, world / "policy", "scenes"), sft / "export")


def test_validation_without_held_out_questions_is_refused(world, tmp_path):
    run = settings("sft", world, world / "policy", "questions", steps=1)
    run = dataclasses.replace(run, validation=dataclasses.replace(run.validation, every=1, split="nowhere"))
    with pytest.raises(ValueError, match=r"config\.validation"):
        train(run, tmp_path)


def test_lora_trains_against_the_base_under_its_adapters(world, sft, tmp_path):
    """The reference is the base: the KL to it starts at 0 and grows while only adapters train; the export holds the
    merged weights.
    """
    own = tmp_path / "own.py"
    own.write_text("def reward(response, record):\n    return len(response) % 7 / 7\n")
    run = settings("grpo", world, sft / "export", "questions", steps=3)
    run = dataclasses.replace(
        run,
        model=dataclasses.replace(run.model, lora_rank=4),
        reward=dataclasses.replace(run.reward, user_file=str(own)),
        optimizer=dataclasses.replace(run.optimizer, learning_rate=1e-2),
        reference=dataclasses.replace(run.reference, mode="none"),
        algorithm=dataclasses.replace(run.algorithm, kl_coef=0.01),
    )
    assert train(run, tmp_path / "lora") == 0
    # Each picture went through the frozen tower once a step, for sampling, reference and update together.
    seen = [row["vision/encoded"] + row["vision/reused"] for row in read_metrics(tmp_path / "lora")]
    assert seen == [4 * 64] * 3
    kl = [row["kl/reference"] for row in read_metrics(tmp_path / "lora") if "kl/reference" in row]
    assert abs(kl[0]) < 1e-6 < kl[-1]
    base, merged = load_pretrained(sft / "export").params, load_pretrained(tmp_path / "lora" / "export").params
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(
            jax.tree.leaves(base["text"]["layers"]["q_proj"]), jax.tree.leaves(merged["text"]["layers"]["q_proj"])
        )
    ]
    assert any(changed)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(base["vision"]), jax.tree.leaves(merged["vision"])))


def test_programs_that_do_not_fit_are_named_before_the_first_step(world, tmp_path, monkeypatch):
    """On a device that tells its memory; here a CPU is made to."""
    run = settings("sft", world, world / "policy", "questions", steps=1)
    needed = program_bytes(make_setup(run, tmp_path))
    assert set(needed) == {"update"} and needed["update"] > 1 << 20
    assert programs_line(needed, 1 << 40).startswith("programs: update ")
    state = 40 << 20  # parameters, two moments and a little
    monkeypatch.setattr(preflight, "device_limit", lambda: state + needed["update"] // 2)
    with pytest.raises(ValueError, match=r"the update program needs .* lower config.train.micro_prompts"):
        train(run, tmp_path / "small")
    assert not (tmp_path / "small" / "metrics.jsonl").exists()
    monkeypatch.setattr(preflight, "program_bytes", lambda setup: (_ for _ in ()).throw(RuntimeError("cannot tell")))
    assert train(run, tmp_path / "unknown") == 0


def overlapped(run, folder, overlap=True, rate=1e-3):
    """The run with rollouts one step ahead, and a reward that a random policy earns in part."""
    own = folder / "own.py"
    own.write_text("def reward(response, record):\n    return len(response) % 7 / 7\n")
    return dataclasses.replace(
        run,
        reward=dataclasses.replace(run.reward, user_file=str(own)),
        rollout=dataclasses.replace(run.rollout, overlap=overlap),
        algorithm=dataclasses.replace(run.algorithm, is_cap=2.0, refill_rounds=1),
        curriculum=dataclasses.replace(run.curriculum, enabled=False),
        optimizer=dataclasses.replace(run.optimizer, learning_rate=rate, schedule="constant", warmup_steps=0),
    )


@pytest.fixture(scope="module")
def ahead(world, sft):
    """(run, its folder, what it did in order): four steps with rollouts one step ahead."""
    events, folder = [], world / "ahead"
    folder.mkdir()

    class Noted(Grpo):
        def sample(self, samples, params, step, first, timer):
            events.append(("sample", step))
            return super().sample(samples, params, step, first, timer)

        def collect(self, sampled, timer, *, stale=False):
            events.append(("collect", None))
            return super().collect(sampled, timer, stale=stale)

    run = overlapped(settings("grpo", world, sft / "export", "questions", steps=4), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "grpo", Noted)
        assert train(run, folder / "run") == 0
    return run, folder / "run", events


def test_overlap_samples_the_next_step_before_it_waits_for_scores(ahead):
    _, folder, events = ahead
    assert events == [
        ("sample", 0),
        ("sample", 1),
        ("collect", None),
        ("sample", 2),
        ("collect", None),
        ("sample", 3),
        ("collect", None),
        ("collect", None),
    ]
    rows = read_metrics(folder)
    assert (
        "gap/mean" in rows[0]
        and "stale/mean" not in rows[0]
        and all("stale/mean" in row and "gap/mean" not in row for row in rows[1:])
    )
    assert (
        rows[0]["gap/max"] < 1e-4 < max(row["stale/max"] for row in rows[1:])
    )  # the policy has moved since they were sampled
    assert rows[0]["importance/weight"] == pytest.approx(1, abs=1e-5) and all(
        row["ratio/mean"] == pytest.approx(1, abs=1e-5) for row in rows
    )


def test_overlap_changes_nothing_where_the_policy_does_not_change(world, sft, tmp_path):
    run = settings("grpo", world, sft / "export", "questions", steps=3)
    for overlap in (True, False):
        assert train(overlapped(run, tmp_path, overlap, rate=0.0), tmp_path / str(overlap)) == 0
    ahead, plain = (read_metrics(tmp_path / str(overlap)) for overlap in (True, False))
    assert [row["reward/mean"] for row in ahead] == [row["reward/mean"] for row in plain]
    assert [row["loss"] for row in ahead] == pytest.approx([row["loss"] for row in plain], abs=1e-5)


def test_overlapped_answers_survive_a_stop(ahead, tmp_path, monkeypatch):
    run, uninterrupted, _ = ahead
    stops = iter([False, True])
    with monkeypatch.context() as patch:
        patch.setattr(loop.PreemptionGuard, "should_stop", lambda self: next(stops))
        assert train(run, tmp_path) == loop.EXIT_PREEMPTED
    assert train(run, tmp_path) == 0
    whole, parts = read_metrics(uninterrupted), read_metrics(tmp_path)
    keys = ("loss", "reward/mean", "grad_norm", "stale/mean", "importance/weight")
    assert [[row.get(key) for key in keys] for row in whole] == [
        [row.get(key) for key in keys] for row in parts
    ] and len(parts) == 4


def test_overlap_without_its_correction_is_refused(world):
    run = settings("grpo", world, world / "policy", "questions")
    with pytest.raises(ValueError, match="is_cap"):
        dataclasses.replace(run, rollout=dataclasses.replace(run.rollout, overlap=True)).check()
