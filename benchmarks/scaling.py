"""Times the training step over device counts: `python -m benchmarks.scaling --devices=1,2,4`.

On a CPU the devices are simulated and share its cores: the batch stays the same, so the time shows
the cost of splitting and the memory its gain. On accelerators it takes the first devices, and the
batch is per device. The table has the memory of one device; on a CPU, what the compiled step needs.
"""

from __future__ import annotations

import functools
import os

from absl import flags

from benchmarks import measuring, networks


def measure_step(count: int) -> dict:
    """The step on a mesh of `count` devices."""
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"
    )
    import jax

    from vssflow_jax.training import sharding

    config = networks.read_config()
    devices = jax.devices()[:count]
    mesh = sharding.make_mesh({**dict.fromkeys(sharding.AXES, 1), flags.FLAGS.axis: count}, devices)
    batch_size = flags.FLAGS.batch * (1 if devices[0].platform == "cpu" else count)
    run_once, memory = networks.compile_train_step(config, mesh, batch_size)
    seconds = measuring.time_calls(run_once)
    return {"seconds": seconds, "type": "float32", "peak_device_GB": memory / 1e9}


def name_row(count: str) -> str:
    """The name of a row."""
    return f"devices: {count}"


def make_rows() -> measuring.Rows:
    """The rows of the table."""
    return {name_row(n): functools.partial(measure_step, int(n)) for n in flags.FLAGS.devices}


def define_flags() -> None:
    """The flags of the command."""
    networks.define_flags()
    flags.DEFINE_list("devices", ["1", "2", "4"], "Numbers of devices.")
    flags.DEFINE_enum("axis", "fsdp", ["data", "fsdp", "tensor"], "Axis of the mesh.")
    flags.DEFINE_integer("batch", 4, "Clips a step on simulated devices; else a device.")


if __name__ == "__main__":
    measuring.main(make_rows, define_flags, reference=name_row("1"))
