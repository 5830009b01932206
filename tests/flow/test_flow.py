"""Path, guidance, solvers and windows: exact cases, orders of accuracy, invariances."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.common.errors import InputError
from vssflow_jax.flow import grids, guidance, path, solvers, windows


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


@pytest.mark.parametrize("solver", solvers.TABLEAUX)
def test_times_of_equal_steps_give_the_same_solution(solver):
    def velocity(x, t):
        return -3 * x + t

    x = jax.random.normal(jax.random.key(0), (2, 5, 3))
    plain = solvers.integrate(velocity, x, solver, 7)
    timed = solvers.integrate(velocity, x, solver, times=grids.uniform_times(7))
    np.testing.assert_allclose(timed.x, plain.x, rtol=1e-5)
    assert timed.evaluations == plain.evaluations == solvers.count_evaluations(solver, 7)


def test_a_solver_steps_between_the_times_of_its_grid():
    """Euler on dx/dt = -2 x multiplies by 1 - 2 h for each step h."""
    times = grids.sway_times(4)
    x = solvers.integrate(lambda x, t: -2 * x, jnp.ones(1), times=times).x
    assert float(x[0]) == pytest.approx(np.prod(1 - 2 * np.diff(times)), abs=1e-6)
    seen = []
    solvers.integrate(
        lambda x, t: x, jnp.ones(1), times=times, monitor=lambda t: seen.append(float(t)) or True
    )
    np.testing.assert_allclose(seen, times[:-1], atol=1e-6)


def test_a_velocity_gets_the_span_and_its_memory():
    times = (0.0, 0.125, 0.5, 1.0)

    def velocity(x, t, span, memory):
        return t + 10 * span + 100 * memory, memory + 1

    solution = solvers.integrate_spans(velocity, jnp.zeros(()), times, jnp.zeros(()))
    expected = sum(
        (r - t) * (t + 10 * (r - t) + 100 * number)
        for number, (t, r) in enumerate(itertools.pairwise(times))
    )
    assert float(solution.x) == pytest.approx(expected, rel=1e-6)
    assert solution.evaluations == 3


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


def assert_fails(velocity, solver, words, **options):
    """The compiled solver ends, and its status becomes an error with these words."""

    def run(x):
        if solver == "dopri5":
            return solvers.dopri5(velocity, x, **options)
        return solvers.integrate(velocity, x, solver, 4)

    solution = jax.jit(run)(jnp.ones(3))
    with pytest.raises(InputError, match=words):
        solvers.check_solution(solution, solver)
    return solution


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
@pytest.mark.parametrize("begin", [-1.0, 0.4])
@pytest.mark.parametrize("solver", ["dopri5", "euler", "rk4"])
def test_a_velocity_that_is_not_finite_ends_the_solver_with_an_error(solver, begin, bad):
    def velocity(x, t):
        return jnp.where(t > begin, bad, -x)

    solution = assert_fails(velocity, solver, f"solver {solver}: found a velocity that is NaN")
    assert solution.evaluations < 100


def test_an_adaptive_step_that_shrinks_to_nothing_is_an_error():
    """Near t = 1/2 the velocity grows without bounds, and no step is short enough."""
    assert_fails(
        lambda x, t: 1 / jnp.abs(t - 0.5) + 0 * x, "dopri5", "a step of no length at t = 0.5"
    )


def test_the_adaptive_solver_has_a_largest_number_of_evaluations():
    def velocity(x, t):
        return jnp.sin(3000 * t) * jnp.ones_like(x)

    solution = assert_fails(velocity, "dopri5", "evaluations at t = 0", max_evaluations=100)
    assert 94 < solution.evaluations <= 100
    assert solvers.dopri5(lambda x, t: x, jnp.ones(3)).status == solvers.CONVERGED


@pytest.mark.parametrize("solver", [*solvers.TABLEAUX, "dopri5"])
@pytest.mark.parametrize("limit", [0, 3])
def test_a_monitor_stops_the_solver_within_a_step(solver, limit):
    """The step at whose start it says so is the last one, compiled as well."""
    times, calls = [], []

    def velocity(x, t):
        jax.debug.callback(lambda: calls.append(1))
        return -4 * x + jnp.sin(8 * t)

    def monitor(t):
        times.append(float(t))
        return t <= np.float32(limit / 50)

    solution = jax.jit(lambda x: solvers.integrate(velocity, x, solver, 50, monitor=monitor))(
        jnp.ones(3)
    )
    jax.effects_barrier()
    assert solution.status == solvers.STOPPED
    assert (
        times == sorted(times) and times[0] == 0 and times[-1] > np.float32(limit / 50) >= times[-2]
    )
    assert len(calls) == solution.evaluations
    stages = 6 if solver == "dopri5" else len(solvers.TABLEAUX[solver].times)
    assert len(calls) == len(times) * stages + 2 * (solver == "dopri5")
    with pytest.raises(InputError, match="was stopped"):
        solvers.check_solution(solution, solver)


def test_a_monitor_stops_a_solver_with_memory():
    times, seen = (0.0, 0.125, 0.5, 1.0), []
    solution = solvers.integrate_spans(
        lambda x, t, span, memory: (x, memory + 1),
        jnp.ones(()),
        times,
        jnp.zeros(()),
        lambda t: seen.append(float(t)) or t < 0.1,
    )
    assert seen == [0.0, 0.125] and solution.evaluations == 2
    assert solution.status == solvers.STOPPED and solution.t == 0.5


@pytest.mark.parametrize("solver", [*solvers.TABLEAUX, "dopri5"])
def test_a_monitor_changes_no_bit(solver):
    """Operation by operation; two compiled programs may also round the same sum differently."""

    def solve(monitor):
        return solvers.integrate(lambda x, t: jnp.sin(3 * x + t), x, solver, 7, monitor=monitor)

    x, times = jnp.linspace(-1, 1, 9), []
    with jax.disable_jit():
        watched = solve(lambda t: times.append(float(t)) or True)
        np.testing.assert_array_equal(watched.x, solve(None).x)
    assert watched.status == solvers.CONVERGED and watched.t == 1
    assert solver == "dopri5" or times == (jnp.arange(7, dtype=jnp.float32) / 7).tolist()
    compiled = jax.jit(lambda: solve(lambda t: True))()
    assert compiled.evaluations == watched.evaluations
    np.testing.assert_array_max_ulp(compiled.x, watched.x, maxulp=4)


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
    guided = guidance.make_guided_velocity(velocity, groups)(x, 0.25)
    np.testing.assert_allclose(guided, (x + 0.25) + 3.0, atol=1e-5)


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(100, 100, 25), (250, 100, 25), (101, 60, 20)]
)
def test_windows_cover_and_blend_to_the_identity(length, window, overlap):
    first = windows.window_starts(length, min(window, length), overlap)
    assert all(start % 5 == 0 for start in first)
    x = jax.random.normal(jax.random.key(0), (2, length, 3))
    parts = windows.split_windows(x, first[:, None] + np.arange(window))
    assert parts.shape == (2 * len(first), window, 3)
    plan = windows.plan_windows(length, min(window, length), overlap)
    np.testing.assert_array_equal(plan.frames[:, 0], first)
    np.testing.assert_allclose(
        windows.blend_windows(parts, plan.frames, length, plan.weight), x, atol=1e-5
    )


def test_each_frame_is_taken_from_the_window_of_its_voice():
    """Two windows, a voice that changes in each: four entries, and every frame from its own."""
    voices = np.repeat([0, 1, 0], [20, 40, 40])
    plan = windows.plan_windows(100, 60, 20, voices)
    assert plan.frames[:, 0].tolist() == [0, 0, 40, 40] and plan.voice.tolist() == [0, 1, 0, 1]
    y = jnp.ones((4, 60, 1)) * jnp.asarray(plan.voice)[:, None, None]
    blended = windows.blend_windows(y, plan.frames, 100, plan.weight)
    np.testing.assert_allclose(blended[0, :, 0], voices, atol=1e-6)


@pytest.mark.parametrize(("length", "window"), [(25, 25), (101, 101), (130, 100), (403, 100)])
def test_the_windows_of_a_loop_cover_its_join(length, window):
    """Every two neighbors, the last frame and the first too, are together inside a window."""
    plan = windows.plan_windows(length, window, 25, is_loop=True)
    x = jax.random.normal(jax.random.key(0), (2, length, 3))
    blended = windows.blend_windows(
        windows.split_windows(x, plan.frames), plan.frames, length, plan.weight
    )
    np.testing.assert_allclose(blended, x, atol=1e-5)
    margin = min(25, length // 2) // 2 - 2
    inside = plan.frames[:, margin : window - margin]
    assert set(zip(inside[:, :-1].ravel(), inside[:, 1:].ravel(), strict=True)) == {
        (k, (k + 1) % length) for k in range(length)
    }


def test_every_window_starts_with_the_prefix():
    plan = windows.plan_windows(230, 100, 25, np.repeat([0, 1], [150, 80]), prefix=40)
    np.testing.assert_array_equal(plan.frames[:, :40], np.tile(np.arange(40), (len(plan.voice), 1)))
    assert (plan.frames[:, 40:] >= 40).all() and len(plan.voice) > 3
    x = jax.random.normal(jax.random.key(0), (1, 230, 3))
    parts = windows.split_windows(x, plan.frames)
    blended = windows.blend_windows(parts, plan.frames, 230, plan.weight)
    np.testing.assert_allclose(blended, x, atol=1e-5)
