"""The optimizer: a rate for each part of the policy, and moments in eight bits that learn like float32 ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from spatial_jax.models import load_pretrained
from spatial_jax.parallel.mesh import make_mesh
from spatial_jax.training.moments import pack, scale_by_eight_bit_adam, unpack
from spatial_jax.training.optimizer import make_optimizer
from spatial_jax.training.settings import OptimizerSettings
from spatial_jax.training.state import init_state
from spatial_jax.training.update import Updater


def policy_like():
    rng = np.random.default_rng(0)
    leaf = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    return nnx.State(
        {
            "vision": {"blocks": {"kernel": leaf(4, 6)}, "merger": {"kernel": leaf(4, 3)}},
            "text": {"layers": {"kernel": leaf(5, 7)}},
        }
    )


def step(settings, params, gradients):
    optimizer = make_optimizer(settings, 10)
    return optimizer.update(gradients, optimizer.init(params), params)[0]


def test_each_part_has_its_own_rate():
    params = policy_like()
    gradients = jax.tree.map(jnp.ones_like, params)
    plain = step(OptimizerSettings(learning_rate=1e-3, weight_decay=0.1), params, gradients)
    parts = step(
        OptimizerSettings(learning_rate=1e-3, weight_decay=0.1, vision_learning_rate=1e-4, merger_learning_rate=2e-3),
        params,
        gradients,
    )
    for path, ratio in ((("vision", "blocks"), 0.1), (("vision", "merger"), 2.0), (("text", "layers"), 1.0)):
        a, b = (tree[path[0]][path[1]]["kernel"] for tree in (plain, parts))
        np.testing.assert_allclose(np.asarray(b), ratio * np.asarray(a), rtol=1e-5)


@pytest.mark.parametrize("shape", [(), (7,), (3, 64), (2, 5, 33)])
def test_packing_is_within_a_level_and_unbiased(shape):
    x = jax.random.normal(jax.random.key(1), shape)
    level = np.asarray(jnp.max(jnp.abs(x if x.ndim else x[None]), -1, keepdims=True)) / 127
    many = np.stack([np.asarray(unpack(pack(x, jax.random.key(i), 127, 0))) for i in range(200)])
    assert np.all(np.abs(many - np.asarray(x)) <= level * 1.001)
    assert np.all(np.abs(many.mean(0) - np.asarray(x)) <= level * 0.2)
    assert unpack(pack(x, jax.random.key(0), 127, 0)).shape == shape
    assert np.all(np.asarray(pack(jnp.abs(x), jax.random.key(0), 255, 1).values) >= 1)


@pytest.mark.parametrize("moments", ["bfloat16", "int8"])
def test_small_moments_learn_like_float32(moments):
    """Least squares with features of very different scales, where Adam's second moment matters."""
    rng = np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(256, 32)) * 10.0 ** rng.uniform(-2, 1, 32), jnp.float32)
    y = x @ jnp.asarray(rng.normal(size=(32, 8)), jnp.float32)

    def final_loss(kind):
        optimizer = make_optimizer(
            OptimizerSettings(learning_rate=0.03, weight_decay=0.0, grad_clip=0.0, moments=kind), 600
        )
        params = {"w": jnp.zeros((32, 8))}

        def one(carry, _):
            params, state = carry
            loss, gradient = jax.value_and_grad(lambda p: jnp.mean(jnp.square(x @ p["w"] - y)))(params)
            updates, state = optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), loss

        return np.asarray(jax.jit(lambda c: jax.lax.scan(one, c, length=600)[1])((params, optimizer.init(params))))

    small, full = final_loss(moments), final_loss("float32")
    assert full[-1] < 0.01 * full[0]
    assert small[-1] < 0.01 * small[0]


def test_eight_bits_take_a_quarter_of_the_memory():
    params = {"w": jnp.zeros((64, 512))}
    size = lambda state: sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))  # noqa: E731
    assert size(scale_by_eight_bit_adam(0.9, 0.999, 1e-8).init(params)) < 0.27 * size(
        optax.scale_by_adam().init(params)
    )


@pytest.mark.parametrize("moments", ["float32", "int8"])
def test_moments_and_gradients_are_sharded_like_their_parameters(moments):
    """On a mesh nothing of the size of the parameters may be whole on one device, at the start and after a step."""
    mesh = make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    policy = load_pretrained("configs/quickstart_policy", mesh=mesh)
    optimizer = make_optimizer(OptimizerSettings(moments=moments), 10)
    state = init_state(policy.params, optimizer)
    updater = Updater(
        policy.graphdef, optimizer, lambda model, batch, coefficients: {"loss": jnp.sum(model.head() ** 2)}, mesh
    )

    def whole(tree):
        large = [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim >= 2 and leaf.shape[-1] > 1]
        return sum(leaf.size for leaf in large if leaf.sharding.is_fully_replicated) / sum(leaf.size for leaf in large)

    assert whole(state.params) < 0.01 and whole(state.opt_state) < 0.01
    before = jax.tree.map(lambda leaf: leaf.sharding, state)
    state, _ = updater(state, {}, [{}], 1.0)
    assert jax.tree.map(lambda leaf: leaf.sharding, state) == before
