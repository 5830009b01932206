"""The codec of AudioLDM and of VSSFlow: log-mel, autoencoder, HiFi-GAN.

The latent image of F/S cells by Z channels is laid out on channels cell by cell, as the
official VSSFlow does: channel = cell * Z + latent channel. The published `scaling_factor`
is not applied, as it is not there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from vssflow_jax.codecs import mel as mels
from vssflow_jax.codecs.vae import Vae, VaeConfig
from vssflow_jax.codecs.vocoder import Vocoder, VocoderConfig
from vssflow_jax.common.errors import InputError

SHRINK = 4  # mel frames in a latent frame: 100 a second -> 25


@struct.dataclass
class AudioldmCodec:
    """Latent = moments of the autoencoder over the log-mel of the normalised waveform.

    Loudness is lost: each waveform is scaled to a peak of 0.5 first, as published.

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
    sample_rate: ClassVar[int] = mels.SAMPLE_RATE
    rate: ClassVar[int] = mels.SAMPLE_RATE // (mels.HOP * SHRINK)

    @property
    def channels(self) -> int:
        """Channels of the latent, C = F/S * Z; 128 as published."""
        return mels.BANDS // self.vae_config.shrink * self.vae_config.latent_channels

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> mean and standard deviation of the latent, each [B, n // 640, C]."""
        mean, log_variance = self.encode_mel(mels.log_mel(mels.normalize_peak(wave)))
        return mean, jnp.exp(0.5 * log_variance)

    def encode_mel(self, mel: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-mel [B, T, 64] -> mean and log-variance of the latent, each [B, T // 4, C]."""
        model = Vae(self.vae_config)
        moments = model.apply({"params": self.vae}, mel, method="encode")
        return jax.tree.map(lambda x: x.reshape(*x.shape[:2], -1), moments)

    def decode_mel(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> log-mel [B, 4 L, 64]."""
        image = latent.reshape(*latent.shape[:2], -1, self.vae_config.latent_channels)
        return Vae(self.vae_config).apply({"params": self.vae}, image, method="decode")

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]; the vocoder's few samples more are cut."""
        mel = self.decode_mel(latent)
        wave = Vocoder(self.vocoder_config).apply({"params": self.vocoder}, mel)
        return wave[:, : mel.shape[1] * mels.HOP]


def restore_codec(
    *, vae: Mapping, vocoder: Mapping, vae_config: Mapping, vocoder_config: Mapping
) -> AudioldmCodec:
    """The codec from parameters and from sizes as JSON holds them (lists for tuples).

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
      kind: of the config; its defaults show what each field's value looks like.
      values: by key; others than the config's are not looked at.
      keys: the key of each field, where it is not the field's name.

    Raises:
      InputError: names a key that is missing or whose value cannot be.
    """
    out = {}
    for field in dataclasses.fields(kind):
        key = (keys or {}).get(field.name, field.name)
        if key not in values:
            raise InputError(f"{key}: not there, expected something like {field.default!r}")
        out[field.name] = value = to_tuples(values[key])
        if not same_structure(value, field.default):
            raise InputError(f"{key}: found {value!r}, expected something like {field.default!r}")
    try:
        return kind(**out)
    except ValueError as error:
        raise InputError(str(error)) from None


def to_tuples(value):
    """Lists to tuples, however deep."""
    return tuple(map(to_tuples, value)) if isinstance(value, list | tuple) else value


def same_structure(value, example) -> bool:
    """Whether a value has the example's type; tuples may be longer, numbers are above 0."""
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
