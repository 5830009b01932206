"""What a run needs, for the lines that it prints before its first step."""

from __future__ import annotations

import dataclasses
import math
import os

import jax
from flax.traverse_util import flatten_dict

from vssflow_jax.training.chips import GIB

MIB = 2**20


def parameter_table(params) -> str:
    """Numbers and bytes of parameters by module, as text.

    Args:
      params: nested by module; arrays or shapes, with shardings.
    """
    totals: dict[str, tuple[int, int]] = {}
    for path, leaf in flatten_dict(params).items():
        name = "/".join(path[:-1][:2]) or path[0]
        numbers, device_bytes = totals.get(name, (0, 0))
        totals[name] = (numbers + leaf.size, device_bytes + local_bytes(leaf))
    totals["all"] = tuple(sum(column) for column in zip((0, 0), *totals.values(), strict=True))
    width = max(map(len, totals))
    lines = [f"{'module':{width}}{'parameters':>15}{'MiB a device':>15}"]
    for name, (numbers, device_bytes) in totals.items():
        lines.append(f"{name:{width}}{numbers:>15,}{device_bytes / MIB:>15.1f}")
    return "\n".join(lines)


def local_bytes(tree) -> int:
    """Bytes of arrays, or of shapes with shardings, on one device."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def device_memory(device: jax.Device) -> int:
    """Bytes that a device may use; of a CPU, its share of the machine's memory."""
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is not None:
        return limit
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return machine // jax.local_device_count()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Memory of a training step on one device, in bytes.

    Attributes:
      needed: of all arrays, temporary ones included.
      fixed: the part of them that does not grow with the batch: state, gradient, codec.
      limit: that the device may use.
    """

    needed: int
    fixed: int
    limit: int

    @classmethod
    def from_compiled(cls, compiled, state, codec, device: jax.Device) -> StepMemory:
        """The memory of a compiled step that takes this state and codec."""
        stats = compiled.memory_analysis()
        needed = (
            stats.argument_size_in_bytes
            + stats.output_size_in_bytes
            - stats.alias_size_in_bytes
            + stats.temp_size_in_bytes
        )
        fixed = local_bytes((state, state.params, codec))
        return cls(needed=needed, fixed=fixed, limit=device_memory(device))

    def largest_batch(self, batch_size: int, multiple: int) -> int:
        """Examples a step that would fit, by a straight line from `fixed` through `needed`.

        Args:
          batch_size: that needs `needed`.
          multiple: batches are multiples of it.
        """
        slope = max(self.needed - self.fixed, 1) / batch_size
        return max(int((self.limit - self.fixed) / slope), 0) // multiple * multiple

    def describe(self, batch_size: int, multiple: int) -> str:
        """A line about it; arguments as those of `largest_batch`."""
        return (
            f"memory of a step on a device: {self.needed / GIB:.2f} of {self.limit / GIB:.2f} GiB, "
            f"{self.fixed / GIB:.2f} of them for state, gradient and codec; the largest batch that "
            f"would fit: about {self.largest_batch(batch_size, multiple)} clips"
        )
