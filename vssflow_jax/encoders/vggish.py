"""What sound is like, by VGGish: 128 numbers for each 0.96 seconds.

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

from vssflow_jax.encoders.spectra import hann_frames

SAMPLE_RATE = 16_000
WINDOW, HOP, TRANSFORM = 400, 160, 512  # samples
FRAMES, BANDS = 96, 64  # of a patch
LOWEST, HIGHEST = 125.0, 7500.0  # Hz
OFFSET = 0.01  # added before the logarithm
SHORTEST = (FRAMES - 1) * HOP + WINDOW  # samples of one patch
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
    """Triangles on the mel scale of HTK, straight in mels and not in hertz: [257, 64]."""

    def mels(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    bins = mels(np.arange(TRANSFORM // 2 + 1) * SAMPLE_RATE / TRANSFORM)[:, None]
    edges = np.linspace(mels(LOWEST), mels(HIGHEST), BANDS + 2)
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(rising, falling))


def log_mel_patches(wave: np.ndarray) -> np.ndarray:
    """Log-mel magnitudes in patches: float32 [n] at 16 kHz -> float32 [N, 96, 64].

    What does not fill a patch at the end is left out; a shorter wave is filled with silence.
    """
    wave = np.pad(wave, (0, max(SHORTEST - len(wave), 0)))
    magnitude = np.abs(np.fft.rfft(hann_frames(wave, WINDOW, HOP), TRANSFORM))
    mel = np.log(magnitude @ htk_filterbank() + OFFSET)
    whole = len(mel) // FRAMES
    return mel[: whole * FRAMES].reshape(whole, FRAMES, BANDS).astype(np.float32)


class Vggish(nn.Module):
    """Patches to embeddings.

    Input: float32 [N, 96, 64], `patches`. Output: [N, D], D = 128, before the ReLU that closes
    some releases, without PCA and rounding: what Fréchet audio distance is computed on.
    """

    config: VggishConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        x = mel[..., None]
        for i, width in enumerate(self.config.widths):
            x = nn.relu(nn.Conv(width, (3, 3), dtype=self.dtype, name=f"conv_{i}")(x))
            x = nn.max_pool(x, (2, 2), (2, 2)) if i in POOLED else x
        x = x.reshape(len(x), -1)  # frames, bands, channels
        for name in ("dense_0", "dense_1"):
            x = nn.relu(nn.Dense(self.config.hidden, dtype=self.dtype, name=name)(x))
        return nn.Dense(self.config.width, dtype=self.dtype, name="out")(x)
