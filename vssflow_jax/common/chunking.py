"""Rows that go through a function a chunk at a time, for memory independent of their number.

Legend: R rows a branch, G branches, n chunks, r rows of a branch in a chunk.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange


def split_chunks(x: jax.Array, num_chunks: int, branches: int = 1) -> jax.Array:
    """Rows of all branches [G R, ...] in chunks with some rows of every branch: [n, G r, ...].

    The last chunk is padded, so that n r >= R. `merge_chunks` is the inverse.
    """
    x = rearrange(x, "(g r) ... -> g r ...", g=branches)
    padding = -x.shape[1] % num_chunks
    x = jnp.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
    return rearrange(x, "g (n r) ... -> n (g r) ...", n=num_chunks)


def merge_chunks(chunks: jax.Array, rows: int, branches: int = 1) -> jax.Array:
    """Chunks [n, G r, ...] as the rows of all branches [G R, ...]; `rows` is R."""
    y = rearrange(chunks, "n (g r) ... -> g (n r) ...", g=branches)[:, :rows]
    return rearrange(y, "g r ... -> (g r) ...")


def chunked_map(function: Callable, arguments: tuple):
    """`function` of each chunk of the arguments, one after another: results stacked, [n, ...]."""
    if len(jax.tree.leaves(arguments)[0]) == 1:  # a loop of one turn would only hinder fusion
        out = function(*jax.tree.map(lambda x: x[0], arguments))
        return jax.tree.map(lambda x: x[None], out)
    return jax.lax.map(lambda chunk: function(*chunk), arguments)
