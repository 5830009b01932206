"""Named arrays in safetensors files: read on demand, written one at a time.

The format (github.com/huggingface/safetensors): eight bytes with the length of a JSON header,
the header with type, shape and place of each array, the arrays. It holds no code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from vssflow_jax.common.errors import InputError, one_line
from vssflow_jax.common.files import local_copy, replacing

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
CODES = {dtype: code for code, dtype in DTYPES.items()}
HALF = ("float16", "bfloat16")
MAX_NAMES = 8  # in an error message


class ArrayLike(Protocol):
    """Shape and dtype are known without reading; `np.asarray` reads."""

    shape: tuple[int, ...]
    dtype: object

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """The numbers."""


@dataclasses.dataclass(frozen=True)
class Lazy:
    """An array in a file; `np.asarray` reads it."""

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.read()


def read_arrays(path: str | Path) -> dict[str, Lazy]:
    """The arrays of a safetensors file by name, none of them read yet.

    Raises:
      InputError: no such file, or not a whole safetensors file.
    """
    try:
        with local_copy(path) as copy:  # mapped, so that it may go
            file = safe_open(copy, framework="numpy")
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, expected a safetensors file") from None
    except SafetensorError as error:
        raise InputError(f"{path}: not a whole safetensors file: {error}") from None
    return {
        name: Lazy(
            tuple(part.get_shape()),
            DTYPES.get(part.get_dtype(), part.get_dtype()),
            functools.partial(_read_tensor, file, name, path),
        )
        for name, part in slices.items()
    }


def widen_half(arrays: Mapping[str, ArrayLike]) -> dict[str, ArrayLike]:
    """Arrays with those of half precision (float16, bfloat16) as float32, which is exact."""

    def widen(array):
        return Lazy(tuple(array.shape), "float32", lambda: np.asarray(array).astype(np.float32))

    return {k: widen(a) if str(a.dtype) in HALF else a for k, a in arrays.items()}


def _read_tensor(file, name: str, path: str | Path) -> np.ndarray:
    try:
        return file.get_tensor(name)
    except (SafetensorError, AttributeError, TypeError, ValueError) as error:  # NumPy lacks types
        raise InputError(f"{path}: tensor {name}: cannot be read: {one_line(error)}") from None


def write_arrays(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Writes a safetensors file, whole or not at all; holds one array's copy at a time.

    Not by `safetensors.serialize_file`, which wants the bytes of all arrays at once: a conversion
    would take three times the file's size in memory.
    """
    header, end = {"__metadata__": {"format": "pt"}}, 0  # without it, loaders of torch refuse
    for name, array in arrays.items():
        dtype, begin = np.dtype(array.dtype), end
        end += int(np.prod(array.shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {
            "dtype": CODES[dtype.name],
            "shape": list(array.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the arrays are aligned
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def check_arrays(
    arrays: Mapping[str, ArrayLike], expected: Mapping[str, tuple[int, ...] | None], where: str
) -> None:
    """Compares arrays with the expected names and shapes.

    Args:
      arrays: by name.
      expected: shape of each, which is then float32; None: any array.
      where: how the message begins.

    Raises:
      InputError: lists what is missing and unknown, or names arrays of another shape or type.
    """
    missing, unknown = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or unknown:
        raise InputError(
            f"{where}: missing tensors {join_first(missing)}; unknown tensors {join_first(unknown)}"
        )
    wrong = [
        f"{name} is {array.dtype} {list(array.shape)}, expected float32 {list(expected[name])}"
        for name, array in arrays.items()
        if expected[name] is not None
        and (str(array.dtype), tuple(array.shape)) != ("float32", tuple(expected[name]))
    ]
    if wrong:
        raise InputError(f"{where}: tensor {join_first(wrong, '; tensor ')}")


def join_first(words: Iterable[str], between: str = ", ") -> str:
    """The first few words, and how many more there are."""
    words = list(words)
    more = f" and {len(words) - MAX_NAMES} more" if len(words) > MAX_NAMES else ""
    return between.join(words[:MAX_NAMES]) + more if words else "none"
