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


def blend_waves(old: np.ndarray, new: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Two waves [n, ...] blended at equal power: where the share [n] is 0 or 1, one of them as is.

    With weights a = 1 - share and b = share, and the waves' correlation r over the stretch, the
    power of a old + b new is a^2 + b^2 + 2 a b r times that of either; the blend is divided by its
    root. So it is neither quieter in its middle where the waves are unrelated, nor louder where
    they are alike.
    """
    norm = np.linalg.norm(old) * np.linalg.norm(new)
    r = float(np.clip(np.vdot(old, new) / norm, 0, 1)) if norm > 0 else 1.0
    a, b = (x.reshape(-1, *[1] * (old.ndim - 1)) for x in (1 - share, share))
    return ((a * old + b * new) / np.sqrt(a**2 + b**2 + 2 * a * b * r)).astype(np.float32)


def fade_shares(length: int) -> np.ndarray:
    """Shares of the new wave in a blend of `length` samples, between 0 and 1, rising evenly."""
    return (np.arange(length) + 0.5) / max(length, 1)
