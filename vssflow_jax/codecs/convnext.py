"""The networks of the trained codec: small stacks of ConvNeXt blocks over time.

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
