"""Variants of guidance: within an interval of time, and projected with momentum."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.flow import grids, guidance, sampler, solvers
from vssflow_jax.flow.guidance import GuidanceSettings

GROUPS = ((("clip", "lips"), 2.5), (("sync",), 4.0))
COMMON = ((("clip", "sync"), 3.0),)
TIMES = grids.sway_times(4)


def velocity(x, t):
    """Some velocity of branch-major rows, nonlinear in x and different in each branch."""
    branch = jnp.repeat(jnp.arange(len(x) // 2, dtype=jnp.float32), 2)[:, None, None]
    return jnp.sin(x * (1 + branch)) + t[:, None, None] * branch - 0.3 * x


def conditional(x, t):
    """The last of three branches alone."""
    return jnp.sin(3 * x) + 2 * t[:, None, None] - 0.3 * x


def noise():
    return jax.random.normal(jax.random.key(5), (2, 6, 3))


def sample(groups, settings, solver="euler", grid=TIMES, conditional=conditional):
    sampling = sampler.Sampling(
        solver=solver, steps=len(TIMES) - 1, grid=grid, groups=groups, settings=settings
    )
    scales = jnp.asarray(sampling.scales)
    run = jax.jit(lambda x: sampler.integrate(sampling, velocity, x, scales, conditional))
    return np.asarray(run(noise()).x)


def branches_of(x, t, count):
    """The velocities of all branches in float64, [branches, B, L, C]."""
    out = velocity(jnp.tile(jnp.float32(x), (count, 1, 1)), jnp.full(2 * count, t, jnp.float32))
    return np.asarray(out, np.float64).reshape(count, *x.shape)


def direct_apg(groups, eta, momentum):
    """Algorithm 1 of the paper, written for predictions of the data, in NumPy."""
    x = np.asarray(noise(), np.float64)
    memory = np.zeros((len(groups), *x.shape))
    for t, r in itertools.pairwise(TIMES):
        data = x + (1 - t) * branches_of(x, t, len(groups) + 1)
        memory = np.diff(data, axis=0) + momentum * memory
        last = data[-1]
        unit = last / np.sqrt((last**2).sum((1, 2), keepdims=True))
        parallel = (memory * unit).sum((2, 3), keepdims=True) * unit
        kept = memory - parallel + eta * parallel
        mean = last + sum((w - 1) * part for (_, w), part in zip(groups, kept, strict=True))
        x = x + (r - t) * (mean - x) / (1 - t)
    return x


@pytest.mark.parametrize("groups", [GROUPS, COMMON])
@pytest.mark.parametrize(("eta", "momentum"), [(0.5, -0.3), (0.0, 0.0), (1.0, 0.4)])
def test_projected_guidance_follows_its_algorithm(groups, eta, momentum):
    sampled = sample(groups, GuidanceSettings(eta=eta, momentum=momentum))
    np.testing.assert_allclose(sampled, direct_apg(groups, eta, momentum), atol=2e-4)


@pytest.mark.parametrize("groups", [GROUPS, COMMON])
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_projected_guidance_that_keeps_everything_is_plain_guidance(groups, solver):
    """eta just above 1 takes the projected path; heun evaluates at t = 1 too."""
    plain = sample(groups, GuidanceSettings(), solver)
    projected = sample(groups, GuidanceSettings(eta=1 + 1e-7), solver)
    np.testing.assert_allclose(projected, plain, atol=1e-4)
    assert np.abs(sample(groups, GuidanceSettings(eta=0.0), solver) - plain).max() > 0.05


def test_the_projection_leaves_an_orthogonal_rest():
    x, direction = jax.random.normal(jax.random.key(0), (2, 3, 2, 6, 3))
    parallel = guidance.project_parallel(x, direction)
    np.testing.assert_allclose(jnp.sum((x - parallel) * direction, (-2, -1)), 0, atol=1e-4)
    np.testing.assert_allclose(
        guidance.project_parallel(direction, direction), direction, rtol=1e-5
    )
    assert not guidance.project_parallel(x, 0 * direction).any()


def test_guidance_acts_within_its_interval_alone():
    start, stop = TIMES[1], TIMES[2]
    x = np.asarray(noise(), np.float64)
    for t, r in itertools.pairwise(TIMES):
        null, some, full = branches_of(x, t, 3)
        guided = null + 2.5 * (some - null) + 4.0 * (full - some)
        x = x + (r - t) * (guided if start <= t <= stop else full)
    limited = sample(GROUPS, GuidanceSettings(start=start - 1e-6, stop=stop + 1e-6))
    np.testing.assert_allclose(limited, x, atol=1e-4)


@pytest.mark.parametrize("solver", ["euler", "midpoint", "dopri5"])
def test_by_default_guidance_and_steps_are_the_plain_ones_to_the_bit(solver):
    guided = guidance.make_guided_velocity(velocity, GROUPS, jnp.asarray([2.5, 4.0]))
    plain = jax.jit(lambda x: solvers.integrate(guided, x, solver, 4).x)(noise())
    default = sample(GROUPS, GuidanceSettings(), solver, "uniform", conditional=None)
    np.testing.assert_array_equal(default, plain)


def test_an_interval_without_any_step_is_no_guidance():
    outside = sample(GROUPS, GuidanceSettings(start=0.999, stop=1.0))
    x = noise()
    for t, r in itertools.pairwise(TIMES):
        x = x + (r - t) * conditional(x, jnp.full(2, t))
    np.testing.assert_allclose(outside, x, atol=1e-5)


def test_the_memory_of_projected_guidance_waits_outside_the_interval():
    settings = GuidanceSettings(start=TIMES[1] - 1e-6, eta=0.5, momentum=-0.3)
    limited = sample(GROUPS, settings)
    assert np.isfinite(limited).all()
    assert np.abs(limited - sample(GROUPS, GuidanceSettings(eta=0.5, momentum=-0.3))).max() > 1e-3
