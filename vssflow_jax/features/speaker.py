"""Speaker embedding without weights: mean and spread of the log-mel spectrum and of its change.

In NumPy with a filter bank of its own, although codecs/mel.py has the same analysis in JAX: many
processes prepare data at once, and none of them should start an accelerator runtime.
"""

from __future__ import annotations

import functools

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import SAMPLE_RATE

WINDOW, HOP, BANDS = 1024, 160, 64
WIDTH = 4 * BANDS
FLOOR = 1e-4  # magnitude; lower would measure the noise of the recording, not the voice
SILENCE = 1e-3  # peak below which a wave counts as silence (-60 dB)
RANGE = 35.0  # decibels below the loud frames that still count as speech
MIN_SECONDS = 0.1
# Usual center and spread of each quarter on speech, so that the embedding is near unit scale.
CENTERS = np.repeat(np.array([-3.8, 1.5, 0.0, 0.47], np.float32), BANDS)
SCALES = np.repeat(np.array([1.5, 0.5, 0.1, 0.1], np.float32), BANDS)


@functools.cache
def filterbank() -> np.ndarray:
    """Triangular mel filters of unit area, Slaney's scale, 0 to 8000 Hz: float32 [64, 513]."""
    top = 15 + 27 * np.log(8000 / 1000) / np.log(6.4)
    mels = np.linspace(0, top, BANDS + 2)
    hertz = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((np.maximum(mels, 15) - 15) / 27))
    bins = np.arange(WINDOW // 2 + 1) * SAMPLE_RATE / WINDOW
    rising = (bins - hertz[:-2, None]) / np.diff(hertz)[:-1, None]
    falling = (hertz[2:, None] - bins) / np.diff(hertz)[1:, None]
    area = 2 / (hertz[2:] - hertz[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Natural log of mel magnitudes, 100 frames a second: float32 [n] -> [n // 160, 64].

    Needs at least 433 samples. Same analysis as `codecs.mel.log_mel`.
    """
    edge = (WINDOW - HOP) // 2
    padded = np.pad(np.asarray(wave, np.float32), edge, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW, dtype=np.float32) / WINDOW)
    spectrum = np.abs(np.fft.rfft(frames * hann.astype(np.float32), axis=-1)).astype(np.float32)
    return np.log(np.maximum(spectrum @ filterbank().T, FLOOR))


def embed_speaker(wave: np.ndarray) -> np.ndarray:
    """Speaker embedding: float32 [n] at 16 kHz -> float32 [256].

    Mean and standard deviation over the frames with speech of the log-mel spectrum, then of
    its change a frame. The wave is scaled to peak 1 first, so loudness has no effect. Each
    quarter is shifted and scaled to about unit size by constants.

    Raises:
      InputError: silence, or less than a tenth of a second.
    """
    wave = np.asarray(wave, np.float32)
    mel = log_mel(wave / check_voice(wave))
    active = _detect_activity(mel)
    # A change into or out of a pause says nothing about the voice.
    within = active & np.roll(active, 1) & np.roll(active, -1)
    change = np.gradient(mel, axis=0)[within if within.any() else active]
    spoken = mel[active]
    parts = [spoken.mean(0), spoken.std(0), change.mean(0), change.std(0)]
    return ((np.concatenate(parts) - CENTERS) / SCALES).astype(np.float32)


def check_voice(wave: np.ndarray) -> float:
    """The peak of a reference voice, float32 [n].

    Raises:
      InputError: silence, or less than a tenth of a second.
    """
    if len(wave) < MIN_SECONDS * SAMPLE_RATE:
        raise InputError(f"speaker audio: found {len(wave) / SAMPLE_RATE:.3f} s, "
                         f"expected at least {MIN_SECONDS} s of voice")  # fmt: skip
    peak = float(np.abs(wave).max())
    if peak < SILENCE:
        raise InputError(f"speaker audio: found silence (peak {peak:.1g}), expected a voice")
    return peak


def _detect_activity(mel: np.ndarray) -> np.ndarray:
    """Frames with sound: loudness within RANGE decibels of the loudest tenth, bool [T]."""
    decibels = 10 * np.log10(np.exp(2 * mel).sum(1))
    return decibels > np.quantile(decibels, 0.9) - RANGE


def find_voiced_span(wave: np.ndarray) -> tuple[float, float]:
    """Seconds of the first and the last sound in float32 [n]; all of a silent wave."""
    if len(wave) < WINDOW or float(np.abs(wave).max()) < SILENCE:
        return 0.0, len(wave) / SAMPLE_RATE
    active = np.flatnonzero(_detect_activity(log_mel(wave)))
    return float(active[0] * HOP / SAMPLE_RATE), float((active[-1] + 1) * HOP / SAMPLE_RATE)
