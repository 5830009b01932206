"""The networks of the trained codecs: small stacks of ConvNeXt blocks over time.

Blocks as in Vocos (Siuzdak 2023, arXiv 2306.00814, section 3.3): a depthwise convolution over
time, a layer norm and two dense layers, added to the input.

Legend: B clips, L latent frames, T = 4 L mel frames, C latent channels, W width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

KERNEL = 7  # frames of a block's convolution
EXPANSION = 3  # hidden width of a block over its width
INITIAL_SCALE = 0.1  # of a block's output before it is added, before training


def depthwise_convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Convolution over time, each channel by itself: [B, T, W], [k, W] -> [B, T, W].

    Written as a sum of shifted products, which is many times faster than a grouped convolution.
    """
    half = kernel.shape[0] // 2
    padded = jnp.pad(x, ((0, 0), (half, half), (0, 0)))
    return sum(padded[:, i : i + x.shape[1]] * tap for i, tap in enumerate(kernel))


class Block(nn.Module):
    """Convolution over time, norm, dense, GELU, dense, scale; residual."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, W]
        width = x.shape[-1]
        kernel = self.param("taps", nn.initializers.normal(KERNEL**-0.5), (KERNEL, width))
        y = nn.LayerNorm(name="norm")(depthwise_convolve(x, kernel))
        y = nn.gelu(nn.Dense(EXPANSION * width, name="in")(y))
        y = nn.Dense(width, name="out")(y)
        scale = self.param("scale", nn.initializers.constant(INITIAL_SCALE), (width,))
        return x + scale * y


class Encoder(nn.Module):
    """Stacked log-mel frames to corrections of the latent's mean and log-deviation.

    Before training the corrections are zero.
    """

    width: int
    blocks: int
    channels: int

    @nn.compact
    def __call__(self, stacked: jax.Array) -> tuple[jax.Array, jax.Array]:  # [B, L, 256]
        x = nn.LayerNorm(name="norm_in")(nn.Dense(self.width, name="in")(stacked))
        for i in range(self.blocks):
            x = Block(name=f"block_{i}")(x)
        x = nn.LayerNorm(name="norm_out")(x)
        moments = nn.Dense(2 * self.channels, kernel_init=nn.initializers.zeros, name="out")(x)
        mean, log_deviation = jnp.split(moments, 2, axis=-1)  # [B, L, C] each
        return mean, log_deviation


class Decoder(nn.Module):
    """Latent and a first log-mel to corrections of the log magnitudes of that log-mel.

    Before training the corrections are zero.
    """

    width: int
    blocks: int
    bins: int

    @nn.compact
    def __call__(self, latent: jax.Array, mel: jax.Array) -> jax.Array:  # [B, L, C], [B, T, F]
        stack = mel.shape[1] // latent.shape[1]
        x = nn.Dense(stack * self.width, name="latent")(latent)
        x = rearrange(x, "b l (s w) -> b (l s) w", s=stack) + nn.Dense(self.width, name="mel")(mel)
        x = nn.LayerNorm(name="norm_in")(x)
        for i in range(self.blocks):
            x = Block(name=f"block_{i}")(x)
        x = nn.LayerNorm(name="norm_out")(x)
        return nn.Dense(self.bins, kernel_init=nn.initializers.zeros, name="out")(x)


class HarmonicDecoder(nn.Module):
    """Latent to the pitch and to corrections of the spectra that shape pulses and noise.

    Some blocks run at the latent's rate, the others at that of the frames. Before training the
    corrections are zero.
    """

    width: int
    latent_blocks: int
    frame_blocks: int
    stack: int  # frames in a latent frame
    bins: int
    pitches: int

    def setup(self):
        self.latent_in = nn.Dense(self.width)
        self.latent_norm_in, self.latent_norm_out = nn.LayerNorm(), nn.LayerNorm()
        self.latent_block = [Block() for _ in range(self.latent_blocks)]
        self.pitch_out = nn.Dense(self.stack * self.pitches, kernel_init=nn.initializers.zeros)
        self.upsample, self.mel_in = nn.Dense(self.stack * self.width), nn.Dense(self.width)
        self.frame_norm_in, self.frame_norm_out = nn.LayerNorm(), nn.LayerNorm()
        self.frame_block = [Block() for _ in range(self.frame_blocks)]
        self.out = nn.Dense(3 * self.bins, kernel_init=nn.initializers.zeros)

    def _latent_features(self, latent: jax.Array) -> jax.Array:  # [B, L, C] -> [B, L, W]
        x = self.latent_norm_in(self.latent_in(latent))
        for block in self.latent_block:
            x = block(x)
        return self.latent_norm_out(x)

    def _split(self, x: jax.Array) -> jax.Array:  # [B, L, S * W] -> [B, T, W]
        return rearrange(x, "b l (s w) -> b (l s) w", s=self.stack)

    def pitch(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> logits of the pitches [B, T, P]."""
        return self._split(self.pitch_out(self._latent_features(latent)))

    def __call__(self, latent: jax.Array, mel: jax.Array) -> tuple[jax.Array, ...]:
        """Latent [B, L, C], a first log-mel [B, T, F] -> pitch logits and three spectra.

        Returns:
          Logits [B, T, P]; corrections [B, T, bins] of the pulses' log magnitude, their phase and
          the noise's log magnitude.
        """
        features = self._latent_features(latent)
        x = self.frame_norm_in(self._split(self.upsample(features)) + self.mel_in(mel))
        for block in self.frame_block:
            x = block(x)
        spectra = jnp.split(self.out(self.frame_norm_out(x)), 3, axis=-1)
        return self._split(self.pitch_out(features)), *spectra
