"""The trained codec: an autoencoder over log-mel frames whose decoder gives magnitudes.

The encoder is the PCA codec's projection and a small network's correction of it, with a standard
deviation beside the mean (Kingma and Welling 2014). The decoder undoes the projection, spreads
the log-mel over the bins of the spectrum, and a network corrects that, to put back the
harmonics that a mel band blurs. Phases are Griffin-Lim's: frames that overlap this much leave it
little to guess once their magnitudes are right.

Legend: B clips, n samples, L latent frames, T = 4 L frames, C latent channels, 513 bins.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.convnext import Decoder, Encoder
from vssflow_jax.codecs.griffin_lim import griffin_lim
from vssflow_jax.codecs.pca import STACK, PcaCodec, exact_matmul, stack_frames

LOG_DEVIATION = (-6.0, -2.0, 2.0)  # least, before training, most
SHARPEST = 1e-4  # magnitude of a bin that no mel band reaches


@struct.dataclass
class TrainedCodec:
    """Latent = (stacked log-mel, projected and corrected, - center) / spread.

    Attributes:
      mean: [256] of the PCA codec that training began with; so are `basis` and `scale`.
      basis: [256, C].
      scale: [C].
      encoder: parameters of the encoder's network.
      decoder: parameters of the decoder's network.
      center: [C] mean of the corrected projection over the training split.
      spread: [] root of its variance's mean over channels: latents have mean 0, variance 1.
      width: of the networks.
      encoder_blocks: of the encoder, at 25 frames a second.
      decoder_blocks: of the decoder, at 100.
      floor: magnitude under which the log-mel is cut.
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
    sample_rate: ClassVar[int] = mels.SAMPLE_RATE
    rate: ClassVar[int] = mels.SAMPLE_RATE // (mels.HOP * STACK)

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
        """First parameters of `encoder` and `decoder`, with which they correct nothing."""
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
        least, start, most = LOG_DEVIATION
        mean = exact_matmul(stacked, self.basis) / self.scale + delta
        deviation = jnp.exp(jnp.clip(start + log_deviation, least, most))
        return (mean - self.center) / self.spread, deviation / self.spread

    def log_magnitude(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> natural log of magnitudes [B, 4 L, 513]."""
        raw = latent * self.spread + self.center
        stacked = exact_matmul(raw * self.scale, self.basis.T) + self.mean
        mel = stacked.reshape(len(raw), -1, mels.BANDS)
        mel = jnp.maximum(mel, jnp.log(self.floor))
        delta = self._networks[1].apply({"params": self.decoder}, raw, mel)
        return jnp.log(exact_matmul(jnp.exp(mel), band_to_bin_matrix()) + SHARPEST) + delta

    def decode_mel(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> log-mel [B, 4 L, 64]."""
        return mels.magnitude_to_log_mel(jnp.exp(self.log_magnitude(latent)), self.floor)

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]."""
        return griffin_lim(jnp.exp(self.log_magnitude(latent)), self.iterations)


@functools.cache
def band_to_bin_matrix() -> np.ndarray:
    """Matrix from mel bands to bins, each the mean of the bands around it: float32 [64, 513]."""
    bank = mels.mel_filterbank()
    shares = bank / np.maximum(bank.sum(axis=0), 1e-12)  # of each bin among the bands over it
    return shares / bank.sum(axis=1, keepdims=True)


def init_from_pca(start: PcaCodec, config, params: Mapping | None = None) -> TrainedCodec:
    """The codec over a PCA codec's projection, its latents not yet centred.

    Args:
      start: gives projection and floor.
      config: the run's `codec`.
      params: of encoder and decoder; None: there are none yet.
    """
    return TrainedCodec(
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


def normalize_latents(codec: TrainedCodec, waves: Iterable[np.ndarray]) -> TrainedCodec:
    """The codec with latents of mean 0 and, averaged over channels, variance 1.

    Args:
      codec: as trained.
      waves: of the training split, each float32 [n], of any lengths.
    """
    count, total, squares = 0, np.zeros(codec.channels), np.zeros(codec.channels)
    encode = jax.jit(lambda codec, wave: codec.encode(wave[None])[0][0])
    for wave in waves:
        latent = np.asarray(encode(codec, jnp.asarray(wave)), np.float64)
        count += len(latent)
        total += latent.sum(0)
        squares += (latent**2).sum(0)
    center = total / count
    spread = np.sqrt(np.mean(squares / count - center**2))
    return codec.replace(
        center=jnp.float32(codec.center + codec.spread * center),
        spread=jnp.float32(codec.spread * spread),
    )
