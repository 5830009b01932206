"""The training command in several processes of this machine, with simulated devices each."""

import contextlib
import os
import socket
import subprocess
import sys
import time

from helpers import tiny_configs


def free_port():
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


PATIENCE = 3600  # seconds that tests wait for what a process does; shared machines may be slow
TRAIN = ("-m", "vssflow_jax.train")


def start(workdir, devices, logs, *flags, command=TRAIN):
    """Starts the training command with some simulated devices; its process, which logs into a file.

    Args:
      workdir: the run's folder.
      devices: how many.
      logs: a folder of this machine.
      *flags: further flags.
      command: arguments of Python that start it.
    """
    log = (logs / f"log{time.monotonic_ns()}.txt").open("w+")
    flags = ("--config.data.batch_size=8", f"--workdir={workdir}", *flags)
    process = subprocess.Popen(
        [sys.executable, *map(str, command), *tiny_configs.FLAGS, *flags],
        cwd=tiny_configs.ROOT,
        stdout=log,
        stderr=log,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            **tiny_configs.simulate_devices(devices),
        },
    )
    process.log = log
    return process


@contextlib.contextmanager
def running_pair(workdir, logs, *flags, command=TRAIN):
    """A block with the processes of `start_pair`, none of which outlives it."""
    pair = start_pair(workdir, logs, *flags, command=command)
    try:
        yield pair
    finally:
        for process in pair:
            process.kill()
            process.wait()


def start_pair(workdir, logs, *flags, command=TRAIN):
    """Starts two processes of four devices each as one run."""
    common = (f"--coordinator_address=127.0.0.1:{free_port()}", "--num_processes=2")
    common += ("--heartbeat_seconds=5", *flags)
    return [
        start(workdir, 4, logs, *common, f"--process_id={number}", command=command)
        for number in range(2)
    ]


def read_log(process):
    """What a process has written so far."""
    process.log.seek(0)
    return process.log.read()
