"""Rows in chunks: the same results as without, and chunks of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.common.chunking import chunked_map, merge_chunks, split_chunks


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 7])
def test_chunks_give_the_same_as_all_rows_at_once(num_chunks):
    """Every chunk has the same rows of both branches; the padding of the last one is removed."""
    x, t = jax.random.normal(jax.random.key(0), (2 * 7, 3)), jnp.arange(14.0)
    chunks = [split_chunks(part, num_chunks, branches=2) for part in (x, t)]
    number = split_chunks(jnp.arange(7.0), num_chunks)
    shapes = []

    def scale_and_shift(number, x, t):
        shapes.append(x.shape)
        return x * t[:, None] + jnp.tile(number, 2)[:, None]

    out = merge_chunks(chunked_map(scale_and_shift, (number, *chunks)), 7, branches=2)
    assert set(shapes) == {(2 * -(-7 // num_chunks), 3)}
    expected = x * t[:, None] + jnp.tile(jnp.arange(7.0), 2)[:, None]
    np.testing.assert_allclose(out, expected, rtol=1e-5)
