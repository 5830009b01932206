"""Frames of media files to arrays, and what a file holds.

Time 0 of a file is its first video frame (its first sound, in a file without video), so that
frames and samples that are read separately share one clock. `media.sound` reads the samples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import os
from collections.abc import Iterable, Iterator

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from vssflow_jax.common.errors import InputError
from vssflow_jax.media import durations, reading, truncation

MAX_MISSING = 0.1  # share of a stream that may be missing at its end before it counts as truncated
MISSING_FRAMES = 1.5  # frames by which a stream may end before its header says
TIME_TOLERANCE = 5e-4  # seconds; times closer than this are the same
MAX_ASPECT = 16.0  # of a pixel; beyond it, or below its inverse, it is a damaged number
MAX_HOLD = 0.5  # seconds behind the end of a picture without another one; longer is a gap
SEEK_MARGIN = 10.0  # seconds before the wanted one to seek to where the format is inexact


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What a video file holds.

    Attributes:
      duration: seconds of the video stream.
      fps: frames a second, on average.
      width, height: square pixels, before any rotation.
      frames: number of frames.
      has_audio: whether the audio track has any data.
      is_still: whether it is one picture (PNG, JPEG and the like).
    """

    duration: float
    fps: float
    width: int
    height: int
    frames: int
    has_audio: bool
    is_still: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class MediaHeader:
    """What the header of a media file says; None for a stream that there is not.

    Attributes:
      fps: frames a second.
      width, height: square pixels, before any rotation.
      sample_rate: of the audio track, in samples a second.
    """

    fps: float | None = None
    width: int | None = None
    height: int | None = None
    sample_rate: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Video:
    """A decoded video.

    Attributes:
      frames: uint8 [T, H, W, 3]; frame k is shown at k / `rate` seconds.
      rate: frames a second.
      duration: seconds.
      scale: factors (x, y) from the file's pixels to those of `frames`, which are upright and
        square.
      notes: what of the file is missing, one line each.
    """

    frames: np.ndarray
    rate: float
    duration: float
    scale: tuple[float, float] = (1.0, 1.0)
    notes: tuple[str, ...] = ()


def probe(path: str | os.PathLike, audio_track: int | None = None) -> MediaInfo:
    """What a video file holds.

    Raises InputError for a missing file, a file that is not media, a video without frames or
    without a decoder, and fewer than `audio_track` audio tracks. A truncated file with a complete
    header passes here and fails in `read_video`.
    """
    with reading.open_media(path) as container:
        stream = reading.select_video_stream(container, path)
        times = durations.measure_times(container, stream, path)
        fps = reading.find_frame_rate(stream)
        num_frames = times.frames or round(times.duration * fps)
        if not num_frames:
            raise InputError(f"{path}: found a video stream with 0 frames, expected a video")
        audio = reading.select_audio_stream(container, path, audio_track)
        width, height = find_size(stream)
        return MediaInfo(
            duration=times.duration,
            fps=fps,
            width=width,
            height=height,
            frames=num_frames,
            has_audio=audio is not None
            and (audio.frames > 0 or reading.has_packets(path, audio.index)),
            is_still=num_frames == 1 and _holds_pictures(container),
        )


def read_header(path: str | os.PathLike) -> MediaHeader:
    """What the header of a media file says, without reading its packets as `probe` does.

    Raises InputError for a missing file and one that is not media.
    """
    with reading.open_media(path) as container:
        video = reading.find_video_stream(container)
        audio = reading.select_audio_stream(container, path)
        header = MediaHeader(sample_rate=audio.rate if audio else None)
        if video is None or video.codec_context is None:
            return header
        width, height = find_size(video)
        return dataclasses.replace(
            header, fps=reading.find_frame_rate(video), width=width, height=height
        )


def _holds_pictures(container) -> bool:
    """Whether the format is one of pictures, such as PNG or GIF."""
    name = container.format.name
    return name.endswith("_pipe") or name in ("image2", "gif", "apng", "jpegxl_anim", "ico")


def find_size(stream) -> tuple[int, int]:
    """Width and height of a video stream in square pixels, before any rotation."""
    context = stream.codec_context
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / MAX_ASPECT <= aspect <= MAX_ASPECT:
        aspect = 1.0
    return max(1, round(context.width * aspect)), context.height


def _target_size(stream, max_side: int | None) -> tuple[int, int]:
    width, height = find_size(stream)
    shrink = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _add_times(
    frames: Iterable[av.VideoFrame], stream, times: durations.StreamTimes, path
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame), seconds from the first picture."""
    rate = times.rate or reading.find_frame_rate(stream)
    period, end, clock = 1 / rate, 0.0, durations.SteadyClock(path)
    time_base = stream.time_base  # also that of its frames, each of which would make a Fraction
    for frame in frames:
        start = end
        length = reading.to_seconds(frame.duration, time_base) if frame.duration else period
        if frame.pts is not None and times.has_times:
            time = reading.to_seconds(frame.pts, time_base) - times.start
            start = time + clock.advance(time, length)
        end = start + length
        yield start, end, frame


class _Resampler:
    """Small frames on an even grid of times.

    Attributes:
      start, stop: seconds of the file that are read.
      end: where the frames end (or `stop`), in seconds, once all were read.
      count: frames of the file from `start` on, once all were read.
      gaps: without pictures, longer than MAX_HOLD.
    """

    def __init__(self, stream, start: float, stop: float, rate: float, max_side: int | None):
        self.start, self.stop, self.rate = start, stop, rate
        self.size, self.displayed = _target_size(stream, max_side), find_size(stream)
        self.reformatter = VideoReformatter()
        self.yielded, self.end, self.count, self.rotated = 0, start, 0, False
        self.gaps = durations.Gaps()

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
                if min(time, self.stop) - max(end, self.start) > MAX_HOLD:
                    self.gaps.add(end, time)
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
      notes: what of the file is missing, one line each, after an iteration.
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
        self.notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Uint8 [H, W, 3] each.

        Raises:
          InputError: missing file, not media, no video or no frames, or an end that comes much
            earlier than the container declares (truncated).
        """
        last, yielded = None, 0
        with reading.open_media(self.path) as container:
            stream = reading.select_video_stream(container, self.path)
            times = durations.measure_times(container, stream, self.path)
            fps = times.rate or reading.find_frame_rate(stream)
            resampler = _Resampler(stream, self.start, self.stop, self.rate, self.max_side)
            total = self._count_frames(times.duration or math.inf)
            offset = self._find_seek_offset(container, times)
            if offset is not None:  # without one, all is decoded
                container.seek(offset, stream=stream, backward=True)
            decoder = reading.PacketDecoder(container, stream)
            timed = _add_times(decoder, stream, times, self.path)
            for frame in reading.decode_frames(resampler.resample(timed), self.path):
                if last is not None and yielded < total:
                    yield last
                    yielded += 1
                last, self.scale = frame, resampler.scale
            if last is None:
                after = f" after {self.start:g} s" if self.start else ""
                count = decoder.num_damaged
                damaged = f", and {count} packets that cannot be decoded" if count else ""
                reason = truncation.describe_truncation(decoder.file)
                why = f" ({reason})" if reason else ""
                raise InputError(
                    f"{self.path}: found no video frames{after}{damaged}{why}, expected a video"
                )
            end = min(self.stop, times.duration) if times.duration else resampler.end
            self.duration = end - self.start
            has_end = self.stop > times.duration - MISSING_FRAMES / fps
            expected = round(self.duration * fps)
            self.notes = tuple(self._describe_losses(resampler, decoder, expected, has_end))
        yield from itertools.repeat(last, self._count_frames(end) - yielded)

    def _find_seek_offset(self, container, times: durations.StreamTimes) -> int | None:
        """Where to seek to, in units of the video stream, for a key frame before the start.

        Formats without an index may end up too late, which the first frame there shows.
        """
        if self.start <= 0 or not (times.has_times and times.is_steady):
            return None
        for margin in (0.0, SEEK_MARGIN):
            with (
                reading.open_media(reading.find_file(container)) as trial,
                contextlib.suppress(av.error.FFmpegError),
            ):
                stream = reading.select_video_stream(trial, self.path)
                offset = round((max(self.start - margin, 0.0) + times.start) / stream.time_base)
                trial.seek(offset, stream=stream, backward=True)
                if "mp4" in trial.format.name:
                    return offset
                frames = reading.decode_frames(reading.PacketDecoder(trial, stream), self.path)
                timed = _add_times(frames, stream, times, self.path)
                first = next(timed, None)
                if first is not None and first[0] <= self.start + TIME_TOLERANCE:
                    return offset
        return None

    def _count_frames(self, end: float) -> float:
        """Frames up to a second of the file; infinite for an infinite one."""
        seconds = min(self.stop, end) - self.start
        return seconds if math.isinf(seconds) else max(1, round(seconds * self.rate))

    def _describe_losses(
        self, resampler: _Resampler, decoder: reading.PacketDecoder, expected: int, has_end: bool
    ) -> Iterator[str]:
        """Lines about missing and damaged frames; raises InputError if there are many of them.

        `expected` frames should have been found; `has_end`: whether the file's last was asked for.
        """
        seconds, count, share = resampler.end - self.start, resampler.count, 1 - MAX_MISSING
        tolerance = MISSING_FRAMES * self.duration / max(expected, 1)
        is_truncated = self.duration - seconds > tolerance and count < expected
        truncated = (
            f"{self.path}: truncated: found {count} frames ({seconds:.2f} s), expected "
            f"{expected} ({self.duration:.2f} s) by its header"
        )
        if is_truncated and seconds < share * self.duration and count < share * expected - 2:
            raise InputError(truncated)
        num_damaged = decoder.num_damaged
        damaged = f"{self.path}: found {num_damaged} packets of pictures that cannot be decoded"
        if num_damaged > MAX_MISSING * (count + num_damaged) + 2:
            raise InputError(
                f"{damaged}, and {count} pictures, expected a video that is neither encrypted nor "
                "damaged"
            )
        if is_truncated:
            yield f"{truncated}: the last picture is held"
        elif has_end and (reason := truncation.describe_truncation(decoder.file)):
            yield f"{self.path}: {reason}"
        if num_damaged > is_truncated:  # the last packet of a truncated file is damaged
            yield f"{damaged}: the pictures before them are held"
        if decoder.num_marked:
            yield (
                f"{self.path}: found {decoder.num_marked} packets of pictures that are marked as "
                "damaged: they may look wrong"
            )
        if gaps := resampler.gaps.describe("pictures"):
            yield f"{self.path}: {gaps}: the one before is held"


def read_video(
    path: str | os.PathLike, rate: float = 25.0, max_side: int | None = 256, **span
) -> Video:
    """All frames of a video, uint8 [T, H, W, 3]; arguments and errors as those of `FrameReader`."""
    reader = FrameReader(path, rate, max_side, **span)
    frames = np.stack(list(reader))
    return Video(
        frames=frames,
        rate=rate,
        duration=reader.duration,
        scale=reader.scale,
        notes=reader.notes,
    )
