"""Properties of the velocity network with its conditioner."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.small_model import (
    BATCH,
    LATENT,
    LENGTH,
    draw_features,
    draw_latent,
    keep_all,
    make_model,
    setup,
)

from vssflow_jax import conditions
from vssflow_jax.models import attention


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_every_condition_matters_until_dropped(route):
    _, _, apply = setup(route)
    x, t = draw_latent()
    base, other = draw_features(0), draw_features(1)
    for name in conditions.NAMES:
        changed = {**base, name: other[name]}
        kept = keep_all()
        moved = jnp.abs(apply(x, t, changed, kept) - apply(x, t, base, kept)).max()
        assert moved > 1e-4, f"{name} has no effect"
        dropped = {**kept, name: jnp.zeros(BATCH)}
        np.testing.assert_array_equal(apply(x, t, changed, dropped), apply(x, t, base, dropped))


def test_no_causality_and_no_leak_between_clips():
    """Every frame sees every frame of its clip, and nothing of another clip."""
    _, _, apply = setup()
    x, t = draw_latent()

    @jax.jit
    def jacobian_of_sums(x):
        return jax.jacrev(lambda x: apply(x, t, draw_features(), keep_all()).sum(-1))(x).sum(-1)

    jacobian = jacobian_of_sums(x)
    reach = jnp.abs(jacobian) > 0  # [B, L, B, L]
    for clip in range(BATCH):
        assert reach[clip, :, clip].all()
        others = [b for b in range(BATCH) if b != clip]
        assert not reach[clip][:, jnp.asarray(others)].any()


@functools.partial(jax.jit, static_argnums=0)
def condition(model, params, keep):
    """What the velocity reads besides the noisy latent and its time."""
    return model.apply({"params": params}, draw_features(), keep, LENGTH, method="condition")


def test_zero_conditions_make_cross_attention_exactly_zero():
    model, params, _ = setup()
    context_kv = condition(model, params, keep_all(0.0))[1]
    assert not any(np.any(array) for array in context_kv)


def test_splitting_conditions_from_velocity_changes_nothing():
    model, params, apply = setup()
    x, t = draw_latent()
    conditioned = condition(model, params, keep_all())
    velocity = jax.jit(functools.partial(model.apply, method="velocity"))(
        {"params": params}, x, t, conditioned
    )
    np.testing.assert_allclose(velocity, apply(x, t, draw_features(), keep_all()), atol=1e-4)


def test_half_precision_follows_single():
    (_, _, apply), (_, _, half) = setup(), setup(dtype="bfloat16")
    x, t = draw_latent()
    halved, single = (f(x, t, draw_features(), keep_all()) for f in (half, apply))
    assert jnp.linalg.norm(halved - single) < 0.05 * jnp.linalg.norm(single)


def test_cross_attention_keys_have_positions_only_by_config():
    """Permuting clip frames within the context matters only when keys are rotated."""
    x, t = draw_latent()
    for rotate, matters in ((False, False), (True, True)):
        model, params, _ = setup(cross_attention_rope=rotate)

        @jax.jit
        def velocity(order, model=model, params=params):
            bound = model.bind({"params": params})
            routed = bound.conditioner(draw_features(), keep_all(), LENGTH)
            context_kv = bound.dit.context_kv(routed.context[:, order])
            return bound.velocity(x, t, (routed.concat, context_kv, None, None))

        in_order = np.arange(LENGTH + 1)
        permuted = np.concatenate([in_order[:1], in_order[:0:-1]])
        assert (np.abs(velocity(in_order) - velocity(permuted)).max() > 1e-3) == matters


@pytest.mark.parametrize("remat", ["layer", "dots"])
def test_remat_changes_nothing(remat):
    x, t = draw_latent()
    _, _, plain = setup()
    _, _, recomputed = setup(remat=remat)
    gradient, again = (
        jax.jit(jax.grad(lambda x, f=f: f(x, t, draw_features(), keep_all()).sum()))(x)
        for f in (plain, recomputed)
    )
    np.testing.assert_allclose(gradient, again, atol=1e-4)


def test_heads_must_divide():
    with pytest.raises(ValueError, match="multiple of kv_heads"):
        make_model(kv_heads=3)


def test_output_for_some_channels_is_that_for_all():
    """The fold of the last two linear maps is exact, for values and gradients."""
    model, params, _ = setup(layers=1)
    x, t = draw_latent()

    def energy(params, channels):
        bound = model.bind({"params": params})
        concat, context_kv, added, _ = bound.condition(draw_features(), keep_all(), LENGTH)
        out = bound.dit(jnp.concatenate([x, concat], -1), t, context_kv, added, channels)
        return jnp.sum(out[..., :LATENT] ** 2), out[..., :LATENT]

    gradient = jax.jit(jax.grad(energy, has_aux=True), static_argnums=1)
    (expected, full), (gradients, partial) = (
        gradient(params, channels) for channels in (None, LATENT)
    )
    assert jnp.linalg.norm(full - partial) <= 1e-6 * jnp.linalg.norm(full)
    for one, other in zip(*map(jax.tree.leaves, (expected, gradients)), strict=True):
        assert jnp.linalg.norm(one - other) <= 1e-4 * jnp.linalg.norm(one) + 1e-6


@pytest.mark.parametrize("route", conditions.ROUTES)
def test_rows_that_cudnn_needs_change_nothing(monkeypatch, route):
    """Velocities and gradients with 21 tokens and an even number of them, by a fused attention."""
    x, t = draw_latent()

    def run(model, params):
        def weigh(params, x):
            velocity = model.apply({"params": params}, x, t, draw_features(), keep_all())
            return jnp.sum(velocity**2), velocity

        return jax.jit(jax.value_and_grad(weigh, (0, 1), has_aux=True))(params, x)

    _, params, _ = setup(route)
    expected = run(make_model(route, remat="dots"), params)
    fused = functools.partial(attention.attend_fused, implementation="xla")
    monkeypatch.setattr(attention, "attend_fused", fused)
    monkeypatch.setattr(attention, "fits_cudnn", lambda *_: True)
    padded = run(make_model(route, remat="dots"), params)
    for one, other in zip(*map(jax.tree.leaves, (padded, expected)), strict=True):
        assert jnp.linalg.norm(one - other) <= 1e-5 * jnp.linalg.norm(other)
