"""A trace of some training steps, by JAX's profiler."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
from tqdm import tqdm

from vssflow_jax.common.files import UploadedFolder

FOLDER = "profile"
WARM_UP = 3  # steps of a start before the first that is traced


@contextlib.contextmanager
def profile_steps(workdir: Path, start: int, count: int) -> Iterator[Callable[[int, object], None]]:
    """While steps are taken: yields a function to call before each step.

    It takes the number of steps taken so far and an array of the last one, which is waited for
    where the trace starts and ends. The trace goes into WORKDIR/profile; each process writes its
    own.

    Args:
      workdir: the run's folder.
      start: the step that the run starts from.
      count: steps to trace; 0: none.
    """
    first, tracing = start + WARM_UP, False
    folder = UploadedFolder(workdir / FOLDER)

    def stop() -> None:
        nonlocal tracing
        jax.profiler.stop_trace()
        folder.upload()
        tracing = False

    def before_step(step: int, last) -> None:
        nonlocal tracing
        if count and step == first:
            jax.block_until_ready(last)
            jax.profiler.start_trace(str(folder.path))
            tracing = True
        elif tracing and step == first + count:
            jax.block_until_ready(last)
            stop()
            tqdm.write(f"profile of steps {first + 1} to {step}: {workdir / FOLDER}")

    try:
        yield before_step
    finally:
        if tracing:
            stop()
