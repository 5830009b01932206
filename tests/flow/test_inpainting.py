"""Inpainting: known frames keep their latent, and the others are generated with them in view."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.flow import guidance, sampler, solvers
from vssflow_jax.flow.inpainting import Known

ALL = ("clip", "speaker", "phonemes", "lips", "sync")
NOISE = jax.random.normal(jax.random.key(0), (2, 6, 3))
LATENT = 5 + jax.random.normal(jax.random.key(1), (6, 3))
FRAMES = jnp.array([True, True, False, False, True, False])


def mean_velocity(x, t, *span):
    """Each frame's velocity depends on all frames, and on the row, so on the branch."""
    rows = jnp.arange(len(x), dtype=x.dtype)[:, None, None]
    return jnp.broadcast_to(x.mean(1, keepdims=True) + 0.1 * rows - x, x.shape)


def make_sampling(solver="euler", scale=1.0, student=None, **settings):
    return sampler.Sampling(
        solver=solver,
        steps=4,
        grid="uniform",
        groups=((ALL, scale),),
        settings=guidance.GuidanceSettings(**settings),
        student=student,
    )


def sample(sampling, known):
    return sampler.integrate(
        sampling,
        mean_velocity,
        NOISE,
        jnp.float32([scale for _, scale in sampling.groups]),
        conditional=mean_velocity if sampling.limited else None,
        known=known,
    )


STUDENT = sampler.Student(evaluations=(4,), min_scale=1.0, max_scale=4.0)
SAMPLINGS = {
    **{solver: make_sampling(solver) for solver in solvers.SOLVERS},
    "guided": make_sampling(scale=3.0),
    "limited": make_sampling(scale=3.0, start=0.3),
    "projected": make_sampling(scale=3.0, eta=0.5),
    "momentum": make_sampling(scale=3.0, momentum=-0.3),
    "student": make_sampling(scale=3.0, student=STUDENT),
}


@pytest.mark.parametrize("name", SAMPLINGS)
def test_known_frames_are_exact_and_the_others_follow_them(name):
    solution = sample(SAMPLINGS[name], Known(latent=LATENT, frames=FRAMES))
    assert int(solution.status) == solvers.CONVERGED
    for x in solution.x:
        np.testing.assert_array_equal(x[FRAMES], LATENT[FRAMES])
    other = sample(SAMPLINGS[name], Known(latent=LATENT + 9, frames=FRAMES))
    assert (other.x - solution.x)[:, ~FRAMES].min() > 0.5
    free = sample(SAMPLINGS[name], Known(latent=LATENT, frames=jnp.zeros(6, bool)))
    np.testing.assert_allclose(free.x, sample(SAMPLINGS[name], None).x, atol=1e-5)


def test_the_network_sees_the_known_frames_on_their_path():
    """Euler by hand: x_t = (1 - t) x_0 + t x_1 in the known frames, at each step."""
    x = np.array(NOISE)
    for t in (0.0, 0.25, 0.5, 0.75):
        x[:, FRAMES] = ((1 - t) * NOISE + t * LATENT)[:, FRAMES]
        x = x + 0.25 * np.asarray(mean_velocity(x, t))
    solution = sample(SAMPLINGS["euler"], Known(latent=LATENT, frames=FRAMES))
    np.testing.assert_allclose(solution.x[:, ~FRAMES], x[:, ~FRAMES], atol=1e-5)


def test_what_is_not_known_may_be_anything():
    known = Known(latent=jnp.where(FRAMES[:, None], LATENT, jnp.nan), frames=FRAMES)
    expected = sample(SAMPLINGS["dopri5"], Known(latent=LATENT, frames=FRAMES))
    np.testing.assert_array_equal(sample(SAMPLINGS["dopri5"], known).x, expected.x)
