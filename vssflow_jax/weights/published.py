"""Conversion of the published encoders: from the official file to a folder, and back.

The folder contains `encoder.safetensors` (parameters by their paths) and `encoder.json`: kind,
sizes, hash and source. The JSON is written last, so a folder that has it is complete.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vssflow_jax.codecs.audioldm import to_tuples
from vssflow_jax.common import hub
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.common.safetensors_io import (
    ArrayLike,
    check_arrays,
    read_arrays,
    widen_half,
    write_arrays,
)
from vssflow_jax.encoders import clap, dvector, passt, syncnet, vggish
from vssflow_jax.encoders.avhubert import CROP, Avhubert, AvhubertConfig
from vssflow_jax.encoders.clap import Clap, ClapConfig
from vssflow_jax.encoders.clip import ClipViT, ClipViTConfig
from vssflow_jax.encoders.cnn14 import MIN_FRAMES, Cnn14, Cnn14Config
from vssflow_jax.encoders.desync import Desync, DesyncConfig
from vssflow_jax.encoders.dvector import Dvector, DvectorConfig
from vssflow_jax.encoders.passt import Passt, PasstConfig
from vssflow_jax.encoders.rawnet3 import WINDOW, Rawnet3, Rawnet3Config
from vssflow_jax.encoders.synchformer import Synchformer, SynchformerConfig
from vssflow_jax.encoders.syncnet import Syncnet, SyncnetConfig
from vssflow_jax.encoders.vggish import Vggish, VggishConfig
from vssflow_jax.weights import embedding_names, encoder_names, measure_names, sources
from vssflow_jax.weights.mapping import ParamEntry, export_params, import_params
from vssflow_jax.weights.torch_files import find_state, hash_state, read_tensors


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderKind:
    """How one kind of encoder is built, and read from its official files.

    Attributes:
      model: the module, called with its config.
      config: type of the config.
      shape: of the first input, by the config.
      sizes: the config of an official state dict.
      entries: the map of names.
      unused: pattern of tensors for parts that we do not compute.
      inert: prefixes of classes whose objects a file may contain; see `read_tensors`.
    """

    model: Callable[..., nn.Module]
    config: type
    shape: Callable[..., tuple[int, ...]]
    sizes: Callable[[Mapping[str, ArrayLike]], object]
    entries: Callable[..., Iterable[ParamEntry]]
    unused: str
    inert: tuple[str, ...] = ()


KINDS = {
    "clip": EncoderKind(
        model=ClipViT,
        config=ClipViTConfig,
        shape=lambda config: (1, config.side, config.side, 3),
        sizes=lambda state: encoder_names.clip_config(state, _detect_naming(state)),
        entries=encoder_names.clip_entries,
        unused=r"(transformer|token_embedding|ln_final|text_model|(text|visual)_projection)\."
        r"|(positional_embedding|text_projection|logit_scale|visual\.proj)$"
        r"|(input_resolution|context_length|vocab_size)$|.*\.position_ids$",
        inert=("__torch__.", "torch.jit."),
    ),
    "sync": EncoderKind(
        model=Synchformer,
        config=SynchformerConfig,
        shape=lambda config: (1, config.frames, config.side, config.side, 3),
        sizes=encoder_names.sync_config,
        entries=encoder_names.sync_entries,
        unused=r"(afeat_extractor|vproj|aproj|transformer)\.|vfeat_extractor\.patch_embed\.proj\.",
    ),
    "lips": EncoderKind(
        model=Avhubert,
        config=AvhubertConfig,
        shape=lambda config: (1, 1, CROP, CROP),
        sizes=encoder_names.lips_config,
        entries=encoder_names.lips_entries,
        unused=r"(feature_extractor_audio|final_proj|target_glu|decoder)\."
        r"|(mask_emb|label_embs_concat)$|.*\.num_batches_tracked$",
        inert=("fairseq.", "omegaconf.", "argparse.", "hubert", "numpy.", "sentencepiece."),
    ),
    "speaker": EncoderKind(
        model=Rawnet3,
        config=Rawnet3Config,
        shape=lambda config: (1, WINDOW),
        sizes=encoder_names.speaker_config,
        entries=encoder_names.speaker_entries,
        unused=r"bn[16]\.|.*\.num_batches_tracked$",
    ),
    "dvector": EncoderKind(
        model=Dvector,
        config=DvectorConfig,
        shape=lambda config: (1, dvector.WINDOW, config.bands),
        sizes=encoder_names.dvector_config,
        entries=encoder_names.dvector_entries,
        unused=r"similarity_(weight|bias)$",
    ),
    "vggish": EncoderKind(
        model=Vggish,
        config=VggishConfig,
        shape=lambda config: (1, vggish.FRAMES, vggish.BANDS),
        sizes=embedding_names.vggish_config,
        entries=embedding_names.vggish_entries,
        unused=r"pproc\.",
    ),
    "cnn14": EncoderKind(
        model=Cnn14,
        config=Cnn14Config,
        shape=lambda config: (1, MIN_FRAMES, config.window // 2 + 1),
        sizes=embedding_names.cnn14_config,
        entries=embedding_names.cnn14_entries,
        unused=r"spectrogram_extractor\.|.*\.num_batches_tracked$",
    ),
    "desync": EncoderKind(
        model=Desync,
        config=DesyncConfig,
        shape=lambda config: (1, config.frames, config.side, config.side, 3),
        sizes=measure_names.desync_config,
        entries=measure_names.desync_entries,
        unused=r"vfeat_extractor\.patch_embed\.proj\.",
    ),
    "passt": EncoderKind(
        model=Passt,
        config=PasstConfig,
        shape=lambda config: (1, passt.BANDS, passt.STRIDE * (config.columns - 1) + passt.PATCH),
        sizes=measure_names.passt_config,
        entries=measure_names.passt_entries,
        unused=r"head_dist\.",
    ),
    "clap": EncoderKind(
        model=Clap,
        config=ClapConfig,
        shape=lambda config: (1, clap.PARTS * config.side, config.bands),
        sizes=measure_names.clap_config,
        entries=measure_names.clap_entries,
        unused=r"logit_scale_[at]$|.*\.(position_ids|token_type_ids|relative_position_index)$"
        r"|.*\.num_batches_tracked$",
    ),
    "syncnet": EncoderKind(
        model=Syncnet,
        config=SyncnetConfig,
        shape=lambda config: (1, syncnet.FRAMES, syncnet.SIDE, syncnet.SIDE, 3),
        sizes=measure_names.syncnet_config,
        entries=measure_names.syncnet_entries,
        unused=r".*\.num_batches_tracked$",
    ),
}
FINE_TUNED = "encoder.w2v_model."  # prefix of AV-HuBERT inside a fine-tuned model
BARE = "embeddings.class_embedding"  # in Hugging Face's files of the image encoder alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """An encoder's parameters with their size and hash."""

    kind: str
    config: object
    params: Mapping
    hash: str


def _detect_naming(state: Mapping[str, ArrayLike]) -> Mapping[str, str]:
    is_hugging_face = any(name.startswith("vision_model.") for name in state)
    return encoder_names.HUGGING_FACE if is_hugging_face else encoder_names.OPENAI


def _unwrap_names(state: Mapping[str, ArrayLike]) -> tuple[Mapping[str, ArrayLike], list[str]]:
    """The encoder's tensors under their usual names, and the names of all other tensors."""
    if BARE in state:
        return {f"vision_model.{name}": array for name, array in state.items()}, []
    if not any(name.startswith(FINE_TUNED) for name in state):
        return state, []
    encoder = {k[len(FINE_TUNED) :]: a for k, a in state.items() if k.startswith(FINE_TUNED)}
    return encoder, [name for name in state if not name.startswith(FINE_TUNED)]


def from_official(kind: str, state: Mapping[str, ArrayLike]) -> tuple[object, dict, list[str]]:
    """Config and parameters of an official state dict, and the names that were left out.

    Raises:
      InputError: lists missing and unknown tensors, or names one of another shape.
    """
    encoder = KINDS[kind]
    state, other = _unwrap_names(state)
    unused = [name for name in state if re.match(encoder.unused, name)]
    state = widen_half({name: state[name] for name in state.keys() - set(unused)})
    try:
        config = encoder.sizes(state)
    except KeyError as error:
        raise InputError(f"found no tensor {error.args[0]}, expected weights of {kind}") from None
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"tensors of shapes that do not fit together: {error}") from None
    naming = {"names": _detect_naming(state)} if kind == "clip" else {}
    entries = encoder.entries(config, **naming)
    layers = getattr(config, "layers", 1)
    params = import_params(
        entries, layers, encoder_names.split_qkv(state), parameter_shapes(kind, config)
    )
    return config, params, other + unused


@functools.cache
def parameter_shapes(kind: str, config) -> dict:
    """Shapes of an encoder's parameters; nothing is computed."""
    encoder = KINDS[kind]
    stand_in = jax.ShapeDtypeStruct(encoder.shape(config), jnp.float32)
    return jax.eval_shape(encoder.model(config).init, jax.random.key(0), stand_in)["params"]


def convert(
    kind: str,
    src: str | Path,
    out: str | Path,
    *,
    dtype: str = "float32",
    unverified: bool = False,
) -> str:
    """Official file `src` to the folder `out`; CLAP's tokenizer beside it comes along.

    Args:
      kind: of encoder.
      src: the file, the index of several, or a folder with either; see `find_state`.
      out: the folder.
      dtype: of the stored numbers.
      unverified: convert a file even if its SHA-256 is not the published one.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: names the file or tensor, or both hashes; nothing is written then.
    """
    out, src = to_path(out), find_state(src)
    tensors = read_tensors(src, KINDS[kind].inert)
    digest = hash_state(src)
    as_published = not unverified and sources.check_hash(kind, src, digest)
    try:
        config, params, left_out = from_official(kind, tensors)
    except InputError as error:
        raise InputError(f"{src}: {error}") from None
    source = {"file": src.name, "sha256": digest, "as_published": as_published}
    params = jax.tree.map(lambda array: np.asarray(array, dtype), params)
    tokenizer = src.parent / sources.TOKENIZER
    if kind == "clap" and tokenizer.is_file():
        write_text(out / sources.TOKENIZER, tokenizer.read_text(encoding="utf-8"))
    save_encoder(kind, config, params, source, out)
    count = sum(array.size for array in jax.tree.leaves(params))
    others = f"; left out: {len(left_out)} tensors of other parts" if left_out else ""
    verified = "as published" if as_published else "not verified"
    return f"{out}: {count:,} parameters{others}; sha256 of {src.name} {digest} ({verified})"


def revert(kind: str, src: str | Path, out: str | Path) -> str:
    """Our folder `src` to a safetensors file with the official names (CLIP: OpenAI's).

    Returns:
      What was done, in a sentence.
    """
    out = to_path(out) if to_path(out).suffix else to_path(out) / f"{kind}.safetensors"
    if out.suffix != ".safetensors":
        raise InputError(f"--out={out}: found the ending {out.suffix!r}, expected '.safetensors'")
    encoder = load_encoder(src, kind)
    entries, layers = KINDS[kind].entries(encoder.config), getattr(encoder.config, "layers", 1)
    state = encoder_names.join_qkv(export_params(entries, layers, encoder.params))
    write_arrays(out, state)
    return f"{out}: {sum(array.size for array in state.values()):,} parameters"


def save_encoder(kind: str, config, params: Mapping, source: Mapping, out: Path) -> None:
    """Writes an encoder's folder."""
    flat = flatten_dict(params, sep="/")
    sizes = dataclasses.asdict(config)
    write_arrays(out / sources.ARRAYS, flat)
    description = {
        "kind": kind,
        "hash": hash_encoder(kind, sizes, flat),
        "config": sizes,
        "source": source,
    }
    write_text(out / sources.DESCRIPTION, json.dumps(description, indent=1))


def hash_encoder(kind: str, sizes: Mapping, flat: Mapping[str, ArrayLike]) -> str:
    """Hash of size and parameters: the same hash gives the same features."""
    sha = hashlib.sha256(json.dumps([kind, sizes], sort_keys=True).encode())
    for path, array in sorted(flat.items()):
        sha.update(f"{path}{array.dtype}{tuple(array.shape)}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]


def read_description(folder: str | Path, kind: str) -> dict:
    """The content of `encoder.json`, with the config as an object (and as JSON under `sizes`).

    Raises:
      InputError: there is no such file, or it is of another kind.
    """
    path = to_path(folder) / sources.DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        if description["kind"] != kind:
            raise InputError(f"{path}: found weights of {description['kind']}, expected {kind}")
        sizes = description["config"]
        config = KINDS[kind].config(**{name: to_tuples(value) for name, value in sizes.items()})
        return {**description, "config": config, "sizes": sizes}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a converted encoder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a converted encoder's: {error}") from None


def load_encoder(folder: str | Path, kind: str) -> EncoderWeights:
    """The encoder in a folder that `save_encoder` wrote.

    Raises:
      InputError: a file is missing or damaged, or the weights' hash is not that in `encoder.json`.
    """
    description, path = read_description(folder, kind), to_path(folder) / sources.ARRAYS
    lazy = read_arrays(path)
    shapes = flatten_dict(parameter_shapes(kind, description["config"]), sep="/")
    expected = {name: tuple(leaf.shape) for name, leaf in shapes.items()}
    check_arrays(widen_half(lazy), expected, str(path))
    flat = {name: np.asarray(array) for name, array in lazy.items()}
    actual_hash, expected_hash = hash_encoder(kind, description["sizes"], flat), description["hash"]
    if actual_hash != expected_hash:
        raise InputError(
            f"{path}: hash is {actual_hash}, {sources.DESCRIPTION} says {expected_hash}"
        )
    return EncoderWeights(
        kind=kind,
        config=description["config"],
        params=unflatten_dict(
            {name: np.asarray(array) for name, array in widen_half(flat).items()}, sep="/"
        ),
        hash=actual_hash,
    )


def find_weights(kind: str) -> Path:
    """The folder of a kind's converted weights: the user's, else the package's.

    Where there is neither, the hub's file is converted into the user's folder.

    Raises:
      InputError: there are none, and the hub does not provide the published file: says which
        file to put where.
    """
    folder = sources.weights_folder(kind)
    for place in (folder, sources.BUNDLED / kind):
        if (place / sources.DESCRIPTION).exists():
            return place
    if hub.is_name(sources.name_weights()):
        raise sources.missing_weights(kind, "nothing is converted into a name on the hub")
    convert(kind, sources.fetch_published(kind), folder)
    return folder
