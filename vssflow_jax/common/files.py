"""Files on this machine and in buckets, complete under their names or not there; their hashes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import math
import os
import pathlib
import re
import shutil
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator

from vssflow_jax.common.errors import DISK_ERRORS, InputError, one_line

PARTIAL = ".partial"  # ending of the names of incomplete files
BUCKET, BUCKET_PACKAGE = "gs://", "gcsfs"  # how paths in buckets start, and what reads them
COPY_BYTES = 2**22  # that are copied at a time
UPLOAD_SECONDS = 30.0  # between uploads of a folder


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is one in a bucket."""
    return os.fspath(path).startswith(BUCKET)


def to_path(path: str | os.PathLike) -> pathlib.Path:
    """The path as an object: of pathlib, or of etils.epath, with the same methods, in a bucket.

    Raises:
      InputError: the package that reads buckets is missing, or it is an address of another kind.
    """
    if isinstance(path, pathlib.Path):
        return path
    if not is_remote(path):
        if re.match(r"\w+://", os.fspath(path)):
            raise InputError(
                f"{path}: found an address, expected a path or one in a {BUCKET} bucket"
            )
        return pathlib.Path(path)
    _prepare_buckets()
    from etils import epath  # not at the top: it takes longer than most commands' --help

    return epath.Path(path)


@functools.cache
def _prepare_buckets() -> None:
    """Checks that buckets can be read, and lets them be listed anew each time.

    Other hosts write in the same bucket, so a listing must not be remembered.
    """
    if importlib.util.find_spec(BUCKET_PACKAGE) is None:
        raise InputError(
            f"{BUCKET}…: found no package {BUCKET_PACKAGE}, expected "
            '`pip install "vssflow_jax[cloud]"`'
        )
    import fsspec

    for protocol in ("gs", "gcs"):
        fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False


def resolve(path: str | os.PathLike) -> pathlib.Path:
    """The absolute path; one in a bucket is absolute."""
    return to_path(path) if is_remote(path) else pathlib.Path(path).resolve()


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A block that writes to a temporary name beside `path`, which is then renamed to `path`.

    If the block raises, the temporary file is removed and `path` stays as it was. Missing
    parent folders are made. The process id in the name keeps two writers apart. For a path in a
    bucket the temporary file is on this machine, and is uploaded when the block ends.
    """
    if is_remote(path):
        with tempfile.TemporaryDirectory() as folder:
            partial = pathlib.Path(folder, to_path(path).name)
            yield partial
            upload_file(partial, path)
        return
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


def upload_file(source: pathlib.Path, path: str | os.PathLike) -> None:
    """Copies a file of this machine to a path in a bucket, where it appears whole."""
    with source.open("rb") as file, to_path(path).open("wb") as target:
        shutil.copyfileobj(file, target, COPY_BYTES)


class UploadedFolder:
    """A folder for a library that writes on this machine alone.

    Args:
      path: the folder. For one in a bucket, files are written to a temporary one and uploaded.

    Attributes:
      path: where to write.
    """

    def __init__(self, path: pathlib.Path):
        self._target, self._uploaded = path, time.monotonic()
        self._temporary = tempfile.TemporaryDirectory() if is_remote(path) else None
        self.path = pathlib.Path(self._temporary.name) if self._temporary else path

    def upload_due(self, flush: Callable[[], None]) -> None:
        """Uploads after a call of `flush`, if the last time is long enough ago."""
        if self._temporary and time.monotonic() - self._uploaded > UPLOAD_SECONDS:
            flush()
            self.upload()

    def upload(self) -> None:
        """Uploads all files."""
        if self._temporary:
            for file in sorted(path for path in self.path.rglob("*") if path.is_file()):
                upload_file(file, self._target / file.relative_to(self.path))
            self._uploaded = time.monotonic()


@contextlib.contextmanager
def local_copy(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A block with a file on this machine: the file itself, or a copy of one in a bucket.

    Raises:
      FileNotFoundError: there is no such file in the bucket.
    """
    if not is_remote(path):
        yield to_path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder, to_path(path).name)
        download_file(path, copy)
        yield copy


def download_file(path: str | os.PathLike, target: pathlib.Path) -> None:
    """Copies a file in a bucket to one on this machine."""
    with to_path(path).open("rb") as file, target.open("wb") as copy:
        shutil.copyfileobj(file, copy, COPY_BYTES)


def check_writable(path: str | os.PathLike, flag: str = "out") -> None:
    """Checks before any work that a file can be written at `path`; leaves nothing there.

    Raises:
      InputError: a folder is there already, or its folder takes no files.
    """
    path = to_path(path)
    if path.is_dir():
        raise InputError(f"--{flag}={path}: found a folder, expected a file's name")
    try:
        if is_remote(path):
            trial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
            trial.write_bytes(b"")
            trial.unlink()
            return
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = DISK_ERRORS.get(error.errno, "no file can be written there")
        raise InputError(f"--{flag}={path}: {reason}, expected another place") from None


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes UTF-8 `text` to `path`, whole or not at all; names that are no UTF-8 with escapes."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | os.PathLike, expected: str) -> dict:
    """The object in a JSON file.

    Args:
      path: the file.
      expected: what it should be, for messages.

    Raises:
      InputError: no such file, one that cannot be read, or one that holds no JSON object.
    """
    path = to_path(path)
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file, expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected {expected}") from None
    except (ValueError, RecursionError) as error:  # numbers of 4,301 digits; 1,000 brackets
        raise InputError(f"{path}: broken ({one_line(error)}), expected {expected}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: broken (found {content!r:.40}), expected {expected}")
    return content


def find_existing(path: str | os.PathLike) -> pathlib.Path:
    """The path; if it does not exist, the one whose accented letters are composed otherwise.

    macOS writes é as e and an accent, other systems as one character: what exists wins.

    Raises:
      InputError: an address.
    """
    path = to_path(path)
    if is_remote(path):
        return path
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


def file_size(path: str | os.PathLike) -> int:
    """Bytes of a file."""
    status = to_path(path).stat()
    return status.length if is_remote(path) else status.st_size


def free_bytes(folder: str | os.PathLike) -> float:
    """Room for files in a folder; there is no end of it in a bucket."""
    return math.inf if is_remote(folder) else shutil.disk_usage(folder).free


def hash_file(path: str | os.PathLike, algorithm: str = "sha256") -> str:
    """SHA-256, or the digest of another algorithm, of a file's bytes, hexadecimal."""
    with to_path(path).open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
