"""Who speaks: the d-vector of Resemblyzer, a recurrent network on mel spectra.

Source: "Generalized End-to-End Loss for Speaker Verification", Wan et al. 2018 (arXiv
1710.10467), as Resemblyzer 0.1.4 implements and trained it (Apache-2.0).

The front end is NumPy alone, so that many processes can prepare data without an accelerator
runtime. Resemblyzer cuts pauses out with webrtcvad; here the flags of speech are an argument,
and `find_speech` finds them by energy. Resemblyzer leaves loud waves as loud as they are, and
since the network sees power, not its logarithm, its embedding depends on that; for conditions
`prepare_windows` brings every wave to the loudness that Resemblyzer gives to quiet ones.

Legend: B windows, n samples, T frames, M mel bands, H hidden channels.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import librosa
import numpy as np
from einops import rearrange
from scipy import ndimage

SAMPLE_RATE = 16_000
FRAME, HOP = 400, 160  # samples
WINDOW, WINDOW_STEP = 160, 77  # frames of a window, and from one to the next: 1.3 a second
COVERAGE = 0.75  # share of the last window that the wave must fill
LOUDNESS = -30.0  # dB of full scale; quieter waves are amplified to it
FLAG = 480  # samples of one flag of speech
SMOOTHING, DILATION = 8, 7  # flags
SPAN = 35.0  # dB below the loudest tenth of the flags' windows that still count as speech


@dataclasses.dataclass(frozen=True, kw_only=True)
class DvectorConfig:
    """Size of the network.

    Attributes:
      bands: M.
      hidden: H.
      layers: recurrent ones.
      width: of the embedding.
    """

    bands: int = 40
    hidden: int = 256
    layers: int = 3
    width: int = 256


# ---- front end ----------------------------------------------------------------------------


def set_loudness(wave: np.ndarray) -> np.ndarray:
    """A wave at a loudness of -30 dB of full scale: float32 [n] -> [n]."""
    decibels = 20 * np.log10(np.sqrt(np.mean(np.square(wave, dtype=np.float64))))
    return (wave * 10 ** ((LOUDNESS - decibels) / 20)).astype(np.float32)


def amplify(wave: np.ndarray) -> np.ndarray:
    """A wave at a loudness of at least -30 dB of full scale, as Resemblyzer has it."""
    louder = set_loudness(wave)
    return louder if np.abs(louder).max() > np.abs(wave).max() else wave


def find_speech(wave: np.ndarray) -> np.ndarray:
    """Whether each 30 ms hold speech, by their energy: float32 [n] -> bool [n // 480]."""
    samples = wave[: len(wave) // FLAG * FLAG].astype(np.float64)
    power = np.mean(rearrange(samples, "(k s) -> k s", s=FLAG) ** 2, axis=1)
    return power > np.quantile(power, 0.9) * 10 ** (-SPAN / 10)


def smooth_flags(flags: np.ndarray) -> np.ndarray:
    """Flags of speech without gaps shorter than about 0.4 s: bool [k] -> [k]."""
    padded = np.pad(np.asarray(flags, float), ((SMOOTHING - 1) // 2, SMOOTHING // 2))
    means = np.convolve(padded, np.full(SMOOTHING, 1 / SMOOTHING), "valid")
    return ndimage.binary_dilation(np.round(means).astype(bool), np.ones(DILATION))


def cut_pauses(wave: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """The part of a wave that its flags, one per 480 samples, call speech: float32 [n] -> [m]."""
    return wave[: len(flags) * FLAG][np.repeat(smooth_flags(flags), FLAG)]


@functools.cache
def _filters() -> np.ndarray:
    return librosa.filters.mel(sr=SAMPLE_RATE, n_fft=FRAME, n_mels=DvectorConfig.bands)


def mel_power(wave: np.ndarray) -> np.ndarray:
    """Mel power spectrum, no logarithm: float32 [n] -> [1 + n // 160, 40]."""
    padded = np.pad(np.asarray(wave, np.float32), FRAME // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::HOP]
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)).astype(np.float32)
    power = np.abs(np.fft.rfft(frames * hann, axis=-1)) ** 2
    return (power.astype(np.float32) @ _filters().T).astype(np.float32)


def find_starts(samples: int) -> list[int]:
    """First frames of the windows of a wave; the last one may reach beyond its end."""
    frames = -(-(samples + 1) // HOP)
    starts = list(range(0, max(1, frames - WINDOW + WINDOW_STEP + 1), WINDOW_STEP))
    if len(starts) > 1 and (samples - starts[-1] * HOP) / (WINDOW * HOP) < COVERAGE:
        starts.pop()
    return starts


def split_windows(wave: np.ndarray) -> np.ndarray:
    """Mel spectra of windows of 1.6 s, zeros after the end: float32 [n] -> [B, 160, 40]."""
    starts = find_starts(len(wave))
    missing = (starts[-1] + WINDOW) * HOP - len(wave)
    spectrum = mel_power(np.pad(wave, (0, max(missing, 0))))
    return np.stack([spectrum[start : start + WINDOW] for start in starts])


def prepare_windows(wave: np.ndarray) -> np.ndarray:
    """`split_windows` of a recording without its pauses, at the usual loudness."""
    speech = cut_pauses(wave, find_speech(wave))
    return split_windows(set_loudness(speech if len(speech) else wave))


def mean_direction(embeddings: np.ndarray) -> np.ndarray:
    """Embedding of an utterance from its windows', or of a speaker: [k, D] -> unit [D]."""
    mean = embeddings.mean(0)
    return mean / np.linalg.norm(mean)


# ---- network ------------------------------------------------------------------------------


class Lstm(nn.Module):
    """One recurrent layer with the gates and the two biases of PyTorch: [B, T, C] -> [B, T, H]."""

    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        gates = nn.Dense(4 * self.hidden, name="input")(x)  # [B, T, 4 H]
        init = nn.initializers.orthogonal()
        kernel = self.param("recurrent_kernel", init, (self.hidden, 4 * self.hidden))
        bias = self.param("recurrent_bias", nn.initializers.zeros, (4 * self.hidden,))

        def step(carry, gate):
            hidden, cell = carry
            i, f, g, o = jnp.split(gate + hidden @ kernel + bias, 4, axis=-1)
            cell = nn.sigmoid(f) * cell + nn.sigmoid(i) * jnp.tanh(g)
            hidden = nn.sigmoid(o) * jnp.tanh(cell)
            return (hidden, cell), hidden

        zeros = jnp.zeros((x.shape[0], self.hidden), x.dtype)
        _, out = jax.lax.scan(step, (zeros, zeros), rearrange(gates, "b t c -> t b c"))
        return rearrange(out, "t b c -> b t c")


class Dvector(nn.Module):
    """Mel spectra of windows to speaker embeddings.

    Input: float32 [B, T, M], of `split_windows`.
    Output: float32 [B, width], unit norm, no component below 0. A voice is the direction of the
    mean over its windows.
    """

    config: DvectorConfig
    dtype: jnp.dtype = jnp.float32  # accepted as every encoder does; too small to gain by it

    @nn.compact
    def __call__(self, mels: jax.Array) -> jax.Array:
        x = mels.astype(jnp.float32)
        for layer in range(self.config.layers):
            x = Lstm(self.config.hidden, name=f"layer_{layer}")(x)
        x = nn.relu(nn.Dense(self.config.width, name="out")(x[:, -1]))
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
