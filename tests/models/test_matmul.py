"""Matrix products: accuracy of values and gradients in half precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.models import matmul


def test_products_in_half_precision_are_summed_in_single():
    """Values and gradients of the einsum against float64, at the accuracy of the operands."""
    a, b = jax.random.normal(jax.random.key(0), (2, 4, 96, 96))
    half = a.astype(jnp.bfloat16)

    def total(product, a, b):
        return jnp.sum(jnp.sin(product("zab,zbc->zac", a, b)) * 3)

    gradients, expected = (
        jax.jit(jax.grad(functools.partial(total, product), (0, 1)))(left, b)
        for product, left in ((matmul.einsum, half), (jnp.einsum, a))
    )
    assert gradients[0].dtype == jnp.bfloat16 and gradients[1].dtype == jnp.float32
    for gradient, exact in zip(gradients, expected, strict=True):
        assert jnp.linalg.norm(gradient - exact) < 0.1 * jnp.linalg.norm(exact)
    exact = np.einsum("zab,zbc->zac", *(np.asarray(x, np.float64) for x in (half, half)))
    result = matmul.einsum("zab,zbc->zac", half, half, jnp.float32)
    np.testing.assert_allclose(result, exact, rtol=1e-4, atol=1e-4)
