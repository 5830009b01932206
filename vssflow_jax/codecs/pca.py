"""The built-in codec: log-mel frames, stacked by four, rotated by PCA; Griffin-Lim back.

It needs no download: the rotation is fitted on the training split. Each component is divided by a
power of its standard deviation, so that no channel is lost in the noise of the flow, while loud
ones still count more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.griffin_lim import invert_log_mel
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE

STACK = mels.FRAME_RATE // LATENT_RATE  # log-mel frames in a latent frame: 4


@struct.dataclass
class PcaCodec:
    """Latent = (stacked log-mel - mean) @ basis / scale.

    Attributes:
      mean: [256] mean stacked log-mel frame.
      basis: [256, C] orthonormal columns.
      scale: [C] log-mel units in one unit of each channel.
      floor: smallest magnitude of the log-mel; anything quieter is silence.
      iterations: Griffin-Lim iterations of `decode`.
    """

    mean: jax.Array
    basis: jax.Array
    scale: jax.Array
    floor: float = struct.field(pytree_node=False, default=1e-3)
    iterations: int = struct.field(pytree_node=False, default=32)

    kind: ClassVar[str] = "pca"
    sample_rate: ClassVar[int] = SAMPLE_RATE
    audio_channels: ClassVar[int] = 1
    rate: ClassVar[int] = LATENT_RATE
    decoder_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        return self.basis.shape[1]

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> latent mean [B, n // 640, C], and its standard deviation, zero."""
        stacked = stack_frames(mels.log_mel(wave, self.floor))
        latent = exact_matmul(stacked - self.mean, self.basis) / self.scale
        return latent, jnp.zeros_like(latent)

    def decode_mel(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> log-mel [B, 4 L, 64]."""
        stacked = exact_matmul(latent * self.scale, self.basis.T) + self.mean
        mel = rearrange(stacked, "... l (s f) -> ... (l s) f", s=STACK)
        return jnp.maximum(mel, jnp.log(self.floor))

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]."""
        return invert_log_mel(self.decode_mel(latent), self.iterations)


def exact_matmul(frames: jax.Array, matrix: jax.Array) -> jax.Array:
    """A matrix product in full precision, independent of the device's default."""
    return jnp.matmul(frames, matrix, precision=jax.lax.Precision.HIGHEST)


def stack_frames(mel: jax.Array) -> jax.Array:
    """Stacks four log-mel frames: [.., 4 L (+ rest, dropped), 64] -> [.., L, 256]."""
    frames = mel.shape[-2] // STACK * STACK
    return rearrange(mel[..., :frames, :], "... (l s) f -> ... l (s f)", s=STACK)


def pad_to_seconds(wave: np.ndarray) -> np.ndarray:
    """A wave with silence up to a whole second, so that a program is compiled for few lengths."""
    return np.pad(wave, (0, -len(wave) % SAMPLE_RATE))


def fit_pca(
    waves: Iterable[np.ndarray],
    channels: int = 128,
    whitening: float = 0.5,
    floor: float = 1e-3,
    iterations: int = 32,
) -> PcaCodec:
    """Fits the built-in codec on waveforms, each float32 [n] at 16 kHz, of any lengths.

    A covariance of fewer frames than it has rows is singular: it is shrunk towards one of equal
    variances, the more the fewer frames there are.

    Args:
      waves: the training split's waveforms.
      channels: principal components to keep, at most 256.
      whitening: 0 keeps the components' proportions, 1 gives all the same variance.
      floor: magnitude of silence.
      iterations: Griffin-Lim iterations of the codec.

    Returns:
      A codec whose latents have mean 0 and, averaged over channels, variance 1.

    Raises:
      InputError: not a single latent frame.
    """
    width = STACK * mels.BANDS
    count, total, outer = 0, np.zeros(width), np.zeros((width, width))
    stacked_log_mel = jax.jit(lambda wave: stack_frames(mels.log_mel(wave, floor)))
    for wave in waves:
        frames = stacked_log_mel(pad_to_seconds(wave))[: len(wave) // (STACK * mels.HOP)]
        frames = np.asarray(frames, np.float64)
        count += len(frames)
        total += frames.sum(0)
        outer += frames.T @ frames
    if not count:
        raise InputError("training clips: found no latent frame of sound, expected some")
    mean = total / count
    covariance = outer / count - np.outer(mean, mean)
    if count < width:
        share = 1 - count / width
        covariance = (1 - share) * covariance + share * np.mean(np.diag(covariance)) * np.eye(width)
    variance, basis = np.linalg.eigh(covariance)
    order = np.argsort(variance)[::-1][:channels]
    deviation = np.sqrt(np.maximum(variance[order], 1e-8))
    scale = deviation**whitening
    scale *= np.sqrt(np.mean((deviation / scale) ** 2))
    signs = np.sign(basis[np.argmax(np.abs(basis[:, order]), axis=0), order])
    return PcaCodec(
        mean=mean.astype(np.float32),
        basis=np.ascontiguousarray(basis[:, order] * signs, np.float32),
        scale=scale.astype(np.float32),
        floor=floor,
        iterations=iterations,
    )
