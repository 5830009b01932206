"""Several processes as one run: how they find each other, what the first does, how all end.

Processes share the run's folder. The first one (process 0) writes all but checkpoints, which
each writes its own part of.
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

from vssflow_jax.common.errors import InputError
from vssflow_jax.config import command_line

AUTO = "auto"
LOST_PROCESS = (
    "error: a process of this run died or cannot be reached, so all of them end; the same "
    "command goes on from the newest checkpoint"
)

# Words in the error of a collective operation that lost a process.
LOST_PROCESS_WORDS = ("Gloo", "UNAVAILABLE", "closed by peer")


def has_several_processes(environment: Mapping[str, str]) -> bool:
    """Whether the environment is one of several processes: srun's, or a TPU slice's hosts."""
    slurm = {"SLURM_PROCID", "SLURM_STEP_NODELIST"} <= environment.keys()
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1)) if slurm else 1
    slice_hosts = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    return tasks > 1 or len(slice_hosts) > 1


def connect(address: str | None, processes: int | None, process: int | None, seconds: int) -> None:
    """Joins this process to the others; does nothing where there are none.

    Args:
      address: HOST:PORT of process 0; "auto": JAX asks the cluster (Cloud TPU, GKE, Slurm); None:
        as "auto" where the environment shows several processes, else this one is alone.
      processes: how many there are; None: the cluster says.
      process: which of them this is; None: the cluster says.
      seconds: without a sign of life after which a process counts as dead.

    Raises:
      InputError: flags that do not go together, or nobody there.
    """
    flags = {"--num_processes": processes, "--process_id": process}
    if address in (None, AUTO):
        given = [f"{name}={value}" for name, value in flags.items() if value is not None]
        if given:
            raise InputError(f"found {' '.join(given)}, expected --coordinator_address=HOST:PORT")
        if address is None and not has_several_processes(os.environ):
            return
        address = None
    elif None in flags.values() or not 0 <= process < processes:
        raise InputError(
            f"--coordinator_address={address}: found num_processes {processes} and process_id "
            f"{process}, expected both, the second from 0 to one less than the first"
        )
    elif not address.rpartition(":")[2].isdecimal():
        raise InputError(f"--coordinator_address: found {address!r}, expected HOST:PORT or auto")
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            heartbeat_timeout_seconds=seconds,
            shutdown_timeout_seconds=seconds,
        )
    except (ValueError, RuntimeError) as error:
        found = address or AUTO
        raise InputError(f"--coordinator_address={found}: cannot join: {error}") from None


@contextlib.contextmanager
def crash_guard() -> Iterator[None]:
    """While several processes work as one: a last line on stderr if this one is torn down.

    JAX ends a process whose others are lost from within, without a word from Python; a small
    shell notices that its input was closed without a farewell.
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
        sys.stdout.flush()
        os._exit(status)  # the usual way out waits for the others, who wait for this one
    finally:
        if witness.poll() is None:
            witness.communicate("farewell\n")


def _report_error(error: Exception) -> int:
    """Says on stderr what ends this process; its status."""

    def again():
        raise error

    if isinstance(error, jax.errors.JaxRuntimeError) and any(
        word in str(error) for word in LOST_PROCESS_WORDS
    ):
        print(LOST_PROCESS, file=sys.stderr)
        return 1
    try:
        return command_line.guarded(again, ())
    except Exception:
        traceback.print_exc()
        return 1


def is_main_process() -> bool:
    """Whether this process writes what is written once."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Waits until all processes are here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def main_process_first(name: str) -> Iterator[None]:
    """A block that process 0 does before the others do."""
    if not is_main_process():
        barrier(name)
    yield
    if is_main_process():
        barrier(name)


def gather_to_host(tree):
    """Arrays that lie on several hosts, on each of them; collective. Others stay as they are."""
    return multihost_utils.process_allgather(tree, tiled=True) if jax.process_count() > 1 else tree


def shutdown() -> None:
    """Ends the common work, when all have come here; each process goes on by itself."""
    if jax.process_count() > 1:
        barrier("part")
        jax.distributed.shutdown()
