"""Work for tests of the process pool: items that count, hang, crash, exit or raise."""

import os
import pathlib
import signal
import time

from vssflow_jax.common import crash_safe_pool
from vssflow_jax.common.errors import InputError

calls = []  # of `square_numbers` in this process


def square_numbers(numbers):
    """Each number squared; InputError if one is negative."""
    calls.append(numbers)
    time.sleep(0.02)
    if min(numbers) < 0:
        raise InputError("negative")
    return [number * number for number in numbers]


def wait_tenths(numbers):
    """The numbers, after a tenth of a second for each."""
    time.sleep(0.1 * len(numbers))
    return numbers


def respond_late(numbers):
    """The numbers, after longer than an item may take."""
    time.sleep(1.5)
    return numbers


def hang(folder):
    """Leaves a file named after the process's id in a folder, and never ends."""
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(1000)


def run_item(item):
    """Yields parts 0, 1, … as (kind, argument) says; the failures come after or between them."""
    kind, argument = item
    if kind == "pid":
        hang(argument)
    if kind == "raise":
        raise KeyError(argument)
    if kind == "both":
        time.sleep(argument)
        yield crash_safe_pool.run_in_main_process(wait_tenths, argument)
        return
    if kind == "slow":
        yield crash_safe_pool.run_in_main_process(respond_late, argument)
        return
    if kind == "square":
        try:
            yield crash_safe_pool.run_in_main_process(square_numbers, argument)
        except InputError:
            yield "refused"
        return
    if kind == "once":
        mark = pathlib.Path(argument)
        yield from (0, 1)
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield 2
        return
    yield from range(argument)
    if kind == "hang":
        time.sleep(1000)
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if kind == "leave":
        os._exit(3)
