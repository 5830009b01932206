"""TPUs that are not there: the compiler's descriptions of them, and its silence."""

from __future__ import annotations

import importlib.util
import os

import jax
from jax.experimental import topologies

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.stderr import capture_stderr
from vssflow_jax.training import chips

# For libtpu: ask nobody what TPU this machine has, and mind no other process that uses it.
ENVIRONMENT = {"TPU_SKIP_MDS_QUERY": "1", "ALLOW_MULTIPLE_LIBTPU_LOAD": "1"}

# Of the descriptions: the two cores of a v4 chip are one device, as JAX has them there.
OPTIONS = {"v4": {"chip_config_name": "megacore"}}


def require_compiler() -> None:
    """Raises an `InputError` if libtpu, which holds the compiler for TPUs, is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            "--topology: found no libtpu, expected it, for it holds the compiler for TPUs: "
            'pip install "vssflow_jax[tpu]"'
        )


def describe_devices(topology: str) -> tuple[list, chips.Chip]:
    """The devices of a topology, and what each has of its chip.

    Raises:
      InputError: no such chip, or no such grid of it.
    """
    name, count = chips.parse_topology(topology)
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    try:
        with capture_stderr(jax.errors.JaxRuntimeError):
            tpu_devices = topologies.get_topology_desc(
                platform="tpu", topology_name=topology, **OPTIONS.get(name, {})
            ).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(f"--topology: found {topology!r}, which cannot be: {error}") from None
    return tpu_devices, chips.CHIPS[name].share(len(tpu_devices) // count)
