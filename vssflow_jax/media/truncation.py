"""Whether a media file broke off: the sizes of its parts say so where no header names a length.

Recordings into raw streams, mpg and ts, and live ones into Matroska, have no such sizes beyond
those of single packets: of them nobody can tell.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from typing import BinaryIO

# Bytes that may be missing of formats with one size for the whole file, which some programs count
# otherwise: less than a latent frame (40 ms) even of speech at 13 kbit/s.
TOLERANCE = 64
MAX_PARTS = 100_000  # that are looked at: of a recording of some 20 minutes
UNKNOWN_SIZE = 0x7FFFF000  # from which a size of 32 bits stands for "not known yet"
MAX_SIZE = 1 << 48  # from which one of 64 bits does
FLV_HEADER = 11  # bytes of a tag's header
MAX_PAGE = 65_307  # bytes of a page of Ogg
END_OF_STREAM = 4  # flag of a page of Ogg
ENDS_WITHIN = "truncated: it ends within {}: the end is missing"


class DamageError(Exception):
    """A file of `size` bytes has some from `start` on that are none of its parts."""

    def __init__(self, start: int, size: int):
        super().__init__(
            f"found bytes that are no part of it from byte {start} of {size} on: they are left out"
        )


def describe_truncation(path: str | os.PathLike) -> str:
    """How a file on this machine shows that it broke off; empty if it does not."""
    status = os.stat(path)
    return _describe(os.fspath(path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)  # each window of a long clip asks again
def _describe(path: str, size: int, modified: int) -> str:
    """The same; `size` and `modified` identify the file's content."""
    with open(path, "rb") as file:
        head = file.read(16)
        if head.startswith(b"OggS"):
            return _check_last_page(file, size)
        find_end = next((find for is_mark, find in _FORMATS if is_mark(head)), None)
        try:
            missing = find_end(file, size) - size if find_end else 0
            missing = 0 if find_end in _OF_WHOLE_FILES and missing < TOLERANCE else missing
        except struct.error:
            return ENDS_WITHIN.format("the header of a part")
        except DamageError as error:
            return str(error)
    if not 0 < missing < MAX_SIZE:
        return ""
    return f"truncated: its last part lacks {missing} bytes: the end is missing"


def _check_last_page(file: BinaryIO, size: int) -> str:
    """Of Ogg, each of whose pages says how long it is; the last one is marked."""
    file.seek(max(size - MAX_PAGE, 0))
    data = file.read()
    page = data[max(data.rfind(b"OggS"), 0) :]
    num_segments = page[26] if len(page) > 26 else MAX_PAGE
    if len(page) < 27 + num_segments + sum(page[27 : 27 + num_segments]):
        return ENDS_WITHIN.format("a page")
    if page[5] & END_OF_STREAM:
        return ""
    return "its last page is not marked as the end: the end may be missing"


# ---- where the parts of a file end: a position in bytes, 0 if they do not say it -------------


def _unpack(file: BinaryIO, form: str) -> tuple:
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _find_riff_end(file: BinaryIO, size: int) -> int:
    """Of wav and avi; beyond a gigabyte an avi has several such parts."""
    end = 0
    while end + 12 <= size:
        file.seek(end)
        mark, length = _unpack(file, "<4sI")
        if mark == b"RF64":
            file.seek(20)
            (length,) = _unpack(file, "<Q")
        elif mark != b"RIFF" and size - end > TOLERANCE:
            raise DamageError(end, size)
        elif mark != b"RIFF" or not 0 < length < UNKNOWN_SIZE:
            return end
        _check_wav_chunks(file, end + 8, min(end + 8 + length, size))
        end += 8 + length + length % 2
    return end


def _check_wav_chunks(file: BinaryIO, start: int, end: int) -> None:
    """Raises DamageError where a wav has bytes that are no chunk of it."""
    file.seek(start)
    if file.read(4) != b"WAVE":
        return
    start, padding = start + 4, 0
    while start + 8 <= end:
        file.seek(start)
        name, length = _unpack(file, "<4sI")
        if not _is_name(name) and padding:  # some programs leave it out
            start, padding = start - 1, 0
            continue
        if not name.strip(b"\0"):  # zeros fill the file
            return
        if not _is_name(name):
            raise DamageError(start, end)
        padding = length % 2
        start += 8 + length + padding


def _is_name(name: bytes) -> bool:
    """Whether four bytes can name a part of a file."""
    return name.isascii() and name.decode().isprintable()


def _find_aiff_end(file: BinaryIO, size: int) -> int:
    file.seek(4)
    (length,) = _unpack(file, ">I")
    return 8 + length if length < UNKNOWN_SIZE else 0


def _find_w64_end(file: BinaryIO, size: int) -> int:
    file.seek(16)
    return _unpack(file, "<Q")[0]


def _find_caf_end(file: BinaryIO, size: int) -> int:
    end = 8
    while end + 12 <= size:
        file.seek(end + 4)
        (length,) = _unpack(file, ">q")
        if length < 0:  # unknown, of the last part
            return 0
        end += 12 + length
    return end


def _find_mp4_end(file: BinaryIO, size: int) -> int:
    end = 0
    for _ in range(MAX_PARTS):
        if end + 8 > size:
            return end
        file.seek(end)
        length, name = _unpack(file, ">I4s")
        header = 8
        if length == 1:
            (length,), header = _unpack(file, ">Q"), 16
        if length == 0:  # up to the end of the file
            return 0
        if length < header or not _is_name(name):
            raise DamageError(end, size)
        end += length
    return 0


def _find_matroska_end(file: BinaryIO, size: int) -> int:
    """Elements whose size is unknown are those that hold others: these are looked at."""
    file.seek(0)
    for _ in range(MAX_PARTS):
        if _read_element_number(file) not in _MATROSKA_IDS:
            return 0  # damaged
        length = _read_element_number(file) or 0
        end = file.tell() + length
        if end + 2 > size:
            return end
        file.seek(end)
    return 0


def _read_element_number(file: BinaryIO) -> int | None:
    """An id or a size of Matroska, without its leading bit; None if it is unknown."""
    (first,) = _unpack(file, "B")
    num_more = min(8 - first.bit_length(), 7)
    rest = int.from_bytes(_unpack(file, f"{num_more}s")[0], "big")
    number = (first & 0x7F >> num_more) << 8 * num_more | rest
    return None if number == (1 << 7 * (num_more + 1)) - 1 else number


def _find_flv_end(file: BinaryIO, size: int) -> int:
    """Of tags, each followed by its size."""
    file.seek(5)
    end, length = _unpack(file, ">I")[0], 0
    for _ in range(MAX_PARTS):
        if end + 4 + FLV_HEADER > size:
            return end
        file.seek(end)
        if _unpack(file, ">I")[0] != length:
            return 0  # damaged
        length = FLV_HEADER + int.from_bytes(file.read(4)[1:], "big")
        end += 4 + length
    return 0


def _find_asf_end(file: BinaryIO, size: int) -> int:
    """Of wma and wmv, whose header has the size of the file; of a broadcast it is wrong."""
    file.seek(24)
    (count,) = _unpack(file, "<I")
    position = 30
    for _ in range(min(count, MAX_PARTS)):
        if position > size:
            return 0
        file.seek(position)
        name, length = _unpack(file, "<16sQ")
        if name == _ASF_PROPERTIES:
            _, total, *_, flags = _unpack(file, "<16sQ40sI")
            return 0 if flags & 1 else total
        position += max(length, 24)
    return 0


_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Ids without their leading bit: header, segment, what it holds, what a cluster holds, fillings.
_MATROSKA_IDS = frozenset((
    0xA45DFA3, 0x8538067, 0x14D9B74, 0x549A966, 0x654AE6B, 0xF43B675, 0xC53BB6B, 0x43A770,
    0x941A469, 0x254C367, 0x67, 0x27, 0x2B, 0x23, 0x20, 0x2F, 0x1854, 0x6C, 0x3F,
))  # fmt: skip
_MP4_NAMES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip")
_OF_WHOLE_FILES = (_find_riff_end, _find_aiff_end, _find_w64_end, _find_asf_end)
_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], int]], ...] = (
    (lambda head: head.startswith((b"RIFF", b"RF64")), _find_riff_end),
    (lambda head: head.startswith(b"FORM"), _find_aiff_end),
    (lambda head: head.startswith(b"riff\x2e\x91\xcf\x11"), _find_w64_end),
    (lambda head: head.startswith(b"caff"), _find_caf_end),
    (lambda head: head.startswith(b"\x1a\x45\xdf\xa3"), _find_matroska_end),
    (lambda head: head.startswith(b"FLV"), _find_flv_end),
    (lambda head: head.startswith(_ASF_HEADER), _find_asf_end),
    (lambda head: head[4:8] in _MP4_NAMES, _find_mp4_end),
)
