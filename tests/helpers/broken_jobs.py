"""Work for test_pool: items that count, hang, crash, leave or raise."""

import os
import pathlib
import signal
import time

from vssflow_jax.common import process_pool
from vssflow_jax.common.errors import InputError

calls = []  # of `squares` in this process


def squares(numbers):
    """Each number squared; InputError if one is negative."""
    calls.append(numbers)
    time.sleep(0.02)
    if min(numbers) < 0:
        raise InputError("negative")
    return [number * number for number in numbers]


def tenths(numbers):
    """The numbers, after a tenth of a second for each."""
    time.sleep(0.1 * len(numbers))
    return numbers


def slowly(numbers):
    """The numbers, after longer than an item may take."""
    time.sleep(1.5)
    return numbers


def stay(folder):
    """Leaves the process's number in a folder, and does not end."""
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(1000)


def parts(item):
    """Parts 0, 1, … as the item says; it goes wrong behind those, or in their midst."""
    kind, what = item
    if kind == "pid":
        stay(what)
    if kind == "raise":
        raise KeyError(what)
    if kind == "both":
        time.sleep(what)
        yield process_pool.together(tenths, what)
        return
    if kind == "slow":
        yield process_pool.together(slowly, what)
        return
    if kind == "square":
        try:
            yield process_pool.together(squares, what)
        except InputError:
            yield "refused"
        return
    if kind == "once":
        mark = pathlib.Path(what)
        yield from (0, 1)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield 2
        return
    yield from range(what)
    if kind == "hang":
        time.sleep(1000)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "leave":
        os._exit(3)
