"""The optimizer: schedule, clipping, Muon, averaged weights."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vssflow_jax.config import load_recipe
from vssflow_jax.training import optim


def test_schedule_warms_up_and_ends():
    config = load_recipe("grid").optim
    rate = optim.learning_rate_schedule(config, 1000)
    assert rate(0) == 0
    assert rate(config.warmup_steps) == pytest.approx(config.learning_rate)
    assert rate(1000) == pytest.approx(0, abs=1e-8)
    config.schedule = "constant"
    assert optim.learning_rate_schedule(config, 1000)(900) == pytest.approx(config.learning_rate)
    config.schedule = "staircase"
    with pytest.raises(ValueError, match="cosine"):
        optim.learning_rate_schedule(config, 1000)


def test_clipping_bounds_the_gradient_that_the_optimizer_sees():
    config = load_recipe("grid")
    config.optim.name = "adamw"
    clip = optim.make_optimizer(config)
    params = {"w": jnp.ones(3)}
    small, large = (
        clip.update({"w": jnp.full(3, size)}, clip.init(params), params)[1] for size in (1e3, 1e6)
    )
    moments = [
        optax.tree_utils.tree_get(state.inner_states["main"], "mu")["w"] for state in (small, large)
    ]
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-5)


def test_muon_orthogonalizes_each_head_and_leaves_vectors_to_adam():
    config = load_recipe("grid")
    config.optim.update(name="muon", learning_rate=1.0, warmup_steps=0, schedule="constant")
    config.optim.max_grad_norm = None
    shapes = {
        "query": {"kernel": (2, 32, 4, 8)},  # layers, in, heads, h
        "out": {"kernel": (2, 4, 8, 32)},  # layers, heads, h, out
        "in": {"kernel": (32, 16)},
        "norm": {"scale": (2, 32)},
    }
    draw = np.random.default_rng(0).standard_normal
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    params, gradient = (
        jax.tree.map(lambda shape: jnp.asarray(draw(shape), jnp.float32), shapes, is_leaf=is_shape)
        for _ in range(2)
    )
    axes = optim.muon_dimension_numbers(params)
    assert axes["norm"]["scale"] is None
    rule = optim.make_optimizer(config)
    updates, _ = rule.update(gradient, rule.init(params), params)
    per_head = {
        "query": np.moveaxis(updates["query"]["kernel"], 2, 1).reshape(-1, 32, 8),
        "out": np.asarray(updates["out"]["kernel"]).reshape(-1, 8, 32),
        "in": np.asarray(updates["in"]["kernel"])[None],
    }
    for name, matrices in per_head.items():
        singular = np.linalg.svd(matrices, compute_uv=False)
        assert singular.max() / singular.min() < 2, name  # of the gradients: 3.2 and more
        rms = np.sqrt((matrices**2).mean())
        assert 0.1 < rms < 0.3, name


def test_the_ema_follows_and_ends_at_the_parameters():
    ema = {"w": jnp.zeros(2)}
    for number in range(2000):
        ema = optim.update_ema(ema, {"w": jnp.ones(2)}, jnp.asarray(number), 0.99)
    np.testing.assert_allclose(ema["w"], 1, atol=1e-5)
