"""AudioLDM's `vae/` and `vocoder/` folders, as diffusers and transformers write them.

The official name of each of our parameters is translated from its path word by word, so the map
has exactly one entry a parameter, whatever the sizes.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from vssflow_jax.codecs import audioldm
from vssflow_jax.codecs.audioldm import AudioldmCodec
from vssflow_jax.codecs.vae import Vae, VaeConfig
from vssflow_jax.codecs.vocoder import Vocoder, VocoderConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.common.safetensors_io import ArrayLike, check_arrays, write_arrays
from vssflow_jax.conditions import SAMPLE_RATE
from vssflow_jax.weights.mapping import ParamEntry, export_params, import_params
from vssflow_jax.weights.torch_files import INDEX, read_tensors
from vssflow_jax.weights.transforms import KERNEL, SAME, TRANSPOSED_CONVOLUTION

VAE_FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    f"diffusion_pytorch_model.safetensors{INDEX}",
    f"diffusion_pytorch_model.bin{INDEX}",
)
VOCODER_FILES = (
    "model.safetensors",
    "pytorch_model.bin",
    f"model.safetensors{INDEX}",
    f"pytorch_model.bin{INDEX}",
)

VAE_FIELDS = {
    "widths": "block_out_channels",
    "blocks": "layers_per_block",
    "groups": "norm_num_groups",
    "latent_channels": "latent_channels",
}
VOCODER_FIELDS = {
    "bands": "model_in_dim",
    "width": "upsample_initial_channel",
    "rates": "upsample_rates",
    "kernels": "upsample_kernel_sizes",
    "block_kernels": "resblock_kernel_sizes",
    "block_dilations": "resblock_dilation_sizes",
    "slope": "leaky_relu_slope",
    "normalize": "normalize_before",
}
# Other fields of these files, with the only values that our modules implement.
VAE_FIXED = {
    "in_channels": 1,
    "out_channels": 1,
    "act_fn": "silu",
    "mid_block_add_attention": True,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
}
VOCODER_FIXED = {"sampling_rate": SAMPLE_RATE}

VAE_WORDS = {
    "attention": "attentions.0",
    "block": "resnets",
    "from_latent": "post_quant_conv",
    "kernel": "weight",
    "key": "to_k",
    "middle": "mid_block",
    "norm": "group_norm",
    "norm_out": "conv_norm_out",
    "out": "to_out.0",
    "query": "to_q",
    "scale": "weight",
    "shortcut": "conv_shortcut",
    "to_moments": "quant_conv",
    "value": "to_v",
}
VOCODER_WORDS = {
    "block": "resblocks",
    "conv_in": "conv_pre",
    "conv_out": "conv_post",
    "dilated": "convs1",
    "kernel": "weight",
    "plain": "convs2",
    "stage": "upsampler",
}
# The attention's names in older files.
OLD_WORDS = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
# Magnitude and direction of a weight under weight norm, in older and in newer files.
WEIGHT_NORM = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


@functools.cache
def vae_shapes(config: VaeConfig) -> dict:
    """Shapes of the autoencoder's parameters; nothing is computed."""
    image = jnp.zeros((1, config.shrink, config.shrink))
    return jax.eval_shape(Vae(config).init, jax.random.key(0), image)["params"]


@functools.cache
def vocoder_shapes(config: VocoderConfig) -> dict:
    """Shapes of the vocoder's parameters; nothing is computed."""
    frame = jnp.zeros((1, 1, config.bands))
    return jax.eval_shape(Vocoder(config).init, jax.random.key(0), frame)["params"]


def vae_entries(config: VaeConfig) -> Iterator[ParamEntry]:
    """The map of the autoencoder."""
    for path, array in flatten_dict(vae_shapes(config), sep="/").items():
        way = "down" if path.startswith("encoder") else "up"
        words = {**VAE_WORDS, "level": f"{way}_blocks", "resample": f"{way}samplers.0.conv"}
        transform = KERNEL if len(array.shape) > 1 else SAME
        yield ParamEntry(translate_path(path, words), path, transform)


def vocoder_entries(config: VocoderConfig) -> Iterator[ParamEntry]:
    """The map of the vocoder, weight norm folded."""
    for path, array in flatten_dict(vocoder_shapes(config), sep="/").items():
        kernel = TRANSPOSED_CONVOLUTION if path.startswith("stage") else KERNEL
        transform = kernel if len(array.shape) > 1 else SAME
        yield ParamEntry(translate_path(path, VOCODER_WORDS), path, transform)


def translate_path(path: str, words: Mapping[str, str]) -> str:
    """`a/word_3/kernel` to `a.official.3.weight`: each word by the table, numbers kept."""
    parts = []
    for part in path.split("/"):
        word, number = re.fullmatch(r"(.*?)(?:_(\d+))?", part).groups()
        parts += [words.get(word, word), *([number] if number else [])]
    return ".".join(parts)


def vae_from_official(config: VaeConfig, state: Mapping[str, ArrayLike]) -> dict:
    """The autoencoder's parameters from AutoencoderKL's state dict; see `import_params`."""
    return import_params(vae_entries(config), 1, rename_attention(state), vae_shapes(config))


def vocoder_from_official(config: VocoderConfig, state: Mapping[str, ArrayLike]) -> dict:
    """The vocoder's parameters from SpeechT5HifiGan's state dict, with weight norm or folded."""
    return import_params(
        vocoder_entries(config), 1, fold_weight_norm(state), vocoder_shapes(config)
    )


def vae_to_official(config: VaeConfig, params: Mapping) -> dict[str, np.ndarray]:
    """The inverse of `vae_from_official`, with the newer names."""
    return export_params(vae_entries(config), 1, params)


def vocoder_to_official(config: VocoderConfig, params: Mapping) -> dict[str, np.ndarray]:
    """The inverse of `vocoder_from_official`, with folded weights."""
    return export_params(vocoder_entries(config), 1, params)


def rename_attention(state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """A state dict with the attention's newer names; where both names exist, none is renamed."""
    pattern = re.compile(rf"(\.attentions\.\d+\.)({'|'.join(OLD_WORDS)})(?=\.)")
    renamed = {}
    for name, array in state.items():
        newer = pattern.sub(lambda match: match[1] + OLD_WORDS[match[2]], name)
        renamed[name if newer in state else newer] = array
    return renamed


def fold_weight_norm(state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """A state dict without weight norm: weight = g v / |v|, the norm over all axes but the first.

    A magnitude without its direction, or one beside a plain weight, stays; `import_params` then
    lists it as unknown.

    Raises:
      InputError: names a magnitude or direction of another shape or type.
    """
    folded = dict(state)
    for magnitude, direction in WEIGHT_NORM:
        for name in (name for name in state if name.endswith(f".{direction}")):
            base = name.removesuffix(direction)
            g, v = state.get(base + magnitude), state[name]
            if g is None or base + "weight" in state:
                continue
            ones = (1,) * (len(v.shape) - 1)
            check_arrays(
                {base + magnitude: g, name: v},
                {base + magnitude: (*v.shape[:1], *ones), name: v.shape},
                "state dict",
            )
            del folded[base + magnitude], folded[name]
            folded[base + "weight"] = _fold(np.asarray(g), np.asarray(v))
    return folded


def _fold(g: np.ndarray, v: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.sum(np.float64(v) ** 2, axis=tuple(range(1, v.ndim)), keepdims=True))
    with np.errstate(invalid="ignore"):  # of a direction of zeros: NaN, an error later
        folded = (g * np.float64(v) / norm).astype(np.float32)
    # A magnitude that is the rounded norm means the direction itself, to the bit.
    return np.where((g == norm.astype(np.float32)) & (norm > 0), v, folded)


def vae_config(published: Mapping) -> VaeConfig:
    """The autoencoder's size from diffusers' `config.json`.

    Raises:
      InputError: names a field that is missing, or whose value our module does not implement.
    """
    _check_fixed(published, VAE_FIXED)
    for way, kind in (("down", "DownEncoderBlock2D"), ("up", "UpDecoderBlock2D")):
        types = published.get(f"{way}_block_types", [kind])
        if not isinstance(types, list) or set(map(str, types)) != {kind}:
            raise InputError(f"{way}_block_types: found {types!r}, expected {kind} alone")
    return audioldm.parse_config(VaeConfig, published, VAE_FIELDS)


def vocoder_config(published: Mapping) -> VocoderConfig:
    """The vocoder's size from transformers' `config.json`.

    Raises:
      InputError: names a field that is missing, or whose value our module does not implement.
    """
    _check_fixed(published, VOCODER_FIXED)
    # Transformers normalizes unless the file says otherwise.
    return audioldm.parse_config(
        VocoderConfig, {"normalize_before": True, **published}, VOCODER_FIELDS
    )


def _check_fixed(published: Mapping, fixed: Mapping) -> None:
    for key, expected in fixed.items():
        if published.get(key, expected) != expected:
            raise InputError(f"{key}: found {published[key]!r}, expected {expected!r}")


def read_vae(folder: str | Path) -> tuple[VaeConfig, dict]:
    """Size and parameters of the autoencoder in a diffusers folder; see `read_codec`."""
    folder = to_path(folder)
    config = _read_config(folder, vae_config)
    return config, _read_state(folder, VAE_FILES, vae_from_official, config)


def read_vocoder(folder: str | Path) -> tuple[VocoderConfig, dict]:
    """Size and parameters of the vocoder in a transformers folder; see `read_codec`."""
    folder = to_path(folder)
    config = _read_config(folder, vocoder_config)
    return config, _read_state(folder, VOCODER_FILES, vocoder_from_official, config)


def read_codec(folder: str | Path) -> AudioldmCodec:
    """The codec of an AudioLDM folder, which has `vae/` and `vocoder/` in it.

    Raises:
      InputError: a file is missing or damaged, a field of a config or a tensor is missing,
        unknown or not as it should be, or the two parts do not fit the log-mel. Names it.
    """
    folder = to_path(folder)
    (vae, encoder), (vocoder, generator) = (
        read_vae(folder / "vae"),
        read_vocoder(folder / "vocoder"),
    )
    try:
        audioldm.check_sizes(vae, vocoder)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None
    return AudioldmCodec(vae=encoder, vocoder=generator, vae_config=vae, vocoder_config=vocoder)


def _read_config(folder: Path, parse):
    path = folder / "config.json"
    try:
        published = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(published, dict):
            raise InputError(f"found {published!r}, expected an object")
        return parse(published)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file, expected the model's config") from None
    except (InputError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None


def _read_state(folder: Path, names: tuple[str, ...], convert, config) -> dict:
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise InputError(f"{folder}: no weights, expected {' or '.join(names[:2])}")
    tensors = read_tensors(path)
    try:
        return convert(config, tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def write_vae(config: VaeConfig, params: Mapping, folder: str | Path) -> None:
    """Writes the autoencoder as diffusers reads it.

    The scaling factor is written as 1, VSSFlow's: our codec applies none.
    """
    levels = len(config.widths)
    fields = {
        "_class_name": "AutoencoderKL",
        **VAE_FIXED,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "scaling_factor": 1.0,
    }
    tensors = vae_to_official(config, params)
    _write(to_path(folder), fields, config, VAE_FIELDS, VAE_FILES[0], tensors)


def write_vocoder(config: VocoderConfig, params: Mapping, folder: str | Path) -> None:
    """Writes the vocoder as transformers reads it, its weight norm folded."""
    fields = {"architectures": ["SpeechT5HifiGan"], "model_type": "hifigan", **VOCODER_FIXED}
    tensors = vocoder_to_official(config, params)
    _write(to_path(folder), fields, config, VOCODER_FIELDS, VOCODER_FILES[0], tensors)


def write_codec(codec: AudioldmCodec, folder: str | Path) -> None:
    """Writes `vae/` and `vocoder/` into `folder`, as diffusers and transformers read them."""
    write_vae(codec.vae_config, codec.vae, to_path(folder) / "vae")
    write_vocoder(codec.vocoder_config, codec.vocoder, to_path(folder) / "vocoder")


def _write(folder: Path, fields: dict, config, keys: dict, name: str, tensors: dict) -> None:
    sizes = {key: getattr(config, field) for field, key in keys.items()}
    write_arrays(folder / name, tensors)
    write_text(folder / "config.json", json.dumps({**fields, **sizes}, indent=2))
