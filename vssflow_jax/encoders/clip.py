"""CLIP's image encoder, a vision transformer, for the condition `clip`.

Source: "Learning Transferable Visual Models From Natural Language Supervision", Radford et al.
2021 (arXiv 2103.00020), ViT-B/16.

Legend: B pictures, R side of a picture in pixels, p of a patch, P = (R / p)^2 patches,
T = P + 1 tokens (class token first), D width.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange

from vssflow_jax.encoders.layers import Block, quick_gelu, scan_layers

EPSILON = 1e-5
EXPANSION = 4  # of the feed-forward


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipViTConfig:
    """Size of the encoder.

    Attributes:
      side: R.
      patch: p.
      width: D.
      layers: blocks.
      heads: attention heads a block.
    """

    side: int = 224
    patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12


class ClipViT(nn.Module):
    """Pictures to the class token after the last block.

    Input: float32 [B, R, R, 3], `preprocessing.resize_squeezed` frames, 10 a second, normalized.
    Output: [B, D], D = 768, unitless. VSSFlow uses it without CLIP's final norm and projection;
    `normed` applies the norm.
    """

    config: ClipViTConfig
    normed: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        config, width, patch = self.config, self.config.width, self.config.patch
        small = nn.initializers.normal(0.02)
        patches = nn.Conv(
            width,
            (patch, patch),
            strides=(patch, patch),
            padding="VALID",
            use_bias=False,
            dtype=self.dtype,
            name="patches",
        )(pixels)
        patches = rearrange(patches, "b h w d -> b (h w) d")  # [B, P, D]
        token = self.param("class_token", small, (width,)).astype(patches.dtype)
        x = jnp.concatenate([jnp.broadcast_to(token, (len(pixels), 1, width)), patches], axis=1)
        x += self.param("positions", small, x.shape[1:]).astype(x.dtype)  # [B, T, D]
        x = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm_in")(x)
        blocks = scan_layers(Block, config.layers)(
            config.heads, EXPANSION * width, EPSILON, quick_gelu, self.dtype, name="blocks"
        )
        x, _ = blocks(x, None)
        # Computed in any case, so that the parameters do not depend on the output.
        normed = nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name="norm_out")(x[:, 0])
        return normed if self.normed else x[:, 0]
