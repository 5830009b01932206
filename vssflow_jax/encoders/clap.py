"""CLAP: sounds and texts as vectors of one space, whose cosine says how well they fit.

The sound branch is a Swin transformer (HTS-AT, Chen et al. 2022, arXiv 2202.00874; Swin, Liu et al.
2021, arXiv 2103.14030), the text branch is RoBERTa (Liu et al. 2019, arXiv 1907.11692). Source:
"Large-Scale Contrastive Language-Audio Pretraining", Wu et al. 2023 (arXiv 2211.06687), in the
layout of transformers' ClapModel, without fusion.

Legend: B clips or texts, n samples, T mel frames, F bands, R = 4 F side of the image, g side of a
grid of patches, C channels, w side of a window, H heads, L tokens, D width.
"""

from __future__ import annotations

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import librosa
import numpy as np
from einops import rearrange

from vssflow_jax.encoders.layers import (
    Attention,
    BatchNorm,
    FeedForward,
    Heads,
    attend,
    gelu,
    scan_layers,
)
from vssflow_jax.encoders.preprocessing import hann_frames

SAMPLE_RATE, SAMPLES = 48_000, 480_000  # ten seconds
FFT_SIZE, HOP, BANDS = 1024, 480, 64
MIN_FREQUENCY, MAX_FREQUENCY = 50.0, 14_000.0  # Hz
MIN_POWER = 1e-10
PATCH = 4
PARTS = 4  # of a clip in time, that are stacked in the image
EXPANSION = 4
EPSILON = 1e-5  # of the sound branch's layer norms
TEXT_EPSILON = 1e-12
PADDING_ID = 1  # of a text; positions are counted from behind it
MASKED = -100.0  # added to the attention between places that only the shift made neighbors
CUBIC = -0.75  # of the stretch in time


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClapConfig:
    """Size of the network; the defaults are those of clap-htsat-unfused.

    Attributes:
      bands: F.
      window: w.
      width: channels of the first stage; each further one has twice as many.
      depths: blocks of each stage.
      heads: attention heads of each stage.
      vocabulary: rows of the table of tokens.
      positions: rows of the table of positions.
      text_width: D.
      text_layers: blocks of the text branch.
      text_heads: attention heads of each.
      text_hidden: of its feed-forward.
      projection: length of the vectors.
    """

    bands: int = BANDS
    window: int = 8
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    vocabulary: int = 50_265
    positions: int = 514
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_hidden: int = 3072
    projection: int = 512

    @property
    def side(self) -> int:
        """R."""
        return PARTS * self.bands


# ---- inputs -------------------------------------------------------------------------------


@functools.cache
def mel_filterbank() -> np.ndarray:
    """Slaney's filters from 50 to 14000 Hz: float32 [513, 64]."""
    return librosa.filters.mel(
        sr=SAMPLE_RATE, n_fft=FFT_SIZE, n_mels=BANDS, fmin=MIN_FREQUENCY, fmax=MAX_FREQUENCY
    ).T


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Log-mel in decibels of ten seconds: float32 [n] at 48 kHz -> [1001, 64].

    A shorter wave is repeated as often as it fits, and then padded with silence. Of a longer one
    the first ten seconds are taken.
    """
    wave = np.tile(wave[:SAMPLES], max(SAMPLES // max(len(wave), 1), 1))
    wave = np.pad(wave, (0, SAMPLES - len(wave)))
    padded = np.pad(np.float64(wave), FFT_SIZE // 2, mode="reflect")
    power = np.abs(np.fft.rfft(hann_frames(padded, FFT_SIZE, HOP))) ** 2
    mel = power @ mel_filterbank()
    return (10 * np.log10(np.maximum(mel, MIN_POWER))).astype(np.float32)


@functools.lru_cache(maxsize=8)
def stretch_weights(length: int, new_length: int) -> np.ndarray:
    """Cubic interpolation whose ends stay ends, float32 [new_length, length]."""
    place = np.arange(new_length) * (length - 1) / max(new_length - 1, 1)
    base = np.floor(place).astype(int)
    weights = np.zeros((new_length, length))
    for tap in range(-1, 3):
        column = np.clip(base + tap, 0, length - 1)
        np.add.at(weights, (np.arange(new_length), column), _cubic(np.abs(place - base - tap)))
    return weights.astype(np.float32)


def _cubic(x: np.ndarray) -> np.ndarray:
    a = CUBIC
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def fold_time(mel: jax.Array, side: int) -> jax.Array:
    """Log-mel [B, T, F] as a square image [B, R, R]: stretched, cut into parts, the parts stacked.

    Row k F + m, column c is band m at frame k R + c.
    """
    frames = side * side // mel.shape[2]
    if mel.shape[1] != frames:
        weights = stretch_weights(mel.shape[1], frames)
        mel = jnp.einsum("st,btm->bsm", weights, mel, precision="highest")
    return rearrange(mel, "b (k c) m -> b (k m) c", c=side)


# ---- sound --------------------------------------------------------------------------------


def relative_places(window: int) -> np.ndarray:
    """Row of the table of biases for each pair of places of a window, int [w^2, w^2]."""
    places = np.stack(np.meshgrid(np.arange(window), np.arange(window), indexing="ij"))
    places = places.reshape(2, -1)
    difference = places[:, :, None] - places[:, None] + window - 1  # of query and key
    return difference[0] * (2 * window - 1) + difference[1]


def shift_mask(side: int, window: int, shift: int) -> np.ndarray:
    """What is added to the attention in a shifted grid, float32 [windows, w^2, w^2]."""
    region = np.zeros(side, int)
    region[side - window : side - shift] = 1
    region[side - shift :] = 2
    regions = split_windows((3 * region[:, None] + region)[None, ..., None], window)[..., 0]
    return np.where(regions[:, :, None] == regions[:, None], 0, MASKED).astype(np.float32)


def split_windows(x, window: int):
    """A grid [B, g, g, C] in windows, [B (g/w)^2, w^2, C]; NumPy or JAX."""
    return rearrange(x, "b (y v) (x w) c -> (b y x) (v w) c", v=window, w=window)


class WindowAttention(nn.Module):
    """Attention within the windows of a grid, with a bias for each pair of places."""

    heads: int
    window: int
    shift: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, g, g, C]
        side, window = x.shape[1], self.window
        table = self.param("bias_table", nn.initializers.zeros, ((2 * window - 1) ** 2, self.heads))
        shifted = jnp.roll(x, (-self.shift, -self.shift), axis=(1, 2))
        tokens = split_windows(shifted, window)  # [B windows, w^2, C]
        query, key, value = Heads(self.heads, name="heads")(tokens)
        bias = rearrange(table[relative_places(window)], "q k h -> 1 h q k")
        if self.shift:
            mask = shift_mask(side, window, self.shift)
            bias = bias + jnp.tile(mask, (len(x), 1, 1))[:, None]
        mixed = attend(query, key, value, bias=bias)
        mixed = nn.Dense(x.shape[-1], name="out")(rearrange(mixed, "b t h d -> b t (h d)"))
        count = side // window
        mixed = rearrange(mixed, "(b y x) (v w) c -> b (y v) (x w) c", y=count, x=count, v=window)
        return jnp.roll(mixed, (self.shift, self.shift), axis=(1, 2))


class SwinBlock(nn.Module):
    """Attention in windows, then feed-forward, each pre-norm and residual."""

    heads: int
    window: int
    shift: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:  # [B, g, g, C]
        def norm(x, name):
            return nn.LayerNorm(epsilon=EPSILON, name=name)(x)

        sizes = (self.heads, self.window, self.shift)
        x += WindowAttention(*sizes, name="attention")(norm(x, "norm1"))
        return x + FeedForward(EXPANSION * x.shape[-1], gelu, name="feed_forward")(norm(x, "norm2"))


class PatchMerging(nn.Module):
    """Four neighboring patches as one of twice the width: [B, g, g, C] -> [B, g/2, g/2, 2 C]."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        merged = rearrange(x, "b (y v) (x w) c -> b y x (w v c)", v=2, w=2)
        normed = nn.LayerNorm(epsilon=EPSILON, name="norm")(merged)
        return nn.Dense(2 * x.shape[-1], use_bias=False, name="out")(normed)


class Projection(nn.Module):
    """Linear, ReLU, Linear."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Dense(self.width, name="out")(nn.relu(nn.Dense(self.width, name="in")(x)))


class SoundEncoder(nn.Module):
    """Log-mels [B, T, F] to vectors [B, projection], not normalized."""

    config: ClapConfig

    @nn.compact
    def __call__(self, mel: jax.Array) -> jax.Array:
        config = self.config
        image = fold_time(BatchNorm(name="norm_in")(mel), config.side)[..., None]
        patch = (PATCH, PATCH)
        x = nn.Conv(config.width, patch, strides=patch, padding="VALID", name="patches")(image)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm_patches")(x)
        for stage, (depth, heads) in enumerate(zip(config.depths, config.heads, strict=True)):
            for block in range(depth):
                fits = x.shape[1] > config.window  # else the window is the grid: nothing to shift
                shift = config.window // 2 if block % 2 and fits else 0
                sizes = (heads, config.window, shift)
                x = SwinBlock(*sizes, name=f"stage_{stage}_block_{block}")(x)
            if stage < len(config.depths) - 1:
                x = PatchMerging(name=f"stage_{stage}_merge")(x)
        x = nn.LayerNorm(epsilon=EPSILON, name="norm_out")(x)
        return Projection(config.projection, name="projection")(x.mean((1, 2)))


# ---- text ---------------------------------------------------------------------------------


class PostNormBlock(nn.Module):
    """Attention, then feed-forward, each residual and normalized after the addition."""

    heads: int
    hidden: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array):  # [B, L, D], [B, L]
        def norm(x, name):
            return nn.LayerNorm(epsilon=TEXT_EPSILON, name=name)(x)

        x = norm(x + Attention(self.heads, name="attention")(x, mask), "norm1")
        x = norm(x + FeedForward(self.hidden, gelu, name="feed_forward")(x), "norm2")
        return x, None


class TextEncoder(nn.Module):
    """Tokens, int [B, L], and which of them are no padding to vectors [B, projection].

    The vectors are not normalized.
    """

    config: ClapConfig

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        config, width = self.config, self.config.text_width
        mask = mask.astype(bool)
        places = jnp.where(mask, jnp.cumsum(mask, axis=1) + PADDING_ID, PADDING_ID)
        small = nn.initializers.normal(0.02)
        x = self.param("tokens", small, (config.vocabulary, width))[tokens]
        x += self.param("token_type", small, (width,))
        x += self.param("positions", small, (config.positions, width))[places]
        x = nn.LayerNorm(epsilon=TEXT_EPSILON, name="norm_in")(x)
        sizes = (config.text_heads, config.text_hidden)
        x, _ = scan_layers(PostNormBlock, config.text_layers)(*sizes, name="blocks")(x, mask)
        pooled = jnp.tanh(nn.Dense(width, name="pool")(x[:, 0]))
        return Projection(config.projection, name="projection")(pooled)


class Clap(nn.Module):
    """Both branches; `__call__` runs through both, for initialization."""

    config: ClapConfig

    def setup(self):
        self.sound = SoundEncoder(self.config)
        self.text = TextEncoder(self.config)

    def encode_sound(self, mel: jax.Array) -> jax.Array:
        """Log-mels [B, T, F] from `log_mel` -> vectors [B, projection]."""
        return self.sound(mel)

    def encode_text(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        """Tokens int [B, L], and 1 where there is one and 0 for padding -> [B, projection]."""
        return self.text(tokens, mask)

    def __call__(self, mel: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The vectors of log-mels and of one token."""
        tokens = jnp.zeros((1, 1), jnp.int32)
        return self.encode_sound(mel), self.encode_text(tokens, tokens + 1)
