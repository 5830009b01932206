"""The collectives of a compiled program: kinds, counts, sizes, and what they send."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence

from vssflow_jax.tpu_estimate.hlo import Instruction, Module

KINDS = ("all-gather", "reduce-scatter", "all-reduce", "all-to-all", "collective-permute")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
    """One collective of a device's program.

    Attributes:
      kind: one of KINDS.
      bytes: of the whole array: gathered, or before it is scattered; of an exchange, a
        device's own part.
      group: devices that take part together.
      times: runs in one call of the program.
    """

    kind: str
    bytes: int
    group: int
    times: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends in all runs, at least.

        Of n devices each lacks (n - 1) / n of the whole array; a reduction to all is a
        scattered one and a gathering.
        """
        if self.kind == "collective-permute":
            return self.times * self.bytes
        share = (self.group - 1) / self.group
        return self.times * self.bytes * share * (2 if self.kind == "all-reduce" else 1)


def list_collectives(module: Module) -> list[Collective]:
    """All collectives of a program, each once.

    Compilers for TPUs write one that runs beside other work into several fusions, with the
    same channel; and a scattered reduction as a fusion that keeps a part.
    """
    by_key: dict[tuple, Collective] = {}
    for name, times in module.times.items():
        for instruction in module.computations[name].values() if times else ():
            if instruction.op.removesuffix("-start") in KINDS:
                one = _collective(instruction, name, module)
                channel = re.search(r"channel_id=(\d+)", instruction.attributes)
                shared = channel and name in module.fused
                key = (channel[1], one.kind, one.bytes) if shared else (name, instruction.name)
                if key not in by_key or by_key[key].times < times:
                    by_key[key] = one
    return [one for one in by_key.values() if one.group > 1]


def _collective(instruction: Instruction, name: str, module: Module) -> Collective:
    kind, group = instruction.op.removesuffix("-start"), _group(instruction.attributes)
    parts = (module.computations[name][operand].shapes for operand in instruction.operands)
    size = sum(shape.bytes for shapes in parts for shape in shapes)
    if kind == "all-gather":
        size *= group
    if kind == "all-reduce" and name in module.fused and "scatter" in name:
        kind = "reduce-scatter"
    return Collective(kind=kind, bytes=size, group=group, times=module.times[name])


def _group(attributes: str) -> int:
    """Devices of a group, in the three ways of writing `replica_groups`; of pairs 2.

    Raises:
      ValueError: it is written in another way.
    """
    if "source_target_pairs=" in attributes:
        return 2
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", mesh[1]))
        axes = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2])
        return math.prod(int(part or sizes[axis]) for axis, part in axes)
    if grid := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes):
        return int(grid[1])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes):
        return listed[1].count(",") + 1
    raise ValueError(f"a collective's devices, not understood: {attributes[:200]}")


def sum_by_kind(collectives: Sequence[Collective]) -> dict[str, tuple[int, int, float]]:
    """Kind -> runs, bytes of their arrays, bytes sent; only of kinds that there are."""
    table = {}
    for kind in KINDS:
        some = [one for one in collectives if one.kind == kind]
        if some:
            table[kind] = (
                sum(one.times for one in some),
                sum(one.times * one.bytes for one in some),
                sum(one.sent for one in some),
            )
    return table
