"""Attention for TPUs: kernels that hold the scores of a few heads in fast memory.

Heads lie side by side on the channels, [B, T, H h]. A program of a kernel takes those of one clip
that together fill the lanes of a vector, with all tokens, and rotates them itself, so that nothing
but queries, keys, values and the result moves from and to the main memory. The backward pass
computes the scores again. `attention.attend` is the reference.

Legend: B clips, T tokens, M context rows, H query heads, K key/value heads, G = H / K query heads
that share a key/value head, h channels of a head.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from vssflow_jax.models.rotary import rotary_table
from vssflow_jax.models.tpu_kernels import LANES, MAX_TOKENS, call_kernel, dot, run_on_shards

SPEC = jax.P(("data", "fsdp"), None, "tensor")  # of queries, keys, values and results


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heads:
    """How channels are heads.

    Attributes:
      dim: h.
      rotate_query: give queries their positions.
      rotate_key: give keys theirs.
    """

    dim: int
    rotate_query: bool = True
    rotate_key: bool = True

    @property
    def in_block(self) -> int:
        """Key/value heads of a program: as few as fill whole vectors."""
        return max(LANES // self.dim, 1)


def fits_attention(kv_heads: int, dim: int, rows: int) -> bool:
    """Whether the kernels take heads of this number and size: in whole vectors.

    Args:
      kv_heads: key/value heads of a device.
      dim: h.
      rows: tokens, of which a kernel holds all.
    """
    fills_vectors = dim % LANES == 0 or (LANES % dim == 0 and dim >= 32)
    return fills_vectors and kv_heads * dim % LANES == 0 and rows <= MAX_TOKENS


def rotation_tables(length: int, heads: int, dim: int) -> np.ndarray:
    """What a rotated channel has of itself, of the one h/4 after it and of the one h/4 before it.

    Factors, float32 [3, length, heads * dim].
    """
    width, quarter = dim // 2, dim // 4
    cos, sin = rotary_table(length, width)
    tables = np.zeros((3, length, dim), np.float32)
    tables[0] = 1
    tables[0, :, :width] = cos
    tables[1, :, :quarter] = -sin[:, :quarter]
    tables[2, :, quarter:width] = sin[:, quarter:]
    return np.tile(tables, (1, 1, heads))


def _rotate(x: jax.Array, tables, quarter: int) -> jax.Array:  # [T, n h]
    x, width = x.astype(jnp.float32), x.shape[1]
    after, before = pltpu.roll(x, width - quarter, 1), pltpu.roll(x, quarter, 1)
    return x * tables[0] + after * tables[1] + before * tables[2]


def _rotate_back(slope: jax.Array, tables, quarter: int) -> jax.Array:  # [T, n h]
    """The gradient of `_rotate`."""
    width = slope.shape[1]
    after = pltpu.roll(slope * tables[1], quarter, 1)
    before = pltpu.roll(slope * tables[2], width - quarter, 1)
    return slope * tables[0] + after + before


def _rotate_both(query_tables, key_tables, query, key, heads: Heads):
    """Queries and keys of a program at their positions, in their own type."""
    query, key = query[0], key[0]
    if heads.rotate_query:
        query = _rotate(query, query_tables, heads.dim // 4).astype(query.dtype)
    if heads.rotate_key:
        key = _rotate(key, key_tables, heads.dim // 4).astype(key.dtype)
    return query, key


def _softmax(query: jax.Array, key: jax.Array) -> jax.Array:
    """Weights of the keys of one head, float32 [T, M]."""
    scores = dot(query, key, 1, 1) * query.shape[1] ** -0.5
    weights = jnp.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _head_slices(query, key, dim: int) -> Iterator[tuple[slice, slice]]:
    """Channels of each query head of a program, and those of its key/value head."""
    group = query.shape[-1] // key.shape[-1]
    for head in range(query.shape[-1] // dim):
        yield tuple(slice(n * dim, (n + 1) * dim) for n in (head, head // group))


def _forward_kernel(query_tables, key_tables, query, key, value, mixed, *, heads: Heads):
    rotated, keys = _rotate_both(query_tables, key_tables, query, key, heads)
    for own, shared in _head_slices(query, key, heads.dim):
        weights = _softmax(rotated[:, own], keys[:, shared]).astype(value.dtype)
        mixed[0, :, own] = dot(weights, value[0, :, shared], 1, 0).astype(mixed.dtype)


def _backward_kernel(query_tables, key_tables, query, key, value, slope, *refs, heads: Heads):
    """Gradients of queries, keys and values; the last references are their float32 sums."""
    slopes, (query_sum, key_sum, value_sum) = refs[:3], refs[3:]
    rotated, keys = _rotate_both(query_tables, key_tables, query, key, heads)
    key_sum[...] = jnp.zeros_like(key_sum)
    value_sum[...] = jnp.zeros_like(value_sum)
    for own, shared in _head_slices(query, key, heads.dim):
        q, k, v, mixed_slope = (
            rotated[:, own], keys[:, shared], value[0, :, shared], slope[0, :, own],
        )  # fmt: skip
        weights = _softmax(q, k)
        value_sum[:, shared] += dot(weights.astype(v.dtype), mixed_slope, 0, 0)
        weight_slope = dot(mixed_slope, v, 1, 1)
        mean = (weights * weight_slope).sum(axis=1, keepdims=True)
        score_slope = (weights * (weight_slope - mean) * heads.dim**-0.5).astype(q.dtype)
        query_sum[:, own] = dot(score_slope, k, 1, 0)
        key_sum[:, shared] += dot(score_slope, q, 0, 0)
    query_slope, key_slope = query_sum[...], key_sum[...]
    if heads.rotate_query:
        query_slope = _rotate_back(query_slope, query_tables, heads.dim // 4)
    if heads.rotate_key:
        key_slope = _rotate_back(key_slope, key_tables, heads.dim // 4)
    for ref, total in zip(slopes, (query_slope, key_slope, value_sum[...]), strict=True):
        ref[0] = total.astype(ref.dtype)


def _run(kernel, heads: Heads, outputs: int, products: int, *inputs):
    """Runs a kernel over clips and groups of heads; its results are shaped as the first inputs.

    Args:
      kernel: one of the two.
      heads: how channels are heads.
      outputs: number of results.
      products: matrix products of a head.
      *inputs: queries, keys, values and, for the backward pass, the gradient of the result.
    """
    query, key = inputs[:2]
    clips, rows, kv_heads = len(query), key.shape[1], key.shape[2] // heads.dim
    parts = kv_heads // heads.in_block

    def block(array) -> tuple[int, int, int]:
        return 1, array.shape[1], array.shape[2] // parts

    def spec(array):
        return pl.BlockSpec(block(array), lambda clip, part: (clip, 0, part))

    tables = [
        rotation_tables(array.shape[1], block(array)[2] // heads.dim, heads.dim)
        for array in (query, key)
    ]
    constant = [pl.BlockSpec(table.shape, lambda clip, part: (0, 0, 0)) for table in tables]
    results, backward = inputs[:outputs], outputs > 1
    return call_kernel(
        functools.partial(kernel, heads=heads),
        (*map(jnp.asarray, tables), *inputs),
        grid=(clips, parts),
        in_specs=[*constant, *map(spec, inputs)],
        out_shape=[jax.ShapeDtypeStruct(array.shape, array.dtype) for array in results],
        out_specs=[spec(array) for array in results],
        scratch_shapes=[pltpu.VMEM(block(array)[1:], jnp.float32) for array in results] * backward,
        flops=products * 2 * query.size * rows,
        name="attention_backward" if backward else "attention",
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def attend_packed(query: jax.Array, key: jax.Array, value: jax.Array, heads: Heads) -> jax.Array:
    """Rotates and attends, as `attention.attend`: [B, T, H h] and twice [B, M, K h] -> [B, T, H h].

    Args:
      query: heads side by side.
      key: the same, of fewer heads.
      value: the same.
      heads: how channels are heads.
    """
    run = functools.partial(_run, _forward_kernel, heads, 1, 2)
    return run_on_shards(run, (query, key, value), (SPEC,) * 3, [SPEC])[0]


def _forward(query, key, value, heads):
    return attend_packed(query, key, value, heads), (query, key, value)


def _backward(heads, inputs, slope):
    run = functools.partial(_run, _backward_kernel, heads, 3, 5)
    return tuple(run_on_shards(run, (*inputs, slope), (SPEC,) * 4, [SPEC] * 3))


attend_packed.defvjp(_forward, _backward)
