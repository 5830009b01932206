"""Networks with published weights: from the official file to a folder of ours, and back.

The folder has `encoder.safetensors`, parameters by their paths, and `encoder.json`: kind, size,
hash, and what file they are from. The JSON comes last, so its presence means whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import write_text
from vssflow_jax.common.safetensors_io import (
    ArrayLike,
    Lazy,
    check,
    flatten,
    nest,
    read_arrays,
    write_arrays,
)
from vssflow_jax.encoders import dvector, vggish
from vssflow_jax.encoders.avhubert import CROP, Avhubert, AvhubertConfig
from vssflow_jax.encoders.clip import ClipViT, ClipViTConfig
from vssflow_jax.encoders.cnn14 import SHORTEST, Cnn14, Cnn14Config
from vssflow_jax.encoders.dvector import Dvector, DvectorConfig
from vssflow_jax.encoders.rawnet3 import WINDOW, Rawnet3, Rawnet3Config
from vssflow_jax.encoders.synchformer import Synchformer, SynchformerConfig
from vssflow_jax.encoders.vggish import Vggish, VggishConfig
from vssflow_jax.weights import embedding_names, encoder_names, sources
from vssflow_jax.weights.mapping import Entry, export_params, import_params
from vssflow_jax.weights.torch_files import read_tensors

BLOCK = 1 << 24  # bytes of a file hashed at a time


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderKind:
    """What belongs to one kind of encoder.

    Attributes:
      model: module, made of its config.
      config: its type.
      shape: of one input, by the config.
      sizes: the config of an official state dict.
      entries: the map of names.
      unused: pattern of tensors that files carry for nothing that we compute.
      inert: modules whose objects a file may hold beside tensors; never run, see `tensors`.
    """

    model: Callable[..., nn.Module]
    config: type
    shape: Callable[..., tuple[int, ...]]
    sizes: Callable[[Mapping[str, ArrayLike]], object]
    entries: Callable[..., Iterable[Entry]]
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
        shape=lambda config: (1, SHORTEST, config.window // 2 + 1),
        sizes=embedding_names.cnn14_config,
        entries=embedding_names.cnn14_entries,
        unused=r"spectrogram_extractor\.|.*\.num_batches_tracked$",
    ),
}
FINE_TUNED = "encoder.w2v_model."  # what AV-HuBERT is called inside a fine-tuned model
BARE = "embeddings.class_embedding"  # in files of Hugging Face's image tower alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderWeights:
    """An encoder's parameters with their size and hash."""

    kind: str
    config: object
    params: Mapping
    hash: str


def _detect_naming(state: Mapping[str, ArrayLike]) -> Mapping[str, str]:
    found = any(name.startswith("vision_model.") for name in state)
    return encoder_names.HUGGING_FACE if found else encoder_names.OPENAI


def _unwrap_names(state: Mapping[str, ArrayLike]) -> tuple[Mapping[str, ArrayLike], list[str]]:
    """Names as the encoder has them when it is not part of another model; and the others'."""
    if BARE in state:
        return {f"vision_model.{name}": array for name, array in state.items()}, []
    if not any(name.startswith(FINE_TUNED) for name in state):
        return state, []
    inside = {k[len(FINE_TUNED) :]: a for k, a in state.items() if k.startswith(FINE_TUNED)}
    return inside, [name for name in state if not name.startswith(FINE_TUNED)]


def _widen_half(state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """Half precision, as OpenAI publishes, as single precision; nothing is lost."""

    def wide(array):
        return Lazy(tuple(array.shape), "float32", lambda: np.asarray(array).astype(np.float32))

    return {k: wide(a) if str(a.dtype) == "float16" else a for k, a in state.items()}


def from_official(kind: str, state: Mapping[str, ArrayLike]) -> tuple[object, dict, list[str]]:
    """Config and parameters of an official state dict, and the names that were left out.

    Raises:
      InputError: lists missing and unknown tensors, or names one of another shape.
    """
    about = KINDS[kind]
    state, beside = _unwrap_names(state)
    left = [name for name in state if re.match(about.unused, name)]
    state = _widen_half({name: state[name] for name in state.keys() - set(left)})
    try:
        config = about.sizes(state)
    except KeyError as error:
        raise InputError(f"found no tensor {error.args[0]}, expected weights of {kind}") from None
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InputError(f"tensors of shapes that do not fit together: {error}") from None
    naming = {"names": _detect_naming(state)} if kind == "clip" else {}
    rows = about.entries(config, **naming)
    layers = getattr(config, "layers", 1)
    params = import_params(
        rows, layers, encoder_names.split_qkv(state), parameter_shapes(kind, config)
    )
    return config, params, beside + left


def parameter_shapes(kind: str, config) -> dict:
    """Shapes of an encoder's parameters; nothing is computed."""
    about = KINDS[kind]
    stand_in = jax.ShapeDtypeStruct(about.shape(config), jnp.float32)
    return jax.eval_shape(about.model(config).init, jax.random.key(0), stand_in)["params"]


def convert(kind: str, src: str | Path, out: str | Path, dtype: str = "float32") -> str:
    """Official file `src` to the folder `out`, its numbers stored in `dtype`.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: names the file or tensor; nothing is written then.
    """
    out, src = Path(out), Path(src)
    tensors = read_tensors(src, KINDS[kind].inert)
    try:
        config, params, left = from_official(kind, tensors)
    except InputError as error:
        raise InputError(f"{src}: {error}") from None
    digest = _digest(src)
    known = {source.sha256 for source in sources.list_sources(kind)} - {None}
    source = {"file": src.name, "sha256": digest, "as_published": digest in known}
    params = jax.tree.map(lambda array: np.asarray(array, dtype), params)
    save_encoder(kind, config, params, source, out)
    count = sum(array.size for array in flatten(params).values())
    beside = f"; left out: {len(left)} tensors of other parts" if left else ""
    published = "as published" if digest in known else "not one of the table"
    return f"{out}: {count:,} parameters{beside}; sha256 of {src.name} {digest} ({published})"


def revert(kind: str, src: str | Path, out: str | Path) -> str:
    """Our folder `src` to a safetensors file with the official names (CLIP: OpenAI's).

    Returns:
      What was done, in a sentence.
    """
    out = Path(out) if Path(out).suffix else Path(out) / f"{kind}.safetensors"
    if out.suffix != ".safetensors":
        raise InputError(f"--out={out}: found the ending {out.suffix!r}, expected '.safetensors'")
    found = load_encoder(src, kind)
    rows = KINDS[kind].entries(found.config)
    state = encoder_names.join_qkv(
        export_params(rows, getattr(found.config, "layers", 1), found.params)
    )
    write_arrays(out, state)
    return f"{out}: {sum(array.size for array in state.values()):,} parameters"


def save_encoder(kind: str, config, params: Mapping, source: Mapping, out: Path) -> None:
    """Writes an encoder's folder."""
    flat = flatten(params)
    sizes = dataclasses.asdict(config)
    write_arrays(out / sources.ARRAYS, flat)
    about = {
        "kind": kind,
        "hash": hash_encoder(kind, sizes, flat),
        "config": sizes,
        "source": source,
    }
    write_text(out / sources.DESCRIPTION, json.dumps(about, indent=1))


def hash_encoder(kind: str, sizes: Mapping, flat: Mapping[str, ArrayLike]) -> str:
    """Hash of size and parameters: the same hash gives the same features."""
    sha = hashlib.sha256(json.dumps([kind, sizes], sort_keys=True).encode())
    for path, array in sorted(flat.items()):
        sha.update(f"{path}{array.dtype}{tuple(array.shape)}".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()[:16]


def read_description(folder: str | Path, kind: str) -> dict:
    """What `encoder.json` says.

    Raises:
      InputError: no such file, or not one of this kind.
    """
    path = Path(folder) / sources.DESCRIPTION
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["kind"] != kind:
            raise InputError(f"{path}: found weights of {about['kind']}, expected {kind}")
        sizes = {name: _tuples(value) for name, value in about["config"].items()}
        return {**about, "config": KINDS[kind].config(**sizes), "sizes": about["config"]}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a converted encoder") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a converted encoder's: {error}") from None


def _tuples(value):
    return tuple(value) if isinstance(value, list) else value


def load_encoder(folder: str | Path, kind: str) -> EncoderWeights:
    """Reads what `save` wrote.

    Raises:
      InputError: a file is missing, damaged, or of other weights than `encoder.json` says.
    """
    about, path = read_description(folder, kind), Path(folder) / sources.ARRAYS
    lazy = read_arrays(path)
    expected = {
        k: tuple(a.shape) for k, a in flatten(parameter_shapes(kind, about["config"])).items()
    }
    check(_widen_half(lazy), expected, str(path))
    flat = {name: np.asarray(array) for name, array in lazy.items()}
    found = hash_encoder(kind, about["sizes"], flat)
    if found != about["hash"]:
        raise InputError(f"{path}: hash is {found}, {sources.DESCRIPTION} says {about['hash']}")
    params = nest({k: np.asarray(array) for k, array in _widen_half(flat).items()})
    return EncoderWeights(kind=kind, config=about["config"], params=params, hash=found)


def find_weights(kind: str) -> Path:
    """The folder of a kind's converted weights: the user's, else the package's.

    Where there is neither, the hub's file is converted into the user's folder.

    Raises:
      InputError: there are none, and the hub does not give them: says what to put where.
    """
    folder = sources.weights_folder(kind)
    for place in (folder, sources.BUNDLED / kind):
        if (place / sources.DESCRIPTION).exists():
            return place
    convert(kind, sources.fetch_published(kind), folder)
    return folder


def _digest(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
    return sha.hexdigest()
