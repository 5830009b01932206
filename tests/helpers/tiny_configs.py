"""A run small enough for tests: a corpus of 12 clips, a network of one narrow layer."""

import os
import subprocess
import sys

from helpers.paths import ROOT

NETWORK = (
    "--config.model.layers=1",
    "--config.model.heads=2",
    "--config.model.kv_heads=1",
    "--config.model.head_dim=16",
    "--config.model.projected_widths.clip=16",
    "--config.model.projected_widths.speaker=16",
    "--config.model.projected_widths.lips=16",
    "--config.model.projected_widths.sync=16",
    "--config.codec.channels=16",
    "--config.codec.iterations=4",
)
FLAGS = (
    "--config=configs/grid.py",
    "--config.data.corpus_clips=12",
    "--config.data.batch_size=2",
    *NETWORK,
    "--config.optim.warmup_steps=2",
    "--config.train.log_every=1",
    "--config.train.checkpoint_every=2",
    "--config.train.sample_every=0",
    "--config.train.evaluate=False",
    "--config.sample.steps=2",
)


def simulate_devices(count: int) -> dict[str, str]:
    """Environment of a process with `count` simulated devices, compiled as in `conftest`."""
    flag = f"--xla_force_host_platform_device_count={count}"
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flag}"}


def start(module, *flags, **options) -> subprocess.Popen:
    """Starts `python -m vssflow_jax.MODULE` in the repository."""
    return subprocess.Popen(
        [sys.executable, "-m", f"vssflow_jax.{module}", *map(str, flags)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        **options,
    )


def run(module, *flags, timeout=1800) -> subprocess.CompletedProcess:
    """Runs a command to its end, within `timeout` seconds."""
    process = start(module, *flags)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(workdir, *flags) -> subprocess.CompletedProcess:
    """Trains the tiny model in `workdir`."""
    return run("train", *FLAGS, f"--workdir={workdir}", *flags)
