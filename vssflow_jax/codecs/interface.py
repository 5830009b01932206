"""The codec interface: a waveform to the latent that the flow generates, and back.

A codec is a pytree (its arrays are leaves), so that it can be an argument of a compiled step and
encode there. On disk it is a folder: `codec.json` contains its kind and settings,
`codec.safetensors` its arrays, nested ones by their path, `field/module/array`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vssflow_jax.codecs import audioldm, oobleck
from vssflow_jax.codecs.istft import IstftCodec
from vssflow_jax.codecs.pca import PcaCodec
from vssflow_jax.codecs.trained import TrainedCodec
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import read_json, to_path, write_text
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.conditions import LATENT_RATE, AudioFormat


class Codec(Protocol):
    """Interface of all codecs.

    Shapes: B clips, n samples, A audio channels, L latent frames, C latent channels. With one audio
    channel a waveform is [B, n].
    """

    kind: str
    sample_rate: int
    audio_channels: int
    rate: float  # latent frames a second
    decoder_fields: tuple[str, ...]  # fields that its latents do not depend on

    @property
    def channels(self) -> int:
        """Channels of the latent."""

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n, A] -> mean and standard deviation of the latent, each [B, L, C]."""

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, n, A], n = L * sample_rate / rate."""


# Builds a codec of each kind from its arrays (nested) and its settings (as in JSON).
CODECS: dict[str, Callable[..., Codec]] = {
    "pca": PcaCodec,
    audioldm.AudioldmCodec.kind: audioldm.restore_codec,
    TrainedCodec.kind: TrainedCodec,
    IstftCodec.kind: IstftCodec,
    oobleck.OobleckCodec.kind: oobleck.restore_codec,
}


def audio_format(codec: Codec) -> AudioFormat:
    """The format of a codec's waveforms."""
    return AudioFormat(codec.sample_rate, codec.audio_channels)


def check_rate(codec: Codec, place: str) -> None:
    """Raises an `InputError` for a codec whose latent frames are not those of the model."""
    if codec.rate != LATENT_RATE:
        raise InputError(
            f"{place}: found a codec with {codec.rate:.2f} latent frames a second, expected "
            f"{LATENT_RATE}"
        )


def codec_arrays(codec: Codec) -> dict[str, np.ndarray]:
    """The codec's arrays by field name, in the order of the fields; nested ones by path."""
    fields = {
        field.name: getattr(codec, field.name)
        for field in dataclasses.fields(codec)
        if field.metadata.get("pytree_node", True)
    }
    return {name: np.asarray(array) for name, array in flatten_dict(fields, sep="/").items()}


def codec_settings(codec: Codec) -> dict:
    """The codec's kind and its fields that are not arrays."""
    static = {
        field.name: getattr(codec, field.name)
        for field in dataclasses.fields(codec)
        if not field.metadata.get("pytree_node", True)
    }
    fields = {
        name: dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
        for name, value in static.items()
    }
    return {"kind": codec.kind, **fields}


def hash_codec(codec: Codec) -> str:
    """Hash of all settings and arrays."""
    return _hash_fields(codec, omitted=())


def hash_latents(codec: Codec) -> str:
    """Hash of what encodes: two codecs with the same hash give the same latents.

    A model may be sampled with any decoder of the latents that it was trained on.
    """
    return _hash_fields(codec, omitted=codec.decoder_fields)


def _hash_fields(codec: Codec, omitted: tuple[str, ...]) -> str:
    settings = {name: x for name, x in codec_settings(codec).items() if name not in omitted}
    sha = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, array in sorted(codec_arrays(codec).items()):
        if name.split("/")[0] not in omitted:
            sha.update(f"{name}{array.dtype}{array.shape}".encode())
            sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def save_codec(codec: Codec, folder: str | Path) -> None:
    """Writes the codec into `folder`; a folder with `codec.json`, written last, is complete."""
    folder = to_path(folder)
    write_arrays(folder / "codec.safetensors", codec_arrays(codec))
    text = json.dumps({**codec_settings(codec), "hash": hash_codec(codec)}, indent=1)
    write_text(folder / "codec.json", text)


def load_codec(folder: str | Path) -> Codec:
    """The codec in a folder that `save_codec` wrote; an `InputError` names what is damaged.

    A name on the hub does too.
    """
    folder = hub.find_path(folder)
    description = read_json(folder / "codec.json", "a codec's settings")
    arrays = read_arrays(folder / "codec.safetensors")
    tensors = {name: np.asarray(array) for name, array in arrays.items()}
    kind, expected = description.pop("kind", None), description.pop("hash", None)
    if not isinstance(kind, str) or kind not in CODECS:
        raise InputError(
            f"{folder}/codec.json, kind: found {kind!r}, expected one of {sorted(CODECS)}"
        )
    try:
        codec = CODECS[kind](**unflatten_dict(tensors, sep="/"), **description)
    except (InputError, TypeError, AttributeError, KeyError, ValueError) as error:
        raise InputError(f"{folder}: not a codec of the kind {kind}: {error}") from None
    if hash_codec(codec) != expected:
        raise InputError(f"{folder}: codec hash is {hash_codec(codec)}, codec.json says {expected}")
    return codec


@jax.jit
def reconstruct(codec: Codec, wave: jax.Array) -> jax.Array:
    """Waveforms [B, n, A] encoded and decoded: the codec floor, the best a model could reach."""
    return codec.decode(codec.encode(wave)[0])
