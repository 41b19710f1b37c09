"""The decoder's forms: on GPUs one product for queries, keys and values of long rows is the three of them; what a CPU's
backward pass keeps and moves.
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_checkpoints as tiny
from flax import nnx

from spatial_jax.models import LoraConfig, QwenVL, add_lora, config_from_hf, leaf_paths, split_model, text
from spatial_jax.models.sharding import model_shardings
from spatial_jax.ops.attention import target_platform
from spatial_jax.ops.shared_prefix import causal_attention
from spatial_jax.parallel import make_mesh
from spatial_jax.parallel.rules import use_mesh


@pytest.mark.parametrize(("targets", "mesh"), [(r"text\.layers\.(q|v|o)_proj", None), (None, {"fsdp": 2, "tensor": 2})])
def test_joined_projections_are_the_three(monkeypatch, targets, mesh):
    """Hidden states and gradients: adapters on some of the three, heads cut over devices."""
    config = config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict())
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    if targets:
        graphdef, params = add_lora(config, graphdef, params, LoraConfig(rank=3, alpha=5, targets=targets))
    params = nnx.to_pure_dict(nnx.State(params))
    rng = np.random.default_rng(0)
    named = list(leaf_paths(params["text"]["layers"]))
    layers = {path: jnp.asarray(rng.normal(0, 0.2, leaf.shape), leaf.dtype) for path, leaf in named}
    layers = {name: {p[1]: leaf for p, leaf in layers.items() if p[0] == name} for (name, *_), _ in named}
    params = {**params, "text": {**params["text"], "layers": layers}}
    b, n = 2, 24
    x, weigh = (jnp.asarray(rng.normal(size=(b, n, config.text.hidden_size)), jnp.float32) for _ in range(2))
    positions = jnp.broadcast_to(jnp.arange(n), (3, b, n))
    valid = jnp.arange(n) >= jnp.asarray([[0], [5]])
    if mesh:
        mesh = make_mesh(mesh, jax.devices()[:4])
        params = nnx.State(params)
        params = jax.device_put(params, model_shardings(config, params, mesh))

    def run():
        joined = []
        once = text.joined_queries
        monkeypatch.setattr(text, "joined_queries", lambda *a: joined.append(1) or once(*a))

        def loss(params):
            with use_mesh(mesh):
                model = nnx.merge(graphdef, params)
                attend = lambda q, k, v, cache: (causal_attention(q, k, v, valid), cache)  # noqa: E731
                hidden, _ = model.run_layers(x, positions, attend, remat="attention")
                return jnp.sum(hidden * weigh * valid[..., None]), hidden

        (_, hidden), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
        return hidden, gradient["text"]["layers"], bool(joined)

    plain, gradient, joined = run()
    assert not joined
    monkeypatch.setattr(text, "LONG", 1)
    with target_platform("gpu"):
        ours, d_ours, joined = run()
    assert joined
    np.testing.assert_allclose(ours, plain, atol=1e-4)
    for (path, one), (_, other) in zip(leaf_paths(d_ours), leaf_paths(gradient), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * (1 + float(np.abs(other).max())), err_msg=str(path))


def test_a_cpu_keeps_three_arrays_of_the_mlp_and_transposes_none():
    """For the gradients of a layer's MLP: gate, up and their product, stacked; none turned to [width, rows] in the
    compiled program.
    """
    config = config_from_hf(tiny.hf_config("qwen2_5_vl").to_dict())
    graphdef, params = split_model(QwenVL(config, rngs=nnx.Rngs(0)))
    b, n, width = 2, 22, config.text.intermediate_size
    x, positions = jnp.ones((b, n, config.text.hidden_size)), jnp.broadcast_to(jnp.arange(n), (3, b, n))
    attend = lambda q, k, v, cache: (causal_attention(q, k, v, jnp.ones((b, n), bool)), cache)  # noqa: E731

    def loss(params):
        return nnx.merge(graphdef, params).run_layers(x, positions, attend)[0].sum()

    kept = [leaf.shape for leaf in jax.tree.leaves(jax.vjp(loss, params)[1]) if leaf.size % (b * n * width) == 0]
    assert len([shape for shape in kept if shape[-1] == width]) == 3, kept
    program = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
    assert not re.search(rf"f32\[{width},({b * n}|{b},{n})\]", program)
