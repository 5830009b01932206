"""The rectified flow: straight paths from noise (t = 0) to data (t = 1).

    x_t = (1 - t) x_0 + t x_1,    u = x_1 - x_0,    loss = mean (v(x_t, t) - u)^2

Source: Liu et al. 2022 (arXiv 2209.03003), equation 1; VSSFlow, equation 1.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def sample_time(key: jax.Array, batch: int, distribution: str) -> jax.Array:
    """Training times [batch]: "uniform" or "logit_normal" (arXiv 2403.03206, section 3.1)."""
    if distribution == "uniform":
        return jax.random.uniform(key, (batch,))
    if distribution == "logit_normal":
        return jax.nn.sigmoid(jax.random.normal(key, (batch,)))
    raise ValueError(
        f"flow.time_sampling: found {distribution!r}, expected 'uniform' or 'logit_normal'"
    )


def interpolate(x0: jax.Array, x1: jax.Array, t: jax.Array) -> jax.Array:
    """x_t = (1 - t) x_0 + t x_1 for noise and data [B, L, C] and times [B]."""
    t = t[:, None, None]
    return (1 - t) * x0 + t * x1


def velocity_target(x0: jax.Array, x1: jax.Array) -> jax.Array:
    """The velocity along the path: u = x_1 - x_0."""
    return x1 - x0


def flow_matching_loss(
    velocity: jax.Array, u: jax.Array, frames: jax.Array | None = None
) -> jax.Array:
    """Mean squared error over frames and channels, a scalar in float32.

    Args:
      velocity: predicted, [B, L, C].
      u: target, [B, L, C].
      frames: [B, L], 1 where a frame counts; None: all frames count, padding included, as in the
        published training.
    """
    error = jnp.mean(jnp.square(velocity.astype(jnp.float32) - u), axis=-1)  # [B, L]
    if frames is None:
        return jnp.mean(error)
    return jnp.sum(error * frames) / jnp.maximum(jnp.sum(frames), 1)
