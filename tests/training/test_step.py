"""A training step: gradients that are not finite change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from helpers import train_steps

from vssflow_jax.models import duration_model
from vssflow_jax.training import step
from vssflow_jax.training.state import init_state

PLAIN = {"optim__name": "adamw", "model__layers": 1}


def test_an_auxiliary_gradient_that_is_not_finite_skips_the_step():
    """It would otherwise stay in that network for good."""
    config = train_steps.small(train__steps=4, optim__warmup_steps=0, **PLAIN)
    params = {"main": jnp.ones((2, 2)), duration_model.PARAMS_KEY: jnp.ones(3)}

    def compute(params, codec, batch, key):
        del codec, key
        return jax.value_and_grad(lambda p: jnp.sum(p["main"] ** 2))(params)

    def auxiliary_loss(params, batch, key):
        del key
        return jnp.sum(params) * batch

    advance = step.make_train_step(compute, config, {duration_model.PARAMS_KEY: auxiliary_loss})
    first = init_state(params, config).replace(step=jnp.int32(3))
    kept, metrics = advance(first, None, jnp.float32(jnp.nan))
    assert metrics["skipped"] and kept.step == 4
    jax.tree.map(np.testing.assert_array_equal, kept.params, params)
    moved, metrics = advance(first, None, jnp.float32(1.0))
    assert not metrics["skipped"]
    assert all(np.all(moved.params[name] != params[name]) for name in params)
