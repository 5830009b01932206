"""Errors that a user can fix, and disk errors in words."""

from __future__ import annotations

import errno
import os

MAX_MESSAGE = (1000, 400)  # characters of a message's beginning and end


def shorten(message: str) -> str:
    """A message, without its middle if it is long, as one that quotes a damaged file may be."""
    first, last = MAX_MESSAGE
    left_out = len(message) - first - last
    if left_out <= 0:
        return message
    return f"{message[:first]} [{left_out} characters] {message[-last:]}"


class InputError(Exception):
    """A user's mistake; the message names the file, field or flag, what it is and should be."""

    def __str__(self) -> str:
        return shorten(super().__str__())


DISK_ERRORS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "disk quota exceeded",
    errno.EEXIST: "a file is where a folder is expected",
    errno.ENOTDIR: "a file is where a folder is expected",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.ENAMETOOLONG: "the name is too long",
}
IN_WORDS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def one_line(error: BaseException) -> str:
    """The message of `error` without line breaks."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return " ".join(str(text).split())


def disk_error(error: BaseException) -> OSError | None:
    """The `OSError` about disk or permissions behind `error` or its causes, or None."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            return error
        if isinstance(error, (RuntimeError, ValueError)):  # libraries that say it in words
            for number in IN_WORDS:
                if os.strerror(number) in str(error):
                    return OSError(number, os.strerror(number))
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None
