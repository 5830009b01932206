"""The optimiser: AdamW with warm-up, clipping, and the averaged weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax


def schedule(optim, steps: int) -> optax.Schedule:
    """Learning rate by step: linear warm-up from 0, then constant or a cosine to 0."""
    if optim.schedule == "constant":
        after = optax.constant_schedule(optim.learning_rate)
    elif optim.schedule == "cosine":
        after = optax.cosine_decay_schedule(optim.learning_rate, max(steps - optim.warmup, 1))
    else:
        raise ValueError(
            f"optim.schedule: found {optim.schedule!r}, expected 'constant' or 'cosine'"
        )
    warmup = optax.linear_schedule(0.0, optim.learning_rate, max(optim.warmup, 1))
    return optax.join_schedules([warmup, after], [optim.warmup])


def optimizer(optim, steps: int) -> optax.GradientTransformation:
    """AdamW under global-norm clipping; weight decay on everything, as published."""
    clip = optax.clip_by_global_norm(optim.clip_norm) if optim.clip_norm else optax.identity()
    adamw = optax.adamw(
        schedule(optim, steps), b1=optim.b1, b2=optim.b2, weight_decay=optim.weight_decay
    )
    return optax.chain(clip, adamw)


def average(ema, params, step: jax.Array, decay: float):
    """Exponential moving average of the parameters.

    Early on the decay is (1 + step) / (10 + step), so that the first weights do not linger.
    """
    step = step.astype(jnp.float32)
    rate = jnp.minimum(decay, (1 + step) / (10 + step))
    return jax.tree.map(lambda old, new: old + (1 - rate) * (new - old), ema, params)
