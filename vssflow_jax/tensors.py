"""Tensors of published files: safetensors, or PyTorch's own with torch as an optional extra.

PyTorch files are pickles; they are read with `weights_only`, which knows tensors and plain
containers and runs nothing else.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from vssflow_jax.arrays import Lazy, read_arrays
from vssflow_jax.errors import InputError, one_line

SAFETENSORS = (".safetensors",)
PYTORCH = (".ckpt", ".pt", ".pth", ".bin")


def read_tensors(path: str | Path) -> dict[str, Lazy]:
    """Tensors of a file by name, none of them read yet.

    Args:
      path: safetensors, or PyTorch's: a Lightning checkpoint or a bare state dict.

    Raises:
      InputError: names the file, and what is wrong with it.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file, expected {SAFETENSORS[0]} or {PYTORCH[0]}")
    if path.suffix.lower() in SAFETENSORS:
        return read_arrays(path)
    if path.suffix.lower() in PYTORCH:
        return _read_pytorch(path)
    raise InputError(
        f"{path}: found the ending {path.suffix!r}, expected one of {SAFETENSORS + PYTORCH}"
    )


def _read_pytorch(path: Path) -> dict[str, Lazy]:
    try:
        import torch
    except ImportError:
        raise InputError(
            f"{path}: reading a PyTorch file needs torch, expected it installed: "
            'pip install "vssflow_jax[torch]"'
        ) from None
    try:
        mapped = zipfile.is_zipfile(path)  # files of before 2020 are none, and cannot be mapped
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # a damaged pickle may raise anything
        raise InputError(f"{path}: {_refusal(error)}") from None
    state = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(state, Mapping):
        raise InputError(f"{path}: found a {type(state).__name__}, expected a state dict")
    return {name: _lazy(path, name, tensor, torch.Tensor) for name, tensor in state.items()}


def _refusal(error: Exception) -> str:
    """What torch says about a file, in one sentence."""
    called = re.search(r"GLOBAL (\S+)", str(error))
    if called:
        return f"refused, since loading it would run {called[1]}; expected tensors alone"
    return f"not a whole PyTorch file: {one_line(error)[:200]}"


def _lazy(path: Path, name, tensor, kind: type) -> Lazy:
    if not isinstance(tensor, kind):
        raise InputError(f"{path}: {name} is a {type(tensor).__name__}, expected a tensor")
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Lazy(tuple(tensor.shape), dtype, lambda: tensor.detach().numpy())
