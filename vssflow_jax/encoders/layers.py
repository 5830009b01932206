"""Layers shared by the published encoders: pre-norm transformer blocks, frozen batch norms.

Legend: B sequences, T tokens, D width, H heads, h = D / H width of a head.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax import lax

BATCH_EPSILON = 1e-5
Activation = Callable[[jax.Array], jax.Array]


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU, by the error function."""
    return nn.gelu(x, approximate=False)


def quick_gelu(x: jax.Array) -> jax.Array:
    """CLIP's approximation of the GELU, x sigmoid(1.702 x)."""
    return x * nn.sigmoid(1.702 * x)


def multiply(a: jax.Array, b: jax.Array, dimensions, precision=None, **_) -> jax.Array:
    """`lax.dot_general` of two arrays of one type, in this type.

    On CPUs by way of a float32 result, since XLA would otherwise widen the operands.
    """

    def product(dtype):
        return lambda a, b: lax.dot_general(a, b, dimensions, precision, dtype).astype(a.dtype)

    if a.dtype == jnp.float32:
        return product(jnp.float32)(a, b)
    return lax.platform_dependent(a, b, cpu=product(jnp.float32), default=product(a.dtype))


Dense = functools.partial(nn.Dense, dot_general=multiply)
DenseGeneral = functools.partial(nn.DenseGeneral, dot_general=multiply)


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    mask: jax.Array | None = None,
    bias: jax.Array | None = None,
) -> jax.Array:
    """softmax(q k^T / sqrt(h) + bias) v: [B, T, H, h] and twice [B, M, H, h] -> [B, T, H, h].

    Own code rather than `jax.nn.dot_product_attention`, which takes three times as long on
    processors: there, products are fast only if the heads come first in memory, so they are put
    there (the barrier keeps XLA from folding the transposition into the product).

    Args:
      query: [B, T, H, h].
      key: [B, M, H, h].
      value: [B, M, H, h].
      mask: [B or 1, H or 1, T or 1, M], true where a query attends.
      bias: [B or 1, H or 1, T or 1, M], added to the scores.
    """
    by_head = tuple(jnp.swapaxes(x, 1, 2) for x in (query, key, value))
    query, key, value = lax.optimization_barrier(by_head)  # [B, H, .., h]
    product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)
    scores = product("bntd,bnmd->bntm", query, key) * query.shape[-1] ** -0.5
    if bias is not None:
        scores += bias
    if mask is not None:
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    mixed = product("bntm,bnmd->bntd", weights.astype(value.dtype), value)
    mixed /= weights.sum(-1, keepdims=True)
    return jnp.swapaxes(mixed, 1, 2).astype(value.dtype)


class Heads(nn.Module):
    """Queries, keys and values of all heads, with biases: [.., T, D] -> three [.., T, H, h]."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        shape = (self.heads, x.shape[-1] // self.heads)
        return tuple(
            DenseGeneral(shape, dtype=self.dtype, name=name)(x)
            for name in ("query", "key", "value")
        )


class Attention(nn.Module):
    """Softmax attention among the tokens, with biases; `mask` [B, T]: tokens that are attended."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:  # [B, T, D]
        query, key, value = Heads(self.heads, self.dtype, name="heads")(x)
        mask = None if mask is None else mask[:, None, None]  # [B, 1, 1, T]
        mixed = attend(query, key, value, mask=mask)
        mixed = rearrange(mixed, "b t n h -> b t (n h)")
        return Dense(x.shape[-1], dtype=self.dtype, name="out")(mixed)


class FeedForward(nn.Module):
    """Linear, activation, Linear."""

    hidden: int
    activation: Activation
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [.., D]
        hidden = self.activation(Dense(self.hidden, dtype=self.dtype, name="in")(x))
        return Dense(x.shape[-1], dtype=self.dtype, name="out")(hidden)


class Block(nn.Module):
    """Attention, then feed-forward, each pre-norm and residual."""

    heads: int
    hidden: int
    epsilon: float
    activation: Activation
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None):  # [B, T, D]
        def norm(x, name):
            return nn.LayerNorm(epsilon=self.epsilon, dtype=self.dtype, name=name)(x)

        x += Attention(self.heads, self.dtype, name="attention")(norm(x, "norm1"), mask)
        forward = FeedForward(self.hidden, self.activation, self.dtype, name="feed_forward")
        return x + forward(norm(x, "norm2")), None


def scan_layers(block: type[nn.Module], layers: int) -> type[nn.Module]:
    """`layers` of a block in sequence; their parameters are stacked along the first axis."""
    return nn.scan(
        block,
        variable_axes={"params": 0, "intermediates": 0},
        split_rngs={"params": True},
        in_axes=nn.broadcast,
        length=layers,
    )


class BatchNorm(nn.Module):
    """Batch norm with fixed statistics, stored as parameters: [.., C]."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        ones, zeros, shape = nn.initializers.ones, nn.initializers.zeros, (x.shape[-1],)
        scale, bias = self.param("scale", ones, shape), self.param("bias", zeros, shape)
        mean, variance = self.param("mean", zeros, shape), self.param("variance", ones, shape)
        gain = scale * lax.rsqrt(variance + BATCH_EPSILON)
        return x * gain.astype(self.dtype) + (bias - mean * gain).astype(self.dtype)
