"""Times the training step over device counts: `python -m benchmarks.scaling --devices=1,2,4`.

On a CPU the devices are simulated and share its cores: the clips a step stay the same, so that
the time says what splitting costs, and the memory what it saves. On accelerators it takes the
first devices that there are, as many clips a device. The memory in the table is a device's; on a
CPU, what the compiled step needs.
"""

from __future__ import annotations

import functools
import os

from absl import flags

from benchmarks import measuring, networks

DEVICES = flags.DEFINE_list("devices", ["1", "2", "4"], "Numbers of devices.")
AXIS = flags.DEFINE_enum("axis", "fsdp", ["data", "fsdp", "tensor"], "The mesh's axis.")
CLIPS = flags.DEFINE_integer("batch", 4, "Clips a step on simulated devices; else a device.")


def turn(count: int) -> dict:
    """The step on a mesh of `count` devices."""
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    )
    import jax

    from vssflow_jax.training import sharding

    config = networks.config()
    devices = jax.devices()[:count]
    mesh = sharding.make_mesh({**dict.fromkeys(sharding.AXES, 1), AXIS.value: count}, devices)
    clips = CLIPS.value * (1 if devices[0].platform == "cpu" else count)
    once, held = networks.training(config, mesh, clips)
    seconds = measuring.clock(once)
    return {"seconds": seconds, "type": "float32", "peak_device_GB": held / 1e9}


def name(count: str) -> str:
    """A row's."""
    return f"devices: {count}"


def rows() -> measuring.Rows:
    """What is measured."""
    return {name(n): functools.partial(turn, int(n)) for n in DEVICES.value}


if __name__ == "__main__":
    measuring.main(rows, reference=name("1"))
