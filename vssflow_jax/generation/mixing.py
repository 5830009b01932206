"""Generated sound together with the video's own, and its loudness."""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vssflow_jax import media
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.waves import cut_or_pad, resample
from vssflow_jax.config.rules import between
from vssflow_jax.generation.cue_onsets import SPEECH_FADE, SPEECH_MARGINS
from vssflow_jax.generation.output import Output
from vssflow_jax.generation.request import Request
from vssflow_jax.generation.stems import MAX_LEVEL, STEMS
from vssflow_jax.media import loudness

REPLACE, ADD, DUCK = "replace", "add", "duck"
MIXES = (REPLACE, ADD, DUCK)
ORIGINAL = "original"  # the stem with the video's own sound
MIN_LOUDNESS, MAX_LOUDNESS = -60.0, -5.0  # LUFS
# Seconds before and behind speech in which the original is quieter.
DUCK_MARGINS, DUCK_FADE = (0.15, 0.4), 0.15
MAX_REST = 0.2  # seconds of sound behind a clip's end that are left out without a note


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixOptions:
    """How generated sound becomes that of a video.

    Attributes:
      mode: "replace" the video's own sound, "add" to it, or "duck" it while somebody speaks.
      original_level, generated_level: dB, of the video's own sound and of the generated one.
      duck_level: dB, of the video's own sound while somebody speaks.
      loudness: LUFS of the result; None: as it comes.
    """

    mode: str = REPLACE
    original_level: float = 0.0
    generated_level: float = 0.0
    duck_level: float = -12.0
    loudness: float | None = None

    def check(self, request: Request) -> None:
        """Raises an InputError for options out of range, or that a request does not allow."""
        if self.mode not in MIXES:
            raise InputError(f"--mix: found {self.mode!r}, expected one of {', '.join(MIXES)}")
        for name in ("original_level", "generated_level", "duck_level"):
            check_range(name, getattr(self, name), -MAX_LEVEL, MAX_LEVEL, "dB")
        if self.loudness is not None:
            check_range("loudness", self.loudness, MIN_LOUDNESS, MAX_LOUDNESS, "LUFS")
        if self.mode == REPLACE:
            return
        if request.video is None:
            raise InputError(f"--mix={self.mode}: found no --video, expected one with sound")
        if self.mode == DUCK and not request.script:
            raise InputError("--mix=duck: found neither --text nor --script, expected speech")
        try:
            channels = media.read_track_header(request.video).channels
            if self.loudness is not None:
                loudness.check_channels(channels)
        except InputError as error:
            raise InputError(f"--mix={self.mode}: {error}") from None
        if len(channels) not in media.LAYOUTS:
            raise InputError(
                f"--mix={self.mode}: {request.video}: found {len(channels)} channels, expected at "
                f"most {max(media.LAYOUTS)}"
            )


def check_range(name: str, value: float, low: float, high: float, unit: str) -> None:
    """Raises an InputError for a number that is not between `low` and `high`."""
    if not between(low, high).holds(value):
        shown = f"{value:g}" if isinstance(value, numbers.Real) else repr(value)
        raise InputError(f"--{name}: found {shown}, expected {low:g} to {high:g} {unit}")


def mix_output(output: Output, options: MixOptions) -> Output:
    """An output with the video's own sound, levels and loudness as the options say.

    Its sample rate and channels are those of the video's sound if that is part of it. All stems
    have the gain of the whole; the one named ORIGINAL is the video's own sound. Where nothing is
    added, and neither levels nor a loudness are asked for, samples stay the video's own.

    Args:
      output: of the generator.
      options: checked.
    """
    if options == MixOptions():
        return output
    report = {**output.report, "warnings": [*output.report.get("warnings", ())]}
    factor = np.float32(loudness.to_factor(options.generated_level))
    if options.mode == REPLACE:
        waves = {"": factor * output.wave}
        waves |= {name: factor * wave for name, wave in output.stems.items()}
        rate, names, where = output.sample_rate, (), None
    else:
        original = _read_original(output.video, report["warnings"])
        rate, names = original.sample_rate, original.channels
        length = round(len(output.wave) / output.sample_rate * rate)
        report["warnings"] += _describe_rest(original, output, length)
        bed, where = _prepare_bed(original, output, options, length)
        generated = {
            name: _fit_generated(factor * wave, output.sample_rate, original, length)
            for name, wave in {"": output.wave, **output.stems}.items()
        }
        heard = _fade_spans(output, rate, length, SPEECH_MARGINS, SPEECH_FADE)
        if output.utterances and not {*STEMS["sound"]} & {*report.get("used", ())}:
            generated = {k: loudness.apply_gain(wave, heard) for k, wave in generated.items()}
            where = where | _widen(heard > 0, rate)
        else:
            where = np.ones(length, bool)
        added = generated.pop("")
        waves = {"": np.where(_over_channels(where, bed), bed + added, bed), **generated}
        if output.stems:
            waves[ORIGINAL] = bed
        report["mix"] = options.mode
    gain = _find_gain(waves[""], rate, names, where, options, report)
    if gain is not None:
        changed = gain != 1
        waves = {
            name: np.where(_over_channels(changed, wave), loudness.apply_gain(wave, gain), wave)
            for name, wave in waves.items()
        }
    return dataclasses.replace(
        output, wave=waves.pop(""), sample_rate=rate, stems=waves, report=report
    )


def _find_gain(
    wave: np.ndarray, rate: int, names: Sequence[str], where, options: MixOptions, report: dict
) -> np.ndarray | None:
    """The gain of each sample; None: no change. Notes go to the report."""
    if options.loudness is not None:
        leveling = loudness.level(wave, rate, options.loudness, names)
        report["warnings"] += leveling.notes
        report["loudness"] = round(leveling.loudness, 2) if np.isfinite(leveling.loudness) else None
        return leveling.gain
    if options.mode == REPLACE and options.generated_level <= 0:
        return None
    return loudness.limit_peaks(wave, rate, where)


def _read_original(video: Path, warnings: list[str]) -> media.Sound:
    """The sound of a video in its own rate and channels; notes about it become warnings."""
    header, sound = media.read_track_header(video), media.read_sound(video, None, channels=None)
    if header.tracks > 1:
        warnings.append(
            f"{video}: found {header.tracks} audio tracks: number {header.number} is mixed, others "
            "are left out"
        )
    warnings += [note for note in sound.notes if note not in warnings]
    return sound


def _describe_rest(original: media.Sound, output: Output, length: int) -> list[str]:
    """A line about sound of a video behind the end of the clip, of `length` of its samples."""
    rest = original.wave[length:]
    if len(rest) <= MAX_REST * original.sample_rate or not media.is_audible(rest):
        return []
    seconds = [count / original.sample_rate for count in (len(original.wave), length)]
    return [
        f"{output.video}: found {seconds[0]:.2f} s of sound for a clip of {seconds[1]:.2f} s: the "
        "rest of the sound is left out"
    ]


def _prepare_bed(
    original: media.Sound, output: Output, options: MixOptions, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The video's own sound at its level, and bool [n]: where it differs from the file's."""
    bed = cut_or_pad(original.wave, length)
    gain = np.full(length, loudness.to_factor(options.original_level), np.float32)
    if options.mode == DUCK:
        spoken = _fade_spans(output, original.sample_rate, length, DUCK_MARGINS, DUCK_FADE)
        gain *= 1 + spoken * np.float32(loudness.to_factor(options.duck_level) - 1)
    changed = gain != 1
    return np.where(_over_channels(changed, bed), loudness.apply_gain(bed, gain), bed), changed


def _fade_spans(
    output: Output, rate: int, length: int, margins: tuple[float, float], fade: float
) -> np.ndarray:
    """1 while somebody speaks and in the margins, 0 elsewhere, with fades outside: float32 [n]."""
    envelope = np.zeros(length, np.float32)
    ramp = 0.5 - 0.5 * np.cos(np.pi * (np.arange(round(fade * rate)) + 1) / (fade * rate + 1))
    for line in output.utterances:
        first, last = (
            round((time + shift) * rate)
            for time, shift in ((line.start, -margins[0]), (line.end, margins[1]))
        )
        shape = np.concatenate([ramp, np.ones(max(last - first, 0)), ramp[::-1]])
        begin = first - len(ramp)
        part = slice(max(begin, 0), max(min(begin + len(shape), length), 0))
        shape = shape[part.start - begin : part.stop - begin]
        envelope[part] = np.maximum(envelope[part], shape)
    return envelope


def _widen(where: np.ndarray, rate: int) -> np.ndarray:
    """Samples [n] and those around them in which the limiter's gain falls and rises."""
    from scipy import ndimage  # slow to import

    return ndimage.maximum_filter1d(where, 4 * round(loudness.LOOKAHEAD * rate) + 1)


def _fit_generated(
    wave: np.ndarray, sample_rate: int, original: media.Sound, length: int
) -> np.ndarray:
    """A generated wave in the rate and the channels of the video's sound.

    Mono goes to the center where there is one, else to both sides; stereo to left and right.
    """
    wave = cut_or_pad(resample(wave, sample_rate, original.sample_rate), length)
    if original.wave.ndim == 1:
        return wave if wave.ndim == 1 else wave.mean(axis=1)
    names, spread = original.channels, np.zeros((length, original.wave.shape[1]), np.float32)
    sides = [names.index(name) if name in names else 0 for name in ("FL", "FR")]
    if wave.ndim == 1 and "FC" in names:
        spread[:, names.index("FC")] = wave
    else:
        spread[:, sides] = wave if wave.ndim == 2 else wave[:, None]
    return spread


def _over_channels(values: np.ndarray, wave: np.ndarray) -> np.ndarray:
    """Values [n] in a shape that broadcasts with a wave [n] or [n, A]."""
    return values if wave.ndim == 1 else values[:, None]
