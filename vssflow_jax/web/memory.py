"""The server's memory, of which the C library keeps arenas: regions for the threads that ask."""

import ctypes
import sys

M_ARENA_MAX = -8  # of glibc's malloc.h
ARENAS = 2


def limit_arenas() -> bool:
    """Lets all threads share ARENAS arenas, from now on; whether the C library has such a limit.

    By default glibc makes up to eight for each core, and the threads of a server leave much that
    is free in each. The environment variable MALLOC_ARENA_MAX does the same for a whole process.
    """
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None)
    return hasattr(library, "mallopt") and library.mallopt(M_ARENA_MAX, ARENAS) == 1
