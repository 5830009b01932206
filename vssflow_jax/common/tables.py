"""Text files and tables as people save them: any common encoding, separator and line ending."""

from __future__ import annotations

import codecs
import csv
import io
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import find_existing, to_path

SEPARATORS = (",", ";", "\t", "|")
MAX_NULLS = 0.1  # share of a text's characters; more are text in UTF-16 or UTF-32, or no text
_EXCEL_SEPARATOR = re.compile(
    r'"?sep=([^\w\s"]|\t)"?'
)  # a first line by which Excel knows the separator


def read_text(path: str | os.PathLike, expected: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 with a byte-order mark.

    Args:
      path: the file.
      expected: what it should be, for messages.

    Raises:
      InputError: no such file, one that cannot be read, or one that is not text.
    """
    try:
        text = decode_text(read_bytes(path, expected))
    except UnicodeDecodeError:
        text = None
    if text is None or text.count("\0") > MAX_NULLS * len(text):
        raise InputError(f"{path}: not UTF-8 text, nor UTF-16 with its mark, expected {expected}")
    return text


def read_bytes(path: str | os.PathLike, expected: str) -> bytes:
    """The bytes of a file; arguments and errors as of `read_text`."""
    path = to_path(path)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected {expected}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}, expected {expected}") from None


def decode_text(data: bytes) -> str:
    """The text of bytes in UTF-8, or in UTF-16 with a byte-order mark.

    Raises UnicodeDecodeError for others.
    """
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if is_utf16 else "utf-8-sig")


def split_lines(text: str) -> Iterator[str]:
    """The lines of a text, which carriage returns and line feeds alone end."""
    return (line.rstrip("\r\n") for line in io.StringIO(text, newline=""))


def parse_header(cells: Sequence[str]) -> list[str]:
    """Names of columns, in small letters."""
    return [cell.strip().lower() for cell in cells]


def read_table(path: str | os.PathLike, expected: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a file, as `parse_table` gives them; arguments and errors as of `read_text`.

    Raises InputError also for text that is not CSV.
    """
    return parse_table(read_text(path, expected), str(path))


def parse_number(text: str) -> float:
    """A number with a decimal point, or with the comma that tables of some languages have.

    Raises ValueError for anything else.
    """
    has_comma = text.count(",") == 1 and "." not in text
    return float(text.replace(",", ".") if has_comma else text)


def find_listed(folder: str | os.PathLike, cell: str) -> pathlib.Path:
    """The file that a cell names: relative to the table's folder, or in the home folder (`~`).

    A name that is no file may have the slashes of Windows.

    Raises:
      InputError: an address, or characters that no path has.
    """
    if re.match(r"\w+://", cell) or "\0" in cell:
        raise InputError(f"found {cell!r:.60}, expected a path")
    path = find_existing(pathlib.Path(folder, os.path.expanduser(cell)))
    if "\\" in cell and not os.path.exists(path):
        other = find_existing(pathlib.Path(folder, cell.replace("\\", "/")))
        return other if os.path.exists(other) else path
    return path


def parse_table(
    text: str, location: str, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """The number of the line, from 1, and the cells of each row that is not empty.

    Only carriage returns and line feeds end a line, so that a cell may contain other separators
    of lines. Blanks before a cell are no part of it, so that a quotation mark may follow them.

    Args:
      text: the table; a first line such as `sep=;` names the separator.
      location: its name in messages.
      separator: of cells; None: the one of SEPARATORS that the first row has most of.

    Raises:
      InputError: not CSV.
    """
    file, first_line = io.StringIO(text, newline=""), 0
    header = file.readline()
    named = _EXCEL_SEPARATOR.fullmatch(header.rstrip("\r\n"))
    if named:
        separator, first_line = named[1], 1
    else:
        separator = separator or max(SEPARATORS, key=header.count)
        file.seek(0)
    reader = csv.reader(file, delimiter=separator, strict=True, skipinitialspace=True)
    width = 0  # of the first row, without the empty cells that spreadsheets add behind the last
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            width = width or max(n for n, cell in enumerate(cells, 1) if cell.strip())
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            yield first_line + reader.line_num, cells
    except csv.Error as error:
        line = first_line + reader.line_num
        raise InputError(f"{location} row {line}: {error}, expected CSV") from None
