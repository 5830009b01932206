"""Sampling: noise to latent by a solver, on a time grid, under guidance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from vssflow_jax import conditions
from vssflow_jax.flow import grids, guidance, inpainting, solvers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Student:
    """What a student learned: a network that takes spans and guidance scales as inputs.

    Attributes:
      evaluations: that it is meant for.
      min_scale: least guidance scale.
      max_scale: largest guidance scale.
    """

    evaluations: tuple[int, ...]
    min_scale: float
    max_scale: float

    def list_warnings(self, steps: int, scales: Mapping[str, float]) -> tuple[str, ...]:
        """What of a sampling the student did not learn, a sentence each.

        Args:
          steps: evaluations.
          scales: guidance scale by condition.
        """
        low, high = self.min_scale, self.max_scale
        outside = [f"{name} {w:g}" for name, w in scales.items() if not low <= w <= high]
        warnings = []
        if outside:
            warnings.append(
                f"guidance scales {', '.join(outside)}: the model is a student that learned "
                f"{low:g} to {high:g}"
            )
        if not min(self.evaluations) <= steps <= max(self.evaluations):
            meant = ", ".join(map(str, self.evaluations))
            warnings.append(f"{steps} evaluations: the model is a student meant for {meant}")
        return tuple(warnings)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to integrate.

    Attributes:
      solver: one of `solvers.SOLVERS`.
      steps: of a fixed-step solver.
      grid: name of its time grid, or the times.
      groups: conditions of equal guidance scale.
      settings: the variant of guidance.
      student: what the network learned if it is a student; None: it is a flow model.
    """

    solver: str
    steps: int
    grid: str | grids.Times
    groups: guidance.Groups
    settings: guidance.GuidanceSettings
    student: Student | None = None

    @property
    def times(self) -> grids.Times:
        """The times of a fixed-step solver."""
        return grids.GRIDS[self.grid](self.steps) if isinstance(self.grid, str) else self.grid

    @property
    def guided(self) -> bool:
        """Whether a velocity takes branches without conditions."""
        return self.student is None and not guidance.is_unguided(self.groups)

    @property
    def limited(self) -> bool:
        """Whether there is guidance, but not at all times."""
        return self.guided and self.settings.limited

    @property
    def branches(self) -> list[tuple[str, ...]]:
        """Conditions of each branch that is computed; without guidance one branch has all."""
        if not self.guided:
            return [tuple(name for name in conditions.NAMES if name in self.scales_by_name)]
        return guidance.list_branches(self.groups)

    @property
    def scales(self) -> list[float]:
        """Guidance scale of each group; of a student, of each condition of the table."""
        if self.student is None:
            return [scale for _, scale in self.groups]
        return [self.scales_by_name.get(name, 1.0) for name in conditions.NAMES]

    @property
    def scales_by_name(self) -> dict[str, float]:
        """Guidance scale of each condition in use."""
        return {name: scale for names, scale in self.groups for name in names}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the network did not learn, a sentence each."""
        if self.student is None:
            return ()
        return self.student.list_warnings(self.steps, self.scales_by_name)

    def without_scales(self) -> Sampling:
        """What a compiled program depends on: scales of 0, unless all are 1 (no guidance)."""
        if self.student is not None:
            return dataclasses.replace(self, groups=((self.branches[0], 0.0),))
        if not self.guided:
            return self
        groups = tuple((names, 0.0) for names, _ in self.groups)
        return dataclasses.replace(self, groups=groups)

    def describe(self) -> dict:
        """The sampling as JSON; what is not in use is left out."""
        settings = self.settings
        out = {"solver": self.solver}
        if self.solver != "dopri5":
            grid = self.grid if isinstance(self.grid, str) else list(self.grid)
            out |= {"steps": self.steps, "grid": grid}
        out["guidance"] = [[list(names), scale] for names, scale in self.groups]
        if settings.limited:
            out["guidance_interval"] = [settings.start, settings.stop]
        if settings.projected:
            out["apg"] = {"eta": settings.eta, "momentum": settings.momentum}
        if self.student is not None:
            out["student"] = {
                "evaluations": list(self.student.evaluations),
                "scales": [self.student.min_scale, self.student.max_scale],
            }
        return out


def integrate(
    sampling: Sampling,
    velocity: Callable,
    noise: jax.Array,
    scales: jax.Array,
    conditional: Callable | None = None,
    monitor: solvers.Monitor | None = None,
    known: inpainting.Known | None = None,
) -> solvers.Solution:
    """Solves the guided flow from noise [B, L, C].

    Args:
      sampling: all but the guidance scales.
      velocity: of x [G' B, L, C], branch-major in the order of `sampling.branches`, and t [G' B];
        a student's also takes spans [B].
      noise: the state at t = 0.
      scales: guidance scale of each group, [G]; a student's velocity has them already.
      conditional: the velocity of the last branch alone, x [B, L, C] and t [B], where
        `sampling.limited`.
      monitor: as that of `solvers.integrate`.
      known: frames that keep their latent; None: all are generated.
    """
    if sampling.student is not None:
        step = guidance.make_mean_velocity(velocity)
    else:
        step = _make_step(sampling, velocity, scales, conditional)
    if known is None:
        return _solve(sampling, step, noise, monitor)
    solution = _solve(sampling, inpainting.keep_known(step, noise, known), noise, monitor)
    return solution._replace(x=known.fill(known.latent, solution.x))


def _solve(sampling, step: Callable, noise, monitor) -> solvers.Solution:
    """Solves the flow of a step: that of a student, (x, t, span, memory), or of `_make_step`."""
    if sampling.student is not None:
        return solvers.integrate_spans(step, noise, sampling.times, monitor=monitor)
    if sampling.guided and sampling.settings.momentum:
        memory = jnp.zeros((len(sampling.groups), *noise.shape))
        return solvers.integrate_spans(
            lambda x, t, span, memory: step(x, t, memory), noise, sampling.times, memory, monitor
        )
    times = None if sampling.grid == grids.UNIFORM else sampling.times
    return solvers.integrate(
        lambda x, t: step(x, t, None)[0], noise, sampling.solver, sampling.steps, times, monitor
    )


def _make_step(sampling, velocity, scales, conditional) -> Callable:
    """The guided velocity: (x, scalar t, memory) -> velocity, memory."""
    groups, settings = sampling.groups, sampling.settings
    if sampling.guided and settings.projected:
        step = guidance.make_projected_velocity(velocity, groups, scales, settings)
    else:
        step = _keep_memory(guidance.make_guided_velocity(velocity, groups, scales))
    if sampling.limited:
        alone = ((sampling.branches[-1], 1.0),)
        unguided = _keep_memory(guidance.make_guided_velocity(conditional, alone))
        step = guidance.limit_guidance(step, unguided, settings)
    return step


def _keep_memory(velocity: Callable) -> Callable:
    """A velocity of x and t as a function of the memory too, which stays as it is."""
    return lambda x, t, memory: (velocity(x, t), memory)
