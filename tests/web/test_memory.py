"""The limit of the C library's arenas."""

import platform
import subprocess
import sys

import pytest

# Threads that allocate at once, then the arenas that the C library reports.
COUNT = """
import ctypes, sys, tempfile, threading
from vssflow_jax.web import memory
if sys.argv[1] == "limited":
    assert memory.limit_arenas()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(12)
def allocate():
    barrier.wait()
    for _ in range(1000):
        library.malloc(ctypes.c_size_t(4096))
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.fdopen.restype = ctypes.c_void_p
file = library.fdopen(1, b"w")
library.malloc_info(0, ctypes.c_void_p(file))
library.fflush(ctypes.c_void_p(file))
"""


def count_arenas(mode: str) -> int:
    """Arenas of a process in which twelve threads allocate."""
    command = [sys.executable, "-c", COUNT, mode]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_threads_share_the_arenas():
    assert count_arenas("unlimited") > 2
    assert count_arenas("limited") <= 2
