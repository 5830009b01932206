"""Conversion of the codecs: AudioLDM's autoencoder and vocoder, and Oobleck, and back.

AudioLDM's two parts are converted at once from an AudioLDM folder (kind `codec`), or one at a time
(kinds `vae` and `vocoder`): the first one is stored in the codec's folder until the other one is
there too, and either can be replaced later.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vssflow_jax.codecs import audioldm
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.interface import load_codec, save_codec
from vssflow_jax.codecs.oobleck import OobleckCodec
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import read_json, to_path, write_text
from vssflow_jax.common.safetensors_io import read_arrays, write_arrays
from vssflow_jax.weights.audioldm import (
    VAE_FILES,
    VOCODER_FILES,
    read_codec,
    read_vae,
    read_vocoder,
    write_codec,
    write_vae,
    write_vocoder,
)
from vssflow_jax.weights.oobleck import read_oobleck, write_oobleck

PARTS = ("vae", "vocoder")
KINDS = ("codec", *PARTS, OobleckCodec.kind)
FILES = {"vae": VAE_FILES, "vocoder": VOCODER_FILES}
READERS = {"vae": read_vae, "vocoder": read_vocoder}
WRITERS = {"vae": write_vae, "vocoder": write_vocoder}


def convert(kind: str, src: str | Path, out: str | Path) -> str:
    """Published weights in `src` to the codec's folder `out`.

    Args:
      kind: one of KINDS.
      src: AudioLDM's folder; for one part its `vae/` or `vocoder/`, or the weights in there. For
        Oobleck the folder with its weights and config, or the weights.
      out: the codec's folder.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: names the file, field or tensor; nothing is written then.
    """
    out, src = to_path(out), hub.find_path(src)
    if kind == OobleckCodec.kind:
        codec = read_oobleck(src)
        save_codec(codec, out)
        return (
            f"{out}: a codec, {codec.sample_rate:,} Hz, {codec.audio_channels} channels, "
            f"{codec.channels} latent channels at {codec.rate:g} a second"
        )
    if kind == "codec":
        save_codec(read_codec(src), out)
        return f"{out}: a codec"
    config, params = READERS[kind](_folder(kind, src))
    part = {kind: params, f"{kind}_config": dataclasses.asdict(config)}
    (missing,) = (other for other in PARTS if other != kind)
    other = _part_of_codec(missing, out) or _stored_part(missing, out)
    if other is None:
        write_arrays(out / f"{kind}.safetensors", flatten_dict(params, sep="/"))
        write_text(out / f"{kind}.json", json.dumps(part[f"{kind}_config"], indent=1))
        return f"{out}: the {kind}, and no codec until the {missing} is converted to there too"
    save_codec(audioldm.restore_codec(**part, **other), out)
    for ending in ("json", "safetensors"):
        (out / f"{missing}.{ending}").unlink(missing_ok=True)
    return f"{out}: a codec"


def revert(kind: str, src: str | Path, out: str | Path) -> str:
    """The codec in `src` to published folders.

    AudioLDM's are `vae/` and `vocoder/` in `out`, or one of them as `out`; Oobleck's is `out`.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: no such codec there.
    """
    codec = _load_codec(to_path(src), OobleckCodec if kind == OobleckCodec.kind else AudioldmCodec)
    if kind == OobleckCodec.kind:
        write_oobleck(codec, out)
    elif kind == "codec":
        write_codec(codec, out)
    else:
        WRITERS[kind](getattr(codec, f"{kind}_config"), getattr(codec, kind), out)
    return f"{out}: {kind}"


def _folder(kind: str, src: Path) -> Path:
    """The folder of published weights, which may be named by its file."""
    if not src.is_file():
        return src
    if src.name not in FILES[kind]:
        raise InputError(f"--src={src}: expected a folder, or {' or '.join(FILES[kind])} in it")
    return src.parent


def _load_codec(folder: Path, kind: type):
    codec = load_codec(folder)
    if not isinstance(codec, kind):
        raise InputError(f"{folder}: found a codec of the kind {codec.kind}, expected {kind.kind}")
    return codec


def _part_of_codec(part: str, folder: Path) -> Mapping | None:
    if not (folder / "codec.json").exists():
        return None
    codec = _load_codec(folder, AudioldmCodec)
    sizes = dataclasses.asdict(getattr(codec, f"{part}_config"))
    return {part: getattr(codec, part), f"{part}_config": sizes}


def _stored_part(part: str, folder: Path) -> Mapping | None:
    description, weights = folder / f"{part}.json", folder / f"{part}.safetensors"
    if not description.exists():
        return None
    sizes = read_json(description, f"the sizes of a {part}")
    arrays = {path: np.asarray(array) for path, array in read_arrays(weights).items()}
    params = unflatten_dict(arrays, sep="/")
    return {part: params, f"{part}_config": sizes}
