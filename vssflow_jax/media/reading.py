"""Media files to arrays, by PyAV: what a file holds, its frames, its sound.

Time 0 of a file is its first video frame (its first sound, in a file without video), so that
frames and samples that are read separately share one clock.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import av
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE

SINGLE_THREAD_PIXELS = 640 * 480  # frames of up to this many decode faster on one thread
MAX_MISSING = 0.1  # share of a stream that may be missing at its end before it counts as truncated
TIME_TOLERANCE = 5e-4  # seconds; times closer than this are the same

# FFmpeg's messages are discarded: InputError reports broken files. Any level but None would also
# call Python from decoder threads, which can deadlock with a stream that is being closed.
av.logging.set_level(None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a video file's header declares: seconds, frames a second, pixels, frame count."""

    duration: float
    fps: float
    width: int
    height: int
    frames: int
    has_audio: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """A decoded video.

    Attributes:
      frames: uint8 [T, H, W, 3]; frame k is shown at k / `rate` seconds.
      rate: frames a second.
      duration: seconds.
      scale: factors (x, y) from the file's pixels to those of `frames`, which are upright and
        square.
    """

    frames: np.ndarray
    rate: float
    duration: float
    scale: tuple[float, float] = (1.0, 1.0)


@contextlib.contextmanager
def open_media(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
    """Opens a media file. Every failure is an InputError that names the file."""
    path = pathlib.Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file, expected a media file")
    if not path.is_file():
        raise InputError(f"{path}: not a file, expected a media file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: the file is empty, expected a media file")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except PermissionError as error:
        raise InputError(
            f"{path}: found no permission to read it, expected a media file"
        ) from error
    except (av.error.FFmpegError, ValueError) as error:
        raise InputError(
            f"{path}: not a media file that can be read, or truncated ({_describe(error)}), "
            "expected video or audio such as mp4, mkv, wav"
        ) from error
    with container:
        yield container


def _describe(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def select_video_stream(container, path):
    """The first video stream. Raises InputError if there is none, or one without frames."""
    if not container.streams.video:
        raise InputError(f"{path}: found no video stream, expected a video")
    stream = container.streams.video[0]
    if not (stream.codec_context.width and stream.codec_context.height):
        raise InputError(f"{path}: found a video stream without frames, expected a video")
    is_small = stream.codec_context.width * stream.codec_context.height <= SINGLE_THREAD_PIXELS
    stream.thread_type = "NONE" if is_small else "AUTO"
    if is_small:
        stream.codec_context.thread_count = 1
    return stream


def _find_frame_rate(stream) -> float:
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


def measure_duration(container, stream) -> float:
    """Seconds of a stream: by its header or its tag (Matroska), else by looking at its packets.

    The container's own duration is that of its longest stream, which may be another one.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag and float(tag[3]) + int(tag[1]) + int(tag[2]):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - find_start(stream)
    with av.open(container.name, metadata_errors="replace") as copy:
        packets = [p for p in _demux(copy, copy.streams[stream.index]) if p.pts is not None]
        ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in packets]
    return max(ends) - find_start(stream) if ends else 0.0


def _demux(container, stream) -> Iterator[av.Packet]:
    """Packets up to the end or to where the file breaks off."""
    with contextlib.suppress(av.error.InvalidDataError):
        yield from container.demux(stream)


def find_start(stream) -> float:
    """Seconds of the first packet on the file's own clock."""
    return float((stream.start_time or 0) * stream.time_base)


def probe(path: str | os.PathLike) -> MediaInfo:
    """What the container of a video declares.

    Raises InputError for a missing file, a file that is not media, and a video without frames.
    A truncated file with a complete header passes here and fails in `read_video`.
    """
    with open_media(path) as container:
        stream = select_video_stream(container, path)
        duration, fps = measure_duration(container, stream), _find_frame_rate(stream)
        num_frames = stream.frames or round(duration * fps)
        if not num_frames:
            raise InputError(f"{path}: found a video stream with 0 frames, expected a video")
        width, height = _displayed_size(stream)
        return MediaInfo(
            duration=duration,
            fps=fps,
            width=width,
            height=height,
            frames=num_frames,
            has_audio=bool(container.streams.audio),
        )


def _displayed_size(stream) -> tuple[int, int]:
    """Width and height in square pixels, before any rotation."""
    context = stream.codec_context
    aspect = float(stream.sample_aspect_ratio or 1)
    return round(context.width * aspect), context.height


def _target_size(stream, max_side: int | None) -> tuple[int, int]:
    width, height = _displayed_size(stream)
    shrink = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _decode(container, stream, path) -> Iterator[av.VideoFrame]:
    """Frames in order of time, without those of damaged packets; `FrameReader` counts losses."""
    try:
        for packet in _demux(container, stream):
            with contextlib.suppress(av.error.InvalidDataError):
                yield from packet.decode()
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: cannot be decoded ({_describe(error)}), expected a video"
        ) from error


def _add_times(
    frames: Iterable[av.VideoFrame], stream
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame), seconds from the first picture."""
    origin, period, end = find_start(stream), 1 / _find_frame_rate(stream), 0.0
    for frame in frames:
        start = end if frame.pts is None else float(frame.pts * frame.time_base) - origin
        length = float(frame.duration * frame.time_base) if frame.duration else period
        end = start + length
        yield start, end, frame


class _Resampler:
    """Small frames on an even grid of times.

    Attributes:
      start, stop: seconds of the file that are read.
      end: where the frames end (or `stop`), in seconds, once all were read.
      count: frames of the file from `start` on, once all were read.
    """

    def __init__(self, stream, start: float, stop: float, rate: float, max_side: int | None):
        self.start, self.stop, self.rate = start, stop, rate
        self.size, self.displayed = _target_size(stream, max_side), _displayed_size(stream)
        self.reformatter = VideoReformatter()
        self.yielded, self.end, self.count, self.rotated = 0, start, 0, False

    @property
    def scale(self) -> tuple[float, float]:
        """As that of a `Video`, once a frame was decoded."""
        x, y = (size / shown for size, shown in zip(self.size, self.displayed, strict=True))
        return (y, x) if self.rotated else (x, y)

    def resample(self, timed: Iterable) -> Iterator[np.ndarray]:
        """Shows each frame until the next."""
        current, end = None, self.start
        for time, frame_end, frame in timed:
            if current is not None:
                yield from self._repeat(current, min(time, self.stop))
            if time >= self.stop - TIME_TOLERANCE:
                self.end = self.stop
                return
            current, end = frame, frame_end
            self.count += end > self.start
        if current is not None:
            yield from self._repeat(current, min(end, self.stop))
        self.end = end

    def _repeat(self, frame: av.VideoFrame, until: float) -> Iterator[np.ndarray]:
        """`frame` at every remaining grid time before `until`."""
        picture = None
        while self.start + self.yielded / self.rate < until - TIME_TOLERANCE:
            picture = self._shrink(frame) if picture is None else picture
            self.yielded += 1
            yield picture

    def _shrink(self, frame: av.VideoFrame) -> np.ndarray:
        small = self.reformatter.reformat(
            frame,
            width=self.size[0],
            height=self.size[1],
            format="rgb24",
            interpolation="AREA",  # averages pixels, so that shrunken frames do not flicker
            threads=1,  # starting more costs more than a small frame
        )
        array = small.to_ndarray()
        self.rotated = frame.rotation % 180 != 0
        return np.rot90(array, frame.rotation // 90) if frame.rotation % 360 else array


class FrameReader:
    """The frames of a video at an even rate; each iteration decodes them again.

    Frame k is the one on show at time start + k / rate: the newest whose own time is not later
    (within half a millisecond), the first one before that. Frames are turned upright, made
    square-pixelled and shrunk to at most `max_side` pixels a side while they are decoded. There
    are round(duration * rate) of them, at least one.

    Args:
      path: a media file with a video stream.
      rate: frames a second.
      max_side: largest side in pixels; None keeps the size.
      start: seconds of the file to skip.
      seconds: how many seconds to read; None: up to the end.

    Attributes:
      duration, scale: as those of a `Video`, after an iteration.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        rate: float = 25.0,
        max_side: int | None = 256,
        *,
        start: float = 0.0,
        seconds: float | None = None,
    ):
        self.path, self.rate, self.max_side = path, rate, max_side
        self.start, self.stop = start, math.inf if seconds is None else start + seconds
        self.duration, self.scale = 0.0, (1.0, 1.0)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Uint8 [H, W, 3] each.

        Raises:
          InputError: missing file, not media, no video or no frames, or an end that comes much
            earlier than the container declares (truncated).
        """
        last, yielded = None, 0
        with open_media(self.path) as container:
            stream = select_video_stream(container, self.path)
            declared, fps = measure_duration(container, stream), _find_frame_rate(stream)
            resampler = _Resampler(stream, self.start, self.stop, self.rate, self.max_side)
            if self.start > 0:
                with contextlib.suppress(av.error.FFmpegError):  # without it, all is decoded
                    offset = round((self.start + find_start(stream)) / stream.time_base)
                    container.seek(offset, stream=stream, backward=True)
            total = self._count_frames(declared or math.inf)
            timed = _add_times(_decode(container, stream, self.path), stream)
            for frame in resampler.resample(timed):
                if last is not None and yielded < total:
                    yield last
                    yielded += 1
                last, self.scale = frame, resampler.scale
        if last is None:
            after = f" after {self.start:g} s" if self.start else ""
            raise InputError(f"{self.path}: found no video frames{after}, expected a video")
        end = min(self.stop, declared) if declared else resampler.end
        self.duration = end - self.start
        decoded_seconds = resampler.end - self.start
        self._check_complete(decoded_seconds, resampler.count, round(self.duration * fps))
        yield from itertools.repeat(last, self._count_frames(end) - yielded)

    def _count_frames(self, end: float) -> float:
        """Frames up to a second of the file; infinite for an infinite one."""
        seconds = min(self.stop, end) - self.start
        return seconds if math.isinf(seconds) else max(1, round(seconds * self.rate))

    def _check_complete(self, seconds: float, count: int, expected: int) -> None:
        """Raises InputError if much is missing of the seconds and frames expected."""
        share = 1 - MAX_MISSING
        if seconds < share * self.duration and count < share * expected - 2:
            raise InputError(
                f"{self.path}: truncated: found {count} frames ({seconds:.2f} s), expected "
                f"{expected} ({self.duration:.2f} s) by its header"
            )


def read_video(
    path: str | os.PathLike, rate: float = 25.0, max_side: int | None = 256, **span
) -> Video:
    """All frames of a video, uint8 [T, H, W, 3]; arguments and errors as those of `FrameReader`."""
    reader = FrameReader(path, rate, max_side, **span)
    frames = np.stack(list(reader))
    return Video(frames=frames, rate=rate, duration=reader.duration, scale=reader.scale)


def read_audio(
    path: str | os.PathLike,
    sample_rate: int = SAMPLE_RATE,
    *,
    start: float = 0.0,
    seconds: float | None = None,
) -> np.ndarray:
    """Reads the sound of a media file: float32 [n], mono, within [-1, 1].

    Sample 0 is at the time of the first video frame (if there is video) plus `start` seconds;
    sound that begins later is preceded by silence. Gaps inside the track are closed.

    Raises InputError for a missing file, one that is not media, and one without sound.
    """
    with open_media(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path}: found no audio stream, expected sound")
        stream = container.streams.audio[0]
        origin = (
            find_start(container.streams.video[0])
            if container.streams.video
            else find_start(stream)
        )
        stop = None if seconds is None else start + seconds
        declared = float(stream.duration * stream.time_base) if stream.duration else np.inf
        first, chunks = _decode_samples(container, stream, path, sample_rate, origin, stop)
    if not chunks:
        raise InputError(f"{path}: found an audio stream without samples, expected sound")
    wave = np.concatenate(chunks)
    if len(wave) > declared * sample_rate:  # a codec pads its last block
        wave = wave[: round(declared * sample_rate)]
    skip = round((start + origin - first) * sample_rate)
    wave = wave[skip:] if skip >= 0 else np.concatenate([np.zeros(-skip, np.float32), wave])
    wave = wave[: None if seconds is None else round(seconds * sample_rate)]
    return np.clip(wave, -1, 1)


def _decode_samples(
    container, stream, path, sample_rate, origin, stop
) -> tuple[float, list[np.ndarray]]:
    """The time of the first sample in seconds, and the track in pieces up to time `stop`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
    first, chunks, is_done = None, [], False
    try:
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.InvalidDataError):
                for frame in packet.decode():
                    time = frame.time if frame.time is not None else 0.0
                    first = time if first is None else first
                    is_done = stop is not None and time - origin > stop
                    chunks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            if is_done:
                break
        chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except av.error.InvalidDataError:
        pass  # a truncated end: keep what was decoded
    except av.error.FFmpegError as error:
        raise InputError(
            f"{path}: cannot be decoded ({_describe(error)}), expected sound"
        ) from error
    return first or 0.0, chunks
