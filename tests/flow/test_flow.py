"""Path, guidance, solvers and windows: exact cases, orders of accuracy, invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.common.chunking import chunked_map, merge_chunks, split_chunks
from vssflow_jax.flow import guidance, path, solvers, windows


def test_path_ends_and_velocity():
    x0, x1 = jax.random.normal(jax.random.key(0), (2, 3, 5, 4))
    np.testing.assert_array_equal(path.interpolate(x0, x1, jnp.zeros(3)), x0)
    np.testing.assert_array_equal(path.interpolate(x0, x1, jnp.ones(3)), x1)
    slope = jax.jvp(lambda t: path.interpolate(x0, x1, t), (jnp.full(3, 0.3),), (jnp.ones(3),))[1]
    np.testing.assert_allclose(slope, path.velocity_target(x0, x1), atol=1e-6)


def test_masked_loss_ignores_padding():
    u = jax.random.normal(jax.random.key(0), (2, 6, 4))
    frames = jnp.asarray([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], jnp.float32)
    wrong = u + 100 * (1 - frames)[..., None]
    assert path.flow_matching_loss(wrong, u, frames) == 0
    assert path.flow_matching_loss(u + 1, u, frames) == pytest.approx(1)
    assert path.flow_matching_loss(wrong, u) > 1


def test_time_distributions():
    for name in ("uniform", "logit_normal"):
        t = path.sample_time(jax.random.key(0), 10_000, name)
        assert t.min() >= 0 and t.max() <= 1 and t.mean() == pytest.approx(0.5, abs=0.02)
    with pytest.raises(ValueError, match="logit_normal"):
        path.sample_time(jax.random.key(0), 1, "normal")


@pytest.mark.parametrize(
    ("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)]
)
def test_order_of_accuracy(solver, order):
    """Halving the step divides the error by 2^order, on dx/dt = -3 x + t."""

    def error(steps):
        x = solvers.solve(lambda x, t: -3 * x + t, jnp.ones(1), solver, steps)
        return abs(float(x[0]) - (1 / 3 - 1 / 9 + (1 + 1 / 9) * np.exp(-3)))

    steps = 6 if order == 4 else 32  # few enough that float32 does not hide the error
    assert np.log2(error(steps) / error(2 * steps)) == pytest.approx(order, abs=0.45)
    assert solvers.count_evaluations(solver, 8) == 8 * len(solvers.TABLEAUX[solver].times)


def test_adaptive_is_accurate_and_counts():
    calls = []

    def velocity(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return -4 * x + jnp.sin(8 * t)

    end = solvers.dopri5(velocity, jnp.ones(3))
    jax.effects_barrier()
    exact = np.exp(-4) * (1 + 8 / 80) + (4 * np.sin(8) - 8 * np.cos(8)) / 80
    np.testing.assert_allclose(end.x, exact, atol=2e-4)
    assert int(end.evaluations) == len(calls)


def test_unknown_solver():
    with pytest.raises(ValueError, match="expected one of"):
        solvers.solve(lambda x, t: x, jnp.ones(1), "leapfrog")


def test_guidance_groups_and_formula():
    groups = guidance.group_by_scale(("speaker", "clip", "lips"), 3.0, {"clip": 1.5})
    assert groups == ((("speaker", "lips"), 3.0), (("clip",), 1.5))
    assert guidance.list_branches(groups) == [(), ("speaker", "lips"), ("speaker", "lips", "clip")]
    null, some, full = velocities = jax.random.normal(jax.random.key(0), (3, 2, 4, 5))
    expected = null + 3.0 * (some - null) + 1.5 * (full - some)
    np.testing.assert_allclose(
        guidance.combine_branches(velocities, [scale for _, scale in groups]), expected, atol=1e-5
    )
    with pytest.raises(ValueError, match="guidance"):
        guidance.group_by_scale(("clip",), 1.0, {"smell": 2.0})


def test_guidance_of_one_scale_is_the_textbook_formula():
    groups = guidance.group_by_scale(("speaker", "clip"), 3.0, {})
    conditioned = jnp.asarray([0.0, 1.0])  # two branches: without and with conditions

    def velocity(x, t):
        return x + t[:, None, None] + jnp.repeat(conditioned, x.shape[0] // 2)[:, None, None]

    x = jax.random.normal(jax.random.key(1), (2, 3, 4))
    found = guidance.make_guided_velocity(velocity, groups)(x, 0.25)
    np.testing.assert_allclose(found, (x + 0.25) + 3.0, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(100, 100, 25), (250, 100, 25), (101, 60, 20)]
)
def test_windows_cover_and_blend_to_the_identity(length, window, overlap):
    first = windows.window_starts(length, min(window, length), overlap)
    assert all(start % 5 == 0 for start in first)
    x = jax.random.normal(jax.random.key(0), (2, length, 3))
    cut = windows.split_windows(x, first, window)
    assert cut.shape == (2 * len(first), window, 3)
    plan = windows.plan_windows(length, min(window, length), overlap)
    np.testing.assert_array_equal(plan.first, first)
    np.testing.assert_allclose(windows.blend_windows(cut, first, length, plan.weight), x, atol=1e-5)


def test_each_frame_is_taken_from_the_window_of_its_voice():
    """Two windows, a voice that changes in each: four entries, and every frame from its own."""
    voices = np.repeat([0, 1, 0], [20, 40, 40])
    plan = windows.plan_windows(100, 60, 20, voices)
    assert plan.first.tolist() == [0, 0, 40, 40] and plan.voice.tolist() == [0, 1, 0, 1]
    y = jnp.ones((4, 60, 1)) * jnp.asarray(plan.voice)[:, None, None]
    found = windows.blend_windows(y, plan.first, 100, plan.weight)
    np.testing.assert_allclose(found[0, :, 0], voices, atol=1e-6)


@pytest.mark.parametrize("turns", [1, 2, 3, 7])
def test_rows_that_take_turns_give_the_same(turns):
    """Every turn has the same rows of all branches; what fills the last one up is gone again."""
    x, t = jax.random.normal(jax.random.key(0), (2 * 7, 3)), jnp.arange(14.0)
    cut = [split_chunks(part, turns, branches=2) for part in (x, t)]
    number = split_chunks(jnp.arange(7.0), turns)
    seen = []

    def work(number, x, t):
        seen.append(x.shape)
        return x * t[:, None] + jnp.tile(number, 2)[:, None]

    out = merge_chunks(chunked_map(work, (number, *cut)), 7, branches=2)
    assert set(seen) == {(2 * -(-7 // turns), 3)}
    np.testing.assert_allclose(
        out, x * t[:, None] + jnp.tile(jnp.arange(7.0), 2)[:, None], rtol=1e-5
    )
