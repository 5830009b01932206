"""SIGTERM, which announces preemption, and Ctrl-C: a run saves and exits with status 75.

Launchers take 75 (EX_TEMPFAIL of sysexits.h) for "start me again".
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

STATUS = os.EX_TEMPFAIL
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_for_restart(number: int, saved: str) -> None:
    """Ends the process by SystemExit, with a line about the signal and what is saved."""
    _print_exit(number, saved)
    raise SystemExit(STATUS)


def exit_on_signals() -> None:
    """From now on both signals end the process at once, and its workers with it."""

    def leave(number, _):
        _print_exit(number, "nothing to save")
        exit_at_once(STATUS)  # an exception might come up where none is let through

    for number in SIGNALS:
        signal.signal(number, leave)


def exit_at_once(status: int) -> NoReturn:
    """Ends the process and its workers, without waiting for threads or other processes."""
    for worker in multiprocessing.active_children():
        worker.terminate()
    sys.stdout.flush()
    os._exit(status)


def _print_exit(number: int, saved: str) -> None:
    name = signal.Signals(number).name
    print(f"{name}: {saved}; run the same command to resume", file=sys.stderr, flush=True)


@contextlib.contextmanager
def watch_signals() -> Iterator[Callable[[int], int]]:
    """While steps are taken: yields a function of the step, the signal to stop for, or 0.

    A second Ctrl-C does not wait. Among several processes, JAX makes one's SIGTERM, which a Ctrl-C
    becomes, known to all and agrees on the step.
    """
    is_shared, received = jax.process_count() > 1, []

    def receive(number, _):
        received.append(number)
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if is_shared:
                signal.raise_signal(signal.SIGTERM)

    def find_signal(step: int) -> int:
        if is_shared and not multihost_utils.reached_preemption_sync_point(step):
            return 0
        return next(iter(received), signal.SIGTERM if is_shared else 0)

    watched = (signal.SIGINT,) if is_shared else SIGNALS  # JAX's own handler of SIGTERM stays
    before = {number: signal.signal(number, receive) for number in watched}
    try:
        yield find_signal
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
