"""Media files opened by PyAV: which streams a file has, and their packets decoded.

`media.durations` says how long streams last, `media.video` reads frames, `media.sound` samples.
"""

from __future__ import annotations

import contextlib
import fractions
import mmap
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import av
import av.logging
from av.stream import Disposition

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, local_copy, to_path

Frame = TypeVar("Frame")
SINGLE_THREAD_PIXELS = 640 * 480  # frames of up to this many decode faster on one thread
MAX_FRAME_RATE = 1000
MP3_TAG_BYTES = 512  # of a frame within which its tag is
MP3_TAG = re.compile(rb"(?:Xing|Info)(?P<flags>.{4})(?P<frames>.{4})", re.DOTALL)
# Formats that name other files or addresses, and text that FFmpeg shows as pictures.
REFUSED_FORMATS = {"hls", "dash", "concat", "sdp", "rtsp", "webm_dash_manifest", "imf", "tty"}
FILE_PROTOCOL = "file:"
# No protocol but files; names with % are no patterns for series of pictures.
OPEN_OPTIONS = {"protocol_whitelist": "file", "pattern_type": "none"}
# Titles and the like need not be UTF-8: up to version 18 PyAV asks what to do, then it keeps them.
METADATA_OPTIONS = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# FFmpeg's messages are discarded: InputError reports broken files. Any level but None would also
# call Python from decoder threads, which can deadlock with a stream that is being closed.
av.logging.set_level(None)


@contextlib.contextmanager
def open_media(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
    """Opens a media file. Every failure is an InputError that names the file."""
    path = to_path(path)
    try:
        if not path.is_file():
            problem = "not a file" if path.exists() else "no such file"
            raise InputError(f"{path}: {problem}, expected a media file")
        if file_size(path) == 0:
            raise InputError(f"{path}: the file is empty, expected a media file")
    except OSError as error:  # names that are too long, folders that cannot be entered
        raise InputError(f"{path}: {error.strerror}, expected a media file") from None
    with local_copy(path) as copy:
        yield from _open_file(copy, path)


def find_file(container: av.container.InputContainer) -> pathlib.Path:
    """The open file on this machine: a copy, where `open_media` opened one in a bucket."""
    return pathlib.Path(container.name.removeprefix(FILE_PROTOCOL))


def _open_file(copy: pathlib.Path, path: pathlib.Path) -> Iterator[av.container.InputContainer]:
    """Opens `copy`, the file of this machine that `path` is or was copied to."""
    try:
        container = av.open(f"{FILE_PROTOCOL}{copy}", options=OPEN_OPTIONS, **METADATA_OPTIONS)
    except PermissionError as error:
        raise InputError(
            f"{path}: found no permission to read it, expected a media file"
        ) from error
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path}: not a media file that can be read, or truncated ({describe(error)}), "
            "expected video or audio such as mp4, mkv, wav"
        ) from error
    with container:
        refused = REFUSED_FORMATS & set(container.format.name.split(","))
        if refused:
            raise InputError(
                f"{path}: found a {refused.pop()} file, expected video or audio such as mp4, mkv, "
                "wav"
            )
        yield container


def describe(error: Exception) -> str:
    """FFmpeg's reason in words."""
    return getattr(error, "strerror", None) or str(error)


# ---- streams ------------------------------------------------------------------------------


def find_video_stream(container):
    """The default video stream, else the first one; None without any but cover pictures."""
    streams = container.streams.video
    return _find_default([s for s in streams if not s.disposition & Disposition.attached_pic])


def _find_default(streams: Sequence):
    """The stream that the file calls its default one, else the first one; None without any."""
    default = (stream for stream in streams if stream.disposition & Disposition.default)
    return next(default, streams[0] if streams else None)


def select_video_stream(container, path):
    """The default video stream (no cover picture), ready to be decoded.

    Raises InputError if there is none, one without frames or one without a decoder.
    """
    stream = find_video_stream(container)
    if stream is None:
        cover = "a cover picture and " if container.streams.video else ""
        raise InputError(f"{path}: found {cover}no video stream, expected a video")
    check_decoder(stream, path)
    if not (stream.codec_context.width and stream.codec_context.height):
        raise InputError(f"{path}: found a video stream without frames, expected a video")
    is_small = stream.codec_context.width * stream.codec_context.height <= SINGLE_THREAD_PIXELS
    stream.thread_type = "NONE" if is_small else "AUTO"
    if is_small:
        stream.codec_context.thread_count = 1
    return stream


def select_audio_stream(container, path, track: int | None = None):
    """An audio track: number `track` from 1, else the file's default one; None without any.

    Raises InputError if the file has fewer tracks.
    """
    streams = container.streams.audio
    if track is not None:
        if not 1 <= track <= len(streams):
            raise InputError(
                f"{path}: found {len(streams)} audio tracks, expected number {track} among them "
                "(--audio_track)"
            )
        return streams[track - 1]
    return _find_default(streams)


def check_decoder(stream, path) -> None:
    """Raises InputError for a stream whose codec cannot be decoded here."""
    if stream.codec_context is None:
        raise InputError(
            f"{path}: stream {stream.index} ({stream.type}): found codec "
            f"{_find_codec_tag(stream) or 'of unknown name'}, which cannot be decoded "
            f"here, expected one such as {'H.264' if stream.type == 'video' else 'AAC'}"
        )


def _find_codec_tag(stream) -> str:
    """The four characters by which an mp4 or mov file names a stream's codec; else empty."""
    path, index = find_file(stream.container), stream.index
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = -1
        for _ in range(index + 1):  # one table of codecs (stsd) a stream
            place = data.find(b"stsd", place + 1)
            if place < 0:
                return ""
        return "".join(
            c for c in data[place + 16 : place + 20].decode("latin-1") if c.isprintable()
        )


def find_frame_rate(stream) -> float:
    """Frames a second by the file's header or FFmpeg's guess; some are those of a clock."""
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return float(next((rate for rate in rates if rate and rate <= MAX_FRAME_RATE), 25))


def to_seconds(ticks: int, time_base: fractions.Fraction) -> float:
    """Seconds of a time in a stream: `float(ticks * time_base)` to the bit, without a Fraction.

    Every packet has two or three of them.
    """
    return ticks * time_base.numerator / time_base.denominator


def find_start(stream) -> float:
    """Seconds of the first packet on the file's own clock."""
    return to_seconds(stream.start_time or 0, stream.time_base)


# ---- packets ------------------------------------------------------------------------------


def demux(container, stream) -> Iterator[av.Packet]:
    """Packets up to the end or to where the file breaks off.

    Raises InputError for what else FFmpeg refuses, such as sizes beyond the memory.
    """
    try:
        yield from container.demux(stream)
    except av.error.InvalidDataError:
        return
    except av.error.FFmpegError as error:
        path = container.name.removeprefix("file:")
        raise InputError(
            f"{path}: cannot be read ({describe(error)}), expected a media file"
        ) from error


class PacketDecoder:
    """Decodes the packets of a stream, without the damaged ones.

    Attributes:
      num_damaged: packets that could not be decoded.
      num_marked: decoded packets that the format marks as damaged; FFmpeg marks the last one too
        where a file does not say how long it is, so that does not count.
      reason: why the last one could not be decoded, in FFmpeg's words.
    """

    def __init__(self, container, stream):
        self.container, self.stream = container, stream
        self.num_damaged, self.num_marked, self.reason = 0, 0, ""

    @property
    def file(self) -> pathlib.Path:
        """The open file on this machine."""
        return find_file(self.container)

    def __iter__(self) -> Iterator:
        """Frames in order of time."""
        is_marked = False
        for packet in demux(self.container, self.stream):
            self.num_marked += is_marked and packet.size > 0
            is_marked = False
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if not MP3_TAG.search(bytes(packet)[:MP3_TAG_BYTES]):
                    self.num_damaged += 1
                    self.reason = describe(error)
            else:
                is_marked = packet.is_corrupt
                yield from frames


def has_packets(path: str | os.PathLike, index: int) -> bool:
    """Whether a stream has any data."""
    with open_media(path) as container:
        return any(packet.size for packet in demux(container, container.streams[index]))


def decode_frames(frames: Iterable[Frame], path) -> Iterator[Frame]:
    """The frames; a failure to decode or to convert one is an InputError that names the file."""
    try:
        yield from frames
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be read ({describe(error)}), expected a video") from error
