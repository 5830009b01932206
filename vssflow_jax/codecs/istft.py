"""The trained codec whose decoder ends in an inverse short-time Fourier transform.

As in Vocos (Siuzdak 2023, arXiv 2306.00814) a network at the rate of frames gives log magnitude
and phase of each bin, and one inverse transform the wave. Here they are those of a filter: its
input are pulses at the pitch that the network reads off the latent, and noise (the harmonic and
the noise part of Serra and Smith 1990; with networks: Engel et al. 2020, arXiv 2001.04643). So
phases go on from frame to frame by themselves, which a network without memory would have to learn.

The encoder is that of `trained`, which also sees the bins below 2 kHz one by one.

Legend: B clips, n samples, L latent frames, T = 4 L frames, C latent channels, F bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs import pitch as pitches
from vssflow_jax.codecs.chunked import map_overlapping_chunks
from vssflow_jax.codecs.convnext import KERNEL, Encoder, HarmonicDecoder
from vssflow_jax.codecs.pca import STACK, PcaCodec, exact_matmul, stack_frames
from vssflow_jax.codecs.spectrum import hann_window, istft, stft
from vssflow_jax.codecs.trained import (
    MIN_MAGNITUDE,
    band_to_bin_matrix,
    correct_projection,
    invert_projection,
)
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE

WINDOW = 640  # samples of a frame that is synthesized
BINS = WINDOW // 2 + 1
LOW_BINS = 128  # of the analysis that the encoder sees one by one: up to 2 kHz
MAX_LOG_MAGNITUDE = 7.0
PULSE_SCALE = WINDOW / 4  # magnitude of a cosine of amplitude 1
NOISE_SCALE = float(np.sqrt(np.sum(hann_window(WINDOW) ** 2)))  # of noise of deviation 1
# Natural logs of the magnitudes of a cosine and of noise, over those in frames of the log-mel.
PULSE_OFFSET = float(np.log(WINDOW / mels.WINDOW))
NOISE_OFFSET = 0.5 * PULSE_OFFSET - 1.0  # noise starts below the pulses
CHUNK = 250  # latent frames (10 s) that are decoded together; the noise repeats after as many


@struct.dataclass
class IstftCodec:
    """Latent = (stacked log-mel, projected and corrected, - center) / spread.

    Attributes:
      mean: [256] of the PCA codec that training started from.
      basis: [256, C] of the same.
      scale: [C] of the same.
      encoder: parameters of the encoder's network.
      decoder: parameters of the decoder's network.
      center: [C] mean of the corrected projection over the training split.
      spread: [] root of its variance's mean over channels: latents have mean 0, variance 1.
      width: of the encoder's network.
      encoder_blocks: of the encoder, at 25 frames a second.
      decoder_width: of the decoder's network.
      latent_blocks: of the decoder, at 25 frames a second.
      decoder_blocks: of the decoder, at 100.
      floor: smallest magnitude of the log-mel.
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
    decoder_width: int = struct.field(pytree_node=False)
    latent_blocks: int = struct.field(pytree_node=False)
    decoder_blocks: int = struct.field(pytree_node=False)
    floor: float = struct.field(pytree_node=False)

    kind: ClassVar[str] = "istft"
    sample_rate: ClassVar[int] = SAMPLE_RATE
    audio_channels: ClassVar[int] = 1
    rate: ClassVar[int] = LATENT_RATE
    decoder_fields: ClassVar[tuple[str, ...]] = (
        "decoder",
        "decoder_width",
        "latent_blocks",
        "decoder_blocks",
    )

    @classmethod
    def from_pca(cls, start: PcaCodec, config, params: Mapping | None = None) -> IstftCodec:
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
            **decoder_sizes(config),
            floor=start.floor,
        )

    def with_decoder(self, config, params: Mapping) -> IstftCodec:
        """The codec with another decoder, of the config's sizes; `params` have its `decoder`."""
        return self.replace(decoder=params["decoder"], **decoder_sizes(config))

    @property
    def channels(self) -> int:
        """Channels of the latent."""
        return self.basis.shape[1]

    @property
    def _networks(self) -> tuple[Encoder, HarmonicDecoder]:
        return (
            Encoder(self.width, self.encoder_blocks, self.channels),
            HarmonicDecoder(
                self.decoder_width,
                self.latent_blocks,
                self.decoder_blocks,
                STACK,
                BINS,
                pitches.COUNT,
            ),
        )

    def init(self, key: jax.Array) -> dict[str, Mapping]:
        """Parameters of `encoder` and `decoder` before training: their corrections are zero."""
        encoder, decoder = self._networks
        first, second = jax.random.split(key)
        stacked = jnp.zeros((1, 1, STACK * (mels.BANDS + LOW_BINS)))
        latent, mel = jnp.zeros((1, 1, self.channels)), jnp.zeros((1, STACK, mels.BANDS))
        return {
            "encoder": encoder.init(first, stacked)["params"],
            "decoder": decoder.init(second, latent, mel)["params"],
        }

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> mean and standard deviation of the latent, each [B, n // 640, C]."""
        magnitude = jnp.abs(mels.stft(wave))
        stacked = stack_frames(mels.magnitude_to_log_mel(magnitude, self.floor)) - self.mean
        low = stack_frames(jnp.log(jnp.maximum(magnitude[..., :LOW_BINS], 10 * self.floor)))
        delta, log_deviation = self._networks[0].apply(
            {"params": self.encoder}, jnp.concatenate([stacked, low], axis=-1)
        )
        return correct_projection(self, stacked, delta, log_deviation)

    def filters(self, latent: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Latent [B, L, C] -> what the wave is synthesized from.

        Returns:
          Logits of the pitch [B, T, P], the complex filter of the pulses and the gain of the noise,
          each [B, T, F].
        """
        raw, mel = invert_projection(self, latent)
        logits, pulse_delta, phase, noise_delta = self._networks[1].apply(
            {"params": self.decoder}, raw, mel
        )
        spread = exact_matmul(jnp.exp(mel), band_to_bin_matrix(WINDOW))
        magnitude = jnp.log(spread + MIN_MAGNITUDE)
        pulse, noise = (
            jnp.minimum(magnitude + offset + delta, MAX_LOG_MAGNITUDE)
            for offset, delta in ((PULSE_OFFSET, pulse_delta), (NOISE_OFFSET, noise_delta))
        )
        return logits, jnp.exp(jax.lax.complex(pulse, phase)), jnp.exp(noise)

    def pitch(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> pitch in Hz [B, T], of unvoiced frames any."""
        raw = latent * self.spread + self.center
        logits = self._networks[1].apply({"params": self.decoder}, raw, method="pitch")
        return pitches.likeliest_pitch(logits)

    @property
    def reach(self) -> int:
        """Latent frames to each side that a sample depends on, but for the phase of the pulses."""
        half = KERNEL // 2
        frames = half * self.decoder_blocks + WINDOW // mels.HOP
        return half * self.latent_blocks + -(-frames // STACK)

    def decode(self, latent: jax.Array, chunk: int = CHUNK) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640], in chunks of latent frames without seams.

        The noise is the same for every row, so that the sound of a clip does not depend on its
        place in the batch.
        """
        size = max(chunk, 4 * self.reach)
        pitch = map_overlapping_chunks(
            lambda part, _: self.pitch(part), latent, size, self.reach, STACK
        )
        phase = pitches.pitch_phase(pitch)
        columns = [latent] + [rearrange(x, "b (l s) -> b l s", s=STACK) for x in (pitch, phase)]
        noise = jax.random.normal(jax.random.key(0), (CHUNK, STACK * mels.HOP))

        def synthesize_chunk(part: jax.Array, first: jax.Array) -> jax.Array:
            latent, pitch, phase = jnp.split(part, [self.channels, self.channels + STACK], axis=-1)
            pitch, phase = (rearrange(x, "b l s -> b (l s)") for x in (pitch, phase))
            rows = (first[:, None] + np.arange(part.shape[1])) % CHUNK
            _, pulse_filter, noise_gain = self.filters(latent)
            pulses = pitches.make_pulses(pitch, phase)
            return synthesize(
                pulse_filter, noise_gain, pulses, rearrange(noise[rows], "b l n -> b (l n)")
            )

        return map_overlapping_chunks(
            synthesize_chunk, jnp.concatenate(columns, axis=-1), size, self.reach, STACK * mels.HOP
        )


def decoder_sizes(config) -> dict[str, int]:
    """The sizes of a decoder by field, of the run's `codec`."""
    return {
        "decoder_width": config.width,
        "latent_blocks": config.encoder_blocks,
        "decoder_blocks": config.decoder_blocks,
    }


def synthesize(
    pulse_filter: jax.Array, noise_gain: jax.Array, pulses: jax.Array, noise: jax.Array
) -> jax.Array:
    """Filtered pulses and noise.

    Args:
      pulse_filter: complex [B, T, F].
      noise_gain: [B, T, F].
      pulses: [B, T * 160]; see `pitch.make_pulses`.
      noise: [B, T * 160], of deviation 1.

    Returns:
      Waveform [B, T * 160].
    """
    pulse_spectrum, noise_spectrum = (stft(wave, WINDOW, mels.HOP) for wave in (pulses, noise))
    spectrum = (
        pulse_filter * pulse_spectrum / PULSE_SCALE + noise_gain * noise_spectrum / NOISE_SCALE
    )
    return istft(spectrum, WINDOW, mels.HOP)
