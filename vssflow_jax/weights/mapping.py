"""Strict maps between published state dicts and our parameters: every tensor used once.

A map is a table: official name, our path, and how the array is turned. Layers are separate
there; here they may be stacked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from vssflow_jax.common.errors import InputError
from vssflow_jax.common.safetensors_io import ArrayLike, check, flatten, listed, nest


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the map.

    Attributes:
      official: state-dict name; `{layer}` stands for the block's number.
      path: our path below `params`.
      ours: official array -> our array.
      theirs: our array -> official array.
    """

    official: str
    path: tuple[str, ...]
    ours: Callable[[np.ndarray], np.ndarray]
    theirs: Callable[[np.ndarray], np.ndarray]

    @property
    def stacked(self) -> bool:
        """Whether our array holds all layers."""
        return "{layer}" in self.official

    def names(self, layers: int) -> list[str]:
        """Official names that this row stands for."""
        return [self.official.format(layer=layer) for layer in range(layers if self.stacked else 1)]


def import_params(
    rows: Iterable[Entry],
    layers: int,
    state: Mapping[str, ArrayLike],
    like: Mapping | None = None,
) -> dict:
    """Parameters by the rows of a map, every tensor of `state` used exactly once.

    Args:
      rows: of the map.
      layers: what `{layer}` counts to.
      state: official tensors; they are read one at a time.
      like: our parameters' shapes, which the tensors must fit; None: whatever they have.

    Raises:
      InputError: lists missing and unknown names; names tensors of another shape or type, or
        with a number in it that is not finite.
    """
    rows = list(rows)
    if like is None:
        expected = {name: None for row in rows for name in row.names(layers)}
    else:
        expected = official_shapes(rows, layers, flatten(like))
    check(state, expected, "state dict")
    return nest({"/".join(row.path): _import_array(row, layers, state) for row in rows})


def official_shapes(
    rows: Iterable[Entry], layers: int, flat: Mapping[str, ArrayLike]
) -> dict[str, tuple[int, ...]]:
    """Shapes of the official tensors that go with our arrays (or their shapes) by path."""
    shapes = {}
    for row in rows:
        ours = flat["/".join(row.path)].shape
        stand_in = np.broadcast_to(np.float32(0), ours[1:] if row.stacked else ours)
        shapes |= dict.fromkeys(row.names(layers), row.theirs(stand_in).shape)
    return shapes


def _import_array(row: Entry, layers: int, state: Mapping[str, ArrayLike]) -> np.ndarray:
    """Our array of a row; layers are read one at a time into their place."""
    if not row.stacked:
        return np.ascontiguousarray(row.ours(_read_finite(row.official, state)))
    for layer, name in enumerate(row.names(layers)):
        array = row.ours(_read_finite(name, state))
        if not layer:
            out = np.empty((layers, *array.shape), array.dtype)
        out[layer] = array
    return out


def _read_finite(name: str, state: Mapping[str, ArrayLike]) -> np.ndarray:
    array = np.asarray(state[name])
    if not np.isfinite(array).all():
        raise InputError(f"state dict: tensor {name} has NaN or infinity in it")
    return array


def export_params(rows: Iterable[Entry], layers: int, params: Mapping) -> dict[str, np.ndarray]:
    """The official state dict of our parameters, as views; the inverse of `collect`.

    Raises:
      InputError: parameters that the map does not hold, or the other way round.
    """
    flat, state = flatten(params), {}
    paths = {"/".join(row.path): row for row in rows}
    if set(paths) != set(flat):
        raise InputError(
            f"parameters: missing {listed(sorted(set(paths) - set(flat)))}, "
            f"without an official name {listed(sorted(set(flat) - set(paths)))}"
        )
    for path, row in paths.items():
        value = np.asarray(flat[path])
        if row.stacked and len(value) != layers:
            raise InputError(f"parameters: {path}: found {len(value)} layers, expected {layers}")
        for name, array in zip(row.names(layers), value if row.stacked else [value], strict=True):
            state[name] = row.theirs(array)
    return state
