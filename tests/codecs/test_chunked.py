"""Functions of long signals in overlapping chunks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.codecs import chunked


@pytest.mark.parametrize("length", [7, 20, 21, 50, 59])
def test_chunks_cover_a_clip(length):
    """A running mean of nine frames, exact at every frame, for all ends of the chunks."""

    def mean(x):
        padded = np.pad(x, [(0, 0), (4, 4), (0, 0)])
        return np.stack([padded[:, k : k + 9].mean((1, 2)) for k in range(x.shape[1])], 1)

    x = np.random.default_rng(0).normal(size=(3, length, 2)).astype(np.float32)
    sizes = []

    def function(part, first):
        sizes.append(part.shape)
        padded = jnp.pad(part, [(0, 0), (4, 4), (0, 0)])
        rows = [padded[:, k : k + 9].mean((1, 2)) for k in range(part.shape[1])]
        return jnp.stack(rows, 1)

    chunks = jax.jit(lambda x: chunked.map_overlapping_chunks(function, x, 20, 4, 1))(x)
    np.testing.assert_allclose(chunks, mean(x), atol=1e-6)
    assert all(rows * frames <= 20 for rows, frames, _ in sizes)


@pytest.mark.parametrize("length", [21, 39, 50, 59])
@pytest.mark.parametrize("hop", [1, 3])
def test_blended_chunks_are_exact_for_local_functions(length, hop):
    """A running mean of nine frames, whose chunks are padded with zeros at their ends."""

    @jax.jit
    def mean(x):
        padded = jnp.pad(x, [(0, 0), (4, 4), (0, 0)])
        rows = jnp.stack([padded[:, k : k + 9].mean(1) for k in range(x.shape[1])], 1)
        return jnp.repeat(rows, hop, axis=1)

    x = np.random.default_rng(0).normal(size=(3, length, 2)).astype(np.float32)

    def function(first):
        return mean(jax.lax.dynamic_slice_in_dim(jnp.asarray(x), first, 20, 1))

    sizes = {"size": 20, "reach": 4, "fade": 5, "hop": hop}
    blended = jax.jit(lambda: chunked.map_blended_chunks(function, length, **sizes))()
    np.testing.assert_allclose(blended, mean(x), atol=1e-6)


@pytest.mark.parametrize("length", [21, 39, 50, 59])
def test_weights_of_chunks_leave_out_their_ends_and_change_slowly(length):
    size, reach, fade = 20, 4, 5
    first = chunked.chunk_starts(length, size, 2 * reach + fade)
    weights = chunked.chunk_weights(first, length, size, reach, fade)
    total = np.zeros(length)
    for start, row in zip(first, weights, strict=True):
        total[start : start + size] += row
        assert start == 0 or not row[:reach].any()
        assert start + size == length or not row[-reach:].any()
        assert np.abs(np.diff(row)).max(initial=0) <= 1 / fade + 1e-6
    assert total.min() >= 1 - 1e-6
