"""Matrix products: multiplied in the operands' type, summed in float32."""

from __future__ import annotations

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

PRODUCT = "product"  # what a policy of rematerialisation calls a product with weights


def einsum(spec: str, a: jax.Array, b: jax.Array, dtype=None) -> jax.Array:
    """`jnp.einsum` of two arrays of one type, in the given type or theirs.

    Half precision stays half precision in the gradients' products, and sums are float32 on
    every backend, so that the gradient of float32 weights is never rounded to their type. A
    gradient comes out in its operand's order of axes; `jnp.einsum`'s would be transposed.

    Args:
      spec: without ellipsis; every index stands in two of the three terms.
      a: left array.
      b: right array.
      dtype: of the result; None: that of `a`.
    """
    return _einsum(spec, a, b, jnp.dtype(dtype or a.dtype))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _einsum(spec, a, b, dtype):
    return _product(spec, a, b.astype(a.dtype), dtype)


def _forward(spec, a, b, dtype):
    return _einsum(spec, a, b, dtype), (a, b)


def _backward(spec, dtype, operands, slope):
    a, b = operands
    left, right, out = spec.replace("->", ",").split(",")
    slope = slope.astype(a.dtype)
    return (
        _product(f"{out},{right}->{left}", slope, b.astype(a.dtype), a.dtype),
        _product(f"{left},{out}->{right}", a, slope, b.dtype),
    )


_einsum.defvjp(_forward, _backward)


def _product(spec, a, b, dtype):
    """XLA's CPU backend has bfloat16 products only with a float32 result: it would widen else."""

    def wide(a, b):
        return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32).astype(dtype)

    def direct(a, b):
        return jnp.einsum(spec, a, b, preferred_element_type=dtype)

    return lax.platform_dependent(a, b, cpu=wide, default=direct)


class Linear(nn.Module):
    """A learned linear map of an input's last axes.

    Attributes:
      features: sizes of the axes that come in their place, one size or several.
      summed: how many axes of the input go.
      use_bias: adds a bias.
      dtype: of the computation; the parameters are float32.
      kernel_init: of the kernel as a matrix.
    """

    features: tuple[int, ...]
    summed: int = 1
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        lead, goes = x.shape[: -self.summed], x.shape[-self.summed :]
        matrix = (math.prod(goes), math.prod(self.features))

        def draw(key):
            return self.kernel_init(key, matrix).reshape(*goes, *self.features)

        kernel = self.param("kernel", draw)  # its own shape: another would be kept for backward
        rows, inner, outer = "xyz"[: len(lead)], "abc"[: len(goes)], "def"[: len(self.features)]
        y = einsum(f"{rows}{inner},{inner}{outer}->{rows}{outer}", x.astype(self.dtype), kernel)
        y = checkpoint_name(y, PRODUCT)
        if self.use_bias:
            y += self.param("bias", nn.initializers.zeros, self.features).astype(self.dtype)
        return y
