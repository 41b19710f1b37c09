"""The policy against transformers, on tiny random checkpoints of the three families."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
import torch
from flax import nnx

from spatial_jax.models import load_pretrained, plan_vision
from spatial_jax.models.generate import prompt_hidden
from spatial_jax.models.hf_weights import from_layout, published_name
from spatial_jax.models.layout import param_specs

MAX, RMS = 2.5e-4, 2e-5


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def pair(request, tmp_path_factory):
    """(torch model, policy, directory): Qwen2-VL tied, the others untied; positions as the installed transformers has
    them.
    """
    directory = tmp_path_factory.mktemp(request.param)
    model = tiny.make(directory, request.param, tied=request.param == "qwen2_vl")
    return model, load_pretrained(directory, position_rule="hf5"), directory


def reference(model, inputs):
    with torch.no_grad():
        return model(**tiny.to_torch(inputs)).logits.float().numpy()


def assert_close(ours, theirs, mask):
    difference = (ours - theirs)[mask.astype(bool)]
    assert np.abs(difference).max() <= MAX and np.sqrt((difference**2).mean()) <= RMS


@pytest.mark.parametrize("case", ["two_images", "video", "mixed"])
def test_vision_features_equal_transformers(pair, case):
    model, policy, _ = pair
    inputs = tiny.make_inputs(model.config, tiny.CASES[case])
    for pixels, grid in (("pixel_values", "image_grid_thw"), ("pixel_values_videos", "video_grid_thw")):
        if pixels not in inputs:
            continue
        with torch.no_grad():
            theirs = model.model.visual(torch.from_numpy(inputs[pixels]), grid_thw=torch.from_numpy(inputs[grid]))
        vision = plan_vision(inputs[pixels], inputs[grid], policy.config.vision)
        ours = nnx.merge(policy.graphdef, policy.params).encode_vision(vision)
        features = theirs.pooler_output.numpy()
        assert ours.features.shape == features.shape
        np.testing.assert_allclose(ours.features, features, atol=2e-5 * np.abs(features).max())
        assert (ours.deepstack is None) == (policy.config.family != "qwen3_vl")
        deepstack = theirs.deepstack_features if policy.config.family == "qwen3_vl" else ()
        for mine, other in zip(() if ours.deepstack is None else ours.deepstack, deepstack, strict=True):
            np.testing.assert_allclose(mine, other.numpy(), atol=2e-5 * float(other.abs().max()))


@pytest.mark.parametrize("case", tiny.CASES)
def test_logits_equal_transformers(pair, case):
    model, policy, _ = pair
    for side in ("left", "right") if case == "mixed" else ("left",):
        inputs = tiny.make_inputs(model.config, tiny.CASES[case], side)
        ours = policy.logits(**inputs)
        assert ours.dtype == np.float32
        assert_close(ours, reference(model, inputs), inputs["attention_mask"])


def test_positions_equal_transformers_exactly(pair):
    model, policy, _ = pair
    for case, rows in tiny.CASES.items():
        if case == "text":
            continue
        inputs = tiny.make_inputs(model.config, rows, "right", seconds=0.7)
        tensors = tiny.to_torch(inputs)
        grids = {
            key: tensors[key] for key in ("image_grid_thw", "video_grid_thw", "second_per_grid_ts") if key in tensors
        }
        expected, _ = model.model.get_rope_index(
            tensors["input_ids"],
            mm_token_type_ids=tensors["mm_token_type_ids"],
            attention_mask=tensors["attention_mask"],
            **grids,
        )
        np.testing.assert_array_equal(policy.positions(**inputs), expected.numpy())


def test_greedy_gives_the_same_32_tokens_and_bans_ids(pair):
    model, policy, _ = pair
    inputs = tiny.make_inputs(model.config, tiny.CASES["mixed"], "left")
    banned = [tiny.IMAGE, tiny.VIDEO, tiny.START, tiny.END]
    with torch.no_grad():
        theirs = model.generate(
            **tiny.to_torch(inputs),
            max_new_tokens=32,
            min_new_tokens=32,
            do_sample=False,
            suppress_tokens=banned,
            eos_token_id=None,
            pad_token_id=tiny.PAD,
        )
    ours = policy.greedy(**inputs, max_new_tokens=32, banned_ids=banned)
    np.testing.assert_array_equal(ours, theirs[:, inputs["input_ids"].shape[1] :].numpy())
    stop = int(ours[0, 3])
    stopped = policy.greedy(**inputs, max_new_tokens=32, banned_ids=banned, eos_ids=[stop])
    end = int(np.argmax(ours[0] == stop))
    np.testing.assert_array_equal(stopped[0, : end + 1], ours[0, : end + 1])
    assert (stopped[0, end + 1 :] == tiny.PAD).all()


def test_gradients_equal_transformers(pair):
    model, policy, _ = pair
    inputs = tiny.make_inputs(model.config, tiny.CASES["mixed"], "left")
    mask = inputs["attention_mask"].astype(bool)
    # A row's first token would be predicted from padding.
    predicted = mask & np.roll(mask, 1, axis=1)
    labels = np.where(predicted & (inputs["input_ids"] < 150), inputs["input_ids"], -100)
    model.zero_grad()
    model(**tiny.to_torch(inputs), labels=torch.from_numpy(labels)).loss.backward()
    batch = policy.batch(**inputs)

    @jax.jit
    def gradient(params, batch):
        def loss(params):
            rebuilt = nnx.merge(policy.graphdef, params)
            logits = rebuilt.logits(prompt_hidden(rebuilt, batch, remat="dots")[0])[:, :-1]
            targets = jnp.asarray(labels)[:, 1:]
            logp = jnp.take_along_axis(jax.nn.log_softmax(logits), jnp.maximum(targets, 0)[..., None], -1)[..., 0]
            return -jnp.where(targets >= 0, logp, 0).sum() / (targets >= 0).sum()

        return jax.grad(loss)(params)

    ours = gradient(policy.params, batch)
    theirs = dict(model.named_parameters())
    checked = 0
    for spec in param_specs(policy.config):
        leaf = ours
        for key in spec.path:
            leaf = leaf[key]
        for i in range(max(spec.stack, 1)):
            expected = theirs[published_name(spec.hf_name.format(i=i), "v5")].grad.numpy()
            got = from_layout(spec, np.asarray(leaf[i] if spec.stack else leaf))
            assert np.abs(got - expected).max() <= 1e-4 * max(np.abs(expected).max(), 1e-2), spec.hf_name.format(i=i)
            checked += 1
    assert checked == len(theirs)


@pytest.mark.parametrize("case", ["two_images", "mixed"])
def test_float64_agrees_with_a_float64_transformers(pair, case):
    model, _, directory = pair
    inputs = tiny.make_inputs(model.config, tiny.CASES[case])
    mask = inputs["attention_mask"].astype(bool)
    expected = tiny.float64_logits(model, inputs)
    with jax.enable_x64(True):
        ours = load_pretrained(directory, dtype="float64", position_rule="hf5").logits(**inputs)
    assert ours.dtype == np.float64
    assert np.abs(ours - expected)[mask].max() <= (2e-5 if model.config.model_type == "qwen3_vl" else 2e-6)


@pytest.mark.parametrize("case", ["two_images", "mixed"])
def test_bfloat16_is_as_close_to_float64_as_transformers(pair, tmp_path, case):
    model, _, directory = pair
    inputs = tiny.make_inputs(model.config, tiny.CASES[case])
    mask = inputs["attention_mask"].astype(bool)
    # Both sides start from weights rounded to bfloat16.
    rounded = type(model)(model.config).eval()
    rounded.load_state_dict({key: value.bfloat16().float() for key, value in model.state_dict().items()})
    expected = tiny.float64_logits(rounded, inputs)
    # from_pretrained keeps the rotary buffers in float32; .bfloat16() on a model would not.
    rounded.save_pretrained(tmp_path)
    theirs = reference(type(model).from_pretrained(tmp_path, dtype=torch.bfloat16), inputs)
    ours = load_pretrained(directory, dtype="bfloat16", position_rule="hf5").logits(**inputs)
    error = [np.sqrt(((x - expected)[mask] ** 2).mean()) for x in (ours, theirs)]
    assert error[0] <= 1.5 * error[1]
