"""How many clips a device has room for, and what makes a step fit that does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from vssflow_jax.config.validation import value_of
from vssflow_jax.tpu_estimate.program import OutOfMemory, Program

COMPILES = 3  # at most, in the search of a batch
CLOSE = 1.05  # a batch this near to one that does not fit needs no further search
USABLE = 0.97  # of a chip's memory: the rest is the runtime's


@dataclasses.dataclass
class Search:
    """Clips a device that were compiled: what fitted, what did not, and the memory of each."""

    fits: dict[int, Program] = dataclasses.field(default_factory=dict)
    fails: dict[int, OutOfMemory] = dataclasses.field(default_factory=dict)

    @property
    def largest(self) -> int:
        """Most clips a device that fit; 0: none did."""
        return max(self.fits, default=0)

    @property
    def smallest_failure(self) -> int | None:
        """Fewest clips a device that did not fit."""
        return min(self.fails, default=None)

    def add(self, clips: int, compile_clips: Callable[[int], Program]) -> Program | None:
        """Compiles with so many clips a device; None: it does not fit."""
        try:
            self.fits[clips] = compile_clips(clips)
        except OutOfMemory as error:
            self.fails[clips] = error
        return self.fits.get(clips)

    def used(self) -> dict[int, float]:
        """Bytes by clips a device, of all that was compiled."""
        tried = {clips: program.memory for clips, program in self.fits.items()}
        return tried | {clips: error.used for clips, error in self.fails.items()}

    def next(self, fixed: float, limit: float, unit: int = 1) -> int | None:
        """The clips to try next, on a straight line through what is known; None: near enough.

        Args:
          fixed: bytes without clips: of state and gradient.
          limit: bytes that a device has.
          unit: clips a device come in multiples of it.
        """
        known = sorted(self.used().items(), key=lambda point: abs(point[1] - limit))
        (clips, bytes_), (other, before) = [*known, (0, fixed)][:2]
        slope = max((bytes_ - before) / (clips - other), 1.0)
        low, high = self.largest, self.smallest_failure
        guess = clips + int((limit - bytes_) // slope)
        if high is not None:
            guess = min(guess, high - unit)
            if low and high - unit <= CLOSE * low:
                return None
        guess -= guess % unit
        return guess if guess > low else None


def search_largest(
    start: Search,
    compile_clips: Callable[[int], Program],
    *,
    fixed: float,
    limit: float,
    unit: int = 1,
    compiles: int = COMPILES,
) -> Search:
    """Goes on from what is compiled to the most clips a device that fit, as `Search.next` says."""
    for _ in range(compiles):
        clips = start.next(fixed, limit, unit)
        if clips is None:
            break
        start.add(clips, compile_clips)
    return start


def memory_saving_fields(config, devices: int) -> dict[str, object]:
    """The fields that make a step need less memory, where this config has them otherwise."""
    wanted = {"precision.compute": "bfloat16", "model.remat": "layer"}
    if config.mesh.fsdp == 1 and devices > 1:
        wanted |= {"mesh.data": max(config.mesh.slices, 1), "mesh.fsdp": -1}
    return {name: value for name, value in wanted.items() if value_of(config, name) != value}


def as_flags(fields: dict[str, object]) -> str:
    """Fields as a user types them."""
    return " ".join(f"--config.{name}={value}" for name, value in fields.items())
