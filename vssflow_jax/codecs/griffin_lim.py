"""From a log-mel spectrogram back to a waveform without a trained vocoder.

Magnitudes are recovered from the mel bands by multiplicative updates (Lee and Seung 2001, with the
filter bank as the fixed factor), phases by the fast Griffin-Lim iteration (Perraudin, Balazs and
Søndergaard 2013):

    c_n = STFT(ISTFT(a e^(i phase(t_(n-1))))),    t_n = c_n + alpha (c_n - c_(n-1))
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.chunked import map_overlapping_chunks

BLOCKS = -(-mels.WINDOW // mels.HOP)  # hops that one window touches
MOMENTUM = 0.99
TINY = 1e-8
CHUNK = 1000  # frames: longer signals (10 s) are processed in chunks
REACH = (mels.WINDOW - 1) // mels.HOP  # frames on each side that one iteration depends on


def mel_to_magnitude(mel: jax.Array, iterations: int = 30) -> jax.Array:
    """Non-negative magnitudes whose mel bands are close to `mel`: [.., T, 64] -> [.., T, 513]."""
    bank = jnp.asarray(mels.mel_filterbank())  # [64, 513]
    start = mel @ bank + TINY
    target = mel @ bank

    def update(_, magnitude):
        return magnitude * target / (magnitude @ bank.T @ bank + TINY)

    return jax.lax.fori_loop(0, iterations, update, start)


def overlap_add(frames: jax.Array) -> jax.Array:
    """Sums frames at their places: [.., T, 1024] -> [.., (T - 1) * 160 + 1024]."""
    count = frames.shape[-2]
    padding = BLOCKS * mels.HOP - mels.WINDOW
    lead = [(0, 0)] * (frames.ndim - 2)
    blocks = jnp.pad(frames, [*lead, (0, 0), (0, padding)])
    blocks = rearrange(blocks, "... t (j h) -> ... t j h", h=mels.HOP)  # [.., T, 7, 160]
    shifted = [
        jnp.pad(blocks[..., j, :], [*lead, (j, BLOCKS - 1 - j), (0, 0)]) for j in range(BLOCKS)
    ]
    signal = functools.reduce(jnp.add, shifted)  # [.., T + 6, 160]
    signal = rearrange(signal, "... t h -> ... (t h)")
    return signal[..., : (count - 1) * mels.HOP + mels.WINDOW]


def istft(spectrum: jax.Array) -> jax.Array:
    """Least-squares inverse of `mel.stft`: complex [.., T, 513] -> [.., T * 160]."""
    window = jnp.asarray(mels.hann_window())
    frames = jnp.fft.irfft(spectrum, n=mels.WINDOW, axis=-1) * window
    weight = overlap_add(jnp.broadcast_to(window**2, (spectrum.shape[-2], mels.WINDOW)))
    signal = overlap_add(frames) / jnp.maximum(weight, 1e-3)
    return signal[..., mels.PAD : mels.PAD + spectrum.shape[-2] * mels.HOP]


@functools.partial(jax.jit, static_argnames=("iterations", "chunk"))
def invert_log_mel(log_mel: jax.Array, iterations: int = 32, chunk: int = CHUNK) -> jax.Array:
    """Waveform of a log-mel spectrogram: [B, T, 64] -> [B, T * 160], deterministic.

    The initial phases are drawn from a fixed key, the same for every row, so that the sound of a
    clip does not depend on its place in the batch; they repeat after CHUNK frames. Chunks overlap
    so far that the sound does not depend on their size.
    """
    return _map_chunks(_invert_log_mel_chunk, log_mel, iterations, chunk)


@functools.partial(jax.jit, static_argnames="iterations")
def griffin_lim(magnitude: jax.Array, iterations: int = 32) -> jax.Array:
    """As `griffin_lim`, from magnitudes: [B, T, 513] -> [B, T * 160]."""
    return _map_chunks(_griffin_lim_chunk, magnitude, iterations, CHUNK)


def _map_chunks(function, frames: jax.Array, iterations: int, chunk: int) -> jax.Array:
    reach = REACH * (iterations + 1)
    chunk = max(chunk, 3 * reach)
    return map_overlapping_chunks(
        functools.partial(function, iterations=iterations), frames, chunk, reach, mels.HOP
    )


def _invert_log_mel_chunk(log_mel: jax.Array, first: jax.Array, iterations: int) -> jax.Array:
    """Log-mel [B, T, 64] of chunks that start at frames `first` [B] -> waveform [B, T * 160]."""
    return _griffin_lim_chunk(mel_to_magnitude(jnp.exp(log_mel)), first, iterations)


def _griffin_lim_chunk(magnitude: jax.Array, first: jax.Array, iterations: int) -> jax.Array:
    """Magnitudes [B, T, 513] of chunks that start at frames `first` [B] -> waveform."""
    angles = jax.random.uniform(jax.random.key(0), (CHUNK, magnitude.shape[-1]), maxval=2 * np.pi)
    phases = jnp.exp(1j * angles)
    phase = phases[(first[:, None] + np.arange(magnitude.shape[1])) % CHUNK]

    def iterate(_, carry):
        phase, previous = carry
        rebuilt = mels.stft(istft(magnitude * phase))
        accelerated = rebuilt + MOMENTUM / (1 + MOMENTUM) * (rebuilt - previous)
        return accelerated / (jnp.abs(accelerated) + TINY), rebuilt

    start = (phase, jnp.zeros_like(phase))
    phase, _ = jax.lax.fori_loop(0, iterations, iterate, start)
    return istft(magnitude * phase)
