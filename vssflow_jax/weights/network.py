"""Conversion of the network: an official checkpoint to a folder like a run's, and back.

The folder contains `weights.safetensors` (our parameters under their paths), `statistics.json`
and `config.json`. With a codec in its `codec/` it is sampled like a run; training starts from it
with `train.init_from`.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path

from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from vssflow_jax import conditions
from vssflow_jax.common.errors import InputError
from vssflow_jax.common.files import to_path, write_text
from vssflow_jax.common.safetensors_io import write_arrays
from vssflow_jax.models import duration_model, vssflow
from vssflow_jax.training import checkpoint
from vssflow_jax.weights import vssflow_names
from vssflow_jax.weights.torch_files import find_state, read_tensors

OFFICIAL = "vssflow.safetensors"  # name of the file where a folder was given


def convert(src: str | Path, out: str | Path, config: ConfigDict) -> str:
    """Official checkpoint `src` to the folder `out`, for the model of `config`; see `find_state`.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: names the file or tensor; nothing is written then.
    """
    out, src = to_path(out), find_state(src)
    tensors = read_tensors(src)
    refuse_run(out)
    model = vssflow.build_model(config, config.codec.channels)
    try:
        params = flatten_dict(vssflow_names.from_official(model, tensors), sep="/")
    except InputError as error:
        raise InputError(f"{src}: {error}") from None
    rates = {condition.name: condition.rate for condition in conditions.CONDITIONS}
    statistics = {"phoneme_durations": {}, "rates": rates}
    write_arrays(out / checkpoint.WEIGHTS_FILE, params)
    write_text(out / "statistics.json", json.dumps(statistics, indent=1))
    write_text(out / "config.json", config.to_json(indent=1))
    count = sum(array.size for array in params.values())
    return f"{out}: {count:,} parameters{_describe_frozen(tensors)}"


def revert(src: str | Path, out: str | Path) -> str:
    """Weights of the folder `src`, a run's or a conversion's, to an official state dict.

    Args:
      src: the folder.
      out: a safetensors file, or a folder for one.

    Returns:
      What was done, in a sentence.

    Raises:
      InputError: no weights there, or parameters that the official code has no name for.
    """
    out = to_path(out) if to_path(out).suffix else to_path(out) / OFFICIAL
    if out.suffix != ".safetensors":
        raise InputError(f"--out={out}: found the ending {out.suffix!r}, expected '.safetensors'")
    params = dict(checkpoint.load_weights(src)[0])
    durations = params.pop(duration_model.PARAMS_KEY, None)  # not part of the official model
    config = checkpoint.read_config(src)
    model = vssflow.build_model(config, config.codec.channels)
    try:
        state = vssflow_names.to_official(model, params)
    except InputError as error:
        raise InputError(f"{src}: {error}") from None
    write_arrays(out, state)
    left_out = "; left out: the duration model" if durations else ""
    return f"{out}: {sum(array.size for array in state.values()):,} parameters{left_out}"


def refuse_run(folder: Path) -> None:
    """Raises an InputError if the folder contains a run, which a conversion would overwrite."""
    if (folder / checkpoint.FOLDER).exists():
        raise InputError(f"--out={folder}: found a run in it, expected a folder without one")


def _describe_frozen(tensors) -> str:
    """Which tensors of an official checkpoint belong to models with conversions of their own."""
    counts = collections.Counter(
        name.split(".")[0] for name in tensors if name.startswith(vssflow_names.FROZEN)
    )
    listed = ", ".join(f"{name} ({count} tensors)" for name, count in sorted(counts.items()))
    return f"; left out: {listed}" if listed else ""
