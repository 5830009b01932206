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

from vssflow_jax.errors import InputError

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
    """Collects small pictures on an even grid of times."""

    def __init__(self, start: float, rate: float, width: int, height: int):
        self.start, self.rate, self.width, self.height = start, rate, width, height
        self.reformatter = VideoReformatter()
        self.frames: list[np.ndarray] = []

    def show(self, frame: av.VideoFrame, until: float) -> None:
        """Puts `frame` at every free grid time before `until`."""
        picture = None
        while self.start + len(self.frames) / self.rate < until - TICK:
            picture = self._small(frame) if picture is None else picture
            self.frames.append(picture)

    def _small(self, frame: av.VideoFrame) -> np.ndarray:
        small = self.reformatter.reformat(
            frame,
            width=self.width,
            height=self.height,
            format="rgb24",
            interpolation="AREA",  # averages what it shrinks, so that nothing flickers
            threads=1,  # starting more costs more than a small picture
        )
        array = small.to_ndarray()
        return np.rot90(array, frame.rotation // 90) if frame.rotation % 360 else array


def _pick(timed: Iterable, picker: _Picker, stop: float) -> tuple[float, int]:
    """Shows each frame until the next; gives where the pictures end, and how many there were."""
    shown, end, count = None, picker.start, 0
    for time, frame_end, frame in timed:
        if shown is not None:
            picker.show(shown, min(time, stop))
        if time >= stop - TICK:
            return stop, count
        shown, end = frame, frame_end
        count += end > picker.start
    if shown is not None:
        picker.show(shown, min(end, stop))
    return end, count


def read_video(
    path: str | os.PathLike,
    rate: float = 25.0,
    max_side: int | None = 256,
    *,
    start: float = 0.0,
    seconds: float | None = None,
) -> Video:
    """Reads the pictures of a video at an even rate.

    Frame k is the one on show at time start + k / rate: the newest whose own time is not later
    (within half a millisecond), the first one before that. Pictures are turned upright, made
    square-pixelled and shrunk to at most `max_side` pixels a side while they are decoded, so
    that memory holds only the small ones.

    Args:
      path: a media file with a video stream.
      rate: frames a second wanted.
      max_side: largest side in pixels; None keeps the size.
      start: seconds of the file to pass over.
      seconds: how many seconds to read; None: up to the end.

    Returns:
      Video, frames uint8 [round(duration * rate), H, W, 3] (at least one frame).

    Raises:
      InputError: missing file, not media, no video or no frames, or an end that comes much
        earlier than the container says (truncated).
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        declared, fps = stream_duration(container, stream), _fps(stream)
        shown = _shown_size(stream)
        picker = _Picker(start, rate, *_target_size(stream, max_side))
        if start > 0:
            with contextlib.suppress(av.error.FFmpegError):  # then all is decoded from the start
                offset = round((start + stream_start(stream)) / stream.time_base)
                container.seek(offset, stream=stream, backward=True)
        stop = math.inf if seconds is None else start + seconds
        end, count = _pick(_timed(_decoded(container, stream, path), stream), picker, stop)
    if not picker.frames:
        raise InputError(f"{path}: found no video frames{_at(start)}, expected a video")
    wanted = min(stop, declared) if declared else end
    expected = round((wanted - start) * fps)
    share = 1 - EARLY
    if end - start < share * (wanted - start) and count < share * expected - 2:
        raise InputError(
            f"{path}: truncated: found {count} frames ({end - start:.2f} s), expected {expected} "
            f"({wanted - start:.2f} s) by its header"
        )
    total = max(1, round((wanted - start) * rate))
    last = itertools.repeat(picker.frames[-1], max(0, total - len(picker.frames)))
    frames = np.stack([*picker.frames[:total], *last])
    scale = (picker.width / shown[0], picker.height / shown[1])
    turned = frames.shape[1:3] != (picker.height, picker.width)
    return Video(
        frames=frames, rate=rate, duration=wanted - start, scale=scale[::-1] if turned else scale
    )


def _at(start: float) -> str:
    return f" after {start:g} s" if start else ""


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
