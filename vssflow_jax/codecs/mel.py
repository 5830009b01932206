"""Log-mel spectrogram, 100 frames a second of 64 bands, in JAX.

The analysis of AudioLDM and VSSFlow: frames of 1024 samples every 160, not centered, magnitudes
through librosa's Slaney filter bank, natural logarithm.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np

from vssflow_jax.conditions import SAMPLE_RATE

HOP = 160
FRAME_RATE = SAMPLE_RATE // HOP  # mel frames a second
WINDOW = 1024
BANDS = 64
FLOOR = 1e-5
PAD = (WINDOW - HOP) // 2  # reflected samples on each side: n samples give n // HOP frames


@functools.cache
def mel_filterbank(window: int = WINDOW) -> np.ndarray:
    """Slaney mel filters, 0 to 8000 Hz: float32 [64, window / 2 + 1]; by default [64, 513]."""
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=window, n_mels=BANDS, fmin=0, fmax=8000)


@functools.cache
def hann_window() -> np.ndarray:
    """Periodic Hann window: float32 [1024]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def frame_signal(signal: jax.Array) -> jax.Array:
    """Overlapping frames of a padded signal: [.., n] -> [.., 1 + (n - 1024) // 160, 1024]."""
    count = 1 + (signal.shape[-1] - WINDOW) // HOP
    index = np.arange(count)[:, None] * HOP + np.arange(WINDOW)
    return signal[..., index]


def reflect_pad(wave: jax.Array) -> jax.Array:
    """Reflects 432 samples at both ends: [.., n] -> [.., n + 864]."""
    widths = [(0, 0)] * (wave.ndim - 1) + [(PAD, PAD)]
    return jnp.pad(wave, widths, mode="reflect")


def stft(wave: jax.Array) -> jax.Array:
    """Complex spectrogram: [.., n] -> [.., n // 160, 513]."""
    return stft_of_padded(reflect_pad(wave))


def stft_of_padded(padded: jax.Array) -> jax.Array:
    """Complex spectrogram of a signal with its padding: [.., n + 864] -> [.., n // 160, 513]."""
    return jnp.fft.rfft(frame_signal(padded) * hann_window(), axis=-1)


def normalize_peak(wave: jax.Array, peak: float = 0.5) -> jax.Array:
    """Removes the mean and scales to an absolute peak, as in the official training data."""
    wave = wave - jnp.mean(wave, axis=-1, keepdims=True)
    return wave / (jnp.max(jnp.abs(wave), axis=-1, keepdims=True) + 1e-8) * peak


def log_mel(wave: jax.Array, floor: float = FLOOR) -> jax.Array:
    """Natural log of mel magnitudes: float32 [.., n] at 16 kHz -> [.., n // 160, 64].

    Args:
      wave: at least 433 samples, in [-1, 1].
      floor: smallest magnitude; silence is log(floor).
    """
    return magnitude_to_log_mel(jnp.abs(stft(wave)), floor)


def magnitude_to_log_mel(magnitude: jax.Array, floor: float = FLOOR) -> jax.Array:
    """Natural log of the mel bands of magnitudes: [.., T, 513] -> [.., T, 64]."""
    mel = jnp.matmul(magnitude, mel_filterbank().T, precision=jax.lax.Precision.HIGHEST)
    return jnp.log(jnp.maximum(mel, floor))


def fit_length(mel: jax.Array, frames: int, fill: float = -11.0) -> jax.Array:
    """Cuts [.., T, 64] to `frames`, or pads it there with the constant of the official code."""
    mel = mel[..., :frames, :]
    widths = [(0, 0)] * (mel.ndim - 2) + [(0, frames - mel.shape[-2]), (0, 0)]
    return jnp.pad(mel, widths, constant_values=fill)
