"""How much of speech is heard beside another sound: the speech intelligibility index, simplified.

ANSI S3.5 counts a band of speech that is 15 dB louder than what else sounds in it as heard, one
that is 15 dB softer as lost, and what lies between in proportion. Here the bands are 16 of equal
width on the mel scale, all of one weight, and the levels are those of single frames, so that a drum
beside a sentence hides little of it and steady rain much.
"""

from __future__ import annotations

import functools

import librosa
import numpy as np

from vssflow_jax.media import loudness

BANDS = 16
LOWEST, HIGHEST = 150.0, 7000.0  # Hz
FRAME_SECONDS = 0.032
SPOKEN = 1e-3  # power of a frame of speech over that of the loudest: 30 dB
FLOOR = 1e-9  # power, of digital silence
HEARD = 15.0  # dB above the other sound from which on a band is heard as well as alone
STEPS = 12  # of the bisection: 60 dB to 0.015 dB


def measure_audibility(speech: np.ndarray, other: np.ndarray, sample_rate: int) -> float:
    """Share of the speech's bands that is heard, 0 to 1; 1 for silence in place of speech.

    Args:
      speech: waveform, float32 [n] or [n, A].
      other: waveform of the same shape.
      sample_rate: samples a second.
    """
    return _share_heard(*(_measure_bands(wave, sample_rate) for wave in (speech, other)), 0.0)


def find_audible_gain(
    speech: np.ndarray, other: np.ndarray, sample_rate: int, least: float, highest: float = 0.0
) -> float:
    """The gain of the other sound, in dB, with which at least this share of the speech is heard.

    Args:
      speech: waveform, float32 [n] or [n, A].
      other: waveform of the same shape.
      sample_rate: samples a second.
      least: share that is to be heard, 0 to 1 (`measure_audibility`).
      highest: gain that is kept where enough is heard with it; 60 dB less is the lowest.
    """
    bands = [_measure_bands(wave, sample_rate) for wave in (speech, other)]
    if _share_heard(*bands, highest) >= least:
        return highest
    low, high = highest - 60.0, highest
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_heard(*bands, middle) >= least else (low, middle)
    return low


def _share_heard(speech: np.ndarray, other: np.ndarray, gain: float) -> float:
    """Share of the speech that is heard beside the other sound with a gain in dB."""
    power = speech.sum(axis=0)
    spoken = (power > SPOKEN * power.max(initial=0.0)) & (power > FLOOR)
    if not spoken.any():
        return 1.0
    ratio = (speech[:, spoken] + FLOOR) / (other[:, spoken] * loudness.to_factor(gain) ** 2 + FLOOR)
    return float(np.mean(np.clip(10 * np.log10(ratio) / HEARD, -1, 1) / 2 + 0.5))


def _measure_bands(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of each band and frame: [n] or [n, A] -> float32 [BANDS, frames]."""
    mono = wave if wave.ndim == 1 else wave.mean(axis=1)
    size = 2 * round(sample_rate * FRAME_SECONDS / 2)
    padded = np.pad(np.asarray(mono, np.float32), size // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]
    spectrum = np.fft.rfft(frames * np.hanning(size).astype(np.float32), axis=1)
    return _make_filters(sample_rate, size) @ np.square(np.abs(spectrum)).T


@functools.cache
def _make_filters(sample_rate: int, size: int) -> np.ndarray:
    """Mel filters, float32 [BANDS, size / 2 + 1]."""
    return librosa.filters.mel(
        sr=sample_rate, n_fft=size, n_mels=BANDS, fmin=LOWEST, fmax=min(HIGHEST, sample_rate / 2),
        norm=None,
    )  # fmt: skip
