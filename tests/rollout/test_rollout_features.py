"""A frozen tower's features: the same numbers as from pixels, each picture once, in memory and in a folder."""

import dataclasses
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
import tiny_groups
from flax import nnx

from spatial_jax.models import load_pretrained
from spatial_jax.models.batch import VisionFeatures
from spatial_jax.models.group import group_logprobs
from spatial_jax.models.safetensors_io import SafetensorsFile, write_safetensors
from spatial_jax.models.trainable import join_params, split_params, trainable_mask
from spatial_jax.parallel import make_mesh
from spatial_jax.processing.collate import choose_pack, collate_answers, collate_prompts
from spatial_jax.rollout import Engine, SamplingParams
from spatial_jax.rollout.feature_files import FeatureFiles, tower_digest
from spatial_jax.rollout.features import FeatureStore

BUCKETS = (256, 512, 2048)
FRAMES = [3, *[("image", (1, 8, 8))] * 8, 5]  # sixteen frames: eight pairs


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def world(request, tmp_path_factory):
    """(policy, prompts): one of sixteen frames, three with none to two pictures, the first once more."""
    directory = tmp_path_factory.mktemp(request.param)
    hf_config = tiny.make(directory, request.param).config
    policy = load_pretrained(directory, position_rule="hf5")
    prompts = tiny_groups.prompts(policy.config, hf_config, 3)
    clip = tiny_groups.encoded(policy.config, hf_config, FRAMES, seed=7)
    return policy, [clip, *prompts, replace(clip)]


def store_of(policy, **options):
    return FeatureStore(policy.graphdef, policy.config.vision, BUCKETS, **options)


def batch_of(policy, prompts, parts=1):
    bucket, parts = choose_pack(prompts, BUCKETS, parts, "patches")
    return collate_prompts(
        prompts, policy.config.vision, prompt_bucket=192, patch_bucket=bucket, pad_id=tiny.PAD, parts=parts
    )


@pytest.fixture(scope="module")
def update(world):
    """jitted (prompts, answers) -> (log-probabilities, gradients of what is not the tower)."""
    policy, _ = world
    trainable, frozen = split_params(policy.params, trainable_mask(policy.params, ("vision", "merger")))

    @jax.jit
    def run(trainable, frozen, prompts, answers):
        def loss(params):
            logp, entropy = group_logprobs(nnx.merge(policy.graphdef, join_params(params, frozen)), prompts, answers)
            kept = answers.loss_mask
            return jnp.sum(jnp.where(kept, logp - 0.1 * entropy, 0.0)), logp

        grads, logp = jax.grad(loss, has_aux=True)(trainable)
        return logp, grads

    return lambda prompts, answers: (run, (trainable, frozen, prompts, answers))


@pytest.fixture(scope="module")
def answers(world):
    rng = np.random.default_rng(0)
    tokens = [[rng.integers(2, 150, n).astype(np.int32) for n in (4, 2)] for _ in world[1]]
    starts = [prompt.next_position for prompt in world[1]]
    return collate_answers(tokens, starts, answer_bucket=8, pad_id=tiny.PAD)


def test_an_update_on_features_is_that_on_pixels_and_each_frame_passes_once(world, update, answers):
    policy, prompts = world
    store = store_of(policy)
    encoded = store(policy.params, prompts)
    assert all(e.pixel_values is None and e.patches == p.patches for e, p in zip(encoded, prompts) if p.patches)
    once, again = sum(p.patches for p in prompts[:-1]), prompts[-1].patches
    assert dataclasses.astuple(store.take_counts()) == (once, again)
    run, pixels = update(batch_of(policy, prompts), answers)
    _, features = update(batch_of(policy, encoded), answers)
    assert isinstance(features[2].vision, VisionFeatures)
    for ours, theirs in zip(jax.tree.leaves(run(*features)), jax.tree.leaves(run(*pixels))):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * max(1.0, float(np.abs(theirs).max())))

    def flops(function, *arguments):
        return function.lower(*arguments).compile().cost_analysis()["flops"]

    clip, one = batch_of(policy, prompts[:1]), batch_of(policy, encoded[:1])
    first = jax.tree.map(lambda x: x[:, :1] if x.ndim == 4 else x[:1], answers)
    tower = flops(store.encode, policy.params, clip.vision)
    with_pixels, with_features = (flops(run, *update(batch, first)[1]) for batch in (clip, one))
    assert tower > 0.2 * with_pixels  # the frames are a good part of it
    assert with_features + tower <= 1.1 * with_pixels
    # A reference pass and one of old log-probabilities take the same features: their towers are gone.
    assert with_features <= 1.1 * (with_pixels - tower)


def test_packs_of_parts_and_too_many_pictures_for_one_pack(world):
    policy, prompts = world
    whole = store_of(policy)(policy.params, prompts)
    small = FeatureStore(policy.graphdef, policy.config.vision, (64,))
    cut = FeatureStore(policy.graphdef, policy.config.vision, BUCKETS, mesh=make_mesh({"data": 2}, jax.devices()[:2]))
    for store in (small, cut):
        for ours, theirs in zip(store(policy.params, prompts), whole):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours.features, theirs.features)
    pairs = [prompts[i] for i in (0, 2, 3, 3)]
    pixels, features = (batch_of(policy, batch, parts=2) for batch in (pairs, whole[0:1] + whole[2:4] + whole[3:4]))
    assert features.vision.parts == pixels.vision.parts == 2
    np.testing.assert_array_equal(pixels.feature_index, features.feature_index)
    with pytest.raises(ValueError, match="largest of patch_buckets 16"):
        FeatureStore(policy.graphdef, policy.config.vision, (16,))(policy.params, prompts)
    with pytest.raises(ValueError, match="some are pixels"):
        batch_of(policy, [prompts[0], whole[0]])


def test_answers_are_those_of_pixels(world):
    policy, prompts = world
    engine = Engine(policy.graphdef, policy.config, prompt_buckets=(192,), answer_buckets=(8,), patch_buckets=BUCKETS)
    sampling = SamplingParams(6, stop_ids=(5,), banned_ids=tiny_groups.BANNED)
    answers, same = (
        engine.generate(policy.params, batch, 2, sampling)
        for batch in (prompts, store_of(policy)(policy.params, prompts))
    )
    assert [[t.tokens.tolist() for t in group] for group in same] == [[t.tokens.tolist() for t in g] for g in answers]


def test_memory_holds_the_latest_and_a_folder_holds_over_runs(world, tmp_path, caplog):
    policy, prompts = world
    width = policy.config.vision.out_hidden_size
    kept = store_of(policy, cache_bytes=2**20)
    first = kept(policy.params, prompts)
    kept.take_counts()
    again = kept(policy.params, prompts)
    assert kept.take_counts().encoded == 0
    jax.tree.map(np.testing.assert_array_equal, again[0].features, first[0].features)
    little = store_of(policy, cache_bytes=2**13)  # room for one or two pictures
    for _ in range(2):
        little(policy.params, prompts)
    assert little.take_counts().encoded > 0 and little._held <= 2**13

    digest = tower_digest(policy.params, "float32")
    files = FeatureFiles(tmp_path, digest, width, 2**20)
    store_of(policy, files=files)(policy.params, prompts)
    fresh = store_of(policy, files=FeatureFiles(tmp_path, digest, width, 2**20))
    found = fresh(policy.params, prompts)
    assert fresh.take_counts().encoded == 0
    jax.tree.map(np.testing.assert_array_equal, found[0].features, first[0].features)
    path = max((tmp_path / digest).iterdir(), key=lambda p: p.stat().st_size)
    path.write_bytes(path.read_bytes()[:-8])
    mended = store_of(policy, files=FeatureFiles(tmp_path, digest, width, 2**20))
    mended(policy.params, prompts)
    assert mended.take_counts().encoded > 0 and "features are made again" in caplog.text and str(path) in caplog.text
    full = FeatureFiles(tmp_path / "full", digest, width, 100)
    store_of(policy, files=full)(policy.params, prompts)
    assert "is full" in caplog.text and not list((tmp_path / "full" / digest).iterdir())
    changed = jax.tree.map(lambda x: x, policy.params)
    changed["vision"]["merger"] = jax.tree.map(lambda x: x * 1.01, changed["vision"]["merger"])
    assert len({digest, tower_digest(changed, "float32"), tower_digest(policy.params, "bfloat16")}) == 3


def test_runs_that_share_a_folder_share_its_room(tmp_path, caplog):
    """Each had counted its own files alone, and those of its own tower: together they took a multiple of the room."""
    room, picture = 4000, VisionFeatures(np.zeros((10, 16), np.float32), None)  # 640 bytes and a header
    runs = [FeatureFiles(tmp_path, tower, 16, room) for tower in ("a", "a", "b")]
    for number in range(12):
        runs[number % 3].write(bytes([number]), picture)
    held = [path.stat().st_size for path in tmp_path.glob("*/*.safetensors")]
    assert room - max(held) < sum(held) <= room and caplog.text.count("is full") == 3
    again = [path for path in tmp_path.glob("*/*.safetensors") if path.parent.name == "a"]
    runs[0]._full = False
    runs[0].write(bytes.fromhex(again[0].stem), picture)  # what is there already takes no more room
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.safetensors")) == sum(held)
    caplog.clear()
    again[0].unlink()
    later = FeatureFiles(tmp_path, "a", 16, room)
    later.write(b"new", picture)  # the room of what was removed
    assert later.read(b"new") is not None and "GiB of other towers" in caplog.text


def test_two_processes_may_keep_the_same_picture(tmp_path):
    """One writes the file while the other is in the midst of it: each is whole, and none leaves anything behind."""
    values, path = np.arange(6, dtype=np.float32), tmp_path / "a.safetensors"
    entries = [("features", (6,), values.dtype)]

    def late():
        write_safetensors(path, entries, iter([values]))
        yield values

    write_safetensors(path, entries, late())
    assert (SafetensorsFile(path).read("features") == values).all()
    with pytest.raises(ValueError, match="announced as"):
        write_safetensors(path, entries, iter([values[:2]]))
    assert (SafetensorsFile(path).read("features") == values).all() and list(tmp_path.iterdir()) == [path]
