"""The flow-matching task: first weights, loss and its gradient for a batch of examples.

Legend: B examples, P parts of a batch, L latent frames, C latent channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from einops import rearrange

from vssflow_jax import conditions
from vssflow_jax.flow import path
from vssflow_jax.models import duration_model, vssflow
from vssflow_jax.training import sharding, state
from vssflow_jax.training.step import INIT_STREAM, VALIDATION_STREAM, Task, make_train_step

FRAME_MASKED = ("lips", "sync")  # conditions of which single frames may be dropped


def sample_keep_masks(
    key: jax.Array, present: Mapping[str, jax.Array], dropout
) -> dict[str, jax.Array]:
    """Which conditions each example keeps, [B] of 0 or 1 by name.

    Args:
      key: of this step.
      present: [B] by name, 0 where the shard has no such condition.
      dropout: the config's group.
    """
    batch = next(iter(present.values())).shape[0]
    count = {"example": batch, "batch": 1}[dropout.granularity]
    draws = jax.random.uniform(key, (2 + len(conditions.NAMES), count))
    joint, video = draws[0] >= dropout.all, draws[1] >= dropout.video
    single = {
        name: dropout.each if probability is None else probability
        for name, probability in dropout.conditions.items()
    }
    keep = {}
    for name, draw in zip(conditions.NAMES, draws[2:], strict=True):
        stays = joint & (draw >= single[name])
        if name in conditions.VIDEO:
            stays &= video
        keep[name] = present[name] * stays
    return keep


def sample_frame_masks(
    key: jax.Array, keep: Mapping[str, jax.Array], length: int, dropout
) -> dict[str, jax.Array]:
    """Drops single frames of lips and sync, independently: their `keep` becomes [B, length].

    The share of dropped frames is one of `dropout.frame_ratios`, drawn once an example or once
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


def sample_noise_and_masks(codec, batch, key: jax.Array, config) -> dict:
    """All that is random about a step, for the whole batch: noise, times and keep masks.

    Drawn together, so that they do not depend on the number of parts that the batch is split
    into.
    """
    time_key, noise_key, posterior_key, drop_key = jax.random.split(key, 4)
    shape = jax.eval_shape(encode_sound, codec, batch)[0].shape  # [B, L, C]
    keep = sample_keep_masks(drop_key, batch["present"], config.dropout)
    if config.dropout.frame_ratios:
        keep = sample_frame_masks(jax.random.fold_in(drop_key, 1), keep, shape[1], config.dropout)
    return {
        "posterior": jax.random.normal(posterior_key, shape),
        "x0": jax.random.normal(noise_key, shape),
        "t": path.sample_time(time_key, shape[0], config.flow.time_sampling),
        "keep": keep,
    }


def frame_mask(frames: jax.Array, length: int) -> jax.Array:
    """1 for an example's own latent frames, 0 for padding: [B] -> [B, length]."""
    return (jnp.arange(length) < frames[:, None]).astype(jnp.float32)


def encode_sound(codec, batch) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of a batch's latents, float32 [B, L, C] each."""
    if "latent" in batch:
        return tuple(batch["latent"][name].astype(jnp.float32) for name in ("mean", "deviation"))
    return codec.encode(batch["wave"])


def draw_latent(codec, batch, draws) -> jax.Array:
    """x_1 [B, L, C] from the codec's posterior of the sound, with draws["posterior"]."""
    mean, deviation = encode_sound(codec, batch)  # [B, L, C]
    return mean + deviation * draws["posterior"]


def counted_frames(batch, length: int, config) -> jax.Array | None:
    """The frames that count in the loss, [B, L]; None: all."""
    return frame_mask(batch["frames"], length) if config.flow.mask_padding else None


def flow_loss(model, params, codec, batch, draws, config) -> jax.Array:
    """The rectified-flow loss of a batch (VSSFlow, equation 1).

    The latent is encoded here, from the waveform, unless the batch has its moments, and drawn from
    the codec's posterior.

    Args:
      model: the network.
      params: its parameters.
      codec: waveform to latent.
      batch: examples.
      draws: of `sample_noise_and_masks`.
      config: the run's.
    """
    x0, x1 = draws["x0"], draw_latent(codec, batch, draws)
    t, keep = draws["t"], draws["keep"]
    velocity = model.apply(
        {"params": params}, path.interpolate(x0, x1, t), t, batch["features"], keep
    )
    target = path.velocity_target(x0, x1)
    return path.flow_matching_loss(velocity, target, counted_frames(batch, x1.shape[1], config))


def split_batch(tree, parts: int):
    """Arrays [B, ..] as [P, B / P, ..]: part i has rows i, i + P, ..

    Neighboring rows, which lie on one device, thus go to all parts, and none moves to another
    device.
    """
    return jax.tree.map(lambda x: rearrange(x, "(b p) ... -> p b ...", p=parts), tree)


def part_weights(batch, config, parts: int) -> jax.Array:
    """The weight of each part's mean in the whole batch's: [P], of sum 1."""
    if not config.flow.mask_padding:
        return jnp.full(parts, 1 / parts)
    frames = jnp.sum(split_batch(batch["frames"], parts), axis=1)
    return frames / jnp.maximum(jnp.sum(frames), 1)


def loss_and_gradient(model, params, codec, batch, key: jax.Array, config, mesh=None):
    """The loss of a batch and its gradient, in `train.grad_accumulation` parts, one by one."""
    draws = sample_noise_and_masks(codec, batch, key, config)

    def loss(params, batch, draws):
        return flow_loss(model, params, codec, batch, draws, config)

    return accumulate_gradient(loss, params, batch, draws, config, mesh)


def accumulate_gradient(loss: Callable, params, batch, draws, config, mesh=None):
    """A batch's loss and its gradient, in `train.grad_accumulation` parts, one by one.

    Args:
      loss: (params, batch, draws) -> mean over the examples, or over their frames.
      params: of the network.
      batch: examples.
      draws: what is random about them.
      config: the run's.
      mesh: where activations lie; None: wherever the compiler puts them.
    """
    with sharding.name_tpu_mesh(mesh):
        return _accumulate_gradient(loss, params, batch, draws, config, mesh)


def _accumulate_gradient(loss, params, batch, draws, config, mesh):
    parts = config.train.grad_accumulation

    def weighted_loss(params, batch, draws, weight=1.0):
        with sharding.constrain_activations(mesh):
            return weight * loss(params, batch, draws)

    if parts == 1:
        return jax.value_and_grad(weighted_loss)(params, *sharding.constrain((batch, draws), mesh))

    def add_part(total, part):
        batch, draws, weight = part
        batch, draws = sharding.constrain((batch, draws), mesh)
        part_loss_and_gradient = jax.value_and_grad(weighted_loss)(params, batch, draws, weight)
        return jax.tree.map(jnp.add, total, part_loss_and_gradient), None

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    scanned = (*split_batch((batch, draws), parts), part_weights(batch, config, parts))
    return jax.lax.scan(add_part, zero, scanned)[0]


def make_validation_loss(model, config, mesh=None) -> Callable:
    """The function (params, codec, batch, number) -> loss: nothing dropped, the same each time.

    Args:
      model: the network.
      config: the run's.
      mesh: see `make_flow_train_step`.
    """

    def validation_loss(params, codec, batch, number):
        key = jax.random.fold_in(jax.random.key(config.seed), VALIDATION_STREAM)
        batch = sharding.constrain(batch, mesh)
        draws = sample_noise_and_masks(codec, batch, jax.random.fold_in(key, number), config)
        draws = sharding.constrain({**draws, "keep": batch["present"]}, mesh)
        with sharding.name_tpu_mesh(mesh), sharding.constrain_activations(mesh):
            return flow_loss(model, params, codec, batch, draws, config)

    return validation_loss


def make_flow_train_step(model, config, mesh=None) -> Callable:
    """The training step of the flow; a duration model, if there is one, learns beside it.

    Args:
      model: the network.
      config: the run's.
      mesh: where activations lie; None: wherever the compiler puts them.
    """
    compute = functools.partial(loss_and_gradient, model, config=config, mesh=mesh)
    durations, auxiliary_losses = duration_model.build_network(config), {}
    if durations is not None:
        loss = functools.partial(duration_model.duration_loss, durations)
        auxiliary_losses[duration_model.PARAMS_KEY] = loss
    return make_train_step(compute, config, auxiliary_losses)


def make_init_state(model, config, spec, channels: int, mesh) -> Callable[[], state.TrainState]:
    """The jitted function that makes the first state from the config's seed, in its places.

    Args:
      model: the network.
      config: the run's config.
      spec: shapes of a batch.
      channels: of the latent.
      mesh: where the state lies.
    """
    durations = duration_model.build_network(config)
    features = {c.name: _zero_feature(c, spec) for c in conditions.CONDITIONS}
    keep = {name: jnp.ones(1) for name in conditions.NAMES}

    def init() -> state.TrainState:
        x = jnp.zeros((1, spec.latent_frames, channels))
        key = jax.random.fold_in(jax.random.key(config.seed), INIT_STREAM)
        params = model.init(key, x, jnp.zeros(1), features, keep)["params"]
        if durations is not None:
            duration_key = jax.random.fold_in(key, 1)
            params[duration_model.PARAMS_KEY] = duration_model.init_params(durations, duration_key)
        return state.init_state(params, config)

    places = sharding.make_shardings(jax.eval_shape(init), mesh)
    return jax.jit(init, out_shardings=places)


def _zero_feature(condition: conditions.Condition, spec) -> jax.Array:
    """Zeros of a condition's shape in a batch of one example."""
    frames, width = spec.frames[condition.name], spec.widths[condition.name]
    if condition.ids:
        return jnp.zeros((1, frames), jnp.int32)
    if condition.alignment == conditions.TOKEN:
        return jnp.zeros((1, width))
    return jnp.zeros((1, frames, width))


def flow_task(config, spec, codec, mesh) -> Task:
    """The task of a run that trains the flow.

    Args:
      config: the run's.
      spec: shapes of a batch.
      codec: waveform to latent.
      mesh: the devices.
    """
    model = vssflow.build_model(config, codec.channels, mesh.shape["tensor"])
    return Task(
        init_state=make_init_state(model, config, spec, codec.channels, mesh),
        train_step=make_flow_train_step(model, config, mesh),
        validation_loss=make_validation_loss(model, config, mesh),
    )
