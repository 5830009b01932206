"""Attention of the published encoders against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vssflow_jax.encoders.layers import attend


def draw(shape, seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


@pytest.mark.parametrize("tokens, members", [(8, 9), (1, 40), (14, 14)])
@pytest.mark.parametrize("extra", ["none", "mask", "bias"])
def test_attention_is_that_of_jax(tokens, members, extra):
    query = draw((3, tokens, 2, 16), 0)
    key, value = draw((3, members, 2, 16), 1), draw((3, members, 2, 16), 2)
    beside = {
        "none": {},
        "mask": {"mask": (jnp.arange(members) < 5)[None, None, None]},
        "bias": {"bias": 3 * draw((1, 2, tokens, members), 3)},
    }[extra]
    ours = jax.jit(attend)(query, key, value, **beside)
    expected = jax.nn.dot_product_attention(query, key, value, **beside)
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_half_precision_is_summed_in_single_precision():
    parts = [4 * draw((2, 300, 2, 16), seed) for seed in range(3)]
    ours = attend(*(part.astype(jnp.bfloat16) for part in parts))
    assert ours.dtype == jnp.bfloat16
    rounded = [part.astype(jnp.bfloat16).astype(jnp.float32) for part in parts]
    difference = np.asarray(ours, np.float32) - np.asarray(attend(*rounded))
    assert np.sqrt(np.mean(difference**2)) < 0.02
