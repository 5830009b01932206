"""Rows that go through a function in turns, so that memory does not grow with their number.

Legend: R rows a branch, G branches, n turns, r rows of a branch in a turn.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def split_chunks(x: jax.Array, turns: int, branches: int = 1) -> jax.Array:
    """Rows of all branches [G R, ...] cut into turns that each have some rows of every branch.

    The last turn is filled up: [n, G r, ...], n r >= R. See `from_turns` for the way back.
    """
    x = x.reshape(branches, -1, *x.shape[1:])
    spare = -x.shape[1] % turns
    x = jnp.pad(x, [(0, 0), (0, spare)] + [(0, 0)] * (x.ndim - 2))
    x = x.reshape(branches, turns, -1, *x.shape[2:])
    return jnp.moveaxis(x, 1, 0).reshape(turns, -1, *x.shape[3:])


def merge_chunks(y: jax.Array, rows: int, branches: int = 1) -> jax.Array:
    """Turns [n, G r, ...] back to the rows of all branches [G R, ...]; `rows` is R."""
    y = y.reshape(y.shape[0], branches, -1, *y.shape[2:])
    y = jnp.moveaxis(y, 1, 0).reshape(branches, -1, *y.shape[3:])[:, :rows]
    return y.reshape(-1, *y.shape[2:])


def chunked_map(function: Callable, arguments: tuple):
    """`function` of each turn, one after another, stacked [n, ...].

    Memory then grows with the rows of a turn and not with their number.
    """
    if len(jax.tree.leaves(arguments)[0]) == 1:  # a loop of one turn would only hinder fusion
        out = function(*jax.tree.map(lambda x: x[0], arguments))
        return jax.tree.map(lambda x: x[None], out)
    return jax.lax.map(lambda turn: function(*turn), arguments)
