"""Long signals in overlapping chunks, so that memory does not grow with their length.

A function whose output at a frame depends on no frames further away than its reach is computed on
chunks that overlap by twice the reach; of each chunk the frames that are correct are kept (the
overlap-save method). If it also depends on averages over all frames, chunks overlap further, and
their correct frames are blended.

Legend: B clips, T frames, S frames of a chunk, K chunks a clip, R chunks computed together.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.common.chunking import chunked_map


def chunk_starts(length: int, size: int, overlap: int) -> np.ndarray:
    """First frames of the chunks of a clip, int [K]; the last chunk ends with the clip."""
    if length <= size:
        return np.zeros(1, int)
    count = -(-(length - overlap) // (size - overlap))
    return np.minimum(np.arange(count) * (size - overlap), length - size)


def map_overlapping_chunks(
    function: Callable, x: jax.Array, size: int, reach: int, hop: int
) -> jax.Array:
    """A function of clips [B, T, W] -> [B, T * hop], computed in chunks.

    Chunks are computed one after another; those of short clips together, up to `size` frames.

    Args:
      function: (chunks [R, S, W], their first frames [R]) -> [R, S * hop].
      x: the clips.
      size: most frames of a chunk, more than twice the reach.
      reach: frames.
      hop: samples a frame.
    """
    batch, length, width = x.shape
    first = chunk_starts(length, size, 2 * reach)
    count, most_together = batch * len(first), max(size // length, 1)
    size = min(size, length)
    groups = -(-count // most_together)
    together = -(-count // groups)
    clip, index = np.divmod(np.arange(groups * together) % count, len(first))
    places = (clip.reshape(groups, -1), first[index].reshape(groups, -1))

    def compute(clip, start):
        chunks = jax.vmap(lambda k, t: jax.lax.dynamic_slice(x, (k, t, 0), (1, size, width))[0])
        return function(chunks(clip, start), start)

    y = chunked_map(compute, jax.tree.map(jnp.asarray, places))
    y = rearrange(y, "g r n -> (g r) n")[:count]
    y = rearrange(y, "(b k) n -> b k n", b=batch)
    return join_chunks(y, first, reach * hop, hop, length)


def join_chunks(
    chunks: jax.Array, first: np.ndarray, reach: int, hop: int, length: int
) -> jax.Array:
    """Chunks [B, K, S * hop] -> [B, length * hop]; each is used from where the one before ends.

    Args:
      chunks: computed chunks.
      first: their first frames, [K].
      reach: samples at the end of a chunk that are not correct, unless the clip ends there too.
      hop: samples a frame.
      length: frames of the clip.
    """
    ends = [start * hop + chunks.shape[2] - reach for start in first[:-1]] + [length * hop]
    parts, done = [], 0
    for k, (start, end) in enumerate(zip(first, ends, strict=True)):
        parts.append(chunks[:, k, done - start * hop : end - start * hop])
        done = end
    return jnp.concatenate(parts, axis=1)


def map_blended_chunks(
    function: Callable, length: int, size: int, reach: int, fade: int, hop: int = 1
):
    """A function of a clip's chunks, one after another, blended where they overlap.

    Frames of a chunk that are nearer than `reach` to one of its ends have no weight, unless the
    clip ends there too; the next `fade` frames have a growing one.

    Args:
      function: first frame of a chunk [] -> arrays [B, S * hop, C] of its frames.
      length: frames of the clips, more than `size`.
      size: S, more than 2 * reach + fade.
      reach: frames.
      fade: frames.
      hop: rows of the function's arrays a frame.

    Returns:
      Arrays [B, length * hop, C].
    """
    first = chunk_starts(length, size, 2 * reach + fade)
    weights = chunk_weights(first, length, size, reach, fade)
    total = np.zeros(length, np.float32)
    for start, row in zip(first, weights, strict=True):
        total[start : start + size] += row
    shares = [row / total[start : start + size] for start, row in zip(first, weights, strict=True)]

    def add_chunk(blended, chunk):
        start, share = chunk

        def add(sum_, y):
            before = jax.lax.dynamic_slice_in_dim(sum_, start * hop, size * hop, axis=1)
            after = before + y * jnp.repeat(share, hop)[:, None]
            return jax.lax.dynamic_update_slice_in_dim(sum_, after, start * hop, axis=1)

        return jax.tree.map(add, blended, function(start)), None

    zeros = jax.tree.map(
        lambda y: jnp.zeros((y.shape[0], length * hop, *y.shape[2:]), y.dtype),
        jax.eval_shape(function, jax.ShapeDtypeStruct((), jnp.int32)),
    )
    chunks = (jnp.asarray(first, jnp.int32), jnp.asarray(np.stack(shares)))
    return jax.lax.scan(add_chunk, zeros, chunks)[0]


def chunk_weights(first: np.ndarray, length: int, size: int, reach: int, fade: int) -> np.ndarray:
    """Weights with which the frames of chunks are blended, float32 [K, S]; see above."""
    rising = np.clip((np.arange(size) + 0.5 - reach) / max(fade, 1), 0, 1)
    left = np.where(first[:, None] == 0, 1, rising)
    right = np.where(first[:, None] + size == length, 1, rising[::-1])
    return np.minimum(left, right).astype(np.float32)
