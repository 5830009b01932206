"""Sampling: noise to latent by a solver, on a time grid, under guidance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vssflow_jax.flow import grids, guidance, solvers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to integrate.

    Attributes:
      solver: one of `solvers.SOLVERS`.
      steps: of a fixed-step solver.
      grid: name of its time grid, or the times.
      groups: conditions of equal guidance scale.
      settings: the variant of guidance.
    """

    solver: str
    steps: int
    grid: str | grids.Times
    groups: guidance.Groups
    settings: guidance.GuidanceSettings

    @property
    def times(self) -> grids.Times:
        """The times of a fixed-step solver."""
        return grids.GRIDS[self.grid](self.steps) if isinstance(self.grid, str) else self.grid

    @property
    def guided(self) -> bool:
        """Whether a velocity takes branches without conditions."""
        return not guidance.is_unguided(self.groups)

    @property
    def limited(self) -> bool:
        """Whether there is guidance, but not at all times."""
        return self.guided and self.settings.limited

    @property
    def branches(self) -> list[tuple[str, ...]]:
        """Conditions of each branch that is computed; without guidance one branch has all."""
        if not self.guided:
            return [sum((names for names, _ in self.groups), ())]
        return guidance.list_branches(self.groups)

    @property
    def scales(self) -> list[float]:
        """Guidance scale of each group."""
        return [scale for _, scale in self.groups]

    def without_scales(self) -> Sampling:
        """What a compiled program depends on: scales of 0, unless all are 1 (no guidance)."""
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
        return out


def integrate(
    sampling: Sampling,
    velocity: Callable,
    noise: jax.Array,
    scales: jax.Array,
    conditional: Callable | None = None,
    report: Callable[[jax.Array], None] | None = None,
) -> solvers.Solution:
    """Solves the guided flow from noise [B, L, C].

    Args:
      sampling: all but the guidance scales.
      velocity: of x [G' B, L, C], branch-major in the order of `sampling.branches`, and t [G' B].
      noise: the state at t = 0.
      scales: guidance scale of each group, [G].
      conditional: the velocity of the last branch alone, x [B, L, C] and t [B], where
        `sampling.limited`.
      report: is called on the host with the time of each evaluation.
    """
    step = _make_step(sampling, velocity, scales, conditional)
    if report is not None:
        step = solvers.report_time(step, report)
    if sampling.guided and sampling.settings.momentum:
        memory = jnp.zeros((len(sampling.groups), *noise.shape))
        return solvers.integrate_spans(
            lambda x, t, span, memory: step(x, t, memory), noise, sampling.times, memory
        )
    times = None if sampling.grid == grids.UNIFORM else sampling.times
    return solvers.integrate(
        lambda x, t: step(x, t, None)[0], noise, sampling.solver, sampling.steps, times
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
