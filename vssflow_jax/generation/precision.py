"""The number format in which sampling computes: the fastest that the processor has, if asked.

`auto` looks at what the processor says that it multiplies and times nothing, so that a machine
always computes in the same format.
"""

from __future__ import annotations

from pathlib import Path

import jax

from vssflow_jax.common.errors import InputError
from vssflow_jax.config.fields import FIELDS
from vssflow_jax.models.attention import AMPERE

COMPUTE, AUTO = "compute", "auto"
CPU_FACTS = Path("/proc/cpuinfo")
# Names of the instructions that multiply bfloat16: x86 (vectors; tiles) and ARM.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def resolve_precision(precision, wanted: str | None = None) -> str:
    """The number format of sampling on this machine: "float32" or "bfloat16".

    Args:
      precision: the config's group.
      wanted: a value of `precision.sampling` in place of the config's.

    Raises:
      InputError: an unknown value.
    """
    value = precision.sampling if wanted is None else wanted
    (allowed,) = (field.allowed for field in FIELDS if field.name == "precision.sampling")
    if not allowed.holds(value):
        raise InputError(f"--precision: found {value!r}, expected {allowed.expected}")
    if value == AUTO:
        return "bfloat16" if multiplies_bfloat16(jax.devices()[0]) else "float32"
    return precision.compute if value == COMPUTE else value


def multiplies_bfloat16(device) -> bool:
    """Whether a device multiplies bfloat16 natively: TPUs, GPUs from Ampere on, some CPUs."""
    if device.platform == "cpu":
        return bool(BFLOAT16_FLAGS & read_cpu_flags())
    if device.platform == "gpu" and "cuda" in device.client.platform_version:
        return tuple(int(part) for part in device.compute_capability.split(".")) >= AMPERE
    return device.platform == "tpu"


def read_cpu_flags(path: Path = CPU_FACTS) -> set[str]:
    """Names of the processor's instruction sets; none where the system does not say."""
    if not path.is_file():
        return set()
    lines = (line.partition(":") for line in path.read_text().splitlines())
    names = [value.split() for name, _, value in lines if name.strip() in ("flags", "Features")]
    return set(names[0]) if names else set()
