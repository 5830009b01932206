"""The convolutional autoencoder of AudioLDM: a log-mel image to a small latent image and back.

The variational autoencoder of latent diffusion (Rombach et al. 2022, appendix G; AudioLDM,
Liu et al. 2023, section 3.2), in the layout that diffusers calls AutoencoderKL.

Legend: B clips, T mel frames, F mel bands, H x W an image inside, C its channels, Z latent
channels, S = 2 ** (levels - 1) the factor by which both axes shrink.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange, repeat

NORM_EPSILON = 1e-6
LOG_VARIANCE = (-30.0, 20.0)  # range that it is clipped to
MIDDLE_CONVOLUTIONS = 4  # of the two residual blocks around the attention


@dataclasses.dataclass(frozen=True, kw_only=True)
class VaeConfig:
    """Size of the autoencoder; the defaults are the published one's.

    Attributes:
      widths: channels of each level, finest first.
      blocks: residual blocks of a level of the encoder; the decoder has one more.
      groups: of every group norm.
      latent_channels: Z.
    """

    widths: tuple[int, ...] = (128, 256, 512)
    blocks: int = 2
    groups: int = 32
    latent_channels: int = 8

    def __post_init__(self):
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"found widths {self.widths}, expected multiples of {self.groups}")

    @property
    def shrink(self) -> int:
        """S, mel frames (and bands) in one latent frame (and cell)."""
        return 2 ** (len(self.widths) - 1)

    @property
    def encoder_reach(self) -> int:
        """Latent frames on each side that the encoder's convolutions see."""
        reach = 1 + MIDDLE_CONVOLUTIONS + 2 * self.blocks
        for _ in self.widths[1:]:
            reach = 2 * reach + 2 + 2 * self.blocks  # a convolution of three frames halves them
        return -(-(reach + 1) // self.shrink)

    @property
    def decoder_reach(self) -> int:
        """Latent frames on each side that the decoder's convolutions see."""
        reach = 1 + 2 * (self.blocks + 1)
        for _ in self.widths[1:]:
            reach = -(-(reach + 1) // 2) + 2 * (self.blocks + 1)
        return reach + MIDDLE_CONVOLUTIONS + 1


def _norm(groups: int, name: str) -> nn.GroupNorm:
    # The fast variance, E[x^2] - E[x]^2, would lose several digits of float32 here.
    return nn.GroupNorm(groups, epsilon=NORM_EPSILON, use_fast_variance=False, name=name)


def _conv(width: int, name: str) -> nn.Conv:
    return nn.Conv(width, (3, 3), padding=1, name=name)


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice; added to the input, which a 1x1 convolution widens."""

    width: int
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H, W, width]
        y = _conv(self.width, "conv1")(nn.silu(_norm(self.groups, "norm1")(x)))
        y = _conv(self.width, "conv2")(nn.silu(_norm(self.groups, "norm2")(y)))
        if x.shape[-1] != self.width:
            x = nn.Conv(self.width, (1, 1), name="shortcut")(x)
        return x + y


class Attention(nn.Module):
    """One head of self-attention over all places of the image, residual."""

    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C]
        width = x.shape[-1]
        tokens = rearrange(_norm(self.groups, "norm")(x), "b h w c -> b (h w) 1 c")
        query, key, value = (nn.Dense(width, name=n)(tokens) for n in ("query", "key", "value"))
        mixed = jax.nn.dot_product_attention(query, key, value)
        mixed = nn.Dense(width, name="out")(mixed)
        return x + rearrange(mixed, "b (h w) 1 c -> b h w c", h=x.shape[1])


class Middle(nn.Module):
    """Residual block, attention, residual block at the coarsest level."""

    width: int
    groups: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C]
        x = ResidualBlock(self.width, self.groups, name="block_0")(x)
        x = Attention(self.groups, name="attention")(x)
        return ResidualBlock(self.width, self.groups, name="block_1")(x)


class Down(nn.Module):
    """A level of the encoder: residual blocks, then half the size unless it is the last."""

    width: int
    blocks: int
    groups: int
    last: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, H/2, W/2, width]
        for i in range(self.blocks):
            x = ResidualBlock(self.width, self.groups, name=f"block_{i}")(x)
        if self.last:
            return x
        bottom_right = ((0, 1), (0, 1))
        return nn.Conv(self.width, (3, 3), strides=2, padding=bottom_right, name="resample")(x)


class Up(nn.Module):
    """A level of the decoder: residual blocks, then twice the size unless it is the last."""

    width: int
    blocks: int
    groups: int
    last: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, C] -> [B, 2H, 2W, width]
        for i in range(self.blocks):
            x = ResidualBlock(self.width, self.groups, name=f"block_{i}")(x)
        if self.last:
            return x
        x = repeat(x, "b h w c -> b (h 2) (w 2) c")
        return _conv(self.width, "resample")(x)


class Encoder(nn.Module):
    """Image to the moments before their last 1x1 convolution."""

    config: VaeConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, F, 1] -> [B, T/S, F/S, 2 Z]
        config = self.config
        x = _conv(config.widths[0], "conv_in")(x)
        for i, width in enumerate(config.widths):
            last = i + 1 == len(config.widths)
            x = Down(width, config.blocks, config.groups, last, name=f"level_{i}")(x)
        x = Middle(config.widths[-1], config.groups, name="middle")(x)
        x = nn.silu(_norm(config.groups, "norm_out")(x))
        return _conv(2 * config.latent_channels, "conv_out")(x)


class Decoder(nn.Module):
    """Latent after its first 1x1 convolution to the image; levels run coarsest first."""

    config: VaeConfig

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, H, W, Z] -> [B, S H, S W, 1]
        config = self.config
        x = _conv(config.widths[-1], "conv_in")(x)
        x = Middle(config.widths[-1], config.groups, name="middle")(x)
        for i, width in enumerate(reversed(config.widths)):
            last = i + 1 == len(config.widths)
            x = Up(width, config.blocks + 1, config.groups, last, name=f"level_{i}")(x)
        x = nn.silu(_norm(config.groups, "norm_out")(x))
        return _conv(1, "conv_out")(x)


class Vae(nn.Module):
    """Encoder and decoder; `__call__` runs through both, for initialization."""

    config: VaeConfig

    def setup(self):
        channels = self.config.latent_channels
        self.encoder = Encoder(self.config)
        self.to_moments = nn.Conv(2 * channels, (1, 1))
        self.from_latent = nn.Conv(channels, (1, 1))
        self.decoder = Decoder(self.config)

    def encode(self, mel: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-mel [B, T, F] -> mean and log-variance of the latent, each [B, T/S, F/S, Z].

        Halving rounds down: frames that do not fill a latent frame are left out.
        """
        moments = self.to_moments(self.encoder(mel[..., None]))
        mean, log_variance = jnp.split(moments, 2, axis=-1)
        return mean, jnp.clip(log_variance, *LOG_VARIANCE)

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, H, W, Z] -> log-mel [B, S H, S W]."""
        return self.decoder(self.from_latent(latent))[..., 0]

    def __call__(self, mel: jax.Array) -> jax.Array:
        """Log-mel through the mean of its latent: [B, T, F] -> [B, T, F]."""
        return self.decode(self.encode(mel)[0])
