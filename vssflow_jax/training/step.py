"""One training step: waveforms and conditions in, a better state out.

Legend: B clips, n samples, L latent frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from vssflow_jax import conditions
from vssflow_jax.flow import path
from vssflow_jax.training import optim
from vssflow_jax.training.state import TrainState

MASKED = ("lips", "sync")  # conditions of which single frames may be dropped


def keep_masks(key: jax.Array, present: Mapping[str, jax.Array], dropout) -> dict[str, jax.Array]:
    """Which conditions each clip keeps, [B] of 0 or 1 by name.

    Args:
      key: of this step.
      present: [B] by name, 0 where the shard has no such condition.
      dropout: the config's probabilities, drawn once a sample or once a batch.
    """
    batch = next(iter(present.values())).shape[0]
    count = {"sample": batch, "batch": 1}[dropout.unit]
    draws = jax.random.uniform(key, (2 + len(conditions.NAMES), count))
    joint, video = draws[0] >= dropout.all, draws[1] >= dropout.video
    keep = {}
    for name, draw in zip(conditions.NAMES, draws[2:], strict=True):
        stays = joint & (draw >= dropout.each)
        if name in conditions.VIDEO:
            stays &= video
        keep[name] = present[name] * stays
    return keep


def keep_frames(
    key: jax.Array, keep: Mapping[str, jax.Array], length: int, dropout
) -> dict[str, jax.Array]:
    """Drops single frames of lips and sync, apart from each other: `keep` by frame [B, length].

    The share of frames that go is one of `dropout.frame_ratios`, drawn once a sample or once
    a batch.
    """
    batch = keep[MASKED[0]].shape[0]
    count = {"sample": batch, "batch": 1}[dropout.unit]
    ratio_key, *keys = jax.random.split(key, 1 + len(MASKED))
    ratio = jax.random.choice(ratio_key, jnp.asarray(dropout.frame_ratios), (count, 1))
    by_frame = dict(keep)
    for name, key in zip(MASKED, keys, strict=True):
        by_frame[name] = keep[name][:, None] * (jax.random.uniform(key, (batch, length)) >= ratio)
    return by_frame


def frame_mask(frames: jax.Array, length: int) -> jax.Array:
    """1 for a clip's own latent frames, 0 for padding: [B] -> [B, length]."""
    return (jnp.arange(length) < frames[:, None]).astype(jnp.float32)


def flow_loss(model, params, codec, batch, key: jax.Array, config) -> jax.Array:
    """The rectified-flow loss of a batch (VSSFlow, equation 1).

    The latent is encoded here, from the waveform, and drawn from the codec's posterior.
    """
    time_key, noise_key, posterior_key, drop_key = jax.random.split(key, 4)
    mean, deviation = codec.encode(batch["wave"])  # [B, L, C]
    x1 = mean + deviation * jax.random.normal(posterior_key, mean.shape)
    x0 = jax.random.normal(noise_key, x1.shape)
    t = path.sample_time(time_key, x1.shape[0], config.flow.time)
    keep = keep_masks(drop_key, batch["present"], config.dropout)
    if config.dropout.frame_ratios:
        keep = keep_frames(jax.random.fold_in(drop_key, 1), keep, x1.shape[1], config.dropout)
    velocity = model.apply(
        {"params": params}, path.interpolate(x0, x1, t), t, batch["features"], keep
    )
    counted = frame_mask(batch["frames"], x1.shape[1]) if config.flow.mask_padding else None
    return path.loss(velocity, path.target(x0, x1), counted)


def make_step(model, config):
    """The step function (state, codec, batch) -> (state, metrics), ready for `jax.jit`.

    Randomness is `fold_in(seed, step)`: nothing about it needs saving.
    """
    optimizer = optim.optimizer(config.optim, config.train.steps)
    rate = optim.schedule(config.optim, config.train.steps)

    def step(state: TrainState, codec, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        loss, gradient = jax.value_and_grad(
            lambda params: flow_loss(model, params, codec, batch, key, config)
        )(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {
            "loss": loss,
            "grad_norm": optax.tree.norm(gradient),
            "learning_rate": rate(state.step),
        }
        new = TrainState(
            step=state.step + 1,
            params=params,
            ema=optim.average(state.ema, params, state.step, config.optim.ema),
            opt_state=opt_state,
        )
        return new, metrics

    return step
