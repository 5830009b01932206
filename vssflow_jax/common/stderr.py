"""Keeping what native libraries write to standard error off the screen."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def capture_stderr(*expected: type[Exception]) -> Iterator[None]:
    """Holds back what libraries write to stderr, and shows it only if the work inside fails.

    Covers writes past Python, to the file descriptor itself.

    Args:
      expected: exceptions that say enough by themselves; with them nothing is shown.
    """
    sys.stderr.flush()
    screen = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except expected:
            raise
        except BaseException:
            sys.stderr.flush()
            file.seek(0)
            os.write(screen, file.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(screen, 2)
            os.close(screen)
