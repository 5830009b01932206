"""The device mesh, and where parameters and batches lie on it.

Axes: `data` splits the batch, `fsdp` the batch and the parameters, `tensor` heads and
hidden widths. Parameters are placed by one table of path patterns, activations by another.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import flax.linen as nn
import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from vssflow_jax.common.errors import InputError
from vssflow_jax.data.pipeline import HOST_KEYS

AXES = ("data", "fsdp", "tensor")
BATCH_SPEC = P(("data", "fsdp"))

# Path pattern -> axes of the array's last dimensions; the first match counts. A leading
# axis of stacked layers is never split.
PARAMETER_SPECS = (
    (r"durations/", ()),  # too small to be worth it
    (r"(query|key|value)/kernel$", ("fsdp", "tensor", None)),  # [in, heads, h]
    (r"(attention|cross)/out/kernel$", ("tensor", None, "fsdp")),  # [heads, h, out]
    (r"feed_forward/in/kernel$", ("fsdp", "tensor")),
    (r"feed_forward/out/kernel$", ("tensor", "fsdp")),
    (r"kernel$", ("fsdp", None)),
    (r"", ()),
)

# Path pattern of a module -> where its output lies. Without it the compiler may split channels
# as the fsdp axis splits the parameters, instead of gathering those.
ACTIVATION_SPECS = (
    (r"(query|key|value)$", P(*BATCH_SPEC, None, "tensor", None)),  # [B, T, heads, h]
    (r"feed_forward/in$", P(*BATCH_SPEC, None, "tensor")),  # [B, T, hidden]
    (r"", BATCH_SPEC),
)


def make_mesh(sizes: Mapping[str, int], devices=None) -> Mesh:
    """A mesh of `devices` (None: all), in the order of `arrange_devices`."""
    grid = arrange_devices(sizes, jax.devices() if devices is None else list(devices))
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def arrange_devices(sizes: Mapping[str, int], devices: Sequence) -> np.ndarray:
    """Devices [data, fsdp, tensor], those that talk most next to each other on their network.

    Args:
      sizes: by axis, of which one may be -1 (what is left), and `slices`: groups of devices with a
        faster network inside than between them. The data axis runs across slices, the others
        inside; 0, or none: the slices that the devices name.
      devices: all.

    Raises:
      InputError: the sizes do not multiply to the number of devices, or do not fit the slices.
    """
    data, *others = _mesh_shape({axis: sizes[axis] for axis in AXES}, len(devices))
    slices = split_slices(devices, sizes.get("slices", 0))
    if data % len(slices):
        raise InputError(
            f"mesh.data: found {data}, expected a multiple of the {len(slices)} slices"
        )
    shape = (data // len(slices), *others)
    grids = [
        mesh_utils.create_device_mesh(shape, part, allow_split_physical_axes=True)
        for part in slices
    ]
    return np.concatenate(grids)


def _mesh_shape(sizes: Mapping[str, int], count: int) -> list[int]:
    """Sizes of the axes for `count` devices, -1 replaced; raises as `make_mesh` does."""
    shape = list(sizes.values())
    fixed = math.prod(size for size in shape if size != -1)
    if shape.count(-1) > 1 or any(size < 1 and size != -1 for size in shape):
        raise InputError(
            f"mesh: found {sizes}, expected sizes of at least 1, at most one of them -1"
        )
    if -1 in shape and count % fixed == 0:
        shape[shape.index(-1)] = count // fixed
    if math.prod(shape) != count:
        raise InputError(
            f"mesh: found {sizes}, which needs {abs(math.prod(shape))} devices or a multiple, "
            f"expected sizes for {count} devices"
            if -1 in shape
            else f"mesh: found {sizes}, which is for {math.prod(shape)} devices, expected sizes "
            f"for {count} devices"
        )
    return shape


def split_slices(devices: Sequence, count: int) -> list[list]:
    """Devices by slice, in order.

    Args:
      devices: all.
      count: of slices; 0: as many as the devices name. Devices that name none, such as GPUs, are
        split in their order, so that a slice is one or several hosts.

    Raises:
      InputError: the devices name another number of slices, or cannot be split into so many.
    """
    named: dict[int, list] = {}
    for device in devices:
        named.setdefault(getattr(device, "slice_index", None) or 0, []).append(device)
    if len(named) > 1 or not count:
        if count not in (0, len(named)):
            raise InputError(
                f"mesh.slices: found {count}, expected {len(named)}, as many as the devices have"
            )
        return [named[index] for index in sorted(named)]
    if len(devices) % count:
        raise InputError(
            f"mesh.slices: found {count}, expected a divisor of the {len(devices)} devices"
        )
    size = len(devices) // count
    return [list(devices[first : first + size]) for first in range(0, len(devices), size)]


def _divides(mesh: Mesh, axis: str | None, size: int) -> bool:
    return axis is not None and size % mesh.shape[axis] == 0


def parameter_spec(path: str, shape: tuple[int, ...], mesh: Mesh) -> P:
    """Where an array lies; a dimension that its axis does not divide is not split."""
    axes = next(axes for pattern, axes in PARAMETER_SPECS if re.search(pattern, path))
    axes = axes[: len(shape)]
    lead = len(shape) - len(axes)
    placed = [
        axis if _divides(mesh, axis, size) else None
        for axis, size in zip(axes, shape[lead:], strict=True)
    ]
    return P(*[None] * lead, *placed)


def make_shardings(tree, mesh: Mesh):
    """NamedShardings for a pytree of arrays or shapes, by the paths of its leaves."""

    def place(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return NamedSharding(mesh, parameter_spec(name, leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(place, tree)


def batch_multiple(config, mesh: Mesh) -> int:
    """What a batch is a multiple of: parts of it, over all devices that split it."""
    return mesh.shape["data"] * mesh.shape["fsdp"] * config.train.grad_accumulation


def check_config(config, mesh: Mesh) -> None:
    """Raises an InputError unless batch and heads split evenly over the mesh."""
    batch, parts = config.data.batch_size, config.train.grad_accumulation
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    if parts < 1:
        raise InputError(f"train.grad_accumulation: found {parts}, expected at least 1")
    if batch < 1 or batch % batch_multiple(config, mesh):
        raise InputError(
            f"data.batch_size: found {batch}, expected a multiple of "
            f"{batch_multiple(config, mesh)} "
            f"(mesh data {data} x fsdp {fsdp} x train.grad_accumulation {parts})"
        )
    if config.model.heads % tensor:
        raise InputError(
            f"mesh.tensor: found {tensor}, expected a divisor of model.heads {config.model.heads}"
        )


def constrain(tree, mesh: Mesh | None, spec: P = BATCH_SPEC):
    """Constrains arrays to a placement; dimensions that their axes do not divide are not split."""

    def place(array):
        placed = [
            axes if array.shape[i] % math.prod(mesh.shape[a] for a in _names(axes)) == 0 else None
            for i, axes in enumerate(spec[: array.ndim])
        ]
        return jax.lax.with_sharding_constraint(array, NamedSharding(mesh, P(*placed)))

    return tree if mesh is None or mesh.size == 1 else jax.tree.map(place, tree)


def _names(axes) -> tuple[str, ...]:
    return axes if isinstance(axes, tuple) else (axes,) if axes else ()


def constrain_activations(mesh: Mesh | None):
    """A context in which the activations of the network are constrained to their placement."""
    if mesh is None or mesh.size == 1:
        return contextlib.nullcontext()

    def intercept(call, args, kwargs, context):
        out = call(*args, **kwargs)
        if context.method_name != "__call__" or not isinstance(out, jax.Array):
            return out
        path = "/".join(context.module.path)
        return constrain(
            out, mesh, next(s for pattern, s in ACTIVATION_SPECS if re.search(pattern, path))
        )

    return nn.intercept_methods(intercept)


def name_tpu_mesh(mesh: Mesh | None):
    """A context in which what is traced knows the mesh, if it is one of TPUs.

    Kernels for TPUs need it: the compiler cannot split them over devices.
    """
    if mesh is None or mesh.devices.flat[0].platform != "tpu":
        return contextlib.nullcontext()
    return jax.sharding.use_abstract_mesh(mesh.abstract_mesh)


def local_rows(batch_size: int, mesh: Mesh) -> list[int]:
    """Which rows of a batch this process reads: those that its devices hold, in order."""
    return merge_rows(_device_rows(batch_size, mesh).values())


def _device_rows(batch_size: int, mesh: Mesh) -> dict[jax.Device, range]:
    """The rows of a batch on each device of this process."""
    places = NamedSharding(mesh, BATCH_SPEC).addressable_devices_indices_map((batch_size,))
    return {device: range(*index[0].indices(batch_size)) for device, index in places.items()}


def merge_rows(device_rows: Iterable[range]) -> list[int]:
    """All rows of some devices, which may share some and need not be neighbors."""
    return sorted({row for rows in device_rows for row in rows})


def place_batch(batch, mesh: Mesh, batch_size: int | None = None):
    """Puts this process' rows of a batch on its devices: host arrays -> global arrays.

    Args:
      batch: of the pipeline, the rows of `local_rows`; what only the host reads is left out.
      mesh: the devices.
      batch_size: rows over all processes; None: there is one process.

    Raises:
      ValueError: an array has another number of rows than `local_rows`.
    """
    arrays = {name: array for name, array in batch.items() if name not in HOST_KEYS}
    sharding = NamedSharding(mesh, BATCH_SPEC)
    if batch_size is None:
        batch_size = len(jax.tree.leaves(arrays)[0])
    device_rows = _device_rows(batch_size, mesh)
    rows = merge_rows(device_rows.values())
    first = {row: place for place, row in enumerate(rows)}
    parts = [slice(first[r[0]], first[r[0]] + len(r)) for r in device_rows.values()]

    def place(array):
        if len(array) != len(rows):
            raise ValueError(f"batch: found {len(array)} rows, expected the {len(rows)} of {rows}")
        pieces = jax.device_put([array[part] for part in parts], list(device_rows))
        shape = (batch_size, *array.shape[1:])
        return jax.make_array_from_single_device_arrays(shape, sharding, pieces)

    return jax.tree.map(place, arrays)
