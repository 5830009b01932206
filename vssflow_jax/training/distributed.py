"""Several processes as one run: how they connect, wait for each other, and end together.

Processes share the run's folder. The main one (process 0) writes everything but the checkpoints,
of which each process writes its own part.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping

import jax
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line
from vssflow_jax.training import preemption

AUTO = "auto"
MAX_WAIT_HOURS = 24  # for the other processes at a barrier
LOST_PROCESS = (
    "error: a process of this run died or cannot be reached, so all of them end; run the same "
    "command to resume from the newest checkpoint"
)

# Words in the error of a collective operation that lost a process.
LOST_PROCESS_WORDS = ("Gloo", "UNAVAILABLE", "DEADLINE_EXCEEDED", "closed by peer")


def has_several_processes(environment: Mapping[str, str]) -> bool:
    """Whether the environment is that of several processes: srun's, or a TPU slice's hosts."""
    slurm = {"SLURM_PROCID", "SLURM_STEP_NODELIST"} <= environment.keys()
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1)) if slurm else 1
    slice_hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return tasks > 1 or len(slice_hosts) > 1


def connect(
    address: str | None, num_processes: int | None, process_id: int | None, heartbeat: int
) -> None:
    """Connects this process to the others; does nothing if there are none.

    Args:
      address: HOST:PORT of process 0; "auto": JAX asks the cluster (Cloud TPU, GKE, Slurm); None:
        as "auto" if the environment shows several processes, else this one is alone.
      num_processes: how many there are; None: the cluster says.
      process_id: which of them this is; None: the cluster says.
      heartbeat: seconds without a sign of life after which a process counts as dead.

    Raises:
      InputError: flags that contradict each other, or process 0 does not answer.
    """
    flags = {"--num_processes": num_processes, "--process_id": process_id}
    if address in (None, AUTO):
        extra = [f"{name}={value}" for name, value in flags.items() if value is not None]
        if extra:
            raise InputError(f"found {' '.join(extra)}, expected --coordinator_address=HOST:PORT")
        if address is None and not has_several_processes(os.environ):
            return
        address = None
    elif None in flags.values() or not 0 <= process_id < num_processes:
        raise InputError(
            f"--coordinator_address={address}: found num_processes {num_processes} and process_id "
            f"{process_id}, expected both, the second from 0 to one less than the first"
        )
    elif not address.rpartition(":")[2].isdecimal():
        raise InputError(f"--coordinator_address: found {address!r}, expected HOST:PORT or auto")
    try:
        jax.distributed.initialize(
            address,
            num_processes,
            process_id,
            heartbeat_timeout_seconds=heartbeat,
            shutdown_timeout_seconds=heartbeat,
        )
    except (ValueError, RuntimeError) as error:
        where = f"--coordinator_address={address or AUTO}"
        raise InputError(f"{where}: cannot join: {error}") from None


@contextlib.contextmanager
def crash_guard() -> Iterator[None]:
    """A block in which every way to end this process, one of several, leaves a line on stderr.

    JAX aborts a process that has lost the others, without a word from Python. So a small shell
    waits on a pipe from this process and writes the line if the pipe closes without a farewell.
    """
    if jax.process_count() == 1:
        yield
        return
    command = ["sh", "-c", 'trap "" TERM INT; read -r word || echo "$0" >&2', LOST_PROCESS]
    witness = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    try:
        yield
    except Exception as error:
        status = _report_error(error)
        witness.communicate("farewell\n")
        preemption.exit_at_once(status)  # the usual way out waits for the others, who wait for us
    except SystemExit as end:
        witness.communicate("farewell\n")
        jax.distributed.shutdown()
        preemption.exit_at_once(end.code)  # the usual way out waits for the hook's thread
    finally:
        if witness.poll() is None:
            witness.communicate("farewell\n")


def _report_error(error: Exception) -> int:
    """Writes to stderr what ends this process; returns its exit status."""

    def again():
        raise error

    if isinstance(error, jax.errors.JaxRuntimeError) and any(
        word in str(error) for word in LOST_PROCESS_WORDS
    ):
        print(LOST_PROCESS, file=sys.stderr)
        return 1
    try:
        return command_line.run_guarded(again, ())
    except Exception:
        traceback.print_exc()
        return 1


def is_main_process() -> bool:
    """Whether this process does what only one of them does, such as writing the log."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until all processes are here.

    At a barrier of the coordination service: one of the devices would end a process of CPUs after
    30 seconds.
    """
    if jax.process_count() > 1:
        multihost.get_barrier_sync_fn()(key=name, timeout_ms=MAX_WAIT_HOURS * 3600 * 1000)


@contextlib.contextmanager
def main_process_first(name: str) -> Iterator[None]:
    """A block that the main process runs before the others do."""
    if not is_main_process():
        barrier(name)
    yield
    if is_main_process():
        barrier(name)


def gather_to_host(tree):
    """The arrays of a tree that are spread over several hosts, on each host; a collective call."""
    return multihost_utils.process_allgather(tree, tiled=True) if jax.process_count() > 1 else tree


def shutdown() -> None:
    """Waits for all processes and disconnects; each may then go on by itself."""
    if jax.process_count() > 1:
        barrier("shutdown")
        jax.distributed.shutdown()
