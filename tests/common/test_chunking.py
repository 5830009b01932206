"""Rows in chunks: the same results as without, and chunks of one size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.common.chunking import chunked_map, merge_chunks, split_chunks


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 7])
def test_chunks_give_the_same_as_all_rows_at_once(num_chunks):
    """Every chunk has the same rows of both branches; the padding of the last one is removed."""
    x = np.random.default_rng(0).standard_normal((2 * 7, 3), np.float32)
    t, shapes = np.arange(14, dtype=np.float32), []

    def scale_and_shift(number, x, t):
        shapes.append(x.shape)
        return x * t[:, None] + jnp.tile(number, 2)[:, None]

    @jax.jit
    def run(x, t):
        chunks = [split_chunks(part, num_chunks, branches=2) for part in (x, t)]
        number = split_chunks(jnp.arange(7.0), num_chunks)
        return merge_chunks(chunked_map(scale_and_shift, (number, *chunks)), 7, branches=2)

    out = run(x, t)
    assert set(shapes) == {(2 * -(-7 // num_chunks), 3)}
    expected = x * t[:, None] + np.tile(np.arange(7.0), 2)[:, None]
    np.testing.assert_allclose(out, expected, rtol=1e-5)
