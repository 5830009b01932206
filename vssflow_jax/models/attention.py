"""Attention of the velocity network: rotary positions, grouped heads, cuDNN where it fits.

Legend: B clips, T tokens, M context rows, D width, H query heads, K key/value heads, G = H / K
query heads that share a key/value head, h channels of a head.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from vssflow_jax.models.matmul import Linear, einsum

ROTARY_BASE = 10_000.0
AMPERE, HOPPER = (8, 0), (9, 0)  # compute capabilities


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

    The rotate-half convention, computed in float32; the second half is unchanged.
    """
    width = x.shape[-1] // 2
    cos, sin = rotary_table(x.shape[-2], width)
    rotated, unchanged = x[..., :width].astype(jnp.float32), x[..., width:]
    low, high = jnp.split(rotated, 2, axis=-1)
    rotated = rotated * cos + jnp.concatenate([-high, low], axis=-1) * sin
    return jnp.concatenate([rotated.astype(x.dtype), unchanged], axis=-1)


def attend(query: jax.Array, key: jax.Array, value: jax.Array, tensor_shards: int = 1) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v: [B, H, T, h] and twice [B, K, M, h] -> [B, H, T, h].

    Query head j reads key head j // G. In half precision NVIDIA GPUs use cuDNN's fused kernel;
    elsewhere the queries of a group are rows of one product, so that no key is repeated.

    Args:
      query: [B, H, T, h].
      key: [B, K, M, h].
      value: [B, K, M, h].
      tensor_shards: devices over which the heads are split.
    """
    heads = (query.shape[1], key.shape[1])
    if fits_cudnn(query.dtype, query.shape[-1], heads, tensor_shards, jax.devices()[0]):
        return attend_fused(query, key, value)
    tokens, width = query.shape[2:]
    rows = rearrange(query, "b (k g) t h -> b k (g t) h", k=key.shape[1])
    scores = einsum("bkqh,bkmh->bkqm", rows, key, jnp.float32)
    weights = nn.softmax(scores * width**-0.5).astype(value.dtype)
    mixed = einsum("bkqm,bkmh->bkqh", weights, value)
    return rearrange(mixed, "b k (g t) h -> b (k g) t h", t=tokens)


def attend_fused(
    query: jax.Array, key: jax.Array, value: jax.Array, implementation: str = "cudnn"
) -> jax.Array:
    """The same by a fused kernel, cuDNN's if no other is named.

    JAX refuses an odd number of queries or keys in a training step with cuDNN, so each gets a row
    more, which nothing reads.
    """
    clips, tokens, rows = len(query), query.shape[2], key.shape[2]
    padded = [
        jnp.pad(rearrange(x, "b n t h -> b t n h"), ((0, 0), (0, x.shape[2] % 2), (0, 0), (0, 0)))
        for x in (query, key, value)
    ]
    lengths = {}
    if tokens % 2 or rows % 2:
        counts = {"query_seq_lengths": tokens, "key_value_seq_lengths": rows}
        lengths = {name: jnp.full(clips, count, jnp.int32) for name, count in counts.items()}
    mixed = jax.nn.dot_product_attention(*padded, implementation=implementation, **lengths)
    return rearrange(mixed[:, :tokens], "b t n h -> b n t h")


def fits_cudnn(
    dtype: jnp.dtype, head_dim: int, heads: tuple[int, int], tensor_shards: int, device
) -> bool:
    """Whether cuDNN's fused attention computes heads of this type and size on this device.

    It exists for half precision on GPUs from Ampere on, with up to 128 channels a head (256 from
    Hopper on), in multiples of 8. Queries, keys and values must be sharded alike, so query and
    key/value heads must both divide by the devices that they are split over.

    Args:
      dtype: of the queries.
      head_dim: channels of a head.
      heads: query heads, key/value heads.
      tensor_shards: devices over which the heads are split.
      device: one of them.
    """
    if dtype not in (jnp.bfloat16, jnp.float16) or any(count % tensor_shards for count in heads):
        return False
    if device.platform != "gpu" or "cuda" not in device.client.platform_version:
        return False
    capability = tuple(int(part) for part in device.compute_capability.split("."))
    max_head_dim = 256 if capability >= HOPPER else 128
    return capability >= AMPERE and head_dim <= max_head_dim and head_dim % 8 == 0


def project_to_heads(x: jax.Array, heads: int, width: int, dtype, name: str) -> jax.Array:
    """Projects to heads, [B, T, F] -> [B, heads, T, width]."""
    return rearrange(Linear((heads, width), dtype=dtype, name=name)(x), "b t n h -> b n t h")


def project_from_heads(x: jax.Array, width: int, dtype, name: str) -> jax.Array:
    """Projects heads, [B, H, T, h] -> [B, T, width]."""
    by_token = rearrange(x, "b n t h -> b t n h")
    return Linear((width,), num_inputs=2, dtype=dtype, name=name)(by_token)


class SelfAttention(nn.Module):
    """Attention among the clip's own tokens; queries and keys are rotated, heads may be grouped."""

    heads: int
    kv_heads: int
    head_dim: int
    tensor_shards: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, T, D]
        def project(heads, name):
            return project_to_heads(x, heads, self.head_dim, self.dtype, name)

        query = apply_rotary(project(self.heads, "query"))  # [B, H, T, h]
        key = apply_rotary(project(self.kv_heads, "key"))  # [B, K, T, h]
        mixed = attend(query, key, project(self.kv_heads, "value"), self.tensor_shards)
        return project_from_heads(mixed, x.shape[-1], self.dtype, "out")


class ContextKV(nn.Module):
    """Keys and values of one layer's cross-attention, computed once a sample from the context."""

    kv_heads: int
    head_dim: int
    rotary: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, context: jax.Array) -> tuple[jax.Array, jax.Array]:  # [B, M, Dc]
        key, value = (
            project_to_heads(context, self.kv_heads, self.head_dim, self.dtype, name)
            for name in ("key", "value")
        )  # [B, K, M, h]
        return (apply_rotary(key) if self.rotary else key), value


class CrossAttention(nn.Module):
    """Attention to the context: queries are rotated; query head j reads key head j // G."""

    heads: int
    head_dim: int
    tensor_shards: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, context_kv: tuple[jax.Array, jax.Array]) -> jax.Array:
        query = project_to_heads(x, self.heads, self.head_dim, self.dtype, "query")
        mixed = attend(apply_rotary(query), *context_kv, self.tensor_shards)
        return project_from_heads(mixed, x.shape[-1], self.dtype, "out")
