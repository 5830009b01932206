"""When the streams of a media file begin and end."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import re

from vssflow_jax.common.errors import InputError
from vssflow_jax.media import reading

MAX_STEP_BACK = 0.5  # seconds; a clock that goes back further was restarted (joined recordings)
MAX_DURATION = 86_400.0  # seconds of a file; a longer one is a damaged number
MAX_GAP = 3600.0  # seconds between two frames; a longer gap is a damaged time
MP3_RATES = (44_100, 48_000, 32_000)  # of MPEG 1; MPEG 2 has half of them
STREAMED_WAV_BYTES = 0x7FFFF000  # from which a wav's size stands for "not known yet"
# Formats whose header has the number of samples; others may only estimate a length.
EXACT_FORMATS = {"wav", "aiff", "au", "flac", "tta", "wv", "mp4"}
UNKNOWN = -math.inf  # end of a stream; times of a transport stream may be below 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamTimes:
    """When a stream begins and how long it lasts.

    Attributes:
      start: seconds of the first frame on the file's own clock.
      duration: seconds from there to the end of the last frame.
      frames: number of frames.
      rate: frames a second, on average, of those that there are; 0: unknown.
      has_times: whether every frame has a time to show it.
      is_steady: whether the times never restart, so that one can seek.
    """

    start: float
    duration: float
    frames: int
    rate: float = 0.0
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
        duration = reading.to_seconds(stream.duration, stream.time_base)
        times = StreamTimes(
            start=reading.find_start(stream),
            duration=duration,
            frames=stream.frames,
            rate=stream.frames / duration,
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
    """Seconds on the file's clock at which a stream ends by its tag (Matroska) or AVI header.

    UNKNOWN if there is none.
    """
    tag = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if tag:
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    if stream.container.format.name == "avi" and stream.duration:
        return reading.to_seconds(stream.duration, stream.time_base)
    return UNKNOWN


def find_declared_end(container, stream) -> float:
    """Seconds on the file's clock at which a stream ends by a header that does not estimate.

    UNKNOWN if there is no such header.
    """
    path, formats = reading.find_file(container), set(container.format.name.split(","))
    is_pcm = stream.codec_context is not None and stream.codec_context.name.startswith("pcm_")
    if "wav" in formats and is_pcm:
        return _read_wav_seconds(path) or UNKNOWN
    if "mp3" in formats:
        return _read_mp3_seconds(path) or UNKNOWN
    if stream.duration and EXACT_FORMATS & formats:
        return reading.find_start(stream) + reading.to_seconds(stream.duration, stream.time_base)
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
        frame = file.read(reading.MP3_TAG_BYTES)
    tag = reading.MP3_TAG.search(frame)
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
    clock, frames, has_times, start, end = SteadyClock(path), 0, True, math.inf, UNKNOWN
    with reading.open_media(path) as container:
        stream = container.streams[index]
        period = 1 / reading.find_frame_rate(stream) if stream.type == "video" else 0.0
        for packet in reading.demux(container, stream):
            if not packet.size:
                continue
            shown = packet.dts if packet.pts is None else packet.pts
            frames += 1
            has_times &= packet.pts is not None
            if shown is None:
                continue
            time_base = packet.time_base
            length = reading.to_seconds(packet.duration or 0, time_base) or period
            decoded = shown if packet.dts is None else packet.dts
            shift = clock.advance(reading.to_seconds(decoded, time_base), length)
            time = reading.to_seconds(shown, time_base) + shift
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
    if math.isinf(start):
        start = end = 0.0
    return StreamTimes(
        start=start,
        duration=max(end, declared_end) - start,
        frames=frames,
        rate=frames / (end - start) if end > start else 0.0,
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
        gap = time + self.shift - self.end  # infinite for the first frame
        if gap < -MAX_STEP_BACK:
            self.shift = self.end - time
        elif MAX_GAP < gap < math.inf:
            check_gap(self.path, gap)
        self.end = max(self.end, time + self.shift + length)
        return self.shift


class Gaps:
    """Stretches of a stream without frames, in seconds."""

    def __init__(self):
        self._spans: list[tuple[float, float]] = []

    def add(self, start: float, end: float) -> None:
        """Adds a stretch."""
        self._spans.append((start, end))

    def describe(self, kind: str) -> str:
        """The longest stretch without a kind of frames, and how many there are; empty if none."""
        if not self._spans:
            return ""
        start, end = max(self._spans, key=lambda span: span[1] - span[0])
        total = sum(end - start for start, end in self._spans)
        others = f" (the longest of {len(self._spans)} such gaps, {total:.2f} s in all)"
        return f"found no {kind} from {start:.2f} to {end:.2f} s{others * (len(self._spans) > 1)}"


def check_gap(path: str | os.PathLike, seconds: float) -> None:
    """Raises InputError for a gap between two frames that no recording has."""
    if seconds > MAX_GAP:
        raise InputError(
            f"{path}: found a gap of {seconds:.0f} s in the times of its frames, expected at most "
            f"{MAX_GAP:g} s"
        )


def _count_decoded(path: str, index: int) -> int:
    with reading.open_media(path) as container:
        stream = container.streams[index]
        reading.check_decoder(stream, path)
        stream.thread_type = "AUTO"
        return sum(1 for _ in reading.decode_frames(reading.PacketDecoder(container, stream), path))
