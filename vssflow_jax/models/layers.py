"""Building blocks of the velocity network (maths: the diffusion transformer of Stable Audio).

Legend: B clips, L latent frames, T = L + 1 tokens (time token first), M context rows,
D width, H query heads, K key/value heads, h width of a head.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

NORM_EPSILON = 1e-5
ROTARY_BASE = 10_000.0


def rotary_table(length: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the rotary embedding, each float32 [length, width].

    Angles are position * 10000^(-2j / width), j < width / 2, concatenated with themselves.
    """
    frequency = ROTARY_BASE ** (-np.arange(0, width, 2, dtype=np.float32) / width)
    angle = np.arange(length, dtype=np.float32)[:, None] * frequency
    angle = np.concatenate([angle, angle], axis=-1)
    return np.cos(angle), np.sin(angle)


def rotate(x: jax.Array, length: int) -> jax.Array:
    """Rotates the first half of each head by its position: [B, T, H, h] -> the same shape.

    The rotate-half convention, computed in float32; the second half passes through.
    """
    width = x.shape[-1] // 2
    cos, sin = rotary_table(length, width)
    turned, kept = x[..., :width].astype(jnp.float32), x[..., width:]
    low, high = jnp.split(turned, 2, axis=-1)
    swapped = jnp.concatenate([-high, low], axis=-1)
    turned = turned * cos[:, None] + swapped * sin[:, None]
    return jnp.concatenate([turned.astype(x.dtype), kept], axis=-1)


class TimeToken(nn.Module):
    """Time to a token: fixed Fourier features, then Linear, SiLU, Linear.

    Attributes:
      width: D.
      features: Fourier features (half of them cosines, which come first).
    """

    width: int
    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, t: jax.Array) -> jax.Array:  # [B] -> [B, D]
        draw = nn.initializers.normal(1.0)
        frequency = self.param("frequency", draw, (self.features // 2,))
        frequency = jax.lax.stop_gradient(frequency)  # drawn once and kept, as published
        angle = 2 * jnp.pi * t[:, None] * frequency
        fourier = jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)
        hidden = nn.silu(nn.Dense(self.width, dtype=self.dtype, name="in")(fourier))
        return nn.Dense(self.width, dtype=self.dtype, name="out")(hidden)


class Projection(nn.Module):
    """Linear, SiLU, Linear without biases, so that zeros stay zeros."""

    hidden: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [.., F] -> [.., width]
        x = nn.Dense(self.hidden, use_bias=False, dtype=self.dtype, name="in")(x)
        return nn.Dense(self.width, use_bias=False, dtype=self.dtype, name="out")(nn.silu(x))


class Pointwise(nn.Module):
    """A residual convolution of width 1 without bias: x + conv(x)."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, L, C]
        conv = nn.Dense(
            x.shape[-1],
            use_bias=False,
            dtype=self.dtype,
            kernel_init=nn.initializers.zeros,  # starts as the identity
            name="conv",
        )
        return x + conv(x)


class SelfAttention(nn.Module):
    """Attention over the clip's own tokens, queries and keys rotated, optionally grouped."""

    heads: int
    kv_heads: int
    head_width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        def heads(count, name):
            return nn.DenseGeneral(
                (count, self.head_width), use_bias=False, dtype=self.dtype, name=name
            )(x)

        length = x.shape[1]
        query = rotate(heads(self.heads, "query"), length)  # [B, T, H, h]
        key = rotate(heads(self.kv_heads, "key"), length)  # [B, T, K, h]
        value = heads(self.kv_heads, "value")
        mixed = jax.nn.dot_product_attention(query, key, value)
        return nn.DenseGeneral(
            x.shape[-1], axis=(-2, -1), use_bias=False, dtype=self.dtype, name="out"
        )(mixed)


class ContextKeys(nn.Module):
    """Keys and values of one layer's cross-attention, made once a sample from the context."""

    kv_heads: int
    head_width: int
    rotate_keys: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, context: jax.Array) -> tuple[jax.Array, jax.Array]:  # [B, M, Dc]
        def heads(name):
            return nn.DenseGeneral(
                (self.kv_heads, self.head_width), use_bias=False, dtype=self.dtype, name=name
            )(context)

        key, value = heads("key"), heads("value")  # [B, M, K, h]
        if self.rotate_keys:
            key = rotate(key, context.shape[1])
        return key, value


class CrossAttention(nn.Module):
    """Attention to the context: queries rotated; query head j reads key head j // (H / K)."""

    heads: int
    head_width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: tuple[jax.Array, jax.Array]) -> jax.Array:
        query = nn.DenseGeneral(
            (self.heads, self.head_width), use_bias=False, dtype=self.dtype, name="query"
        )(x)
        key, value = keys
        mixed = jax.nn.dot_product_attention(rotate(query, x.shape[1]), key, value)
        return nn.DenseGeneral(
            x.shape[-1], axis=(-2, -1), use_bias=False, dtype=self.dtype, name="out"
        )(mixed)


class FeedForward(nn.Module):
    """SwiGLU: one Linear to value and gate (in that order), value * SiLU(gate), Linear."""

    multiple: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        width = x.shape[-1]
        both = nn.Dense(2 * self.multiple * width, dtype=self.dtype, name="in")(x)
        value, gate = jnp.split(both, 2, axis=-1)
        return nn.Dense(width, dtype=self.dtype, name="out")(value * nn.silu(gate))
