"""Building blocks of the velocity network (maths: the diffusion transformer of Stable Audio).

Legend: B clips, L latent frames, T = L + 1 tokens (time token first), M context rows,
D width, H query heads, K key/value heads, h width of a head.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vssflow_jax.models.matmul import Linear, einsum

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


def apply_rotary(x: jax.Array) -> jax.Array:
    """Rotates the first half of each head by its position: [.., T, h] -> the same shape.

    The rotate-half convention, computed in float32; the second half passes through.
    """
    width = x.shape[-1] // 2
    cos, sin = rotary_table(x.shape[-2], width)
    turned, kept = x[..., :width].astype(jnp.float32), x[..., width:]
    low, high = jnp.split(turned, 2, axis=-1)
    turned = turned * cos + jnp.concatenate([-high, low], axis=-1) * sin
    return jnp.concatenate([turned.astype(x.dtype), kept], axis=-1)


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v: [B, H, T, h] and twice [B, K, M, h] -> [B, H, T, h].

    Query head j reads key head j // (H / K). NVIDIA GPUs have half precision done by cuDNN;
    elsewhere the queries of a group are rows of one product, so that no key is repeated.
    """
    if _has_fused(query):
        by_token = [jnp.swapaxes(x, 1, 2) for x in (query, key, value)]
        mixed = jax.nn.dot_product_attention(*by_token, implementation="cudnn")
        return jnp.swapaxes(mixed, 1, 2)
    batch, heads, tokens, width = query.shape
    rows = query.reshape(batch, key.shape[1], -1, width)  # [B, K, (H / K) T, h]
    scores = einsum("bkqh,bkmh->bkqm", rows, key, jnp.float32)
    weights = nn.softmax(scores * width**-0.5).astype(value.dtype)
    return einsum("bkqm,bkmh->bkqh", weights, value).reshape(batch, heads, tokens, width)


def _has_fused(query: jax.Array) -> bool:
    """Whether cuDNN's attention takes this type and width, on the GPU that is there."""
    return (
        query.dtype in (jnp.bfloat16, jnp.float16)
        and query.shape[-1] % 8 == 0
        and jax.default_backend() == "gpu"
        and "cuda" in jax.devices()[0].client.platform_version
    )


def project_to_heads(x: jax.Array, heads: int, width: int, dtype, name: str) -> jax.Array:
    """Projects to heads, [B, T, F] -> [B, heads, T, width]."""
    return jnp.swapaxes(Linear((heads, width), dtype=dtype, name=name)(x), 1, 2)


def project_from_heads(x: jax.Array, width: int, dtype, name: str) -> jax.Array:
    """Projects heads, [B, H, T, h] -> [B, T, width]."""
    return Linear((width,), summed=2, dtype=dtype, name=name)(jnp.swapaxes(x, 1, 2))


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

        def dense(name):
            return Linear((self.width,), use_bias=True, dtype=self.dtype, name=name)

        return dense("out")(nn.silu(dense("in")(fourier)))


class Projection(nn.Module):
    """Linear, SiLU, Linear without biases, so that zeros stay zeros."""

    hidden: int
    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [.., F] -> [.., width]
        x = Linear((self.hidden,), dtype=self.dtype, name="in")(x)
        return Linear((self.width,), dtype=self.dtype, name="out")(nn.silu(x))


class Pointwise(nn.Module):
    """A residual convolution of width 1 without bias: x + conv(x)."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, L, C]
        starts = nn.initializers.zeros  # as the identity
        return x + Linear(x.shape[-1:], dtype=self.dtype, kernel_init=starts, name="conv")(x)


class SelfAttention(nn.Module):
    """Attention over the clip's own tokens, queries and keys rotated, optionally grouped."""

    heads: int
    kv_heads: int
    head_dim: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        def heads(count, name):
            return project_to_heads(x, count, self.head_dim, self.dtype, name)

        query = apply_rotary(heads(self.heads, "query"))  # [B, H, T, h]
        key = apply_rotary(heads(self.kv_heads, "key"))  # [B, K, T, h]
        mixed = attend(query, key, heads(self.kv_heads, "value"))
        return project_from_heads(mixed, x.shape[-1], self.dtype, "out")


class ContextKV(nn.Module):
    """Keys and values of one layer's cross-attention, made once a sample from the context."""

    kv_heads: int
    head_dim: int
    rotate_keys: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, context: jax.Array) -> tuple[jax.Array, jax.Array]:  # [B, M, Dc]
        key, value = (
            project_to_heads(context, self.kv_heads, self.head_dim, self.dtype, name)
            for name in ("key", "value")
        )  # [B, K, M, h]
        return (apply_rotary(key) if self.rotate_keys else key), value


class CrossAttention(nn.Module):
    """Attention to the context: queries rotated; query head j reads key head j // (H / K)."""

    heads: int
    head_dim: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, keys: tuple[jax.Array, jax.Array]) -> jax.Array:
        query = project_to_heads(x, self.heads, self.head_dim, self.dtype, "query")
        return project_from_heads(
            attend(apply_rotary(query), *keys), x.shape[-1], self.dtype, "out"
        )


class FeedForward(nn.Module):
    """SwiGLU: one Linear to value and gate (in that order), value * SiLU(gate), Linear."""

    multiple: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        width = x.shape[-1]

        def dense(features, name):
            return Linear((features,), use_bias=True, dtype=self.dtype, name=name)

        both = dense(2 * self.multiple * width, "in")(x)
        value, gate = jnp.split(both, 2, axis=-1)
        return dense(width, "out")(value * nn.silu(gate))
