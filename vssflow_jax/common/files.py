"""Files that appear under their names only when they are complete, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import tempfile
import unicodedata
from collections.abc import Iterator

from vssflow_jax.common.errors import DISK_ERRORS, InputError

PARTIAL = ".partial"  # ending of the names of incomplete files


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A block that writes to a temporary name beside `path`, which is then renamed to `path`.

    If the block raises, the temporary file is removed and `path` stays as it was. Missing
    parent folders are made. The process id in the name keeps two writers apart.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial)):
            # Under the name that the user knows.
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def check_writable(path: str | os.PathLike, flag: str = "out") -> None:
    """Checks before any work that a file can be written at `path`; leaves nothing there.

    Raises:
      InputError: a folder is there already, or its folder takes no files.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        raise InputError(f"--{flag}={path}: found a folder, expected a file's name")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno, "no file can be written there")
        raise InputError(f"--{flag}={path}: {reason}, expected another place") from None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def find_existing(path: str | os.PathLike) -> pathlib.Path:
    """The path; if it does not exist, the one whose accented letters are composed otherwise.

    macOS writes é as e and an accent, other systems as one character: what exists wins.
    """
    path = pathlib.Path(path)
    with contextlib.suppress(OSError):  # names too long, folders that cannot be listed
        if not (str(path).isascii() or path.exists()):
            return _match_parts(path)
    return path


def _match_parts(path: pathlib.Path) -> pathlib.Path:
    """The path with each missing part replaced by an entry of the same normal form, if any."""
    out = pathlib.Path(path.anchor)
    for part in path.parts[len(out.parts) :]:
        exact = out / part
        if not part.isascii() and not exact.exists() and out.is_dir():
            normal = unicodedata.normalize("NFC", part)
            names = (n for n in os.listdir(out) if unicodedata.normalize("NFC", n) == normal)
            exact = out / next(names, part)
        out = exact
    return out


def hash_file(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """SHA-256, or the digest of another algorithm, of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
