"""Media files to arrays, by PyAV: which streams a file has, how long they last, their frames.

Time 0 of a file is its first video frame (its first sound, in a file without video), so that
frames and samples that are read separately share one clock. `media.sound` reads the samples.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import mmap
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import av
import av.logging
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import file_size, local_copy, to_path

SINGLE_THREAD_PIXELS = 640 * 480  # frames of up to this many decode faster on one thread
MAX_MISSING = 0.1  # share of a stream that may be missing at its end before it counts as truncated
MISSING_FRAMES = 1.5  # frames by which a stream may end before its header says
TIME_TOLERANCE = 5e-4  # seconds; times closer than this are the same
MAX_STEP_BACK = 0.5  # seconds; a clock that goes back further was restarted (joined recordings)
SEEK_MARGIN = 10.0  # seconds before the wanted one to seek to where the format is inexact
MAX_DURATION = 86_400.0  # seconds of a file; a longer one is a damaged number
MAX_GAP = 3600.0  # seconds between two frames; a longer gap is a damaged time

MP3_TAG_BYTES = 512  # of a frame within which its tag is
MP3_RATES = (44_100, 48_000, 32_000)  # of MPEG 1; MPEG 2 has half of them
_MP3_TAG = re.compile(rb"(?:Xing|Info)(?P<flags>.{4})(?P<frames>.{4})", re.DOTALL)
STREAMED_WAV_BYTES = 0x7FFFF000  # from which a wav's size stands for "not known yet"
# Formats whose header has the number of samples; others may only estimate a length.
EXACT_FORMATS = {"wav", "aiff", "au", "flac", "tta", "wv", "mp4"}
# Formats that name other files or addresses, and text that FFmpeg shows as pictures.
REFUSED_FORMATS = {"hls", "dash", "concat", "sdp", "rtsp", "webm_dash_manifest", "imf", "tty"}
# No protocol but files; names with % are no patterns for series of pictures.
OPEN_OPTIONS = {"protocol_whitelist": "file", "pattern_type": "none"}
# Titles and the like need not be UTF-8: up to version 18 PyAV asks what to do, then it keeps them.
METADATA_OPTIONS = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

# FFmpeg's messages are discarded: InputError reports broken files. Any level but None would also
# call Python from decoder threads, which can deadlock with a stream that is being closed.
av.logging.set_level(None)


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
    """

    frames: np.ndarray
    rate: float
    duration: float
    scale: tuple[float, float] = (1.0, 1.0)


@contextlib.contextmanager
def open_media(path: str | os.PathLike) -> Iterator[av.container.InputContainer]:
    """Opens a media file. Every failure is an InputError that names the file."""
    path = to_path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file, expected a media file")
    if not path.is_file():
        raise InputError(f"{path}: not a file, expected a media file")
    if file_size(path) == 0:
        raise InputError(f"{path}: the file is empty, expected a media file")
    with local_copy(path) as copy:
        yield from _open_file(copy, path)


def _open_file(copy: pathlib.Path, path: pathlib.Path) -> Iterator[av.container.InputContainer]:
    """Opens `copy`, the file of this machine that `path` is or was copied to."""
    try:
        container = av.open(f"file:{copy}", options=OPEN_OPTIONS, **METADATA_OPTIONS)
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
    """The first video stream that is no cover picture; None without one."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), None)


def select_video_stream(container, path):
    """The first video stream that is no cover picture, ready to be decoded.

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
    default = (stream for stream in streams if stream.disposition & Disposition.default)
    return next(default, streams[0] if streams else None)


def check_decoder(stream, path) -> None:
    """Raises InputError for a stream whose codec cannot be decoded here."""
    if stream.codec_context is None:
        raise InputError(
            f"{path}: stream {stream.index} ({stream.type}): found codec "
            f"{_find_codec_tag(path, stream.index) or 'of unknown name'}, which cannot be decoded "
            f"here, expected one such as {'H.264' if stream.type == 'video' else 'AAC'}"
        )


def _find_codec_tag(path: str | os.PathLike, index: int) -> str:
    """The four characters by which an mp4 or mov file names a stream's codec; else empty."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        place = -1
        for _ in range(index + 1):  # one table of codecs (stsd) a stream
            place = data.find(b"stsd", place + 1)
            if place < 0:
                return ""
        return "".join(
            c for c in data[place + 16 : place + 20].decode("latin-1") if c.isprintable()
        )


def _find_frame_rate(stream) -> float:
    return float(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamTimes:
    """When a stream begins and how long it lasts.

    Attributes:
      start: seconds of the first frame on the file's own clock.
      duration: seconds from there to the end of the last frame.
      frames: number of frames.
      has_times: whether every frame has a time to show it.
      is_steady: whether the times never restart, so that one can seek.
    """

    start: float
    duration: float
    frames: int
    has_times: bool = True
    is_steady: bool = True


def measure_times(container, stream, path: str | os.PathLike) -> StreamTimes:
    """When a stream begins and how long it lasts.

    The sample table of mp4 and mov files says it. Other headers may only estimate, so that the
    packets are looked at; where these have no times (raw H.264), frames are decoded and counted.
    A header that declares more than there is wins: the file is truncated. The container's own
    duration is that of its longest stream, which may be another one.

    Raises InputError for a duration that no recording has.
    """
    if "mp4" in container.format.name and stream.duration and stream.frames:
        times = StreamTimes(
            start=find_start(stream),
            duration=float(stream.duration * stream.time_base),
            frames=stream.frames,
        )
    else:
        status = os.stat(path)
        times = _measure_packets(
            os.fspath(path), status.st_size, status.st_mtime_ns, stream.index, _declared_end(stream)
        )
    if not 0 <= times.duration <= MAX_DURATION:
        raise InputError(
            f"{path}: found a duration of {times.duration:.0f} s by its header, expected 0 to "
            f"{MAX_DURATION:g} s"
        )
    return times


def _declared_end(stream) -> float:
    """Seconds on the file's clock at which a stream ends by its tag (Matroska) or AVI header."""
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    if stream.container.format.name == "avi" and stream.duration:
        return float(stream.duration * stream.time_base)
    return 0.0


def find_declared_end(container, stream, path: str | os.PathLike) -> float:
    """Seconds on the file's clock at which a stream ends by a header that does not estimate.

    0 if there is no such header.
    """
    formats = set(container.format.name.split(","))
    is_pcm = stream.codec_context is not None and stream.codec_context.name.startswith("pcm_")
    if "wav" in formats and is_pcm:
        return _read_wav_seconds(path)
    if "mp3" in formats:
        return _read_mp3_seconds(path)
    if stream.duration and EXACT_FORMATS & formats:
        return find_start(stream) + float(stream.duration * stream.time_base)
    return _declared_end(stream)


def _read_wav_seconds(path: str | os.PathLike) -> float:
    """Seconds of a PCM wav by its header, which FFmpeg replaces by the file's size; 0: unknown."""
    with open(path, "rb") as file:
        bytes_per_second, long_size, head = 0, 0, file.read(12)
        while head.startswith((b"RIFF", b"RF64")) and len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                size = long_size or (size if size < STREAMED_WAV_BYTES else 0)
                return size / bytes_per_second if bytes_per_second else 0.0
            if chunk[:4] in (b"fmt ", b"ds64") and size >= 16:
                data = file.read(16)
                if chunk[:4] == b"ds64":  # of files beyond 4 GB
                    long_size = int.from_bytes(data[8:16], "little")
                else:
                    bytes_per_second = int.from_bytes(data[8:12], "little")
                size -= len(data)
            file.seek(size + size % 2, os.SEEK_CUR)
    return 0.0


def _read_mp3_seconds(path: str | os.PathLike) -> float:
    """Seconds of an mp3 by the count in its first frame (the tags Xing and Info); 0: unknown."""
    with open(path, "rb") as file:
        head = file.read(10)
        is_tag = head.startswith(b"ID3")
        size = functools.reduce(lambda size, byte: size << 7 | byte & 0x7F, head[6:], 0)
        file.seek(10 + size if is_tag else 0)
        frame = file.read(MP3_TAG_BYTES)
    tag = _MP3_TAG.search(frame)
    if tag is None or frame[:1] != b"\xff" or not tag["flags"][-1] & 1:
        return 0.0
    is_first_version, rate = frame[1] >> 3 & 3 == 3, frame[2] >> 2 & 3
    rates = MP3_RATES if is_first_version else [rate / 2 for rate in MP3_RATES]
    if rate >= len(rates):
        return 0.0
    samples = 1152 if is_first_version else 576
    return int.from_bytes(tag["frames"], "big") * samples / rates[rate]


@functools.lru_cache(maxsize=64)  # each window of a long clip asks again
def _measure_packets(path, size, modified, index, declared_end: float) -> StreamTimes:
    """The times of a stream by its packets; `size` and `modified` identify the file's content."""
    clock, frames, has_times, start, end = SteadyClock(path), 0, True, math.inf, 0.0
    with open_media(path) as container:
        stream = container.streams[index]
        period = 1 / _find_frame_rate(stream) if stream.type == "video" else 0.0
        for packet in demux(container, stream):
            if not packet.size:
                continue
            shown = packet.dts if packet.pts is None else packet.pts
            frames += 1
            has_times &= packet.pts is not None
            if shown is None:
                continue
            length = float((packet.duration or 0) * packet.time_base) or period
            decoded = shown if packet.dts is None else packet.dts
            shift = clock.advance(float(decoded * packet.time_base), length)
            time = float(shown * packet.time_base) + shift
            if not math.isinf(start):
                check_gap(path, time - end)
            start, end = min(start, time), max(end, time + length)
    if not frames:
        return StreamTimes(start=0.0, duration=0.0, frames=0)
    if math.isinf(start) and period:
        frames = _count_decoded(path, index)
        return StreamTimes(
            start=0.0, duration=frames * period, frames=frames, has_times=False, is_steady=False
        )
    start = 0.0 if math.isinf(start) else start
    return StreamTimes(
        start=start,
        duration=max(end, declared_end) - start,
        frames=frames,
        has_times=has_times,
        is_steady=not clock.shift,
    )


class SteadyClock:
    """Times of a stream that never restart: after a step back the clock goes on where it was.

    Recordings that were joined (`cat a.ts b.ts`) start again at their first time.
    """

    def __init__(self, path: str | os.PathLike):
        self.path, self.shift, self.end = path, 0.0, -math.inf

    def advance(self, time: float, length: float) -> float:
        """The shift of a frame at `time` that lasts `length` seconds.

        Raises InputError for a gap longer than MAX_GAP.
        """
        if time + self.shift < self.end - MAX_STEP_BACK:
            self.shift = self.end - time
        if not math.isinf(self.end):
            check_gap(self.path, time + self.shift - self.end)
        self.end = max(self.end, time + self.shift + length)
        return self.shift


def check_gap(path: str | os.PathLike, seconds: float) -> None:
    """Raises InputError for a gap between two frames that no recording has."""
    if seconds > MAX_GAP:
        raise InputError(
            f"{path}: found a gap of {seconds:.0f} s in the times of its frames, expected at most "
            f"{MAX_GAP:g} s"
        )


def _count_decoded(path: str, index: int) -> int:
    with open_media(path) as container:
        stream = container.streams[index]
        check_decoder(stream, path)
        stream.thread_type = "AUTO"
        return sum(1 for _ in _decode(PacketDecoder(container, stream), path))


def demux(container, stream) -> Iterator[av.Packet]:
    """Packets up to the end or to where the file breaks off."""
    with contextlib.suppress(av.error.InvalidDataError):
        yield from container.demux(stream)


class PacketDecoder:
    """Decodes the packets of a stream, without the damaged ones.

    Attributes:
      num_damaged: packets that could not be decoded.
      reason: of the last one, in FFmpeg's words.
    """

    def __init__(self, container, stream):
        self.container, self.stream, self.num_damaged, self.reason = container, stream, 0, ""

    def __iter__(self) -> Iterator:
        """Frames in order of time."""
        for packet in demux(self.container, self.stream):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                if not _MP3_TAG.search(bytes(packet)[:MP3_TAG_BYTES]):
                    self.num_damaged += 1
                    self.reason = describe(error)
            else:
                yield from frames


def has_packets(path: str | os.PathLike, index: int) -> bool:
    """Whether a stream has any data."""
    with open_media(path) as container:
        return any(packet.size for packet in demux(container, container.streams[index]))


def find_start(stream) -> float:
    """Seconds of the first packet on the file's own clock."""
    return float((stream.start_time or 0) * stream.time_base)


def probe(path: str | os.PathLike, audio_track: int | None = None) -> MediaInfo:
    """What a video file holds.

    Raises InputError for a missing file, a file that is not media, a video without frames or
    without a decoder, and fewer than `audio_track` audio tracks. A truncated file with a complete
    header passes here and fails in `read_video`.
    """
    with open_media(path) as container:
        stream = select_video_stream(container, path)
        times, fps = measure_times(container, stream, path), _find_frame_rate(stream)
        num_frames = times.frames or round(times.duration * fps)
        if not num_frames:
            raise InputError(f"{path}: found a video stream with 0 frames, expected a video")
        audio = select_audio_stream(container, path, audio_track)
        width, height = _displayed_size(stream)
        return MediaInfo(
            duration=times.duration,
            fps=fps,
            width=width,
            height=height,
            frames=num_frames,
            has_audio=audio is not None and (audio.frames > 0 or has_packets(path, audio.index)),
            is_still=num_frames == 1 and _holds_pictures(container),
        )


def read_header(path: str | os.PathLike) -> MediaHeader:
    """What the header of a media file says, without reading its packets as `probe` does.

    Raises InputError for a missing file and one that is not media.
    """
    with open_media(path) as container:
        video, audio = find_video_stream(container), select_audio_stream(container, path)
        header = MediaHeader(sample_rate=audio.rate if audio else None)
        if video is None or video.codec_context is None:
            return header
        width, height = _displayed_size(video)
        return dataclasses.replace(header, fps=_find_frame_rate(video), width=width, height=height)


def _holds_pictures(container) -> bool:
    """Whether the format is one of pictures, such as PNG or GIF."""
    name = container.format.name
    return name.endswith("_pipe") or name in ("image2", "gif", "apng", "jpegxl_anim", "ico")


def _displayed_size(stream) -> tuple[int, int]:
    """Width and height in square pixels, before any rotation."""
    context = stream.codec_context
    aspect = float(stream.sample_aspect_ratio or 1)
    return round(context.width * aspect), context.height


def _target_size(stream, max_side: int | None) -> tuple[int, int]:
    width, height = _displayed_size(stream)
    shrink = min(1.0, max_side / max(width, height)) if max_side else 1.0
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _decode(frames: Iterable[av.VideoFrame], path) -> Iterator[av.VideoFrame]:
    """The frames; a decoder's failure is an InputError that names the file."""
    try:
        yield from frames
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be read ({describe(error)}), expected a video") from error


def _add_times(
    frames: Iterable[av.VideoFrame], stream, times: StreamTimes, path
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """(start, end, frame), seconds from the first picture."""
    period, end, clock = 1 / _find_frame_rate(stream), 0.0, SteadyClock(path)
    for frame in frames:
        start = end
        length = float(frame.duration * frame.time_base) if frame.duration else period
        if frame.pts is not None and times.has_times:
            time = float(frame.pts * frame.time_base) - times.start
            start = time + clock.advance(time, length)
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
        with open_media(self.path) as container:
            stream = select_video_stream(container, self.path)
            times, fps = measure_times(container, stream, self.path), _find_frame_rate(stream)
            resampler = _Resampler(stream, self.start, self.stop, self.rate, self.max_side)
            total = self._count_frames(times.duration or math.inf)
            offset = self._find_seek_offset(stream, times)
            if offset is not None:  # without one, all is decoded
                container.seek(offset, stream=stream, backward=True)
            decoder = PacketDecoder(container, stream)
            timed = _add_times(_decode(decoder, self.path), stream, times, self.path)
            for frame in resampler.resample(timed):
                if last is not None and yielded < total:
                    yield last
                    yielded += 1
                last, self.scale = frame, resampler.scale
        if last is None:
            after = f" after {self.start:g} s" if self.start else ""
            count = decoder.num_damaged
            damaged = f", and {count} packets that cannot be decoded" if count else ""
            raise InputError(
                f"{self.path}: found no video frames{after}{damaged}, expected a video"
            )
        end = min(self.stop, times.duration) if times.duration else resampler.end
        self.duration = end - self.start
        self.notes = tuple(self._describe_losses(resampler, decoder, round(self.duration * fps)))
        yield from itertools.repeat(last, self._count_frames(end) - yielded)

    def _find_seek_offset(self, stream, times: StreamTimes) -> int | None:
        """Where to seek to, in the stream's units, for a key frame before the start.

        Formats without an index may end up too late, which the first frame there shows.
        """
        if self.start <= 0 or not (times.has_times and times.is_steady):
            return None
        for margin in (0.0, SEEK_MARGIN):
            offset = round((max(self.start - margin, 0.0) + times.start) / stream.time_base)
            with open_media(self.path) as trial, contextlib.suppress(av.error.FFmpegError):
                copy = select_video_stream(trial, self.path)
                trial.seek(offset, stream=copy, backward=True)
                if "mp4" in trial.format.name:
                    return offset
                frames = _decode(PacketDecoder(trial, copy), self.path)
                timed = _add_times(frames, copy, times, self.path)
                first = next(timed, None)
                if first is not None and first[0] <= self.start + TIME_TOLERANCE:
                    return offset
        return None

    def _count_frames(self, end: float) -> float:
        """Frames up to a second of the file; infinite for an infinite one."""
        seconds = min(self.stop, end) - self.start
        return seconds if math.isinf(seconds) else max(1, round(seconds * self.rate))

    def _describe_losses(
        self, resampler: _Resampler, decoder: PacketDecoder, expected: int
    ) -> Iterator[str]:
        """Lines about missing and damaged frames; raises InputError if there are many of them."""
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
        if num_damaged > is_truncated:  # the last packet of a truncated file is damaged
            yield f"{damaged}: the pictures before them are held"


def read_video(
    path: str | os.PathLike, rate: float = 25.0, max_side: int | None = 256, **span
) -> Video:
    """All frames of a video, uint8 [T, H, W, 3]; arguments and errors as those of `FrameReader`."""
    reader = FrameReader(path, rate, max_side, **span)
    frames = np.stack(list(reader))
    return Video(frames=frames, rate=rate, duration=reader.duration, scale=reader.scale)
