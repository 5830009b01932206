"""Matrix products, multiplied in the operands' type and summed in float32."""

from __future__ import annotations

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

PRODUCT = "product"  # name of the products with weights, for rematerialization policies


def einsum(spec: str, a: jax.Array, b: jax.Array, dtype=None) -> jax.Array:
    """`jnp.einsum` of two arrays of one type, in the given type or theirs.

    Own code rather than `jnp.einsum`: in the gradients, too, half precision is multiplied in half
    precision and summed in float32 on every backend, so that the gradient of float32 weights is
    never rounded to half precision, and each gradient has its operand's order of axes, where
    `jnp.einsum` would transpose it.

    Args:
      spec: without ellipsis; every index is in two of the three terms.
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
    """The product; on CPUs with a float32 result, since XLA would otherwise widen the operands."""

    def widened(a, b):
        return jnp.einsum(spec, a, b, preferred_element_type=jnp.float32).astype(dtype)

    def direct(a, b):
        return jnp.einsum(spec, a, b, preferred_element_type=dtype)

    return lax.platform_dependent(a, b, cpu=widened, default=direct)


class Linear(nn.Module):
    """A learned linear map of the last axes of an input.

    Attributes:
      features: sizes of the output's axes in their place.
      num_inputs: number of the input's last axes that are summed over.
      use_bias: adds a bias.
      dtype: of the computation; the parameters are float32.
      kernel_init: of the kernel as a matrix.
    """

    features: tuple[int, ...]
    num_inputs: int = 1
    use_bias: bool = False
    dtype: jnp.dtype = jnp.float32
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    def parameters(self, inputs: tuple[int, ...]) -> tuple[jax.Array, jax.Array | None]:
        """Kernel and bias, of an input whose summed axes have these sizes; no bias is None."""
        matrix_shape = (math.prod(inputs), math.prod(self.features))

        def init_kernel(key):
            return self.kernel_init(key, matrix_shape).reshape(*inputs, *self.features)

        # Stored in this shape: a reshaped copy would be kept for the backward pass.
        kernel = self.param("kernel", init_kernel)
        zeros = nn.initializers.zeros
        return kernel, self.param("bias", zeros, self.features) if self.use_bias else None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        lead, inputs = x.shape[: -self.num_inputs], x.shape[-self.num_inputs :]
        kernel, bias = self.parameters(inputs)
        rows, inner, outer = "xyz"[: len(lead)], "abc"[: len(inputs)], "def"[: len(self.features)]
        y = einsum(f"{rows}{inner},{inner}{outer}->{rows}{outer}", x.astype(self.dtype), kernel)
        y = checkpoint_name(y, PRODUCT)
        if self.use_bias:
            y += bias.astype(self.dtype)
        return y


class LinearParameters(Linear):
    """Kernel and bias of a `Linear` of this name, for what computes the product by itself."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        return self.parameters(x.shape[-self.num_inputs :])
