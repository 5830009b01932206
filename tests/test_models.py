"""Properties of the conditioner and the network, on small sizes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from vssflow_jax.configs import joint

from vssflow_jax import conditions
from vssflow_jax.models import layers, vssflow
from vssflow_jax.models.conditioner import ConditionerConfig
from vssflow_jax.models.dit import DiTConfig
from vssflow_jax.models.vssflow import VSSFlow
from vssflow_jax.training.state import count_parameters

WIDTHS = {"clip": 12, "speaker": 12, "phonemes": 6, "lips": 10, "sync": 8}
LATENT, LENGTH, BATCH = 16, 20, 3


def make(route="joint", **changes):
    route = conditions.ROUTES[route]
    sizes = {"layers": 2, "heads": 4, "kv_heads": 2, "head_width": 8, "time_features": 16}
    return VSSFlow(
        ConditionerConfig(route=route, widths=tuple(sorted(WIDTHS.items()))),
        DiTConfig(
            channels=route.input_width(LATENT, WIDTHS),
            context_width=route.context_width(WIDTHS),
            **{**sizes, **changes},
        ),
    )


def features(seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    return {
        "clip": jax.random.normal(keys[0], (BATCH, 8, 768)),
        "speaker": jax.random.normal(keys[1], (BATCH, 256)),
        "phonemes": jax.random.randint(keys[2], (BATCH, LENGTH), 0, 71),
        "lips": jax.random.normal(keys[3], (BATCH, LENGTH, 1024)),
        "sync": jax.random.normal(keys[4], (BATCH, LENGTH, 768)),
    }


def all_kept(value=1.0):
    return {name: jnp.full(BATCH, value) for name in conditions.NAMES}


def noisy(seed=9):
    return jax.random.normal(jax.random.key(seed), (BATCH, LENGTH, LATENT)), jnp.asarray(
        [0.1, 0.5, 0.9]
    )


def randomized(params, seed=3):
    """Random weights everywhere, also where initialisation puts zeros."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(
        tree, [0.2 * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    )


@functools.cache
def setup(route="joint", **changes):
    """A model, random parameters, and its jitted pass."""
    model = make(route, **changes)
    shapes = jax.eval_shape(model.init, jax.random.key(0), *noisy(), features(), all_kept())
    params = randomized(shapes["params"])
    apply = jax.jit(lambda x, t, f, keep: model.apply({"params": params}, x, t, f, keep))
    return model, params, apply


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_every_condition_matters_until_dropped(route):
    _, _, apply = setup(route)
    x, t = noisy()
    base, other = features(0), features(1)
    for name in conditions.NAMES:
        changed = {**base, name: other[name]}
        kept = all_kept()
        moved = jnp.abs(apply(x, t, changed, kept) - apply(x, t, base, kept)).max()
        assert moved > 1e-4, f"{name} has no effect"
        dropped = {**kept, name: jnp.zeros(BATCH)}
        np.testing.assert_array_equal(apply(x, t, changed, dropped), apply(x, t, base, dropped))


def test_no_causality_and_no_leak_between_clips():
    """Every frame sees every frame of its clip, and nothing of another clip."""
    _, _, apply = setup()
    x, t = noisy()
    jacobian = jax.jacrev(lambda x: apply(x, t, features(), all_kept()).sum(-1))(x).sum(-1)
    reach = jnp.abs(jacobian) > 0  # [B, L, B, L]
    for clip in range(BATCH):
        assert reach[clip, :, clip].all()
        others = [b for b in range(BATCH) if b != clip]
        assert not reach[clip][:, jnp.asarray(others)].any()


def test_zero_conditions_make_cross_attention_exactly_zero():
    model, params, _ = setup()
    keys = model.apply({"params": params}, features(), all_kept(0.0), LENGTH, method="condition")[1]
    assert all(jnp.all(array == 0) for array in keys)


def test_splitting_conditions_from_velocity_changes_nothing():
    model, params, apply = setup()
    x, t = noisy()
    conditioned = model.apply(
        {"params": params}, features(), all_kept(), LENGTH, method="condition"
    )
    velocity = model.apply({"params": params}, x, t, conditioned, method="velocity")
    np.testing.assert_allclose(velocity, apply(x, t, features(), all_kept()), atol=1e-4)


def test_keys_have_positions_only_when_asked():
    """Permuting clip frames within the context matters only when keys are rotated."""
    x, t = noisy()
    for rotate, matters in ((False, False), (True, True)):
        model, params, _ = setup(rotate_keys=rotate)
        bound = model.bind({"params": params})
        routed = bound.conditioner(features(), all_kept(), LENGTH)
        order = jnp.concatenate([jnp.zeros(1, int), 1 + jnp.arange(LENGTH)[::-1]])
        turned = routed.context[:, order]
        straight, permuted = (
            bound.velocity(x, t, (routed.concat, bound.dit.keys(c), None))
            for c in (routed.context, turned)
        )
        assert (jnp.abs(straight - permuted).max() > 1e-3) == matters


def test_remat_changes_nothing():
    x, t = noisy()
    _, _, plain = setup()
    _, _, recomputed = setup(remat="layer")
    gradient, again = (
        jax.jit(jax.grad(lambda x, f=f: f(x, t, features(), all_kept()).sum()))(x)
        for f in (plain, recomputed)
    )
    np.testing.assert_allclose(gradient, again, atol=1e-4)


def test_rotation_is_relative():
    """Scores of rotated queries and keys depend on the distance of their positions alone."""
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    q, k = jnp.tile(q, (1, 12, 1, 1)), jnp.tile(k, (1, 12, 1, 1))
    scores = jnp.einsum("bqhd,bkhd->qk", layers.rotate(q, 12), layers.rotate(k, 12))
    for offset in range(-5, 6):
        diagonal = jnp.diagonal(scores, offset)
        np.testing.assert_allclose(diagonal, diagonal[0], atol=1e-4)


def test_heads_must_divide():
    with pytest.raises(ValueError, match="multiple of kv_heads"):
        make(kv_heads=3)


def test_the_joint_recipe_has_the_published_number_of_parameters():
    config = joint.get_config()
    model = vssflow.build(config, latent_channels=128)
    length = 250
    shapes = {
        "clip": (1, 100, 768),
        "speaker": (1, 256),
        "lips": (1, length, 1024),
        "sync": (1, 240, 768),
    }
    raw = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    raw["phonemes"] = jax.ShapeDtypeStruct((1, length), jnp.int32)
    keep = {name: jax.ShapeDtypeStruct((1,), jnp.float32) for name in conditions.NAMES}
    latent = jax.ShapeDtypeStruct((1, length, 128), jnp.float32)
    time = jax.ShapeDtypeStruct((1,), jnp.float32)
    made = jax.eval_shape(model.init, jax.random.key(0), latent, time, raw, keep)["params"]
    assert count_parameters(made["dit"]) == 453_073_024
    assert count_parameters(made) == 463_565_184
