"""Short-time spectra of any window and hop, and their least-squares inverse.

Frame t is centered on the hop t, as in `mel`: n samples give n // hop frames. Signals are padded
with zeros. Frames are cut and added by slices, whose gradient is fast.

Legend: n samples, T frames, N samples of a window, F = N / 2 + 1 bins.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange


@functools.cache
def hann_window(window: int) -> np.ndarray:
    """Periodic Hann window: float32 [N]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)


def split_frames(wave: jax.Array, window: int, hop: int) -> jax.Array:
    """Overlapping frames: [.., n] -> [.., n // hop, N]."""
    count, blocks = wave.shape[-1] // hop, -(-window // hop)
    extra = blocks * hop - window
    front = (window - hop) // 2 + extra // 2
    lead = [(0, 0)] * (wave.ndim - 1)
    padded = jnp.pad(wave[..., : count * hop], [*lead, (front, (blocks - 1) * hop - front)])
    hops = rearrange(padded, "... (t h) -> ... t h", h=hop)
    frames = jnp.concatenate([hops[..., j : j + count, :] for j in range(blocks)], axis=-1)
    return frames[..., extra // 2 : extra // 2 + window]


def add_frames(frames: jax.Array, hop: int) -> jax.Array:
    """Sums frames at their places, the transpose of `split_frames`: [.., T, N] -> [.., T * hop]."""
    count, window = frames.shape[-2:]
    blocks = -(-window // hop)
    extra = blocks * hop - window
    front = (window - hop) // 2 + extra // 2
    lead = [(0, 0)] * (frames.ndim - 2)
    padded = jnp.pad(frames, [*lead, (0, 0), (extra // 2, extra - extra // 2)])
    parts = rearrange(padded, "... t (j h) -> ... t j h", h=hop)
    shifted = [
        jnp.pad(parts[..., j, :], [*lead, (j, blocks - 1 - j), (0, 0)]) for j in range(blocks)
    ]
    signal = rearrange(functools.reduce(jnp.add, shifted), "... t h -> ... (t h)")
    return signal[..., front : front + count * hop]


def stft(wave: jax.Array, window: int, hop: int) -> jax.Array:
    """Complex spectrogram: [.., n] -> [.., n // hop, F]."""
    return jnp.fft.rfft(split_frames(wave, window, hop) * hann_window(window), axis=-1)


def istft(spectrum: jax.Array, window: int, hop: int) -> jax.Array:
    """Least-squares inverse of `stft`: complex [.., T, F] -> [.., T * hop]."""
    taper = jnp.asarray(hann_window(window))
    frames = jnp.fft.irfft(spectrum, n=window, axis=-1) * taper
    weight = add_frames(jnp.broadcast_to(taper**2, (spectrum.shape[-2], window)), hop)
    return add_frames(frames, hop) / weight
