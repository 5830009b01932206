"""Arrays to media files, by PyAV: waves, mp4 files, and a new sound track for a video."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import fractions
import heapq
import itertools
import os
import pathlib
import wave as wavefile
from collections.abc import Collection, Iterable, Iterator, Mapping

import av
import numpy as np
from av.stream import Disposition

from vssflow_jax.common.errors import InputError, disk_error
from vssflow_jax.common.files import replacing
from vssflow_jax.common.waves import cut_or_pad
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.media import durations, reading
from vssflow_jax.media.sound import LAYOUTS
from vssflow_jax.media.video import FrameReader, probe

BIT_RATE = 96_000  # of a channel
COMPRESSED = ("aac", "libopus")
OPUS_RATE, OPUS_RATES = 48_000, (8000, 12_000, 16_000, 24_000, 48_000)
ENCODER_NAMES = {"libx264": "H.264", "libvpx-vp9": "VP9"}


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Samples [n] or [n, 2], float in [-1, 1] or int16, as int16."""
    wave = np.asarray(wave)
    if wave.dtype == np.int16:
        return wave
    return np.clip(np.round(wave * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(path: str | os.PathLike, wave: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Writes a 16-bit wav; `wave` is float in [-1, 1] or int16, [n] or, in stereo, [n, 2]."""
    with replacing(path) as partial, wavefile.open(str(partial), "wb") as file:
        file.setnchannels(count_channels(wave))
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(to_int16(wave).tobytes())


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
    with _open_output(path) as container:
        video = container.add_stream(
            "libx264", rate=fractions.Fraction(rate).limit_denominator(1001)
        )
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.options = {"preset": "ultrafast", "crf": "23", "g": "25"}
        audio = None if wave is None else _add_audio_stream(container, "aac", sample_rate, wave)
        packets = [_encode(video, (av.VideoFrame.from_ndarray(frame, "rgb24") for frame in frames))]
        if audio:
            packets.append(_encode(audio, _make_audio_frames(wave, sample_rate)))
        _interleave(container, *packets)


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
      tags: names of codecs that players expect, where they differ from FFmpeg's.
    """

    name: str
    copies: frozenset[str]
    audio: str = "aac"
    video: str = "libx264"
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)


_BROADCAST = {"h264", "hevc", "mpeg2video", "mpeg1video"}
_MP4 = ContainerFormat(
    name="mp4",
    copies=frozenset(_BROADCAST | {"mpeg4", "av1", "vp9", "mjpeg"}),
    tags={"hevc": "hvc1"},
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
    ".mkv": ContainerFormat(name="matroska", copies=frozenset(_MATROSKA)),
    ".webm": ContainerFormat(
        name="webm",
        copies=frozenset({"vp8", "vp9", "av1"}),
        audio="libopus",
        video="libvpx-vp9",
        options={"crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "6"},
    ),
    # It stores no times, so that frames must be in order and evenly spaced.
    ".avi": ContainerFormat(name="avi", copies=frozenset(), audio="pcm_s16le", options={"bf": "0"}),
    ".ts": ContainerFormat(name="mpegts", copies=frozenset(_BROADCAST)),
}
MAX_EXCESS = 0.04  # seconds of sound after the last picture for which it is not held: one latent
MIN_RATE, MAX_RATE = 10, 60  # frames a second of pictures that are encoded again


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class MuxPlan:
    """How a video gets its new sound.

    Attributes:
      container: of the output.
      copies: whether the video's packets are copied; else its frames are encoded again.
      seconds: length of the output.
      notes: what differs from the input, one line each.
    """

    container: ContainerFormat
    copies: bool
    seconds: float
    notes: tuple[str, ...] = ()


def plan_mux(
    video_path: str | os.PathLike,
    out_path: str | os.PathLike,
    seconds: float | None = None,
    codecs: Collection[str] | None = None,
) -> MuxPlan:
    """Decides how a video gets a sound of some seconds; None: as long as the video.

    Video in other than these `codecs` is encoded again; None: those that the container takes.

    Raises InputError for a video that cannot be read, or an output of no known container.
    """
    container = find_container(out_path)
    with reading.open_media(video_path) as source:
        stream = reading.select_video_stream(source, video_path)
        times = durations.measure_times(source, stream, video_path)
        codec = stream.codec_context.codec.canonical_name
        notes = list(_describe_left_out(source, stream, video_path))
    seconds = times.duration if seconds is None else seconds
    holds = seconds > times.duration + MAX_EXCESS
    name, reason = ENCODER_NAMES[container.video], ""
    if codec not in container.copies:
        reason = f"{container.name} files do not take {codec} video as it is"
    elif codecs is not None and codec not in codecs:
        reason = f"{codec} is not one of {', '.join(sorted(codecs))}"
    elif not (times.has_times and times.is_steady):
        reason = "the times of its pictures are missing or restart"
    elif holds:
        reason = "its last picture is held"
    if reason:
        notes.append(f"{video_path}: encoded again as {name}: {reason}")
    if holds:
        notes.append(
            f"{video_path}: found {times.duration:.2f} s of video and {seconds:.2f} s of sound: "
            "the last picture is held"
        )
    elif seconds < times.duration - MAX_EXCESS:
        notes.append(
            f"{video_path}: found {times.duration:.2f} s of video and {seconds:.2f} s of sound: "
            "silence follows the sound"
        )
    return MuxPlan(
        container=container,
        copies=not reason,
        seconds=max(seconds, times.duration),
        notes=tuple(notes),
    )


def _describe_left_out(source, video, path) -> Iterator[str]:
    """A line about what of a file is in no output, beside the sound, which is replaced."""
    counts = collections.Counter(
        stream.type or "data"
        for stream in source.streams
        if stream.type != "audio"
        and stream.index != video.index
        and not stream.disposition & Disposition.attached_pic
    )
    parts = [f"{count} {kind} tracks" for kind, count in sorted(counts.items())]
    parts += ["its chapters"] * bool(source.chapters())
    if parts:
        yield f"{path}: left out of the output: {', '.join(parts)}"


@contextlib.contextmanager
def _open_output(path: str | os.PathLike) -> Iterator[av.container.OutputContainer]:
    """A container that appears under `path` when complete."""
    name = find_container(path).name
    with replacing(path) as partial, av.open(f"file:{partial}", "w", format=name) as container:
        yield container


def _add_audio_stream(container, codec: str, sample_rate: int, wave: np.ndarray):
    """An audio stream for the channels of a wave."""
    rate = OPUS_RATE if codec == "libopus" and sample_rate not in OPUS_RATES else sample_rate
    channels = count_channels(wave)
    stream = container.add_stream(codec, rate=rate, layout=LAYOUTS[channels])
    if codec in COMPRESSED:
        stream.bit_rate = BIT_RATE * channels
    if codec == "aac":
        stream.codec_context.format = "fltp"
        stream.options = {"aac_coder": "fast"}  # a third of the time of the default search
    return stream


def _make_audio_frames(wave: np.ndarray, sample_rate: int) -> Iterator[av.AudioFrame]:
    samples = to_int16(wave).astype(np.float32) / 32768
    planes = np.ascontiguousarray(np.atleast_2d(samples.T))  # channels n
    for begin in range(0, len(samples), 1024):
        part = np.ascontiguousarray(planes[:, begin : begin + 1024])
        frame = av.AudioFrame.from_ndarray(part, "fltp", LAYOUTS[len(planes)])
        frame.sample_rate, frame.pts = sample_rate, begin
        frame.time_base = fractions.Fraction(1, sample_rate)
        yield frame


def _encode(stream, frames: Iterable) -> Iterator[av.Packet]:
    for frame in frames:
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _interleave(container, *streams: Iterable[av.Packet]) -> None:
    """Interleaves the packets of several streams by their time."""
    for packet in heapq.merge(*streams, key=lambda packet: packet.dts * packet.time_base):
        container.mux(packet)


def mux(
    video_path: str | os.PathLike,
    wave: np.ndarray,
    sample_rate: int,
    out_path: str | os.PathLike,
    codecs: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Replaces the sound track of a video, whose packets are copied where the container takes them.

    Pictures and sound start together and end together: a shorter sound is followed by silence, a
    shorter video holds its last picture, unless less than a latent frame is missing. `wave` is
    float in [-1, 1] or int16, [n] or [n, 2]. `codecs` are as those of `plan_mux`. Returns what
    differs from the input (`MuxPlan.notes`). Raises InputError for a video that cannot be read or
    an output of no known container.
    """
    plan = plan_mux(video_path, out_path, len(wave) / sample_rate, codecs)
    wave = to_int16(wave)
    if plan.copies:
        try:
            _mux_copy(plan, video_path, wave, sample_rate, out_path)
            return plan.notes
        except (av.error.FFmpegError, ValueError) as error:
            if disk_error(error) is not None:
                raise
            name = ENCODER_NAMES[plan.container.video]
            note = f"{video_path}: encoded again as {name}: its packets cannot be copied"
            plan = dataclasses.replace(plan, notes=(*plan.notes, note))
    _mux_encoded(plan, video_path, wave, sample_rate, out_path)
    return plan.notes


def _mux_copy(plan: MuxPlan, video_path, wave, sample_rate: int, out_path) -> None:
    with reading.open_media(video_path) as source:
        template = reading.select_video_stream(source, video_path)
        wave = cut_or_pad(wave, round(plan.seconds * sample_rate))
        with _open_output(out_path) as container:
            video = container.add_stream_from_template(template, opaque=True)
            tag = plan.container.tags.get(template.codec_context.codec.canonical_name)
            if tag:
                video.codec_context.codec_tag = tag
            audio = _add_audio_stream(container, plan.container.audio, sample_rate, wave)
            start = durations.measure_times(source, template, video_path).start
            _interleave(
                container,
                _copy_packets(source, template, video, round(start / template.time_base)),
                _encode(audio, _make_audio_frames(wave, sample_rate)),
            )


def _mux_encoded(plan: MuxPlan, video_path, wave, sample_rate: int, out_path) -> None:
    """Encodes the pictures again, upright and with square pixels, on an even grid of times."""
    rate = _choose_rate(video_path)
    count = max(1, round(plan.seconds * rate))
    reader = FrameReader(video_path, float(rate), None)
    frames = iter(reader)
    first = next(frames)
    height, width = first.shape[:2]
    with _open_output(out_path) as container:
        video = container.add_stream(plan.container.video, rate=rate)
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.options = dict(plan.container.options)
        wave = cut_or_pad(wave, max(round(count / rate * sample_rate), len(wave), 1))
        audio = _add_audio_stream(container, plan.container.audio, sample_rate, wave)
        pictures = _hold_last(itertools.chain([first], frames), count)
        _interleave(
            container,
            _encode(video, _make_video_frames(pictures, rate)),
            _encode(audio, _make_audio_frames(wave, sample_rate)),
        )


def _choose_rate(video_path) -> fractions.Fraction:
    """Frames a second for pictures that are encoded again: the file's own within bounds."""
    rate = fractions.Fraction(probe(video_path).fps).limit_denominator(1001)
    if rate < MIN_RATE:
        rate *= -(-MIN_RATE // rate) if rate else MIN_RATE
    return min(rate, fractions.Fraction(MAX_RATE)) or fractions.Fraction(MIN_RATE)


def _hold_last(frames: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """`count` frames, the last one repeated."""
    last = None
    for number, frame in enumerate(frames):
        if number == count:
            return
        last = frame
        yield frame
    yield from itertools.repeat(last, count - number - 1)


def _make_video_frames(pictures: Iterable[np.ndarray], rate) -> Iterator[av.VideoFrame]:
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24")
        frame.pts, frame.time_base = number, 1 / rate
        yield frame


def _copy_packets(source, template, video, start: int) -> Iterator[av.Packet]:
    """The packets of a stream, for another one, in which the time `start` is 0.

    Matroska does not store decoding times, and FFmpeg finds them after a few packets only. The
    first packets get evenly spaced times before the first known one.
    """
    untimed: list[av.Packet] = []
    for packet in source.demux(template):
        if not packet.size:  # the empty packet that ends the stream
            continue
        packet.stream = video
        packet.pts -= start
        packet.dts = None if packet.dts is None else packet.dts - start
        if packet.dts is None:
            untimed.append(packet)
            continue
        for back, waiting in enumerate(reversed(untimed), 1):
            waiting.dts = packet.dts - back * (packet.duration or 1)
        yield from untimed
        untimed = []
        yield packet
    for packet in untimed:  # no time is known: decode frames in the order of display
        packet.dts = packet.pts
        yield packet
