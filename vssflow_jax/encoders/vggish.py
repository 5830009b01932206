"""VGGish, a sound embedding: 128 numbers for each 0.96 seconds.

Source: "CNN Architectures for Large-Scale Audio Classification", Hershey et al. 2017 (arXiv
1609.09430), as released for AudioSet; Fréchet audio distance is defined on it (Kilgour et al.
2019, arXiv 1812.08466).

Legend: n samples, T frames, N patches of 96 frames and 64 bands, D width of the embedding.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.encoders.preprocessing import hann_frames

WINDOW, HOP, FFT_SIZE = 400, 160, 512  # samples
FRAMES, BANDS = 96, 64  # of a patch
MIN_FREQUENCY, MAX_FREQUENCY = 125.0, 7500.0  # Hz
OFFSET = 0.01  # added before the logarithm
PATCH_SAMPLES = (FRAMES - 1) * HOP + WINDOW
POOLED = (0, 1, 3, 5)  # convolutions after which time and frequency are halved


@dataclasses.dataclass(frozen=True, kw_only=True)
class VggishConfig:
    """Size of the network.

    Attributes:
      widths: channels of the six convolutions.
      hidden: of the two layers before the last.
      width: D.
    """

    widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    width: int = 128


@functools.cache
def htk_filterbank() -> np.ndarray:
    """Filters that are triangles in mels, not in hertz as librosa's, on HTK's scale: [257, 64]."""

    def mels(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    bins = mels(np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE / FFT_SIZE)[:, None]
    edges = np.linspace(mels(MIN_FREQUENCY), mels(MAX_FREQUENCY), BANDS + 2)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def log_mel_patches(wave: np.ndarray) -> np.ndarray:
    """Log-mel magnitudes in patches: float32 [n] at 16 kHz -> float32 [N, 96, 64].

    An incomplete patch at the end is left out; a wave shorter than a patch is padded with silence.
    """
    wave = np.pad(wave, (0, max(PATCH_SAMPLES - len(wave), 0)))
    magnitude = np.abs(np.fft.rfft(hann_frames(wave, WINDOW, HOP), FFT_SIZE))
    mel = np.log(magnitude @ htk_filterbank() + OFFSET)
    complete = mel[: len(mel) // FRAMES * FRAMES].astype(np.float32)
    return rearrange(complete, "(n t) f -> n t f", t=FRAMES)


class Vggish(nn.Module):
    """Patches to embeddings.

    Input: float32 [N, 96, 64], from `log_mel_patches`. Output: [N, D], D = 128, before the final
    ReLU of some releases, without PCA and rounding: the input of the Fréchet audio distance.
    """

    config: VggishConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        x = mel[..., None]
        for i, width in enumerate(self.config.widths):
            x = nn.relu(nn.Conv(width, (3, 3), dtype=self.dtype, name=f"conv_{i}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2)) if i in POOLED else x
        x = rearrange(x, "n t f c -> n (t f c)")
        for name in ("dense_0", "dense_1"):
            x = nn.relu(nn.Dense(self.config.hidden, dtype=self.dtype, name=name)(x))
        return nn.Dense(self.config.width, dtype=self.dtype, name="out")(x)
