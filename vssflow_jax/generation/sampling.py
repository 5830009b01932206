"""How a generator integrates: solver, steps, guidance; and seeds that noise can be drawn by."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.flow import guidance, solvers

MOST_STEPS = 1000  # of a solver
SEEDS = 2**32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to integrate: solver, its steps, and the guidance groups."""

    solver: str
    steps: int
    groups: guidance.Groups

    @property
    def branches(self) -> list[tuple[str, ...]]:
        """Conditions of each branch that is computed: with no guidance, of one with all."""
        if guidance.is_unguided(self.groups):
            return [sum((names for names, _ in self.groups), ())]
        return guidance.list_branches(self.groups)

    def unscaled(self) -> Sampling:
        """Without the scales' values (0), unless all are 1: what a compiled program depends on."""
        if guidance.is_unguided(self.groups):
            return self
        groups = tuple((names, 0.0) for names, _ in self.groups)
        return dataclasses.replace(self, groups=groups)


def choose(
    config,
    solver: str | None = None,
    steps: int | None = None,
    scale: float | None = None,
    scales: Mapping[str, float] | None = None,
) -> Sampling:
    """Arguments where given, else the run's config.

    Args:
      config: of the run.
      solver: one of `solvers.SOLVERS`.
      steps: of the solver.
      scale: common guidance scale.
      scales: guidance of single conditions; those that the route has not are left out.
        Groups come in the order of the condition table: what is seen before what is said.
    """
    sample = config.sample
    solver = solver or sample.solver
    steps = sample.steps if steps is None else steps
    scale = sample.guidance if scale is None else scale
    if solver not in solvers.SOLVERS:
        raise InputError(f"--solver: found {solver!r}, expected one of {solvers.SOLVERS}")
    single = {f"--scales: {name}": value for name, value in (scales or {}).items()}
    for where, value in {"--guidance": scale, **single}.items():
        if not math.isfinite(value):
            raise InputError(f"{where}: found {value}, expected a finite number")
    if not (isinstance(steps, numbers.Integral) and 1 <= steps <= MOST_STEPS):
        raise InputError(f"--steps: found {steps}, expected 1 to {MOST_STEPS}")
    route = conditions.ROUTES[config.model.route]
    used = [name for name in conditions.NAMES if name in route.used]
    own = {name: value for name, value in sample.scales.items() if value is not None} | dict(
        scales or {}
    )
    own = {name: value for name, value in own.items() if name in used}
    return Sampling(solver=solver, steps=steps, groups=guidance.group_by_scale(used, scale, own))


def check_seed(seed: int) -> None:
    """Raises an InputError for a seed that noise cannot be drawn by."""
    if not (isinstance(seed, numbers.Integral) and 0 <= seed < SEEDS):
        raise InputError(f"--seed: found {seed}, expected 0 to {SEEDS - 1}")
