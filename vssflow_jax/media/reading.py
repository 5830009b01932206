"""Media files to arrays, by PyAV: what a file holds, its frames, its sound.

Time 0 of a file is its first video frame (its first sound, in a file without video), so that
frames and samples read apart from each other lie on one clock.
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

SAMPLE_RATE = 16_000
SMALL = 640 * 480  # pixels; pictures up to this size decode faster on one thread
EARLY = 0.1  # share of a stream that may be missing at its end before it counts as truncated
TICK = 5e-4  # seconds; times closer than this are the same

# FFmpeg's messages go nowhere: InputError reports broken files. Any level but None would also
# call Python from decoder threads, which can wait for ever on a stream that is being closed.
av.logging.set_level(None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a video file says about itself: seconds, frames a second, pixels, frame count."""

    duration: float
    fps: float
    width: int
    height: int
    frames: int
    has_audio: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """Decoded pictures: `frames` uint8 [T, H, W, 3], frame k shown at k / `rate` seconds.

    `duration` is in seconds; `scale` is the pair of factors (x, y) from the file's pixels to
    these (of the picture as it is shown: turned upright, with square pixels).
    """

    frames: np.ndarray
    rate: float
    duration: float
    scale: tuple[float, float] = (1.0, 1.0)


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
    """Opens a media file; every way in which that can fail is an InputError that names it."""
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
            f"{path}: not a media file that can be read, or truncated ({_why(error)}), "
            "expected video or audio such as mp4, mkv, wav"
        ) from error
    with container:
        yield container


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def video_stream(container, path):
    """The first video stream. InputError if there is none, or none with pictures."""
    if not container.streams.video:
        raise InputError(f"{path}: found no video stream, expected a video")
    stream = container.streams.video[0]
    if not (stream.codec_context.width and stream.codec_context.height):
        raise InputError(f"{path}: found a video stream without frames, expected a video")
    small = stream.codec_context.width * stream.codec_context.height <= SMALL
    stream.thread_type = "NONE" if small else "AUTO"
    if small:
        stream.codec_context.thread_count = 1
    return stream


def _fps(stream) -> float:
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


def stream_duration(container, stream) -> float:
    """Seconds of a stream: by its header or its tag (Matroska), else by looking at its packets.

    The container's own duration is that of its longest stream, so it says nothing here.
    """
    if stream.duration:
        return float(stream.duration * stream.time_base)
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag and float(tag[3]) + int(tag[1]) + int(tag[2]):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3]) - stream_start(stream)
    with av.open(container.name, metadata_errors="replace") as again:
        packets = [p for p in _demuxed(again, again.streams[stream.index]) if p.pts is not None]
        ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in packets]
    return max(ends) - stream_start(stream) if ends else 0.0


def _demuxed(container, stream) -> Iterator[av.Packet]:
    """Packets up to the end or to where the file breaks off."""
    with contextlib.suppress(av.error.InvalidDataError):
        yield from container.demux(stream)


def stream_start(stream) -> float:
    """Seconds of the first packet on the file's own clock."""
    return float((stream.start_time or 0) * stream.time_base)


def probe(path: str | os.PathLike) -> MediaInfo:
    """What the container of a video says about it.

    Raises InputError for a missing file, a file that is not media, and a video without frames.
    A truncated file whose header is whole passes here and fails in `read_video`.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        duration, fps = stream_duration(container, stream), _fps(stream)
        frames = stream.frames or round(duration * fps)
        if not frames:
            raise InputError(f"{path}: found a video stream with 0 frames, expected a video")
        width, height = _shown_size(stream)
        return MediaInfo(
            duration=duration,
            fps=fps,
            width=width,
            height=height,
            frames=frames,
            has_audio=bool(container.streams.audio),
        )


def _shown_size(stream) -> tuple[int, int]:
    """Width and height in square pixels, before any rotation."""
    context = stream.codec_context
    aspect = float(stream.sample_aspect_ratio or 1)
    return round(context.width * aspect), context.height


def _target_size(stream, max_side: int | None) -> tuple[int, int]:
    width, height = _shown_size(stream)
    shrink = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _decoded(container, stream, path) -> Iterator[av.VideoFrame]:
    """Frames in order of time. A damaged packet is passed over; losses are counted later."""
    try:
        for packet in _demuxed(container, stream):
            with contextlib.suppress(av.error.InvalidDataError):
                yield from packet.decode()
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded ({_why(error)}), expected a video") from error


def _timed(frames: Iterable[av.VideoFrame], stream) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame), seconds from the first picture."""
    origin, period, end = stream_start(stream), 1 / _fps(stream), 0.0
    for frame in frames:
        start = end if frame.pts is None else float(frame.pts * frame.time_base) - origin
        length = float(frame.duration * frame.time_base) if frame.duration else period
        end = start + length
        yield start, end, frame


class _Picker:
    """Small pictures on an even grid of times, one after another.

    After the last one `end` is where the pictures end (or `stop`), in seconds, and `count` how
    many there were from `start` on.
    """

    def __init__(self, stream, start: float, stop: float, rate: float, max_side: int | None):
        self.start, self.stop, self.rate = start, stop, rate
        self.size, self.shown = _target_size(stream, max_side), _shown_size(stream)
        self.reformatter = VideoReformatter()
        self.given, self.end, self.count, self.turned = 0, start, 0, False

    @property
    def scale(self) -> tuple[float, float]:
        """As that of a `Video`, once there was a picture."""
        x, y = (size / shown for size, shown in zip(self.size, self.shown, strict=True))
        return (y, x) if self.turned else (x, y)

    def pictures(self, timed: Iterable) -> Iterator[np.ndarray]:
        """Shows each frame until the next."""
        shown, end = None, self.start
        for time, frame_end, frame in timed:
            if shown is not None:
                yield from self._show(shown, min(time, self.stop))
            if time >= self.stop - TICK:
                self.end = self.stop
                return
            shown, end = frame, frame_end
            self.count += end > self.start
        if shown is not None:
            yield from self._show(shown, min(end, self.stop))
        self.end = end

    def _show(self, frame: av.VideoFrame, until: float) -> Iterator[np.ndarray]:
        """`frame` at every free grid time before `until`."""
        picture = None
        while self.start + self.given / self.rate < until - TICK:
            picture = self._small(frame) if picture is None else picture
            self.given += 1
            yield picture

    def _small(self, frame: av.VideoFrame) -> np.ndarray:
        small = self.reformatter.reformat(
            frame,
            width=self.size[0],
            height=self.size[1],
            format="rgb24",
            interpolation="AREA",  # averages what it shrinks, so that nothing flickers
            threads=1,  # starting more costs more than a small picture
        )
        array = small.to_ndarray()
        self.turned = frame.rotation % 180 != 0
        return np.rot90(array, frame.rotation // 90) if frame.rotation % 360 else array


class Pictures:
    """The pictures of a video at an even rate, one after another, as often as one wants them.

    Picture k is the one on show at time start + k / rate: the newest whose own time is not later
    (within half a millisecond), the first one before that. Pictures are turned upright, made
    square-pixelled and shrunk to at most `max_side` pixels a side while they are decoded. There
    are round(duration * rate) of them, at least one.

    Args:
      path: a media file with a video stream.
      rate: pictures a second wanted.
      max_side: largest side in pixels; None keeps the size.
      start: seconds of the file to pass over.
      seconds: how many seconds to read; None: up to the end.

    Attributes:
      duration, scale: as those of a `Video`; known once they were gone through.
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
            earlier than the container says (truncated).
        """
        last, given = None, 0
        with opened(self.path) as container:
            stream = video_stream(container, self.path)
            declared, fps = stream_duration(container, stream), _fps(stream)
            picker = _Picker(stream, self.start, self.stop, self.rate, self.max_side)
            if self.start > 0:
                with contextlib.suppress(av.error.FFmpegError):  # then all is decoded
                    offset = round((self.start + stream_start(stream)) / stream.time_base)
                    container.seek(offset, stream=stream, backward=True)
            total = self._total(declared or math.inf)
            for picture in picker.pictures(_timed(_decoded(container, stream, self.path), stream)):
                if last is not None and given < total:
                    yield last
                    given += 1
                last, self.scale = picture, picker.scale
        if last is None:
            after = f" after {self.start:g} s" if self.start else ""
            raise InputError(f"{self.path}: found no video frames{after}, expected a video")
        wanted = min(self.stop, declared) if declared else picker.end
        self.duration = wanted - self.start
        self._check(picker.end - self.start, picker.count, round(self.duration * fps))
        yield from itertools.repeat(last, self._total(wanted) - given)

    def _total(self, end: float) -> float:
        """Pictures up to a second of the file, infinite if it is."""
        seconds = min(self.stop, end) - self.start
        return seconds if math.isinf(seconds) else max(1, round(seconds * self.rate))

    def _check(self, seconds: float, count: int, expected: int) -> None:
        """Raises an InputError where much is missing of the seconds and pictures expected."""
        share = 1 - EARLY
        if seconds < share * self.duration and count < share * expected - 2:
            raise InputError(
                f"{self.path}: truncated: found {count} frames ({seconds:.2f} s), expected "
                f"{expected} ({self.duration:.2f} s) by its header"
            )


def read_video(
    path: str | os.PathLike, rate: float = 25.0, max_side: int | None = 256, **span
) -> Video:
    """All of the `Pictures` of a video at once, frames uint8 [T, H, W, 3]; arguments as there."""
    pictures = Pictures(path, rate, max_side, **span)
    frames = np.stack(list(pictures))
    return Video(frames=frames, rate=rate, duration=pictures.duration, scale=pictures.scale)


def read_audio(
    path: str | os.PathLike,
    sample_rate: int = SAMPLE_RATE,
    *,
    start: float = 0.0,
    seconds: float | None = None,
) -> np.ndarray:
    """Reads the sound of a media file: float32 [n], mono, within [-1, 1].

    Sample 0 is at the time of the first video frame (if there is video) plus `start` seconds;
    sound that begins later is led by silence. Gaps inside the track are closed.

    Raises InputError for a missing file, one that is not media, and one without sound.
    """
    with opened(path) as container:
        if not container.streams.audio:
            raise InputError(f"{path}: found no audio stream, expected sound")
        stream = container.streams.audio[0]
        origin = (
            stream_start(container.streams.video[0])
            if container.streams.video
            else stream_start(stream)
        )
        stop = None if seconds is None else start + seconds
        declared = float(stream.duration * stream.time_base) if stream.duration else np.inf
        first, chunks = _samples(container, stream, path, sample_rate, origin, stop)
    if not chunks:
        raise InputError(f"{path}: found an audio stream without samples, expected sound")
    wave = np.concatenate(chunks)
    if len(wave) > declared * sample_rate:  # a codec's last block is filled up
        wave = wave[: round(declared * sample_rate)]
    skip = round((start + origin - first) * sample_rate)
    wave = wave[skip:] if skip >= 0 else np.concatenate([np.zeros(-skip, np.float32), wave])
    wave = wave[: None if seconds is None else round(seconds * sample_rate)]
    return np.clip(wave, -1, 1)


def _samples(container, stream, path, sample_rate, origin, stop) -> tuple[float, list[np.ndarray]]:
    """The time of the first sample in seconds, and the track in pieces up to time `stop`."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=sample_rate)
    first, chunks, done = None, [], False
    try:
        for packet in container.demux(stream):
            with contextlib.suppress(av.error.InvalidDataError):
                for frame in packet.decode():
                    time = frame.time if frame.time is not None else 0.0
                    first = time if first is None else first
                    done = stop is not None and time - origin > stop
                    chunks += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            if done:
                break
        chunks += [part.to_ndarray()[0] for part in resampler.resample(None)]
    except av.error.InvalidDataError:
        pass  # a truncated end; what was decoded stands
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded ({_why(error)}), expected sound") from error
    return first or 0.0, chunks
