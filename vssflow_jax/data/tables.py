"""Tables as people save them: CSV of any common encoding, separator and line ending."""

from __future__ import annotations

import codecs
import csv
import io
import pathlib
from collections.abc import Iterator

from vssflow_jax.common.errors import InputError

SEPARATORS = (",", ";", "\t")


def read_table(path: pathlib.Path, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The number of the line, from 1, and the cells of each row; the header is the first.

    UTF-8, or UTF-16 with a byte-order mark. The separator is the one that the header has most of:
    comma, semicolon or tab. Only carriage returns and line feeds end a line, so that a cell may
    contain other separators of lines.

    Args:
      path: the file.
      expected: what it should be, for messages.

    Raises:
      InputError: no such file, not text, or not CSV.
    """
    try:
        data = path.read_bytes()
        is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected {expected}") from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: not UTF-8 text, nor UTF-16 with its mark, expected {expected}"
        ) from None
    header = io.StringIO(text, newline="").readline()
    separator = max(SEPARATORS, key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as error:
        raise InputError(f"{path} row {reader.line_num}: {error}, expected CSV") from None
