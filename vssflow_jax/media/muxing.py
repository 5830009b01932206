"""A new sound track for a video, whose pictures are copied where the container takes them."""

from __future__ import annotations

import collections
import dataclasses
import fractions
import itertools
import os
from collections.abc import Collection, Iterable, Iterator

import av
import numpy as np
from av.stream import Disposition

from vssflow_jax.common.errors import InputError, disk_error
from vssflow_jax.common.waves import cut_or_pad
from vssflow_jax.media import durations, reading
from vssflow_jax.media.video import FrameReader, find_size, probe
from vssflow_jax.media.writing import (
    CONTAINERS,
    ContainerFormat,
    Metadata,
    add_audio_stream,
    add_subtitle_stream,
    encode_frames,
    find_container,
    interleave,
    make_audio_frames,
    open_output,
    to_int16,
)

COMMON_PIXELS = ("yuv420p", "yuvj420p", None)  # of H.264 that every player decodes; None: unknown
ENCODER_NAMES = {"libx264": "H.264", "libvpx-vp9": "VP9"}
NO_METADATA = Metadata()
MAX_EXCESS = 0.04  # seconds of sound after the last picture for which it is not held: one latent
MAX_SIDE = 16_384  # pixels that the encoders take
MIN_RATE, MAX_RATE = 10, 60  # frames a second of pictures that are encoded again


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

    Video in other than these `codecs` is encoded again, and so is H.264 that few players decode
    (of 10 bits, or 4:4:4); None: all codecs that the container takes.

    Raises InputError for a video that cannot be read, one that is too large to be encoded again,
    or an output of no known container.
    """
    container = find_container(out_path)
    with reading.open_media(video_path) as source:
        stream = reading.select_video_stream(source, video_path)
        times = durations.measure_times(source, stream, video_path)
        codec = stream.codec_context.codec.canonical_name
        pixels, size = stream.codec_context.pix_fmt, find_size(stream)
        notes = list(_describe_left_out(source, stream, video_path))
    seconds = times.duration if seconds is None else seconds
    holds = seconds > times.duration + MAX_EXCESS
    name, reason = ENCODER_NAMES[container.video], ""
    if codec not in container.copies:
        reason = f"{container.name} files do not take {codec} video as it is"
    elif codecs is not None and codec not in codecs:
        reason = f"{codec} is not one of {', '.join(sorted(codecs))}"
    elif codecs is not None and codec == "h264" and pixels not in COMMON_PIXELS:
        reason = f"few players decode {codec} of {pixels}"
    elif not (times.has_times and times.is_steady):
        reason = "the times of its pictures are missing or restart"
    elif holds:
        reason = "its last picture is held"
    if reason and max(size) > MAX_SIDE:
        raise InputError(
            f"{video_path}: found {size[0]} x {size[1]} pixels, expected at most {MAX_SIDE} a side "
            f"to encode them again as {name} ({reason})"
        )
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


def mux(
    video_path: str | os.PathLike,
    wave: np.ndarray,
    sample_rate: int,
    out_path: str | os.PathLike,
    codecs: Collection[str] | None = None,
    metadata: Metadata = NO_METADATA,
) -> tuple[str, ...]:
    """Replaces the sound track of a video, whose packets are copied where the container takes them.

    Pictures and sound start together and end together: a shorter sound is followed by silence, a
    shorter video holds its last picture, unless less than a latent frame is missing. `wave` is
    float in [-1, 1] or int16, [n] or [n, 2]. `codecs` are as those of `plan_mux`. Returns what
    differs from the input (`MuxPlan.notes`). Raises InputError for a video that cannot be read, an
    output of no known container, or one that holds no subtitles where there are some.
    """
    plan = plan_mux(video_path, out_path, len(wave) / sample_rate, codecs)
    if metadata.subtitles:
        check_subtitles(out_path)
    if metadata.comment and not plan.container.has_comment:
        note = f"{out_path}: {plan.container.name} files hold no tag that says what generated them"
        plan = dataclasses.replace(plan, notes=(*plan.notes, note))
    wave = to_int16(wave)
    if plan.copies:
        try:
            _mux_copy(plan, video_path, wave, sample_rate, out_path, metadata)
            return plan.notes
        except (av.error.FFmpegError, ValueError) as error:
            if disk_error(error) is not None:
                raise
            name = ENCODER_NAMES[plan.container.video]
            note = f"{video_path}: encoded again as {name}: its packets cannot be copied"
            plan = dataclasses.replace(plan, notes=(*plan.notes, note))
    _mux_encoded(plan, video_path, wave, sample_rate, out_path, metadata)
    return plan.notes


def _mux_copy(
    plan: MuxPlan, video_path, wave, sample_rate: int, out_path, metadata: Metadata
) -> None:
    with reading.open_media(video_path) as source:
        template = reading.select_video_stream(source, video_path)
        wave = cut_or_pad(wave, round(plan.seconds * sample_rate))
        with open_output(out_path, metadata.comment) as container:
            video = container.add_stream_from_template(template, opaque=True)
            tag = plan.container.tags.get(template.codec_context.codec.canonical_name)
            if tag:
                video.codec_context.codec_tag = tag
            audio = add_audio_stream(container, plan.container.audio, sample_rate, wave)
            subtitles = _add_subtitles(plan, container, metadata)
            start = durations.measure_times(source, template, video_path).start
            interleave(
                container,
                _copy_packets(source, template, video, round(start / template.time_base)),
                encode_frames(audio, make_audio_frames(wave, sample_rate)),
                subtitles,
            )


def _mux_encoded(
    plan: MuxPlan, video_path, wave, sample_rate: int, out_path, metadata: Metadata
) -> None:
    """Encodes the pictures again, upright and with square pixels, on an even grid of times."""
    rate = _choose_rate(video_path)
    count = max(1, round(plan.seconds * rate))
    reader = FrameReader(video_path, float(rate), None)
    frames = iter(reader)
    first = next(frames)
    height, width = first.shape[:2]
    with open_output(out_path, metadata.comment) as container:
        video = container.add_stream(plan.container.video, rate=rate)
        video.width, video.height, video.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        video.options = dict(plan.container.options)
        wave = cut_or_pad(wave, max(round(count / rate * sample_rate), len(wave), 1))
        audio = add_audio_stream(container, plan.container.audio, sample_rate, wave)
        subtitles = _add_subtitles(plan, container, metadata)
        pictures = _hold_last(itertools.chain([first], frames), count)
        interleave(
            container,
            encode_frames(video, _make_video_frames(pictures, rate)),
            encode_frames(audio, make_audio_frames(wave, sample_rate)),
            subtitles,
        )


def _add_subtitles(plan: MuxPlan, container, metadata: Metadata) -> list[av.Packet]:
    if not metadata.subtitles:
        return []
    return add_subtitle_stream(container, plan.container.subtitles, metadata.subtitles)


def check_subtitles(path: str | os.PathLike) -> None:
    """Raises an InputError if a file of this name holds no subtitle track."""
    if not find_container(path).subtitles:
        holding = " ".join(name for name, form in CONTAINERS.items() if form.subtitles)
        raise InputError(
            f"{path}: found a container without subtitle tracks, expected one of {holding}"
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
