"""The trained codec: an autoencoder over log-mel frames whose decoder predicts magnitudes.

The encoder is the PCA codec's projection with the corrections of a small network, which also
predicts a standard deviation (Kingma and Welling 2014). The decoder inverts the projection,
spreads the log-mel bands over the bins of the spectrum, and a second network corrects these
magnitudes, restoring the harmonics that a mel band blurs. Phases come from Griffin-Lim: with this
much overlap of the frames, correct magnitudes almost determine them.

Legend: B clips, n samples, L latent frames, T = 4 L frames, C latent channels, 513 bins.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.convnext import Decoder, Encoder
from vssflow_jax.codecs.griffin_lim import griffin_lim
from vssflow_jax.codecs.pca import STACK, PcaCodec, exact_matmul, pad_to_seconds, stack_frames
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE

LOG_DEVIATION = (-6.0, -2.0, 2.0)  # smallest, before training, largest
MIN_MAGNITUDE = 1e-4  # of a bin outside of all mel bands


@struct.dataclass
class TrainedCodec:
    """Latent = (stacked log-mel, projected and corrected, - center) / spread.

    Attributes:
      mean: [256] of the PCA codec that training started from.
      basis: [256, C] of the same.
      scale: [C] of the same.
      encoder: parameters of the encoder's network.
      decoder: parameters of the decoder's network.
      center: [C] mean of the corrected projection over the training split.
      spread: [] root of its variance's mean over channels: latents have mean 0, variance 1.
      width: of the networks.
      encoder_blocks: of the encoder, at 25 frames a second.
      decoder_blocks: of the decoder, at 100.
      floor: smallest magnitude of the log-mel.
      iterations: Griffin-Lim iterations of `decode`.
    """

    mean: jax.Array
    basis: jax.Array
    scale: jax.Array
    encoder: Mapping
    decoder: Mapping
    center: jax.Array
    spread: jax.Array
    width: int = struct.field(pytree_node=False)
    encoder_blocks: int = struct.field(pytree_node=False)
    decoder_blocks: int = struct.field(pytree_node=False)
    floor: float = struct.field(pytree_node=False)
    iterations: int = struct.field(pytree_node=False)

    kind: ClassVar[str] = "trained"
    sample_rate: ClassVar[int] = SAMPLE_RATE
    audio_channels: ClassVar[int] = 1
    rate: ClassVar[int] = LATENT_RATE
    decoder_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_pca(cls, start: PcaCodec, config, params: Mapping | None = None) -> TrainedCodec:
        """The codec with a PCA codec's projection, its latents not yet normalized.

        Args:
          start: the PCA codec.
          config: the run's `codec`.
          params: of encoder and decoder; None: not initialized yet.
        """
        return cls(
            mean=start.mean,
            basis=start.basis,
            scale=start.scale,
            **(params or {"encoder": {}, "decoder": {}}),
            center=jnp.zeros(start.channels),
            spread=jnp.ones(()),
            width=config.width,
            encoder_blocks=config.encoder_blocks,
            decoder_blocks=config.decoder_blocks,
            floor=start.floor,
            iterations=config.iterations,
        )

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        return self.basis.shape[1]

    @property
    def _networks(self) -> tuple[Encoder, Decoder]:
        return (
            Encoder(self.width, self.encoder_blocks, self.channels),
            Decoder(self.width, self.decoder_blocks, mels.WINDOW // 2 + 1),
        )

    def init(self, key: jax.Array) -> dict[str, Mapping]:
        """Parameters of `encoder` and `decoder` before training: their corrections are zero."""
        encoder, decoder = self._networks
        first, second = jax.random.split(key)
        stacked, mel = jnp.zeros((1, 1, STACK * mels.BANDS)), jnp.zeros((1, STACK, mels.BANDS))
        latent = jnp.zeros((1, 1, self.channels))
        return {
            "encoder": encoder.init(first, stacked)["params"],
            "decoder": decoder.init(second, latent, mel)["params"],
        }

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> mean and standard deviation of the latent, each [B, n // 640, C]."""
        stacked = stack_frames(mels.log_mel(wave, self.floor)) - self.mean
        delta, log_deviation = self._networks[0].apply({"params": self.encoder}, stacked)
        return correct_projection(self, stacked, delta, log_deviation)

    def log_magnitude(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> natural log of magnitudes [B, 4 L, 513]."""
        raw, mel = invert_projection(self, latent)
        delta = self._networks[1].apply({"params": self.decoder}, raw, mel)
        return jnp.log(exact_matmul(jnp.exp(mel), band_to_bin_matrix()) + MIN_MAGNITUDE) + delta

    def decode_mel(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> log-mel [B, 4 L, 64]."""
        return mels.magnitude_to_log_mel(jnp.exp(self.log_magnitude(latent)), self.floor)

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]."""
        return griffin_lim(jnp.exp(self.log_magnitude(latent)), self.iterations)


def correct_projection(
    codec, stacked: jax.Array, delta: jax.Array, log_deviation: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of the latent, each [B, L, C].

    Args:
      codec: trained, of this kind or `istft`.
      stacked: log-mel frames less `codec.mean`, [B, L, 256].
      delta: the network's correction of their projection, [B, L, C].
      log_deviation: its natural log of the deviation, less the one before training, [B, L, C].
    """
    smallest, initial, largest = LOG_DEVIATION
    mean = exact_matmul(stacked, codec.basis) / codec.scale + delta
    deviation = jnp.exp(jnp.clip(initial + log_deviation, smallest, largest))
    return (mean - codec.center) / codec.spread, deviation / codec.spread


def invert_projection(codec, latent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Latent [B, L, C] -> it before centering and scaling, [B, L, C], and its log-mel [B, 4 L, 64].

    Args:
      codec: as for `correct_projection`.
      latent: [B, L, C].
    """
    raw = latent * codec.spread + codec.center
    stacked = exact_matmul(raw * codec.scale, codec.basis.T) + codec.mean
    mel = rearrange(stacked, "b l (s f) -> b (l s) f", s=STACK)
    return raw, jnp.maximum(mel, jnp.log(codec.floor))


@functools.cache
def band_to_bin_matrix(window: int = mels.WINDOW) -> np.ndarray:
    """Matrix from mel bands to the bins of a window, each the mean of the bands over it.

    Returns:
      float32 [64, window / 2 + 1].
    """
    bank = mels.mel_filterbank(window)
    shares = bank / np.maximum(bank.sum(axis=0), 1e-12)  # of each bin among the bands over it
    return shares / mels.mel_filterbank().sum(axis=1, keepdims=True)


def normalize_latents(codec, waves: Iterable[np.ndarray]):
    """The codec with latents of mean 0 and, averaged over channels, variance 1.

    Args:
      codec: as trained; of any kind that has `center` and `spread`.
      waves: of the training split, each float32 [n], of any lengths.
    """
    count, total, squares = 0, np.zeros(codec.channels), np.zeros(codec.channels)
    encode = jax.jit(lambda codec, wave: codec.encode(wave[None])[0][0])
    for wave in waves:
        latent = encode(codec, pad_to_seconds(wave))[: len(wave) // (STACK * mels.HOP)]
        latent = np.asarray(latent, np.float64)
        count += len(latent)
        total += latent.sum(0)
        squares += (latent**2).sum(0)
    center = total / count
    spread = np.sqrt(np.mean(squares / count - center**2))
    return codec.replace(
        center=jnp.float32(codec.center + codec.spread * center),
        spread=jnp.float32(codec.spread * spread),
    )
