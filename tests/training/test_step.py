"""A training step: gradients that are not finite change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import train_steps

from vssflow_jax.codecs.pca import PcaCodec
from vssflow_jax.models import duration_model
from vssflow_jax.training import codec_step, flow_step, sharding, step
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


def test_no_two_streams_of_a_seed_are_the_same():
    """First weights, validation and the steps of the longest run, all of one key."""
    streams = (step.INIT_STREAM, step.VALIDATION_STREAM, step.AUXILIARY_STREAM)
    assert len(set(streams)) == 3 and min(streams) > 2**31  # a step is an int32


@pytest.mark.parametrize("task", ["flow", "codec"])
def test_the_first_weights_share_no_key_with_a_step(task, monkeypatch):
    folded = []
    fold_in = jax.random.fold_in
    monkeypatch.setattr(
        jax.random, "fold_in", lambda key, data: folded.append(data) or fold_in(key, data)
    )
    config = train_steps.small(**PLAIN)
    mesh = sharding.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    if task == "flow":
        flow_step.flow_task(config, train_steps.SPEC, train_steps.Slices(jnp.float32(1.0)), mesh)
    else:
        codec = PcaCodec(mean=jnp.zeros(256), basis=jnp.eye(256)[:, :8], scale=jnp.ones(8))
        codec_step.codec_task(config, train_steps.SPEC, codec, mesh)
    assert folded[0] == step.INIT_STREAM  # of the seed; what follows is of that key


def measure_update_memory() -> float:
    """Temporary memory of a compiled step on a donated state, in sizes of its parameters."""
    config = train_steps.small(train__steps=4, **PLAIN)
    params = {"main": jax.ShapeDtypeStruct((1024, 1024), jnp.float32)}

    def compute(params, codec, batch, key):
        del codec, key
        return jax.value_and_grad(lambda p: jnp.sum(p["main"] ** 2) * batch)(params)

    state = jax.eval_shape(lambda params: init_state(params, config), params)
    advance = jax.jit(step.make_train_step(compute, config), donate_argnums=0)
    compiled = advance.lower(state, None, jax.ShapeDtypeStruct((), jnp.float32)).compile()
    return compiled.memory_analysis().temp_size_in_bytes / (4 * 1024 * 1024)


def test_a_step_updates_the_state_in_place():
    """Parameters and moments, three sizes, would be copied; a gradient is one."""
    assert measure_update_memory() < 1.5


@pytest.mark.gpu
def test_a_step_updates_the_state_in_place_on_a_gpu(gpu):
    del gpu
    assert measure_update_memory() < 1.5
