"""RawNet3, a speaker embedding from the raw waveform, for the condition `speaker`.

Source: "Pushing the limits of raw waveform speaker recognition", Jung et al. 2022 (arXiv
2203.08488); its filters: "Interpretable Convolutional Filters with SincNet", Ravanelli and
Bengio 2018 (arXiv 1811.09725); its statistics: ECAPA-TDNN (arXiv 2005.07143).

Legend: B windows, n samples, T frames, C channels, F filters of K taps, W width of a slice,
A channels of the attention.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.encoders.layers import BatchNorm, Dense

WINDOW = 3 * SAMPLE_RATE  # samples, as in its training
COUNT = 10  # windows of an utterance
MIN_FREQUENCY = 50.0  # Hz, of a filter's lower edge and of its width
NORM_EPSILON, LOG_EPSILON = 1e-4, 1e-6
MIN_VARIANCE, MAX_VARIANCE = 1e-4, 1e4
POOLS, DILATIONS = (5, 3, None), (2, 3, 4)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rawnet3Config:
    """Size of the network.

    Attributes:
      filters: F, half of them cosines.
      taps: K, odd.
      stride: samples from one frame of the filters to the next.
      channels: C.
      slices: parts of a block's channels.
      pooled: channels before the statistics.
      attention: A.
      width: of the embedding.
    """

    filters: int = 256
    taps: int = 251
    stride: int = 10
    channels: int = 1024
    slices: int = 8
    pooled: int = 1536
    attention: int = 128
    width: int = 256


def split_windows(wave: np.ndarray) -> np.ndarray:
    """Ten windows of 3 seconds, evenly spread: float32 [n] at 16 kHz -> [10, 48000].

    A shorter wave is repeated, to one sample more than a window, as published.
    """
    wave = np.asarray(wave, np.float32)
    if len(wave) < WINDOW:
        wave = np.pad(wave, (0, WINDOW + 1 - len(wave)), mode="wrap")
    starts = np.linspace(0, len(wave) - WINDOW, COUNT).astype(int)
    return np.stack([wave[start : start + WINDOW] for start in starts])


class SincBank(nn.Module):
    """Band-pass filters [K, F], each given by two edges: cosine ones, then sine ones."""

    filters: int
    taps: int

    @nn.compact
    def __call__(self) -> jax.Array:
        half, ones = self.filters // 2, nn.initializers.ones
        low = MIN_FREQUENCY + jnp.abs(self.param("low", ones, (half,)))
        high = low + MIN_FREQUENCY + jnp.abs(self.param("band", ones, (half,)))
        high = jnp.clip(high, MIN_FREQUENCY, SAMPLE_RATE / 2)
        window = self.param("window", ones, (self.taps // 2,))[:, None]
        time = self.param("time", ones, (self.taps // 2,))[:, None]  # radians a hertz, below 0
        even = (jnp.sin(high * time) - jnp.sin(low * time)) / (time / 2) * window  # [K / 2, F / 2]
        odd = (jnp.cos(low * time) - jnp.cos(high * time)) / (time / 2) * window
        band = high - low
        even = jnp.concatenate([even, 2 * band[None], even[::-1]])
        odd = jnp.concatenate([odd, jnp.zeros_like(low)[None], -odd[::-1]])
        return jnp.concatenate([even, odd], axis=1) / jnp.tile(2 * band, 2)


class SincFilters(nn.Module):
    """Outputs of the filters, every `stride` samples: [B, n] -> [B, T, F]."""

    filters: int
    taps: int
    stride: int

    @nn.compact
    def __call__(self, wave: jax.Array) -> jax.Array:
        kernel = SincBank(self.filters, self.taps, name="bank")()[:, None]  # [K, 1, F]
        axes = ("NTC", "TIO", "NTC")
        return jax.lax.conv_general_dilated(
            wave[..., None], kernel, (self.stride,), "VALID", dimension_numbers=axes
        )


class Bottleneck(nn.Module):
    """A Res2Net bottleneck: each slice's convolution gets the previous slice's output added.

    Convolution, ReLU, norm, in this order; then max-pooling by `pool` frames (None: none), and a
    gate a channel.
    """

    channels: int
    slices: int
    dilation: int
    pool: int | None
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, C_in] -> [B, T // pool, C]
        def normed(x, name):
            return BatchNorm(self.dtype, name=name)(nn.relu(x))

        def dense(x, name, bias=True):
            return Dense(self.channels, use_bias=bias, dtype=self.dtype, name=name)(x)

        width = self.channels // self.slices
        *parts, last = jnp.split(normed(dense(x, "in"), "norm_in"), self.slices, axis=-1)
        outputs, previous = [], 0
        for i, part in enumerate(parts):
            conv = nn.Conv(
                width, (3,), kernel_dilation=self.dilation, dtype=self.dtype, name=f"conv_{i}"
            )
            previous = normed(conv(previous + part), f"norm_{i}")
            outputs.append(previous)
        y = normed(dense(jnp.concatenate([*outputs, last], -1), "out"), "norm_out")
        y += x if x.shape[-1] == self.channels else dense(x, "shortcut", bias=False)
        y = y if self.pool is None else nn.max_pool(y, (self.pool,), (self.pool,))
        gate = nn.sigmoid(dense(y.mean(1), "gate"))[:, None]
        offset = self.param("offset", nn.initializers.ones, (self.channels,))
        return (y + offset.astype(self.dtype)) * gate


class Rawnet3(nn.Module):
    """Waveforms to speaker embeddings.

    Input: float32 [B, n] in [-1, 1] at 16 kHz, from `split_windows`.
    Output: float32 [B, 256], not of unit length. A voice is the mean over its windows.
    The filters and the logarithm after them are computed in float32 for every `dtype`.
    """

    config: Rawnet3Config
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, wave: jax.Array) -> jax.Array:
        x = self.front(wave).astype(self.dtype)  # [B, T, F]
        one, two, three = (
            Bottleneck(
                self.config.channels, self.config.slices, dilation, pool, self.dtype,
                name=f"block_{i}",
            )
            for i, (dilation, pool) in enumerate(zip(DILATIONS, POOLS, strict=True))
        )  # fmt: skip
        x1 = one(x)
        x2 = two(x1)
        x1 = nn.max_pool(x1, (POOLS[1],), (POOLS[1],))
        x = jnp.concatenate([x1, x2, three(x1 + x2)], axis=-1)
        x = nn.relu(Dense(self.config.pooled, dtype=self.dtype, name="join")(x))
        x = BatchNorm(name="norm_out")(self.statistics(x))
        return Dense(self.config.width, name="out")(x)

    @nn.nowrap
    def front(self, wave: jax.Array) -> jax.Array:
        """Pre-emphasis, norm, filters, log magnitude without its mean: [B, n] -> [B, T, F]."""
        config, ones = self.config, nn.initializers.ones
        previous, current = self.param("emphasis", ones, (2,))
        shifted = jnp.concatenate([wave[:, 1:2], wave[:, :-1]], axis=1)
        x = previous * shifted + current * wave
        centered = x - x.mean(1, keepdims=True)
        x = centered * jax.lax.rsqrt((centered**2).mean(1, keepdims=True) + NORM_EPSILON)
        x = x * self.param("scale", ones, (1,)) + self.param("bias", nn.initializers.zeros, (1,))
        sinc = SincFilters(config.filters, config.taps, config.stride, name="sinc")
        x = jnp.log(jnp.abs(sinc(x)) + LOG_EPSILON)
        return x - x.mean(1, keepdims=True)

    @nn.nowrap
    def statistics(self, x: jax.Array) -> jax.Array:
        """Mean and deviation over time under a learned weighting: [B, T, P] -> [B, 2 P]."""
        x = x.astype(jnp.float32)
        spread = jnp.sqrt(
            jnp.clip(jnp.var(x, axis=1, ddof=1, keepdims=True), MIN_VARIANCE, MAX_VARIANCE)
        )
        statistics = (jnp.broadcast_to(y, x.shape) for y in (x.mean(1, keepdims=True), spread))
        context = jnp.concatenate([x, *statistics], axis=-1)
        hidden = nn.relu(Dense(self.config.attention, dtype=self.dtype, name="attend_in")(context))
        hidden = BatchNorm(self.dtype, name="attend_norm")(hidden)
        scores = Dense(x.shape[-1], dtype=self.dtype, name="attend_out")(hidden)
        weights = nn.softmax(scores.astype(jnp.float32), axis=1)
        mean = (weights * x).sum(1)
        variance = jnp.clip((weights * x**2).sum(1) - mean**2, MIN_VARIANCE, MAX_VARIANCE)
        return jnp.concatenate([mean, jnp.sqrt(variance)], axis=-1)
