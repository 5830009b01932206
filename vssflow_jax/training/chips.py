"""Accelerators: what their makers say of them, and which one a topology or a device is.

Sources: the pages v4, v5e, v5p, v6e and tpu7x of https://docs.cloud.google.com/tpu/docs, read
2026-11-21. Interconnect figures there count both directions; here it is one, which is what a
chip can send. That of v4 is 6 links of 50 GB/s (Jouppi et al. 2023, arXiv 2304.01433, table 4).
Rates of GPUs are those of dense bfloat16 products in NVIDIA's data sheets.
"""

from __future__ import annotations

import dataclasses
import math
import re

from vssflow_jax.common.errors import InputError

TERA, GIGA, GIB = 1e12, 1e9, 2**30


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chip:
    """One TPU chip, or the share of it that is one device to JAX.

    Attributes:
      memory: HBM, bytes.
      flops: bfloat16 products and sums a second, at best.
      bandwidth: of the HBM, bytes a second.
      interconnect: bytes a second that all its links together send.
    """

    memory: float
    flops: float
    bandwidth: float
    interconnect: float

    def share(self, devices: int) -> Chip:
        """What one of `devices` on the chip has of it."""
        fields = dataclasses.asdict(self)
        return Chip(**{name: value / devices for name, value in fields.items()})


CHIPS = {
    "v4": Chip(memory=32 * GIB, flops=275 * TERA, bandwidth=1200 * GIGA, interconnect=300 * GIGA),
    "v5e": Chip(memory=16 * GIB, flops=197 * TERA, bandwidth=819 * GIGA, interconnect=200 * GIGA),
    "v5p": Chip(memory=95 * GIB, flops=459 * TERA, bandwidth=2765 * GIGA, interconnect=600 * GIGA),
    "v6e": Chip(memory=32 * GIB, flops=918 * TERA, bandwidth=1638 * GIGA, interconnect=400 * GIGA),
    "tpu7x": Chip(
        memory=192 * GIB, flops=2307 * TERA, bandwidth=7380 * GIGA, interconnect=600 * GIGA
    ),
}


# Words in the name that JAX gives to a device -> bfloat16 FLOPs a second of the device.
DEVICE_FLOPS = {
    "TPU v4": CHIPS["v4"].flops,
    "TPU v5 lite": CHIPS["v5e"].flops,
    "TPU v5e": CHIPS["v5e"].flops,
    "TPU v5": CHIPS["v5p"].flops,
    "TPU v6": CHIPS["v6e"].flops,
    "TPU7x": CHIPS["tpu7x"].share(2).flops,  # two devices on a chip
    "A100": 312 * TERA,
    "L40S": 362 * TERA,
    "L4": 121 * TERA,
    "H100 PCIe": 756 * TERA,
    "H100": 989 * TERA,
    "H200": 989 * TERA,
    "B200": 2250 * TERA,
}


def find_peak_flops(device_kind: str) -> float | None:
    """Bfloat16 FLOPs a second of a device at best; None: not in the table.

    Args:
      device_kind: JAX's name of it, such as "TPU v5 lite" or "NVIDIA H100 80GB HBM3".
    """
    return next((flops for name, flops in DEVICE_FLOPS.items() if name in device_kind), None)


def parse_topology(topology: str) -> tuple[str, int]:
    """The name and the number of a topology's chips: "v5e:2x4" -> ("v5e", 8).

    Raises:
      InputError: not of that form, or a chip that is not in the table.
    """
    match = re.fullmatch(r"(\w+):(\d+(?:x\d+){1,2})", topology)
    if not match or match[1] not in CHIPS:
        raise InputError(
            f"--topology: found {topology!r}, expected a chip of {', '.join(CHIPS)} and its grid, "
            "such as v5e:2x4 or v5p:2x2x2"
        )
    return match[1], math.prod(map(int, match[2].split("x")))
