"""Sound of media files to samples: one track, mono or stereo, on the clock of the pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator

import av
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.media import reading

# Seconds by which a frame's time may differ from the end of the frames before it: containers round
# times, recorders jitter. One latent frame. Beyond it there is a gap or an overlap.
JITTER = 0.04
MAX_PADDING = 0.2  # seconds that a codec adds to fill its last block
MIN_MIX = {2: 0.01}  # energy of the mono mix against that of the loudest channel, by channels
MIN_MIX_OF_MANY = 0.001
MAX_PEAK = 4.0  # of a lossy codec, which may overshoot where the source was loud
LAYOUTS = {1: "mono", 2: "stereo"}  # FFmpeg's names
FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)  # of integers that were stored as floats
MIN_INTEGER_PEAK = 128.0  # floats up to this are too loud rather than integers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound.

    Attributes:
      wave: float32 within [-1, 1], [n] if mono, [n, 2] if stereo.
      sample_rate: samples a second.
      notes: what reading had to change, one line each, with the file's name.
    """

    wave: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()


def read_audio(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, **span) -> np.ndarray:
    """The wave of `read_sound`, whose arguments it takes: float32 [n] or [n, 2] in [-1, 1]."""
    return read_sound(path, sample_rate, **span).wave


def read_sound(
    path: str | os.PathLike,
    sample_rate: int = SAMPLE_RATE,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    track: int | None = None,
    channels: int = 1,
) -> Sound:
    """Reads the sound of a media file.

    Sample 0 is at the time of the first video frame (if there is video) plus `start` seconds;
    sound that begins later is preceded by silence. Gaps in the track are silence of their length.

    Args:
      path: a media file.
      sample_rate: samples a second to resample to.
      start: seconds to skip.
      seconds: how many seconds to read; None: up to the end.
      track: which audio track, from 1; None: the file's default one.
      channels: 1 mixes the channels, 2 is stereo: mono sound is in both channels.

    Raises:
      InputError: a missing file, one that is not media, one without sound or without a decoder for
        it, or samples that are not finite or far from any scale.
    """
    stop = math.inf if seconds is None else start + seconds
    reader = _TrackReader(path, sample_rate, track, stop, LAYOUTS[channels])
    wave, notes = reader.read(), []
    if channels == 1 and reader.channels.cancel:
        wave = reader.read(reader.channels.loudest)
        notes.append(
            f"{reader.name}: found channels in opposite phase, which mixed are silent: channel "
            f"{reader.channels.loudest + 1} alone is used"
        )
    if not np.isfinite(wave).all():
        raise InputError(
            f"{reader.name}: found samples that are not finite numbers, expected sound"
        )
    wave = reader.channels.limit(wave)
    scale = _find_scale(wave, reader)
    if scale != 1:
        notes.append(
            f"{reader.name}: found samples of up to {np.abs(wave).max():g}, expected -1 to 1: they "
            f"are divided by {scale:g}"
        )
    skip = round(start * sample_rate)
    wave = wave[skip : None if seconds is None else skip + round(seconds * sample_rate)]
    wave = np.clip(wave / np.float32(scale) if scale != 1 else wave, -1, 1)
    return Sound(wave=wave, sample_rate=sample_rate, notes=tuple(notes))


def _find_scale(wave: np.ndarray, reader: _TrackReader) -> float:
    """What samples beyond full scale are divided by; raises InputError for those of no scale."""
    peak = float(np.abs(wave).max(initial=0.0))
    if peak <= (1.0 if reader.is_lossless else MAX_PEAK):
        return 1.0
    if peak <= MIN_INTEGER_PEAK:
        return peak
    for scale in FULL_SCALES:
        if peak <= scale * 1.001:  # resampling overshoots a little
            return scale
    raise InputError(f"{reader.name}: found samples of up to {peak:g}, expected -1 to 1")


class _Channels:
    """Energies of a track's channels and of their mix, to tell whether they cancel out."""

    def __init__(self):
        self.energy, self.samples = np.zeros(1), 0
        self.mixed_energy, self.mixed_samples = 0.0, 0
        self.peak = 0.0

    def add(self, samples: np.ndarray) -> None:
        """Adds samples [channels, n]."""
        energy = np.zeros(max(len(self.energy), len(samples)))
        energy[: len(self.energy)] = self.energy
        energy[: len(samples)] += np.square(samples, dtype=np.float64).sum(1)
        self.energy, self.samples = energy, self.samples + samples.shape[1]
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))

    def add_mixed(self, samples: np.ndarray) -> None:
        """Adds samples [n] or [n, 2] of the mix."""
        self.mixed_energy += float(np.square(samples, dtype=np.float64).sum())
        self.mixed_samples += len(samples)

    def limit(self, wave: np.ndarray) -> np.ndarray:
        """The mix; where it would be clipped, no louder than the channels: FFmpeg adds floats."""
        peak = float(np.abs(wave).max(initial=0.0))
        is_louder = self.peak and peak > max(1.0, self.peak)
        return wave * np.float32(self.peak / peak) if is_louder else wave

    @property
    def loudest(self) -> int:
        """Index of the channel with the largest energy."""
        return int(self.energy.argmax())

    @property
    def cancel(self) -> bool:
        """Whether the mix is nearly silent and a channel is not."""
        least = MIN_MIX.get(len(self.energy), MIN_MIX_OF_MANY)
        if len(self.energy) < 2 or not self.energy.max():
            return False
        mixed = self.mixed_energy / max(self.mixed_samples, 1)
        return mixed < least * self.energy.max() / self.samples


class _TrackReader:
    """Reads one audio track, from the first picture (or sound) on.

    Attributes:
      name: of file and track, for messages.
      channels: their energies, once the track was read.
      is_lossless: whether the codec keeps samples as they were.
    """

    def __init__(self, path, sample_rate: int, track: int | None, stop: float, layout: str):
        self.path, self.sample_rate, self.track, self.stop = path, sample_rate, track, stop
        self.layout = layout
        self.name, self.channels, self.is_lossless = str(path), _Channels(), False

    def read(self, channel: int | None = None) -> np.ndarray:
        """Samples, float32 [n] or [n, 2]: of all channels in the layout, or of one of them."""
        self.channels = _Channels()
        with reading.open_media(self.path) as container:
            stream = reading.select_audio_stream(container, self.path, self.track)
            if stream is None:
                raise InputError(f"{self.path}: found no audio stream, expected sound")
            if len(container.streams.audio) > 1:
                self.name = f"{self.path}: audio track {container.streams.audio.index(stream) + 1}"
            reading.check_decoder(stream, self.path)
            self.is_lossless = stream.codec_context.name.startswith("pcm_f")
            video = reading.find_video_stream(container)
            origin = reading.find_start(stream if video is None else video)
            runs = list(self._decode_runs(container, stream, origin, channel))
            declared = _find_declared_seconds(container, stream)
        if not runs:
            raise InputError(f"{self.name}: found an audio stream without samples, expected sound")
        return self._place(runs, declared)

    def _place(self, runs: list[tuple[float, np.ndarray]], declared: float) -> np.ndarray:
        """The samples of (time, samples) runs, from time 0 on: silence in gaps, overlaps cut.

        A codec pads its last block, which `declared` seconds leave out.
        """
        first = round(runs[0][0] * self.sample_rate)
        parts, length = [], 0
        for time, samples in runs:
            gap = round(time * self.sample_rate) - first - length
            if gap > 0:
                parts.append(np.zeros((gap, *samples.shape[1:]), np.float32))
            elif gap < 0:
                samples = samples[-gap:]
            parts.append(samples)
            length += max(gap, 0) + len(samples)
        wave = np.concatenate(parts)
        if declared * self.sample_rate < length <= (declared + MAX_PADDING) * self.sample_rate:
            wave = wave[: round(declared * self.sample_rate)]
        if first <= 0:
            return wave[-first:]
        return np.concatenate([np.zeros((first, *wave.shape[1:]), np.float32), wave])

    def _decode_runs(
        self, container, stream, origin: float, channel: int | None
    ) -> Iterator[tuple[float, np.ndarray]]:
        """(time, samples) of each stretch without a gap or a change of format, up to `stop`."""
        run, clock = None, reading.SteadyClock(self.path)
        for frame in self._decode(container, stream):
            time = run.end if run else 0.0
            if frame.time is not None:
                time = frame.time - origin
                time += clock.advance(time, frame.samples / frame.sample_rate)
            if run is not None and abs(time - run.end) <= JITTER:
                time = run.end
            if run is None or time != run.end or not run.holds(frame):
                if run is not None:
                    yield run.start, run.flush()
                run = _Run(frame, time, self, channel)
            run.add(frame)
            if time > self.stop:
                break
        if run is not None:
            yield run.start, run.flush()

    def _decode(self, container, stream) -> Iterator[av.AudioFrame]:
        """Frames, without those of damaged packets, up to a truncated end."""
        try:
            for packet in reading.demux(container, stream):
                with contextlib.suppress(av.error.InvalidDataError):
                    yield from (frame for frame in packet.decode() if frame.samples)
        except av.error.FFmpegError as error:
            raise InputError(
                f"{self.name}: cannot be decoded ({reading.describe(error)}), expected sound"
            ) from error


def _find_declared_seconds(container, stream) -> float:
    """Seconds of a track by the sample table of an mp4 or mov; else infinity."""
    if "mp4" not in container.format.name or not stream.duration:
        return math.inf
    return float(stream.duration * stream.time_base)


class _Run:
    """Frames of one format that follow each other, resampled together.

    Attributes:
      start, end: seconds.
    """

    def __init__(self, frame, start: float, reader: _TrackReader, channel: int | None):
        self.start, self.end, self.channel, self.channels = start, start, channel, reader.channels
        self.format = _find_format(frame)
        # FFmpeg makes mono sound quieter where it spreads it over two channels.
        self.is_spread = reader.layout == "stereo" and len(frame.layout.channels) == 1
        layout = "mono" if self.is_spread else reader.layout
        self.resampler = av.AudioResampler(format="flt", layout=layout, rate=reader.sample_rate)
        self.planar = av.AudioResampler(format="fltp")
        self.parts: list[np.ndarray] = []

    def holds(self, frame: av.AudioFrame) -> bool:
        """Whether a frame has the format of this run."""
        return _find_format(frame) == self.format

    def add(self, frame: av.AudioFrame) -> None:
        """Resamples a frame."""
        self.end += frame.samples / frame.sample_rate
        if len(frame.layout.channels) > 1:
            for part in self.planar.resample(frame):
                samples = part.to_ndarray()
                self.channels.add(samples)
                if self.channel is not None:
                    frame = _make_mono(samples[min(self.channel, len(samples) - 1)], frame)
        self._resample(frame)

    def _resample(self, frame: av.AudioFrame | None) -> None:
        for part in self.resampler.resample(frame):
            samples = part.to_ndarray()[0]
            if self.resampler.layout.name == "stereo":
                samples = samples.reshape(-1, 2)
            elif self.is_spread:
                samples = np.stack([samples, samples], axis=1)
            self.parts.append(samples)
            self.channels.add_mixed(self.parts[-1])

    def flush(self) -> np.ndarray:
        """All samples, float32 [n] or [n, 2]."""
        self._resample(None)
        is_mono = self.resampler.layout.name == "mono" and not self.is_spread
        empty = np.zeros(0 if is_mono else (0, 2), np.float32)
        return np.concatenate(self.parts) if self.parts else empty


def _find_format(frame: av.AudioFrame) -> tuple:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _make_mono(samples: np.ndarray, frame: av.AudioFrame) -> av.AudioFrame:
    """A frame of one channel [n] at the time of another."""
    mono = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", "mono")
    mono.sample_rate, mono.pts, mono.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mono
