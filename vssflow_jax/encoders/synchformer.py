"""Synchformer's visual encoder, a Motionformer over short segments, for the condition `sync`.

Source: "Synchformer: Efficient Synchronization from Sparse Cues", Iashin et al. 2024 (arXiv
2401.16423); its divided attention: "Is Space-Time Attention All You Need for Video
Understanding?", Bertasius et al. 2021 (arXiv 2102.05095).

Legend: B segments, F frames in each, R side of a frame in pixels, p of a patch, t = F / 2 steps
of time, s = (R / p)^2 patches a step, D width, H heads, h width of a head.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, repeat

from vssflow_jax.conditions import SYNC_HOP, SYNC_SEGMENT, SYNC_TUBE
from vssflow_jax.encoders.layers import Block, Dense, FeedForward, Heads, attend, gelu, scan_layers

EPSILON = 1e-6
EXPANSION = 4  # of the feed-forward


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynchformerConfig:
    """Size of the encoder.

    Attributes:
      side: R.
      patch: p.
      frames: F.
      width: D.
      layers: divided blocks.
      heads: attention heads a block.
    """

    side: int = 224
    patch: int = 16
    frames: int = SYNC_SEGMENT
    width: int = 768
    layers: int = 12
    heads: int = 12


def split_segments(frames: np.ndarray, length: int = SYNC_SEGMENT) -> np.ndarray:
    """Overlapping segments, a new one every 8 frames: [T, ..] -> [(T - n) // 8 + 1, n, ..]."""
    starts = range(0, len(frames) - length + 1, SYNC_HOP)
    return np.stack([frames[start : start + length] for start in starts])


class DividedAttention(nn.Module):
    """Attention along one axis of the tokens, and of the class token to all of them.

    A patch attends to the class token and to the patches of its group: along time those at the
    same place, along space those of the same step.
    """

    heads: int
    steps: int
    along_time: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, 1 + t s, D]
        query, key, value = Heads(self.heads, self.dtype, name="heads")(x)  # [B, 1 + t s, H, h]
        first = attend(query[:, :1], key, value)  # [B, 1, H, h]

        axes = "b (t s) n h -> b s t n h" if self.along_time else "b (t s) n h -> b t s n h"

        def group(tokens):  # [B, t s, H, h] -> [B, groups, members, H, h]
            return rearrange(tokens, axes, t=self.steps)

        groups = group(query[:, 1:])

        def with_class(tokens):
            class_token = repeat(tokens[:, 0], "b n h -> b g 1 n h", g=groups.shape[1])
            return jnp.concatenate([class_token, group(tokens[:, 1:])], axis=2)

        def join_groups(tokens):
            return rearrange(tokens, "b g m n h -> (b g) m n h")

        mixed = attend(*map(join_groups, (groups, with_class(key), with_class(value))))
        inner = "(b s) t n h -> b (t s) n h" if self.along_time else "(b t) s n h -> b (t s) n h"
        mixed = jnp.concatenate([first, rearrange(mixed, inner, b=len(x))], axis=1)
        mixed = rearrange(mixed, "b t n h -> b t (n h)")
        return Dense(x.shape[-1], dtype=self.dtype, name="out")(mixed)


class DividedBlock(nn.Module):
    """Attention along time, then along space, then feed-forward, each pre-norm and residual."""

    heads: int
    steps: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, _=None):  # [B, 1 + t s, D]
        def norm(x, name):
            return nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name=name)(x)

        sizes = (self.heads, self.steps)
        x += DividedAttention(*sizes, True, self.dtype, name="time")(norm(x, "norm_time"))
        x += DividedAttention(*sizes, False, self.dtype, name="space")(norm(x, "norm_space"))
        forward = FeedForward(EXPANSION * x.shape[-1], gelu, self.dtype, name="feed_forward")
        return x + forward(norm(x, "norm_forward")), None


class Synchformer(nn.Module):
    """Segments of a video to a feature for each pair of frames.

    Input: float32 [B, F, R, R, 3], `preprocessing.resize_cropped` frames in [-1, 1], 25 a second.
    Output: [B, t, D], unitless. Segments of F = 16 frames, one every 8, have t = 8 features each of
    D = 768: 240 for the 30 segments of 10 s, that is 24 a second.
    """

    config: SynchformerConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        config, width, batch = self.config, self.config.width, len(frames)
        steps, places = config.frames // SYNC_TUBE, (config.side // config.patch) ** 2
        small = nn.initializers.normal(0.02)
        cube = (SYNC_TUBE, config.patch, config.patch)
        patches = nn.Conv(
            width, cube, strides=cube, padding="VALID", dtype=self.dtype, name="patches"
        )(frames)
        token = self.param("class_token", small, (width,))
        position = self.param("positions", small, (1 + places, width))
        moment = self.param("moments", small, (steps, width))
        place = position[1:] + moment[:, None]  # [t, s, D]
        x = rearrange(patches, "b t h w d -> b t (h w) d") + place.astype(self.dtype)
        first = jnp.broadcast_to((token + position[0]).astype(self.dtype), (batch, 1, width))
        x = jnp.concatenate([first, rearrange(x, "b t s d -> b (t s) d")], axis=1)
        blocks = scan_layers(DividedBlock, config.layers)(
            config.heads, steps, self.dtype, name="blocks"
        )
        x, _ = blocks(x, None)
        x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm_out")(x[:, 1:])
        # The patches of each step are pooled by a class token of their own.
        x = rearrange(x, "b (t s) d -> (b t) s d", t=steps)
        token = self.param("pool_token", small, (width,)).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, width)), x], axis=1)
        pool = Block(config.heads, EXPANSION * width, EPSILON, gelu, self.dtype, name="pool")
        x, _ = pool(x)
        return rearrange(x[:, 0], "(b t) d -> b t d", t=steps)
