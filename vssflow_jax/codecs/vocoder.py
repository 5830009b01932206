"""HiFi-GAN's generator: log-mel frames to a waveform (Kong, Kim and Bae 2020, section 2.2).

The weight norm of training is folded into the weights.

Legend: B clips, T frames, F mel bands, N samples, C channels.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

OUTER_KERNEL = 7  # of the first and the last convolution
LAST_SLOPE = 0.01  # of the rectifier before the last convolution


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocoderConfig:
    """Size of the generator; the defaults are those of AudioLDM's.

    Attributes:
      bands: F.
      width: channels at the frame rate; each stage halves them.
      rates: by how much each stage lengthens the signal.
      kernels: of the stages' transposed convolutions.
      block_kernels: of the residual blocks that a stage averages.
      block_dilations: of each of these blocks' convolutions.
      slope: of the leaky rectifiers except the last.
      normalize: the input is first normalized, (mel - mean) / scale, by stored statistics.
    """

    bands: int = 64
    width: int = 1024
    rates: tuple[int, ...] = (5, 4, 2, 2, 2)
    kernels: tuple[int, ...] = (16, 16, 8, 4, 4)
    block_kernels: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[tuple[int, ...], ...] = ((1, 3, 5),) * 3
    slope: float = 0.1
    normalize: bool = False

    def __post_init__(self):
        if len(self.rates) != len(self.kernels):
            raise ValueError(f"found {len(self.kernels)} kernels for {len(self.rates)} rates")
        if len(self.block_kernels) != len(self.block_dilations):
            raise ValueError(
                f"found {len(self.block_dilations)} lists of dilations for "
                f"{len(self.block_kernels)} block kernels"
            )
        if any(kernel < rate for kernel, rate in zip(self.kernels, self.rates, strict=True)):
            raise ValueError(f"found kernels {self.kernels} shorter than their rates {self.rates}")
        if any(kernel % 2 == 0 for kernel in self.block_kernels):
            raise ValueError(f"found block kernels {self.block_kernels}, expected odd ones")
        if not self.width >> len(self.rates):
            raise ValueError(
                f"found width {self.width}, too small to be halved {len(self.rates)} times"
            )

    @property
    def reach(self) -> int:
        """Mel frames on each side that a sample depends on, at most."""
        block = max(
            sum((kernel - 1) // 2 * (dilation + 1) for dilation in dilations)
            for kernel, dilations in zip(self.block_kernels, self.block_dilations, strict=True)
        )
        reach = OUTER_KERNEL // 2
        for rate, kernel in zip(reversed(self.rates), reversed(self.kernels), strict=True):
            reach = -(-(reach + block + kernel) // rate)
        return reach + OUTER_KERNEL // 2


def _conv(width: int, kernel: int, dilation: int, name: str) -> nn.Conv:
    padding = (kernel - 1) * dilation // 2
    return nn.Conv(width, (kernel,), kernel_dilation=dilation, padding=padding, name=name)


def _upsample(width: int, rate: int, kernel: int, name: str) -> nn.Conv:
    """A transposed convolution, as an ordinary one of the signal with zeros between its samples.

    Its kernel is reversed in time, compared to how frameworks store transposed convolutions. T
    frames become (T - 1) rate + kernel - 2 ((kernel - rate) // 2): rate * T, and one more if
    kernel - rate is odd.
    """
    padding = kernel - 1 - (kernel - rate) // 2
    return nn.Conv(width, (kernel,), input_dilation=rate, padding=padding, name=name)


class ResidualBlock(nn.Module):
    """For each dilation: rectify, dilated convolution, rectify, convolution, add."""

    kernel: int
    dilations: tuple[int, ...]
    slope: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, C]
        width = x.shape[-1]
        for i, dilation in enumerate(self.dilations):
            y = nn.leaky_relu(x, self.slope)
            y = _conv(width, self.kernel, dilation, f"dilated_{i}")(y)
            y = nn.leaky_relu(y, self.slope)
            x += _conv(width, self.kernel, 1, f"plain_{i}")(y)
        return x


class Vocoder(nn.Module):
    """Log-mel [B, T, F] -> waveform [B, N] in (-1, 1); N is product(rates) * T and a few more."""

    config: VocoderConfig

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        config = self.config
        mean = self.param("mean", nn.initializers.zeros, (config.bands,))
        scale = self.param("scale", nn.initializers.ones, (config.bands,))
        x = (mel - mean) / scale if config.normalize else mel
        x = _conv(config.width, OUTER_KERNEL, 1, "conv_in")(x)
        blocks = list(zip(config.block_kernels, config.block_dilations, strict=True))
        for i, (rate, kernel) in enumerate(zip(config.rates, config.kernels, strict=True)):
            x = nn.leaky_relu(x, config.slope)
            x = _upsample(config.width >> (i + 1), rate, kernel, f"stage_{i}")(x)
            branches = [
                ResidualBlock(*sizes, config.slope, name=f"block_{i * len(blocks) + j}")(x)
                for j, sizes in enumerate(blocks)
            ]
            x = sum(branches) / len(blocks)
        x = nn.leaky_relu(x, LAST_SLOPE)
        return jnp.tanh(_conv(1, OUTER_KERNEL, 1, "conv_out")(x))[..., 0]
