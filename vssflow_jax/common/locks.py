"""Locks by name that processes share, also processes on several machines with one file system.

Not filelock: it locks with flock(2), which some network file systems keep to one machine, and
needs a file a lock.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import threading
import zlib

from vssflow_jax.common.files import is_remote

UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class Locks:
    """Locks by name, kept in one small file. A process that ends, however it ends, frees its own.

    Each name locks a byte of the file (POSIX record locks, which network file systems support).
    If a file system has no locks, as a bucket, every name is free: then two processes may do the
    same work, so writers must make sure that the second does no harm.
    """

    def __init__(self, path: str | os.PathLike):
        self._file: int | None = None
        if not is_remote(path):
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._held: set[str] = set()
        self._guard = threading.Lock()  # the system's locks do not tell threads of a process apart

    def take(self, name: str, wait: bool = False) -> bool:
        """Takes `name`; with `wait`, as soon as it is free. False if another process has it."""
        with self._guard:
            if name in self._held:
                return False
            self._held.add(name)
        taken = self._lock(fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), name)
        if not taken:
            self._held.discard(name)
        return taken

    def release(self, name: str) -> None:
        """Frees `name`."""
        self._lock(fcntl.LOCK_UN, name)
        self._held.discard(name)

    def _lock(self, kind: int, name: str) -> bool:
        if self._file is None:
            return True
        try:
            fcntl.lockf(self._file, kind, 1, zlib.crc32(name.encode()))
        except (BlockingIOError, PermissionError):
            return False
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        return True

    def close(self) -> None:
        """Frees all names."""
        if self._file is not None:
            os.close(self._file)

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *_) -> None:
        self.close()
