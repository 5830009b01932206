"""ODE solvers: dx/dt = v(x, t) from noise at t = 0 to data at t = 1.

A fixed-step solver is its Butcher tableau (times c, stages a, weights b), run by one loop:

    k_i = v(x + h sum_j a_ij k_j, t + c_i h),    x <- x + h sum_i b_i k_i

`dopri5` is the adaptive Dormand-Prince pair with the step control of torchdiffeq, which the
official sampler uses (Hairer, Nørsett, Wanner, Solving ODEs I, sections II.4 and II.5). It is
written out here because its steps, and so its number of evaluations, must equal torchdiffeq's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from vssflow_jax.common.errors import InputError

Velocity = Callable[[jax.Array, jax.Array], jax.Array]  # (x, scalar t) -> dx/dt
Monitor = Callable[[jax.Array], bool]  # the time of a step, a scalar -> whether to go on


@dataclasses.dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method.

    Attributes:
      times: c, the stages' times as fractions of the step.
      stages: a, the rows of the tableau below the first, which is empty.
      weights: b, the share of each stage's velocity in the step.
    """

    times: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


TABLEAUX = {
    "euler": Tableau((0.0,), (), (1.0,)),
    "midpoint": Tableau((0.0, 0.5), ((0.5,),), (0.0, 1.0)),
    "heun": Tableau((0.0, 1.0), ((1.0,),), (0.5, 0.5)),
    "rk4": Tableau(
        (0.0, 0.5, 0.5, 1.0),
        ((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
}
SOLVERS = (*TABLEAUX, "dopri5")
MAX_EVALUATIONS = 10_000  # of `dopri5`; published models need some hundreds

# How a solver ended.
CONVERGED, NON_FINITE, STEP_UNDERFLOW, TOO_MANY_EVALUATIONS, STOPPED = range(5)

DORMAND_PRINCE = Tableau(
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
)
ERROR_WEIGHTS = (
    35 / 384 - 1951 / 21600,
    0.0,
    500 / 1113 - 22642 / 50085,
    125 / 192 - 451 / 720,
    -2187 / 6784 + 12231 / 42400,
    11 / 84 - 649 / 6300,
    -1 / 60,
)
MIDDLE_WEIGHTS = (  # the solution at the middle of a step (Shampine 1986)
    6025192743 / 30085553152 / 2,
    0.0,
    51252292925 / 65400821598 / 2,
    -2691868925 / 45128329728 / 2,
    187940372067 / 1594534317056 / 2,
    -1776094331 / 19743644256 / 2,
    11237099 / 235043384 / 2,
)


class Solution(NamedTuple):
    """What a solver returns, all arrays, so that it can come out of a compiled function.

    Attributes:
      x: the state at t = 1; of no use unless the status is CONVERGED.
      evaluations: how many times the velocity was computed, int32.
      status: CONVERGED, NON_FINITE, STEP_UNDERFLOW, TOO_MANY_EVALUATIONS or STOPPED, int32.
      t: the time that was reached, float32.
    """

    x: jax.Array
    evaluations: jax.Array
    status: jax.Array
    t: jax.Array


def check_solution(solution: Solution, solver: str) -> None:
    """Raises an InputError that says why a solver did not reach t = 1 with finite numbers."""
    status = int(solution.status)
    if status == CONVERGED:
        return
    t, evaluations = float(solution.t), int(solution.evaluations)
    if status == NON_FINITE:
        reason = (
            f"found a velocity that is NaN or infinite (after t = {t:.4f}), expected finite "
            "numbers: weights, conditions or the guidance scale are wrong"
        )
    elif status == STOPPED:
        reason = f"was stopped at t = {t:.4f}, expected t = 1"
    else:
        what = "a step of no length" if status == STEP_UNDERFLOW else f"{evaluations} evaluations"
        reason = (
            f"found {what} at t = {t:.4f}, expected t = 1: the velocity is not smooth enough for "
            f"an adaptive solver; use one of {', '.join(TABLEAUX)}"
        )
    raise InputError(f"solver {solver}: {reason}")


def count_evaluations(solver: str, steps: int) -> int | None:
    """Velocity evaluations of a fixed-step solver; None for the adaptive one."""
    return None if solver == "dopri5" else steps * len(TABLEAUX[solver].times)


def solve(velocity: Velocity, x: jax.Array, solver: str = "euler", steps: int = 25) -> jax.Array:
    """The state at t = 1 of `integrate`, with the same arguments."""
    return integrate(velocity, x, solver, steps).x


def integrate(
    velocity: Velocity,
    x: jax.Array,
    solver: str = "euler",
    steps: int = 25,
    times: Sequence[float] | None = None,
    monitor: Monitor | None = None,
) -> Solution:
    """Integrates dx/dt = velocity(x, t) from t = 0 to 1.

    Args:
      velocity: of the state at a scalar time.
      x: noise, any shape.
      solver: one of SOLVERS.
      steps: equal steps of a fixed-step solver; the adaptive one chooses its own.
      times: between which a fixed-step solver steps instead, ascending from 0 to 1 (flow.grids).
      monitor: is called on the host at the start of each step, compiled or not; where it returns
        False, that step is the last one, and the status is STOPPED.
    """
    if solver == "dopri5":
        return dopri5(velocity, x, monitor=monitor)
    if solver not in TABLEAUX:
        raise ValueError(f"solver: found {solver!r}, expected one of {SOLVERS}")
    if steps < 1:
        raise ValueError(f"steps: found {steps}, expected at least 1")
    tableau = TABLEAUX[solver]

    def step(x, t, size=1.0 / steps):
        return x + size * step_slope(velocity, tableau, x, t, size)

    starts = jnp.arange(steps, dtype=jnp.float32) / steps
    spans = (starts,) if times is None else _spans(times)
    return _run_steps(step, x, spans, len(tableau.times), monitor)


def integrate_spans(
    velocity: Callable,
    x: jax.Array,
    times: Sequence[float],
    memory: Any = None,
    monitor: Monitor | None = None,
) -> Solution:
    """Euler's method for a velocity that depends on the span of the step, or on earlier steps.

        x <- x + (r - t) u,    u, memory = velocity(x, t, r - t, memory)

    Args:
      velocity: of the state, scalars t and r - t, and the memory.
      x: noise, any shape.
      times: between which it steps, ascending from 0 to 1.
      memory: what the first step starts with; any pytree.
      monitor: as that of `integrate`.
    """

    def step(carry, t, size):
        x, memory = carry
        u, memory = velocity(x, t, size, memory)
        return x + size * u, memory

    solution = _run_steps(step, (x, memory), _spans(times), 1, monitor)
    return solution._replace(x=solution.x[0])


def _spans(times: Sequence[float]) -> tuple[jax.Array, jax.Array]:
    """Start and size of each step, float32 [steps] each."""
    edges = np.asarray(times, np.float64)
    return jnp.float32(edges[:-1]), jnp.float32(np.diff(edges))


def _run_steps(
    step: Callable, state: Any, spans: tuple, evaluations: int, monitor: Monitor | None
) -> Solution:
    """Takes the steps of a fixed-step solver, until the monitor says no.

    Args:
      step: of the state and of a row of `spans`, to the next state.
      state: any pytree.
      spans: start of each step, and what else it needs, [steps] each.
      evaluations: of the velocity in a step.
      monitor: as that of `integrate`.
    """
    count = len(spans[0])

    def body(carry):
        number, state, _ = carry
        span = [values[number] for values in spans]
        goes_on = _ask(monitor, span[0])
        return number + 1, step(state, *span), goes_on

    number, state, goes_on = jax.lax.while_loop(
        lambda carry: (carry[0] < count) & carry[2],
        body,
        (jnp.int32(0), state, jnp.bool_(True)),
    )
    is_finite = jnp.all(jnp.isfinite(jax.tree.leaves(state)[0]))
    status = jnp.where(is_finite, CONVERGED, NON_FINITE)
    return Solution(
        x=state,
        evaluations=number * evaluations,
        status=jnp.where(goes_on, status, STOPPED),
        t=jnp.append(spans[0], 1.0)[number],
    )


def _ask(monitor: Monitor | None, t: jax.Array) -> jax.Array:
    """What the monitor says at time t, a bool scalar; True without one."""
    if monitor is None:
        return jnp.bool_(True)
    return io_callback(monitor, jax.ShapeDtypeStruct((), jnp.bool_), t)


def step_slope(velocity: Velocity, tableau: Tableau, x: jax.Array, t, size) -> jax.Array:
    """The mean velocity of a step, sum_i b_i k_i; t and size may have axes that x has too."""
    return _weighted_sum(tableau.weights, _stage_slopes(velocity, tableau, x, t, size))


def mean_velocity(
    velocity: Velocity, x: jax.Array, t: jax.Array, span: jax.Array, solver: str, steps: int
) -> jax.Array:
    """(x_r - x_t) / (r - t), where equal steps lead from (x_t, t) to (x_r, r), r = t + span.

    It is the mean of the steps' velocities, and so exists for a span of 0, too.

    Args:
      velocity: of the state [B, L, C] at times [B].
      x: x_t, [B, L, C].
      t: [B].
      span: [B].
      solver: a fixed-step one.
      steps: over the span.
    """
    size = (span / steps)[:, None, None]

    def step(carry, number):
        x, total = carry
        slope = step_slope(
            lambda x, t: velocity(x, t[:, 0, 0]),
            TABLEAUX[solver],
            x,
            t[:, None, None] + number * size,
            size,
        )
        return (x + size * slope, total + slope), None

    start = (x, jnp.zeros_like(x))
    return jax.lax.scan(step, start, jnp.arange(steps, dtype=x.dtype))[0][1] / steps


def _weighted_sum(weights, slopes):
    return sum(weight * slope for weight, slope in zip(weights, slopes, strict=False) if weight)


def _stage_slopes(velocity, tableau, x, t, size, first=None):
    """Velocities of all stages, k_i; `first` is that of the first stage where it is known."""
    slopes = [velocity(x, t) if first is None else first]
    for time, row in zip(tableau.times[1:], tableau.stages, strict=True):
        slopes.append(velocity(x + size * _weighted_sum(row, slopes), t + time * size))
    return slopes


class _State(NamedTuple):
    x: jax.Array
    slope: jax.Array
    t: jax.Array
    size: jax.Array
    last_step: tuple  # x, middle, slope, t, size of the last accepted step
    evaluations: jax.Array
    status: jax.Array


def dopri5(
    velocity: Velocity,
    x: jax.Array,
    tolerance: float = 1e-5,
    constants: jax.Array | None = None,
    max_evaluations: int = MAX_EVALUATIONS,
    monitor: Monitor | None = None,
) -> Solution:
    """Adaptive Dormand-Prince 5(4) from t = 0 to 1; all rows of a batch share the step.

    As in torchdiffeq, the last step may pass t = 1; the answer is read from the quartic
    through it. The loop ends early, with a status that says so, where the velocity is not
    finite, the step gets too short to move the time, the evaluations are used up, or the monitor
    says so.

    Args:
      velocity: of the state at a scalar time.
      x: noise.
      tolerance: absolute and relative, of the root mean square error.
      constants: channels that the official code carries through the solver although they
        never change. They take part in its error norm; pass them to get its very steps.
      max_evaluations: most evaluations of the velocity.
      monitor: as that of `integrate`.
    """
    num_constant = 0 if constants is None else constants.size
    constant_norm = 0.0
    if constants is not None:
        scaled = constants / (tolerance + tolerance * jnp.abs(constants))
        constant_norm = jnp.sum(jnp.square(scaled))

    def rms(values, extra=0.0):
        return jnp.sqrt((jnp.sum(jnp.square(values)) + extra) / (values.size + num_constant))

    def step(state: _State) -> _State:
        goes_on = _ask(monitor, state.t)
        slopes = _stage_slopes(velocity, DORMAND_PRINCE, state.x, state.t, state.size, state.slope)
        x = state.x + state.size * _weighted_sum(DORMAND_PRINCE.weights, slopes)
        error = state.size * _weighted_sum(ERROR_WEIGHTS, slopes)
        allowed = tolerance + tolerance * jnp.maximum(jnp.abs(state.x), jnp.abs(x))
        ratio = rms(error / allowed)
        middle = state.x + state.size * _weighted_sum(MIDDLE_WEIGHTS, slopes)
        accepted = state._replace(
            x=x,
            slope=slopes[-1],
            t=state.t + state.size,
            last_step=(state.x, middle, state.slope, state.t, state.size),
        )
        state = jax.tree.map(lambda new, old: jnp.where(ratio <= 1, new, old), accepted, state)
        size, evaluations = state.size * _step_factor(ratio), state.evaluations + 6
        status = jnp.where(evaluations + 6 > max_evaluations, TOO_MANY_EVALUATIONS, CONVERGED)
        status = jnp.where(state.t + size == state.t, STEP_UNDERFLOW, status)
        status = jnp.where(state.t < 1, status, CONVERGED)
        status = jnp.where(jnp.isnan(ratio), NON_FINITE, status)
        status = jnp.where(goes_on, status, STOPPED)
        return state._replace(size=size, evaluations=evaluations, status=status)

    slope = velocity(x, jnp.float32(0))
    scale = tolerance + tolerance * jnp.abs(x)
    size, evaluations = _first_step(velocity, x, slope, scale, rms, constant_norm)
    last_step = (x, x, slope, jnp.float32(0), size)
    start = _State(x, slope, jnp.float32(0), size, last_step, evaluations, jnp.int32(CONVERGED))
    end = jax.lax.while_loop(lambda state: (state.t < 1) & (state.status == CONVERGED), step, start)
    return Solution(_interpolate(end), end.evaluations, end.status, jnp.minimum(end.t, 1))


def _first_step(velocity, x, slope, scale, rms, constant_norm):
    """Starting step size (Hairer et al., II.4), and the evaluations spent so far."""
    d0, d1 = rms(x / scale, constant_norm), rms(slope / scale)
    h0 = jnp.where((d0 < 1e-5) | (d1 < 1e-5), 1e-6, 0.01 * d0 / d1)
    d2 = rms((velocity(x + h0 * slope, h0) - slope) / scale) / h0
    flat = (d1 <= 1e-15) & (d2 <= 1e-15)
    h1 = jnp.where(flat, jnp.maximum(1e-6, h0 * 1e-3), (0.01 / jnp.maximum(d1, d2)) ** 0.2)
    return jnp.minimum(100 * h0, h1), jnp.int32(2)


def _step_factor(ratio):
    """By how much the step grows or shrinks, from its error over the allowed one."""
    smallest = jnp.where(ratio < 1, 1.0, 0.2)
    factor = jnp.minimum(10.0, jnp.maximum(0.9 * ratio**-0.2, smallest))
    return jnp.where(ratio == 0, 10.0, factor)


def _interpolate(state: _State) -> jax.Array:
    """Quartic through both ends, the middle and both slopes of the last step, at t = 1."""
    x0, middle, f0, t0, size = state.last_step
    x1, f1 = state.x, state.slope
    u = (1 - t0) / size
    a = 2 * size * (f1 - f0) - 8 * (x1 + x0) + 16 * middle
    b = size * (5 * f0 - 3 * f1) + 18 * x0 + 14 * x1 - 32 * middle
    c = size * (f1 - 4 * f0) - 11 * x0 - 5 * x1 + 16 * middle
    return x0 + u * (size * f0 + u * (c + u * (b + u * a)))
