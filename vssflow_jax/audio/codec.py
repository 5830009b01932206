"""The codec interface: a waveform to the latent that the flow models, and back.

A codec is a pytree (its arrays are leaves), so that it can be an argument of a jitted
step and encode there. On disk it is a folder: `codec.json` with its kind and settings,
`codec.safetensors` with its arrays.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Protocol

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from vssflow_jax.audio.pca import PcaCodec
from vssflow_jax.errors import InputError

CODECS = {"pca": PcaCodec}


class Codec(Protocol):
    """What every codec offers. Shapes: B clips, n samples, L = n // 640 frames, C channels."""

    kind: str
    sample_rate: int
    rate: int  # latent frames a second

    @property
    def channels(self) -> int:
        """Channels of the latent."""

    def encode(self, wave: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Waveform [B, n] -> mean and standard deviation of the latent, each [B, L, C]."""

    def decode(self, latent: jax.Array) -> jax.Array:
        """Latent [B, L, C] -> waveform [B, L * 640]."""


def arrays(codec: Codec) -> dict[str, np.ndarray]:
    """The codec's arrays by field name, in the order of the fields."""
    return {
        field.name: np.asarray(getattr(codec, field.name))
        for field in dataclasses.fields(codec)
        if field.metadata.get("pytree_node", True)
    }


def settings(codec: Codec) -> dict:
    """The codec's settings (what is not an array), with its kind."""
    static = {
        field.name: getattr(codec, field.name)
        for field in dataclasses.fields(codec)
        if not field.metadata.get("pytree_node", True)
    }
    return {"kind": codec.kind, **static}


def digest(codec: Codec) -> str:
    """Hash of settings and arrays: two codecs with the same hash give the same latents."""
    sha = hashlib.sha256(json.dumps(settings(codec), sort_keys=True).encode())
    for name, array in sorted(arrays(codec).items()):
        sha.update(f"{name}{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def save_codec(codec: Codec, folder: str | Path) -> None:
    """Writes the codec into `folder`; `codec.json` comes last, so its presence means whole."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights, description = folder / "codec.safetensors", folder / "codec.json"
    save_file(arrays(codec), folder / "codec.safetensors.partial")
    (folder / "codec.safetensors.partial").replace(weights)
    text = json.dumps({**settings(codec), "hash": digest(codec)}, indent=1)
    (folder / "codec.json.partial").write_text(text)
    (folder / "codec.json.partial").replace(description)


def load_codec(folder: str | Path) -> Codec:
    """Reads a codec that `save_codec` wrote; an `InputError` names what is wrong with it."""
    folder = Path(folder)
    try:
        description = json.loads((folder / "codec.json").read_text())
        tensors = load_file(folder / "codec.safetensors")
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: not found, expected a codec's file") from None
    except (json.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"{folder}: not a codec: {error}") from None
    kind, expected = description.pop("kind", None), description.pop("hash", None)
    if kind not in CODECS:
        raise InputError(
            f"{folder}/codec.json, kind: found {kind!r}, expected one of {sorted(CODECS)}"
        )
    codec = CODECS[kind](**tensors, **description)
    if digest(codec) != expected:
        raise InputError(f"{folder}: codec hash is {digest(codec)}, codec.json says {expected}")
    return codec
