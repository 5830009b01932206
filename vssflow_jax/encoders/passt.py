"""PaSST, a sound classifier: embeddings of 768 numbers, and logits of AudioSet's 527 classes.

Source: "Efficient Training of Audio Transformers with Patchout", Koutini et al. 2022 (arXiv
2110.05069), as the package hear21passt runs it: no patch is left out.

Legend: B clips, n samples, T frames, F bands, f, t patches along them, D width, C classes.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.encoders.layers import Block, gelu, scan_layers

SAMPLE_RATE = 32_000
SECONDS = 10  # that the network sees; shorter clips are padded with silence
EMPHASIS = 0.97
FFT_SIZE, WINDOW, HOP, BANDS = 1024, 800, 320, 128
MAX_FREQUENCY = 15_000.0  # Hz
OFFSET, MEAN, SCALE = 1e-5, -4.5, 5.0
PATCH, STRIDE = 16, 10
EPSILON, HEAD_EPSILON = 1e-6, 1e-5
EXPANSION = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class PasstConfig:
    """Size of the network.

    Attributes:
      width: D.
      layers: blocks.
      heads: attention heads a block.
      columns: t, patches along the time that there are positions for.
      classes: C.
    """

    width: int = 768
    layers: int = 12
    heads: int = 12
    columns: int = 99
    classes: int = 527


@functools.cache
def kaldi_filterbank() -> np.ndarray:
    """Triangles in mels, as Kaldi's, 0 to 15 kHz: float32 [513, 128]; the last bin has none."""

    def mels(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    edges = np.linspace(mels(0.0), mels(MAX_FREQUENCY), BANDS + 2)
    bins = mels(np.arange(FFT_SIZE // 2) * SAMPLE_RATE / FFT_SIZE)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    bank = np.maximum(0, np.minimum(rising, falling))
    return np.pad(bank, ((0, 1), (0, 0))).astype(np.float32)


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Normalized log-mel: float32 [n] at 32 kHz -> [128, T], T = (n - 1) // 320 + 1."""
    wave = np.float64(wave)
    wave = wave[1:] - EMPHASIS * wave[:-1]
    inner = (FFT_SIZE - WINDOW) // 2  # zeros on both sides of the window
    padded = np.pad(wave, FFT_SIZE // 2, mode="reflect")[inner : -inner or None]
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT_SIZE)) ** 2
    return ((np.log(power @ kaldi_filterbank() + OFFSET) - MEAN) / SCALE).T.astype(np.float32)


class Passt(nn.Module):
    """Log-mels to embeddings and logits of clips.

    Input: float32 [B, F, T] from `log_mel`; T at most that of ten seconds. Output: features [B, D],
    the mean of the class and the distillation token, and logits [B, C].
    """

    config: PasstConfig

    @nn.compact
    def __call__(self, mel: jax.Array) -> tuple[jax.Array, jax.Array]:
        config, small = self.config, nn.initializers.normal(0.02)
        width = config.width
        x = nn.Conv(
            width, (PATCH, PATCH), strides=(STRIDE, STRIDE), padding="VALID", name="patches"
        )(mel[..., None])  # [B, f, t, D]
        by_time = self.param("time_positions", small, (config.columns, width))
        by_band = self.param("band_positions", small, (x.shape[1], width))
        x = x + by_time[: x.shape[2]] + by_band[:, None]
        tokens = jnp.stack(
            [self.param(name, small, (width,)) for name in ("class_token", "distill_token")]
        )
        first = tokens + self.param("token_positions", small, (2, width))
        first = jnp.broadcast_to(first, (len(x), 2, width))
        x = jnp.concatenate([first, rearrange(x, "b f t d -> b (f t) d")], axis=1)
        sizes = (config.heads, EXPANSION * width, EPSILON, gelu)
        x, _ = scan_layers(Block, config.layers)(*sizes, name="blocks")(x, None)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm_out")(x)
        features = x[:, :2].mean(1)
        normed = nn.LayerNorm(epsilon=HEAD_EPSILON, name="norm_classes")(features)
        return features, nn.Dense(config.classes, name="classes")(normed)
