"""Loudness and true peaks of waves, after EBU R 128 and ITU-R BS.1770.

SciPy and pyloudnorm are imported where they are used, since they take longer than --help.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.media.sound import read_sound

MAX_TRUE_PEAK = -1.0  # dBTP, of EBU R 128
MARGIN = 0.2  # dB below it: other meters interpolate otherwise, and files have 16 bits
OVERSAMPLING, OVERSAMPLED_RATE = 4, 192_000  # at least, and samples a second that it reaches
LOOKAHEAD = 0.01  # seconds over which a gain falls before a peak, and rises behind it
CHUNK = 2**19  # samples that are oversampled at a time
EDGE = 64  # samples around them, more than the filter reaches
MIN_SECONDS = 0.4  # of a block, the shortest sound whose loudness can be measured
MAX_GAIN = 40.0  # dB that a quiet sound is raised at most
MAX_MAKEUP = 6.0  # dB more, for what the limiter takes
TOLERANCE = 0.1  # LU
MAX_ERROR = 0.5  # LU, beyond which there is a line
ROUNDS = 8  # of gain and limiter
# Channels that are measured, in the order of pyloudnorm; that for low frequencies does not count.
MEASURED = (("FL",), ("FR",), ("FC",), ("BL", "SL"), ("BR", "SR"))
IGNORED = "LFE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leveling:
    """A gain for each sample of a wave.

    Attributes:
      gain: float32 [n].
      loudness: LUFS of the wave with it.
      notes: a line where the target was not reached.
    """

    gain: np.ndarray
    loudness: float
    notes: tuple[str, ...] = ()


def to_factor(gain: float) -> float:
    """The factor of a gain in decibels."""
    return 10.0 ** (gain / 20)


def check_channels(names: Sequence[str]) -> None:
    """Raises an InputError for channels whose loudness is not measured here."""
    known = {name for group in MEASURED for name in group} | {IGNORED}
    doubled = [group for group in MEASURED if len({*group} & {*names}) > 1]
    if not set(names) <= known or doubled:
        raise InputError(
            f"--loudness: found the channels {' '.join(names)}, expected mono, stereo, or up to 5.1"
        )


def measure_loudness(wave: np.ndarray, sample_rate: int, names: Sequence[str] = ()) -> float:
    """Integrated loudness in LUFS; minus infinity for silence and for less than MIN_SECONDS.

    Args:
      wave: float [n] or [n, A].
      sample_rate: samples a second.
      names: FFmpeg's, of channels; may be empty for mono and stereo.
    """
    import pyloudnorm

    if len(wave) <= MIN_SECONDS * sample_rate:
        return -np.inf
    if wave.ndim == 2 and wave.shape[1] > 2:
        columns = {name: wave[:, place] for place, name in enumerate(names)}
        silence = np.zeros(len(wave), wave.dtype)
        groups = (next((columns[n] for n in group if n in columns), silence) for group in MEASURED)
        wave = np.stack(list(groups), axis=1)
    return float(pyloudnorm.Meter(sample_rate).integrated_loudness(wave))


def measure_file(path: str | os.PathLike) -> float:
    """Integrated loudness of a media file's sound, in LUFS."""
    sound = read_sound(path, None, channels=None)
    return measure_loudness(sound.wave, sound.sample_rate, sound.channels)


def find_peaks(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """True peak around each sample, over all channels: [n] or [n, A] -> float32 [n].

    That of sample k is the largest absolute value of the oversampled wave from sample k - 1 to
    sample k + 1.
    """
    from scipy import ndimage, signal

    factor = max(OVERSAMPLING, -(-OVERSAMPLED_RATE // sample_rate))
    peaks = np.zeros(len(wave), np.float32)
    padded = np.pad(wave, [(EDGE, EDGE)] + [(0, 0)] * (wave.ndim - 1))
    for first in range(0, len(wave), CHUNK):
        part = padded[first : first + CHUNK + 2 * EDGE]
        over = np.abs(signal.resample_poly(part, factor, 1, axis=0))
        loudest = over if over.ndim == 1 else over.max(axis=1)
        spread = ndimage.maximum_filter1d(loudest, 2 * factor + 1)[::factor]
        peaks[first : first + CHUNK] = spread[EDGE : len(part) - EDGE]
    return peaks


def limit_peaks(wave: np.ndarray, sample_rate: int, where: np.ndarray | None = None) -> np.ndarray:
    """Gains [n] that keep the true peaks of a wave [n] or [n, A] below MAX_TRUE_PEAK.

    Args:
      wave: float.
      sample_rate: samples a second.
      where: bool [n], samples that may change; None: all. Elsewhere the gain is exactly 1.
    """
    from scipy import ndimage

    ceiling = to_factor(MAX_TRUE_PEAK - MARGIN)
    needed = np.minimum(
        ceiling / np.maximum(find_peaks(wave, sample_rate).astype(float), 1e-9), 1.0
    )
    reach = round(LOOKAHEAD * sample_rate)
    if where is not None:
        # The gain of a sample reaches as far to both sides.
        inside = ndimage.minimum_filter1d(where.astype(np.uint8), 4 * reach + 1, mode="nearest")
        needed = np.where(inside, needed, 1.0)
    if needed.min(initial=1.0) >= 1.0:
        return np.ones(len(wave), np.float32)
    # The mean over `reach` on both sides of minima over as much is nowhere above what is needed.
    gain = ndimage.minimum_filter1d(needed, 2 * reach + 1)
    width = reach // 2 * 2 + 1
    for _ in range(2):
        gain = ndimage.uniform_filter1d(gain, width, mode="nearest")
    gain = np.minimum(gain, 1.0)
    if where is not None:
        gain = np.where(where, gain, 1.0)
    return gain.astype(np.float32)


def apply_gain(wave: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """A wave [n] or [n, A] times a gain [n], float32."""
    return (wave * (gain if wave.ndim == 1 else gain[:, None])).astype(np.float32)


def level(wave: np.ndarray, sample_rate: int, target: float, names: Sequence[str] = ()) -> Leveling:
    """Gains that bring a wave to a loudness, with its true peaks below MAX_TRUE_PEAK.

    Args:
      wave: float [n] or [n, A].
      sample_rate: samples a second.
      target: LUFS.
      names: as those of `measure_loudness`.
    """
    loudness = measure_loudness(wave, sample_rate, names)
    if not np.isfinite(loudness):
        note = f"--loudness: found silence or less than {MIN_SECONDS:g} s: left as it is"
        return Leveling(gain=np.ones(len(wave), np.float32), loudness=loudness, notes=(note,))
    change, highest = 0.0, min(target - loudness, MAX_GAIN) + MAX_MAKEUP
    for _ in range(ROUNDS):
        change = min(change + target - loudness, highest)
        factor = np.float32(to_factor(change))
        gain = factor * limit_peaks(factor * wave, sample_rate)
        loudness = measure_loudness(apply_gain(wave, gain), sample_rate, names)
        if abs(target - loudness) < TOLERANCE or change == highest:
            break
    notes = ()
    if abs(target - loudness) > MAX_ERROR:
        notes = (f"--loudness={target:g}: reached {loudness:.1f} LUFS: the sound is too quiet or "
                 "its peaks are too high",)  # fmt: skip
    return Leveling(gain=gain, loudness=loudness, notes=notes)
