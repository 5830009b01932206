"""Oobleck's published files: diffusers' AutoencoderOobleck and stable-audio-tools' names.

Sizes follow from the tensors; `config.json` (or `model_config.json`) beside them gives the sample
rate. Weight norm is folded; writing gives it back with directions that are the weights.
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

from vssflow_jax.codecs import oobleck
from vssflow_jax.codecs.oobleck import Decoder, Encoder, OobleckCodec, OobleckConfig
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.common.safetensors_io import ArrayLike, widen_half, write_arrays
from vssflow_jax.weights.audioldm import fold_weight_norm, translate_path
from vssflow_jax.weights.mapping import ParamEntry, export_params, import_params
from vssflow_jax.weights.torch_files import INDEX, read_tensors
from vssflow_jax.weights.transforms import KERNEL, SAME, TRANSPOSED_CONVOLUTION, reshaping

FILES = (
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.bin",
    "model.safetensors",
    "model.ckpt",
    f"diffusion_pytorch_model.safetensors{INDEX}",
    f"model.safetensors{INDEX}",
)
CONFIGS = {"config.json": "sampling_rate", "model_config.json": "sample_rate"}
PREFIX = "pretransform.model."  # of the autoencoder in Stable Audio Open's single file
UNIT_LAYERS = ("snake1", "conv1", "snake2", "conv2")
BLOCK_LAYERS = {
    "encoder": ("res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"),
    "decoder": ("snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"),
}


@functools.cache
def oobleck_shapes(config: OobleckConfig) -> dict:
    """Shapes of the parameters; nothing is computed."""
    wave = jnp.zeros((1, config.hop, config.audio_channels))
    latent = jnp.zeros((1, 1, config.latent_channels))
    key = jax.random.key(0)
    return {
        "encoder": jax.eval_shape(Encoder(config).init, key, wave)["params"],
        "decoder": jax.eval_shape(Decoder(config).init, key, latent)["params"],
    }


def oobleck_entries(config: OobleckConfig) -> Iterator[ParamEntry]:
    """The map of names, weight norm folded."""
    for path, array in flatten_dict(oobleck_shapes(config), sep="/").items():
        official = translate_path(path, {"kernel": "weight"})
        if path.endswith(("alpha", "beta")):
            width = array.shape[0]
            transform = reshaping((1, width, 1), (width,))
        elif path.endswith("conv_t1/kernel"):
            transform = TRANSPOSED_CONVOLUTION
        else:
            transform = KERNEL if len(array.shape) > 1 else SAME
        yield ParamEntry(official, path, transform)


def oobleck_from_official(config: OobleckConfig, state: Mapping[str, ArrayLike]) -> dict:
    """Parameters `encoder` and `decoder` from a state dict with diffusers' names."""
    folded = fold_weight_norm(widen_half(state))
    return import_params(oobleck_entries(config), 1, folded, oobleck_shapes(config))


def oobleck_to_official(codec: OobleckCodec) -> dict[str, np.ndarray]:
    """The inverse, with weight norm: directions are the weights, magnitudes their norms."""
    params = {"encoder": codec.encoder, "decoder": codec.decoder}
    state: dict[str, np.ndarray] = {}
    for name, array in export_params(oobleck_entries(codec.config), 1, params).items():
        if not name.endswith(".weight"):
            state[name] = array
            continue
        base = name.removesuffix("weight")
        axes = tuple(range(1, array.ndim))
        norm = np.sqrt(np.sum(np.float64(array) ** 2, axis=axes, keepdims=True))
        state |= {f"{base}weight_g": norm.astype(np.float32), f"{base}weight_v": array}
    return state


def infer_config(state: Mapping[str, ArrayLike], sample_rate: int) -> OobleckConfig:
    """Sizes of a state dict with diffusers' names.

    Raises:
      InputError: names a tensor that is missing, or sizes that do not fit.
    """
    shapes = {
        re.sub(r"\.(weight_v|weight)$", "", name): tuple(array.shape)
        for name, array in state.items()
        if name.endswith((".weight_v", ".weight"))
    }
    try:
        width, audio_channels, _ = shapes["encoder.conv1"]
        numbers = [
            int(match[1])
            for name in shapes
            if (match := re.fullmatch(r"encoder\.block\.(\d+)\.conv1", name))
        ]
        blocks = [shapes[f"encoder.block.{k}.conv1"] for k in range(len(numbers))]
        latent = shapes["decoder.conv1"][1]
        decoder_width = shapes["decoder.conv2"][1]
    except KeyError as error:
        raise InputError(f"found no tensor {error.args[0]}, expected those of Oobleck") from None
    try:
        return OobleckConfig(
            width=width,
            decoder_width=decoder_width,
            ratios=tuple(kernel // 2 for _, _, kernel in blocks),
            multiples=tuple(out // width for out, _, _ in blocks),
            latent_channels=latent,
            audio_channels=audio_channels,
            sample_rate=sample_rate,
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def rename_tools(state: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """A state dict of stable-audio-tools with diffusers' names; others unchanged."""
    if any(name.startswith(PREFIX) for name in state):
        state = {k.removeprefix(PREFIX): a for k, a in state.items() if k.startswith(PREFIX)}
    if not any(re.match(r"(encoder|decoder)\.layers\.", name) for name in state):
        return dict(state)
    ends = {
        part: max(int(n.split(".")[2]) for n in state if n.startswith(f"{part}.layers."))
        for part in BLOCK_LAYERS
    }
    return {
        _rename(name, ends): _add_axes(array) if name.endswith(("alpha", "beta")) else array
        for name, array in state.items()
    }


def _rename(name: str, ends: Mapping[str, int]) -> str:
    """diffusers' name of a tensor of stable-audio-tools; `ends`: number of each last layer."""
    match = re.fullmatch(r"(encoder|decoder)\.layers\.(\d+)\.(.*)", name)
    if match is None:
        return name
    part, layer, rest = match[1], int(match[2]), match[3]
    outer = {0: "conv1", ends[part] - 1: "snake1", ends[part]: "conv2"}
    if layer in outer:
        return f"{part}.{outer[layer]}.{rest}"
    words = [f"{part}.block.{layer - 1}"]
    for names in (BLOCK_LAYERS[part], UNIT_LAYERS):
        inner = re.fullmatch(r"layers\.(\d+)\.(.*)", rest)
        if inner is None or int(inner[1]) >= len(names):
            break
        words.append(names[int(inner[1])])
        rest = inner[2]
    return ".".join([*words, rest])


def _add_axes(array: ArrayLike) -> np.ndarray:
    return np.asarray(array).reshape(1, -1, 1)


def read_oobleck(src: str | Path) -> OobleckCodec:
    """The codec in a published folder, or in a file with its config beside it.

    Raises:
      InputError: no weights or config there, a config without a sample rate, or tensors that are
        missing, unknown or of other shapes.
    """
    path = to_path(src)
    if path.is_dir():
        files = [path / name for name in FILES if (path / name).exists()]
        if not files:
            raise InputError(f"{path}: no weights, expected {' or '.join(FILES[:3])}")
        path = files[0]
    sample_rate = _read_sample_rate(path.parent)
    state = rename_tools(read_tensors(path))
    try:
        config = infer_config(state, sample_rate)
        oobleck.check_size(config)
        params = oobleck_from_official(config, state)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return OobleckCodec(config=config, **params)


def _read_sample_rate(folder: Path) -> int:
    for name, key in CONFIGS.items():
        path = folder / name
        if not path.exists():
            continue
        try:
            rate = json.loads(path.read_text(encoding="utf-8"))[key]
        except (ValueError, KeyError, TypeError):
            rate = None
        if not isinstance(rate, int) or isinstance(rate, bool) or rate <= 0:
            raise InputError(f"{path}, {key}: found {rate!r}, expected samples a second")
        return rate
    raise InputError(f"{folder}: found no {' or '.join(CONFIGS)}, expected the model's config")


def write_oobleck(codec: OobleckCodec, folder: str | Path) -> None:
    """Writes the autoencoder as diffusers reads it."""
    config, folder = codec.config, to_path(folder)
    sizes = {
        "_class_name": "AutoencoderOobleck",
        "audio_channels": config.audio_channels,
        "channel_multiples": list(config.multiples),
        "decoder_channels": config.decoder_width,
        "decoder_input_channels": config.latent_channels,
        "downsampling_ratios": list(config.ratios),
        "encoder_hidden_size": config.width,
        "sampling_rate": config.sample_rate,
    }
    write_arrays(folder / FILES[0], oobleck_to_official(codec))
    write_text(folder / "config.json", json.dumps(sizes, indent=2))
