"""Strict maps between published state dicts and our parameters: every tensor is used once.

A map is a table: official name, our path, and the transform of the array. Layers are separate
tensors there; here they may be stacked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import ArrayLike, check_arrays, join_first
from vssflow_jax.weights.transforms import KERNEL, SAME, ParamTransform


@dataclasses.dataclass(frozen=True)
class ParamEntry:
    """One row of a map.

    Attributes:
      official: state-dict name; `{layer}` stands for the number of the layer.
      path: our path below `params`, `module/array`.
      transform: of the array.
      count: how many layers `{layer}` stands for, if not as many as in the other rows.
    """

    official: str
    path: str
    transform: ParamTransform = SAME
    count: int | None = None

    @property
    def is_stacked(self) -> bool:
        """Whether our array holds all layers."""
        return "{layer}" in self.official

    def official_names(self, layers: int) -> list[str]:
        """The state-dict names of this row: one, or one a layer."""
        if not self.is_stacked:
            return [self.official]
        count = layers if self.count is None else self.count
        return [self.official.format(layer=layer) for layer in range(count)]


def linear_entries(
    official: str, path: str, transform: ParamTransform = KERNEL, bias: bool = True
) -> Iterator[ParamEntry]:
    """Kernel and bias of a linear layer or a convolution."""
    yield ParamEntry(f"{official}.weight", f"{path}/kernel", transform)
    if bias:
        yield ParamEntry(f"{official}.bias", f"{path}/bias")


def norm_entries(official: str, path: str) -> Iterator[ParamEntry]:
    """Scale and bias of a layer norm."""
    yield ParamEntry(f"{official}.weight", f"{path}/scale")
    yield ParamEntry(f"{official}.bias", f"{path}/bias")


def batch_norm_entries(official: str, path: str) -> Iterator[ParamEntry]:
    """Scale, bias and statistics of a batch norm."""
    yield from norm_entries(official, path)
    yield ParamEntry(f"{official}.running_mean", f"{path}/mean")
    yield ParamEntry(f"{official}.running_var", f"{path}/variance")


def import_params(
    entries: Iterable[ParamEntry],
    layers: int,
    state: Mapping[str, ArrayLike],
    shapes: Mapping | None = None,
) -> dict:
    """Our parameters from an official state dict, every tensor of which is used exactly once.

    Args:
      entries: the map.
      layers: number of layers that `{layer}` stands for.
      state: official tensors; they are read one at a time.
      shapes: our parameters' shapes, which the tensors must fit; None: any shapes.

    Raises:
      InputError: lists missing and unknown names; names tensors of another shape or type, or
        with a number in it that is not finite.
    """
    entries = list(entries)
    if shapes is None:
        expected = {name: None for entry in entries for name in entry.official_names(layers)}
    else:
        expected = official_shapes(entries, layers, flatten_dict(shapes, sep="/"))
    check_arrays(state, expected, "state dict")
    arrays = {entry.path: _import_array(entry, layers, state) for entry in entries}
    return unflatten_dict(arrays, sep="/")


def official_shapes(
    entries: Iterable[ParamEntry], layers: int, flat: Mapping[str, ArrayLike]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the official tensors that go with our arrays (or their shapes) by path."""
    shapes = {}
    for entry in entries:
        shape = flat[entry.path].shape
        stand_in = np.broadcast_to(np.float32(0), shape[1:] if entry.is_stacked else shape)
        official_shape = entry.transform.to_official(stand_in).shape
        shapes |= dict.fromkeys(entry.official_names(layers), official_shape)
    return shapes


def _import_array(entry: ParamEntry, layers: int, state: Mapping[str, ArrayLike]) -> np.ndarray:
    """Our array of an entry; layers are read one at a time into their place."""
    if not entry.is_stacked:
        return np.ascontiguousarray(entry.transform.to_ours(_read_finite(entry.official, state)))
    names = entry.official_names(layers)
    for layer, name in enumerate(names):
        array = entry.transform.to_ours(_read_finite(name, state))
        if not layer:
            stacked = np.empty((len(names), *array.shape), array.dtype)
        stacked[layer] = array
    return stacked


def _read_finite(name: str, state: Mapping[str, ArrayLike]) -> np.ndarray:
    array = np.asarray(state[name])
    if not np.isfinite(array).all():
        raise InputError(f"state dict: tensor {name} has NaN or infinity in it")
    return array


def export_params(
    entries: Iterable[ParamEntry], layers: int, params: Mapping
) -> dict[str, np.ndarray]:
    """The official state dict of our parameters, as views; the inverse of `import_params`.

    Raises:
      InputError: parameters that the map does not have, or the other way round.
    """
    flat, state = flatten_dict(params, sep="/"), {}
    by_path = {entry.path: entry for entry in entries}
    if set(by_path) != set(flat):
        raise InputError(
            f"parameters: missing {join_first(sorted(set(by_path) - set(flat)))}, "
            f"without an official name {join_first(sorted(set(flat) - set(by_path)))}"
        )
    for path, entry in by_path.items():
        array = np.asarray(flat[path])
        names = entry.official_names(layers)
        if entry.is_stacked and len(array) != len(names):
            raise InputError(
                f"parameters: {path}: found {len(array)} layers, expected {len(names)}"
            )
        parts = array if entry.is_stacked else [array]
        for name, part in zip(names, parts, strict=True):
            state[name] = entry.transform.to_official(part)
    return state
