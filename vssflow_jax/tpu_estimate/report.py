"""What a compiled step says of a chip: bounds of its time, and the text for the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from vssflow_jax.tpu_estimate.collectives import sum_by_kind
from vssflow_jax.tpu_estimate.fit import Search
from vssflow_jax.tpu_estimate.program import Program
from vssflow_jax.training.chips import GIB, Chip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """Seconds that a step takes at the least, each for its own reason.

    Attributes:
      compute: all FLOPs of the matrix products at the peak of bfloat16.
      memory: all traffic at the bandwidth of the memory.
      interconnect: all that a device sends at the bandwidth of all its links, none idle.
    """

    compute: float
    memory: float
    interconnect: float

    @classmethod
    def of(cls, program: Program, chip: Chip) -> Bounds:
        """The bounds of a program on the chip's share that is one device."""
        sent = sum(collective.sent for collective in program.collectives)
        return cls(
            compute=program.flops / chip.flops,
            memory=program.traffic / chip.bandwidth,
            interconnect=sent / chip.interconnect,
        )

    @property
    def step(self) -> float:
        """The largest: what they share if everything overlaps."""
        return max(self.compute, self.memory, self.interconnect)

    @property
    def reason(self) -> str:
        """The name of the largest."""
        fields = dataclasses.asdict(self)
        return max(fields, key=fields.get)


def mfu(program: Program, chip: Chip) -> float:
    """Upper bound of the model FLOPs utilisation (Chowdhery et al. 2022, appendix B)."""
    return program.model_flops / chip.flops / Bounds.of(program, chip).step


def size(count: float) -> str:
    """Bytes in GiB, or MiB below a tenth of one."""
    return f"{count / GIB:.2f} GiB" if count >= 0.1 * GIB else f"{count / 2**20:.1f} MiB"


def duration(seconds: float) -> str:
    """Seconds as milliseconds."""
    return f"{seconds * 1e3:.1f} ms"


def describe(program: Program, chip: Chip, clips: int, rows: int) -> str:
    """All that is known of a step that fits.

    Args:
      program: the compiled step.
      chip: the share of a chip that is a device.
      clips: a step, over all devices.
      rows: clips a device.
    """
    bounds = Bounds.of(program, chip)
    lines = [
        f"  memory a device    {size(program.memory)} of {size(chip.memory)}"
        f" ({program.memory / chip.memory:.0%})",
        f"  FLOPs a device     {program.flops:.3e}, of the model {program.model_flops:.3e}"
        f" ({program.flops / rows:.3e} a clip)",
        f"  memory traffic     {size(program.traffic)} a device",
        "  collectives        "
        + (f"{'kind':20}{'runs':>6}{'arrays':>13}{'sent':>13}" if program.collectives else "none"),
    ]
    for kind, (runs, array_bytes, sent) in sum_by_kind(program.collectives).items():
        lines.append(f"  {'':19}{kind:20}{runs:6}{size(array_bytes):>13}{size(sent):>13}")
    lines += [
        f"  time bounds        compute {duration(bounds.compute)}, memory"
        f" {duration(bounds.memory)}, interconnect {duration(bounds.interconnect)}",
        f"  a step takes       at least {duration(bounds.step)} ({bounds.reason}): at most"
        f" {clips / bounds.step:,.0f} clips a second, MFU at most {mfu(program, chip):.2f}",
    ]
    return "\n".join(lines)


def largest(search: Search) -> str:
    """What the search of the largest batch found."""
    if not search.largest:
        return "not one clip a device fits"
    memory = size(search.fits[search.largest].memory)
    failure = search.smallest_failure
    beyond = f"; {failure} do not fit" if failure else ""
    return f"{search.largest} clips a device fit ({memory}){beyond}"


COLUMNS = (
    ("topology", 14),
    ("mesh", 12),
    ("clips", 7),
    ("memory", 22),
    ("FLOPs", 11),
    ("traffic", 11),
    ("sent", 11),
    ("compute", 10),
    ("memory", 10),
    ("links", 10),
    ("MFU <=", 7),
    ("largest", 8),
)


def heading() -> str:
    """The first line of the table; figures are of one device and one step."""
    return "".join(f"{name:>{width}}" for name, width in COLUMNS)


def row(
    topology: str, mesh: Sequence[int], rows: int, chip: Chip, program: Program, most: int | None
) -> str:
    """A line of the table.

    Args:
      topology: its name.
      mesh: sizes of its axes.
      rows: clips a device.
      chip: the share of a chip that is a device.
      program: the compiled step.
      most: clips a device that fit; None: not searched.
    """
    bounds = Bounds.of(program, chip)
    cells = (
        topology,
        "x".join(map(str, mesh)),
        rows,
        f"{program.memory / GIB:.2f} of {chip.memory / GIB:.0f} GiB",
        f"{program.flops:.3e}",
        size(program.traffic),
        size(sum(collective.sent for collective in program.collectives)),
        duration(bounds.compute),
        duration(bounds.memory),
        duration(bounds.interconnect),
        f"{mfu(program, chip):.2f}",
        "-" if most is None else most,
    )
    return "".join(f"{cell!s:>{width}}" for cell, (_, width) in zip(cells, COLUMNS, strict=True))
