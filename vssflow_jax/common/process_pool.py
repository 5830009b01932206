"""Functions that run in many processes, and how such processes are started."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Job, Result = TypeVar("Job"), TypeVar("Result")
# One numerical thread a process: the processes are what fills the cores.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def count_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_unordered(
    function: Callable[[Job], Result], jobs: Iterable[Job], workers: int | None = None
) -> Iterator[Result]:
    """Results of function(job) as they come, from `workers` fresh processes (None: all cores).

    With one worker or none the work is done here. `function` must be importable by name from
    a module other than the main one. If a job raises, the jobs that have not begun are dropped
    and the exception is raised here.
    """
    jobs = list(jobs)
    workers = min(count_cores() if workers is None else workers, len(jobs))
    if workers <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    executor = concurrent.futures.ProcessPoolExecutor(
        workers, context, initializer=_exit_with_parent
    )
    try:
        with starting_workers():
            futures = [executor.submit(function, job) for job in jobs]
        for future in concurrent.futures.as_completed(futures):
            yield future.result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def starting_workers() -> Iterator[None]:
    """A block in which processes start as workers: light, single-threaded, deaf to Ctrl-C."""
    with _single_threaded(), _without_main_module(), _ignoring_interrupts():
        yield


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes that start in this block ignore Ctrl-C: the main one hears it and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set signal handlers
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _exit_with_parent() -> None:
    """From now on this process ends when the one that started it ends, in whatever way."""
    sentinel = multiprocessing.parent_process().sentinel

    def watch() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes that start in this block use one numerical thread each."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Processes that start in this block do not import the main module again.

    A spawned process runs the main module's imports first; from the training command that
    would load an accelerator runtime into each worker, seconds and hundreds of megabytes.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
