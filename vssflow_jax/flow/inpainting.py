"""Inpainting: some frames of the latent are known, the others are generated to fit them.

    x_t = (1 - t) x_0 + t x_1,    v = x_1 - x_0    in known frames

At every evaluation the network sees the known frames on their straight path from the noise x_0 to
the known latent x_1, and its velocity is used in the other frames alone. That is the replacement
method of RePaint (Lugmayr et al. 2022, arXiv 2201.09865, equation 8) on the path of the flow,
where the noise of a known frame is the same at all times.

Legend: B clips, L latent frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Known(NamedTuple):
    """The known frames of latents.

    Attributes:
      latent: x_1, [L, C] or [B, L, C]; any value where a frame is not known.
      frames: whether each frame is known, bool [L].
    """

    latent: jax.Array
    frames: jax.Array

    def fill(self, values: jax.Array, x: jax.Array) -> jax.Array:
        """`values` in the known frames, x [B, L, C] in the others."""
        return jnp.where(self.frames[:, None], values, x)


def keep_known(velocity: Callable, noise: jax.Array, known: Known) -> Callable:
    """The velocity that leads the known frames to their latent on a straight path.

    Args:
      velocity: (x [B, L, C], scalar t, ..) -> velocity [B, L, C], and what else it computes.
      noise: x_0, [B, L, C].
      known: the known frames.
    """

    def inpainting_velocity(x, t, *rest):
        path = (1 - t) * noise + t * known.latent
        computed, other = velocity(known.fill(path, x), t, *rest)
        return known.fill(known.latent - noise, computed), other

    return inpainting_velocity
