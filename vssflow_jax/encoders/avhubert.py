"""AV-HuBERT's video branch, for the condition `lips`: a residual network and a transformer.

Source: "Learning Audio-Visual Speech Representation by Masked Multimodal Cluster Prediction",
Shi et al. 2022 (arXiv 2201.02184); its transformer: HuBERT (arXiv 2106.07447).

Legend: B clips, T frames, N frames of all clips, S side of a crop in pixels, F = 5 frames that the
first convolution sees, C channels, V width of the residual network's feature, D width of the
transformer.
"""

from __future__ import annotations

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import lax

from vssflow_jax.encoders import preprocessing
from vssflow_jax.encoders.layers import BatchNorm, Block, Dense, gelu, scan_layers

CROP = 88  # side of the network's input in pixels
MEAN, DEVIATION = 0.421, 0.165  # of gray in [0, 1], as published
EPSILON = 1e-5
STEM_FRAMES, STEM_SIDE = 5, 7  # of the first convolution
PART_FRAMES = 50  # of which processors compute the residual network together


@dataclasses.dataclass(frozen=True, kw_only=True)
class AvhubertConfig:
    """Size of the encoder.

    Attributes:
      widths: channels of the residual network's stages; the last is V.
      blocks: of each stage.
      prelu: learned slopes below zero (PReLU) instead of zero (ReLU).
      width: D.
      hidden: channels of the transformer's feed-forward.
      layers: of the transformer.
      heads: attention heads a layer.
      reach: taps of the positional convolution.
      groups: of that convolution.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: tuple[int, ...] = (2, 2, 2, 2)
    prelu: bool = True
    width: int = 1024
    hidden: int = 4096
    layers: int = 24
    heads: int = 16
    reach: int = 128
    groups: int = 16


def normalize_crops(crops: np.ndarray) -> np.ndarray:
    """Gray mouth crops as the network's input, NumPy or JAX: uint8 [.., 96, 96] -> [.., 88, 88]."""
    top, left = (round((size - CROP) / 2) for size in crops.shape[-2:])
    middle = crops[..., top : top + CROP, left : left + CROP]
    return preprocessing.normalize_pixels(middle, MEAN, DEVIATION)


class Rectifier(nn.Module):
    """max(x, 0) + slope min(x, 0), a slope for each channel."""

    learned: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [.., C]
        if not self.learned:
            return nn.relu(x)
        slope = self.param("slope", nn.initializers.constant(0.25), (x.shape[-1],))
        return jnp.where(x >= 0, x, slope.astype(self.dtype) * x)


class Residual(nn.Module):
    """Two convolutions and a shortcut, which has a convolution of its own if the shape changes."""

    width: int
    stride: int
    prelu: bool
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [N, H, W, C]
        def conv(x, name, side, stride):
            x = nn.Conv(
                self.width,
                (side, side),
                strides=(stride, stride),
                padding=side // 2,
                use_bias=False,
                dtype=self.dtype,
                name=name,
            )(x)
            return BatchNorm(self.dtype, name=f"{name}_norm")(x)

        y = Rectifier(self.prelu, self.dtype, name="rectifier1")(conv(x, "conv1", 3, self.stride))
        y = conv(y, "conv2", 3, 1)
        if self.stride > 1 or x.shape[-1] != self.width:
            x = conv(x, "shortcut", 1, self.stride)
        return Rectifier(self.prelu, self.dtype, name="rectifier2")(y + x)


def stack_neighbors(crops: jax.Array) -> jax.Array:
    """Crops beside those near in time, zeros beyond the ends: [B, T, S, S] -> [N, S, S, F]."""
    count, reach = crops.shape[1], STEM_FRAMES // 2
    padded = jnp.pad(crops, ((0, 0), (reach, reach), (0, 0), (0, 0)))
    near = [padded[:, shift : shift + count] for shift in range(STEM_FRAMES)]
    return rearrange(near, "f b t h w -> (b t) h w f")


class Stem(nn.Module):
    """Convolution over 5 frames and 7 x 7 pixels, every second pixel: [N, S, S, F] -> [N, .., C].

    In two dimensions, with the frames as channels: processors take a twelfth of the time.
    """

    width: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        shape = (STEM_FRAMES, STEM_SIDE, STEM_SIDE, 1, self.width)
        kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
        return lax.conv_general_dilated(
            frames.astype(self.dtype),
            rearrange(kernel, "f h w 1 c -> h w f c").astype(self.dtype),
            (2, 2),
            [(STEM_SIDE // 2, STEM_SIDE // 2)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )


class ResNet(nn.Module):
    """Mouth crops to a feature a frame; only the first convolution spans several frames.

    Input: float32 [N, S, S, F], from `stack_neighbors`. Output: [N, V].
    """

    config: AvhubertConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, frames: jax.Array) -> jax.Array:
        config = self.config
        x = Stem(config.widths[0], self.dtype, name="stem")(frames)  # [N, S / 2, S / 2, C]
        x = BatchNorm(self.dtype, name="stem_norm")(x)
        x = Rectifier(config.prelu, self.dtype, name="stem_rectifier")(x)
        # Rows, then columns: processors take two thirds of the time that both at once take.
        x = nn.max_pool(x, (3, 1), strides=(2, 1), padding=((1, 1), (0, 0)))
        x = nn.max_pool(x, (1, 3), strides=(1, 2), padding=((0, 0), (1, 1)))
        for i, (width, count) in enumerate(zip(config.widths, config.blocks, strict=True)):
            for j in range(count):
                stride = 2 if i and not j else 1
                block = Residual(width, stride, config.prelu, self.dtype, name=f"stage_{i}_{j}")
                x = block(x)
        return x.mean((1, 2))


class PositionConv(nn.Module):
    """A wide grouped convolution, in place of positional embeddings: [B, T, D] -> [B, T, D].

    Weight norm: kernel = gain v / |v|, one gain a tap. With an even number of taps the output
    would be one frame longer; the last frame is left out.
    """

    taps: int
    groups: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        small = nn.initializers.normal(0.02)
        direction = self.param("direction", small, (self.taps, width // self.groups, width))
        gain = self.param("gain", nn.initializers.ones, (self.taps,))
        bias = self.param("bias", nn.initializers.zeros, (width,))
        norm = jnp.sqrt((direction**2).sum((1, 2), keepdims=True))
        kernel = gain[:, None, None] * direction / norm
        before = self.taps // 2
        x = lax.conv_general_dilated(
            x,
            kernel.astype(self.dtype),
            (1,),
            [(before, before - 1 + self.taps % 2)],
            dimension_numbers=("NTC", "TIO", "NTC"),
            feature_group_count=self.groups,
        )
        return gelu(x + bias.astype(self.dtype))


class LipTransformer(nn.Module):
    """Features of the frames in the context of the clip; the audio half of the input is zero.

    Input: [B, T, V], and `mask` [B, T], true where there are frames. Output: [B, T, D].
    """

    config: AvhubertConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        config = self.config

        def norm(x, name):
            return nn.LayerNorm(epsilon=EPSILON, dtype=self.dtype, name=name)(x)

        x = Dense(config.width, dtype=self.dtype, name="video")(x)  # [B, T, D]
        x = norm(jnp.concatenate([jnp.zeros_like(x), x], axis=-1), "fused_norm")  # [B, T, 2 D]
        x = Dense(config.width, dtype=self.dtype, name="fused")(x)
        if mask is not None:
            x *= mask[..., None]
        x += PositionConv(config.reach, config.groups, self.dtype, name="position")(x)
        layers = scan_layers(Block, config.layers)(
            config.heads, config.hidden, EPSILON, gelu, self.dtype, name="blocks"
        )
        x, _ = layers(x, mask)
        return norm(x, "norm_out")


class Avhubert(nn.Module):
    """Mouth crops to lip features.

    Input: float32 [B, T, 88, 88], 25 frames a second, from `normalize_crops`: gray crops of the
    aligned mouth; `mask` [B, T], true where a clip has frames (the others must be zero).
    Output: [B, T, D], D = 1024, unitless: of the last layer, after the final norm.
    """

    config: AvhubertConfig
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, crops: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        x = ResNet(self.config, self.dtype, name="resnet")(stack_neighbors(crops))
        x = rearrange(x, "(b t) c -> b t c", b=len(crops))
        return LipTransformer(self.config, self.dtype, name="transformer")(x, mask)


def apply_in_parts(
    model: Avhubert, params, crops: jax.Array, mask: jax.Array | None = None
) -> jax.Array:
    """`model`'s output, faster on processors: the residual network takes two seconds at a time.

    So what it computes stays nearer to the cache.

    Args:
      model: the encoder.
      params: its parameters.
      crops: as the encoder's.
      mask: as the encoder's.
    """

    def encode(frames):
        return ResNet(model.config, model.dtype).apply({"params": params["resnet"]}, frames)

    frames = stack_neighbors(crops)
    count = len(frames)
    frames = jnp.pad(frames, ((0, -count % PART_FRAMES), (0, 0), (0, 0), (0, 0)))
    x = lax.map(encode, rearrange(frames, "(p n) h w f -> p n h w f", n=PART_FRAMES))
    x = rearrange(x, "p n c -> (p n) c")[:count]
    x = rearrange(x, "(b t) c -> b t c", b=len(crops))
    transformer = LipTransformer(model.config, model.dtype)
    return transformer.apply({"params": params["transformer"]}, x, mask)
