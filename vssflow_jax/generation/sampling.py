"""Sampling options, and how they resolve against a run's config; seeds."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.flow import guidance, solvers

MAX_STEPS = 1000
NUM_SEEDS = 2**32


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to integrate; None is the run's own value, and 0 is 0.

    Attributes:
      solver: one of `solvers.SOLVERS`.
      steps: of the solver.
      guidance: guidance scale of all conditions.
      scales: guidance scales of single conditions by name, in place of the run's; the common
        scale where a value is None. Conditions that the route does not use are ignored.
    """

    solver: str | None = None
    steps: int | None = None
    guidance: float | None = None
    scales: Mapping[str, float | None] | None = None

    def resolve(self, config) -> Sampling:
        """The sampling of these options for a run with this config.

        Guidance groups are in the order of the condition table.

        Raises:
          InputError: an unknown solver or condition, or a number out of range.
        """
        sample = config.sample
        solver = sample.solver if self.solver is None else self.solver
        steps = sample.steps if self.steps is None else self.steps
        scale = sample.guidance if self.guidance is None else self.guidance
        scales = dict(self.scales or {})
        if solver not in solvers.SOLVERS:
            raise InputError(f"--solver: found {solver!r}, expected one of {solvers.SOLVERS}")
        if not (isinstance(steps, numbers.Integral) and 1 <= steps <= MAX_STEPS):
            raise InputError(f"--steps: found {steps}, expected 1 to {MAX_STEPS}")
        check_scales({"--guidance": scale} | {f"--scales: {k}": v for k, v in scales.items()})
        unknown = sorted(scales.keys() - set(conditions.NAMES))
        if unknown:
            raise InputError(f"--scales: found {unknown}, expected some of {conditions.NAMES}")
        route = conditions.ROUTES[config.model.route]
        names = [name for name in conditions.NAMES if name in route.used]
        scales = {**sample.scales, **scales}
        single = {name: scales[name] for name in names if scales.get(name) is not None}
        return Sampling(
            solver=solver, steps=steps, groups=guidance.group_by_scale(names, scale, single)
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to integrate: solver, its steps, and the guidance groups."""

    solver: str
    steps: int
    groups: guidance.Groups

    @property
    def branches(self) -> list[tuple[str, ...]]:
        """Conditions of each branch that is computed; without guidance one branch has all."""
        if guidance.is_unguided(self.groups):
            return [sum((names for names, _ in self.groups), ())]
        return guidance.list_branches(self.groups)

    @property
    def scales(self) -> list[float]:
        """Guidance scale of each group."""
        return [scale for _, scale in self.groups]

    def without_scales(self) -> Sampling:
        """What a compiled program depends on: scales of 0, unless all are 1 (no guidance)."""
        if guidance.is_unguided(self.groups):
            return self
        groups = tuple((names, 0.0) for names, _ in self.groups)
        return dataclasses.replace(self, groups=groups)

    def describe(self) -> dict:
        """The sampling as JSON."""
        return {
            "solver": self.solver,
            "steps": self.steps,
            "guidance": [[list(names), scale] for names, scale in self.groups],
        }


def check_scales(scales: Mapping[str, float | None]) -> None:
    """Raises an InputError for a guidance scale, by its place, that is not a finite number."""
    for place, scale in scales.items():
        if scale is not None and not math.isfinite(scale):
            raise InputError(f"{place}: found {scale}, expected a finite number")


def check_seed(seed: int) -> None:
    """Raises an InputError for a seed that is no integer from 0 to 2**32 - 1."""
    if not (isinstance(seed, numbers.Integral) and 0 <= seed < NUM_SEEDS):
        raise InputError(f"--seed: found {seed}, expected 0 to {NUM_SEEDS - 1}")
