"""Sampling options, and how they resolve against a run's config; seeds."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Mapping, Sequence

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.pairs import parse_pairs
from vssflow_jax.config.rules import FINITE, FRACTION, TIMES, between, parse_times
from vssflow_jax.flow import grids, guidance, solvers
from vssflow_jax.flow.sampler import Sampling, Student
from vssflow_jax.generation.stems import MAX_LEVEL, WAYS, JointSampling
from vssflow_jax.models.vssflow import is_student

MAX_STEPS = 1000
NUM_SEEDS = 2**32
GRID_HELP = (
    f"Time grid: {', '.join(grids.GRIDS)}, or times such as 0,0.1,0.4,1; default: the run's."
)
JOINT_HELP = "Speech and other sound: together or apart; default: the run's."
SPEECH_LEVEL_HELP = (
    "dB of speech that is generated without other sound, at most 0; default: the run's."
)
SOUND_LEVEL_HELP = "dB of other sound that is generated apart; default: the run's."
SPEECH_AUDIBILITY_HELP = "Share of the speech that is heard beside it, 0 to 1; default: the run's."
SCALES_HELP = "Guidance scales of single conditions, such as sync=1.8,clip=0."
PRECISION_HELP = (
    "Of the network: float32, bfloat16, or auto, the faster on this processor; default: the run's."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """How to integrate; None is the run's own value, and 0 is 0.

    Attributes:
      solver: one of `solvers.SOLVERS`.
      steps: of the solver.
      grid: one of `grids.GRIDS`, or the times themselves, as numbers or as text with commas.
      guidance: guidance scale of all conditions.
      scales: guidance scales of single conditions by name, in place of the run's; the common
        scale where a value is None. Conditions that the route does not use are ignored.
      guidance_start: flow time from which on guidance acts.
      guidance_stop: flow time up to which it acts.
      apg_eta: share of guidance along the predicted data that is kept (`guidance`, APG).
      apg_momentum: of guidance over the steps (APG).
      joint: whether speech and other sound are generated together or apart (`stems`).
      speech_level: dB of speech that is generated without other sound, at most 0.
      sound_level: dB of the other sound where they are generated apart.
      speech_audibility: share of the speech that is heard beside it at least.
    """

    solver: str | None = None
    steps: int | None = None
    grid: str | Sequence[float] | None = None
    guidance: float | None = None
    scales: Mapping[str, float | None] | None = None
    guidance_start: float | None = None
    guidance_stop: float | None = None
    apg_eta: float | None = None
    apg_momentum: float | None = None
    joint: str | None = None
    speech_level: float | None = None
    sound_level: float | None = None
    speech_audibility: float | None = None

    @classmethod
    def select(cls, options: object) -> SamplingOptions:
        """Those of the fields of other options that have the same names."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(options, name) for name in names if hasattr(options, name)})

    def resolve(self, config) -> Sampling:
        """The sampling of these options for a run with this config.

        Guidance groups are in the order of the condition table.

        Raises:
          InputError: an unknown solver, grid or condition, a number out of range, or options
            that exclude each other.
        """
        solver = config.sample.solver if self.solver is None else self.solver
        if solver not in solvers.SOLVERS:
            raise InputError(f"--solver: found {solver!r}, expected one of {solvers.SOLVERS}")
        grid, steps = self._resolve_grid(config, solver)
        settings = self._resolve_settings(config)
        if settings.momentum and solver != "euler":
            raise InputError(
                f"--solver: found {solver!r} beside --apg_momentum={settings.momentum:g}, "
                "expected 'euler'"
            )
        student = read_student(config)
        if student is not None:
            check_student_options(solver, settings)
        return Sampling(
            solver=solver,
            steps=steps,
            grid=grid,
            groups=self._resolve_groups(config),
            settings=settings,
            student=student,
        )

    def resolve_joint(self, config) -> JointSampling:
        """How a run with this config generates speech beside other sound.

        Raises:
          InputError: an unknown way, or a level or share out of range.
        """
        own = config.sample
        way = own.joint if self.joint is None else self.joint
        audibility = (
            own.speech_audibility if self.speech_audibility is None else self.speech_audibility
        )
        levels = {
            "speech_level": own.speech_level if self.speech_level is None else self.speech_level,
            "sound_level": own.sound_level if self.sound_level is None else self.sound_level,
        }
        # Louder speech would be cut off at 1.
        for (name, level), highest in zip(levels.items(), (0.0, MAX_LEVEL), strict=True):
            if not between(-MAX_LEVEL, highest).holds(level):
                raise InputError(
                    f"--{name}: found {level!r}, expected {-MAX_LEVEL:g} to {highest:g} dB"
                )
        if way not in WAYS:
            raise InputError(f"--joint: found {way!r}, expected one of {', '.join(WAYS)}")
        if not FRACTION.holds(audibility):
            raise InputError(
                f"--speech_audibility: found {audibility}, expected {FRACTION.expected}"
            )
        return JointSampling(way=way, speech_audibility=audibility, **levels)

    def _resolve_grid(self, config, solver: str) -> tuple[str | grids.Times, int]:
        """The grid, by its name or as times, and its steps."""
        grid = config.sample.grid if self.grid is None else self.grid
        steps = config.sample.steps if self.steps is None else self.steps
        if solver == "dopri5":
            if self.grid not in (None, grids.UNIFORM):
                raise InputError(
                    f"--grid: found {self.grid!r} beside --solver=dopri5, which chooses its own "
                    f"times; expected one of {tuple(solvers.TABLEAUX)}"
                )
            grid = grids.UNIFORM
        if isinstance(grid, str) and grid in grids.GRIDS:
            if not (isinstance(steps, numbers.Integral) and 1 <= steps <= MAX_STEPS):
                raise InputError(f"--steps: found {steps}, expected 1 to {MAX_STEPS}")
            grids.GRIDS[grid](steps)  # refuses what it has no times for
            return grid, steps
        times = parse_times(grid)
        if times is None or len(times) > MAX_STEPS + 1:
            raise InputError(
                f"--grid: found {grid!r}, expected one of {tuple(grids.GRIDS)}, or {TIMES}"
            )
        if self.steps not in (None, len(times) - 1):
            raise InputError(
                f"--steps: found {self.steps}, expected {len(times) - 1}, the steps of the grid"
            )
        return times, len(times) - 1

    def _resolve_settings(self, config) -> guidance.GuidanceSettings:
        """The variant of guidance."""
        sample = config.sample
        values = {
            "guidance_start": sample.guidance_start,
            "guidance_stop": sample.guidance_stop,
            "apg_eta": sample.apg_eta,
            "apg_momentum": sample.apg_momentum,
        }
        options = {name: getattr(self, name) for name in values}
        values |= {name: value for name, value in options.items() if value is not None}
        check_scales({f"--{name}": value for name, value in values.items()})
        start, stop = values["guidance_start"], values["guidance_stop"]
        if not 0 <= start <= stop <= 1:
            raise InputError(
                f"--guidance_start, --guidance_stop: found {start:g} and {stop:g}, expected "
                "times from 0 to 1 in this order"
            )
        return guidance.GuidanceSettings(
            start=start, stop=stop, eta=values["apg_eta"], momentum=values["apg_momentum"]
        )

    def _resolve_groups(self, config) -> guidance.Groups:
        """The guidance groups."""
        scale = config.sample.guidance if self.guidance is None else self.guidance
        if not isinstance(self.scales, Mapping | None):
            raise InputError(f"--scales: found {self.scales!r}, expected scales by condition")
        scales = dict(self.scales or {})
        check_scales({"--guidance": scale} | {f"--scales: {k}": v for k, v in scales.items()})
        unknown = sorted(scales.keys() - set(conditions.NAMES))
        if unknown:
            raise InputError(f"--scales: found {unknown}, expected some of {conditions.NAMES}")
        route = conditions.ROUTES[config.model.route]
        names = [name for name in conditions.NAMES if name in route.used]
        scales = {**config.sample.scales, **scales}
        single = {name: scales[name] for name in names if scales.get(name) is not None}
        return guidance.group_by_scale(names, scale, single)


def read_student(config) -> Student | None:
    """What a run's student learned; None for a flow model."""
    if not is_student(config):
        return None
    distill = config.distill
    return Student(
        evaluations=tuple(distill.evaluations),
        min_scale=distill.min_scale,
        max_scale=distill.max_scale,
    )


def check_student_options(solver: str, settings: guidance.GuidanceSettings) -> None:
    """Raises an InputError for what a student, of which guidance is an input, does not take."""
    refused = {
        f"--solver={solver}": solver != "euler",
        "--guidance_start, --guidance_stop": settings.limited,
        "--apg_eta, --apg_momentum": settings.projected,
    }
    options = ", ".join(option for option, is_used in refused.items() if is_used)
    if options:
        raise InputError(
            f"{options}: found with a student, expected a flow model such as its teacher "
            "(--workdir=natural for the model that ships)"
        )


def check_scales(scales: Mapping[str, float | None]) -> None:
    """Raises an InputError for a guidance scale, by its place, that is not a finite number."""
    for place, scale in scales.items():
        if scale is not None and not FINITE.holds(scale):
            raise InputError(f"{place}: found {scale}, expected {FINITE.expected}")


def parse_scales(items: Sequence[str]) -> dict[str, float]:
    """Guidance scales of single conditions, from items such as sync=1.8.

    Raises:
      InputError: an item that is no condition with a number, or a condition twice.
    """
    expected = f"a condition and a number such as sync=1.8 ({', '.join(conditions.NAMES)})"
    scales = {}
    for name, value in parse_pairs(items, "--scales", expected).items():
        try:
            scales[name] = float(value)
        except ValueError:
            name = ""
        if name not in conditions.NAMES:
            raise InputError(f"--scales: found {f'{name}={value}'!r}, expected {expected}")
    return scales


def check_seed(seed: int) -> None:
    """Raises an InputError for a seed that is no integer from 0 to 2**32 - 1."""
    if not (isinstance(seed, numbers.Integral) and 0 <= seed < NUM_SEEDS):
        raise InputError(f"--seed: found {seed}, expected 0 to {NUM_SEEDS - 1}")
