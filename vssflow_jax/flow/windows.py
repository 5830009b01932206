"""Latents longer than the trained length: overlapping windows, denoised together.

At every evaluation the velocity is computed a window at a time, all windows in one batch,
and blended where they overlap, so that no seam is ever made (MultiDiffusion, arXiv
2302.08113, equation 5, with tapered weights).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def starts(length: int, window: int, overlap: int, multiple: int = 5) -> np.ndarray:
    """First frames of windows that cover `length` frames, int [W], each a multiple of `multiple`.

    A multiple of 5 latent frames is a whole number of frames at 10 and at 25 a second. The
    last window may reach past the end.
    """
    if length <= window:
        return np.zeros(1, int)
    hop = max((window - overlap) // multiple, 1) * multiple
    return np.arange(0, length - overlap, hop)


def weights(window: int, overlap: int) -> np.ndarray:
    """Blending weight of a window's frames: 1 inside, falling linearly over the overlaps."""
    ramp = (np.arange(window) + 0.5) / max(overlap, 1)
    return np.minimum(1, np.minimum(ramp, ramp[::-1])).astype(np.float32)


def split(x: jax.Array, first: np.ndarray, window: int) -> jax.Array:
    """Windows of x, batch-major: [B, L, C] -> [B * W, window, C], zeros past the end."""
    reach = int(first[-1]) + window
    x = jnp.pad(x, [(0, 0), (0, max(reach - x.shape[1], 0)), (0, 0)])
    cut = x[:, first[:, None] + np.arange(window)]  # [B, W, window, C]
    return cut.reshape(-1, window, x.shape[-1])


def blend(y: jax.Array, first: np.ndarray, length: int, overlap: int) -> jax.Array:
    """Weighted mean of overlapping windows: [B * W, window, C] -> [B, length, C]."""
    count, (window, channels) = len(first), y.shape[1:]
    y = y.reshape(-1, count, window, channels)
    weight = weights(window, overlap)
    index = (first[:, None] + np.arange(window)).ravel()
    reach = int(index[-1]) + 1
    total = np.zeros(reach, np.float32)
    np.add.at(total, index, np.tile(weight, count))
    spread = jnp.zeros((y.shape[0], reach, channels), y.dtype)
    spread = spread.at[:, index].add((y * weight[:, None]).reshape(y.shape[0], -1, channels))
    return (spread / total[:, None])[:, :length]
