"""One training step: waveforms and conditions in, a better state out.

Legend: B clips, n samples, L latent frames, C latent channels.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from vssflow_jax import conditions
from vssflow_jax.flow import path
from vssflow_jax.models import duration_model
from vssflow_jax.training import optim, sharding
from vssflow_jax.training.state import TrainState

FRAME_MASKED = ("lips", "sync")  # conditions of which single frames may be dropped
VALIDATION_STREAM = 2**32 - 1  # stream of random numbers that is no step's
AUXILIARY_STREAM = 2**32 - 2  # stream of a step that is none of its draws'


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What a run trains.

    Attributes:
      make: () -> the first state, from the config's seed.
      step: (state, codec, batch) -> state and metrics.
      validation: (weights, codec, batch, number) -> loss.
    """

    make: Callable[[], TrainState]
    step: Callable
    validation: Callable


def sample_keep_masks(
    key: jax.Array, present: Mapping[str, jax.Array], dropout
) -> dict[str, jax.Array]:
    """Which conditions each clip keeps, [B] of 0 or 1 by name.

    Args:
      key: of this step.
      present: [B] by name, 0 where the shard has no such condition.
      dropout: the config's probabilities, drawn once an example or once a batch.
    """
    batch = next(iter(present.values())).shape[0]
    count = {"example": batch, "batch": 1}[dropout.granularity]
    draws = jax.random.uniform(key, (2 + len(conditions.NAMES), count))
    joint, video = draws[0] >= dropout.all, draws[1] >= dropout.video
    keep = {}
    for name, draw in zip(conditions.NAMES, draws[2:], strict=True):
        stays = joint & (draw >= dropout.each)
        if name in conditions.VIDEO:
            stays &= video
        keep[name] = present[name] * stays
    return keep


def sample_frame_masks(
    key: jax.Array, keep: Mapping[str, jax.Array], length: int, dropout
) -> dict[str, jax.Array]:
    """Drops single frames of lips and sync, apart from each other: `keep` by frame [B, length].

    The share of frames that go is one of `dropout.frame_ratios`, drawn once an example or once
    a batch.
    """
    batch = keep[FRAME_MASKED[0]].shape[0]
    count = {"example": batch, "batch": 1}[dropout.granularity]
    ratio_key, *keys = jax.random.split(key, 1 + len(FRAME_MASKED))
    ratio = jax.random.choice(ratio_key, jnp.asarray(dropout.frame_ratios), (count, 1))
    by_frame = dict(keep)
    for name, key in zip(FRAME_MASKED, keys, strict=True):
        by_frame[name] = keep[name][:, None] * (jax.random.uniform(key, (batch, length)) >= ratio)
    return by_frame


def frame_mask(frames: jax.Array, length: int) -> jax.Array:
    """1 for a clip's own latent frames, 0 for padding: [B] -> [B, length]."""
    return (jnp.arange(length) < frames[:, None]).astype(jnp.float32)


def sample_noise_and_masks(codec, batch, key: jax.Array, config) -> dict:
    """All that is random about a step: noise, times and what is kept, of the whole batch.

    Drawn together, so that they do not depend on the pieces that the batch is worked off in.
    """
    time_key, noise_key, posterior_key, drop_key = jax.random.split(key, 4)
    shape = jax.eval_shape(codec.encode, batch["wave"])[0].shape  # [B, L, C]
    keep = sample_keep_masks(drop_key, batch["present"], config.dropout)
    if config.dropout.frame_ratios:
        keep = sample_frame_masks(jax.random.fold_in(drop_key, 1), keep, shape[1], config.dropout)
    return {
        "posterior": jax.random.normal(posterior_key, shape),
        "x0": jax.random.normal(noise_key, shape),
        "t": path.sample_time(time_key, shape[0], config.flow.time_sampling),
        "keep": keep,
    }


def flow_loss(model, params, codec, batch, drawn, config) -> jax.Array:
    """The rectified-flow loss of a batch (VSSFlow, equation 1) with its `draws`.

    The latent is encoded here, from the waveform, and drawn from the codec's posterior.
    """
    mean, deviation = codec.encode(batch["wave"])  # [B, L, C]
    x1 = mean + deviation * drawn["posterior"]
    x0, t, keep = drawn["x0"], drawn["t"], drawn["keep"]
    velocity = model.apply(
        {"params": params}, path.interpolate(x0, x1, t), t, batch["features"], keep
    )
    counted = frame_mask(batch["frames"], x1.shape[1]) if config.flow.mask_padding else None
    return path.flow_matching_loss(velocity, path.velocity_target(x0, x1), counted)


def part_weights(batch, config, pieces: int) -> jax.Array:
    """The weight of each piece's mean in the whole batch's: [pieces], of sum 1."""
    if not config.flow.mask_padding:
        return jnp.full(pieces, 1 / pieces)
    frames = jnp.sum(split_batch(batch["frames"], pieces), axis=1)
    return frames / jnp.maximum(jnp.sum(frames), 1)


def split_batch(tree, pieces: int):
    """Arrays [B, ..] as [pieces, B / pieces, ..]: piece i has rows i, i + pieces, ..

    A device's neighbouring rows thus go to all pieces, and none moves to another device.
    """
    return jax.tree.map(lambda x: jnp.swapaxes(x.reshape(-1, pieces, *x.shape[1:]), 0, 1), tree)


def loss_and_gradient(model, params, codec, batch, key: jax.Array, config, mesh=None):
    """The loss of a batch and its gradient, in `train.grad_accumulation` pieces, one by one."""
    pieces, drawn = (
        config.train.grad_accumulation,
        sample_noise_and_masks(codec, batch, key, config),
    )

    def loss(params, batch, drawn, share=1.0):
        with sharding.constrain_activations(mesh):
            return share * flow_loss(model, params, codec, batch, drawn, config)

    if pieces == 1:
        return jax.value_and_grad(loss)(params, *sharding.constrain((batch, drawn), mesh))

    def add(total, piece):
        batch, drawn, share = piece
        batch, drawn = sharding.constrain((batch, drawn), mesh)
        found = jax.value_and_grad(loss)(params, batch, drawn, share)
        return jax.tree.map(jnp.add, total, found), None

    nothing = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    parts = (*split_batch((batch, drawn), pieces), part_weights(batch, config, pieces))
    return jax.lax.scan(add, nothing, parts)[0]


def make_validation_loss(model, config, mesh=None):
    """The function (params, codec, batch, number) -> loss, nothing dropped, the same each time.

    Args:
      model: the network.
      config: the run's.
      mesh: see `make_step`.
    """

    def loss(params, codec, batch, number):
        key = jax.random.fold_in(jax.random.key(config.seed), VALIDATION_STREAM)
        batch = sharding.constrain(batch, mesh)
        drawn = sample_noise_and_masks(codec, batch, jax.random.fold_in(key, number), config)
        drawn = sharding.constrain({**drawn, "keep": batch["present"]}, mesh)
        with sharding.constrain_activations(mesh):
            return flow_loss(model, params, codec, batch, drawn, config)

    return loss


def make_flow_train_step(model, config, mesh=None):
    """The step function (state, codec, batch) -> (state, metrics), ready for `jax.jit`.

    The network of durations, if there is one, learns from the same batch.

    Args:
      model: the network.
      config: the run's.
      mesh: where activations lie; None: wherever the compiler puts them.
    """
    compute = functools.partial(loss_and_gradient, model, config=config, mesh=mesh)
    timer = duration_model.build_network(config)
    beside = (
        {}
        if timer is None
        else {duration_model.PARAMS_KEY: functools.partial(duration_model.duration_loss, timer)}
    )
    return make_train_step(compute, config, beside)


def make_train_step(compute: Callable, config, beside: Mapping[str, Callable] | None = None):
    """The step function of any loss.

    Randomness is `fold_in(seed, step)`: nothing about it needs saving. Where the loss or a
    gradient is not finite, all but the step's number stays as it was, and `skipped` is 1.

    Args:
      compute: (params, codec, batch, key) -> loss and its gradient.
      config: the run's.
      beside: by name of their parameters, networks that learn by losses of their own,
        (params, batch, key) -> loss.
    """
    optimizer = optim.make_optimizer(config.optim, config.train.steps)
    rate = optim.learning_rate_schedule(config.optim, config.train.steps)

    def updated(state: TrainState, gradient) -> TrainState:
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = jax.lax.optimization_barrier(optax.apply_updates(state.params, updates))
        ema = optim.update_ema(state.ema, params, state.step, config.optim.ema_decay)
        return state.replace(params=params, ema=ema, opt_state=opt_state)

    def step(state: TrainState, codec, batch):
        key = jax.random.fold_in(jax.random.key(config.seed), state.step)
        loss, gradient = compute(state.params, codec, batch, key)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm)
        metrics = {"loss": loss, "grad_norm": norm, "learning_rate": rate(state.step)}
        for name, loss_of in (beside or {}).items():
            hiding = jax.random.fold_in(key, AUXILIARY_STREAM)
            found = jax.value_and_grad(loss_of)(state.params[name], batch, hiding)
            metrics[f"{name}_loss"], gradient[name] = found
            finite &= jnp.isfinite(optax.tree.norm(gradient[name]))
        metrics["skipped"] = ~finite
        state = jax.lax.cond(finite, updated, lambda state, _: state, state, gradient)
        return state.replace(step=state.step + 1), metrics

    return step
