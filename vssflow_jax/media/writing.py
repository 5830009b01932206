"""Arrays to media files, by PyAV: waves, videos, and what containers hold."""

from __future__ import annotations

import contextlib
import dataclasses
import fractions
import heapq
import os
import pathlib
import struct
import wave as wavefile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import av
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.media.sound import LAYOUTS

BIT_RATE = 160_000  # of a channel: at 96,000 AAC makes noise 0.4 LU softer
MAX_SAMPLE_BITS = 6  # of AAC
COMPRESSED = ("aac", "libopus")
COMMON_RATE = 48_000  # of sound at a rate that its codec does not have
COMMENT = "comment"  # the tag that all containers with tags have, under FFmpeg's name


class Subtitle(NamedTuple):
    """A text on the screen: start and end in seconds."""

    start: float
    end: float
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """What a file says about its sound.

    Attributes:
      comment: one line; empty: none.
      subtitles: of a subtitle track, in order of time; empty: no track.
    """

    comment: str = ""
    subtitles: Sequence[Subtitle] = ()


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Samples [n] or [n, 2], float in [-1, 1] or int16, as int16."""
    wave = np.asarray(wave)
    if wave.dtype == np.int16:
        return wave
    return np.clip(np.round(wave * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(
    path: str | os.PathLike, wave: np.ndarray, sample_rate: int = SAMPLE_RATE, comment: str = ""
) -> None:
    """Writes a 16-bit wav; `wave` is float in [-1, 1] or int16, [n] or, with A channels, [n, A].

    A `comment` is stored as the file's ICMT tag.
    """
    with replacing(path) as partial:
        with wavefile.open(str(partial), "wb") as file:
            file.setnchannels(count_channels(wave))
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(to_int16(wave).tobytes())
        if comment:
            _append_comment(partial, comment)


def _append_comment(path: pathlib.Path, comment: str) -> None:
    """Adds a list of tags to a wav (RIFF: LIST, INFO, ICMT) and its bytes to the file's size."""
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    tags = b"INFOICMT" + struct.pack("<I", len(text)) + text
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(b"LIST" + struct.pack("<I", len(tags)) + tags)
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def count_channels(wave: np.ndarray) -> int:
    """Audio channels of a wave: 1 for [n], A for [n, A]."""
    return 1 if np.ndim(wave) == 1 else np.shape(wave)[1]


def write_video(
    path: str | os.PathLike,
    frames: np.ndarray,
    rate: float,
    wave: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> None:
    """Writes an mp4: H.264 (yuv420p) and, where a wave is given, AAC.

    Args:
      path: the file to write.
      frames: uint8 [T, H, W, 3], H and W even.
      rate: frames a second.
      wave: float in [-1, 1] or int16, [n] or [n, 2]; None for a silent file.
      sample_rate: samples a second.
    """
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise ValueError(f"frames are {width}x{height}, yuv420p needs even sizes")
    with open_output(path) as container:
        video = container.add_stream(
            "libx264", rate=fractions.Fraction(rate).limit_denominator(1001)
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {"preset": "ultrafast", "crf": "23", "g": "25"}
        audio = None if wave is None else add_audio_stream(container, "aac", sample_rate, wave)
        pictures = (av.VideoFrame.from_ndarray(frame, "rgb24") for frame in frames)
        packets = [encode_frames(video, pictures)]
        if audio:
            packets.append(encode_frames(audio, make_audio_frames(wave, sample_rate)))
        interleave(container, *packets)


# ---- containers ---------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContainerFormat:
    """What a kind of file holds.

    Attributes:
      name: FFmpeg's.
      copies: codecs whose packets it takes as they are.
      audio: codec of its sound.
      video: encoder for pictures that it does not take.
      options: of that encoder.
      muxer_options: of FFmpeg's writer of the file.
      tags: names of codecs that players expect, where they differ from FFmpeg's.
      subtitles: codec of its subtitle tracks; empty: it holds none.
      has_comment: whether it holds a comment.
    """

    name: str
    copies: frozenset[str]
    audio: str = "aac"
    video: str = "libx264"
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    muxer_options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    subtitles: str = ""
    has_comment: bool = True


_BROADCAST = {"h264", "hevc", "mpeg2video", "mpeg1video"}
_MP4 = ContainerFormat(
    name="mp4",
    copies=frozenset(_BROADCAST | {"mpeg4", "av1", "vp9", "mjpeg"}),
    muxer_options={"movflags": "faststart"},  # the index comes first: plays while it loads
    tags={"hevc": "hvc1"},
    subtitles="mov_text",
)
_MOV = dataclasses.replace(
    _MP4,
    name="mov",
    copies=frozenset({"h264", "hevc", "mpeg4", "mjpeg", "prores", "dnxhd", "qtrle"}),
)
_MATROSKA = _BROADCAST | {"mpeg4", "av1", "vp8", "vp9", "mjpeg", "theora", "prores", "ffv1"}
CONTAINERS = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".mkv": ContainerFormat(name="matroska", copies=frozenset(_MATROSKA), subtitles="subrip"),
    ".webm": ContainerFormat(
        name="webm",
        copies=frozenset({"vp8", "vp9", "av1"}),
        audio="libopus",
        video="libvpx-vp9",
        options={"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "6"},
        subtitles="webvtt",
    ),
    # It stores no times, so that frames must be in order and evenly spaced.
    ".avi": ContainerFormat(name="avi", copies=frozenset(), audio="pcm_s16le", options={"bf": "0"}),
    ".ts": ContainerFormat(name="mpegts", copies=frozenset(_BROADCAST), has_comment=False),
}


def find_container(path: str | os.PathLike) -> ContainerFormat:
    """What the name of a file says that it holds; upper and lower case are the same.

    Raises InputError for a suffix of no container.
    """
    container = CONTAINERS.get(pathlib.Path(path).suffix.lower())
    if container is None:
        raise InputError(
            f"{path}: found the suffix {pathlib.Path(path).suffix!r}, expected one of a video: "
            f"{' '.join(CONTAINERS)}"
        )
    return container


@contextlib.contextmanager
def open_output(
    path: str | os.PathLike, comment: str = ""
) -> Iterator[av.container.OutputContainer]:
    """A container that appears under `path` when complete."""
    form = find_container(path)
    with (
        replacing(path) as partial,
        av.open(
            f"file:{partial}", "w", format=form.name, container_options=dict(form.muxer_options)
        ) as container,
    ):
        if comment and form.has_comment:
            container.metadata[COMMENT] = comment
        yield container


def add_audio_stream(container, codec: str, sample_rate: int, wave: np.ndarray):
    """An audio stream for the channels of a wave."""
    rates = av.Codec(codec, "w").audio_rates
    rate = sample_rate if rates is None or sample_rate in rates else COMMON_RATE
    channels = count_channels(wave)
    stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[channels])
    if codec in COMPRESSED:
        stream.bit_rate = min(BIT_RATE, MAX_SAMPLE_BITS * rate) * channels
    if codec == "aac":
        stream.codec_context.format = "fltp"
        stream.options = {"aac_coder": "fast"}  # a third of the time of the default search
    return stream


def make_audio_frames(wave: np.ndarray, sample_rate: int) -> Iterator[av.AudioFrame]:
    samples = to_int16(wave).astype(np.float32) / 32768
    planes = np.ascontiguousarray(np.atleast_2d(samples.T))  # channels n
    for begin in range(0, len(samples), 1024):
        part = np.ascontiguousarray(planes[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(part, "fltp", LAYOUTS[len(planes)])
        frame.sample_rate, frame.pts = sample_rate, begin
        frame.time_base = fractions.Fraction(1, sample_rate)
        yield frame


def add_subtitle_stream(container, codec: str, subtitles: Sequence[Subtitle]) -> list[av.Packet]:
    """A subtitle track, and its packets."""
    stream = container.add_stream(codec)
    stream.codec_context.subtitle_header = b""  # its encoder asks for the styles of SubStation
    stream.metadata["language"] = "eng"
    packets = []
    for start, end, text in subtitles:
        data = text.encode()
        # QuickTime's texts begin with their length.
        packet = av.Packet(len(data).to_bytes(2, "big") + data if codec == "mov_text" else data)
        packet.stream, packet.time_base = stream, fractions.Fraction(1, 1000)
        packet.pts = packet.dts = round(1000 * start)
        packet.duration = max(round(1000 * end) - packet.pts, 1)
        packets.append(packet)
    return packets


def encode_frames(stream, frames: Iterable) -> Iterator[av.Packet]:
    for frame in frames:
        yield from stream.encode(frame)
    yield from stream.encode(None)


def interleave(container, *streams: Iterable[av.Packet]) -> None:
    """Interleaves the packets of several streams by their time."""
    for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
        container.mux(packet)
