"""CNN14, a sound classifier: embeddings of 2048 numbers, and logits of AudioSet's 527 classes.

Source: "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition",
Kong et al. 2020 (arXiv 1912.10211).

Legend: B clips, n samples, T frames, K bins of a spectrum, F features, C classes.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.encoders.layers import BatchNorm
from vssflow_jax.encoders.preprocessing import hann_frames

MIN_POWER = 1e-10
FRAME_RATE = 100  # a second
MIN_FRAMES = 32  # for the five poolings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cnn14Config:
    """Size of the network.

    Attributes:
      widths: channels of the six blocks; all but the last halve time and frequency.
      features: F.
      classes: C.
      bands: of the mel spectrum.
      window: samples of a frame: 1024 at 32 kHz, 512 at 16 kHz (31.25 windows a second).
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    features: int = 2048
    classes: int = 527
    bands: int = 64
    window: int = 1024

    @property
    def sample_rate(self) -> int:
        """Samples a second of the input."""
        return self.window * 125 // 4


def power_spectra(wave: np.ndarray, config: Cnn14Config) -> np.ndarray:
    """Power spectra of frames centered every 10 ms: float32 [n] at its rate -> float32 [T, K].

    T = n // hop + 1; a wave of less than MIN_FRAMES frames is padded with silence.
    """
    window, hop = config.window, config.sample_rate // FRAME_RATE
    wave = np.pad(wave, (0, max(MIN_FRAMES * hop - len(wave), 0)))
    padded = np.pad(wave, window // 2, mode="reflect")
    return (np.abs(np.fft.rfft(hann_frames(padded, window, hop))) ** 2).astype(np.float32)


class Cnn14(nn.Module):
    """Spectra to features and logits of clips.

    Input: float32 [B, T, K] from `power_spectra`, and the number of frames of each clip [B]; the
    padding after them has no effect. Output: features [B, F] and logits [B, C].
    """

    config: Cnn14Config
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, power: jax.Array, frames: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        config = self.config
        frames = jnp.full(len(power), power.shape[1]) if frames is None else frames
        shape = (power.shape[-1], config.bands)
        filters = self.param("filters", nn.initializers.ones, shape)
        mel = 10 * jnp.log10(jnp.maximum(power @ filters, MIN_POWER))
        x = BatchNorm(self.dtype, name="norm_in")(mel)[..., None]  # [B, T, bands, 1]
        for i, width in enumerate(config.widths):
            for k in (1, 2):
                x = x * _inside(x, frames)  # padding is zero before each convolution
                conv = nn.Conv(
                    width, (3, 3), use_bias=False, dtype=self.dtype, name=f"block_{i}_conv{k}"
                )
                x = nn.relu(BatchNorm(self.dtype, name=f"block_{i}_norm{k}")(conv(x)))
            if i < len(config.widths) - 1:
                x, frames = nn.avg_pool(x, (2, 2), (2, 2)), frames // 2
        x = x * _inside(x, frames)
        x = x.mean(2)  # [B, T, C]; never below 0, so masked frames are no maximum
        x = x.max(1) + x.sum(1) / frames[:, None]
        features = nn.relu(nn.Dense(config.features, dtype=self.dtype, name="features")(x))
        return features, nn.Dense(config.classes, dtype=self.dtype, name="classes")(features)


def _inside(x: jax.Array, frames: jax.Array) -> jax.Array:
    """Which frames of [B, T, ..] are not padding, [B, T, 1, 1]."""
    return (jnp.arange(x.shape[1]) < frames[:, None])[..., None, None]
