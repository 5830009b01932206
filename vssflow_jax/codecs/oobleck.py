"""Oobleck, the stereo autoencoder of Stable Audio Open (44.1 kHz) and ACE-Step (48 kHz).

Convolutions with snake activations (Ziyin, Hartwig and Ueda 2020), as in the Descript codec (Kumar
et al. 2023), in the layout that diffusers calls AutoencoderOobleck. Weight norm is folded into the
weights. Source of the sizes: Evans et al. 2024, Stable Audio Open; ACE-Step 1.5.

Legend: B clips, n samples, A audio channels, L latent frames, Z latent channels, C channels inside.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from flax import struct

from vssflow_jax.codecs.audioldm import parse_config
from vssflow_jax.codecs.chunked import map_overlapping_chunks
from vssflow_jax.common.errors import InputError

DILATIONS = (1, 3, 9)  # of the residual units of a block
MIN_DEVIATION = 1e-4  # added to the posterior's standard deviation
SNAKE_EPSILON = 1e-9
CHUNK_SECONDS = 4.0  # of a clip that are in memory at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class OobleckConfig:
    """Size of the autoencoder; the defaults are those of ACE-Step 1.5.

    Attributes:
      width: channels of the encoder at the sample rate, and of its output: twice the latent's.
      decoder_width: channels of the decoder at the sample rate.
      ratios: by how much each block of the encoder shortens the signal.
      multiples: channels behind each block, in multiples of the width.
      latent_channels: Z.
      audio_channels: A.
      sample_rate: samples a second.
    """

    width: int = 128
    decoder_width: int = 128
    ratios: tuple[int, ...] = (2, 4, 4, 6, 10)
    multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    latent_channels: int = 64
    audio_channels: int = 2
    sample_rate: int = 48_000

    def __post_init__(self):
        if len(self.ratios) != len(self.multiples):
            raise ValueError(f"found {len(self.multiples)} multiples for {len(self.ratios)} ratios")
        if self.width != 2 * self.latent_channels:
            raise ValueError(
                f"found width {self.width}, expected twice the latent channels, "
                f"{2 * self.latent_channels}"
            )

    @property
    def hop(self) -> int:
        """Samples of a latent frame."""
        return math.prod(self.ratios)

    @property
    def reach(self) -> int:
        """Latent frames on either side that a sample or a frame depends on, at most."""
        rates = [self.hop // math.prod(self.ratios[:k]) for k in range(len(self.ratios) + 1)]
        reach = 0.0  # in latent frames; rates: frames of each level in a latent frame
        for level, ratio in enumerate(self.ratios):
            reach += (3 * sum(DILATIONS) + ratio) / rates[level]  # units, and the resampling kernel
        return math.ceil(reach + 3 / self.hop + 3)  # first and last convolution


class Snake(nn.Module):
    """x + sin(exp(alpha) x)^2 / exp(beta), alpha and beta of each channel."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, n, C]
        alpha, beta = (
            self.param(name, nn.initializers.zeros, x.shape[-1:]) for name in ("alpha", "beta")
        )
        return x + jnp.sin(jnp.exp(alpha) * x) ** 2 / (jnp.exp(beta) + SNAKE_EPSILON)


def _conv(width: int, kernel: int, name: str, dilation: int = 1, **options) -> nn.Conv:
    padding = options.pop("padding", (kernel - 1) * dilation // 2)
    return nn.Conv(
        width, (kernel,), kernel_dilation=dilation, padding=padding, name=name, **options
    )


class ResidualUnit(nn.Module):
    """Snake, dilated convolution, snake, pointwise convolution; added to the input."""

    dilation: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, n, C]
        width = x.shape[-1]
        y = _conv(width, 7, "conv1", self.dilation)(Snake(name="snake1")(x))
        return x + _conv(width, 1, "conv2")(Snake(name="snake2")(y))


class EncoderBlock(nn.Module):
    """Residual units, then a convolution that shortens the signal."""

    width: int
    ratio: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, n, C] -> [B, n / ratio, width]
        for number, dilation in enumerate(DILATIONS, 1):
            x = ResidualUnit(dilation, name=f"res_unit{number}")(x)
        x = Snake(name="snake1")(x)
        padding = (self.ratio + 1) // 2
        return _conv(self.width, 2 * self.ratio, "conv1", strides=self.ratio, padding=padding)(x)


class DecoderBlock(nn.Module):
    """A transposed convolution that lengthens the signal, then residual units.

    It is an ordinary convolution of the signal with zeros between its samples; its kernel is
    reversed in time, compared to how frameworks store transposed convolutions. An odd ratio gives
    one sample less than `ratio` times the input's.
    """

    width: int
    ratio: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, n, C] -> [B, ratio n, width]
        kernel = 2 * self.ratio
        padding = kernel - 1 - (self.ratio + 1) // 2
        x = Snake(name="snake1")(x)
        x = _conv(self.width, kernel, "conv_t1", input_dilation=self.ratio, padding=padding)(x)
        for number, dilation in enumerate(DILATIONS, 1):
            x = ResidualUnit(dilation, name=f"res_unit{number}")(x)
        return x


class Encoder(nn.Module):
    """Waveform [B, n, A] to mean and scale of the latent, [B, L, 2 Z]."""

    config: OobleckConfig

    @nn.compact
    def __call__(self, wave: jax.Array) -> jax.Array:
        config = self.config
        x = _conv(config.width, 7, "conv1")(wave)
        for i, (ratio, multiple) in enumerate(zip(config.ratios, config.multiples, strict=True)):
            x = EncoderBlock(config.width * multiple, ratio, name=f"block_{i}")(x)
        return _conv(config.width, 3, "conv2")(Snake(name="snake1")(x))


class Decoder(nn.Module):
    """Latent [B, L, Z] to waveform [B, n, A], which may exceed 1."""

    config: OobleckConfig

    @nn.compact
    def __call__(self, latent: jax.Array) -> jax.Array:
        config = self.config
        multiples = (1, *config.multiples)
        x = _conv(config.decoder_width * multiples[-1], 7, "conv1")(latent)
        for i, ratio in enumerate(reversed(config.ratios)):
            width = config.decoder_width * multiples[-2 - i]
            x = DecoderBlock(width, ratio, name=f"block_{i}")(x)
        x = Snake(name="snake1")(x)
        return _conv(config.audio_channels, 7, "conv2", use_bias=False)(x)


def split_moments(moments: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of the latent, each [.., Z], from the encoder's [.., 2 Z]."""
    mean, scale = jnp.split(moments, 2, axis=-1)
    return mean, jax.nn.softplus(scale) + MIN_DEVIATION


@struct.dataclass
class OobleckCodec:
    """Latent = the posterior of the autoencoder, as it comes: no scaling factor.

    Waves are encoded and decoded in overlapping chunks, so that memory does not grow with their
    length; the result is that of the whole wave.

    Attributes:
      encoder: parameters of the encoder, nested by module.
      decoder: parameters of the decoder.
      config: size.
    """

    encoder: Mapping
    decoder: Mapping
    config: OobleckConfig = struct.field(pytree_node=False)

    kind: ClassVar[str] = "oobleck"
    decoder_fields: ClassVar[tuple[str, ...]] = ("decoder",)

    @property
    def sample_rate(self) -> int:
        """Samples a second."""
        return self.config.sample_rate

    @property
    def audio_channels(self) -> int:
        """Channels of the waveform."""
        return self.config.audio_channels

    @property
    def rate(self) -> float:
        """Latent frames a second; 25 for ACE-Step, 21.53 for Stable Audio Open."""
        return self.config.sample_rate / self.config.hop

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        return self.config.latent_channels

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n, A] -> mean and standard deviation of the latent, each [B, L, Z].

        L = n // hop; with one audio channel the wave is [B, n].
        """
        config = self.config
        wave = wave.reshape(*wave.shape[:2], config.audio_channels)
        frames = wave.shape[1] // config.hop
        x = rearrange(wave[:, : frames * config.hop], "b (l h) a -> b l (h a)", h=config.hop)

        def encode_chunks(chunks, first):
            samples = rearrange(chunks, "r s (h a) -> r (s h) a", h=config.hop)
            moments = Encoder(config).apply({"params": self.encoder}, samples)
            return rearrange(moments, "r s z -> r (s z)")

        moments = self._map_chunks(encode_chunks, x, 2 * config.latent_channels)
        return split_moments(rearrange(moments, "b (l z) -> b l z", l=frames))

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, Z] -> waveform [B, L hop, A]; [B, L hop] with one audio channel."""
        config = self.config

        def decode_chunks(chunks, first):
            wave = Decoder(config).apply({"params": self.decoder}, chunks)
            return rearrange(wave, "r n a -> r (n a)")

        wave = self._map_chunks(decode_chunks, latent, config.hop * config.audio_channels)
        if config.audio_channels == 1:
            return wave
        return rearrange(wave, "b (n a) -> b n a", a=config.audio_channels)

    def _map_chunks(self, function, x: jax.Array, hop: int) -> jax.Array:
        """The function of overlapping chunks of frames, [B, L, W] -> [B, L hop]."""
        reach = self.config.reach
        size = max(round(CHUNK_SECONDS * self.rate), 3 * reach)
        return map_overlapping_chunks(function, x, size=size, reach=reach, hop=hop)


def restore_codec(*, encoder: Mapping, decoder: Mapping, config: Mapping) -> OobleckCodec:
    """The codec from its parameters and its size as read from JSON (lists for tuples).

    Raises:
      InputError: a size is missing or wrong.
    """
    parsed = parse_config(OobleckConfig, config)
    check_size(parsed)
    return OobleckCodec(encoder=encoder, decoder=decoder, config=parsed)


def check_size(config: OobleckConfig) -> None:
    """Raises an `InputError` for ratios that do not map whole frames to whole frames."""
    odd = [ratio for ratio in config.ratios if ratio % 2]
    if odd:
        raise InputError(f"ratios: found {odd[0]}, expected even ones")
