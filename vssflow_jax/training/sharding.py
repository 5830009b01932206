"""The device mesh, and where parameters and batches lie on it.

Axes: `data` splits the batch, `fsdp` the batch and the parameters, `tensor` heads and
hidden widths. Parameters are placed by one table of path patterns, activations by another.
"""

from __future__ import annotations

import contextlib
import math
import re

import flax.linen as nn
import jax
import numpy as np
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
            f"mesh: found {sizes}, which needs {abs(math.prod(shape))} devices or a multiple, "
            f"expected sizes for {len(devices)} devices"
            if -1 in shape
            else f"mesh: found {sizes}, which is for {math.prod(shape)} devices, expected sizes "
            f"for {len(devices)} devices"
        )
    grid = np.asarray(devices).reshape(shape)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


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


def check_config(config, mesh: Mesh) -> None:
    """Raises an InputError unless batch and heads split evenly over the mesh."""
    batch, parts = config.data.batch_size, config.train.grad_accumulation
    data, fsdp, tensor = (mesh.shape[axis] for axis in AXES)
    if parts < 1:
        raise InputError(f"train.grad_accumulation: found {parts}, expected at least 1")
    if batch < 1 or batch % (data * fsdp * parts):
        raise InputError(
            f"data.batch_size: found {batch}, expected a multiple of {data * fsdp * parts} "
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


def local_rows(batch_size: int, mesh: Mesh) -> range:
    """Which rows of a batch this process reads: those that its devices hold."""
    places = NamedSharding(mesh, BATCH_SPEC).addressable_devices_indices_map((batch_size,))
    bounds = [index[0].indices(batch_size)[:2] for index in places.values()]
    return range(min(low for low, _ in bounds), max(high for _, high in bounds))


def place_batch(batch, mesh: Mesh, batch_size: int | None = None):
    """Puts this process' rows of a batch on its devices: host arrays -> global arrays.

    Args:
      batch: of the pipeline; what only the host reads is left out.
      mesh: the devices.
      batch_size: rows over all processes; None: there is one process.
    """
    sharding = NamedSharding(mesh, BATCH_SPEC)

    def place(array):
        rows = len(array) if batch_size is None else batch_size
        shape = (rows, *array.shape[1:])
        return jax.make_array_from_process_local_data(sharding, array, shape)

    return jax.tree.map(place, {name: x for name, x in batch.items() if name not in HOST_KEYS})
