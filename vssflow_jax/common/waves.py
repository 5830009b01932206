"""Waveforms in other sample rates, numbers of channels and lengths."""

from __future__ import annotations

import math

import numpy as np


def resample(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """A wave [n, ...] at `rate` samples a second at `target`, by SciPy's polyphase filter."""
    if rate == target:
        return wave
    from scipy.signal import resample_poly  # slow to import, and rarely needed

    divisor = math.gcd(rate, target)
    return resample_poly(wave, target // divisor, rate // divisor).astype(np.float32)


def to_mono(wave: np.ndarray, rate: int, target: int) -> np.ndarray:
    """The mean of a wave's channels, [n] or [n, A] at `rate`, as float32 [m] at `target`."""
    mono = wave if wave.ndim == 1 else wave.mean(axis=1)
    return resample(np.asarray(mono, np.float32), rate, target)


def from_mono(wave: np.ndarray, rate: int, target: int, channels: int) -> np.ndarray:
    """A mono wave [n] at `rate` at `target`, in all of `channels`: [m], or [m, channels]."""
    wave = resample(np.asarray(wave, np.float32), rate, target)
    return wave if channels == 1 else np.repeat(wave[:, None], channels, axis=1)


def cut_or_pad(array: np.ndarray, length: int) -> np.ndarray:
    """Cuts or zero-pads the first axis to `length`; an array of at least that is not copied."""
    if len(array) >= length:
        return array[:length]
    out = np.zeros((length, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
