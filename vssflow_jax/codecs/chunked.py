"""Long signals a piece at a time, so that memory does not grow with their length.

A function whose output at a frame depends on no frames further than a certain reach is computed
on pieces that overlap by twice that reach; of each piece is kept what it has right.

Legend: B clips, T frames, S frames of a piece, K pieces a clip, R pieces that go together.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.common.chunking import chunked_map


def chunk_starts(length: int, size: int, reach: int) -> np.ndarray:
    """First frames of the pieces of a clip, int [K]; the last piece ends where the clip does."""
    if length <= size:
        return np.zeros(1, int)
    count = -(-(length - 2 * reach) // (size - 2 * reach))
    return np.minimum(np.arange(count) * (size - 2 * reach), length - size)


def map_overlapping_chunks(
    function: Callable, x: jax.Array, size: int, reach: int, hop: int
) -> jax.Array:
    """A function of whole clips [B, T, W] -> [B, T * hop], computed on pieces of them.

    Pieces take turns; those of short clips go together, up to `size` frames a turn.

    Args:
      function: (pieces [R, S, W], their first frames [R]) -> [R, S * hop].
      x: the clips.
      size: most frames of a piece, more than twice the reach.
      reach: frames.
      hop: samples a frame.
    """
    batch, length, width = x.shape
    first, most = chunk_starts(length, size, reach), max(size // length, 1)
    size = min(size, length)
    turns = -(-batch * len(first) // most)
    together = -(-batch * len(first) // turns)
    clip, begin = np.divmod(np.arange(turns * together) % (batch * len(first)), len(first))
    where = (clip.reshape(turns, -1), first[begin].reshape(turns, -1))

    def turn(clip, begin):
        cut = jax.vmap(lambda k, t: jax.lax.dynamic_slice(x, (k, t, 0), (1, size, width))[0])
        return function(cut(clip, begin), begin)

    made = chunked_map(turn, jax.tree.map(jnp.asarray, where))
    made = made.reshape(-1, size * hop)[: batch * len(first)].reshape(batch, len(first), -1)
    return join_chunks(made, first, reach * hop, hop, length)


def join_chunks(made: jax.Array, first: np.ndarray, reach: int, hop: int, length: int) -> jax.Array:
    """Pieces [B, K, S * hop] -> [B, length * hop]; each begins where the last one ends to be right.

    Args:
      made: the pieces.
      first: their first frames, [K].
      reach: samples at a piece's end that are not right, unless the clip ends there too.
      hop: samples a frame.
      length: frames of the clip.
    """
    ends = [begin * hop + made.shape[2] - reach for begin in first[:-1]] + [length * hop]
    kept, done = [], 0
    for k, (begin, end) in enumerate(zip(first, ends, strict=True)):
        kept.append(made[:, k, done - begin * hop : end - begin * hop])
        done = end
    return jnp.concatenate(kept, axis=1)
