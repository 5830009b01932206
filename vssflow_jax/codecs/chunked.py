"""Long signals in overlapping chunks, so that memory does not grow with their length.

A function whose output at a frame depends on no frames further away than its reach is computed on
chunks that overlap by twice the reach; of each chunk the frames that are correct are kept (the
overlap-save method).

Legend: B clips, T frames, S frames of a chunk, K chunks a clip, R chunks computed together.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.common.chunking import chunked_map


def chunk_starts(length: int, size: int, reach: int) -> np.ndarray:
    """First frames of the chunks of a clip, int [K]; the last chunk ends with the clip."""
    if length <= size:
        return np.zeros(1, int)
    count = -(-(length - 2 * reach) // (size - 2 * reach))
    return np.minimum(np.arange(count) * (size - 2 * reach), length - size)


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
    first = chunk_starts(length, size, reach)
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
