"""Rotary positions of attention heads.

Legend: T tokens, h channels of a head.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

BASE = 10_000.0


def rotary_table(length: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the rotary embedding, each float32 [length, width].

    Angles are position * 10000^(-2j / width), j < width / 2, concatenated with themselves.
    """
    frequency = BASE ** (-np.arange(0, width, 2, dtype=np.float32) / width)
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
