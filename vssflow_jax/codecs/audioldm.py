"""The codec of AudioLDM and VSSFlow: log-mel spectrogram, autoencoder, HiFi-GAN vocoder.

The latent image of f = F / S cells by Z channels becomes the channels of the latent cell by cell,
as in the official VSSFlow: channel = cell * Z + latent channel. As there, the published
`scaling_factor` is not applied.

Clips of more than 10 s, the length that the networks were trained on, go through them in chunks,
so that memory does not grow with their length. The vocoder's samples are those of the whole clip.
The autoencoder's norms and attention see the 10 s of a chunk instead of the clip; what its
convolutions compute near the ends of a chunk is dropped, and the rest is blended.

Legend: B clips, n samples, L latent frames, T = 4 L mel frames, S latent frames of a chunk.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.chunked import map_blended_chunks, map_overlapping_chunks
from vssflow_jax.codecs.vae import Vae, VaeConfig
from vssflow_jax.codecs.vocoder import Vocoder, VocoderConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.conditions import LATENT_RATE, SAMPLE_RATE

SHRINK = mels.FRAME_RATE // LATENT_RATE  # mel frames in a latent frame: 4
FRAME = SHRINK * mels.HOP  # samples in a latent frame
CHUNK = 10 * LATENT_RATE  # latent frames of a chunk
FADE = 16  # latent frames over which a chunk gives way to the next


@struct.dataclass
class AudioldmCodec:
    """Latent = moments of the autoencoder for the log-mel of the normalized waveform.

    Loudness is lost: each waveform is first scaled to a peak of 0.5, as in the published training.

    Attributes:
      vae: parameters of the autoencoder, nested by module.
      vocoder: parameters of the vocoder.
      vae_config: size of the autoencoder.
      vocoder_config: size of the vocoder.
    """

    vae: Mapping
    vocoder: Mapping
    vae_config: VaeConfig = struct.field(pytree_node=False)
    vocoder_config: VocoderConfig = struct.field(pytree_node=False)

    kind: ClassVar[str] = "audioldm"
    sample_rate: ClassVar[int] = SAMPLE_RATE
    audio_channels: ClassVar[int] = 1
    rate: ClassVar[int] = LATENT_RATE
    decoder_fields: ClassVar[tuple[str, ...]] = ()

    @property
    def channels(self) -> int:
        """Channels of the latent, C = F/S * Z; 128 as published."""
        return mels.BANDS // self.vae_config.shrink * self.vae_config.latent_channels

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> mean and standard deviation of the latent, each [B, n // 640, C]."""
        padded = mels.reflect_pad(mels.normalize_peak(wave))
        length = wave.shape[1] // FRAME
        if length <= CHUNK:
            return self._encode_padded(padded)

        def encode_chunk(first):
            samples = CHUNK * FRAME + 2 * mels.PAD
            part = jax.lax.dynamic_slice_in_dim(padded, first * FRAME, samples, axis=1)
            return self._encode_padded(part)

        reach = self.vae_config.encoder_reach
        return map_blended_chunks(encode_chunk, length, CHUNK, reach, FADE)

    def _encode_padded(self, padded: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform with its padding [B, n + 864] -> mean and standard deviation."""
        magnitude = jnp.abs(mels.stft_of_padded(padded))
        mean, log_variance = self.encode_mel(mels.magnitude_to_log_mel(magnitude))
        return mean, jnp.exp(0.5 * log_variance)

    def encode_mel(self, mel: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-mel [B, T, 64] -> mean and log-variance of the latent, each [B, T // 4, C]."""
        model = Vae(self.vae_config)
        moments = model.apply({"params": self.vae}, mel, method="encode")
        return jax.tree.map(lambda x: rearrange(x, "b l f z -> b l (f z)"), moments)

    def decode_mel(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> log-mel [B, 4 L, 64]."""
        if latent.shape[1] <= CHUNK:
            return self._decode_mel_chunk(latent)

        def decode_chunk(first):
            part = jax.lax.dynamic_slice_in_dim(latent, first, CHUNK, axis=1)
            return self._decode_mel_chunk(part)

        reach = self.vae_config.decoder_reach
        return map_blended_chunks(decode_chunk, latent.shape[1], CHUNK, reach, FADE, SHRINK)

    def _decode_mel_chunk(self, latent: jax.Array) -> jax.Array:
        """Latent [B, S, C] -> log-mel [B, 4 S, 64], in one piece."""
        channels = self.vae_config.latent_channels
        image = rearrange(latent, "b l (f z) -> b l f z", z=channels)
        return Vae(self.vae_config).apply({"params": self.vae}, image, method="decode")

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]; the vocoder's few extra samples are cut."""
        return self.vocode(self.decode_mel(latent))

    def vocode(self, mel: jax.Array) -> jax.Array:
        """Log-mel [B, T, 64] -> waveform [B, T * 160]."""
        if mel.shape[1] <= CHUNK * SHRINK:
            return self._vocode_chunk(mel)
        reach = self.vocoder_config.reach
        return map_overlapping_chunks(
            lambda part, _: self._vocode_chunk(part), mel, CHUNK * SHRINK, reach, mels.HOP
        )

    def _vocode_chunk(self, mel: jax.Array) -> jax.Array:
        """Log-mel [B, T, 64] -> waveform [B, T * 160], in one piece."""
        wave = Vocoder(self.vocoder_config).apply({"params": self.vocoder}, mel)
        return wave[:, : mel.shape[1] * mels.HOP]


def restore_codec(
    *, vae: Mapping, vocoder: Mapping, vae_config: Mapping, vocoder_config: Mapping
) -> AudioldmCodec:
    """The codec from its parameters and its sizes as read from JSON (lists for tuples).

    Raises:
      InputError: a size is missing or wrong, or the two parts do not fit the log-mel.
    """
    vae_config = parse_config(VaeConfig, vae_config)
    vocoder_config = parse_config(VocoderConfig, vocoder_config)
    check_sizes(vae_config, vocoder_config)
    return AudioldmCodec(
        vae=vae, vocoder=vocoder, vae_config=vae_config, vocoder_config=vocoder_config
    )


def check_sizes(vae: VaeConfig, vocoder: VocoderConfig) -> None:
    """Raises an `InputError` where the two sizes do not fit the log-mel and the latent's rate."""
    shrink, hop = vae.shrink, math.prod(vocoder.rates)
    if shrink != SHRINK:
        raise InputError(f"vae: found {shrink} mel frames a latent frame, expected {SHRINK}")
    if vocoder.bands != mels.BANDS:
        raise InputError(f"vocoder: found {vocoder.bands} mel bands, expected {mels.BANDS}")
    if hop != mels.HOP:
        raise InputError(f"vocoder: found {hop} samples a mel frame, expected {mels.HOP}")


def parse_config(kind: type, values: Mapping, keys: Mapping[str, str] | None = None):
    """A config dataclass from JSON.

    Args:
      kind: type of the config; values must have the structure of its defaults.
      values: by key; keys that the config has no field for are ignored.
      keys: the key of each field, where it is not the field's name.

    Raises:
      InputError: names a key that is missing or has a wrong value.
    """
    parsed = {}
    for field in dataclasses.fields(kind):
        key = (keys or {}).get(field.name, field.name)
        if key not in values:
            raise InputError(f"{key}: not there, expected something like {field.default!r}")
        parsed[field.name] = value = to_tuples(values[key])
        if not same_structure(value, field.default):
            raise InputError(f"{key}: found {value!r}, expected something like {field.default!r}")
    try:
        return kind(**parsed)
    except ValueError as error:
        raise InputError(str(error)) from None


def to_tuples(value):
    """Nested lists as nested tuples."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def same_structure(value, example) -> bool:
    """Whether a value has the type of an example; tuples of any length, numbers above 0."""
    if isinstance(example, tuple):
        return (
            isinstance(value, tuple)
            and value != ()
            and all(same_structure(v, example[0]) for v in value)
        )
    if isinstance(example, bool) or isinstance(value, bool):
        return type(value) is type(example)
    numbers = (int, float) if isinstance(example, float) else (int,)
    return isinstance(value, numbers) and 0 < value < math.inf
