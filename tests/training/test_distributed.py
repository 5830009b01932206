"""Several processes on this machine as one run: flags, equal numbers, deaths and restarts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from helpers import loopback, tiny_configs

from vssflow_jax.common.errors import InputError
from vssflow_jax.data import shards
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import distributed

STEPS = 40


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "t-0,t-1"}, True),
        ({"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}, False),  # in sbatch, outside of srun
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_PROCID": "0", "SLURM_STEP_NODELIST": "a", "SLURM_STEP_NUM_TASKS": "4"}, True),
    ],
)
def test_environment_of_several_processes(environment, expected):
    assert distributed.has_several_processes(environment) is expected


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((None, 2, None), "--num_processes=2, expected --coordinator_address"),
        (("auto", None, 1), "--process_id=1, expected --coordinator_address"),
        (("a:1", 2, None), "num_processes 2 and process_id None"),
        (("a:1", 2, 2), "process_id 2"),
        (("a", 2, 1), "found 'a', expected HOST:PORT"),
        (("auto", None, None), "cannot join"),
    ],
)
def test_flags_that_do_not_go_together(flags, said):
    with pytest.raises(InputError, match=said):
        distributed.connect(*flags, 5)


def test_alone_without_flags():
    distributed.connect(None, None, None, 5)
    assert jax.process_count() == 1
    with distributed.crash_guard(), distributed.main_process_first("x"):
        distributed.shutdown()
    tree = {"a": np.ones(2)}
    assert distributed.gather_to_host(tree) is tree


def test_a_process_torn_down_from_within_says_so():
    """As JAX does where others are lost: abort, without a word from Python."""
    code = """
import os, jax
from vssflow_jax.training import distributed
jax.process_count = lambda: 2
with distributed.crash_guard():
    if {}: os.abort()
"""
    for torn in (True, False):
        command = [sys.executable, "-c", code.format(torn)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
        assert (done.returncode != 0) == torn
        assert (distributed.LOST_PROCESS in done.stderr) == torn


def start(workdir, devices, *flags):
    """Starts the training command for STEPS steps."""
    steps = f"--config.train.steps={STEPS}"
    return loopback.start(workdir, devices, workdir, steps, *flags)


def pair(workdir, *flags):
    """Starts two processes of four devices each as one run of STEPS steps."""
    return loopback.start_pair(workdir, workdir, f"--config.train.steps={STEPS}", *flags)


def folder(tiny_run, path):
    """A run's folder in which shards and codec exist already."""
    path.mkdir()
    for name in ("shards", "codec"):
        shutil.copytree(tiny_run / name, path / name)
    return path


def until_checkpoint(workdir, step, processes):
    """Waits for a checkpoint of this step or a later one."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        names = [path.name for path in workdir.glob("checkpoints/*")]
        if any(int(name) >= step for name in names if name.isdecimal()):
            return
        for process in processes:
            assert process.poll() is None, loopback.read_log(process)
        time.sleep(0.02)
    raise AssertionError("no checkpoint")


def losses(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines}


def sound(workdir):
    """Waves of two test clips, generated on one device from the run's newest checkpoint."""
    split = shards.open_split(workdir / "shards", "test")
    return Generator.from_workdir(workdir).generate_batch([split[0], split[1]])


@pytest.mark.slow
@pytest.mark.multihost
def test_two_processes_that_die_are_stopped_and_go_on_elsewhere_make_one_devices_run(
    tiny_run, tmp_path
):
    """2 x 4 devices, SIGKILL of one; again, SIGTERM of one; the rest on 8 devices, then on 1."""
    alone = folder(tiny_run, tmp_path / "alone")
    process = start(alone, 1)
    assert process.wait(timeout=600) == 0, loopback.read_log(process)

    shared = folder(tiny_run, tmp_path / "shared")
    mesh = ("--config.mesh.data=4", "--config.mesh.fsdp=2")
    first, second = pair(shared, *mesh)
    until_checkpoint(shared, 4, (first, second))
    second.send_signal(signal.SIGKILL)
    since = time.monotonic()
    assert first.wait(timeout=loopback.PATIENCE) not in (0, 2, 75)
    assert time.monotonic() - since < 60
    assert loopback.read_log(first).splitlines()[-1] == distributed.LOST_PROCESS

    first, second = pair(shared, *mesh)
    until_checkpoint(shared, 12, (first, second))
    second.send_signal(signal.SIGTERM)
    assert [p.wait(timeout=loopback.PATIENCE) for p in (first, second)] == [75, 75], (
        loopback.read_log(first) + loopback.read_log(second)
    )
    assert "resuming from step" in loopback.read_log(first)
    assert "resuming from step" not in loopback.read_log(second)  # written once

    third = start(shared, 8, "--config.mesh.data=1", "--config.mesh.fsdp=8")
    until_checkpoint(shared, 30, (third,))
    third.send_signal(signal.SIGTERM)
    assert third.wait(timeout=loopback.PATIENCE) == 75, loopback.read_log(third)
    wave = sound(shared)  # one device restores what eight have saved
    assert np.isfinite(wave).all() and np.abs(wave).max() > 0
    fourth = start(shared, 1)
    assert fourth.wait(timeout=600) == 0, loopback.read_log(fourth)

    resumed, expected = losses(shared), losses(alone)
    assert list(resumed) == list(expected) == list(range(1, STEPS + 1))
    for step in range(1, 11):
        assert resumed[step] == pytest.approx(expected[step], rel=1e-5)
    for step in range(11, STEPS + 1):
        assert resumed[step] == pytest.approx(expected[step], rel=1e-3)
    for ours, theirs in zip(sound(shared), sound(alone), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * np.abs(theirs).max())


@pytest.mark.slow
def test_samples_do_not_depend_on_the_mesh(tiny_run):
    """The Generator with weights on 1 device and split over 8: the same latents.

    Waves are compared no closer than Griffin-Lim, which looks for phases, leaves them.
    """
    code = f"""
import jax, json, numpy as np
from vssflow_jax.data import shards
from vssflow_jax.generation.generator import Generator
from vssflow_jax.training import sharding
split = shards.open_split("{tiny_run}/shards", "test")
generator = Generator.from_workdir("{tiny_run}")
params, latents = generator.params, []
solve = generator.synthesizer._solve_job

def record(*arguments):
    latents.append(solve(*arguments))
    return latents[-1]

generator.synthesizer._solve_job = record
alone = np.stack(generator.generate_batch([split[0], split[1]]))
assert np.isfinite(alone).all() and np.abs(alone).max() > 0
for sizes in ((8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2)):
    mesh = sharding.make_mesh(dict(zip(sharding.AXES, sizes)))
    generator.params = jax.device_put(params, sharding.make_shardings(params, mesh))
    waves = np.stack(generator.generate_batch([split[0], split[1]]))
    far = np.abs(np.subtract(latents[-1], latents[0])).max() / np.abs(latents[0]).max()
    print(float(far), float(np.abs(waves - alone).max()))
"""
    flags = tiny_configs.simulate_devices(8)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, **flags},
    )
    assert done.returncode == 0, done.stderr
    errors = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert len(errors) == 4
    for latent, wave in errors:
        assert latent < 1e-5 and wave < 1e-2


INTERLEAVED = """
import sys, jax, numpy as np
from vssflow_jax.data import pipeline
from vssflow_jax.training import distributed, sharding
address, process = sys.argv[1:]
distributed.connect(address, 2, int(process), 20)
devices = sorted(jax.devices(), key=lambda device: (device.id % 4, device.process_index))
mesh = jax.sharding.Mesh(np.array(devices).reshape(4, 2, 1), sharding.AXES)
rows = sharding.local_rows(16, mesh)
assert len(rows) == 8 and rows != list(range(rows[0], rows[0] + 8)), rows
records = pipeline.BatchRows(range(32), 16, rows)
for batch in range(2):
    mine = np.array([records[batch * 8 + row] for row in range(8)])
    placed = sharding.place_batch({"x": mine}, mesh, 16)["x"]
    everything = distributed.gather_to_host(placed)
    np.testing.assert_array_equal(everything, np.arange(16 * batch, 16 * batch + 16))
print("rows", rows)
distributed.shutdown()
"""


def run_both(code):
    """Runs code in two processes of four devices each; what each prints."""
    address = f"127.0.0.1:{loopback.free_port()}"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, address, str(process)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **tiny_configs.simulate_devices(4)},
        )
        for process in range(2)
    ]
    printed = [process.communicate(timeout=loopback.PATIENCE)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    return printed


@pytest.mark.slow
@pytest.mark.multihost
def test_rows_reach_their_devices_where_two_processes_alternate_on_the_mesh():
    rows = run_both(INTERLEAVED)
    assert rows[0] != rows[1]


LATE = """
import sys, time
from vssflow_jax.training import distributed
address, process = sys.argv[1:]
distributed.connect(address, 2, int(process), 5)
with distributed.crash_guard():
    for name in ("shards", "codec", "codec"):
        with distributed.main_process_first(name):
            if distributed.is_main_process() and name == "shards":
                time.sleep(35)
            print(name)
    distributed.shutdown()
"""


@pytest.mark.slow
@pytest.mark.multihost
def test_a_process_waits_for_longer_than_a_collective_operation_would():
    """JAX gives up connecting devices of CPUs after 30 seconds, and heartbeats here after 5."""
    assert run_both(LATE) == ["shards\ncodec\ncodec\n"] * 2


@pytest.mark.slow
@pytest.mark.multihost
def test_a_mistake_ends_both_processes_with_its_line(tiny_run, tmp_path):
    shared = folder(tiny_run, tmp_path / "shared")
    both = pair(shared, "--config.mesh.tensor=4")
    assert [process.wait(timeout=loopback.PATIENCE) for process in both] == [2, 2]
    for process in both:
        assert loopback.read_log(process).splitlines()[-1].startswith("error: mesh.tensor: found 4")
