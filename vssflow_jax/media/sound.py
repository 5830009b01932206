"""Sound of media files to samples: one track, mono or stereo, on the clock of the pictures."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator

import av
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.media import durations, reading, truncation

# Seconds by which a frame's time may differ from the end of the frames before it: containers round
# times, recorders jitter. One latent frame. Beyond it there is a gap or an overlap.
JITTER = 0.04
MAX_DELAY = 0.5  # seconds by which sound may begin after the first picture without a note
MAX_PADDING = 0.2  # seconds that a codec adds to fill its last block
MAX_SHORTFALL = 0.04  # seconds by which a wav may end before its header says
AUDIBLE = 1e-3  # samples up to this (-60 dB) are silence, which nobody misses
MIN_MIX = {2: 0.01}  # energy of the mono mix against that of the loudest channel, by channels
MIN_MIX_OF_MANY = 0.001
MAX_PEAK = 4.0  # of a lossy codec, which may overshoot where the source was loud
LAYOUTS = {  # FFmpeg's names, by the number of channels
    1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1",
}  # fmt: skip
FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)  # of integers that were stored as floats
MIN_INTEGER_PEAK = 128.0  # floats up to this are too loud rather than integers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """A sound.

    Attributes:
      wave: float32 within [-1, 1], [n] if mono, [n, A] with A channels.
      sample_rate: samples a second.
      channels: their names, FFmpeg's, such as FL and FR.
      notes: what reading had to change, one line each, with the file's name.
    """

    wave: np.ndarray
    sample_rate: int
    channels: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_audio(path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, **span) -> np.ndarray:
    """The wave of `read_sound`, whose arguments it takes: float32 [n] or [n, 2] in [-1, 1]."""
    return read_sound(path, sample_rate, **span).wave


def read_sound(
    path: str | os.PathLike,
    sample_rate: int | None = SAMPLE_RATE,
    *,
    start: float = 0.0,
    seconds: float | None = None,
    track: int | None = None,
    channels: int | None = 1,
) -> Sound:
    """Reads the sound of a media file.

    Sample 0 is at the time of the first video frame (if there is video) plus `start` seconds;
    sound that begins later is preceded by silence. Gaps in the track are silence of their length.

    Args:
      path: a media file.
      sample_rate: samples a second to resample to; None: the track's.
      start: seconds to skip.
      seconds: how many seconds to read; None: up to the end.
      track: which audio track, from 1; None: the file's default one.
      channels: 1 mixes the channels, 2 is stereo: mono sound is in both channels; None: those of
        the track as they are.

    Raises:
      InputError: a missing file, one that is not media, one without sound or without a decoder for
        it, or samples that are not finite or far from any scale.
    """
    stop = math.inf if seconds is None else start + seconds
    layout = None if channels is None else LAYOUTS[channels]
    reader = _TrackReader(path, sample_rate, track, stop, layout)
    wave, notes = reader.read(), []
    if channels == 1 and reader.channels.cancel:
        wave = reader.read(reader.channels.loudest)
        notes.append(
            f"{reader.name}: found channels in opposite phase, which mixed are silent: channel "
            f"{reader.channels.loudest + 1} alone is used"
        )
    notes += reader.describe_losses()
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
    rate = reader.sample_rate
    skip = round(start * rate)
    wave = wave[skip : None if seconds is None else skip + round(seconds * rate)]
    wave = np.clip(wave / np.float32(scale) if scale != 1 else wave, -1, 1)
    names = tuple(channel.name for channel in av.AudioLayout(reader.layout).channels)
    return Sound(wave=wave, sample_rate=rate, channels=names, notes=tuple(notes))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrackHeader:
    """What the header of a file says about its default audio track.

    Attributes:
      number: of the track, from 1.
      tracks: how many audio tracks there are.
      channels: their names, FFmpeg's.
    """

    number: int
    tracks: int
    channels: tuple[str, ...]


def read_track_header(path: str | os.PathLike) -> TrackHeader:
    """The header of a file's default audio track.

    Raises InputError for a file without sound, or without a decoder for it.
    """
    with reading.open_media(path) as container:
        stream = reading.select_audio_stream(container, path)
        if stream is None:
            raise InputError(f"{path}: found no audio stream, expected sound")
        reading.check_decoder(stream, path)
        streams = container.streams.audio
        names = tuple(channel.name for channel in av.AudioLayout(find_layout(stream)).channels)
        return TrackHeader(number=streams.index(stream) + 1, tracks=len(streams), channels=names)


def find_layout(stream) -> str:
    """FFmpeg's name for the channels of a track; by their number where the file has none."""
    layout = stream.codec_context.layout
    return (
        LAYOUTS.get(layout.nb_channels, layout.name) if "channels" in layout.name else layout.name
    )


def is_audible(wave: np.ndarray) -> bool:
    """Whether samples [n], float in [-1, 1], are more than silence."""
    return bool(np.abs(wave).max(initial=0.0) > AUDIBLE)


def _find_scale(wave: np.ndarray, reader: _TrackReader) -> float:
    """What samples beyond full scale are divided by; raises InputError for those of no scale."""
    peak = float(np.abs(wave).max(initial=0.0))
    is_float = reader.codec.startswith("pcm_f")  # which keeps samples as they were
    if peak <= (1.0 if is_float else MAX_PEAK):
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
        energy[: len(samples)] += _sum_squares(samples)
        self.energy, self.samples = energy, self.samples + samples.shape[1]
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))

    def add_mixed(self, samples: np.ndarray) -> None:
        """Adds samples [n] or [n, 2] of the mix."""
        self.mixed_energy += float(_sum_squares(samples.reshape(-1)))
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


def _sum_squares(samples: np.ndarray) -> np.ndarray:
    """Over the last axis; what is not finite is refused later and no reason for a warning."""
    with np.errstate(all="ignore"):
        return np.einsum("...n,...n->...", samples, samples, dtype=np.float64)


class _TrackReader:
    """Reads one audio track, from the first picture (or sound) on.

    Attributes:
      name: of file and track, for messages.
      channels: their energies, once the track was read.
      codec: FFmpeg's name of its codec.
      decoder: of its packets, once the track was read.
      end, declared_end: seconds of its end, and of the end that its header says.
      gaps: in it, which are silence.
      overlap, early: seconds of sound that is left out: that begins before the end of other sound,
        and before the first picture.
      max_shortfall: seconds by which it may end earlier.
      is_whole: whether it was read to its end.
      truncation: how the file shows that it broke off, if it was read to its end.
      sample_rate, layout: of the samples, the track's where they were None.
    """

    def __init__(
        self, path, sample_rate: int | None, track: int | None, stop: float, layout: str | None
    ):
        self.path, self.sample_rate, self.track, self.stop = path, sample_rate, track, stop
        self.layout = layout
        self.name, self.channels, self.codec = str(path), _Channels(), ""
        self.end, self.declared_end, self.is_whole = 0.0, 0.0, True
        self.truncation = ""
        self.max_shortfall = MAX_PADDING
        self.gaps, self.overlap, self.early = durations.Gaps(), 0.0, 0.0

    def read(self, channel: int | None = None) -> np.ndarray:
        """Samples, float32 [n] or [n, A]: of all channels in the layout, or of one of them."""
        self.channels = _Channels()
        with reading.open_media(self.path) as container:
            stream = reading.select_audio_stream(container, self.path, self.track)
            if stream is None:
                raise InputError(f"{self.path}: found no audio stream, expected sound")
            if len(container.streams.audio) > 1:
                self.name = f"{self.path}: audio track {container.streams.audio.index(stream) + 1}"
            reading.check_decoder(stream, self.path)
            self.codec = stream.codec_context.name
            self.sample_rate = self.sample_rate or stream.codec_context.sample_rate
            self.layout = self.layout or find_layout(stream)
            video = reading.find_video_stream(container)
            origin = reading.find_start(stream if video is None else video)
            try:
                runs = list(self._decode_runs(container, stream, origin, channel))
            except av.error.FFmpegError as error:  # such as more than 64 channels
                raise InputError(
                    f"{self.name}: cannot be read ({reading.describe(error)}), expected sound"
                ) from error
            declared = _find_declared_seconds(container, stream)
            is_exact = "wav" in container.format.name and self.codec.startswith("pcm_")
            self.max_shortfall = MAX_SHORTFALL if is_exact else MAX_PADDING
            self.declared_end = durations.find_declared_end(container, stream) - origin
            if self.is_whole:
                self.truncation = truncation.describe_truncation(self.decoder.file)
        if not runs:
            reason = f" ({self.decoder.reason})" if self.decoder.reason else ""
            raise InputError(
                f"{self.name}: found an audio stream without samples{reason}, expected sound"
            )
        return self._place(runs, declared)

    def describe_losses(self) -> Iterator[str]:
        """A line about damaged packets, gaps, what is left out, and an end that is missing."""
        is_truncated = self.is_whole and self.end < self.declared_end - self.max_shortfall
        num_damaged = self.decoder.num_damaged
        if num_damaged > is_truncated:  # the last packet of a truncated file is damaged
            yield (
                f"{self.name}: found {num_damaged} packets of sound that cannot be decoded: they "
                "are silence"
            )
        if self.decoder.num_marked:
            yield (
                f"{self.name}: found {self.decoder.num_marked} packets of sound that are marked as "
                "damaged: they may sound wrong"
            )
        if gaps := self.gaps.describe("sound"):
            yield f"{self.name}: {gaps}: it is silence there"
        if self.overlap > JITTER:
            yield (
                f"{self.name}: {self.overlap:.2f} s of sound begin before the end of the sound "
                "before: they are left out"
            )
        if self.early:
            yield (
                f"{self.name}: found {self.early:.2f} s of sound before the first picture: they "
                "are left out"
            )
        if is_truncated:
            yield (
                f"{self.name}: truncated: found {self.end:.2f} s of sound, expected "
                f"{self.declared_end:.2f} s by its header: the end is missing"
            )
        elif self.truncation:
            yield f"{self.path}: {self.truncation}"

    def _place(self, runs: list[tuple[float, np.ndarray]], declared: float) -> np.ndarray:
        """The samples of (time, samples) runs, from time 0 on: silence in gaps, overlaps cut.

        A codec pads its last block, which `declared` seconds leave out.
        """
        first = round(runs[0][0] * self.sample_rate)
        parts, length, silence = [], 0, max(first, 0)
        self.gaps, self.overlap, self.early = durations.Gaps(), 0.0, 0.0
        for time, samples in runs:
            gap = round(time * self.sample_rate) - first - length
            silence += max(gap, 0)
            durations.check_gap(self.path, silence / self.sample_rate)
            if gap > 0:
                parts.append(np.zeros((gap, *samples.shape[1:]), np.float32))
                if gap > JITTER * self.sample_rate:  # resampling shortens by less
                    self.gaps.add(time - gap / self.sample_rate, time)
            elif gap < 0:
                self.overlap += min(-gap, len(samples)) / self.sample_rate
                samples = samples[-gap:]
            parts.append(samples)
            length += max(gap, 0) + len(samples)
        wave = np.concatenate(parts)
        if declared * self.sample_rate < length <= (declared + MAX_PADDING) * self.sample_rate:
            wave = wave[: round(declared * self.sample_rate)]
        if first <= 0:
            early = wave[:-first] if first else wave[:0]
            is_lost = len(early) > JITTER * self.sample_rate and is_audible(early)
            self.early = len(early) / self.sample_rate if is_lost else 0.0
            return wave[len(early) :]
        if first > MAX_DELAY * self.sample_rate:
            self.gaps.add(0.0, first / self.sample_rate)
        return np.concatenate([np.zeros((first, *wave.shape[1:]), np.float32), wave])

    def _decode_runs(
        self, container, stream, origin: float, channel: int | None
    ) -> Iterator[tuple[float, np.ndarray]]:
        """(time, samples) of each stretch without a gap or a change of format, up to `stop`."""
        run, clock = None, durations.SteadyClock(self.path)
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
            self.end = max(self.end, run.end)
            if time > self.stop:
                self.is_whole = False
                break
        if run is not None:
            yield run.start, run.flush()

    def _decode(self, container, stream) -> Iterator[av.AudioFrame]:
        """Frames, without those of damaged packets, up to a truncated end."""
        self.decoder = reading.PacketDecoder(container, stream)
        yield from (frame for frame in self.decoder if frame.samples)


def _find_declared_seconds(container, stream) -> float:
    """Seconds of a track by the sample table of an mp4 or mov; else infinity."""
    if "mp4" not in container.format.name or not stream.duration:
        return math.inf
    return reading.to_seconds(stream.duration, stream.time_base)


class _Run:
    """Frames of one format that follow each other, resampled together.

    Attributes:
      start, end: seconds.
    """

    def __init__(self, frame, start: float, reader: _TrackReader, channel: int | None):
        self.start, self.end, self.channel, self.channels = start, start, channel, reader.channels
        self.format = _find_format(frame)
        # FFmpeg makes mono sound quieter where it spreads it over two channels.
        self.is_spread = reader.layout == "stereo" and frame.layout.nb_channels == 1
        layout = "mono" if self.is_spread else reader.layout
        # The two formats are one for a single channel, and most codecs decode to the first.
        form = "fltp" if layout == "mono" else "flt"
        self.resampler = av.AudioResampler(format=form, layout=layout, rate=reader.sample_rate)
        # Interleaved: PyAV reads beyond the planes of a frame that has eight or more of them.
        self.interleaved = av.AudioResampler(format="flt")
        self.parts: list[np.ndarray] = []

    def holds(self, frame: av.AudioFrame) -> bool:
        """Whether a frame has the format of this run."""
        return _find_format(frame) == self.format

    def add(self, frame: av.AudioFrame) -> None:
        """Resamples a frame."""
        self.end += frame.samples / frame.sample_rate
        if frame.layout.nb_channels > 1:
            for part in self.interleaved.resample(frame):
                samples = part.to_ndarray().reshape(part.samples, -1).T
                self.channels.add(samples)
                if self.channel is not None:
                    frame = _make_mono(samples[min(self.channel, len(samples) - 1)], frame)
        self._resample(frame)

    def _resample(self, frame: av.AudioFrame | None) -> None:
        for part in self.resampler.resample(frame):
            num_channels = part.layout.nb_channels
            # Not to_ndarray, which copies them: they are joined below.
            samples = np.frombuffer(part.planes[0], np.float32, part.samples * num_channels)
            if self.is_spread:
                samples = np.stack([samples, samples], axis=1)
            elif num_channels > 1:
                samples = samples.reshape(part.samples, num_channels)
            self.parts.append(samples)

    def flush(self) -> np.ndarray:
        """All samples, float32 [n] or [n, A]."""
        self._resample(None)
        channels = 2 if self.is_spread else self.resampler.layout.nb_channels
        empty = np.zeros(0 if channels == 1 else (0, channels), np.float32)
        wave = np.concatenate(self.parts) if self.parts else empty
        self.channels.add_mixed(wave)
        return wave


def _find_format(frame: av.AudioFrame) -> tuple:
    return frame.sample_rate, frame.layout.name, frame.format.name


def _make_mono(samples: np.ndarray, frame: av.AudioFrame) -> av.AudioFrame:
    """A frame of one channel [n] at the time of another."""
    mono = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "fltp", "mono")
    mono.sample_rate, mono.pts, mono.time_base = frame.sample_rate, frame.pts, frame.time_base
    return mono
