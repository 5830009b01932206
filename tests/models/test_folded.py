"""The network for sampling: the same function as in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_model import BATCH, LENGTH, draw_features, draw_latent, keep_all, setup

from vssflow_jax import conditions
from vssflow_jax.models import folded


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_the_folded_network_is_the_same_function(route):
    """Folded maps, separate layers, and no attention where there is no context."""
    model, params, apply = setup(route)
    x, t = draw_latent()
    absent = jnp.asarray([0.0, 1.0, 1.0])  # the first clip has no condition
    keep = {name: absent for name in conditions.NAMES}
    network, folded_params = folded.folded_network(model), folded.fold_params(model, params)

    @functools.partial(jax.jit, static_argnums=1)
    def run(params, num_unconditional):
        bound = network.bind({"params": params})
        conditioned = bound.condition(draw_features(), keep, LENGTH, num_unconditional)
        return bound.velocity(x, t, conditioned), conditioned[1]

    for num_unconditional in (0, 1):
        velocity, context_kv = run(folded_params, num_unconditional)
        np.testing.assert_allclose(velocity, apply(x, t, draw_features(), keep), atol=1e-4)
        assert context_kv is None or context_kv[0].shape[1] == BATCH - num_unconditional


def test_a_folded_student_is_the_same_function_with_and_without_guidance_heads():
    """Students of before 2026-11-27 have no heads, which is as if theirs were zero."""
    student, params, _ = setup(student=True)
    x, t = draw_latent()
    keep = {**keep_all(), "clip": jnp.zeros(BATCH)}
    span, scales = jnp.full(BATCH, 0.2), jnp.asarray([1.0, 2.0, 3.0, 1.5, 2.5])
    scales = jnp.tile(scales, (BATCH, 1))
    network = folded.folded_network(student)

    def run(dit):
        folded_params = folded.fold_params(student, {**params, "dit": dit})
        bound = network.bind({"params": folded_params})
        conditioned = bound.condition(draw_features(), keep, LENGTH, scales=scales)
        return bound.velocity(x, t, conditioned, span)

    def apply(dit):
        weights = {"params": {**params, "dit": dit}}
        return student.apply(weights, x, t, draw_features(), keep, span, scales)

    dit = params["dit"]
    np.testing.assert_allclose(run(dit), apply(dit), atol=1e-4)
    without = {name: part for name, part in dit.items() if name != "guidance"}
    zeros = {"kernel": jnp.zeros_like(dit["guidance"]["kernel"])}
    np.testing.assert_allclose(run(without), apply({**dit, "guidance": zeros}), atol=1e-4)
    np.testing.assert_allclose(apply(without), apply({**dit, "guidance": zeros}), atol=1e-6)
    assert jnp.abs(run(dit) - run(without)).max() > 1e-3


def test_folding_copies_no_layer_on_a_cpu():
    model, params, _ = setup()
    folded_params = folded.fold_params(model, params)
    stacked = params["dit"]["blocks"]["feed_forward"]["in"]["kernel"]
    alone = folded_params["block_1"]["feed_forward"]["in"]["kernel"]
    offset = alone.unsafe_buffer_pointer() - stacked.unsafe_buffer_pointer()
    assert offset == alone.nbytes
