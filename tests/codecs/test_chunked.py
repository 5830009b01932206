"""Functions of long signals in overlapping chunks."""

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

    np.testing.assert_allclose(
        chunked.map_overlapping_chunks(function, x, 20, 4, 1), mean(x), atol=1e-6
    )
    assert all(rows * frames <= 20 for rows, frames, _ in sizes)
