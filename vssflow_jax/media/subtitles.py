"""Subtitle files to cues, by FFmpeg's readers of SubRip, WebVTT and SubStation."""

from __future__ import annotations

import bisect
import dataclasses
import io
import itertools
import os
import pathlib
import re
from collections.abc import Iterator

import av

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, to_path
from vssflow_jax.common.tables import decode_text, read_bytes
from vssflow_jax.media import reading

EXPECTED = "subtitles (.srt, .vtt, .ass)"
MAX_BYTES = 10_000_000
MAX_CHARACTERS = 5000  # of a cue
# Windows' code page of western languages: old subtitle files have no mark of their encoding.
LEGACY_ENCODING = "cp1252"
MAX_LEGACY = 0.1  # share of letters beyond ASCII; languages of other code pages have more
ASS_FIELDS = "start,end,style,name,marginl,marginr,marginv,effect,text"  # behind the layer


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubtitleFormat:
    """A kind of subtitle file.

    Attributes:
      name: FFmpeg's.
      mark: what the line that begins a cue contains, a pattern.
      ends_at_position: whether a packet's position is that of the end of its cue.
    """

    name: str
    mark: bytes = rb"\d[ \t]*-->[ \t]*\d"
    ends_at_position: bool = False


_SRT = SubtitleFormat(name="srt")
_VTT = SubtitleFormat(name="webvtt", ends_at_position=True)
_ASS = SubtitleFormat(name="ass", mark=rb"^Dialogue:")
_ASS_EVENT = re.compile(r"^Dialogue: *(?:Marked *= *)?\d+ *,", re.MULTILINE)
SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cue:
    """A text of a subtitle file, with the file's formatting tags.

    Attributes:
      number: its place in the file, from 1.
      start, end: seconds; a cue that ends before it starts lasts until the next one.
      text: one or more lines.
      actor, style: the names in a SubStation file; else empty.
    """

    number: int
    start: float
    end: float
    text: str
    actor: str = ""
    style: str = ""


def is_subtitle_file(path: str | os.PathLike) -> bool:
    """Whether a file's name has the suffix of subtitles."""
    return pathlib.Path(path).suffix.lower() in SUFFIXES


def read_cues(path: str | os.PathLike) -> tuple[list[Cue], list[str]]:
    """The cues of a subtitle file in the order of their starts, and what could not be read.

    Raises:
      InputError: no such file, one that is too large or not text, or one without cues.
    """
    path = to_path(path)
    text, notes = _read_subtitle_text(path)
    form = _find_format(text)
    if form is _ASS:
        _check_fields(path, text)
    cues = list(_parse_cues(path, text, form))
    long = next((cue for cue in cues if len(cue.text) > MAX_CHARACTERS), None)
    if long:
        raise InputError(
            f"{path} cue {long.number}: found {len(long.text)} characters, expected at most "
            f"{MAX_CHARACTERS}"
        )
    marked = len(_find_lines(text.encode(), form.mark))
    if not cues:
        raise InputError(f"{path}: found no cues, expected {EXPECTED}")
    if marked > len(cues):
        notes.append(
            f"{path}: found {marked - len(cues)} of {marked} cues without a text or without times "
            "that can be read: they are not spoken"
        )
    return cues, notes


def _read_subtitle_text(path: pathlib.Path) -> tuple[str, list[str]]:
    """The text of a file with plain line ends, and a line about an encoding that was guessed."""
    if path.is_file() and file_size(path) > MAX_BYTES:
        raise InputError(f"{path}: found {file_size(path)} bytes, expected at most {MAX_BYTES}")
    data, notes = read_bytes(path, EXPECTED), []
    try:
        text = decode_text(data)
    except UnicodeDecodeError:
        text = data.decode(LEGACY_ENCODING, errors="replace")
        letters = [character for character in text if character.isalpha()]
        num_legacy = sum(not letter.isascii() for letter in letters)
        if "\ufffd" in text or num_legacy > MAX_LEGACY * len(letters):
            raise InputError(
                f"{path}: not UTF-8 text, nor UTF-16 with its mark, expected {EXPECTED}"
            ) from None
        notes = [f"{path}: not UTF-8: read as Windows-1252"]
    if "\0" in text:
        raise InputError(f"{path}: found bytes that are not text, expected {EXPECTED}")
    return text.replace("\r\n", "\n").replace("\r", "\n"), notes


def _find_format(text: str) -> SubtitleFormat:
    """The kind of subtitles by their text, since names are often wrong."""
    if text.lstrip().startswith("WEBVTT"):
        return _VTT
    return _ASS if _ASS_EVENT.search(text) else _SRT


def _check_fields(path: pathlib.Path, text: str) -> None:
    """Raises an InputError for a SubStation file whose events have other fields than usual."""
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        section = line.strip().lower() if line.startswith("[") else section
        if section != "[events]" or not line.lower().startswith("format:"):
            continue
        names = "".join(line.partition(":")[2].lower().split())
        if names.partition(",")[2] != ASS_FIELDS:
            raise InputError(
                f"{path} line {number}: found fields {names[:80]!r}, expected layer,{ASS_FIELDS}"
            )


def _parse_cues(path: pathlib.Path, text: str, form: SubtitleFormat) -> Iterator[Cue]:
    data = text.encode()
    starts = _find_lines(data, form.mark)
    count = bisect.bisect_left if form.ends_at_position else bisect.bisect_right
    try:
        with av.open(io.BytesIO(data), format=form.name) as container:
            for packet in container.demux(container.streams[0]):
                if not packet.size:  # the empty packet that ends the stream
                    continue
                start = reading.to_seconds(packet.pts, packet.time_base)
                yield _make_cue(
                    bytes(packet).decode(),
                    form,
                    number=count(starts, packet.pos),
                    start=start,
                    end=start + reading.to_seconds(packet.duration or 0, packet.time_base),
                )
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({reading.describe(error)}), expected {EXPECTED}"
        ) from error


def _find_lines(data: bytes, mark: bytes) -> list[int]:
    """Where the lines that contain a pattern begin."""
    lines = data.split(b"\n")
    starts = itertools.accumulate((len(line) + 1 for line in lines), initial=0)
    return [start for start, line in zip(starts, lines, strict=False) if re.search(mark, line)]


def _make_cue(content: str, form: SubtitleFormat, **times) -> Cue:
    if form is not _ASS:
        return Cue(text=content, **times)
    _, _, style, actor, *_, text = content.split(",", 8)
    for code, character in ((r"\N", "\n"), (r"\n", "\n"), (r"\h", " ")):
        text = text.replace(code, character)
    return Cue(text=text, actor=actor.strip(), style=style.strip(), **times)
