"""The device mesh, and where parameters and batches lie on it.

Axes: `data` splits the batch, `fsdp` the batch and the parameters, `tensor` heads and
hidden widths. Parameters are placed by one table of path patterns.
"""

from __future__ import annotations

import math
import re

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vssflow_jax.errors import InputError

AXES = ("data", "fsdp", "tensor")
BATCH = P(("data", "fsdp"))

# Path pattern -> axes of the array's last dimensions; the first match counts. A leading
# axis of stacked layers is never split.
PARAMETERS = (
    (r"(query|key|value)/kernel$", ("fsdp", "tensor", None)),  # [in, heads, h]
    (r"(attention|cross)/out/kernel$", ("tensor", None, "fsdp")),  # [heads, h, out]
    (r"feed_forward/in/kernel$", ("fsdp", "tensor")),
    (r"feed_forward/out/kernel$", ("tensor", "fsdp")),
    (r"kernel$", ("fsdp", None)),
    (r"", ()),
)


def make_mesh(sizes: dict[str, int], devices=None) -> Mesh:
    """A mesh of all devices: `sizes` by axis, of which one may be -1 (what is left).

    Raises:
      InputError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    shape = [sizes[axis] for axis in AXES]
    fixed = math.prod(size for size in shape if size != -1)
    if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
        raise InputError(
            f"mesh: found {sizes}, expected sizes of at least 1, at most one of them -1"
        )
    if -1 in shape and len(devices) % fixed == 0:
        shape[shape.index(-1)] = len(devices) // fixed
    if math.prod(shape) != len(devices):
        raise InputError(
            f"mesh: found {sizes} for {len(devices)} devices, whose product it must be"
        )
    grid = np.asarray(devices).reshape(shape)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _divides(mesh: Mesh, axis: str | None, size: int) -> bool:
    return axis is not None and size % mesh.shape[axis] == 0


def parameter_spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """Where an array lies; a dimension that its axis does not divide is not split."""
    axes = next(axes for pattern, axes in PARAMETERS if re.search(pattern, path))
    axes = axes[: len(shape)]
    lead = len(shape) - len(axes)
    placed = [
        axis if _divides(mesh, axis, size) else None
        for axis, size in zip(axes, shape[lead:], strict=True)
    ]
    return P(*[None] * lead, *placed)


def shardings(tree, mesh: Mesh):
    """NamedShardings for a pytree of arrays or shapes, by the paths of its leaves."""

    def place(path, leaf):
        name = "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)
        return NamedSharding(mesh, parameter_spec(name, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(place, tree)


def check_batch(batch_size: int, mesh: Mesh) -> None:
    """Raises an InputError unless the batch splits evenly over the mesh."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % parts:
        raise InputError(
            f"data.batch_size: found {batch_size}, expected a multiple of {parts} "
            f"(mesh data {mesh.shape['data']} x fsdp {mesh.shape['fsdp']})"
        )


def place_batch(batch, mesh: Mesh):
    """Puts this process' rows of a batch on its devices: host arrays -> global arrays."""
    sharding = NamedSharding(mesh, BATCH)
    return jax.tree.map(
        lambda array: jax.make_array_from_process_local_data(sharding, array), batch
    )
