"""Attention of the velocity network: grouped heads, fused kernels where they fit.

Legend: B clips, T tokens, M context rows, D width, H query heads, K key/value heads, G = H / K
query heads that share a key/value head, h channels of a head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from vssflow_jax.models.matmul import Linear, einsum
from vssflow_jax.models.rotary import apply_rotary
from vssflow_jax.models.tpu_attention import Heads, attend_packed, fits_attention
from vssflow_jax.models.tpu_kernels import runs_on_tpus

AMPERE, HOPPER = (8, 0), (9, 0)  # compute capabilities


class RowCounts(NamedTuple):
    """How many tokens and context rows of each clip are real; what follows them is padding.

    Attributes:
      tokens: int [B].
      context: int [B'], or None without cross-attention.
    """

    tokens: jax.Array
    context: jax.Array | None


def attend(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    fused: bool = False,
    counts: tuple[jax.Array, jax.Array] | None = None,
) -> jax.Array:
    """softmax(q k^T / sqrt(h)) v: [B, H, T, h] and twice [B, K, M, h] -> [B, H, T, h].

    Query head j reads key head j // G. Without the fused kernel the queries of a group are rows of
    one product, so that no key is repeated.

    Args:
      query: [B, H, T, h].
      key: [B, K, M, h].
      value: [B, K, M, h].
      fused: by cuDNN's kernel (`AttentionConfig.fits_cudnn`).
      counts: real queries and real keys of each clip, int [B] each; None: all are.
    """
    if fused:
        return attend_fused(query, key, value, counts)
    tokens, width = query.shape[2:]
    rows = rearrange(query, "b (k g) t h -> b k (g t) h", k=key.shape[1])
    scores = einsum("bkqh,bkmh->bkqm", rows, key, jnp.float32)
    if counts is not None:
        is_real = jnp.arange(key.shape[2]) < counts[1][:, None, None, None]
        scores = jnp.where(is_real, scores, -jnp.inf)
    weights = nn.softmax(scores * width**-0.5).astype(value.dtype)
    mixed = einsum("bkqm,bkmh->bkqh", weights, value)
    return rearrange(mixed, "b k (g t) h -> b (k g) t h", t=tokens)


def attend_fused(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    counts: tuple[jax.Array, jax.Array] | None = None,
    implementation: str = "cudnn",
) -> jax.Array:
    """The same by a fused kernel, cuDNN's if no other is named.

    Its backward pass takes even numbers of queries and keys alone (`pad_to_even`).
    """
    names = ("query_seq_lengths", "key_value_seq_lengths")
    lengths = {} if counts is None else dict(zip(names, counts, strict=True))
    mixed = jax.nn.dot_product_attention(
        *map(heads_first, (query, key, value)), implementation=implementation, **lengths
    )
    return heads_first(mixed)


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Heads of an attention, and how they are computed.

    Attributes:
      heads: H.
      kv_heads: K.
      head_dim: h.
      tensor_shards: devices over which the heads are split.
      dtype: of the computation.
      tpu_kernels: on TPUs, where the size fits, attend by kernels.
    """

    heads: int
    kv_heads: int
    head_dim: int
    tensor_shards: int = 1
    dtype: jnp.dtype = jnp.float32
    tpu_kernels: bool = False

    def fits_cudnn(self) -> bool:
        """Whether cuDNN's fused attention computes these heads on the devices at hand."""
        heads = (self.heads, self.kv_heads)
        return fits_cudnn(self.dtype, self.head_dim, heads, self.tensor_shards, jax.devices()[0])

    def uses_tpu_kernels(self, rows: int) -> bool:
        """Whether what is traced now attends to so many rows by kernels; heads lie side by side."""
        if any(count % self.tensor_shards for count in (self.heads, self.kv_heads)):
            return False
        local_heads = self.kv_heads // self.tensor_shards
        fits = fits_attention(local_heads, self.head_dim, rows)
        return self.tpu_kernels and fits and runs_on_tpus(self.dtype)

    def project(self, x: jax.Array, heads: int, name: str) -> jax.Array:
        """Projects to heads, [B, T, F] -> [B, T, heads, h]."""
        return Linear((heads, self.head_dim), dtype=self.dtype, name=name)(x)

    def project_back(self, mixed: jax.Array, width: int) -> jax.Array:
        """Projects heads, [B, T, H, h] -> [B, T, width]."""
        return Linear((width,), num_inputs=2, dtype=self.dtype, name="out")(mixed)

    def attend_by_kernel(self, query, key, value, rotate_key: bool) -> jax.Array:
        """Attends with rotated queries: heads side by side -> [B, T, H, h]."""
        heads = Heads(dim=self.head_dim, rotate_key=rotate_key)
        return rearrange(
            attend_packed(query, key, value, heads), "b t (n h) -> b t n h", h=self.head_dim
        )


def pad_to_even(
    x: jax.Array, context_kv, configs: Iterable[AttentionConfig]
) -> tuple[jax.Array, tuple | None, RowCounts | None]:
    """What cuDNN can train with: a row more where the tokens, or the context rows, are odd.

    JAX refuses odd numbers in a training step with cuDNN. One row for all layers costs less than
    rows that each attention adds and removes.

    Args:
      x: tokens, [B, T, D].
      context_kv: keys and values of all layers, 2 x [layers, B', K, M, h], or None.
      configs: of the attentions.

    Returns:
      x and context_kv, and how much of them is real; None if nothing is added.
    """
    tokens = x.shape[1]
    rows = 0 if context_kv is None else context_kv[0].shape[-2]
    if not (tokens % 2 or rows % 2) or not any(config.fits_cudnn() for config in configs):
        return x, context_kv, None
    x = jnp.pad(x, ((0, 0), (0, tokens % 2), (0, 0)))
    token_counts = jnp.full(len(x), tokens, jnp.int32)
    if context_kv is None:
        return x, None, RowCounts(token_counts, None)
    extra = ((0, 0), (0, 0), (0, 0), (0, rows % 2), (0, 0))
    context_kv = tuple(jnp.pad(array, extra) for array in context_kv)
    row_counts = jnp.full(context_kv[0].shape[1], rows, jnp.int32)
    return x, context_kv, RowCounts(token_counts, row_counts)


def heads_first(x: jax.Array) -> jax.Array:
    """[B, T, n, h] -> [B, n, T, h], or back."""
    return rearrange(x, "b t n h -> b n t h")


def heads_packed(x: jax.Array) -> jax.Array:
    """Heads side by side: [B, T, n, h] -> [B, T, n h]."""
    return rearrange(x, "b t n h -> b t (n h)")


class SelfAttention(nn.Module):
    """Attention among the clip's own tokens; queries and keys are rotated, heads may be grouped."""

    config: AttentionConfig

    @nn.compact
    def __call__(self, x: jax.Array, counts: RowCounts | None = None) -> jax.Array:  # [B, T, D]
        config = self.config
        heads = {"query": config.heads, "key": config.kv_heads, "value": config.kv_heads}
        projected = [config.project(x, count, name) for name, count in heads.items()]
        if config.uses_tpu_kernels(x.shape[1]):
            mixed = config.attend_by_kernel(*map(heads_packed, projected), rotate_key=True)
        else:
            query, key, value = map(heads_first, projected)  # [B, H, T, h], 2 x [B, K, T, h]
            pair = None if counts is None else (counts.tokens, counts.tokens)
            query, key = apply_rotary(query), apply_rotary(key)
            mixed = heads_first(attend(query, key, value, config.fits_cudnn(), pair))
        return config.project_back(mixed, x.shape[-1])


class ContextKV(nn.Module):
    """Keys and values of one layer's cross-attention, computed once a sample from the context.

    [B, K, M, h] each, or for kernels [B, M, K h].
    """

    config: AttentionConfig
    rotary: bool

    @nn.compact
    def __call__(self, context: jax.Array) -> tuple[jax.Array, jax.Array]:  # [B, M, Dc]
        config = self.config
        key, value = (
            heads_first(config.project(context, config.kv_heads, name)) for name in ("key", "value")
        )
        key = apply_rotary(key) if self.rotary else key
        if config.uses_tpu_kernels(context.shape[1]):
            return tuple(heads_packed(heads_first(x)) for x in (key, value))
        return key, value


class CrossAttention(nn.Module):
    """Attention to the context: queries are rotated; query head j reads key head j // G."""

    config: AttentionConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,  # [B', T, D]
        context_kv: tuple[jax.Array, jax.Array],
        counts: RowCounts | None = None,
    ) -> jax.Array:
        config = self.config
        query = config.project(x, config.heads, "query")
        if context_kv[0].ndim == 3:  # laid out for kernels
            mixed = config.attend_by_kernel(heads_packed(query), *context_kv, rotate_key=False)
        else:
            query = apply_rotary(heads_first(query))
            pair = None if counts is None else (counts.tokens[-len(x) :], counts.context)
            mixed = heads_first(attend(query, *context_kv, config.fits_cudnn(), pair))
        return config.project_back(mixed, x.shape[-1])
