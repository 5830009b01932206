"""What kernels for TPUs have in common: where they run, on what part of a batch, at what cost."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LANES = 128  # numbers in a row of a vector register
# Starts of JAX's names of devices with enough fast memory: v5p has 64 MiB, v4 has 16.
DEVICE_KINDS = ("TPU v5", "TPU v6", "TPU7")
VMEM_LIMIT = 60 * 2**20  # bytes of fast memory that a kernel may use
MAX_TOKENS = 1024  # of a clip: kernels hold all of them, attention also their scores


def runs_on_tpus(dtype: jnp.dtype = jnp.bfloat16) -> bool:
    """Whether what is traced now is a computation in bfloat16 on a mesh of TPUs that have room.

    The training step names the mesh (`training.sharding.name_tpu_mesh`).
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return dtype == jnp.bfloat16 and device is not None and is_large_tpu(device)


def is_large_tpu(device) -> bool:
    """Whether a device is a TPU with the fast memory that kernels take."""
    return device.platform == "tpu" and device.device_kind.startswith(DEVICE_KINDS)


def run_on_shards(kernel: Callable, inputs: Sequence[jax.Array], in_specs, out_specs):
    """Runs a kernel on each device's part of its inputs, which the compiler cannot split.

    Without a mesh of several devices it runs on the arrays as they are.

    Args:
      kernel: of as many arrays as there are inputs.
      inputs: arrays.
      in_specs: where each input lies.
      out_specs: where each result lies.
    """
    mesh, in_specs, out_specs = jax.sharding.get_abstract_mesh(), tuple(in_specs), tuple(out_specs)
    if mesh.empty or mesh.size == 1:
        return kernel(*inputs)
    return jax.shard_map(kernel, in_specs=in_specs, out_specs=out_specs, check_vma=False)(*inputs)


def dot(a: jax.Array, b: jax.Array, axis_a: int, axis_b: int) -> jax.Array:
    """The product of two matrices, summed over one axis of each in float32."""
    contracted = (((axis_a,), (axis_b,)), ((), ()))
    return lax.dot_general(a, b, contracted, preferred_element_type=jnp.float32)


def call_kernel(
    kernel: Callable,
    inputs: Sequence[jax.Array],
    *,
    grid: tuple[int, ...],
    in_specs: Sequence[pl.BlockSpec],
    out_shape: Sequence[jax.ShapeDtypeStruct],
    out_specs: Sequence[pl.BlockSpec],
    flops: int,
    name: str,
    scratch_shapes: Sequence = (),
):
    """`pl.pallas_call` that declares its cost, which the compiler cannot see.

    Where no mesh of TPUs is named, the kernel runs as plain JAX.

    Args:
      kernel: of the references to inputs, outputs and scratch memory.
      inputs: arrays.
      grid: programs, which run one after another.
      in_specs: block of each input that a program takes.
      out_shape: results.
      out_specs: block of each result that a program writes.
      flops: products and sums of the matrix products.
      name: in the compiled program.
      scratch_shapes: memory that programs share.
    """
    blocks = [*zip(in_specs, inputs, strict=True), *zip(out_specs, out_shape, strict=True)]
    moved = sum(count_moves(grid, spec) * _block_bytes(spec, array) for spec, array in blocks)
    return pl.pallas_call(
        kernel,
        grid=grid,
        in_specs=in_specs,
        out_specs=out_specs,
        out_shape=out_shape,
        scratch_shapes=scratch_shapes,
        cost_estimate=pl.CostEstimate(flops=flops, transcendentals=0, bytes_accessed=moved),
        compiler_params=pltpu.CompilerParams(vmem_limit_bytes=VMEM_LIMIT),
        interpret=not runs_on_tpus(),
        name=name,
    )(*inputs)


def count_moves(grid: tuple[int, ...], spec: pl.BlockSpec) -> int:
    """How often a block is moved: whenever a program needs another one than the program before."""
    blocks = [spec.index_map(*program) for program in itertools.product(*map(range, grid))]
    return 1 + sum(block != before for before, block in itertools.pairwise(blocks))


def _block_bytes(spec: pl.BlockSpec, array) -> int:
    return math.prod(spec.block_shape) * jnp.dtype(array.dtype).itemsize
