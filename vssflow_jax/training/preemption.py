"""SIGTERM, with which machines are taken back: a run saves its state and ends with status 75.

Launchers take 75 (EX_TEMPFAIL of sysexits.h) for "start me again".
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator

import jax
from jax.experimental import multihost_utils

STATUS = os.EX_TEMPFAIL


def end(saved: str) -> None:
    """Ends the process by SystemExit, with a line."""
    _say(saved)
    raise SystemExit(STATUS)


def end_at_once() -> None:
    """From now on SIGTERM ends the process where it stands, and its workers with it."""

    def leave(*_):
        _say("nothing to save")
        for worker in multiprocessing.active_children():
            worker.terminate()
        sys.stdout.flush()
        os._exit(STATUS)  # an exception might come up where none is let through

    signal.signal(signal.SIGTERM, leave)


def _say(saved: str) -> None:
    print(f"SIGTERM: {saved}; the same command goes on", file=sys.stderr, flush=True)


@contextlib.contextmanager
def watched() -> Iterator[Callable[[int], bool]]:
    """While steps are made: gives a function that tells whether to save and end after a step.

    Of several processes, JAX has one's SIGTERM known to all, and agrees on the step.
    """
    if jax.process_count() > 1:
        yield multihost_utils.reached_preemption_sync_point
        return
    asked = []
    before = signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    try:
        yield lambda step: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)
