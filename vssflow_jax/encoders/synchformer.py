"""When it happens: Synchformer's visual encoder, a Motionformer over short segments.

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

from vssflow_jax.conditions import SYNC_HOP, SYNC_SEGMENT, SYNC_TUBE
from vssflow_jax.encoders.layers import Block, FeedForward, Heads, gelu, scan_layers

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

    A patch attends to the class token and to those of its own group: along time the patches at
    one place, along space the patches of one step.
    """

    heads: int
    steps: int
    along_time: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, 1 + t s, D]
        query, key, value = Heads(self.heads, self.dtype, name="heads")(x)  # [B, 1 + t s, H, h]
        attend = jax.nn.dot_product_attention
        first = attend(query[:, :1], key, value)  # [B, 1, H, h]

        def grouped(tokens):  # [B, t s, H, h] -> [B, groups, members, H, h]
            tokens = tokens.reshape(len(x), self.steps, -1, *tokens.shape[2:])
            return tokens.swapaxes(1, 2) if self.along_time else tokens

        groups = grouped(query[:, 1:])
        shape = groups.shape[:2]

        def with_class(tokens):
            every = jnp.broadcast_to(tokens[:, None, :1], (*shape, 1, *tokens.shape[2:]))
            return jnp.concatenate([every, grouped(tokens[:, 1:])], axis=2)

        def flat(tokens):  # [B, groups, members, H, h] -> [B groups, members, H, h]
            return tokens.reshape(-1, *tokens.shape[2:])

        mixed = attend(flat(groups), flat(with_class(key)), flat(with_class(value)))
        mixed = mixed.reshape(groups.shape)
        mixed = mixed.swapaxes(1, 2) if self.along_time else mixed
        mixed = jnp.concatenate([first, mixed.reshape(len(x), -1, *first.shape[2:])], axis=1)
        return nn.Dense(x.shape[-1], dtype=self.dtype, name="out")(mixed.reshape(x.shape))


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

    Input: float32 [B, F, R, R, 3], `pictures.cropped` frames in [-1, 1], 25 a second.
    Output: [B, t, D] without a unit. Segments of F = 16 frames, one every 8, give t = 8 features
    each of D = 768: 240 for the 30 segments of 10 s, and so 24 a second.
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
        x = patches.reshape(batch, steps, places, width) + place.astype(self.dtype)
        first = jnp.broadcast_to((token + position[0]).astype(self.dtype), (batch, 1, width))
        x = jnp.concatenate([first, x.reshape(batch, -1, width)], axis=1)  # [B, 1 + t s, D]
        blocks = scan_layers(DividedBlock, config.layers)(
            config.heads, steps, self.dtype, name="blocks"
        )
        x, _ = blocks(x, None)
        x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm_out")(x[:, 1:])
        # Each step's patches to one feature, that of a class token among them.
        x = x.reshape(batch * steps, places, width)
        token = self.param("pool_token", small, (width,)).astype(self.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (len(x), 1, width)), x], axis=1)
        pool = Block(config.heads, EXPANSION * width, EPSILON, gelu, self.dtype, name="pool")
        x, _ = pool(x)
        return x[:, 0].reshape(batch, steps, width)
