"""Arrays to media files, by PyAV: waves, mp4 files, and a new sound track for a video."""

from __future__ import annotations

import contextlib
import fractions
import heapq
import os
import pathlib
import wave as wavefile
from collections.abc import Iterable, Iterator

import av
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import replacing
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.media import reading

AAC_BIT_RATE = 96_000


def to_int16(wave: np.ndarray) -> np.ndarray:
    """Samples [n], float in [-1, 1] or int16, as int16."""
    wave = np.asarray(wave)
    if wave.dtype == np.int16:
        return wave
    return np.clip(np.round(wave * 32768.0), -32768, 32767).astype(np.int16)


def write_wav(path: str | os.PathLike, wave: np.ndarray, sample_rate: int = SAMPLE_RATE) -> None:
    """Writes a mono 16-bit wav; `wave` is float in [-1, 1] or int16, [n]."""
    with replacing(path) as partial, wavefile.open(str(partial), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(to_int16(wave).tobytes())


def write_video(
    path: str | os.PathLike,
    frames: np.ndarray,
    rate: float,
    wave: np.ndarray | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> None:
    """Writes an mp4: H.264 (yuv420p) and, where a wave is given, mono AAC.

    Args:
      path: the file to write.
      frames: uint8 [T, H, W, 3], H and W even.
      rate: frames a second.
      wave: float in [-1, 1] or int16, [n]; None for a silent file.
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
        audio = None if wave is None else _add_aac_stream(container, sample_rate)
        packets = [_encode(video, (av.VideoFrame.from_ndarray(frame, "rgb24") for frame in frames))]
        if audio:
            packets.append(_encode(audio, _make_audio_frames(wave, sample_rate)))
        _interleave(container, *packets)


@contextlib.contextmanager
def _open_output(path: str | os.PathLike) -> Iterator[av.container.OutputContainer]:
    """A container (mp4 unless the ending names another) that appears under `path` when complete."""
    container_format = {".mkv": "matroska", ".mov": "mov", ".webm": "webm"}.get(
        pathlib.Path(path).suffix, "mp4"
    )
    with (
        replacing(path) as partial,
        av.open(str(partial), "w", format=container_format) as container,
    ):
        yield container


def _add_aac_stream(container, sample_rate: int):
    stream = container.add_stream("aac", rate=sample_rate, layout="mono")
    stream.codec_context.format = "fltp"
    stream.bit_rate = AAC_BIT_RATE
    stream.options = {"aac_coder": "fast"}  # a third of the time of the default search
    return stream


def _make_audio_frames(
    wave: np.ndarray, sample_rate: int, start: float = 0.0
) -> Iterator[av.AudioFrame]:
    samples = to_int16(wave).astype(np.float32) / 32768
    offset = round(start * sample_rate)
    for begin in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + 1024], "fltp", "mono")
        frame.sample_rate, frame.pts = sample_rate, begin + offset
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
    video_path: str | os.PathLike, wave: np.ndarray, sample_rate: int, out_path: str | os.PathLike
) -> None:
    """Replaces the sound track of a video; its video packets are copied bit for bit.

    The sound is cut, or padded with silence, to the length of the video. `wave` is float in
    [-1, 1] or int16, [n]. Raises InputError for a video that cannot be read or whose codec the
    container of `out_path` cannot hold.
    """
    with reading.open_media(video_path) as source:
        template = reading.select_video_stream(source, video_path)
        length = round(reading.measure_times(source, template, video_path).duration * sample_rate)
        wave = to_int16(wave)[:length]
        wave = np.pad(wave, (0, length - len(wave)))
        with _open_output(out_path) as container:
            try:
                video = container.add_stream_from_template(template)
            except ValueError as error:
                raise InputError(
                    f"{out_path}: found {template.codec_context.name} video in {video_path}, "
                    "expected a codec that this container holds (try .mkv)"
                ) from error
            audio = _add_aac_stream(container, sample_rate)
            _interleave(
                container,
                _copy_packets(source, template, video),
                _encode(audio, _make_audio_frames(wave, sample_rate, reading.find_start(template))),
            )


def _copy_packets(source, template, video) -> Iterator[av.Packet]:
    """The packets of a stream, for another one.

    Matroska does not store decoding times, and FFmpeg finds them after a few packets only. The
    first packets get evenly spaced times before the first known one.
    """
    untimed: list[av.Packet] = []
    for packet in source.demux(template):
        if not packet.size:  # the empty packet that ends the stream
            continue
        packet.stream = video
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
