"""Time grids: formulas, ends, and order."""

import numpy as np
import pytest
from scipy import stats

from vssflow_jax.common.errors import InputError
from vssflow_jax.flow import grids


@pytest.mark.parametrize("name", grids.GRIDS)
@pytest.mark.parametrize("steps", [5, 16])
def test_a_grid_ascends_from_0_to_1(name, steps):
    times = grids.GRIDS[name](steps)
    assert len(times) == steps + 1 and (times[0], times[-1]) == (0, pytest.approx(1, abs=1e-15))
    assert np.diff(times).min() > 0


@pytest.mark.parametrize("name", ["uniform", "sway", "logit_normal"])
def test_a_grid_of_one_step_is_the_whole_interval(name):
    assert grids.GRIDS[name](1) == (0, pytest.approx(1, abs=1e-15))


def test_sway_moves_uniform_times_toward_the_noise():
    u = np.linspace(0, 1, 9)
    np.testing.assert_allclose(grids.sway_times(8), u - (np.cos(np.pi * u / 2) - 1 + u), atol=1e-12)
    assert (grids.sway_times(8)[1:-1] < u[1:-1]).all()


def test_epss_has_the_published_tables():
    assert grids.epss_times(7) == tuple(np.array([0, 2, 4, 6, 8, 16, 24, 32]) / 32)
    with pytest.raises(InputError, match=r"--grid=epss: found 4 steps, expected one of \(5, 6,"):
        grids.epss_times(4)


def test_logit_normal_times_are_quantiles():
    logits = stats.norm.ppf(np.linspace(0, 1, 11)[1:-1])
    np.testing.assert_allclose(
        grids.logit_normal_times(10)[1:-1], 1 / (1 + np.exp(-logits)), atol=1e-9
    )
